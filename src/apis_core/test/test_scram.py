"""A scram: every unit stops by itself, and what must stay off stays off (7.8, 11)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deal_bench import DealBench, Led
from test_fault_consequences import order

from apis_core.events import FaultsLatched, Received, RequestReceived
from apis_core.model.messages import ControlRequest, Fault, OperationModeOrder
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.types import (
    NOBODY,
    Alarm,
    ControlOperation,
    ConverterMode,
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
)

M, RUN = ConverterMode, OperationMode.RUN
HEAVY = "converter_heavy_alarm"


def told(level: FaultLevel = FaultLevel.ERROR, **changes: object) -> Fault:
    """What an operator's tool tells of the whole cluster."""
    fault = Fault(
        unit_id="E001",
        reporter_id="operator",
        category=FaultCategory.HARDWARE,
        extent=FaultExtent.GLOBAL,
        level=level,
        code="earth_fault",
        message="told by an operator",
    )
    return replace(fault, **changes)


def tell(bench: DealBench, fault: Fault, *deaf_ids: str) -> None:
    for to in bench.agents:
        if to not in deaf_ids:
            bench.feed(to, Received(fault))


def off_after_s(bench: DealBench, seconds: float = 90.0) -> dict[str, float]:
    """When each converter is in WAIT without current, from now. [s]"""
    began_ns, off_ns = bench.now_ns, dict.fromkeys(bench.plants, bench.now_ns)

    def look(_: object) -> None:
        for unit_id, plant in bench.plants.items():
            if plant.reading.mode is not M.WAIT or abs(bench.current_a(unit_id)) >= 0.05:
                off_ns[unit_id] = bench.now_ns

    bench.watchers.append(look)
    bench.run_for(seconds)
    bench.watchers.remove(look)
    return {unit_id: (ns - began_ns) / 1e9 for unit_id, ns in off_ns.items()}


def two_deals(bench: Led) -> tuple[str, str, str]:
    """Two deals that run: their currents a, c and d, and the reference b; the latter's id."""
    first, second = bench.want(bench.a, bench.b, 80.0), bench.want(bench.c, bench.d, 80.0)
    assert bench.state(first) is bench.state(second) is DealState.RUNNING
    (reference_id,) = (u for u, p in bench.plants.items() if p.reading.mode is M.VOLTAGE_REFERENCE)
    return first, second, reference_id


def must_be_off(bench: DealBench, reference_id: str, off_s: dict[str, float]) -> None:
    delay_s = bench.policy.scram_reference_delay_ns / 1e9
    currents_s = [seconds for unit_id, seconds in off_s.items() if unit_id != reference_id]
    assert max(currents_s) <= 2.0, off_s
    assert off_s[reference_id] <= delay_s + 3.0, off_s


CATEGORIES = [FaultCategory.HARDWARE, FaultCategory.LOGIC, FaultCategory.USER]


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("level", [FaultLevel.ERROR, FaultLevel.FATAL])
def test_7_8_a_scram_needs_no_grid_master(category, level):
    bench = Led()
    first, second, reference_id = two_deals(bench)
    bench.lose()
    bench.run_for(0.5)
    tell(bench, told(level, category=category))
    must_be_off(bench, reference_id, off_after_s(bench))
    bench.finish()
    for deal_id in (first, second):  # the next grid master knows why they are over
        assert bench.state(deal_id) is DealState.SCRAMMED
        assert bench.deals[deal_id].reason == "earth_fault: told by an operator"


def test_7_8_a_scram_that_the_grid_master_does_not_hear_of():
    bench = Led()
    _, _, reference_id = two_deals(bench)
    tell(bench, told(), bench.leader_id)
    must_be_off(bench, reference_id, off_after_s(bench))


def test_7_8_a_unit_that_does_not_hear_of_a_scram_is_stopped_by_the_grid_master():
    bench = Led()
    first, _, reference_id = two_deals(bench)
    tell(bench, told(), reference_id, bench.c)
    must_be_off(bench, reference_id, off_after_s(bench))
    assert bench.state(first) is DealState.SCRAMMED


def test_7_8_the_reference_waits_for_nobody_who_is_silent():
    bench = Led()
    _, _, reference_id = two_deals(bench)
    bench.lost = lambda sender, to: bench.c in (sender, to)
    tell(bench, told(), reference_id, bench.c)
    off_s = off_after_s(bench)
    assert off_s[reference_id] <= bench.policy.scram_reference_delay_ns / 1e9 + 3.0, off_s
    assert off_s[bench.d] <= 2.0, off_s


def test_11_1_an_order_that_crosses_a_scram_switches_nothing_on():
    bench = Led()
    first, _, _ = two_deals(bench)
    tell(bench, told(category=FaultCategory.USER), bench.leader_id)  # it has not heard yet
    bench.run_for(1.0)
    assert bench.plants[bench.a].reading.mode is M.WAIT
    before = len(bench.orders)
    request = ControlRequest(
        operation=ControlOperation.DISCHARGE,
        grid_master_id=bench.leader_id,
        term=bench.snapshot(bench.a).term,
        deal_id=first,
        grid_current_a=1.0,
        hold_ns=25_000_000_000,
    )
    requester = Requester(bench.leader_id, Origin(Asker.RECOVERY, 1))
    bench.feed(bench.a, RequestReceived(requester, request))
    bench.run_for(1.0)
    assert bench.plants[bench.a].reading.mode is M.WAIT
    assert not [o for u, o in bench.orders[before:] if u == bench.a and o.mode is M.DISCHARGE]


@pytest.mark.parametrize("code", ["leak", "branch_overload", "earth_fault"])
def test_11_2_what_a_person_must_look_at_keeps_the_bus_off_over_restarts_until_run(code):
    bench = DealBench()
    bench.want("E001", "E002", 30.0)
    tell(bench, told(code=code))
    bench.finish()
    bench.run_for(10 * bench.policy.global_quarantine_ns / 1e9)
    for unit_id in list(bench.agents):
        bench.kill(unit_id)
    bench.run_for(60.0)
    for unit_id in bench.plants:
        bench.start(unit_id)
    bench.run_for(60.0)
    order(bench, "E001", RUN)  # for one unit: the bus is everybody's
    order(bench, NOBODY, OperationMode.SOFT_STOP)
    bench.references.clear()
    bench.want("E001", "E002", 10.0)
    assert bench.references == []
    assert {unit.fault_codes for unit in bench.snapshots()} == {(code,)}
    order(bench, NOBODY, RUN)
    order(bench, NOBODY, OperationMode.SOFT_STOP)
    bench.run_for(1.0)
    again = bench.want("E001", "E002", 11.0)
    assert bench.finish()[again].state is DealState.COMPLETED


def test_11_2_a_run_that_is_older_than_the_stop_starts_nothing():
    bench = DealBench()
    tell(bench, told())
    version = bench.status("E001").global_mode_version
    for to in bench.agents:
        late = OperationModeOrder(unit_id=NOBODY, mode=RUN, version=version)
        bench.feed(to, Received(late))
    assert {unit.mode for unit in bench.snapshots()} == {OperationMode.FORCE_STOP}
    assert all(unit.fault_codes for unit in bench.snapshots())


def test_11_2_a_unit_that_was_down_when_an_operator_said_run_catches_up():
    bench = DealBench()
    tell(bench, told())
    bench.run_for(5.0)
    bench.kill("E003")
    order(bench, NOBODY, RUN)
    bench.run_for(5.0)
    bench.start("E003")
    bench.run_for(10.0)
    assert bench.snapshot("E003").fault_codes == ()
    assert bench.snapshot("E003").mode is RUN


def alarms(bench: DealBench, alarm: Alarm) -> None:
    plant = bench.plants["E001"]
    plant.reading = replace(plant.reading, alarm=alarm, mode=M.WAIT, grid_current_a=0.0)


def test_10_3_a_heavy_alarm_is_acknowledged_by_run_alone_and_outlasts_the_process():
    bench = DealBench()
    alarms(bench, Alarm.HEAVY)
    bench.run_for(5.0)
    assert bench.status("E001").fault_codes == (HEAVY,)
    before = len(bench.orders)
    bench.run_for(1_000.0)
    assert not [o for u, o in bench.orders[before:] if u == "E001" and o.mode is M.WAIT]
    bench.kill("E001")
    bench.start("E001")
    bench.run_for(5.0)
    assert bench.snapshot("E001").fault_codes == (HEAVY,)
    order(bench, "E002", RUN)
    bench.run_for(5.0)
    assert bench.snapshot("E001").fault_codes == (HEAVY,)
    before = len(bench.orders)
    order(bench, "E001", RUN)
    bench.run_for(1.5)
    assert [o for u, o in bench.orders[before:] if u == "E001" and o.mode is M.WAIT]
    alarms(bench, Alarm.NONE)
    bench.run_for(5.0)
    assert bench.snapshot("E001").fault_codes == ()
    entries = [r.entry for r in bench.journals["E001"] if isinstance(r.entry, FaultsLatched)]
    assert [len(entry.faults) for entry in entries] == [1, 0]


def test_10_3_a_heavy_alarm_that_stays_is_told_again_after_run():
    bench = DealBench()
    alarms(bench, Alarm.HEAVY)
    bench.run_for(5.0)
    order(bench, "E001", RUN)
    bench.run_for(20.0)
    assert bench.snapshot("E001").fault_codes == (HEAVY,)
