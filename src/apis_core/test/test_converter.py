"""The manager of a converter: orders in, orders to the driver out, answers and readings back."""

import math
from dataclasses import replace

import pytest
from converter_bench import (
    CHARGE,
    DISCHARGE,
    DRIVER_HOLD_S,
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
    origin,
    reading,
    run,
)

from apis_core.config.timing import Timing
from apis_core.converter.manager import ConverterManager
from apis_core.events import Answer, Log
from apis_core.model.messages import (
    ControlReply,
    ConverterOperation,
    ConverterOrder,
    ConverterReply,
)
from apis_core.model.types import ControlError, ConverterError, ConverterMode
from apis_core.model.units import NEVER_NS
from apis_core.model.units import SECOND_NS as S

# --- which orders are refused ---


@pytest.mark.parametrize(
    ("request_", "direction", "error"),
    [
        (order(Op.CHARGE, hold_ns=0), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.VOLTAGE_REFERENCE, hold_ns=-1), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.CURRENT, hold_ns=0), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.CHARGE), DISCHARGE, ControlError.OTHER_DIRECTION),
        (order(Op.DISCHARGE), CHARGE, ControlError.OTHER_DIRECTION),
        (order(Op.DISCHARGE), None, ControlError.OTHER_DIRECTION),
        (order(Op.CHARGE, grid_current_a=None), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.CHARGE, grid_current_a=math.nan), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.CHARGE, grid_current_a=-0.1), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.CHARGE, grid_current_a=2.31), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.DISCHARGE, grid_current_a=2.31), DISCHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.CURRENT, grid_current_a=2.31), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.VOLTAGE_REFERENCE, grid_voltage_v=None), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.VOLTAGE_REFERENCE, grid_voltage_v=299.9), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.VOLTAGE_REFERENCE, grid_voltage_v=380.1), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.WILL_TAKE_OVER, grid_voltage_v=390.0), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.VOLTAGE), CHARGE, ControlError.OUT_OF_RANGE),  # not the reference
        (order(Op.WILL_HAND_OVER), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.DID_HAND_OVER), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.DID_TAKE_OVER), CHARGE, ControlError.OUT_OF_RANGE),
        (order(Op.CURRENT, grid_current_a=0.0), CHARGE, ControlError.OUT_OF_RANGE),
    ],
)
def test_8_4_an_order_that_makes_no_sense_is_refused(manager, request_, direction, error):
    now = reading()
    manager.hear_reading(now, 0)
    (answer,) = manager.obey("ask", request_, deal(direction), 0)
    assert isinstance(answer, Answer)
    assert answer.requester == "ask"
    assert answer.reply.error is error
    assert answer.reply.message
    assert answer.reply.reading is now
    assert manager.ledger.receipt("d") is None
    assert manager.wake_ns == NEVER_NS


def test_a_refusal_says_what_would_be_right(manager):
    (answer,) = manager.obey("ask", order(Op.CHARGE, grid_current_a=9.0), deal(CHARGE), 0)
    assert answer.reply.message == "grid_current_a is 9; it must be <= 2.3 A"
    voltage = order(Op.VOLTAGE_REFERENCE, grid_voltage_v=9.0)
    (answer,) = manager.obey("ask", voltage, deal(CHARGE), 0)
    assert answer.reply.message == "grid_voltage_v is 9.0; it must be within 300..380 V"


@pytest.mark.parametrize(
    ("bus_v", "is_refused"),
    [
        (None, True),  # not read
        (0.0, False),
        (280.0, False),
        (289.9, False),
        (290.0, True),  # the under-voltage lock-out band, 10 V round 300 V
        (300.0, True),
        (310.0, True),
        (310.1, False),
        (315.0, False),
        (320.0, False),
        (320.1, True),  # 20 V above 300 V: another source holds it
        (350.0, True),
    ],
)
def test_8_5_the_bus_must_be_dead_for_a_first_reference(manager, bus_v, is_refused):
    manager.hear_reading(reading(grid_voltage_v=bus_v), 0)
    (effect,) = manager.obey("ask", order(Op.VOLTAGE_REFERENCE), deal(CHARGE), 0)
    if is_refused:
        assert effect.reply.error is ControlError.BUS_ENERGISED
    else:
        assert effect.order.mode is M.VOLTAGE_REFERENCE


def test_8_5_a_reference_that_takes_over_or_holds_the_bus_already_may_find_it_up(manager):
    manager.hear_reading(reading(grid_voltage_v=350.0), 0)
    taking_over = order(Op.WILL_TAKE_OVER)
    assert orders(manager.obey("ask", taking_over, deal(CHARGE), 0))[0].droop_ratio == 0.039
    manager.hear_reading(reading(M.VOLTAGE_REFERENCE, grid_voltage_v=350.0), 0)
    assert orders(manager.obey("ask", order(Op.VOLTAGE_REFERENCE), deal(CHARGE), 0))


@pytest.mark.parametrize("asked_v", [350.0, None])  # as ordered, or as it measures
@pytest.mark.parametrize(
    ("bus_v", "is_refused"),
    [(None, True), (0.0, True), (82.0, True), (299.9, True), (300.0, False), (380.1, True)],
)
def test_8_5_nobody_takes_over_a_bus_that_nobody_holds(manager, bus_v, is_refused, asked_v):
    manager.hear_reading(reading(grid_voltage_v=bus_v), 0)
    taking_over = order(Op.WILL_TAKE_OVER, grid_voltage_v=asked_v)
    (effect,) = manager.obey("ask", taking_over, deal(CHARGE), 0)
    if is_refused:
        assert effect.reply.error is ControlError.OUT_OF_RANGE
        assert not manager.deal_ids
    else:
        assert effect.order.mode is M.VOLTAGE_REFERENCE


# --- what the driver is told ---

COMMON = ConverterOrder(
    operation=ConverterOperation.MODE,
    hold_s=DRIVER_HOLD_S,
    term=3,
    grid_master_id="E009",
    deal_id="d",
)


@pytest.mark.parametrize(
    ("request_", "direction", "expected"),
    [
        (
            order(Op.CHARGE, energy_limit_wh=60.0),
            CHARGE,
            replace(
                COMMON,
                mode=M.CHARGE,
                grid_current_a=2.0,
                grid_voltage_v=350.0,
                energy_limit_wh=60.0,
            ),
        ),
        (  # it may raise the voltage to the top of the range
            order(Op.DISCHARGE),
            DISCHARGE,
            replace(COMMON, mode=M.DISCHARGE, grid_current_a=2.0, grid_voltage_v=380.0),
        ),
        (  # its current is a limit: what the converter can carry
            order(Op.VOLTAGE_REFERENCE, grid_voltage_v=345.0),
            DISCHARGE,
            replace(COMMON, mode=M.VOLTAGE_REFERENCE, grid_current_a=2.3, grid_voltage_v=345.0),
        ),
        (order(Op.WAIT), CHARGE, WAIT),
        (order(Op.WAIT, deal_id="", hold_ns=0), None, WAIT),
        (order(Op.HOLD), CHARGE, READ),  # nothing is on that could be held
    ],
)
def test_8_4_what_the_driver_is_told(manager, request_, direction, expected):
    manager.hear_reading(reading(), 0)
    assert orders(manager.obey("ask", request_, deal(direction), 0)) == [expected]


HOLD = replace(COMMON, operation=ConverterOperation.HOLD)
VOLTAGE = replace(COMMON, operation=ConverterOperation.VOLTAGE)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (Op.VOLTAGE, replace(VOLTAGE, grid_voltage_v=340.0)),
        (Op.WILL_HAND_OVER, replace(VOLTAGE, droop_ratio=0.039)),
        (Op.DID_TAKE_OVER, VOLTAGE),
        (Op.CURRENT, READ),  # its current is the bus's business
        (Op.HOLD, HOLD),
    ],
)
def test_7_6_1_what_the_driver_of_the_reference_is_told(manager, operation, expected):
    run(manager, M.VOLTAGE_REFERENCE)
    assert orders(manager.obey("ask", order(operation), deal(CHARGE), 0)) == [expected]


def test_7_6_1_without_a_given_voltage_the_new_reference_takes_the_one_it_measures(manager):
    manager.hear_reading(reading(grid_voltage_v=347.5), 0)
    taking_over = order(Op.WILL_TAKE_OVER, grid_voltage_v=None)
    (told,) = orders(manager.obey("ask", taking_over, deal(CHARGE), 0))
    assert told.grid_voltage_v == 347.5


@pytest.mark.parametrize("end", [None, Op.DID_HAND_OVER, Op.DID_TAKE_OVER])
def test_7_6_1_a_hand_over_that_nobody_finishes_ends_the_voltage(manager, end):
    """Its droop would stay; holding on for other deals does not help."""
    run(manager, M.VOLTAGE_REFERENCE)
    manager.obey("ask", order(Op.WILL_HAND_OVER), deal(CHARGE), 0)
    manager.obey("ask", order(Op.HOLD), deal(CHARGE), HOLD_NS // 4)
    if end is not None:
        manager.obey("ask", order(end), deal(CHARGE), HOLD_NS // 4)
    assert manager.tick(HOLD_NS // 2 - 1) == []

    told = orders(manager.tick(HOLD_NS // 2))

    modes = [each.mode for each in told if each.operation is ConverterOperation.MODE]
    assert modes == ([M.WAIT] if end is None else [])


def test_a_hold_renews_what_is_on(manager):
    run(manager, M.CHARGE)
    expected = replace(COMMON, operation=ConverterOperation.HOLD, energy_limit_wh=9.0)
    effects = manager.obey("ask", order(Op.HOLD, energy_limit_wh=9.0), deal(CHARGE), 5 * S)
    assert orders(effects) == [expected]
    assert manager.wake_ns == 5 * S + HOLD_NS


def test_a_hold_for_another_deal_does_not_prolong_the_order_in_force(manager):
    run(manager, M.CHARGE)
    manager.obey("ask", order(Op.HOLD, deal_id="another"), deal(CHARGE), 5 * S)
    assert manager.wake_ns == HOLD_NS


def test_the_energy_limit_counts_from_the_order_that_set_the_mode(manager):
    """The grid master counts per deal, the converter per order."""
    run(manager, M.CHARGE)
    flowed(manager, 30.0)
    manager.hear_reading(charged(manager, 30.0, M.WAIT), 0)
    limit = {"energy_limit_wh": 50.0}
    (again,) = orders(manager.obey("ask", order(Op.CHARGE, **limit), deal(CHARGE), 0))
    assert again.energy_limit_wh == 20.0
    (over,) = orders(manager.obey("ask", order(Op.CHARGE, energy_limit_wh=30.0), deal(CHARGE), 0))
    assert 0.0 < over.energy_limit_wh < 0.001  # at once, and still a limit


# --- answers ---


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (ConverterReply(), ControlError.NONE, ""),
        (None, ControlError.CONVERTER, "its converter does not answer"),
        (
            ConverterReply(error=ConverterError.BUS_ENERGISED, message="is up"),
            ControlError.BUS_ENERGISED,
            "is up",
        ),
        *(
            (ConverterReply(error=error, message="no"), ControlError.CONVERTER, "no")
            for error in ConverterError
            if error not in (ConverterError.NONE, ConverterError.BUS_ENERGISED)
        ),
    ],
)
def test_8_1_the_grid_master_is_answered_when_the_driver_has_spoken(
    manager, reply, error, message
):
    manager.hear_reading(reading(), 0)
    (command,) = manager.obey("ask", order(Op.CHARGE), deal(CHARGE), 0)
    assert manager.answered(command.origin, reply, 0.5, 0) == [
        Answer(
            "ask",
            ControlReply(
                error=error,
                message=message,
                reading=reading(),
                grid_moved_wh=0.0,
                battery_moved_wh=0.0,
                deal_current_a=0.0,  # the converter is off
                soc_ratio=0.5,
            ),
        )
    ]
    assert manager.answered(command.origin, reply, 0.5, 0) == []  # once


def test_an_answer_brings_the_newest_reading_and_what_was_moved(manager):
    run(manager, M.CHARGE)
    manager.hear_reading(charged(manager, 0.0, battery_charged_wh=90.0), 0)
    (command,) = manager.obey("ask", order(Op.HOLD), deal(CHARGE), 0)
    now = charged(manager, 10.0, battery_charged_wh=99.0)
    (answer,) = manager.answered(command.origin, ConverterReply(reading=now), None, 0)
    assert answer.reply.reading is now
    assert (answer.reply.grid_moved_wh, answer.reply.battery_moved_wh) == (10.0, 9.0)
    assert manager.report("unheard of", None).grid_moved_wh is None


def test_8_1_every_command_has_an_id_of_its_own(manager):
    manager.hear_reading(reading(), 0)
    effects = [*manager.read(), *manager.read(), *manager.obey("ask", order(Op.WAIT), None, 0)]
    assert len({effect.origin for effect in effects}) == 3


def test_the_answer_to_a_command_of_our_own_is_told_to_nobody(manager):
    (command,) = manager.read()
    now = reading(M.CHARGE)
    assert manager.answered(command.origin, ConverterReply(reading=now), None, 0) == []
    assert manager.reading is now


# --- readings ---


@pytest.mark.parametrize(
    ("stamp_s", "is_taken"),
    [(101.0, True), (100.0, True), (99.9, False), (40.1, False), (40.0, True), (1.0, True)],
)
def test_a_reading_that_was_overtaken_is_of_no_use(manager, stamp_s, is_taken):
    """One minute back is no latecomer: the driver's clock was set."""
    manager.hear_reading(reading(M.WAIT, 100 * S), 0)
    manager.hear_reading(reading(M.CHARGE, round(stamp_s * S)), 0)
    assert manager.reading.mode is (M.CHARGE if is_taken else M.WAIT)


@pytest.mark.parametrize("mode", ConverterMode)
def test_when_in_doubt_the_converter_is_on(manager, mode):
    assert not manager.is_off  # not read yet
    manager.hear_reading(reading(mode), 0)
    assert manager.is_off is (mode is M.WAIT)


# --- the hold time ---


@pytest.mark.parametrize("mode", [M.CHARGE, M.DISCHARGE])
def test_silence_of_the_grid_master_ends_in_wait(manager, mode):
    run(manager, mode)
    assert manager.wake_ns == HOLD_NS
    assert manager.tick(HOLD_NS - 1) == []
    note, command = manager.tick(HOLD_NS)
    assert note == Log("stops its converter: E009 no longer renews deal d", is_warning=True)
    assert command.order == WAIT
    assert manager.is_stopping


def test_a_hold_time_that_ends_while_the_converter_is_off_changes_nothing(manager):
    run(manager, M.CHARGE)
    manager.hear_reading(reading(M.WAIT, 10), 0)  # it has reached its energy
    assert manager.tick(HOLD_NS) == []
    assert manager.wake_ns == NEVER_NS


def test_wait_ends_the_order_in_force(manager):
    run(manager, M.CHARGE)
    manager.obey("ask", order(Op.WAIT), deal(CHARGE), 0)
    assert manager.wake_ns == NEVER_NS
    assert manager.renew(1) == []


def test_the_drivers_dead_man_is_fed_while_the_order_lasts(manager):
    assert manager.renew(0) == []
    run(manager, M.CHARGE)
    renewal = replace(COMMON, operation=ConverterOperation.HOLD)
    assert orders(manager.renew(0)) == [renewal]
    assert orders(manager.renew(HOLD_NS - 1)) == [renewal]
    assert manager.renew(HOLD_NS) == []  # also before anybody ticks


def test_the_drivers_dead_man_is_not_fed_when_off_or_stopping(manager):
    run(manager, M.CHARGE)
    manager.hear_reading(reading(M.WAIT, 10), 0)
    assert manager.renew(1) == []
    run(manager, M.CHARGE, 20)
    assert manager.renew(21)
    manager.stop("because", 21)
    assert manager.renew(21) == []


# --- stopping by ourselves ---


def test_stopping_is_tried_until_the_converter_is_off(manager):
    run(manager, M.CHARGE)
    assert orders(manager.stop("because", 0)) == [WAIT]
    assert manager.stop("because", 0) == []  # under way
    assert manager.wake_ns == RETRY_NS
    assert manager.tick(RETRY_NS - 1) == []
    assert orders(manager.tick(RETRY_NS)) == [WAIT]
    assert orders(manager.tick(2 * RETRY_NS)) == [WAIT]
    manager.hear_reading(reading(M.CHARGE, 10), 0)
    assert manager.is_stopping
    manager.hear_reading(reading(M.WAIT, 20), 0)
    assert not manager.is_stopping
    assert manager.wake_ns == NEVER_NS
    assert manager.tick(10 * RETRY_NS) == []


def test_a_driver_that_is_gone_is_not_told_again_with_every_word(manager):
    """Its silence is a word, too: a unit that answers each with an order hears nothing else."""
    run(manager, M.CHARGE)
    assert orders(manager.stop("too hot", 0, at_once=True)) == [WAIT]

    assert manager.stop("too hot", 0, at_once=True) == []
    assert manager.stop("too hot", RETRY_NS - 1, at_once=True) == []
    assert orders(manager.tick(RETRY_NS)) == [WAIT]


def test_a_converter_that_is_off_need_not_be_stopped(manager):
    manager.hear_reading(reading(), 0)
    assert manager.stop("because", 0) == []
    assert not manager.is_stopping


def test_a_converter_that_may_be_on_is_stopped(manager):
    """Not read yet, or ordered on and not heard of since."""
    assert orders(manager.stop("starting", 0, at_once=True)) == [WAIT]


def test_wait_is_said_until_the_driver_has_answered_once(manager):
    """A reading shows WAIT, but not that orders arrive."""
    manager.stop("starting", 0, at_once=True)
    manager.hear_reading(reading(), 0)
    manager.answered(origin(1), None, None, 0)
    assert not manager.has_answered
    assert manager.wake_ns == RETRY_NS
    assert orders(manager.tick(RETRY_NS)) == [WAIT]
    manager.answered(origin(2), ConverterReply(reading=reading()), None, RETRY_NS)
    assert manager.has_answered
    assert manager.wake_ns == NEVER_NS


def test_wait_is_said_again_also_when_a_reading_comes_after_the_failures(manager):
    """The driver is heard, but its service was not found yet when WAIT was said."""
    manager.stop("starting", 0, at_once=True)
    manager.answered(origin(1), None, None, 0)
    assert orders(manager.tick(RETRY_NS)) == [WAIT]
    manager.answered(origin(2), None, None, RETRY_NS)
    manager.hear_reading(reading(), RETRY_NS)
    assert manager.wake_ns == 2 * RETRY_NS
    assert orders(manager.tick(2 * RETRY_NS)) == [WAIT]


def test_an_order_that_may_still_arrive_is_stopped(manager):
    manager.hear_reading(reading(), 0)
    manager.obey("ask", order(Op.CHARGE), deal(CHARGE), 0)
    assert orders(manager.stop("because", 0)) == [WAIT]


@pytest.mark.parametrize("operation", [o for o in Op if o not in (Op.ACQUIRE, Op.RELEASE)])
def test_while_it_stops_only_wait_is_obeyed(manager, operation):
    run(manager, M.CHARGE)
    manager.stop("because", 0)
    (effect,) = manager.obey("ask", order(operation), deal(CHARGE), 0)
    if operation is Op.WAIT:
        assert effect.order == WAIT
    else:
        assert effect.reply.error is ControlError.NOT_DEALING
        assert effect.reply.message == "is stopping: because"


DELAY_NS = 5 * S  # the policy's, so that the currents go first


def test_a_reference_that_carries_current_is_stopped_last(manager):
    run(manager, M.VOLTAGE_REFERENCE)
    manager.hear_reading(reading(M.VOLTAGE_REFERENCE, 10, grid_current_a=-2.0), 0)
    assert orders(manager.stop("because", 0)) == [READ]
    for second in range(1, 5):
        assert orders(manager.tick(second * S)) == [READ]
    assert orders(manager.tick(DELAY_NS)) == [WAIT]


def test_a_reference_is_stopped_as_soon_as_it_carries_no_current(manager):
    run(manager, M.VOLTAGE_REFERENCE)
    manager.hear_reading(reading(M.VOLTAGE_REFERENCE, 10, grid_current_a=2.0), 0)
    assert orders(manager.stop("because", 0)) == [READ]
    manager.hear_reading(reading(M.VOLTAGE_REFERENCE, 20, grid_current_a=0.12), 0)
    assert orders(manager.tick(S)) == [WAIT]


@pytest.mark.parametrize(
    ("mode", "current_a", "at_once"),
    [
        (M.VOLTAGE_REFERENCE, 2.0, True),
        (M.VOLTAGE_REFERENCE, 0.1, False),
        (M.VOLTAGE_REFERENCE, None, False),
        (M.CHARGE, 2.0, False),
    ],
)
def test_what_is_stopped_without_delay(manager, mode, current_a, at_once):
    run(manager, mode)
    manager.hear_reading(reading(mode, 10, grid_current_a=current_a), 0)
    assert orders(manager.stop("because", 0, at_once=at_once)) == [WAIT]


def test_the_delay_ends_between_two_tries(policy, hardware):
    manager = ConverterManager(
        unit_id="E001",
        hardware=hardware,
        policy=replace(policy, scram_reference_delay_ns=S // 2),
        driver_hold_s=DRIVER_HOLD_S,
        retry_ns=RETRY_NS,
    )
    run(manager, M.VOLTAGE_REFERENCE)
    manager.hear_reading(reading(M.VOLTAGE_REFERENCE, 10, grid_current_a=2.0), 0)
    manager.stop("because", 0)
    assert manager.wake_ns == S // 2
    assert orders(manager.tick(S // 2)) == [WAIT]


def test_a_hard_stop_overtakes_an_orderly_one(manager):
    manager.hear_reading(reading(mode=M.VOLTAGE_REFERENCE, grid_current_a=2.0), 0)
    assert manager.stop("soft", 0)
    (command,) = manager.stop("too hot", 1, at_once=True)
    assert command.order.mode is M.WAIT


def test_a_poll_for_another_deal_does_not_feed_the_dead_man(manager):
    manager.hear_reading(reading(), 0)
    manager.obey("ask", order(Op.CHARGE, grid_current_a=2.0), deal(CHARGE), 0)
    manager.hear_reading(reading(mode=M.CHARGE), 1)
    other = replace(order(Op.HOLD), deal_id="another")
    (command,) = manager.obey("ask", other, deal(CHARGE), 2)
    assert command.order.operation is ConverterOperation.READ


def test_a_reading_that_is_long_under_way_is_still_a_latecomer(policy, hardware):
    late_ns = Timing.of(policy, 100 * S).late_ns
    manager = ConverterManager(
        unit_id="E001",
        hardware=hardware,
        policy=policy,
        driver_hold_s=5.0,
        retry_ns=S,
        late_ns=late_ns,
    )
    manager.ledger.open("d", CHARGE, 1.0)
    for stamp_s, charged_wh in ((1000, 5000.0), (1100, 5010.0), (1030, 5003.0), (1101, 5011.0)):
        now = reading(stamp_ns=stamp_s * S, grid_charged_wh=charged_wh)
        manager.hear_reading(now, stamp_s * S)
    assert manager.ledger.receipt("d").grid_moved_wh == pytest.approx(11.0)
