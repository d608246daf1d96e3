"""The lock of the plant: nobody starves."""

from __future__ import annotations

import threading
import time

from apis_emulator.servers.plant_lock import PlantLock


def test_it_is_re_entrant():
    lock = PlantLock()
    with lock, lock:
        pass
    with lock:
        pass


def test_one_at_a_time():
    lock, inside, seen = PlantLock(), [], []

    def work() -> None:
        for _ in range(200):
            with lock:
                inside.append(1)
                seen.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {1}
    assert len(seen) == 800


def test_who_waits_is_next_after_one_who_takes_it_again_at_once():
    lock, is_over, turns = PlantLock(), threading.Event(), []

    def hog() -> None:
        while not is_over.is_set():
            with lock:
                turns.append("hog")
                time.sleep(0.01)

    thread = threading.Thread(target=hog)
    thread.start()
    while not turns:
        time.sleep(0.001)
    for _ in range(10):
        before = len(turns)
        with lock:
            assert len(turns) - before <= 2
    is_over.set()
    thread.join()
