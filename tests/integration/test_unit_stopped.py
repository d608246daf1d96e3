"""A unit's process is stopped with SIGSTOP in the middle of a deal, on real processes: below it
the dead man brings its converter to WAIT.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.overrides import Overrides
from apis_bringup.session import GridOptions, PreparedGrid, _child_environment, _command, prepare
from apis_core.unit.agent import AgentSettings
from apis_interfaces.msg import ConverterState, Deal, OperationMode

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]
HOLD_S = AgentSettings.__dataclass_fields__["driver_hold_s"].default
HEARD_S = 1.5  # until the news of the WAIT is here, on a busy machine


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch, domains: tuple[int, int]) -> Iterator[PreparedGrid]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domains[0]))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    options = GridOptions(overrides=Overrides(units=5, speed=20.0), web=False, quiet=True)
    with prepare(options) as grid:
        yield grid


@pytest.fixture
def processes(prepared: PreparedGrid) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Started without the runner, which would end all of them with the first."""
    folder = prepared.run.log_folder
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        started = {}
        for process in prepared.processes:
            log = stack.enter_context(open(folder / f"{process.name}.txt", "wb"))
            started[process.name] = subprocess.Popen(
                _command(process),
                env=dict(_child_environment(prepared.run)),
                stdout=log,
                stderr=log,
            )
        yield started
        for process in started.values():
            process.send_signal(signal.SIGINT)
        for process in started.values():
            process.wait(30)


def test_converter_goes_to_wait_within_its_hold_time(prepared, processes):
    with Graph(prepared.grid.cluster) as graph:
        grid = GridObserver(graph)
        ids = {unit.id for unit in prepared.grid.units}
        assert grid.wait_for(lambda: grid.statuses.keys() >= ids, within_s=90.0)

        def in_mid_deal() -> list[str]:
            on = set(grid.converters_on())  # a topic of each unit, which may be found later
            return [
                unit_id
                for deal in grid.deals.values()
                if deal.state == Deal.STATE_RUNNING and deal.moved_wh < 0.3 * deal.energy_wh
                for unit_id in (deal.discharge_unit_id, deal.charge_unit_id)
                if unit_id not in (deal.voltage_reference_id, deal.grid_master_id)
                and unit_id in on
            ]

        assert grid.wait_for(lambda: bool(in_mid_deal()), within_s=90.0)
        unit_id = in_mid_deal()[0]
        (name,) = [p.name for p in prepared.processes if unit_id in p.arguments]
        stopped = processes[name]
        os.kill(stopped.pid, signal.SIGSTOP)
        began_s = time.monotonic()
        try:
            state = lambda: grid.converters[unit_id]  # noqa: E731
            assert grid.wait_for(
                lambda: state().mode == ConverterState.MODE_WAIT, within_s=HOLD_S + HEARD_S
            )
            assert time.monotonic() - began_s < HOLD_S + HEARD_S
            if state().stop_cause != ConverterState.STOP_HOLD_EXPIRED:
                # the grid master was quicker: it has ended the deal of a unit that is silent, and
                # the bus has gone down under the converter
                assert "under-voltage" in state().stop_detail
                assert all(
                    deal.state != Deal.STATE_RUNNING
                    for deal in grid.deals.values()
                    if unit_id in (deal.discharge_unit_id, deal.charge_unit_id)
                )
            else:
                assert "not renewed within its hold time" in state().stop_detail
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        grid.set_mode(OperationMode.MODE_SOFT_STOP)
        assert grid.wait_for(lambda: not grid.converters_on(), within_s=120.0)
