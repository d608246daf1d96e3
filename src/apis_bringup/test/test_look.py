"""How long a command that looks at a grid waits for those who may have something to tell."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")

from apis_bringup import look, run_lock
from apis_bringup.observer import GridObserver


def running_since(ticks: int, folder: str) -> run_lock.RunningGrid:
    return run_lock.RunningGrid("village", ("E001", "E002"), folder, None, started=ticks)


def test_a_unit_is_waited_for_while_its_grid_starts_and_not_for_ever(tmp_path, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = run_lock._created_at(process.pid)
        process.communicate(b"\n")
    new, old = running_since(started, str(tmp_path)), running_since(0, str(tmp_path))
    assert 0.0 <= run_lock.age_s(new) < 10.0

    monkeypatch.setattr(run_lock, "find", lambda: new)
    assert look.Grid(None).joined_within_s > look.STARTS_WITHIN_S - 10.0
    monkeypatch.setattr(run_lock, "find", lambda: old)
    assert look.Grid(None).joined_within_s == look.JOINED_WITHIN_S


def test_several_are_heard_out():
    class Late(GridObserver):
        """Hears the next word whenever it waits, until there is none."""

        def __init__(self) -> None:
            self.faults = ["first"]
            self.coming = ["second", "third"]

        def wait_for(self, condition, *, within_s):
            if self.coming:
                self.faults.append(self.coming.pop(0))
            return condition()

    late = Late()
    late.wait_for_all(late.faults, settles_within_s=1.0)
    assert late.faults == ["first", "second", "third"]
