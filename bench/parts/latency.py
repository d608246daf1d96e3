"""From need to current: how soon a unit that comes short has a current, part by part.

Small grids of two houses run side by side, each in a ROS domain of its own, as real processes at
speed 1. A battery is set to short through the emulator's operator service; times are those at
which the graph tells of it. The bus ramps at 30 V/s, as it does by default; that time is told
apart and left out of the sum. So is the current's: it ramps at 10 A/s here.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.report import Report

CONFIG = Path(__file__).resolve().parents[2] / "config"
GRIDS, DEALS_A_GRID = 3, 7
TRIES_A_GRID = 9  # a machine that is busy with something else may stop a grid for seconds
FIRST_DOMAIN = int(os.environ.get("ROS_DOMAIN_ID") or 0)
GIVER, TAKER = "E001", "E002"
EDGE_WH = 1920.0  # of the band `short` of config/scenario.json
NEED_WH = 1.4  # below that edge; a deal brings 1 Wh, and the rest is too little for another
RESTS_WH = 2200.0
READ_PERIOD_S = 0.02
WITHIN_S = 90.0
REST_S = 1.0
PARTS = ("need_to_deal", "ramp", "proof", "start", "without_ramp", "release")


def measure(report: Report) -> None:
    """At least twenty deals, each on a dead bus."""
    domains = [FIRST_DOMAIN + index for index in range(GRIDS)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(GRIDS, mp_context=spawn) as pool:
        deals = [deal for deals in pool.map(measure_grid, domains) for deal in deals]
    by_part = {part: sorted(deal[part] for deal in deals) for part in PARTS}

    def p50(part: str) -> float:
        return statistics.median(by_part[part])

    count = f"{len(deals)} deals"
    report.at_least("latency.deals", len(deals), "", 20.0, "each on a dead bus, at speed 1")
    for part, bar_s, note in (
        ("need_to_deal", 0.2, "from the battery's reading to the deal"),
        ("proof", 2.5, "that nobody else holds the bus, whose reference ramps at 30 V/s"),
        ("start", 1.0, "the current at 10 A/s, and compensation"),
        ("without_ramp", 3.0, "from the reading to the full current, but for the bus ramp"),
    ):
        report.at_most(f"latency.{part}_p50_s", p50(part), "s", bar_s, note)
    worst = by_part["without_ramp"]
    p99_s = worst[min(round(0.99 * len(worst)), len(worst) - 1)]
    report.at_most("latency.without_ramp_p99_s", p99_s, "s", 5.0, f"the same, of {count}")
    report.tell("latency.ramp_p50_s", p50("ramp"), "s", "of the bus, left out above")
    note = "from the end of the energy to the slots given back"
    report.tell("latency.release_p50_s", p50("release"), "s", note)


def measure_grid(domain: int) -> list[dict[str, float]]:
    """The times of the deals of one grid; in a process of its own. [s]"""
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # both join the graph of the domain that the environment names
    from apis_bringup.graph import Graph
    from apis_bringup.session import GridOptions, open_session

    deals: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cluster = f"latency{domain}"
        options = GridOptions(config=_grid_file(Path(folder), cluster), web=False, quiet=True)
        session = stack.enter_context(open_session(options))
        graph = stack.enter_context(Graph(cluster))
        watch = _Watch(graph, Path(folder) / "state.json")

        def run() -> None:
            watch.begin()
            for _ in range(TRIES_A_GRID):
                if len(deals) < DEALS_A_GRID and (times := watch.deal()):
                    deals.append(times)
            watch.rest()

        session.run_with(run, cancel=graph.cancel)
    return deals


def _grid_file(folder: Path, cluster: str) -> Path:
    """Two houses that lose nothing, and deals of 1 Wh."""
    from apis_core.config.jsonc import parse_object

    policy, _ = parse_object((CONFIG / "policy.json").read_text(), "policy.json")
    policy |= {"memberUnitIds": [GIVER, TAKER], "largeCapacityUnitIds": []}
    policy["user"] |= {"houseKeepingPeriodMsec": 5000}
    policy["mediator"]["deal"] |= {"amountMinWh": 1, "amountMaxWh": 1, "amountUnitWh": 1}
    scenario, _ = parse_object((CONFIG / "scenario.json").read_text(), "scenario.json")
    section = scenario["00:00:00-24:00:00"]
    section["request"] = {"short": {"charge": {"limitWh": EDGE_WH, "pointPerWh": 12}}}
    for name, content in (("policy", policy), ("scenario", scenario)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    house = {"pv_peak_w": 0, "load_wh_per_year": 0}
    lossless = ("system_loss_w", "inverter_loss_w", "transformer_loss_w", "bypass_loss_w")
    grid = {
        "cluster": cluster,
        "policy": "policy.json",
        "composition": "separate",
        "units": [
            {
                "id": unit_id,
                "hardware": str(CONFIG / "hardware.json"),
                "scenario": "scenario.json",
                "house": {**house, "initial_soc_ratio": soc_ratio},
            }
            for unit_id, soc_ratio in ((GIVER, 0.7), (TAKER, RESTS_WH / 4800.0))
        ],
        "emulator": {
            "speed": 1,
            "bus": {"current_slew_a_per_s": 10.0},
            "house_model": dict.fromkeys(lossless, 0.0),
        },
    }
    file = folder / "grid.yaml"
    file.write_text(json.dumps(grid))  # JSON is YAML
    return file


@dataclass
class _Seen:
    """When things of one deal were seen first, by the steady clock of this process. [s]"""

    short_s: float = 0.0
    state_s: dict[int, float] = field(default_factory=dict)
    up_s: float = 0.0


class _Watch:
    """Makes a unit short, and notes when what follows is seen."""

    def __init__(self, graph: Any, state_file: Path) -> None:
        from sensor_msgs.msg import BatteryState

        from apis_bringup.graph import LATCHED, STATE
        from apis_interfaces.msg import Deal, UnitStatus
        from apis_interfaces.srv import ConverterCommand, EmulatorControl

        self._graph = graph
        self._file = state_file
        self._seen = _Seen()
        self._soc_ratio = 1.0
        self._statuses: dict[str, Any] = {}
        self._deal_id = ""
        self._known: set[str] = set()
        self._reading = False
        self._command = ConverterCommand
        self._control = EmulatorControl
        self._states = Deal
        graph.subscribe(Deal, "deals", self._hear_deal, LATCHED)
        name = TAKER.lower()
        graph.subscribe(BatteryState, f"{name}/battery_state", self._hear_battery, STATE)
        for unit_id in (GIVER, TAKER):
            graph.subscribe(UnitStatus, f"{unit_id.lower()}/status", self._hear_status, STATE)
        self._converter = graph.node.create_client(ConverterCommand, f"{name}/converter/command")
        self._emulator = graph.node.create_client(EmulatorControl, "emulator/control")

    def begin(self) -> None:
        """Wait until both units would deal."""
        self._wait(lambda: len(self._statuses) == 2 and all(map(_deals, self._statuses.values())))
        self._graph.every(READ_PERIOD_S, self._read)

    def deal(self) -> dict[str, float]:
        """One deal, from the need to the slots given back; how long its parts took. [s]

        Empty if it did not complete.
        """
        self.rest()
        seen = self._seen = _Seen()
        self._deal_id = ""
        self._load(EDGE_WH - NEED_WH)
        deal = self._states
        over = {deal.STATE_COMPLETED, deal.STATE_ABORTED, deal.STATE_SCRAMMED}
        self._wait(lambda: not over.isdisjoint(seen.state_s))
        if deal.STATE_COMPLETED not in seen.state_s:
            return {}
        at_s = seen.state_s
        ramp_s = seen.up_s - at_s[deal.STATE_RAMPING_UP]
        running_s = at_s[deal.STATE_RUNNING]
        return {
            "need_to_deal": min(at_s.values()) - seen.short_s,
            "ramp": ramp_s,
            "proof": at_s[deal.STATE_STARTING] - seen.up_s,
            "start": running_s - at_s[deal.STATE_STARTING],
            "without_ramp": running_s - seen.short_s - ramp_s,
            "release": at_s[deal.STATE_COMPLETED] - at_s[deal.STATE_STOPPING],
        }

    # --- what it hears ---------------------------------------------------------------------------

    def _hear_deal(self, deal: Any) -> None:
        if deal.deal_id in self._known and deal.deal_id != self._deal_id:
            return
        self._known.add(deal.deal_id)
        self._deal_id = deal.deal_id
        self._seen.state_s.setdefault(deal.state, time.monotonic())

    def _hear_battery(self, battery: Any) -> None:
        if battery.percentage < EDGE_WH / 4800.0 and not self._seen.short_s:
            self._seen.short_s = time.monotonic()
        self._soc_ratio = battery.percentage

    def _hear_status(self, status: Any) -> None:
        self._statuses[status.unit_id] = status

    def _read(self) -> None:
        """Look at the voltage of the bus, while it ramps up."""
        is_ramping = self._seen.state_s.keys() & {self._states.STATE_RAMPING_UP}
        if self._seen.up_s or not is_ramping or self._reading:
            return
        self._reading = True
        request = self._command.Request(operation=self._command.Request.OPERATION_READ)
        self._converter.call_async(request).add_done_callback(self._take_reading)

    def _take_reading(self, future: Any) -> None:
        with self._graph.changed:
            self._reading = False
            if future.result().state.grid_voltage_v >= 346.0:
                self._seen.up_s = self._seen.up_s or time.monotonic()

    # --- what it does ----------------------------------------------------------------------------

    def _wait(self, condition: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        if not self._graph.wait_for(condition, within_s=within_s):
            raise RuntimeError(f"it took longer than {within_s:g} s")

    def rest(self) -> None:
        """Give the taker so much that it wants nothing; the bus is down then."""
        self._load(RESTS_WH)
        self._wait(lambda: self._soc_ratio > EDGE_WH / 4800.0)
        threading.Event().wait(REST_S)

    def _load(self, stored_wh: float) -> None:
        """Set the taker's battery; converters must be in WAIT, so it is tried until they are."""
        until_s = time.monotonic() + WITHIN_S
        request = self._control.Request
        while self._do(request.OPERATION_SAVE):
            pass
        state = json.loads(self._file.read_text())
        state["units"][TAKER]["stored_wh"] = stored_wh
        self._file.write_text(json.dumps(state))
        while self._do(request.OPERATION_LOAD):
            if time.monotonic() > until_s:
                raise RuntimeError("a converter stays on")
            threading.Event().wait(0.2)

    def _do(self, operation: int) -> int:
        """The emulator's error code."""
        request = self._control.Request(operation=operation, file=str(self._file))
        done = threading.Event()
        future = self._emulator.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(WITHIN_S):
            raise RuntimeError("the emulator does not answer")
        return int(future.result().error_code)


def _deals(status: Any) -> bool:
    return not status.not_dealing_reason
