"""What follows from faults, in the village: whole agents (the protocol, 11)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from market import Led, Market

from apis_core.events import Received
from apis_core.messages import Fault, OperationModeOrder
from apis_core.types import (
    NOBODY,
    ConverterMode,
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
)
from apis_core.units import NEVER_NS

RUN = OperationMode.RUN


def order(market: Market, unit_id: str, mode: OperationMode) -> None:
    for to in market.agents:
        market.feed(to, Received(OperationModeOrder(unit_id=unit_id, mode=mode)))


def test_11_2_after_a_fatal_fault_of_the_bus_an_operator_must_start_the_grid_again():
    market = Market()
    deal_id = market.want("E001", "E002", 30.0)
    fault = Fault(
        unit_id="E003",
        reporter_id="E003",
        category=FaultCategory.HARDWARE,
        extent=FaultExtent.GLOBAL,
        level=FaultLevel.FATAL,
        code="fire",
        message="it burns",
    )
    for to in market.agents:
        market.feed(to, Received(fault))
    assert market.run_until(lambda: market.modes() == {ConverterMode.WAIT}, 30.0)
    market.finish()
    assert market.deals[deal_id].state is DealState.SCRAMMED
    market.run_for(market.policy.global_quarantine_ns / 1e9 + 60.0)
    modes = {unit.mode for unit in market.snapshots()}
    assert modes == {OperationMode.FORCE_STOP}
    order(market, NOBODY, OperationMode.SOFT_STOP)
    again = market.want("E001", "E002", 10.0)
    assert market.finish()[again].state is DealState.COMPLETED


def burns(market: Market, degc: float) -> None:
    plant = market.plants["E001"]
    plant.reading = replace(plant.reading, converter_temp_degc=degc)


def test_w38_a_fault_that_comes_back_again_and_again_stays_until_an_operator_says_run():
    market = Market()
    for _ in range(4):
        burns(market, 70.0)
        assert market.run_until(lambda: bool(market.status("E001").fault_codes), 10.0)
        burns(market, 25.0)
        market.run_until(lambda: not market.status("E001").fault_codes, 600.0)
    assert [until_ns for _, until_ns in market.snapshot("E001").faults] == [NEVER_NS]
    order(market, "E002", RUN)  # to another unit
    assert market.snapshot("E001").fault_codes
    order(market, "E001", RUN)
    market.run_for(1.0)
    assert market.snapshot("E001").fault_codes == ()
    again = market.want("E001", "E002", 10.0)
    assert market.finish()[again].state is DealState.COMPLETED


@pytest.mark.parametrize("category", [FaultCategory.LOGIC, FaultCategory.FRAMEWORK])
def test_11_2_a_grid_master_that_does_not_trust_itself_leaves_office_and_its_deals_go_on(category):
    market = Led()
    deal_id = market.want(market.a, market.b, 40.0)
    agent = market.agents[market.leader_id]
    broken = agent._raise_local("broken", "it lost count", market.now_ns, category)
    market._do(market.leader_id, [*broken, *agent._settle(market.now_ns)])
    assert market.snapshot(market.leader_id).grid_master is None
    market.run_for(40.0)
    assert market.master_id != market.leader_id
    ended = market.finish()[deal_id]
    assert (ended.state, ended.reason) == (DealState.COMPLETED, "")
