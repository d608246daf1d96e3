"""Several deals at once, in the cluster: whole agents, a plain plant, a slow network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deal_bench import CAPACITY_A, DealBench, Led, sides

from apis_core.events import DealUnwanted, Received
from apis_core.model.messages import OperationModeOrder
from apis_core.model.types import ConverterMode, DealState, Direction, OperationMode, StopCause
from apis_core.model.units import SECOND_NS

M = ConverterMode


def test_7_two_deals_share_the_voltage_reference():
    bench = DealBench()
    bench.want("E001", "E002", 30.0)
    bench.want("E004", "E002", 20.0)
    assert bench.plants["E002"].reading.grid_current_a == pytest.approx(2.0)
    bench.must_balance()
    assert bench.references == ["E002"]


def test_7_two_deals_share_a_unit_that_holds_a_current():
    bench = DealBench()
    bench.want("E001", "E002", 30.0)
    bench.want("E001", "E003", 20.0)
    assert bench.plants["E001"].reading.grid_current_a == pytest.approx(-2.0)
    assert bench.plants["E002"].reading.grid_current_a == pytest.approx(1.0)
    bench.must_balance()


def test_7_a_pair_deals_beside_the_reference_and_does_not_burden_it():
    bench = DealBench()
    bench.want("E001", "E002", 30.0)
    bench.want("E004", "E003", 20.0)
    assert bench.plants["E002"].reading.grid_current_a == pytest.approx(1.0)
    bench.must_balance()
    assert bench.worst_reference_a < 1.5  # also while the pair starts and stops


@pytest.mark.parametrize("side", list(Direction))
def test_7_3_a_pair_that_joins_does_not_burden_a_reference_at_full_load(side):
    """Its converter carries 2.3 A: whose current starts first must go against what it carries."""
    bench = DealBench(voltage_reference_side=side)
    if side is Direction.CHARGE:
        bench.want("E001", "E002", 30.0)
        bench.want("E004", "E002", 30.0)
    else:
        bench.want("E001", "E002", 30.0)
        bench.want("E001", "E003", 30.0)
    assert bench.worst_reference_a == pytest.approx(2.0)
    bench.want("E004", "E003", 20.0)
    assert bench.worst_reference_a <= CAPACITY_A
    bench.must_balance()


@pytest.mark.parametrize("metering_side", list(Direction))
@pytest.mark.parametrize("voltage_side", list(Direction))
def test_7_either_side_may_hold_the_bus_and_either_may_count(voltage_side, metering_side):
    """The reference never carries more than its own deal, whichever way that flows."""
    bench = DealBench(voltage_reference_side=voltage_side, metering_side=metering_side)
    first = bench.want("E001", "E002", 15.0)
    bench.want("E004", "E003", 25.0)
    giver, taker = sides(bench.deals[first])
    holder = taker if voltage_side is Direction.CHARGE else giver
    assert bench.references == [holder]
    assert bench.current_a(holder) == pytest.approx(1.0 if holder == taker else -1.0)
    bench.must_balance()
    assert bench.worst_reference_a < 1.5


@pytest.mark.parametrize("shared", ["giver", "taker"])
def test_7_4_the_deal_that_ends_takes_only_its_share_off_a_shared_unit(shared):
    bench = DealBench()
    bench.want("E004", "E003", 40.0)  # holds the bus
    pairs = {
        "giver": (("E001", "E002"), ("E001", "E003")),
        "taker": (("E001", "E002"), ("E004", "E002")),
    }[shared]
    short = bench.want(*pairs[0], 10.0)
    long = bench.want(*pairs[1], 25.0)
    unit_id = {"giver": "E001", "taker": "E002"}[shared]
    assert abs(bench.current_a(unit_id)) == pytest.approx(2.0)
    assert bench.run_until(lambda: bench.state(short).is_over, 300.0)
    bench.run_for(2.0)
    assert bench.state(long) is DealState.RUNNING
    assert abs(bench.current_a(unit_id)) == pytest.approx(1.0)
    bench.must_balance()


def test_7_4_four_deals_at_once_all_get_what_was_agreed():
    bench = DealBench()
    for pair, energy_wh in (
        (("E001", "E002"), 30.0),
        (("E004", "E002"), 20.0),
        (("E001", "E003"), 25.0),
        (("E004", "E003"), 15.0),
    ):
        bench.want(*pair, energy_wh)
    assert len([d for d in bench.deals.values() if d.state is DealState.RUNNING]) == 4
    assert bench.current_a("E001") == bench.current_a("E004") == pytest.approx(-2.0)
    bench.must_balance()


def test_a_unit_has_as_many_slots_as_currents_fit():
    bench = DealBench()
    bench.want("E001", "E002", 30.0)
    bench.want("E001", "E003", 30.0)
    third = bench.want("E001", "E004", 30.0)
    assert third not in bench.deals
    bench.must_balance()


@pytest.mark.parametrize("shared", ["E001", "E004"])
def test_7_4_a_converter_that_is_about_to_end_a_deal_is_not_asked_to_begin_another(shared):
    """It would refuse, on its way to WAIT. Units that have no part in the end need not wait."""
    bench = DealBench()
    ending = bench.want("E001", "E002", 15.0, after_s=0.0)
    assert bench.run_until(lambda: ending in bench.deals, 30.0)
    assert bench.run_until(lambda: bench.deals[ending].moved_wh > 14.0, 400.0)
    begins = bench.want(shared, "E003", 20.0, after_s=0.0)
    assert bench.run_until(
        lambda: begins in bench.deals and bench.state(begins) is DealState.STARTING, 60.0
    )
    is_over = bench.state(ending) not in (DealState.RUNNING, DealState.STOPPING)
    assert is_over is (shared == "E001")
    bench.must_balance()


def test_10_2_what_the_bus_cannot_carry_waits():
    bench = DealBench(total_deal_current_max_a=1.5)
    bench.want("E001", "E002", 20.0)
    waiting = bench.want("E004", "E003", 20.0)
    assert bench.state(waiting) is DealState.QUEUED
    bench.must_balance()


def test_w26_a_deal_that_is_aborted_leaves_the_others_flowing():
    bench = DealBench()
    kept = bench.want("E001", "E002", 30.0)
    ended = bench.want("E001", "E003", 30.0)
    order = OperationModeOrder(unit_id="E003", mode=OperationMode.FORCE_STOP)
    bench.feed("E003", Received(order))
    assert bench.run_until(lambda: bench.state(ended).is_over, 30.0)
    assert bench.state(kept) is DealState.RUNNING
    assert bench.finish()[kept].state is DealState.COMPLETED


def test_a_reference_that_is_lost_ends_all_deals_and_nothing_stays_on():
    bench = DealBench()
    bench.want("E001", "E002", 30.0)
    bench.want("E004", "E003", 30.0)
    bench.kill("E002")
    ended = bench.finish().values()
    assert {deal.state for deal in ended} == {DealState.ABORTED}
    assert all(deal.reason for deal in ended)


@pytest.mark.parametrize("how", ["stopped", "unwanted"])
def test_7_6_deals_of_one_reference_that_end_at_once_do_not_keep_the_bus_up(how):
    bench = DealBench(seed=3)
    bench.want("E001", "E002", 30.0)
    bench.want("E004", "E002", 30.0)
    if how == "stopped":
        order = OperationModeOrder(unit_id="", mode=OperationMode.FORCE_STOP)
        for unit_id in list(bench.agents):
            bench.feed(unit_id, Received(order))
    else:
        for deal_id in list(bench.deals):
            bench.feed("E002", DealUnwanted(deal_id))
    began_ns = bench.now_ns
    assert bench.run_until(lambda: bench.modes() == {M.WAIT}, 120.0)
    assert bench.now_ns - began_ns < 15 * SECOND_NS
    assert {deal.state for deal in bench.finish().values()} == {DealState.ABORTED}


def test_a_reference_that_trips_ends_all_deals_and_nothing_stays_on():
    bench = DealBench()
    bench.want("E001", "E002", 30.0)
    bench.want("E004", "E003", 30.0)
    plant = bench.plants["E002"]
    bench._stop(plant, StopCause.TRIP, "over-voltage")
    began_ns = bench.now_ns
    assert bench.run_until(lambda: bench.modes() == {M.WAIT}, 60.0)
    assert bench.now_ns - began_ns < 10 * SECOND_NS
    ended = bench.finish().values()
    assert {deal.state for deal in ended} == {DealState.ABORTED}
    assert all("E002" in deal.reason or "over-voltage" in deal.reason for deal in ended)


@pytest.mark.parametrize("role", ["giver", "taker"])
def test_a_unit_beside_the_reference_that_dies_ends_its_own_deal_only(role):
    bench = Led()
    kept = bench.want(bench.a, bench.b, 40.0)
    ended = bench.want(bench.c, bench.d, 40.0)
    bench.kill({"giver": bench.c, "taker": bench.d}[role])
    assert bench.run_until(lambda: bench.state(ended).is_over, 120.0)
    assert bench.state(ended) is DealState.ABORTED
    assert bench.state(kept) is DealState.RUNNING
    assert bench.finish()[kept].state is DealState.COMPLETED
    assert bench.worst_reference_a <= 2.01  # its own, and what the dead one left over


def test_7_4_a_unit_that_trips_ends_its_own_deal_only():
    bench = DealBench()
    kept = bench.want("E001", "E002", 30.0)
    ended = bench.want("E004", "E003", 30.0)
    bench._stop(bench.plants["E003"], StopCause.TRIP, "over-temperature")
    assert bench.run_until(lambda: bench.state(ended).is_over, 30.0)
    assert "over-temperature" in bench.deals[ended].reason
    assert bench.finish()[kept].state is DealState.COMPLETED


def test_10_2_a_deal_that_waits_for_the_bus_can_be_ended_and_stops_nobody():
    bench = DealBench(total_deal_current_max_a=1.5)
    kept = bench.want("E001", "E002", 20.0)
    waiting = bench.want("E004", "E002", 20.0)  # of the reference itself
    assert bench.state(waiting) is DealState.QUEUED
    bench.feed("E004", DealUnwanted(waiting))
    assert bench.run_until(lambda: bench.state(waiting).is_over, 30.0)
    assert bench.state(kept) is DealState.RUNNING
    assert bench.finish()[kept].state is DealState.COMPLETED


def test_2_1_the_status_tells_which_deals_flow():
    bench = DealBench(total_deal_current_max_a=1.5)
    flowing = bench.want("E001", "E002", 20.0)
    waiting = bench.want("E004", "E002", 20.0)
    bench.run_for(10.0)
    status = bench.status("E002")
    assert status.flowing_deal_ids == (flowing,)
    assert set(status.deal_ids) == {flowing, waiting}
    plant = bench.plants["E002"]
    plant.reading = replace(plant.reading, mode=M.WAIT)
    bench.run_for(2.0)
    assert bench.status("E002").flowing_deal_ids == ()
