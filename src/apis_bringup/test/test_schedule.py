"""Soft stops for later: what a time means, and where it is kept."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")

from apis_bringup import run_lock, schedule
from apis_bringup.errors import CommandError
from apis_bringup.queries import GridSession
from apis_core.model.errors import ConfigError
from apis_site.history_values import Schedule
from apis_site.operator_history import OperatorHistory

NOW = datetime(2026, 11, 22, 21, 5, tzinfo=ZoneInfo("Asia/Tokyo"))
UTC_OFFSET = "+09:00"


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("21:09", "2026-11-22T21:09:00"),
        ("21:05", "2026-11-23T21:05:00"),
        ("08:00", "2026-11-23T08:00:00"),
        ("2026-11-30T08:00", "2026-11-30T08:00:00"),
        ("2026-11-22T12:30:00+00:00", "2026-11-22T21:30:00"),
    ],
)
def test_a_time_is_the_next_such_time_at_the_grids_place(text, due):
    assert schedule.due_time(text, NOW).astimezone(NOW.tzinfo).isoformat() == due + UTC_OFFSET


@pytest.mark.parametrize("text", ["tomorrow", "25:00", "2026-11-22T21:04"])
def test_what_is_no_time_or_past_is_refused(text):
    with pytest.raises(ConfigError, match="--at"):
        schedule.due_time(text, NOW)


@pytest.fixture
def grid(tmp_path, monkeypatch) -> GridSession:
    running = run_lock.RunningGrid("village", ("E001",), str(tmp_path), "http://127.0.0.1:1")
    monkeypatch.setattr(run_lock, "find", lambda: running)
    return GridSession(None)


def test_a_schedule_is_shown_and_cleared(grid, tmp_path):
    with closing(OperatorHistory(tmp_path / "history.sqlite")) as history:
        history.set_schedule(Schedule("", 1_795_349_340.0, "anna"))
        history.set_schedule(Schedule("E001", 1_795_349_000.0, "apisctl"))

    assert [(one["unit_id"], one["by"]) for one in schedule.schedules(grid)] == [
        ("E001", "apisctl"),
        ("", "anna"),
    ]
    assert schedule.schedules(grid)[1]["at"] == "2026-11-22T12:09:00+00:00"  # no zone: UTC
    schedule.set_schedule(grid, "E001", None)
    assert [one["unit_id"] for one in schedule.schedules(grid)] == [""]


def test_without_a_dashboard_nobody_would_keep_it(grid, tmp_path):
    with pytest.raises(CommandError, match="no dashboard runs here"):
        schedule.schedules(grid)
    (tmp_path / "history.sqlite").touch()  # an empty store
    with pytest.raises(CommandError, match="no dashboard runs here"):
        schedule.schedules(grid)
    with pytest.raises(ConfigError, match="must be one of E001"):
        schedule.set_schedule(grid, "E009", None)
