"""Orders: what is refused and why, terms, hold times, and the end of the process."""

from __future__ import annotations

import math

import pytest

from apis_core.model.messages import ClaimKind
from apis_core.model.messages import ConverterOperation as Operation
from apis_core.model.types import ConverterError as Error
from apis_core.model.types import ConverterMode as Mode
from apis_core.model.types import StopCause

VOLTAGE, CHARGE, WAIT = Mode.VOLTAGE_REFERENCE, Mode.CHARGE, Mode.WAIT


@pytest.fixture
def live(make_village):
    village = make_village()
    village.hold_voltage("E001")
    village.plant.step(20.0)
    return village


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "error", "words"),
    [
        (
            {"mode": CHARGE},
            Error.OUT_OF_RANGE,
            "grid_current_a is missing, it must be 0 to 7.8125",
        ),
        ({"mode": CHARGE, "grid_current_a": -1.0}, Error.OUT_OF_RANGE, "is -1 A"),
        ({"mode": CHARGE, "grid_current_a": 7.9}, Error.OUT_OF_RANGE, "is 7.9 A"),
        ({"mode": CHARGE, "grid_current_a": math.inf}, Error.OUT_OF_RANGE, "is inf"),
        ({"mode": Mode.UNKNOWN}, Error.OUT_OF_RANGE, "mode is UNKNOWN"),
        ({"mode": VOLTAGE}, Error.OUT_OF_RANGE, "grid_voltage_v is missing"),
        ({"mode": VOLTAGE, "grid_voltage_v": 250.0}, Error.OUT_OF_RANGE, "260 to 390 V"),
        (
            {"mode": VOLTAGE, "grid_voltage_v": 350.0, "droop_ratio": 0.2},
            Error.OUT_OF_RANGE,
            "droop_ratio is 0.2, it must be 0 to 0.1",
        ),
        (
            {"mode": VOLTAGE, "grid_voltage_v": 350.0, "grid_current_a": 0.0},
            Error.OUT_OF_RANGE,
            "it must be more than 0 to 7.8125 A",
        ),
        (
            {"mode": CHARGE, "grid_current_a": 1.0, "energy_limit_wh": 0.0},
            Error.OUT_OF_RANGE,
            "energy_limit_wh is 0 Wh, it must be more than 0 Wh",
        ),
        (
            {"mode": CHARGE, "grid_current_a": 1.0, "hold_s": None},
            Error.OUT_OF_RANGE,
            "hold_s is missing",
        ),
        ({"mode": CHARGE, "grid_current_a": 1.0, "term": 0}, Error.OUT_OF_RANGE, "term is 0"),
        ({"mode": VOLTAGE, "grid_voltage_v": 350.0}, Error.BUS_ENERGISED, "held by E001"),
    ],
)
def test_senseless_orders_change_nothing(live, order, error, words):
    reply = live.order("E002", Operation.MODE, **order)
    assert reply.error is error
    assert words in reply.message
    assert reply.reading.mode is WAIT
    assert reply.reading.term == 0


@pytest.mark.parametrize("operation", [Operation.CURRENT, Operation.VOLTAGE, Operation.HOLD])
def test_converter_in_wait_has_nothing_to_change(live, operation):
    assert live.order("E002", operation, grid_current_a=1.0).error is Error.WRONG_MODE


def test_only_a_reference_has_a_voltage(live):
    live.charge("E002", 1.0)
    assert live.order("E002", Operation.VOLTAGE, grid_voltage_v=340.0).error is Error.WRONG_MODE


def test_current_source_needs_a_live_bus(make_village):
    reply = make_village().mode("E002", CHARGE, grid_current_a=1.0)
    assert reply.error is Error.REFUSED
    assert "260 V or more" in reply.message


def test_a_bus_that_nobody_holds_is_not_taken_over(make_village):
    village = make_village(2)
    reply = village.order(
        "E001", Operation.MODE, mode=VOLTAGE, grid_voltage_v=350.0, droop_ratio=0.04
    )
    assert (reply.error, reply.reading.mode) == (Error.REFUSED, WAIT)
    assert "to take it over" in reply.message


def test_current_source_needs_a_battery_that_can(live):
    battery = live.plant.units["E002"].battery
    battery.stored_wh = battery.capacity_wh
    assert live.mode("E002", CHARGE, grid_current_a=1.0).error is Error.REFUSED
    battery.stored_wh = 1.0
    assert live.mode("E002", Mode.DISCHARGE, grid_current_a=1.0).error is Error.REFUSED


def test_decaying_bus_refuses_a_new_reference_until_it_is_low(live):
    live["E001"].trip("for the test")
    live.plant.step(1.0)
    assert live.plant.voltage_v > 320.0
    assert live.mode("E002", VOLTAGE, grid_voltage_v=350.0).error is Error.BUS_ENERGISED
    live.plant.step(1.0)
    assert live.plant.voltage_v < 320.0
    live.hold_voltage("E002")


def test_lone_reference_must_not_become_a_current_source(live):
    assert live.mode("E001", CHARGE, grid_current_a=1.0).error is Error.WRONG_MODE


def test_reference_may_be_ordered_again(live):
    live.hold_voltage("E001", 345.0)
    live.plant.step(5.0)
    assert live.plant.voltage_v == pytest.approx(345.0)


# --- what is obeyed ---------------------------------------------------------------------------


def test_reply_shows_the_state_after_the_order(live):
    reply = live.mode("E002", CHARGE, grid_current_a=1.5, term=3, deal_id="d1", hold_s=20.0)
    reading = reply.reading
    assert (reading.mode, reading.grid_current_setpoint_a) == (CHARGE, 1.5)
    assert (reading.term, reading.deal_id, reading.hold_remaining_s) == (3, "d1", 20.0)
    assert reading.grid_current_a == 0.0


def test_setpoints_change_and_are_kept(live):
    live.charge("E002", 1.0, energy_limit_wh=9.0)
    live.order("E002", Operation.CURRENT, grid_current_a=2.0)
    assert live["E002"].energy_limit_wh == 9.0
    live.order("E002", Operation.HOLD, energy_limit_wh=8.0)
    assert (live["E002"].current_setpoint_a, live["E002"].energy_limit_wh) == (2.0, 8.0)
    live.order("E001", Operation.VOLTAGE, droop_ratio=0.05)
    assert (live["E001"].voltage_setpoint_v, live["E001"].droop_ratio) == (350.0, 0.05)


def test_read_changes_nothing_and_needs_no_term(live):
    live.charge("E002", 1.0, term=5, deal_id="d1")
    reply = live.order("E002", Operation.READ, term=0, hold_s=None)
    assert reply.error is Error.NONE
    assert (reply.reading.term, reply.reading.deal_id) == (5, "d1")


# --- terms ------------------------------------------------------------------------------------


def test_order_of_an_older_term_is_refused(live):
    live.charge("E002", 1.0, term=5)
    for order in (
        {"operation": Operation.MODE, "mode": WAIT},
        {"operation": Operation.CURRENT, "grid_current_a": 2.0},
        {"operation": Operation.HOLD},
    ):
        reply = live.order("E002", **order, term=4)
        assert reply.error is Error.OLD_TERM
        assert "term is 4, it must be 5 or more" in reply.message
    live.order("E002", Operation.CURRENT, grid_current_a=2.0, term=5)
    assert live["E002"].current_setpoint_a == 2.0


def leads(live, term: int, times: int = 1, kind: ClaimKind = ClaimKind.MASTER) -> None:
    for _ in range(times):
        live.driver.hear_claim(kind, term)


def test_a_term_that_nobody_leads_is_refused_and_locks_nobody_out(live):
    leads(live, 3)
    reply = live.mode("E002", CHARGE, grid_current_a=1.0, term=99)
    assert (reply.error, reply.reading.mode) == (Error.REFUSED, WAIT)
    assert reply.message == "term is 99, which nobody leads; the newest is 3"
    live.wait("E002", term=99)  # anybody may say so, but it binds nobody
    live.charge("E002", 1.0, term=3)


def test_a_stranger_who_was_before_the_first_claim_locks_nobody_out_either(live):
    live.charge("E002", 1.0, term=99)
    assert live.mode("E002", WAIT, term=3).error is Error.OLD_TERM
    leads(live, 3)
    live.charge("E002", 1.0, term=3)
    assert (
        live.order("E002", Operation.CURRENT, grid_current_a=2.0, term=99).error is Error.REFUSED
    )


def test_an_older_grid_master_never_wins(live):
    leads(live, 3)
    live.charge("E002", 1.0, term=3)
    leads(live, 4, kind=ClaimKind.CANDIDATE)
    live.charge("E002", 1.0, term=4)
    leads(live, 3, times=4)  # words that were under way
    assert live.order("E002", Operation.HOLD, term=3).error is Error.OLD_TERM
    leads(live, 4)
    leads(live, 3, times=4)
    assert live.order("E002", Operation.HOLD, term=3).error is Error.OLD_TERM


def test_a_claim_that_nobody_followed_is_forgotten(live):
    leads(live, 3)
    leads(live, 99)
    live.charge("E002", 1.0, term=99)
    leads(live, 3, times=5)
    live.charge("E002", 1.0, term=3)


def test_term_outlives_wait(live):
    live.charge("E002", 1.0, term=5)
    live.wait("E002", term=5)
    live.plant.step(5.0)
    assert live.mode("E002", CHARGE, grid_current_a=1.0, term=4).error is Error.OLD_TERM


def test_refused_order_does_not_raise_the_fence(live):
    assert live.mode("E002", CHARGE, grid_current_a=99.0, term=9).error is Error.OUT_OF_RANGE
    live.charge("E002", 1.0, term=1)


def test_unit_may_stop_its_own_converter_without_a_term(live):
    live.charge("E002", 1.0, term=5)
    live.wait("E002", term=0, hold_s=None)
    assert live["E002"].is_stopping
    assert live.order("E002", Operation.READ).reading.term == 5


# --- hold time --------------------------------------------------------------------------------


def test_order_that_is_not_renewed_ends(live):
    live.charge("E002", 1.0, hold_s=10.0)
    live.plant.step(5.0)
    live.now_s = 9.9
    live.driver.watch(live.now_s)
    assert not live["E002"].is_stopping
    live.now_s = 10.0
    live.driver.watch(live.now_s)
    live.plant.step(1.5)
    assert (live["E002"].mode, live["E002"].stop_cause) == (WAIT, StopCause.HOLD_EXPIRED)
    assert "hold time of 10 s" in live["E002"].stop_detail


def test_renewal_keeps_it(live):
    live.charge("E002", 1.0, hold_s=10.0)
    for live.now_s in range(0, 100, 9):
        live.order("E002", Operation.HOLD, hold_s=10.0)
        live.driver.watch(live.now_s)
    assert live["E002"].mode is CHARGE
    assert not live["E002"].is_stopping


def test_reference_outlives_those_that_hang_on_it(live):
    live.order("E001", Operation.HOLD, hold_s=10.0)
    live.charge("E002", 1.0, hold_s=10.0)
    live.plant.step(5.0)
    live.now_s = 10.0
    live.driver.watch(live.now_s)
    assert live["E002"].is_stopping
    assert not live["E001"].is_stopping
    live.plant.step(1.5)
    live.driver.watch(live.now_s)
    assert live["E001"].is_stopping
    live.plant.step(10.0)
    assert live["E001"].stop_cause is StopCause.HOLD_EXPIRED
    assert live["E002"].stop_cause is StopCause.HOLD_EXPIRED


def test_reference_does_not_wait_for_ever(live):
    live.order("E001", Operation.HOLD, hold_s=10.0)
    live.charge("E002", 1.0)
    live.plant.step(5.0)
    for live.now_s in (10.0, 11.9):
        live.driver.watch(live.now_s)
        assert not live["E001"].is_stopping
    assert live.order("E001", Operation.HOLD, hold_s=9.0).error is Error.WRONG_MODE  # too late
    live.driver.watch(12.0)
    assert live["E001"].is_stopping


def test_hold_time_left_is_shown(live):
    live.charge("E002", 1.0, hold_s=10.0)
    live.now_s = 4.0
    assert live.order("E002", Operation.READ).reading.hold_remaining_s == pytest.approx(6.0)
    assert live.order("E003", Operation.READ).reading.hold_remaining_s == 0.0


# --- the end ----------------------------------------------------------------------------------


def test_end_takes_everything_to_wait_in_order(live):
    live.charge("E002", 1.0)
    live.plant.step(5.0)
    live.driver.end(live.now_s)
    assert live["E002"].is_stopping
    assert not live["E001"].is_stopping
    assert live.mode("E003", CHARGE, grid_current_a=1.0).error is Error.REFUSED
    live.wait("E002")
    live.plant.step(1.5)
    live.driver.watch(live.now_s)
    live.plant.step(10.0)
    assert list(live.driver.active_ids()) == []
    assert {c.stop_cause for c in live.plant.converters} == {StopCause.NONE}


def test_force_wait_names_what_it_switched_off(live):
    live.charge("E002", 1.0)
    assert live.driver.force_wait() == ["E001", "E002"]
    assert list(live.driver.active_ids()) == []
