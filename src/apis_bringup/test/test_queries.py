"""How long a command that looks at a grid waits for those who may have something to tell."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")

from builtin_interfaces.msg import Time

from apis_bringup import queries, run_lock, tables
from apis_bringup.observer import GridObserver
from apis_interfaces.msg import ConverterState, UnitStatus


def running_since(ticks: int, folder: str) -> run_lock.RunningGrid:
    return run_lock.RunningGrid("village", ("E001", "E002"), folder, None, started=ticks)


def test_a_unit_is_waited_for_while_its_grid_starts_and_not_for_ever(tmp_path, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = run_lock._created_at(process.pid)
        process.communicate(b"\n")
    new, old = running_since(started, str(tmp_path)), running_since(0, str(tmp_path))
    assert 0.0 <= run_lock.age_s(new) < 10.0

    monkeypatch.setattr(run_lock, "find", lambda: new)
    assert queries.GridSession(None).joined_within_s > queries.STARTS_WITHIN_S - 10.0
    monkeypatch.setattr(run_lock, "find", lambda: old)
    assert queries.GridSession(None).joined_within_s == queries.JOINED_WITHIN_S


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


class Seen(GridObserver):
    """What has been heard, without a graph."""

    clock_moves = True
    clock_rate = 1.0

    def __init__(self, statuses, now_s, *, clock_moves=True) -> None:
        self.lock = threading.Condition()
        self.statuses = {status.unit_id: status for status in statuses}
        self.now_s = now_s
        self.clock_moves = clock_moves


def said(unit_id: str, at_s: int, read_s: int, **fields: object) -> UnitStatus:
    converter = ConverterState(stamp=Time(sec=read_s), mode=ConverterState.MODE_WAIT)
    return UnitStatus(unit_id=unit_id, stamp=Time(sec=at_s), converter=converter, **fields)


@pytest.fixture
def elsewhere(monkeypatch):
    """A grid that was not started here: nothing is known of it but what it says."""
    monkeypatch.setattr(run_lock, "find", lambda: None)
    return queries.GridSession("village")


def rows(grid, observer):
    return {record["unit_id"]: record for record in queries._status_records(grid, observer)}


def test_every_member_has_a_row_also_one_that_is_not_heard(elsewhere, capsys):
    seen = [said("E001", 1000, 1000, lost_unit_ids=["E002"], suspect_unit_ids=["E003"])]
    found = rows(elsewhere, Seen(seen, 1001.0))
    assert list(found) == ["E001", "E002", "E003"]
    assert found["E002"] == {"unit_id": "E002"}
    tables.units(list(found.values()))
    assert capsys.readouterr().out.count("not heard") == 2


def test_what_is_old_says_its_age(elsewhere, capsys):
    seen = [said("E001", 1098, 1099), said("E002", 1040, 1041), said("E003", 1097, 1030)]
    found = rows(elsewhere, Seen(seen, 1100.0))
    assert [found[unit]["is_old"] for unit in found] == [False, True, True]
    tables.units(list(found.values()))
    shown = capsys.readouterr().out
    assert "not heard for 60 s" in shown
    assert "converter read 70 s ago" in shown


def test_a_clock_that_stands_is_told(elsewhere, capsys):
    found = rows(elsewhere, Seen([said("E001", 1000, 1000)], 1000.0, clock_moves=False))
    assert (found["E001"]["clock_stands"], found["E001"]["age_s"]) == (True, None)
    tables.units(list(found.values()))
    assert "the clock of this grid stands" in capsys.readouterr().out


def test_a_grid_without_a_clock_goes_by_ours(elsewhere):
    now_s = int(time.time())
    found = rows(elsewhere, Seen([said("E001", now_s - 40, now_s)], None, clock_moves=False))
    assert found["E001"]["clock_stands"] is False
    assert found["E001"]["age_s"] >= 40.0
