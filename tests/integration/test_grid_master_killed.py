"""The grid master's process is killed with SIGKILL in the middle of a deal, on real processes."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.overrides import Overrides
from apis_bringup.session import GridOptions, PreparedGrid, _child_environment, _command, prepare
from apis_interfaces.msg import Deal, OperationMode
from apis_site.unit_journal import read_receipts

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]
RUNNING, COMPLETED, ABORTED = Deal.STATE_RUNNING, Deal.STATE_COMPLETED, Deal.STATE_ABORTED
SOFT_STOP = OperationMode.MODE_SOFT_STOP
IDS = {"E001", "E002", "E003", "E004", "E005"}
BYSTANDERS = {"E003", "E004", "E005"}  # a majority


class Processes:
    """A grid's processes, started one by one: the runner would end all of them with the first."""

    def __init__(self, prepared: PreparedGrid, stack: ExitStack) -> None:
        self._prepared = prepared
        self._stack = stack
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        prepared.run.log_folder.mkdir(parents=True, exist_ok=True)
        self.start("emulator")

    def start(self, *names: str) -> None:
        """Start the emulator, or units by their ids."""
        for process in self._prepared.processes:
            name = process.name.removeprefix("unit ")
            if name in names:
                log = open(self._prepared.run.log_folder / f"{name}.txt", "wb")  # noqa: SIM115
                self._stack.enter_context(log)
                self._running[name] = subprocess.Popen(
                    _command(process),
                    env=dict(_child_environment(self._prepared.run)),
                    stdout=log,
                    stderr=log,
                )

    def kill(self, unit_id: str) -> None:
        """With SIGKILL."""
        self._running[unit_id].kill()
        assert self._running[unit_id].wait(10) == -signal.SIGKILL

    def start_again(self, unit_id: str) -> None:
        """Stop it in order first, which gives up its lease."""
        self._running[unit_id].terminate()
        self._running[unit_id].wait(60)
        self.start(unit_id)

    def stop(self) -> None:
        """In order."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait(30)

    def receipts(self, deal: Deal) -> tuple[float, float]:
        """What the giving and the taking unit wrote into their journals. [Wh over the bus]"""
        giver, taker = (
            read_receipts(self._prepared.run.journal_file(unit_id))[deal.deal_id].grid_moved_wh
            for unit_id in (deal.discharge_unit_id, deal.charge_unit_id)
        )
        return giver, taker


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch, domains: tuple[int, int]) -> Iterator[PreparedGrid]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domains[0]))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    options = GridOptions(overrides=Overrides(units=5, speed=20.0), web=False, quiet=True)
    with prepare(options) as grid:
        yield grid


@pytest.fixture
def processes(prepared: PreparedGrid) -> Iterator[Processes]:
    with ExitStack() as stack:
        started = Processes(prepared, stack)
        yield started
        started.stop()


@pytest.fixture
def grid(prepared: PreparedGrid) -> Iterator[GridObserver]:
    with Graph(prepared.grid.cluster) as graph:
        yield GridObserver(graph)


def wait_for_deal_in_the_middle(grid: GridObserver, among: set[str]) -> Deal:
    """A deal of these units of which a part has flowed."""

    def in_the_middle() -> list[Deal]:
        return [
            deal
            for deal in grid.deals.values()
            if {deal.discharge_unit_id, deal.charge_unit_id} <= among
            and deal.state == RUNNING
            and 0.05 < deal.moved_wh / deal.energy_wh < 0.7
        ]

    assert grid.wait_for(lambda: bool(in_the_middle()), within_s=120.0)
    return in_the_middle()[0]


def must_end_in_order(grid: GridObserver, master: str) -> None:
    """Another takes over, all deals end, and nothing stays on."""
    others = IDS - {master}
    assert grid.wait_for(
        lambda: any(grid.statuses[u].is_grid_master for u in others), within_s=30.0
    )
    grid.set_mode(SOFT_STOP)
    assert grid.wait_for(
        lambda: all(deal.state >= COMPLETED for deal in grid.deals.values()), within_s=90.0
    )
    assert grid.wait_for(lambda: not grid.converters_on(), within_s=30.0)


def test_a_bystander_s_office_is_taken_over_and_its_deal_goes_on(processes, grid):
    processes.start(*BYSTANDERS)
    assert grid.wait_for(lambda: grid.statuses.keys() >= BYSTANDERS, within_s=90.0)
    assert grid.wait_for(grid.is_listened_to, within_s=30.0)
    for unit_id in BYSTANDERS:
        grid.set_mode(SOFT_STOP, unit_id=unit_id)
    assert grid.wait_for(
        lambda: all(grid.statuses[u].local_mode == SOFT_STOP for u in BYSTANDERS), within_s=30.0
    )
    # one deal may have begun before they heard that; what its units do would count in the other
    assert grid.wait_for(
        lambda: not any(grid.statuses[u].deal_ids for u in BYSTANDERS), within_s=90.0
    )
    assert grid.wait_for(lambda: not grid.active_deals(), within_s=30.0)
    # they wait a while for the two that are missing before one of them leads
    assert grid.wait_for(lambda: bool(grid.terms), within_s=60.0)
    processes.start(*IDS - BYSTANDERS)
    deal = wait_for_deal_in_the_middle(grid, IDS - BYSTANDERS)
    for _ in range(3):  # a bystander whose disk or processor stood still has lost its lease
        if deal.grid_master_id in BYSTANDERS:
            break
        processes.start_again(deal.grid_master_id)
        deal = wait_for_deal_in_the_middle(grid, IDS - BYSTANDERS)
    master = deal.grid_master_id
    assert master in BYSTANDERS

    processes.kill(master)

    must_end_in_order(grid, master)
    ended = grid.deals[deal.deal_id]
    assert ended.state == COMPLETED, ended.reason
    assert ended.moved_wh == pytest.approx(ended.energy_wh, rel=0.01)
    assert ended.grid_master_id != master
    sent_wh, taken_wh = processes.receipts(ended)
    assert sent_wh == pytest.approx(taken_wh, rel=0.02)


def test_whoever_leads_another_takes_over_and_nothing_stays_on(processes, grid):
    processes.start(*IDS)
    assert grid.wait_for(lambda: grid.statuses.keys() >= IDS, within_s=90.0)
    deal = wait_for_deal_in_the_middle(grid, IDS)
    master = deal.grid_master_id

    processes.kill(master)

    must_end_in_order(grid, master)
    ended = grid.deals[deal.deal_id]
    # without its units, and without the one that holds the bus for it, nobody can go on
    needed = (deal.discharge_unit_id, deal.charge_unit_id, deal.voltage_reference_id)
    assert ended.state == ABORTED or master not in needed
    assert ended.grid_master_id != master
    if ended.state == COMPLETED:
        sent_wh, taken_wh = processes.receipts(ended)
        assert sent_wh == pytest.approx(taken_wh, rel=0.02)
