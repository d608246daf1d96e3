from __future__ import annotations

import threading
import time

import pytest

from apis_driver.errors import DeviceTimeout
from apis_driver.worker import Priority, Worker


@pytest.fixture
def worker():
    made = Worker("test", lambda: 10.0)
    made.start()
    yield made
    made.end(1.0)


def later() -> float:
    return time.monotonic() + 5.0


def test_a_stop_goes_before_orders_and_those_before_readings(worker):
    begun, go, done = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        go.wait(5.0)

    worker.submit(Priority.READ, first, later())
    begun.wait(5.0)
    futures = [
        worker.submit(priority, lambda name=name: done.append(name), later())
        for priority, name in (
            (Priority.READ, "read"),
            (Priority.ORDER, "order"),
            (Priority.STOP, "stop"),
            (Priority.ORDER, "order 2"),
        )
    ]
    go.set()
    for future in futures:
        future.result(5.0)
    assert done == ["stop", "order", "order 2", "read"]


def test_a_pause_ends_when_something_urgent_comes(worker):
    begun = threading.Event()

    def wait():
        begun.set()
        since_s = time.monotonic()
        worker.pause(5.0)
        return time.monotonic() - since_s

    waited = worker.submit(Priority.READ, wait, later())
    begun.wait(5.0)
    worker.submit(Priority.STOP, lambda: None, later())
    assert waited.result(5.0) < 4.0


def test_orders_without_end_do_not_keep_it_from_what_it_does_all_the_time():
    done = threading.Event()
    calls = []

    def idle() -> float:
        calls.append(time.monotonic())
        if len(calls) > 3:
            done.set()
        return 0.0

    def job():
        if not done.is_set():
            worker.submit(Priority.ORDER, job, later())
        time.sleep(0.001)

    worker = Worker("test", idle)
    worker.submit(Priority.ORDER, job, later())
    worker.start()
    assert done.wait(5.0)
    worker.end(1.0)


def test_a_job_that_comes_too_late_is_not_done(worker):
    with pytest.raises(DeviceTimeout):
        worker.submit(Priority.ORDER, lambda: None, time.monotonic() - 1.0).result(5.0)


def test_what_a_job_raises_belongs_to_who_waits_for_it(worker):
    def fail():
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        worker.submit(Priority.ORDER, fail, later()).result(5.0)
    assert worker.submit(Priority.ORDER, lambda: 7, later()).result(5.0) == 7


def test_at_the_end_nobody_waits_for_ever(worker):
    worker.end(1.0)
    with pytest.raises(DeviceTimeout):
        worker.submit(Priority.STOP, lambda: None, later()).result(5.0)


def test_a_bug_in_what_is_done_all_the_time_is_not_lost():
    begun = threading.Event()

    def fail() -> float:
        begun.set()
        raise ValueError("a bug")

    worker = Worker("test", fail)
    worker.start()
    assert begun.wait(5.0)
    worker.end(5.0)
    assert str(worker.failure) == "a bug"
