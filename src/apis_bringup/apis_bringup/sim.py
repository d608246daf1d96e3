"""``apisctl sim``: runs a grid for some simulated time without a window, and reports on it."""

from __future__ import annotations

import json
import math
import time
import zoneinfo
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from apis_bringup.errors import CommandError, usage_error
from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.plain import iso_time
from apis_bringup.records import (
    converter_mode_name,
    deal_record,
    fault_record,
    phase_records,
    receipt_records,
)
from apis_bringup.response_times import ResponseTimes
from apis_bringup.session import GridOptions, Session, open_session
from apis_core.model.units import LAST_TIME_S
from apis_interfaces.msg import OperationMode
from apis_ros.authenticator import operator_authenticator
from apis_site.grid import GridDescription
from apis_site.unit_journal import read_receipts

__all__ = ["run_sim"]

START_WITHIN_S = 90.0  # wall
SOFT_STOP_WITHIN_S = 1800.0  # simulated: a running deal may take long
FORCE_STOP_WITHIN_S = 120.0  # simulated
CLOCK_STALLS_AFTER_S = 30.0  # wall
PROGRESS_LINES = 10


class _Simulation:
    """One simulation: what to do while the grid runs, and what came of it."""

    def __init__(self, session: Session, graph: Graph, duration_s: float) -> None:
        self._session = session
        self._graph = graph
        self._observer = GridObserver(graph)
        self._response_times = ResponseTimes(graph)
        self._duration_s = duration_s
        self._ids = [unit.id for unit in session.grid.units]
        self._began_s = math.nan  # simulated
        self._ended_s = math.nan  # simulated
        self._is_complete = False
        self._wall_s = math.nan

    def run(self) -> int:
        """Run it; the exit code."""
        began = time.monotonic()
        try:
            code = self._session.run_with(self._watch, cancel=self._graph.cancel)
        finally:
            self._wall_s = time.monotonic() - began
        with self._graph.changed:
            return code or int(any(mode != "WAIT" for mode in self._converters().values()))

    def report(self) -> dict[str, Any]:
        """What happened, as plain data; see docs/ros2.md."""
        grid = self._session.grid
        zone = zoneinfo.ZoneInfo(grid.emulator.place.timezone)
        seconds = self._ended_s - self._began_s
        observer, run = self._observer, self._session.run
        receipts = {unit_id: read_receipts(run.journal_file(unit_id)) for unit_id in self._ids}
        return {
            "is_complete": self._is_complete,
            "deals": [
                {
                    **deal_record(deal, zone),
                    "phases": phase_records(observer.steps[deal_id], zone),
                    "books": receipt_records(deal, receipts),
                }
                for deal_id, deal in observer.deals.items()
            ],
            "converters": self._converters(),
            "faults": [fault_record(fault, zone) for fault in observer.faults],
            "terms": [
                {
                    "term": term,
                    "grid_master_id": status.unit_id,
                    "heard_at": iso_time(status.stamp, zone),
                }
                for term, status in sorted(observer.terms.items())
            ],
            "response_times": self._response_times.records(),
            "line_loss_wh": observer.line_loss_wh,
            "sim_seconds": None if math.isnan(seconds) else round(seconds, 3),
            "wall_seconds": round(self._wall_s, 3),
            "speed": grid.emulator.speed,
            "units": self._ids,
            "seed": grid.emulator.seed,
        }

    def _watch(self) -> None:
        observer = self._observer
        is_up = observer.wait_for(
            lambda: observer.now_s is not None and observer.statuses.keys() >= set(self._ids),
            within_s=START_WITHIN_S,
        )
        if not is_up:
            silent = [unit_id for unit_id in self._ids if unit_id not in observer.statuses]
            raise CommandError(
                f"not heard in {START_WITHIN_S:g} s: {', '.join(silent) or '/clock'}; "
                f"logs are in {self._session.run.log_folder}"
            )
        self._began_s = self._ended_s = self._now_s()
        self._session.runner.say(f"{len(self._ids)} units are up")
        for step in range(1, PROGRESS_LINES + 1):
            end_s = self._began_s + self._duration_s * step / PROGRESS_LINES
            self._wait_until(lambda: False, end_s)
            self._ended_s = self._now_s()
            self._say_progress()
        observer.set_mode(OperationMode.MODE_SOFT_STOP)
        if not self._wait_until(self._is_at_rest, self._now_s() + SOFT_STOP_WITHIN_S):
            observer.set_mode(OperationMode.MODE_FORCE_STOP)
            self._wait_until(self._is_at_rest, self._now_s() + FORCE_STOP_WITHIN_S)
        self._is_complete = True

    def _wait_until(self, condition: Callable[[], bool], end_s: float) -> bool:
        """Wait for a condition, but no longer than until a simulated time; whether it holds."""
        wait_for = self._observer.wait_for
        before_s = self._now_s()
        while not wait_for(
            lambda: condition() or self._now_s() >= end_s, within_s=CLOCK_STALLS_AFTER_S
        ):
            if self._now_s() == before_s:
                raise CommandError(f"the clock has stood still for {CLOCK_STALLS_AFTER_S:g} s")
            before_s = self._now_s()
        return wait_for(condition, within_s=0.0)

    def _now_s(self) -> float:
        return math.nan if self._observer.now_s is None else self._observer.now_s

    def _is_at_rest(self) -> bool:
        """Soft stop has arrived everywhere, no deal is left, and every converter waits."""
        modes = (OperationMode.MODE_SOFT_STOP, OperationMode.MODE_FORCE_STOP)
        statuses = self._observer.statuses.values()
        return (
            all(status.global_mode in modes and not status.deal_ids for status in statuses)
            and not self._observer.active_deals()
            and not self._observer.converters_on()
        )

    def _converters(self) -> dict[str, str]:
        """The mode in which each converter was last seen."""
        seen = self._observer.converters
        return {
            unit_id: converter_mode_name(seen[unit_id].mode) if unit_id in seen else "UNKNOWN"
            for unit_id in self._ids
        }

    def _say_progress(self) -> None:
        deals = self._observer.deals
        active = len(self._observer.active_deals())
        done_s = self._ended_s - self._began_s
        self._session.runner.say(
            f"{done_s:.0f} of {self._duration_s:g} s simulated, "
            f"{len(deals) - active} deals done, {active} under way"
        )


def run_sim(options: GridOptions, *, duration_s: float, report_file: Path) -> tuple[int, Any]:
    """Simulate, and write the report, also if it is interrupted.

    Args:
        options: What to run.
        duration_s: Simulated time in which new deals may begin. [s]
        report_file: Gets the report (JSON).

    Returns:
        The exit code, and the report. 0 = no process died and every converter ended in WAIT.

    Raises:
        ConfigError: A file or the command line is wrong; nothing was started.
        CommandError: The grid did not come up, or its clock stopped; the report is written.
    """
    _check_writable(report_file)
    with ExitStack() as stack:
        session = stack.enter_context(open_session(options))
        _check_end(session.grid, duration_s)
        authenticator = operator_authenticator(session.grid.keys)
        graph = stack.enter_context(Graph(session.grid.cluster, authenticator))
        simulation = _Simulation(session, graph, duration_s)
        try:
            code = simulation.run()
        finally:
            with graph.changed:
                report = simulation.report()
            report_file.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    return code, report


def _check_end(grid: GridDescription, duration_s: float) -> None:
    """Find out now that the time of the emulation would leave what ROS can say."""
    zone = zoneinfo.ZoneInfo(grid.emulator.place.timezone)
    left_s = LAST_TIME_S - grid.emulator.start.replace(tzinfo=zone).timestamp()
    if duration_s > left_s:
        last = datetime.fromtimestamp(LAST_TIME_S, zone).replace(tzinfo=None)
        right = f"must be at most {left_s:.0f}: messages of ROS know no time after {last}"
        raise usage_error("--for", f"{duration_s:g}", right)


def _check_writable(path: Path) -> None:
    """Find out now, not after two hours."""
    was_there = path.exists()
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise usage_error("--report", path, f"cannot be written: {error.strerror}") from None
    if not was_there:
        path.unlink()
