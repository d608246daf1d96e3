"""``apisctl schedule``: Soft stops for later. The dashboard keeps them, and orders them when due.

They stand in the operator's history, which lies in the run folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from apis_bringup import run_lock
from apis_bringup.errors import CommandError, usage_error
from apis_bringup.queries import STARTS_WITHIN_S, STORE, GridSession
from apis_site.history_values import Schedule
from apis_site.operator_history import HistoryError, OperatorHistory

__all__ = ["due_time", "schedules", "set_schedule"]

WHO = "apisctl"


def schedules(grid: GridSession) -> list[dict[str, Any]]:
    """The Soft stops that are still to come, the next one first."""
    with _history() as history:
        found = history.schedules()
    return [
        {
            "unit_id": one.unit_id,
            "at": datetime.fromtimestamp(one.due_s, grid.zone).isoformat(),
            "by": one.who,
        }
        for one in found
    ]


def set_schedule(grid: GridSession, unit_id: str | None, at: str | None) -> None:
    """Have a unit, or the whole cluster, stop softly later; an earlier order for it is replaced.

    Args:
        grid: The grid that runs here.
        unit_id: None = the whole cluster.
        at: Time of day, or date and time, at the grid's place; None = not at all.

    Raises:
        ConfigError: There is no such unit, or the time is none or past.
        CommandError: No dashboard keeps schedules here.
    """
    if unit_id is not None and unit_id not in grid.unit_ids:
        raise usage_error("--unit", unit_id, f"must be one of {', '.join(sorted(grid.unit_ids))}")
    with _history() as history:
        if at is None:
            history.clear_schedule(unit_id or "")
            return
        with grid.observe() as observer:
            observer.wait_for(lambda: observer.now_s is not None, within_s=STARTS_WITHIN_S)
            now_s = observer.now_s
        if now_s is None:
            raise CommandError("the grid's clock is not heard")
        due = due_time(at, datetime.fromtimestamp(now_s, grid.zone))
        history.set_schedule(Schedule(unit_id or "", due.timestamp(), WHO))


def due_time(text: str, now: datetime) -> datetime:
    """When a text means: the next such time of day, or a date and time, at the place of `now`.

    Raises:
        ConfigError: It is neither, or lies in the past.
    """
    right = "must be a time such as 21:09 or 2026-11-22T21:09"
    zone: tzinfo | None = now.tzinfo
    try:
        due = datetime.fromisoformat(text)
    except ValueError:
        try:
            time = datetime.strptime(text, "%H:%M").time()
        except ValueError:
            raise usage_error("--at", text, right) from None
        due = datetime.combine(now.date(), time, zone)
        return due if due > now else due + timedelta(days=1)
    due = due if due.tzinfo else due.replace(tzinfo=zone)
    if due <= now:
        raise usage_error(
            "--at", text, f"must lie ahead of the grid's clock, {now:%Y-%m-%d %H:%M}"
        )
    return due


@contextmanager
def _history() -> Iterator[OperatorHistory]:
    running = run_lock.find()
    if running is None:
        raise CommandError(f"no grid runs here on ROS_DOMAIN_ID {run_lock.domain_id()}")
    file = Path(running.folder) / STORE
    lacking = CommandError("no dashboard runs here, which would keep schedules; start one")
    if running.url is None:
        raise lacking
    try:
        history = OperatorHistory.join(file)
    except HistoryError:
        raise lacking from None
    with closing(history):
        try:
            yield history
        except HistoryError as error:
            raise CommandError(f"{file}: {error}") from None
