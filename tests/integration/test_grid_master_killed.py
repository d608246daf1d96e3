"""The grid master's process is killed with SIGKILL in the middle of a deal, on real processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.overrides import Overrides
from apis_bringup.session import GridOptions, PreparedGrid, _child_environment, _command, prepare
from apis_interfaces.msg import Deal, OperationMode

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]
RUNNING, COMPLETED, ABORTED = Deal.STATE_RUNNING, Deal.STATE_COMPLETED, Deal.STATE_ABORTED


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch, domains: tuple[int, int]) -> Iterator[PreparedGrid]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domains[0]))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # a killed process leaves its shared memory behind, and the tests after this one would meet it
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    options = GridOptions(overrides=Overrides(units=5, speed=20.0), web=False, quiet=True)
    with prepare(options) as grid:
        yield grid


@pytest.fixture
def processes(prepared: PreparedGrid) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Started without the runner, which would end all of them with the first."""
    with ExitStack() as stack:
        started = {}
        for process in prepared.processes:
            log = stack.enter_context(open(prepared.run.log_folder / f"{process.name}.txt", "wb"))
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


def test_another_takes_over_the_books_agree_and_nothing_stays_on(prepared, processes):
    with Graph(prepared.grid.cluster) as graph:
        grid = GridObserver(graph)
        ids = {unit.id for unit in prepared.grid.units}
        assert grid.wait_for(lambda: grid.statuses.keys() >= ids, within_s=90.0)

        def running() -> list[Deal]:
            return [deal for deal in grid.deals.values() if deal.state == RUNNING]

        assert grid.wait_for(lambda: bool(running()), within_s=60.0)
        (deal, *_) = running()
        master = deal.grid_master_id
        (name,) = [process.name for process in prepared.processes if master in process.arguments]
        victim = processes[name]

        os.kill(victim.pid, signal.SIGKILL)

        others = ids - {master}
        assert grid.wait_for(
            lambda: any(grid.statuses[u].is_grid_master for u in others), within_s=30.0
        )
        grid.set_mode(OperationMode.MODE_SOFT_STOP)
        open_ = lambda: [d for d in grid.deals.values() if d.state < COMPLETED]  # noqa: E731
        assert grid.wait_for(lambda: not open_(), within_s=90.0)
        assert grid.wait_for(lambda: not grid.converters_on(), within_s=30.0)
        ended = grid.deals[deal.deal_id]
        # without its units, and without the one that holds the bus for it, nobody can go on
        needed = (deal.discharge_unit_id, deal.charge_unit_id, deal.voltage_reference_id)
        can_go_on = master not in needed
        assert ended.state == (COMPLETED if can_go_on else ABORTED), ended.reason
        assert ended.grid_master_id != master
    if can_go_on:
        sent, taken = (
            receipt(prepared, unit_id, deal.deal_id)
            for unit_id in (deal.discharge_unit_id, deal.charge_unit_id)
        )
        # at this speed an order takes seconds of the deal's time, and one side stops so much later
        assert sent == pytest.approx(taken, rel=0.05)


def receipt(prepared: PreparedGrid, unit_id: str, deal_id: str) -> float:
    """What a unit's journal says that it moved over the bus for a deal. [Wh]"""
    with sqlite3.connect(prepared.run.journal_file(unit_id)) as journal:
        rows = [str(row) for row in journal.execute("select * from entries")]
    (row,) = [row for row in rows if "grid_moved_wh" in row and deal_id in row]
    return float(row.split('grid_moved_wh": ')[1].split(",")[0].split("}")[0])
