"""Several deals on one converter, as its keeper shares it out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from keeping import (
    CHARGE,
    DISCHARGE,
    HOLD_NS,
    READ,
    RETRY_NS,
    WAIT,
    M,
    Op,
    deal,
    order,
    orders,
    reading,
    run,
)

from apis_core.events import Command
from apis_core.messages import ConverterOperation, ConverterReply
from apis_core.types import ConverterError, StopCause
from apis_core.units import SECOND_NS as S

CURRENT, MODE = ConverterOperation.CURRENT, ConverterOperation.MODE


def add(keeper, deal_id, current_a=1.0, type_=CHARGE, **changes):
    """One more deal joins; the order to the driver."""
    operation = Op.CHARGE if type_ is CHARGE else Op.DISCHARGE
    request = order(operation, deal_id=deal_id, grid_current_a=current_a, **changes)
    (command,) = keeper.obey("ask", request, deal(type_, deal_id), 0)
    return command


def flowed(keeper, charged_wh, stamp_ns=10, **changes):
    """The converter was read; what its keeper then wants."""
    now = reading(M.CHARGE, stamp_ns, grid_charged_wh=charged_wh, **changes)
    return keeper.hear_reading(now, stamp_ns)


# --- currents ------------------------------------------------------------------------------------


def test_7_3_the_converter_carries_the_sum_of_its_deals(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0)
    told = add(keeper, "e").order
    assert (told.operation, told.grid_current_a, told.deal_id) == (CURRENT, 2.0, "e")
    over = order(Op.CHARGE, deal_id="f", grid_current_a=0.5)
    (answer,) = keeper.obey("ask", over, deal(CHARGE, "f"), 0)
    assert answer.reply.message == (
        "grid_current_a is 0.5 beside 2 A for other deals; it must be <= 2.3 A"
    )
    assert keeper.deal_ids == ("d", "e")


def test_7_3_a_current_may_be_raised_to_what_the_others_leave(keeper):
    """What the deal itself had does not count against it."""
    run(keeper, M.CHARGE, grid_current_a=1.0)
    add(keeper, "e")
    to_the_top = order(Op.CURRENT, deal_id="e", grid_current_a=1.3)
    (told,) = orders(keeper.obey("ask", to_the_top, deal(CHARGE, "e"), 0))
    assert told.grid_current_a == pytest.approx(2.3)


@pytest.mark.parametrize("answer", ["refused", "silence"])
def test_a_share_is_left_only_when_the_driver_has_lowered_the_current(keeper, answer):
    """Found by seed 291: a refused order was taken for obeyed, and the current flowed on."""
    run(keeper, M.CHARGE, grid_current_a=1.0)
    joined = add(keeper, "e")
    both = reading(M.CHARGE, 2, grid_current_setpoint_a=2.0)
    keeper.answered(joined.call_id, ConverterReply(reading=both), None, 0)
    (command,) = keeper.obey("leave", order(Op.WAIT, deal_id="e"), deal(CHARGE, "e"), 0)
    refused = ConverterReply(error=ConverterError.REFUSED, message="no", reading=both)
    said = keeper.answered(command.call_id, refused if answer == "refused" else None, None, 0)
    assert said[-1].reply.deal_current_a == 1.0
    assert keeper.works_for("e")

    assert keeper.wake_ns == RETRY_NS
    (again,) = keeper.tick(RETRY_NS)
    assert (again.order.operation, again.order.grid_current_a) == (CURRENT, 1.0)
    lowered = reading(M.CHARGE, 3, grid_current_setpoint_a=1.0)
    keeper.answered(again.call_id, ConverterReply(reading=lowered), None, RETRY_NS)
    assert not keeper.works_for("e")
    assert keeper.works_for("d")
    assert keeper.report("e", None).deal_current_a == 0.0


def test_a_changed_current_changes_the_share(keeper):
    keeper.hear_reading(reading(), 0)
    for deal_id in ("d", "e"):
        request = replace(order(Op.CHARGE, grid_current_a=1.0), deal_id=deal_id)
        keeper.obey("ask", request, deal(CHARGE), 0)
    request = replace(order(Op.CURRENT, grid_current_a=0.5), deal_id="e")
    keeper.obey("ask", request, deal(CHARGE), 0)
    keeper.hear_reading(reading(stamp_ns=1, grid_charged_wh=0.0), 1)
    keeper.hear_reading(reading(stamp_ns=2, grid_charged_wh=3.0), 2)
    assert keeper.ledger.receipt("d").grid_moved_wh == pytest.approx(2.0)


def test_7_4_one_deal_leaves_and_the_other_goes_on(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0)
    add(keeper, "e")
    (told,) = orders(keeper.obey("ask", order(Op.WAIT), deal(CHARGE), 0))
    assert (told.operation, told.grid_current_a) == (CURRENT, 1.0)
    assert orders(keeper.obey("ask", order(Op.WAIT, deal_id="e"), deal(CHARGE, "e"), 0)) == [WAIT]


def test_7_4_until_the_driver_has_lowered_the_current_it_flows_for_who_leaves(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0)
    add(keeper, "e")
    (command,) = keeper.obey("ask", order(Op.WAIT), deal(CHARGE), 0)
    now = reading(M.CHARGE, 20, grid_charged_wh=4.0)
    (answer,) = keeper.answered(command.call_id, ConverterReply(reading=now), None, 20)
    assert (answer.reply.grid_moved_wh, answer.reply.deal_current_a) == (2.0, 0.0)
    flowed(keeper, 10.0, 30)
    assert (keeper.ledger.moved_wh("d"), keeper.ledger.moved_wh("e")) == (2.0, 8.0)


def test_a_wait_for_no_deal_takes_all_off(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0)
    add(keeper, "e")
    assert orders(keeper.obey("ask", order(Op.WAIT, deal_id=""), None, 0)) == [WAIT]
    assert keeper.deal_ids == ()
    assert keeper.renew(1) == []


@pytest.mark.parametrize("is_last", [False, True])
def test_by_our_own_will_a_deal_is_left_and_with_the_last_one_the_converter_stops(keeper, is_last):
    run(keeper, M.CHARGE, grid_current_a=1.0)
    if not is_last:
        add(keeper, "e")
    (told,) = orders(keeper.leave("d", "too warm", 0))
    assert keeper.is_stopping is is_last
    if is_last:
        assert told == WAIT
    else:
        assert (told.operation, told.grid_current_a) == (CURRENT, 1.0)
        assert keeper.deal_ids == ("e",)


def test_a_slot_that_is_given_back_while_the_converter_is_being_switched_on_stops_it(keeper):
    """The driver has not answered yet: it may be on by now."""
    keeper.hear_reading(reading(), 0)
    (command,) = keeper.obey("ask", order(Op.CHARGE), deal(CHARGE), 0)
    told = orders(keeper.leave("d", "its slot is released", 1))
    now = reading(M.CHARGE, 10, grid_charged_wh=0.0)
    told += orders(keeper.answered(command.call_id, ConverterReply(reading=now), None, 10))
    assert WAIT in told
    assert "d" not in keeper.deal_ids


def test_a_share_lapses_alone(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0)
    add(keeper, "e")
    keeper.obey("ask", order(Op.HOLD, deal_id="e"), deal(CHARGE, "e"), 5 * S)
    (told,) = orders(keeper.tick(HOLD_NS))
    assert (told.operation, told.grid_current_a) == (CURRENT, 1.0)
    assert orders(keeper.tick(5 * S + HOLD_NS)) == [WAIT]


def test_the_drivers_dead_man_is_fed_as_long_as_any_share_lasts(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0)
    add(keeper, "e")
    keeper.obey("ask", order(Op.HOLD, deal_id="e"), deal(CHARGE, "e"), 5 * S)
    assert orders(keeper.renew(HOLD_NS + 1))
    assert keeper.renew(HOLD_NS + 5 * S) == []


def test_the_order_of_the_newest_term_renews_the_driver(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0)
    add(keeper, "e")
    adopted = order(Op.ADOPT, term=4, grid_master_id="E008")
    keeper.obey("ask", adopted, deal(CHARGE), 0)
    (renewal,) = orders(keeper.renew(1))
    assert (renewal.term, renewal.grid_master_id) == (4, "E008")


def test_a_converter_that_stops_by_itself_stops_for_all_its_deals(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0)
    add(keeper, "e")
    tripped = {"stop_cause": StopCause.TRIP, "stop_detail": "over-voltage"}
    keeper.hear_reading(reading(M.WAIT, 20, grid_charged_wh=4.0, **tripped), 20)
    assert keeper.deal_ids == ()
    for deal_id in ("d", "e"):
        report = keeper.report(deal_id, None)
        assert (report.deal_current_a, report.grid_moved_wh) == (0.0, 2.0)
        assert report.reading.stop_detail == "over-voltage"


# --- where shares end ----------------------------------------------------------------------------


def test_7_4_the_driver_knows_where_the_first_deal_ends_and_what_follows(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    told = add(keeper, "e", energy_limit_wh=30.0).order
    assert (told.energy_limit_wh, told.next_current_a) == (20.0, 1.0)
    flowed(keeper, 21.0, grid_current_a=1.0)
    assert keeper.deal_ids == ("e",)  # all beyond 10 Wh is the other's
    assert keeper.ledger.moved_wh("d") == 10.0
    assert keeper.ledger.moved_wh("e") == 11.0
    assert keeper.report("d", None).reading.stop_cause is StopCause.ENERGY_REACHED
    assert keeper.report("e", None).reading.stop_cause is StopCause.NONE


def test_7_4_what_comes_after_the_first_deal_is_told_when_it_has_ended(keeper):
    run(keeper, M.CHARGE, grid_current_a=0.7, energy_limit_wh=7.0)
    add(keeper, "e", 0.7, energy_limit_wh=14.0)
    told = add(keeper, "f", 0.9, energy_limit_wh=27.0).order
    assert told.energy_limit_wh == pytest.approx(23.0)  # 10 Wh for each ampere
    assert told.next_current_a == pytest.approx(1.6)
    (command,) = [e for e in flowed(keeper, 23.0) if isinstance(e, Command)]
    assert command.order.grid_current_a == pytest.approx(1.6)
    assert command.order.energy_limit_wh == pytest.approx(23.0 + 16.0)
    assert command.order.next_current_a == pytest.approx(0.9)


@pytest.mark.parametrize("answer", ["refused", "silence"])
def test_the_limit_survives_a_change_of_mode_that_comes_to_nothing(keeper, answer):
    """Found by seed 780: the driver was never told of a limit again, and 27 of 25 Wh flowed."""
    run(keeper, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    (taking_over,) = keeper.obey("ask", order(Op.WILL_TAKE_OVER), deal(CHARGE), 0)
    still = reading(M.CHARGE, 20, grid_charged_wh=4.0)
    refused = ConverterReply(error=ConverterError.REFUSED, message="no", reading=still)
    keeper.answered(taking_over.call_id, refused if answer == "refused" else None, None, 0)
    keeper.hear_reading(still, 20)
    (hold,) = orders(keeper.obey("ask", order(Op.HOLD, energy_limit_wh=9.0), deal(CHARGE), 30))
    assert hold.energy_limit_wh == 9.0


def test_when_the_answer_to_a_change_of_mode_is_lost_the_limit_counts_from_what_is_seen(keeper):
    """The driver counts anew from some time before that, so it stops early rather than late."""
    keeper.hear_reading(reading(), 0)
    first = order(Op.CHARGE, energy_limit_wh=10.0)
    (command,) = keeper.obey("ask", first, deal(CHARGE), 0)
    keeper.answered(command.call_id, None, None, 0)
    keeper.hear_reading(reading(M.CHARGE, 20, grid_charged_wh=0.5, grid_discharged_wh=0.0), 20)
    (hold,) = orders(keeper.obey("ask", order(Op.HOLD, energy_limit_wh=9.0), deal(CHARGE), 30))
    assert 8.0 < hold.energy_limit_wh <= 9.0


def test_7_4_a_deal_without_a_limit_goes_on_when_the_other_has_ended(keeper):
    run(keeper, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    told = add(keeper, "e").order
    assert (told.energy_limit_wh, told.next_current_a) == (20.0, 1.0)
    (command,) = flowed(keeper, 20.0)
    assert (command.order.grid_current_a, command.order.energy_limit_wh) == (1.0, None)


RAMP_WH = 350.0 * 1.5 / 3600.0  # what 1 A brings in the time in which a current runs down


@pytest.mark.parametrize(
    ("later_wh", "next_a"), [(0.0, None), (0.99 * RAMP_WH, None), (1.01 * RAMP_WH, 1.0)]
)
def test_7_4_deals_that_end_within_a_ramp_end_together(keeper, later_wh, next_a):
    run(keeper, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    told = add(keeper, "e", energy_limit_wh=10.0 + later_wh).order
    assert (told.energy_limit_wh, told.next_current_a) == (20.0, next_a)


@pytest.mark.parametrize("which", ["d", "e"])
def test_7_4_a_limit_that_moves_away_is_the_first_no_more(keeper, which):
    run(keeper, M.CHARGE, grid_current_a=1.0, energy_limit_wh=10.0)
    add(keeper, "e", energy_limit_wh=20.0)
    flowed(keeper, 4.0)
    limit_wh = {"d": 30.0, "e": 12.0}[which]
    hold = order(Op.HOLD, deal_id=which, energy_limit_wh=limit_wh)
    (told,) = orders(keeper.obey("ask", hold, deal(CHARGE, which), 10))
    assert told.energy_limit_wh == pytest.approx({"d": 40.0, "e": 20.0}[which])
    assert told.next_current_a == 1.0


def test_7_4_a_unit_whose_meter_counts_sets_its_own_limit(keeper):
    """A charging unit of this policy: 90 % of what comes over the bus reaches its battery."""
    run(keeper, M.CHARGE, grid_current_a=1.0)
    flowed(keeper, 0.0, battery_charged_wh=0.0)
    flowed(keeper, 20.0, 20, battery_charged_wh=18.0)
    (told,) = orders(keeper.renew(30))
    assert told.energy_limit_wh == pytest.approx(50.0 / 0.9)


# --- on the voltage reference --------------------------------------------------------------------


def test_on_the_reference_a_share_is_booked_and_orders_no_current(keeper):
    run(keeper, M.VOLTAGE_REFERENCE, grid_current_a=1.0)
    joins = order(Op.CHARGE, deal_id="e", grid_current_a=0.5, energy_limit_wh=10.0)
    assert orders(keeper.obey("ask", joins, deal(CHARGE, "e"), 0)) == [READ]
    now = reading(M.VOLTAGE_REFERENCE, 20, grid_charged_wh=6.0)
    assert keeper.hear_reading(now, 20) == []
    assert keeper.ledger.moved_wh("d") == pytest.approx(4.0)  # 1 A and 0.5 A
    assert keeper.ledger.moved_wh("e") == pytest.approx(2.0)
    (renewal,) = orders(keeper.renew(30))
    assert (renewal.energy_limit_wh, renewal.next_current_a) == (None, None)


def test_7_6_without_a_current_the_reference_goes_on_and_books_nothing(keeper):
    run(keeper, M.VOLTAGE_REFERENCE)
    stays = order(Op.CURRENT, grid_current_a=0.0)
    (command,) = keeper.obey("ask", stays, deal(CHARGE), 0)
    assert command.order == READ
    now = reading(M.VOLTAGE_REFERENCE, 20, grid_charged_wh=5.0)
    (answer,) = keeper.answered(command.call_id, ConverterReply(reading=now), None, 20)
    assert answer.reply.deal_current_a == 0.0
    assert keeper.ledger.moved_wh("d") == 0.0
    assert keeper.deal_ids == ()
    assert keeper.is_reference
    assert orders(keeper.renew(30))  # it lives until it is told otherwise


def test_7_6_a_deal_that_leaves_the_reference_leaves_it_on_for_the_other(keeper):
    run(keeper, M.VOLTAGE_REFERENCE, grid_current_a=1.0)
    add(keeper, "e")
    assert orders(keeper.obey("ask", order(Op.WAIT), deal(CHARGE), 0)) == [READ]
    now = reading(M.VOLTAGE_REFERENCE, 20, grid_charged_wh=5.0)
    keeper.hear_reading(now, 20)
    assert (keeper.ledger.moved_wh("d"), keeper.ledger.moved_wh("e")) == (0.0, 5.0)
    assert orders(keeper.obey("ask", order(Op.WAIT, deal_id="e"), deal(CHARGE, "e"), 0)) == [WAIT]


@pytest.mark.parametrize(
    ("type_", "mode", "voltage_v"), [(CHARGE, M.CHARGE, 350.0), (DISCHARGE, M.DISCHARGE, 380.0)]
)
def test_7_6_1_an_old_reference_goes_back_to_the_currents_of_its_deals(
    keeper, type_, mode, voltage_v
):
    run(keeper, M.VOLTAGE_REFERENCE, type_=type_)
    keeper.obey("ask", order(Op.CURRENT, grid_current_a=0.0), deal(type_), 0)
    add(keeper, "e", 1.0, type_)
    add(keeper, "f", 0.5, type_)
    (told,) = orders(keeper.obey("ask", order(Op.DID_HAND_OVER), deal(type_), 0))
    assert (told.operation, told.mode) == (MODE, mode)
    assert (told.grid_current_a, told.grid_voltage_v, told.droop_ratio) == (1.5, voltage_v, 0.0)
    assert keeper.deal_ids == ("e", "f")
    assert not keeper.is_reference


def test_7_6_1_an_old_reference_without_deals_goes_to_wait(keeper):
    run(keeper, M.VOLTAGE_REFERENCE)
    keeper.obey("ask", order(Op.CURRENT, grid_current_a=0.0), deal(CHARGE), 0)
    assert orders(keeper.obey("ask", order(Op.DID_HAND_OVER), deal(CHARGE), 0)) == [WAIT]


def test_7_6_1_a_unit_that_takes_over_keeps_the_currents_that_it_had(keeper):
    """Its deals are booked on as they were."""
    run(keeper, M.CHARGE, grid_current_a=0.7)
    add(keeper, "e", 1.4)
    takes = order(Op.WILL_TAKE_OVER)
    (told,) = orders(keeper.obey("ask", takes, deal(CHARGE), 0))
    assert (told.mode, told.grid_current_a) == (M.VOLTAGE_REFERENCE, 2.3)
    now = reading(M.VOLTAGE_REFERENCE, 20, grid_charged_wh=3.0)
    keeper.hear_reading(now, 20)
    assert keeper.ledger.moved_wh("d") == pytest.approx(1.0)
    assert keeper.ledger.moved_wh("e") == pytest.approx(2.0)


def test_a_limit_for_a_converter_that_is_on_is_told_once_its_counters_are_known(keeper):
    run(keeper, M.VOLTAGE_REFERENCE)
    keeper.obey("ask", order(Op.CURRENT, grid_current_a=0.0), deal(CHARGE), 0)
    add(keeper, "e", energy_limit_wh=10.0)
    (command,) = keeper.obey("ask", order(Op.DID_HAND_OVER), deal(CHARGE), 0)
    assert command.order.energy_limit_wh is None
    now = reading(M.CHARGE, 10, grid_charged_wh=3.0)
    effects = keeper.answered(command.call_id, ConverterReply(reading=now), None, 0)
    (told,) = orders(effects)
    assert told.operation is ConverterOperation.HOLD
    assert told.energy_limit_wh == pytest.approx(10.0 - keeper.ledger.moved_wh("e"))


def test_after_a_mode_that_failed_no_limit_is_told(keeper):
    """The driver counts on from the mode before; a limit of a wrong beginning would be wrong."""
    run(keeper, M.VOLTAGE_REFERENCE, grid_current_a=1.0)
    add(keeper, "e", energy_limit_wh=10.0)
    (command,) = keeper.obey("ask", order(Op.DID_HAND_OVER), deal(CHARGE), 0)
    now = reading(M.VOLTAGE_REFERENCE, 10, grid_charged_wh=3.0)
    failed = ConverterReply(error=ConverterError.REFUSED, reading=now)
    effects = keeper.answered(command.call_id, failed, None, 0)
    assert all(told.energy_limit_wh is None for told in orders(effects))


@pytest.mark.parametrize(
    ("operation", "bus_v", "is_masked"),
    [
        (Op.VOLTAGE, 350.0, True),  # on its way to 340 V
        (Op.VOLTAGE, 340.0, False),
        (Op.WILL_HAND_OVER, 340.0, True),  # somebody else is about to hold it
    ],
)
def test_w10_the_voltage_is_not_judged_until_it_has_settled(keeper, operation, bus_v, is_masked):
    run(keeper, M.VOLTAGE_REFERENCE)
    held = {"grid_voltage_v": 350.0, "grid_voltage_setpoint_v": 350.0}
    keeper.hear_reading(reading(M.VOLTAGE_REFERENCE, 10, **held), 10)
    assert not keeper.is_voltage_masked(10)
    keeper.obey("ask", order(operation), deal(CHARGE), 20)
    assert keeper.is_voltage_masked(20)
    droop = keeper._hardware.droop_ratio if operation is Op.WILL_HAND_OVER else 0.0
    there = {"grid_voltage_v": bus_v, "grid_voltage_setpoint_v": 340.0, "droop_ratio": droop}
    keeper.hear_reading(reading(M.VOLTAGE_REFERENCE, 30, **there), 30)
    assert keeper.is_voltage_masked(30) is is_masked
    assert not keeper.is_voltage_masked(60 * S)  # and not for ever


def test_who_was_refused_as_the_reference_goes_on_with_its_currents(keeper):
    """Found by seed 78: it took itself for the reference, and ordered no current any more."""
    run(keeper, M.CHARGE, grid_current_a=1.0)
    joined = add(keeper, "e")
    both = reading(M.CHARGE, 2, grid_current_setpoint_a=2.0)
    keeper.answered(joined.call_id, ConverterReply(reading=both), None, 0)
    take_over = order(Op.WILL_TAKE_OVER, deal_id="e")
    (command,) = keeper.obey("take", take_over, deal(CHARGE, "e"), 0)
    refused = ConverterReply(error=ConverterError.REFUSED, message="no", reading=both)
    keeper.answered(command.call_id, refused, None, 0)
    (told,) = orders(keeper.obey("leave", order(Op.WAIT, deal_id="e"), deal(CHARGE, "e"), 0))
    assert (told.operation, told.grid_current_a) == (CURRENT, 1.0)


def test_a_share_whose_converter_never_came_on_goes_with_its_deal(keeper):
    """Found by seeds 110 and 272: left behind without an account, it tripped the next order."""
    keeper.hear_reading(reading(), 0)
    command = add(keeper, "d")
    refused = ConverterReply(
        error=ConverterError.REFUSED, message="no", reading=reading(stamp_ns=1)
    )
    keeper.answered(command.call_id, refused, None, 0)
    assert not keeper.works_for("d")
    keeper.close("d")
    joined = add(keeper, "e")
    assert joined.order.grid_current_a == 1.0
