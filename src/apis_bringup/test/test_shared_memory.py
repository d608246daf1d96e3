"""What a killed process leaves in shared memory goes, and nothing else does."""

from __future__ import annotations

import fcntl
import os
import time

from apis_bringup.shared_memory import remove_dead_segments


def test_only_what_nobody_holds_any_more_is_removed(tmp_path):
    def segment(name: str, age_s: float) -> None:
        for file in (tmp_path / name, tmp_path / f"{name}_el"):
            file.write_bytes(b"x")
            os.utime(file, (time.time() - age_s,) * 2)

    dead, held, young = "fastdds_00000000000000ad", "fastdds_" + "b" * 16, "fastdds_" + "c" * 16
    for name, age_s in ((dead, 60.0), (held, 60.0), (young, 1.0), ("fastdds_port7003", 60.0)):
        segment(name, age_s)
    (tmp_path / ("fastdds_" + "d" * 16)).touch()  # without a lock: nobody knows
    with (tmp_path / f"{held}_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = {entry.name for entry in tmp_path.iterdir()}
        assert remove_dead_segments(tmp_path) == 1
        after = {entry.name for entry in tmp_path.iterdir()}
    assert before - after == {dead, f"{dead}_el"}


def test_without_shared_memory_there_is_nothing_to_do(tmp_path):
    assert remove_dead_segments(tmp_path / "none") == 0
