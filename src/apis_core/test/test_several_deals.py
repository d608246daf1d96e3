"""Several deals at once, in the village: whole agents, a plain plant, a slow network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from market import CAPACITY_A, Led, Market, sides

from apis_core.events import DealUnwanted, Received
from apis_core.messages import OperationModeOrder
from apis_core.types import ConverterMode, DealState, OperationMode, Side, StopCause
from apis_core.units import SECOND_NS

M = ConverterMode


def test_7_two_deals_share_the_voltage_reference():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E004", "E002", 20.0)
    assert market.plants["E002"].reading.grid_current_a == pytest.approx(2.0)
    market.must_balance()
    assert market.references == ["E002"]


def test_7_two_deals_share_a_unit_that_holds_a_current():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E001", "E003", 20.0)
    assert market.plants["E001"].reading.grid_current_a == pytest.approx(-2.0)
    assert market.plants["E002"].reading.grid_current_a == pytest.approx(1.0)
    market.must_balance()


def test_7_a_pair_deals_beside_the_reference_and_does_not_burden_it():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E004", "E003", 20.0)
    assert market.plants["E002"].reading.grid_current_a == pytest.approx(1.0)
    market.must_balance()
    assert market.worst_reference_a < 1.5  # also while the pair starts and stops


@pytest.mark.parametrize("side", list(Side))
def test_7_3_a_pair_that_joins_does_not_burden_a_reference_at_full_load(side):
    """Its converter carries 2.3 A: whose current starts first must go against what it carries."""
    market = Market(voltage_reference_side=side)
    if side is Side.CHARGE:
        market.want("E001", "E002", 30.0)
        market.want("E004", "E002", 30.0)
    else:
        market.want("E001", "E002", 30.0)
        market.want("E001", "E003", 30.0)
    assert market.worst_reference_a == pytest.approx(2.0)
    market.want("E004", "E003", 20.0)
    assert market.worst_reference_a <= CAPACITY_A
    market.must_balance()


@pytest.mark.parametrize("reference_side", list(Side))
@pytest.mark.parametrize("voltage_side", list(Side))
def test_7_either_side_may_hold_the_bus_and_either_may_count(voltage_side, reference_side):
    """The reference never carries more than its own deal, whichever way that flows."""
    market = Market(voltage_reference_side=voltage_side, reference_side=reference_side)
    first = market.want("E001", "E002", 15.0)
    market.want("E004", "E003", 25.0)
    giver, taker = sides(market.deals[first])
    holder = taker if voltage_side is Side.CHARGE else giver
    assert market.references == [holder]
    assert market.current_a(holder) == pytest.approx(1.0 if holder == taker else -1.0)
    market.must_balance()
    assert market.worst_reference_a < 1.5


@pytest.mark.parametrize("shared", ["giver", "taker"])
def test_7_4_the_deal_that_ends_takes_only_its_share_off_a_shared_unit(shared):
    market = Market()
    market.want("E004", "E003", 40.0)  # holds the bus
    pairs = {
        "giver": (("E001", "E002"), ("E001", "E003")),
        "taker": (("E001", "E002"), ("E004", "E002")),
    }[shared]
    short = market.want(*pairs[0], 10.0)
    long = market.want(*pairs[1], 25.0)
    unit_id = {"giver": "E001", "taker": "E002"}[shared]
    assert abs(market.current_a(unit_id)) == pytest.approx(2.0)
    assert market.run_until(lambda: market.state(short).is_over, 300.0)
    market.run_for(2.0)
    assert market.state(long) is DealState.RUNNING
    assert abs(market.current_a(unit_id)) == pytest.approx(1.0)
    market.must_balance()


def test_7_4_four_deals_at_once_all_get_what_was_agreed():
    market = Market()
    for pair, energy_wh in (
        (("E001", "E002"), 30.0),
        (("E004", "E002"), 20.0),
        (("E001", "E003"), 25.0),
        (("E004", "E003"), 15.0),
    ):
        market.want(*pair, energy_wh)
    assert len([d for d in market.deals.values() if d.state is DealState.RUNNING]) == 4
    assert market.current_a("E001") == market.current_a("E004") == pytest.approx(-2.0)
    market.must_balance()


def test_a_unit_has_as_many_slots_as_currents_fit():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E001", "E003", 30.0)
    third = market.want("E001", "E004", 30.0)
    assert third not in market.deals
    market.must_balance()


@pytest.mark.parametrize("shared", ["E001", "E004"])
def test_7_4_a_converter_that_is_about_to_end_a_deal_is_not_asked_to_begin_another(shared):
    """It would refuse, on its way to WAIT. Units that have no part in the end need not wait."""
    market = Market()
    ending = market.want("E001", "E002", 15.0, after_s=0.0)
    assert market.run_until(lambda: ending in market.deals, 30.0)
    assert market.run_until(lambda: market.deals[ending].moved_wh > 14.0, 400.0)
    begins = market.want(shared, "E003", 20.0, after_s=0.0)
    assert market.run_until(
        lambda: begins in market.deals and market.state(begins) is DealState.STARTING, 60.0
    )
    is_over = market.state(ending) not in (DealState.RUNNING, DealState.STOPPING)
    assert is_over is (shared == "E001")
    market.must_balance()


def test_10_2_what_the_bus_cannot_carry_waits():
    market = Market(total_deal_current_max_a=1.5)
    market.want("E001", "E002", 20.0)
    waiting = market.want("E004", "E003", 20.0)
    assert market.state(waiting) is DealState.QUEUED
    market.must_balance()


def test_w26_a_deal_that_is_aborted_leaves_the_others_flowing():
    market = Market()
    kept = market.want("E001", "E002", 30.0)
    ended = market.want("E001", "E003", 30.0)
    order = OperationModeOrder(unit_id="E003", mode=OperationMode.FORCE_STOP)
    market.feed("E003", Received(order))
    assert market.run_until(lambda: market.state(ended).is_over, 30.0)
    assert market.state(kept) is DealState.RUNNING
    assert market.finish()[kept].state is DealState.COMPLETED


def test_a_reference_that_is_lost_ends_all_deals_and_nothing_stays_on():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E004", "E003", 30.0)
    market.kill("E002")
    ended = market.finish().values()
    assert {deal.state for deal in ended} == {DealState.ABORTED}
    assert all(deal.reason for deal in ended)


@pytest.mark.parametrize("how", ["stopped", "unwanted"])
def test_7_6_deals_of_one_reference_that_end_at_once_do_not_keep_the_bus_up(how):
    market = Market(seed=3)
    market.want("E001", "E002", 30.0)
    market.want("E004", "E002", 30.0)
    if how == "stopped":
        order = OperationModeOrder(unit_id="", mode=OperationMode.FORCE_STOP)
        for unit_id in list(market.agents):
            market.feed(unit_id, Received(order))
    else:
        for deal_id in list(market.deals):
            market.feed("E002", DealUnwanted(deal_id))
    began_ns = market.now_ns
    assert market.run_until(lambda: market.modes() == {M.WAIT}, 120.0)
    assert market.now_ns - began_ns < 15 * SECOND_NS
    assert {deal.state for deal in market.finish().values()} == {DealState.ABORTED}


def test_a_reference_that_trips_ends_all_deals_and_nothing_stays_on():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E004", "E003", 30.0)
    plant = market.plants["E002"]
    market._stop(plant, StopCause.TRIP, "over-voltage")
    began_ns = market.now_ns
    assert market.run_until(lambda: market.modes() == {M.WAIT}, 60.0)
    assert market.now_ns - began_ns < 10 * SECOND_NS
    ended = market.finish().values()
    assert {deal.state for deal in ended} == {DealState.ABORTED}
    assert all("E002" in deal.reason or "over-voltage" in deal.reason for deal in ended)


@pytest.mark.parametrize("role", ["giver", "taker"])
def test_a_unit_beside_the_reference_that_dies_ends_its_own_deal_only(role):
    market = Led()
    kept = market.want(market.a, market.b, 40.0)
    ended = market.want(market.c, market.d, 40.0)
    market.kill({"giver": market.c, "taker": market.d}[role])
    assert market.run_until(lambda: market.state(ended).is_over, 120.0)
    assert market.state(ended) is DealState.ABORTED
    assert market.state(kept) is DealState.RUNNING
    assert market.finish()[kept].state is DealState.COMPLETED
    assert market.worst_reference_a <= 2.01  # its own, and what the dead one left over


def test_7_4_a_unit_that_trips_ends_its_own_deal_only():
    market = Market()
    kept = market.want("E001", "E002", 30.0)
    ended = market.want("E004", "E003", 30.0)
    market._stop(market.plants["E003"], StopCause.TRIP, "over-temperature")
    assert market.run_until(lambda: market.state(ended).is_over, 30.0)
    assert "over-temperature" in market.deals[ended].reason
    assert market.finish()[kept].state is DealState.COMPLETED


def test_10_2_a_deal_that_waits_for_the_bus_can_be_ended_and_stops_nobody():
    market = Market(total_deal_current_max_a=1.5)
    kept = market.want("E001", "E002", 20.0)
    waiting = market.want("E004", "E002", 20.0)  # of the reference itself
    assert market.state(waiting) is DealState.QUEUED
    market.feed("E004", DealUnwanted(waiting))
    assert market.run_until(lambda: market.state(waiting).is_over, 30.0)
    assert market.state(kept) is DealState.RUNNING
    assert market.finish()[kept].state is DealState.COMPLETED


def test_2_1_the_status_tells_which_deals_flow():
    market = Market(total_deal_current_max_a=1.5)
    flowing = market.want("E001", "E002", 20.0)
    waiting = market.want("E004", "E002", 20.0)
    market.run_for(10.0)
    status = market.status("E002")
    assert status.flowing_deal_ids == (flowing,)
    assert set(status.deal_ids) == {flowing, waiting}
    plant = market.plants["E002"]
    plant.reading = replace(plant.reading, mode=M.WAIT)
    market.run_for(2.0)
    assert market.status("E002").flowing_deal_ids == ()
