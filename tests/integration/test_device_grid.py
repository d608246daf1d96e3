"""A grid whose converters are reached in every way: two over serial lines, one over HTTP, one
natively. The drivers are the real ones; what they drive is emulated.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters

from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.overrides import Overrides
from apis_bringup.response_times import ResponseTimes
from apis_bringup.session import GridOptions, PreparedGrid, _child_environment, _command, prepare
from apis_interfaces.msg import Deal, Fault, OperationMode

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(400)]
ROOT = Path(__file__).resolve().parents[2]
DEAL_WH = 30
EXACT_RATIO = 0.002  # at this speed 60 ms of the clock: what an order may be late
LATE_RATIO = 0.02  # 0.6 s of the clock for a driver that gets no turn
TICKS_WH = 0.1  # 20 ms of the clock at 700 W, at both ends of each run and of that which lands
# A hand-over takes a serial line six exchanges of 41 ms, some 1.2 s at this speed, in which nobody
# reads: up to 2.3 A come, and go.
HAND_OVER_WH = 0.6
UNITS = ("E001", "E002", "E003", "E004")
DRIVEN = UNITS[:3]


def is_exact(deal: Deal) -> bool:
    """On a busy machine a driver's turn may come too late; then the deal says so."""
    gap_wh = deal.moved_wh - deal.energy_wh
    if abs(gap_wh) <= EXACT_RATIO * deal.energy_wh:
        return True
    return 0.0 < gap_wh <= LATE_RATIO * deal.energy_wh and "more than agreed" in deal.reason


@pytest.fixture
def grid_file(tmp_path) -> Path:
    """The grid that comes with the project, with deals that are soon over."""
    grid = yaml.safe_load((ROOT / "config" / "device_grid.yaml").read_text())
    policy = (ROOT / "config" / "policy.json").read_text()
    for key, old in (("amountMinWh", 50), ("amountMaxWh", 100), ("amountUnitWh", 50)):
        assert f'"{key}" : {old}' in policy
        policy = policy.replace(f'"{key}" : {old}', f'"{key}" : {DEAL_WH}')
    (tmp_path / "policy.json").write_text(policy)
    grid["policy"] = str(tmp_path / "policy.json")
    for unit in grid["units"]:
        for key in ("hardware", "scenario"):
            unit[key] = str(ROOT / "config" / unit[key])
    grid["emulator"]["physics"] = str(ROOT / "config" / grid["emulator"]["physics"])
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    return tmp_path / "grid.yaml"


@pytest.fixture
def prepared(grid_file, monkeypatch, domains: tuple[int, int]) -> Iterator[PreparedGrid]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domains[0]))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with prepare(GridOptions(grid_file, Overrides(), web=False, quiet=True)) as grid:
        yield grid


@pytest.fixture
def processes(prepared: PreparedGrid) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Started without the runner, which would end all of them with the first."""
    with ExitStack() as stack:
        started = {}
        prepared.run.log_folder.mkdir(parents=True, exist_ok=True)
        for process in prepared.processes:
            log = stack.enter_context(open(prepared.run.log_folder / f"{process.name}.txt", "wb"))
            started[process.name] = subprocess.Popen(
                _command(process),
                env=dict(_child_environment(prepared.run)),
                stdout=log,
                stderr=log,
            )
        yield started
        for turn in sorted({process.role.stop_turn for process in prepared.processes}):
            group = [started[p.name] for p in prepared.processes if p.role.stop_turn == turn]
            for process in group:
                process.send_signal(signal.SIGINT)
            for process in group:
                process.wait(30)


class Site:
    """The grid as the tests look at it, and the emulator's own view of its converters."""

    def __init__(self, graph: Graph) -> None:
        self.grid = GridObserver(graph)
        self.response_times = ResponseTimes(graph)
        self.truth: dict[str, str] = {}
        self._graph = graph
        graph.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        self._set = graph.node.create_client(SetParameters, "emulator/set_parameters")

    def until(self, condition, what: str, within_s: float) -> float:
        """Wait; returns how long it took. [s]"""
        began_s = time.monotonic()
        if not self.grid.wait_for(condition, within_s=within_s):
            deals = [(d.state, d.reason) for d in self.grid.deals.values()]
            faults = [(f.unit_id, f.code, f.message) for f in self.grid.faults]
            pytest.fail(f"waited in vain for {what}; deals {deals}, faults {faults}")
        return time.monotonic() - began_s

    def deals(self, state: int) -> list[Deal]:
        return [deal for deal in self.grid.deals.values() if deal.state == state]

    def plug(self, unit: str, is_in: bool) -> None:
        value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=is_in)
        request = SetParameters.Request(
            parameters=[Parameter(name=f"{unit}.plugged", value=value)]
        )
        assert self._set.wait_for_service(10.0)
        future = self._set.call_async(request)
        self.until(future.done, "the emulator's answer", 20.0)
        assert future.result().results[0].successful

    def rest(self, mode: int = OperationMode.MODE_SOFT_STOP) -> None:
        """No new deals; wait until the others are over, and the emulator has said so, too."""
        self.grid.set_mode(mode)
        self.until(lambda: not self.grid.active_deals(), "the end of all deals", 120.0)
        self.until(lambda: not self.grid.converters_on(), "WAIT everywhere", 60.0)
        self.truth.clear()
        self.until(lambda: bool(self.truth), "the emulator's word", 10.0)
        assert {value for key, value in self.truth.items() if key.endswith(".mode")} == {"WAIT"}

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "emulator: converters":
                self.truth = {item.key: item.value for item in status.values}


def test_deals_with_every_kind_of_device_and_a_plug_that_is_pulled(prepared, processes):
    with Graph(prepared.grid.cluster) as graph:
        site = Site(graph)
        site.until(lambda: site.grid.statuses.keys() >= set(UNITS), "all units", 120.0)

        def dealt() -> set[str]:
            ends = [
                (d.discharge_unit_id, d.charge_unit_id) for d in site.deals(Deal.STATE_COMPLETED)
            ]
            return {unit for pair in ends for unit in pair}

        site.until(lambda: dealt() == set(UNITS), "a deal with every unit", 240.0)
        for deal in site.deals(Deal.STATE_COMPLETED):
            print(f"{deal.discharge_unit_id}>{deal.charge_unit_id}: {deal.moved_wh:.4f} Wh")
            assert is_exact(deal), deal
        site.rest()
        for unit in DRIVEN:
            state = site.grid.converters[unit]
            for name in ("grid_charged_wh", "grid_discharged_wh"):
                true_wh = float(site.truth[f"{unit.lower()}.{name}"])
                counted_wh = getattr(state, name)
                print(f"{unit} {name}: {counted_wh:.4f}, true {true_wh:.4f}")
                unseen_wh = TICKS_WH + HAND_OVER_WH + EXACT_RATIO * true_wh
                assert abs(counted_wh - true_wh) <= unseen_wh, unit
        times = site.response_times.records()
        assert {record["unit_id"] for record in times} == set(DRIVEN)
        for record in times:
            print("{unit_id} {what}: median {median_s} s, worst {worst_s} s".format(**record))
            assert record["count"] > 0
            assert record["median_s"] < record["budget_s"]
        site.grid.set_mode(OperationMode.MODE_RUN)

        # --- the plug of a converter, in the middle of a deal ---
        def mine() -> list[Deal]:
            return [
                d
                for d in site.deals(Deal.STATE_RUNNING)
                if "E002" in (d.discharge_unit_id, d.charge_unit_id)
            ]

        site.until(lambda: bool(mine()), "a deal of E002", 120.0)
        (deal, *_) = mine()
        site.until(lambda: site.truth.get("e002.mode") != "WAIT", "the emulator's word", 10.0)
        site.plug("e002", False)
        took_s = site.until(lambda: site.truth["e002.mode"] == "WAIT", "WAIT", 20.0)
        limit_s = prepared.grid.units[1].device.silence_limit_s
        print(f"WAIT {took_s:.2f} s after the plug was pulled")
        assert took_s < limit_s + 2.0  # the emulator tells once a second
        site.until(
            lambda: any(
                f.unit_id == "E002"
                and f.code == "converter_unreachable"
                and f.category == Fault.CATEGORY_HARDWARE
                and f.deal_id == deal.deal_id
                for f in site.grid.faults
            ),
            "the fault",
            20.0,
        )
        site.until(
            lambda: site.grid.deals[deal.deal_id].state > Deal.STATE_RELEASING, "its end", 60.0
        )
        site.plug("e002", True)
        site.until(lambda: bool(mine()), "E002 to deal again", 180.0)
        site.rest(OperationMode.MODE_FORCE_STOP)
