"""Several deals on one converter, as its manager shares it out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from converter_bench import (
    CHARGE,
    DISCHARGE,
    HOLD_NS,
    READ,
    RETRY_NS,
    WAIT,
    M,
    Op,
    charged,
    deal,
    flowed,
    order,
    orders,
    reading,
    run,
)

from apis_core.events import Command
from apis_core.model.messages import ConverterOperation, ConverterReply
from apis_core.model.types import ConverterError, StopCause
from apis_core.model.units import SECOND_NS as S

CURRENT, MODE = ConverterOperation.CURRENT, ConverterOperation.MODE


def add(manager, deal_id, current_a=1.0, direction=CHARGE, **changes):
    """One more deal joins; the order to the driver."""
    operation = Op.CHARGE if direction is CHARGE else Op.DISCHARGE
    request = order(operation, deal_id=deal_id, grid_current_a=current_a, **changes)
    (command,) = manager.obey("ask", request, deal(direction, deal_id), 0)
    return command


# --- currents ------------------------------------------------------------------------------------


def test_7_3_the_converter_carries_the_sum_of_its_deals(manager):
    run(manager, M.CHARGE, grid_current_a=1.0)
    told = add(manager, "e").order
    assert (told.operation, told.grid_current_a, told.deal_id) == (CURRENT, 2.0, "e")
    over = order(Op.CHARGE, deal_id="f", grid_current_a=0.5)
    (answer,) = manager.obey("ask", over, deal(CHARGE, "f"), 0)
    assert answer.reply.message == (
        "grid_current_a is 0.5 beside 2 A for other deals; it must be <= 2.3 A"
    )
    assert manager.deal_ids == ("d", "e")


def test_7_3_a_current_may_be_raised_to_what_the_others_leave(manager):
    """What the deal itself had does not count against it."""
    run(manager, M.CHARGE, grid_current_a=1.0)
    add(manager, "e")
    to_the_top = order(Op.CURRENT, deal_id="e", grid_current_a=1.3)
    (told,) = orders(manager.obey("ask", to_the_top, deal(CHARGE, "e"), 0))
    assert told.grid_current_a == pytest.approx(2.3)


@pytest.mark.parametrize("answer", ["refused", "silence"])
def test_a_share_is_left_only_when_the_driver_has_lowered_the_current(manager, answer):
    """Found by seed 291: a refused order was taken for obeyed, and the current flowed on."""
    run(manager, M.CHARGE, grid_current_a=1.0)
    joined = add(manager, "e")
    both = reading(M.CHARGE, 2, grid_current_setpoint_a=2.0)
    manager.answered(joined.origin, ConverterReply(reading=both), None, 0)
    (command,) = manager.obey("leave", order(Op.WAIT, deal_id="e"), deal(CHARGE, "e"), 0)
    refused = ConverterReply(error=ConverterError.REFUSED, message="no", reading=both)
    said = manager.answered(command.origin, refused if answer == "refused" else None, None, 0)
    assert said[-1].reply.deal_current_a == 1.0
    assert manager.works_for("e")

    assert manager.wake_ns == RETRY_NS
    (again,) = manager.tick(RETRY_NS)
    assert (again.order.operation, again.order.grid_current_a) == (CURRENT, 1.0)
    lowered = reading(M.CHARGE, 3, grid_current_setpoint_a=1.0)
    manager.answered(again.origin, ConverterReply(reading=lowered), None, RETRY_NS)
    assert not manager.works_for("e")
    assert manager.works_for("d")
    assert manager.report("e", None).deal_current_a == 0.0


def test_a_changed_current_changes_the_share(manager):
    manager.hear_reading(reading(), 0)
    for deal_id in ("d", "e"):
        request = replace(order(Op.CHARGE, grid_current_a=1.0), deal_id=deal_id)
        manager.obey("ask", request, deal(CHARGE), 0)
    request = replace(order(Op.CURRENT, grid_current_a=0.5), deal_id="e")
    manager.obey("ask", request, deal(CHARGE), 0)
    manager.hear_reading(reading(stamp_ns=1, grid_charged_wh=0.0), 1)
    manager.hear_reading(reading(stamp_ns=2, grid_charged_wh=3.0), 2)
    assert manager.ledger.receipt("d").grid_moved_wh == pytest.approx(2.0)


def test_7_4_one_deal_leaves_and_the_other_goes_on(manager):
    run(manager, M.CHARGE, grid_current_a=1.0)
    add(manager, "e")
    (told,) = orders(manager.obey("ask", order(Op.WAIT), deal(CHARGE), 0))
    assert (told.operation, told.grid_current_a) == (CURRENT, 1.0)
    assert orders(manager.obey("ask", order(Op.WAIT, deal_id="e"), deal(CHARGE, "e"), 0)) == [WAIT]


def test_7_4_until_the_driver_has_lowered_the_current_it_flows_for_who_leaves(manager):
    run(manager, M.CHARGE, grid_current_a=1.0)
    add(manager, "e")
    (command,) = manager.obey("ask", order(Op.WAIT), deal(CHARGE), 0)
    now = charged(manager, 4.0)
    (answer,) = manager.answered(command.origin, ConverterReply(reading=now), None, 20)
    assert (answer.reply.grid_moved_wh, answer.reply.deal_current_a) == (2.0, 0.0)
    flowed(manager, 10.0)
    assert (manager.ledger.moved_wh("d"), manager.ledger.moved_wh("e")) == (2.0, 8.0)


def test_a_wait_for_no_deal_takes_all_off(manager):
    run(manager, M.CHARGE, grid_current_a=1.0)
    add(manager, "e")
    assert orders(manager.obey("ask", order(Op.WAIT, deal_id=""), None, 0)) == [WAIT]
    assert manager.deal_ids == ()
    assert manager.renew(1) == []


@pytest.mark.parametrize("is_last", [False, True])
def test_by_our_own_will_a_deal_is_left_and_with_the_last_one_the_converter_stops(
    manager, is_last
):
    run(manager, M.CHARGE, grid_current_a=1.0)
    if not is_last:
        add(manager, "e")
    (told,) = orders(manager.leave("d", "too warm", 0))
    assert manager.is_stopping is is_last
    if is_last:
        assert told == WAIT
    else:
        assert (told.operation, told.grid_current_a) == (CURRENT, 1.0)
        assert manager.deal_ids == ("e",)


def test_a_slot_that_is_given_back_while_the_converter_is_being_switched_on_stops_it(manager):
    """The driver has not answered yet: it may be on by now."""
    manager.hear_reading(reading(), 0)
    (command,) = manager.obey("ask", order(Op.CHARGE), deal(CHARGE), 0)
    told = orders(manager.leave("d", "its slot is released", 1))
    now = reading(M.CHARGE, 10, grid_charged_wh=0.0)
    told += orders(manager.answered(command.origin, ConverterReply(reading=now), None, 10))
    assert WAIT in told
    assert "d" not in manager.deal_ids


def test_a_share_lapses_alone(manager):
    run(manager, M.CHARGE, grid_current_a=1.0)
    add(manager, "e")
    manager.obey("ask", order(Op.HOLD, deal_id="e"), deal(CHARGE, "e"), 5 * S)
    (told,) = orders(manager.tick(HOLD_NS))
    assert (told.operation, told.grid_current_a) == (CURRENT, 1.0)
    assert orders(manager.tick(5 * S + HOLD_NS)) == [WAIT]


def test_the_drivers_dead_man_is_fed_as_long_as_any_share_lasts(manager):
    run(manager, M.CHARGE, grid_current_a=1.0)
    add(manager, "e")
    manager.obey("ask", order(Op.HOLD, deal_id="e"), deal(CHARGE, "e"), 5 * S)
    assert orders(manager.renew(HOLD_NS + 1))
    assert manager.renew(HOLD_NS + 5 * S) == []


def test_the_order_of_the_newest_term_renews_the_driver(manager):
    run(manager, M.CHARGE, grid_current_a=1.0)
    add(manager, "e")
    adopted = order(Op.ADOPT, term=4, grid_master_id="E008")
    manager.obey("ask", adopted, deal(CHARGE), 0)
    (renewal,) = orders(manager.renew(1))
    assert (renewal.term, renewal.grid_master_id) == (4, "E008")


def test_a_converter_that_stops_by_itself_stops_for_all_its_deals(manager):
    run(manager, M.CHARGE, grid_current_a=1.0)
    add(manager, "e")
    tripped = {"stop_cause": StopCause.TRIP, "stop_detail": "over-voltage"}
    manager.hear_reading(charged(manager, 4.0, M.WAIT, **tripped), 20)
    assert manager.deal_ids == ()
    for deal_id in ("d", "e"):
        report = manager.report(deal_id, None)
        assert (report.deal_current_a, report.grid_moved_wh) == (0.0, 2.0)
        assert report.reading.stop_detail == "over-voltage"


# --- where shares end ----------------------------------------------------------------------------


def test_7_4_the_driver_knows_where_the_first_deal_ends_and_what_follows(manager):
    run(manager, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    told = add(manager, "e", energy_limit_wh=30.0).order
    assert (told.energy_limit_wh, told.next_current_a) == (20.0, 1.0)
    flowed(manager, 21.0, grid_current_a=1.0)
    assert manager.deal_ids == ("e",)  # all beyond 10 Wh is the other's
    assert manager.ledger.moved_wh("d") == 10.0
    assert manager.ledger.moved_wh("e") == 11.0
    assert manager.report("d", None).reading.stop_cause is StopCause.ENERGY_REACHED
    assert manager.report("e", None).reading.stop_cause is StopCause.NONE


def test_7_4_what_comes_after_the_first_deal_is_told_when_it_has_ended(manager):
    run(manager, M.CHARGE, grid_current_a=0.7, energy_limit_wh=7.0)
    add(manager, "e", 0.7, energy_limit_wh=14.0)
    told = add(manager, "f", 0.9, energy_limit_wh=27.0).order
    assert told.energy_limit_wh == pytest.approx(23.0)  # 10 Wh for each ampere
    assert told.next_current_a == pytest.approx(1.6)
    (command,) = [e for e in flowed(manager, 23.0) if isinstance(e, Command)]
    assert command.order.grid_current_a == pytest.approx(1.6)
    assert command.order.energy_limit_wh == pytest.approx(23.0 + 16.0)
    assert command.order.next_current_a == pytest.approx(0.9)


@pytest.mark.parametrize("answer", ["refused", "silence"])
def test_the_limit_survives_a_change_of_mode_that_comes_to_nothing(manager, answer):
    """Found by seed 780: the driver was never told of a limit again, and 27 of 25 Wh flowed."""
    run(manager, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    (taking_over,) = manager.obey("ask", order(Op.WILL_TAKE_OVER), deal(CHARGE), 0)
    still = charged(manager, 4.0)
    refused = ConverterReply(error=ConverterError.REFUSED, message="no", reading=still)
    manager.answered(taking_over.origin, refused if answer == "refused" else None, None, 0)
    manager.hear_reading(still, 20)
    (hold,) = orders(manager.obey("ask", order(Op.HOLD, energy_limit_wh=9.0), deal(CHARGE), 30))
    assert hold.energy_limit_wh == 9.0


def test_when_the_answer_to_a_change_of_mode_is_lost_the_limit_counts_from_what_is_seen(manager):
    """The driver counts anew from some time before that, so it stops early rather than late."""
    manager.hear_reading(reading(), 0)
    first = order(Op.CHARGE, energy_limit_wh=10.0)
    (command,) = manager.obey("ask", first, deal(CHARGE), 0)
    manager.answered(command.origin, None, None, 0)
    manager.hear_reading(reading(M.CHARGE, 20, grid_charged_wh=0.5, grid_discharged_wh=0.0), 20)
    (hold,) = orders(manager.obey("ask", order(Op.HOLD, energy_limit_wh=9.0), deal(CHARGE), 30))
    assert 8.0 < hold.energy_limit_wh <= 9.0


def test_7_4_a_deal_without_a_limit_goes_on_when_the_other_has_ended(manager):
    run(manager, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    told = add(manager, "e").order
    assert (told.energy_limit_wh, told.next_current_a) == (20.0, 1.0)
    (command,) = flowed(manager, 20.0)
    assert (command.order.grid_current_a, command.order.energy_limit_wh) == (1.0, None)


RAMP_WH = 350.0 * 1.5 / 3600.0  # what 1 A brings in the time in which a current runs down


@pytest.mark.parametrize(
    ("later_wh", "next_a"), [(0.0, None), (0.99 * RAMP_WH, None), (1.01 * RAMP_WH, 1.0)]
)
def test_7_4_deals_that_end_within_a_ramp_end_together(manager, later_wh, next_a):
    run(manager, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    told = add(manager, "e", energy_limit_wh=10.0 + later_wh).order
    assert (told.energy_limit_wh, told.next_current_a) == (20.0, next_a)


@pytest.mark.parametrize("which", ["d", "e"])
def test_7_4_a_limit_that_moves_away_is_the_first_no_more(manager, which):
    run(manager, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    add(manager, "e", energy_limit_wh=20.0)
    flowed(manager, 4.0)
    limit_wh = {"d": 30.0, "e": 12.0}[which]
    hold = order(Op.HOLD, deal_id=which, energy_limit_wh=limit_wh)
    (told,) = orders(manager.obey("ask", hold, deal(CHARGE, which), 10))
    assert told.energy_limit_wh == pytest.approx({"d": 40.0, "e": 20.0}[which])
    assert told.next_current_a == 1.0


def test_7_4_a_unit_whose_meter_counts_sets_its_own_limit(manager):
    """A charging unit of this policy: 90 % of what comes over the bus reaches its battery."""
    run(manager, M.CHARGE, grid_current_a=1.0)
    for bus_wh in (0.0, 10.0, 20.0):
        flowed(manager, bus_wh, battery_charged_wh=0.9 * bus_wh)
    (told,) = orders(manager.renew(30))
    assert told.energy_limit_wh == pytest.approx(50.0 / 0.9)


# --- on the voltage reference --------------------------------------------------------------------


def test_on_the_reference_a_share_is_booked_and_orders_no_current(manager):
    run(manager, M.VOLTAGE_REFERENCE, grid_current_a=1.0)
    joins = order(Op.CHARGE, deal_id="e", grid_current_a=0.5, energy_limit_wh=10.0)
    assert orders(manager.obey("ask", joins, deal(CHARGE, "e"), 0)) == [READ]
    now = charged(manager, 6.0, M.VOLTAGE_REFERENCE)
    assert manager.hear_reading(now, 20) == []
    assert manager.ledger.moved_wh("d") == pytest.approx(4.0)  # 1 A and 0.5 A
    assert manager.ledger.moved_wh("e") == pytest.approx(2.0)
    (renewal,) = orders(manager.renew(30))
    assert (renewal.energy_limit_wh, renewal.next_current_a) == (None, None)


def test_7_6_without_a_current_the_reference_goes_on_and_books_nothing(manager):
    run(manager, M.VOLTAGE_REFERENCE)
    stays = order(Op.CURRENT, grid_current_a=0.0)
    (command,) = manager.obey("ask", stays, deal(CHARGE), 0)
    assert command.order == READ
    now = charged(manager, 5.0, M.VOLTAGE_REFERENCE)
    (answer,) = manager.answered(command.origin, ConverterReply(reading=now), None, 20)
    assert answer.reply.deal_current_a == 0.0
    assert manager.ledger.moved_wh("d") == 0.0
    assert manager.deal_ids == ()
    assert manager.is_reference
    assert orders(manager.renew(30))  # it lives until it is told otherwise


def test_7_6_a_deal_that_leaves_the_reference_leaves_it_on_for_the_other(manager):
    run(manager, M.VOLTAGE_REFERENCE, grid_current_a=1.0)
    add(manager, "e")
    assert orders(manager.obey("ask", order(Op.WAIT), deal(CHARGE), 0)) == [READ]
    now = charged(manager, 5.0, M.VOLTAGE_REFERENCE)
    manager.hear_reading(now, 20)
    assert (manager.ledger.moved_wh("d"), manager.ledger.moved_wh("e")) == (0.0, 5.0)
    assert orders(manager.obey("ask", order(Op.WAIT, deal_id="e"), deal(CHARGE, "e"), 0)) == [WAIT]


@pytest.mark.parametrize(
    ("direction", "mode", "voltage_v"),
    [(CHARGE, M.CHARGE, 350.0), (DISCHARGE, M.DISCHARGE, 380.0)],
)
def test_7_6_1_an_old_reference_goes_back_to_the_currents_of_its_deals(
    manager, direction, mode, voltage_v
):
    run(manager, M.VOLTAGE_REFERENCE, direction=direction)
    manager.obey("ask", order(Op.CURRENT, grid_current_a=0.0), deal(direction), 0)
    add(manager, "e", 1.0, direction)
    add(manager, "f", 0.5, direction)
    (told,) = orders(manager.obey("ask", order(Op.DID_HAND_OVER), deal(direction), 0))
    assert (told.operation, told.mode) == (MODE, mode)
    assert (told.grid_current_a, told.grid_voltage_v, told.droop_ratio) == (1.5, voltage_v, 0.0)
    assert manager.deal_ids == ("e", "f")
    assert not manager.is_reference


def test_7_6_1_an_old_reference_without_deals_goes_to_wait(manager):
    run(manager, M.VOLTAGE_REFERENCE)
    manager.obey("ask", order(Op.CURRENT, grid_current_a=0.0), deal(CHARGE), 0)
    assert orders(manager.obey("ask", order(Op.DID_HAND_OVER), deal(CHARGE), 0)) == [WAIT]


def test_7_6_1_a_unit_that_takes_over_keeps_the_currents_that_it_had(manager):
    """Its deals are booked on as they were."""
    run(manager, M.CHARGE, grid_current_a=0.7)
    add(manager, "e", 1.4)
    takes = order(Op.WILL_TAKE_OVER)
    (told,) = orders(manager.obey("ask", takes, deal(CHARGE), 0))
    assert (told.mode, told.grid_current_a) == (M.VOLTAGE_REFERENCE, 2.3)
    now = charged(manager, 3.0, M.VOLTAGE_REFERENCE)
    manager.hear_reading(now, 20)
    assert manager.ledger.moved_wh("d") == pytest.approx(1.0)
    assert manager.ledger.moved_wh("e") == pytest.approx(2.0)


def test_a_limit_for_a_converter_that_is_on_is_told_once_its_counters_are_known(manager):
    run(manager, M.VOLTAGE_REFERENCE)
    manager.obey("ask", order(Op.CURRENT, grid_current_a=0.0), deal(CHARGE), 0)
    add(manager, "e", energy_limit_wh=10.0)
    (command,) = manager.obey("ask", order(Op.DID_HAND_OVER), deal(CHARGE), 0)
    assert command.order.energy_limit_wh is None
    now = charged(manager, 3.0)
    effects = manager.answered(command.origin, ConverterReply(reading=now), None, 0)
    (told,) = orders(effects)
    assert told.operation is ConverterOperation.HOLD
    assert told.energy_limit_wh == pytest.approx(10.0 - manager.ledger.moved_wh("e"))


def test_after_a_mode_that_failed_no_limit_is_told(manager):
    """The driver counts on from the mode before; a limit of a wrong beginning would be wrong."""
    run(manager, M.VOLTAGE_REFERENCE, grid_current_a=1.0)
    add(manager, "e", energy_limit_wh=10.0)
    (command,) = manager.obey("ask", order(Op.DID_HAND_OVER), deal(CHARGE), 0)
    now = charged(manager, 3.0, M.VOLTAGE_REFERENCE)
    failed = ConverterReply(error=ConverterError.REFUSED, reading=now)
    effects = manager.answered(command.origin, failed, None, 0)
    assert all(told.energy_limit_wh is None for told in orders(effects))


@pytest.mark.parametrize(
    ("operation", "bus_v", "is_masked"),
    [
        (Op.VOLTAGE, 350.0, True),  # on its way to 340 V
        (Op.VOLTAGE, 340.0, False),
        (Op.WILL_HAND_OVER, 340.0, True),  # somebody else is about to hold it
    ],
)
def test_w10_the_voltage_is_not_judged_until_it_has_settled(
    manager, hardware, operation, bus_v, is_masked
):
    run(manager, M.VOLTAGE_REFERENCE)
    held = {"grid_voltage_v": 350.0, "grid_voltage_setpoint_v": 350.0}
    manager.hear_reading(reading(M.VOLTAGE_REFERENCE, 10, **held), 10)
    assert not manager.is_voltage_masked(10)
    manager.obey("ask", order(operation), deal(CHARGE), 20)
    assert manager.is_voltage_masked(20)
    droop = hardware.droop_ratio if operation is Op.WILL_HAND_OVER else 0.0
    there = {"grid_voltage_v": bus_v, "grid_voltage_setpoint_v": 340.0, "droop_ratio": droop}
    manager.hear_reading(reading(M.VOLTAGE_REFERENCE, 30, **there), 30)
    assert manager.is_voltage_masked(30) is is_masked
    assert not manager.is_voltage_masked(60 * S)  # and not for ever


def test_who_was_refused_as_the_reference_goes_on_with_its_currents(manager):
    """Found by seed 78: it took itself for the reference, and ordered no current any more."""
    run(manager, M.CHARGE, grid_current_a=1.0)
    joined = add(manager, "e")
    both = reading(M.CHARGE, 2, grid_current_setpoint_a=2.0)
    manager.answered(joined.origin, ConverterReply(reading=both), None, 0)
    take_over = order(Op.WILL_TAKE_OVER, deal_id="e")
    (command,) = manager.obey("take", take_over, deal(CHARGE, "e"), 0)
    refused = ConverterReply(error=ConverterError.REFUSED, message="no", reading=both)
    manager.answered(command.origin, refused, None, 0)
    (told,) = orders(manager.obey("leave", order(Op.WAIT, deal_id="e"), deal(CHARGE, "e"), 0))
    assert (told.operation, told.grid_current_a) == (CURRENT, 1.0)


def test_a_share_whose_converter_never_came_on_goes_with_its_deal(manager):
    """Found by seeds 110 and 272: left behind without an account, it tripped the next order."""
    manager.hear_reading(reading(), 0)
    command = add(manager, "d")
    refused = ConverterReply(
        error=ConverterError.REFUSED, message="no", reading=reading(stamp_ns=1)
    )
    manager.answered(command.origin, refused, None, 0)
    assert not manager.works_for("d")
    manager.close("d")
    joined = add(manager, "e")
    assert joined.order.grid_current_a == 1.0
