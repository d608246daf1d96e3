"""What the commands that look at a running grid, or steer it, do."""

from __future__ import annotations

import json
import time
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from typing import Any

from apis_bringup import run_lock, tables
from apis_bringup.errors import CommandError, usage_error
from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.past_deals import chosen_deals, past_deals
from apis_bringup.plain import message_class, to_plain, to_yaml
from apis_bringup.records import (
    deal_record,
    fault_record,
    house_record,
    mode_name,
    unit_details,
    unit_record,
)
from apis_bringup.run_folder import RunFolder
from apis_core.model.units import DAY_S
from apis_interfaces.msg import OperationMode
from apis_ros.authenticator import operator_authenticator
from apis_ros.names import DEALS, STATUS, in_cluster, in_unit

__all__ = [
    "MODES",
    "GridSession",
    "deals",
    "echo",
    "faults",
    "set_mode",
    "status",
    "topics",
    "units",
    "watch",
]

APPEARS_WITHIN_S = 3.0  # wall; discovery on one machine takes a second or so
STARTS_WITHIN_S = 40.0  # wall; a grid that runs here may have been started a moment ago
JOINED_WITHIN_S = 5.0  # wall; each tells the network of itself every 3 s; or has been stopped
OBEYED_WITHIN_S = 5.0  # wall
SETTLES_WITHIN_S = 1.0  # wall; for what may lack for good
WATCH_PERIOD_S = 0.5  # wall
OLD_S = 15.0  # of the grid's time; statuses come every 5 s, readings more often
OLD_WALL_S = 2.0  # and this much for what is under way
STORE = "history.sqlite"  # in the run folder

MODES = {
    "run": OperationMode.MODE_RUN,
    "soft-stop": OperationMode.MODE_SOFT_STOP,
    "force-stop": OperationMode.MODE_FORCE_STOP,
    "manual": OperationMode.MODE_MANUAL,
    "unset": OperationMode.MODE_UNSET,
}


class GridSession:
    """The grid that a command is about: the one that runs here, or one on the network."""

    def __init__(self, cluster: str | None, *, orders: bool = False) -> None:
        """Look for a grid on this machine.

        Args:
            cluster: Which one in the graph is meant; None = the one that runs here.
            orders: Whether the command orders something, and must be able to sign where there
                are keys.

        Raises:
            ConfigError: The grid has keys, and no operator's is here.
        """
        running = run_lock.find()
        self.is_here = running is not None and cluster in (None, running.cluster)
        self.cluster = cluster or (running.cluster if running else "village")
        self.unit_ids = set(running.units) if running and self.is_here else set()
        age_s = run_lock.age_s(running) if running else 0.0
        self.joined_within_s = max(STARTS_WITHIN_S - age_s, JOINED_WITHIN_S)
        description = _description(running) if running and self.is_here else {}
        self.zone = _zone(description)
        self.authenticator = operator_authenticator(
            description.get("keys"), may_be_silent=not orders
        )
        # What the dashboard of a grid that runs here keeps; None = it keeps nothing that we see.
        is_kept = running is not None and self.is_here and running.url is not None
        self.store = Path(running.folder) / STORE if running and is_kept else None

    @contextmanager
    def observe(self) -> Iterator[GridObserver]:
        """Listen until every unit has been heard: those of the run, or whichever answer.

        Raises:
            CommandError: Nobody answers.
        """
        with Graph(self.cluster, self.authenticator) as graph:
            observer = GridObserver(graph)
            if self.unit_ids:
                observer.wait_for(
                    lambda: observer.statuses.keys() >= self.unit_ids,
                    within_s=self.joined_within_s,
                )
            elif observer.wait_for(lambda: bool(observer.statuses), within_s=APPEARS_WITHIN_S):
                # How many there are is not known here: a moment for the others.
                observer.wait_for(lambda: False, within_s=SETTLES_WITHIN_S)
            if not observer.statuses:
                raise CommandError(
                    f"no unit of the cluster {self.cluster!r} answers on ROS_DOMAIN_ID "
                    f"{run_lock.domain_id()}; `make run` starts a grid"
                )
            yield observer


def status(grid: GridSession) -> list[dict[str, Any]]:
    """How every unit is; a unit of the run that does not answer has only its id."""
    with grid.observe() as observer:
        observer.wait_for(lambda: observer.clock_moves, within_s=SETTLES_WITHIN_S)
        return _status_records(grid, observer)


def watch(grid: GridSession, *, as_json: bool) -> None:
    """Show how every unit is and which deals run, again and again, until Ctrl-C."""
    with grid.observe() as observer, tables.live() as show:
        while True:
            # The graph's thread writes while we read: under its lock.
            with observer.lock:
                units = _status_records(grid, observer)
                deals = [deal_record(deal, grid.zone) for deal in observer.active_deals()]
                now_s = observer.now_s
            if as_json:
                print(json.dumps({"now_s": now_s, "units": units, "deals": deals}), flush=True)
            else:
                show(units, deals, _clock_text(now_s, grid.zone))
            observer.wait_for(lambda: False, within_s=WATCH_PERIOD_S)


def units(grid: GridSession, unit_id: str | None) -> list[dict[str, Any]]:
    """Battery, house and converter of every unit, or of one.

    Raises:
        ConfigError: There is no such unit.
    """
    with grid.observe() as observer:
        known = sorted(grid.unit_ids | observer.statuses.keys())
        if unit_id is not None and unit_id not in known:
            raise usage_error("UNIT", unit_id, f"must be one of {', '.join(known)}")
        # Not every grid has meters in its houses.
        observer.wait_for(
            lambda: observer.houses.keys() >= observer.statuses.keys(), within_s=SETTLES_WITHIN_S
        )
        return [
            unit_details(status) | house_record(observer.houses.get(one))
            for one, status in sorted(observer.statuses.items())
            if unit_id in (None, one)
        ]


def faults(grid: GridSession) -> list[dict[str, Any]]:
    """The faults that were reported, oldest first; `is_present` = the unit still reports it."""
    with grid.observe() as observer:
        # Each unit tells of its own, and an operator's program of what it reported: one by one.
        observer.wait_for_all(observer.faults, settles_within_s=SETTLES_WITHIN_S)
        with observer.lock:
            present = {u: set(status.fault_codes) for u, status in observer.statuses.items()}
            records = [
                fault_record(fault, grid.zone)
                | {"is_present": fault.code in present.get(fault.unit_id, ())}
                for fault in observer.faults
            ]
    return sorted(records, key=lambda record: record["at"] or "")


def _status_records(grid: GridSession, observer: GridObserver) -> list[dict[str, Any]]:
    """A record for every unit of the run and every member that another unit knows of."""
    with observer.lock:
        statuses = dict(observer.statuses)
        now_s, lateness_s = _present(observer), OLD_WALL_S * max(observer.clock_rate, 1.0)
    known = set(grid.unit_ids)
    for heard in statuses.values():
        known |= {*heard.lost_unit_ids, *heard.suspect_unit_ids}
    records = [{"unit_id": unit_id} for unit_id in known - statuses.keys()]
    for status in statuses.values():
        ages = {
            "age_s": _age_s(status.stamp, now_s),
            "converter_age_s": _age_s(status.converter.stamp, now_s),
        }
        oldest_s = max((age_s for age_s in ages.values() if age_s is not None), default=0.0)
        is_old = oldest_s > OLD_S + lateness_s
        clock = {"is_old": is_old, "clock_stands": now_s is None}
        records.append(unit_record(status) | ages | clock)
    return sorted(records, key=lambda record: str(record["unit_id"]))


def _present(observer: GridObserver) -> float | None:
    """The grid's present time; None = its clock stands. [s]"""
    if observer.clock_moves:
        return observer.now_s
    now_s = time.time()
    stamps = [_seconds(status.stamp) for status in observer.statuses.values()]
    # a grid without /clock goes by the wall's
    is_real = observer.now_s is None and any(abs(now_s - at_s) < DAY_S for at_s in stamps)
    return now_s if is_real else None


def _seconds(stamp: Any) -> float:
    return float(stamp.sec + stamp.nanosec * 1e-9)


def _age_s(stamp: Any, now_s: float | None) -> float | None:
    """How old something is; None = it has never been, or that is not known. [s]"""
    at_s = _seconds(stamp)
    return max(round(now_s - at_s, 1), 0.0) if now_s is not None and at_s > 0.0 else None


def _clock_text(now_s: float | None, zone: tzinfo) -> str:
    if now_s is None:
        return "no clock yet"
    return datetime.fromtimestamp(now_s, zone).strftime("%Y-%m-%d %H:%M:%S")


def deals(
    grid: GridSession, *, unit_id: str | None = None, state: str | None = None, days: float = 0.0
) -> list[dict[str, Any]]:
    """The deals that the grid masters still tell of and those that the dashboard has kept.

    Args:
        grid: Which grid.
        unit_id: Only deals of this unit; None = of all.
        state: Only deals in this state.
        days: Only deals of the last so many days, and what is not over; 0 = all.

    Returns:
        Their records, the oldest first.

    Raises:
        ConfigError: There is no such unit.
    """
    with grid.observe() as observer:
        # Whoever was grid master tells of its own; that there are none cannot be heard.
        observer.wait_for_all(observer.deals, settles_within_s=SETTLES_WITHIN_S)
        observer.wait_for(lambda: observer.now_s is not None, within_s=SETTLES_WITHIN_S)
        known = sorted(grid.unit_ids | observer.statuses.keys())
        if unit_id is not None and unit_id not in known:
            raise usage_error("--unit", unit_id, f"must be one of {', '.join(known)}")
        with observer.lock:
            present = [deal_record(deal, grid.zone) for deal in observer.deals.values()]
            now_s = observer.now_s or time.time()
    past = past_deals(grid.store, grid.zone) if grid.store else {}
    return chosen_deals(past, present, now_s=now_s, unit_id=unit_id, state=state, days=days)


def set_mode(
    grid: GridSession, mode: str, unit_id: str | None
) -> tuple[str, list[dict[str, Any]]]:
    """Order an operation mode and wait until it is in force.

    Args:
        grid: Which grid.
        mode: A key of :data:`MODES`.
        unit_id: The unit meant; None = the whole cluster.

    Returns:
        What came of it, for people and as a record for each unit meant.

    Raises:
        ConfigError: The unit is not known, or the mode is not one for it.
        CommandError: Not all units obeyed in time.
    """
    if unit_id is None and mode == "unset":
        raise usage_error("mode", mode, "needs --unit: only a unit's own mode can be unset")
    if unit_id is not None and mode == "manual":
        raise usage_error("mode", mode, "is for the whole cluster; leave --unit out")
    with grid.observe() as observer:
        known = sorted(grid.unit_ids | observer.statuses.keys())
        if unit_id is not None and unit_id not in known:
            raise usage_error("--unit", unit_id, f"must be one of {', '.join(known)}")
        meant = known if unit_id is None else [unit_id]
        field = "global_mode" if unit_id is None else "local_mode"

        def laggards() -> list[str]:
            heard = observer.statuses
            return [
                unit
                for unit in meant
                if unit not in heard or getattr(heard[unit], field) != MODES[mode]
            ]

        observer.wait_for(observer.is_listened_to, within_s=APPEARS_WITHIN_S)
        observer.set_mode(MODES[mode], unit_id=unit_id or "")
        if not observer.wait_for(lambda: not laggards(), within_s=OBEYED_WITHIN_S):
            raise CommandError(
                f"{mode} is not confirmed after {OBEYED_WITHIN_S:g} s by {', '.join(laggards())}"
            )
        modes = {unit: mode_name(observer.statuses[unit].effective_mode) for unit in meant}
    # A unit's own mode and the global one make up what it goes by, which may still be another.
    others = [f"{unit} goes by {its_mode}" for unit, its_mode in modes.items() if its_mode != mode]
    who = unit_id or f"all {len(meant)} units"
    text = f"{who}: {mode}" + (f" ({', '.join(others)})" if others else "")
    return text, [{"unit_id": unit, "mode": its_mode} for unit, its_mode in modes.items()]


def topics(grid: GridSession) -> dict[str, str]:
    """Type by name of all topics of the graph, as soon as the grid's are among them."""
    with Graph(grid.cluster) as graph:
        _wait_for_topics(grid, graph, {in_cluster(grid.cluster, DEALS)})
        return dict(sorted(graph.topics().items()))


def echo(grid: GridSession, topic: str, *, once: bool, as_json: bool) -> None:
    """Print what is said on a topic, until Ctrl-C, or once.

    Raises:
        CommandError: Nobody publishes on it.
    """
    with Graph(grid.cluster, grid.authenticator) as graph:
        name = topic if topic.startswith("/") else f"{graph.namespace}/{topic}"
        if not _wait_for_topics(grid, graph, {name}):
            near = ", ".join(t for t in sorted(graph.topics()) if t.startswith(graph.namespace))
            raise CommandError(f"there is no topic {name}; there are: {near or 'none'}")
        heard = 0

        def show(message: Any) -> None:
            nonlocal heard
            heard += 1
            if once and heard > 1:
                return
            data = to_plain(message)
            print(json.dumps(data) if as_json else to_yaml(data) + "---", flush=True)

        kind = message_class(graph.topics()[name])
        graph.subscribe(kind, name, show, graph.qos_that_hears(name))
        while not (graph.wait_for(lambda: once and heard > 0, within_s=3600.0)):
            pass


def _wait_for_topics(grid: GridSession, graph: Graph, names: set[str]) -> bool:
    """Wait until these topics are in the graph."""
    # The graph does not tell of its changes: have the condition looked at now and then.
    graph.every(0.1, lambda: None)
    # The topics of a grid that runs here may come late; others are there, or are misspelt.
    all_up = {in_unit(grid.cluster, unit_id, STATUS) for unit_id in grid.unit_ids}
    graph.wait_for(lambda: graph.topics().keys() >= all_up, within_s=STARTS_WITHIN_S)
    return graph.wait_for(lambda: graph.topics().keys() >= names, within_s=APPEARS_WITHIN_S)


def _description(running: run_lock.RunningGrid) -> dict[str, Any]:
    """The resolved description of a grid that runs here."""
    file = RunFolder(Path(running.folder)).grid_file
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it may be stopping just now
        return {}
    return description if isinstance(description, dict) else {}


def _zone(description: dict[str, Any]) -> tzinfo:
    """The time zone of the grid's place."""
    try:
        return zoneinfo.ZoneInfo(description["emulator"]["place"]["timezone"])
    except (ValueError, KeyError):
        return timezone.utc
