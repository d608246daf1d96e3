"""What follows from faults, in the cluster: whole agents (the protocol, 11)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deal_bench import DealBench, Led

from apis_core.events import Received
from apis_core.model.messages import Fault, OperationModeOrder
from apis_core.model.types import (
    NOBODY,
    ConverterMode,
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
)
from apis_core.model.units import NEVER_NS

RUN = OperationMode.RUN


def order(bench: DealBench, unit_id: str, mode: OperationMode) -> None:
    for to in bench.agents:
        bench.feed(to, Received(OperationModeOrder(unit_id=unit_id, mode=mode)))


def test_11_2_after_a_fatal_fault_of_the_bus_an_operator_must_start_the_grid_again():
    bench = DealBench()
    deal_id = bench.want("E001", "E002", 30.0)
    fault = Fault(
        unit_id="E003",
        reporter_id="E003",
        category=FaultCategory.HARDWARE,
        extent=FaultExtent.GLOBAL,
        level=FaultLevel.FATAL,
        code="fire",
        message="it burns",
    )
    for to in bench.agents:
        bench.feed(to, Received(fault))
    assert bench.run_until(lambda: bench.modes() == {ConverterMode.WAIT}, 30.0)
    bench.finish()
    assert bench.deals[deal_id].state is DealState.SCRAMMED
    bench.run_for(bench.policy.global_quarantine_ns / 1e9 + 60.0)
    modes = {unit.mode for unit in bench.snapshots()}
    assert modes == {OperationMode.FORCE_STOP}
    order(bench, NOBODY, RUN)
    order(bench, NOBODY, OperationMode.SOFT_STOP)
    again = bench.want("E001", "E002", 10.0)
    assert bench.finish()[again].state is DealState.COMPLETED


def burns(bench: DealBench, degc: float) -> None:
    plant = bench.plants["E001"]
    plant.reading = replace(plant.reading, converter_temp_degc=degc)


def test_w38_a_fault_that_comes_back_again_and_again_stays_until_an_operator_says_run():
    bench = DealBench()
    for _ in range(4):
        burns(bench, 70.0)
        assert bench.run_until(lambda: bool(bench.status("E001").fault_codes), 10.0)
        burns(bench, 25.0)
        bench.run_until(lambda: not bench.status("E001").fault_codes, 600.0)
    assert [until_ns for _, until_ns in bench.snapshot("E001").faults] == [NEVER_NS]
    order(bench, "E002", RUN)  # to another unit
    assert bench.snapshot("E001").fault_codes
    order(bench, "E001", RUN)
    bench.run_for(1.0)
    assert bench.snapshot("E001").fault_codes == ()
    again = bench.want("E001", "E002", 10.0)
    assert bench.finish()[again].state is DealState.COMPLETED


@pytest.mark.parametrize("category", [FaultCategory.LOGIC, FaultCategory.FRAMEWORK])
def test_11_2_a_grid_master_that_does_not_trust_itself_leaves_office_and_its_deals_go_on(category):
    bench = Led()
    deal_id = bench.want(bench.a, bench.b, 40.0)
    agent = bench.agents[bench.leader_id]
    broken = agent._fault_handler.raise_local("broken", "it lost count", bench.now_ns, category)
    bench._do(bench.leader_id, [*broken, *agent._settle(bench.now_ns)])
    assert bench.snapshot(bench.leader_id).grid_master is None
    bench.run_for(40.0)
    assert bench.master_id != bench.leader_id
    ended = bench.finish()[deal_id]
    assert (ended.state, ended.reason) == (DealState.COMPLETED, "")
