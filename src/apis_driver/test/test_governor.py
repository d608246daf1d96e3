from __future__ import annotations

import math

import pytest
from fake_dcdc import Clock, FakeDcdc, FakeDeadMan

from apis_core.config.hardware import Hardware, Limits, Range
from apis_core.model.messages import ConverterOperation, ConverterOrder
from apis_core.model.types import Alarm, ConverterError, ConverterMode, StopCause
from apis_driver.device import SharingPermit
from apis_driver.errors import DeviceRefused, DeviceTimeout, PortError
from apis_driver.governor import Governor
from apis_driver.rules import GovernorSettings, Times

Op, M, E = ConverterOperation, ConverterMode, ConverterError

HARDWARE = Hardware(
    battery_capacity_wh=4800.0,
    grid_current_capacity_a=8.0,
    grid_current_allowance_a=0.2,
    droop_ratio=0.04,
    efficient_grid_voltage_ratio=None,
    limits=Limits(
        converter_temp_degc=Range(-20.0, 80.0),
        grid_voltage_v=Range(0.0, 400.0),
        battery_voltage_v=Range(40.0, 60.0),
        grid_current_a=Range(-9.0, 9.0),
        battery_current_a=Range(-60.0, 60.0),
    ),
)


class Rig:
    """A governor with its fake device, and time."""

    def __init__(
        self,
        *,
        hardware=HARDWARE,
        slew_a_per_s=1.0,
        talk_s=0.03,
        rate=1.0,
        clock_step_s=1e-6,
        **settings,
    ) -> None:
        self.clock = self.plant_clock = Clock()
        self.device = FakeDcdc(self.clock, slew_a_per_s=slew_a_per_s, talk_s=talk_s, rate=rate)
        self.device.dead_man = FakeDeadMan(self.clock, self.device)
        self.governor = Governor(
            self.device,
            GovernorSettings(**settings),
            hardware,
            Times(
                now_s=self.clock,
                plant_s=lambda: (
                    math.floor(self.plant_clock() / clock_step_s) * clock_step_s * rate
                ),
                plant_rate=rate,
                pause=self.clock.pass_,
            ),
        )
        self.governor.start(self.clock() + 2.0)
        self.device.said.clear()

    def order(self, operation, mode=M.UNKNOWN, *, hold_s=5.0, term=1, **values):
        order = ConverterOrder(
            operation=operation, mode=mode, hold_s=hold_s, term=term, deal_id="d", **values
        )
        return self.governor.handle(order, self.clock() + 1.5)

    def go(self, mode, current_a=2.0, **values):
        if mode is M.VOLTAGE_REFERENCE:
            self.device.bus_v = 250.0 if self.device.mode is M.WAIT else self.device.bus_v
            values = {"grid_voltage_v": 350.0, **values}
        reply = self.order(Op.MODE, mode, grid_current_a=current_a, **values)
        assert reply.error is E.NONE, reply.message
        self.device.bus_v = 350.0
        self.device.said.clear()
        return reply

    def run(self, duration_s, *, is_renewed=True, hold_s=5.0):
        end_s = self.clock() + duration_s
        renew_s = self.clock() + 1.0
        while self.clock() < end_s:
            self.governor.poll()
            self.governor.land()
            if is_renewed and self.clock() >= renew_s:
                renew_s += 1.0
                self.order(Op.HOLD, hold_s=hold_s)
            if self.governor.is_off:
                self.clock.pass_(0.1)

    def codes(self):
        return [complaint.code for complaint in self.governor.complaints]


# --- start ---------------------------------------------------------------------------------------


def test_at_the_start_it_is_taken_to_wait_with_set_points_that_harm_nobody():
    clock = Clock()
    device = FakeDcdc(clock)
    device.mode = M.DISCHARGE
    governor = Governor(device, GovernorSettings(), times=Times(now_s=clock, pause=clock.pass_))
    governor.start(clock() + 1.0)
    assert device.said == ["open", "voltage 350 0", "current 0"]
    reading = governor.reading()
    assert (reading.mode, reading.stop_cause) == (M.WAIT, StopCause.NONE)
    assert (reading.grid_voltage_setpoint_v, reading.grid_current_setpoint_a) == (0.0, 0.0)


def test_a_start_that_fails_leaves_nothing_open():
    clock = Clock()
    device = FakeDcdc(clock)
    device.fail["read"] = DeviceTimeout("no answer")
    governor = Governor(device, GovernorSettings(), times=Times(now_s=clock, pause=clock.pass_))
    with pytest.raises(DeviceTimeout):
        governor.start(clock() + 1.0)
    assert device.said[-1] == "close"


# --- the table of allowed changes, a test per cell -----------------------------------------------

V, C = "voltage {v} 0", "current {a}"
TABLE = [
    (M.WAIT, M.DISCHARGE, ["voltage 380 0", "current 2", "mode DISCHARGE"]),
    (M.WAIT, M.CHARGE, ["voltage 350 0", "current 2", "mode CHARGE"]),
    (M.WAIT, M.VOLTAGE_REFERENCE, ["voltage 350 0", "current 2", "mode VOLTAGE_REFERENCE"]),
    (M.DISCHARGE, M.DISCHARGE, ["voltage 380 0", "current 2"]),
    (M.CHARGE, M.CHARGE, ["voltage 350 0", "current 2"]),
    (
        M.DISCHARGE,
        M.VOLTAGE_REFERENCE,
        ["voltage 350 0.04", "mode VOLTAGE_REFERENCE", "current 2"],
    ),
    (M.CHARGE, M.VOLTAGE_REFERENCE, ["voltage 350 0.04", "mode VOLTAGE_REFERENCE", "current 2"]),
    (M.VOLTAGE_REFERENCE, M.DISCHARGE, ["current 2", "mode DISCHARGE", "voltage 380 0"]),
    (M.VOLTAGE_REFERENCE, M.CHARGE, ["current 2", "mode CHARGE", "voltage 350 0"]),
    (M.VOLTAGE_REFERENCE, M.VOLTAGE_REFERENCE, ["voltage 350 0", "current 2"]),
    (M.DISCHARGE, M.CHARGE, None),
    (M.CHARGE, M.DISCHARGE, None),
]


@pytest.mark.parametrize(
    ("now", "wanted", "said"), TABLE, ids=lambda value: getattr(value, "name", "")
)
def test_settings_change_in_the_order_of_the_table(now, wanted, said):
    rig = Rig()
    if now is not M.WAIT:
        rig.go(now)
    values = {}
    if wanted is M.VOLTAGE_REFERENCE:
        values["grid_voltage_v"] = 350.0
        if now is M.WAIT:
            rig.device.bus_v = 16.0
        elif now is not wanted:
            values["droop_ratio"] = 0.04
    reply = rig.order(Op.MODE, wanted, grid_current_a=2.0, **values)
    if said is None:
        assert reply.error is E.WRONG_MODE
        assert "must go through WAIT" in reply.message
        assert rig.device.said == []
        return
    assert (reply.error, reply.reading.mode) == (E.NONE, wanted)
    assert rig.device.said == said


@pytest.mark.parametrize("now", [M.DISCHARGE, M.CHARGE, M.VOLTAGE_REFERENCE])
def test_to_wait_power_goes_off_first(now):
    rig = Rig()
    rig.go(now)
    reply = rig.order(Op.MODE, M.WAIT, term=0)
    assert (reply.error, reply.reading.mode) == (E.NONE, M.WAIT)
    assert rig.device.said == ["mode WAIT", "voltage 350 0", "current 0"]
    assert reply.reading.stop_cause is StopCause.NONE


@pytest.mark.parametrize("step", ["voltage", "current", "mode CHARGE"])
def test_an_order_that_fails_in_the_middle_ends_in_wait(step):
    rig = Rig()
    rig.device.fail[step] = DeviceRefused("no")
    reply = rig.order(Op.MODE, M.CHARGE, grid_current_a=2.0)
    assert (reply.error, reply.message) == (E.REFUSED, "no")
    assert rig.device.mode is M.WAIT
    assert rig.device.said[-1] == "mode WAIT"
    rig.device.fail.clear()
    rig.run(0.2)
    assert rig.governor.reading().mode is M.WAIT
    assert rig.order(Op.MODE, M.CHARGE, grid_current_a=2.0).error is E.NONE


def test_a_mode_that_is_confirmed_but_not_taken_ends_in_wait():
    rig = Rig()
    rig.device.ignores_modes = True
    reply = rig.order(Op.MODE, M.CHARGE, grid_current_a=2.0)
    assert reply.error is E.REFUSED
    assert "it is in WAIT (WAIT), it was ordered to CHARGE" in reply.message
    assert rig.device.said[-1] == "mode WAIT"


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "error", "said"),
    [
        (
            {"operation": Op.MODE, "mode": M.CHARGE, "grid_current_a": 9.0},
            E.OUT_OF_RANGE,
            "grid_current_a is 9 A, it must be 0 to 8 A",
        ),
        ({"operation": Op.MODE, "mode": M.CHARGE}, E.OUT_OF_RANGE, "grid_current_a is missing"),
        (
            {"operation": Op.MODE, "mode": M.CHARGE, "grid_current_a": math.inf},
            E.OUT_OF_RANGE,
            "inf",
        ),
        (
            {"operation": Op.MODE, "mode": M.UNKNOWN, "grid_current_a": 1.0},
            E.OUT_OF_RANGE,
            "UNKNOWN",
        ),
        (
            {"operation": Op.MODE, "mode": M.VOLTAGE_REFERENCE, "grid_voltage_v": 395.0},
            E.OUT_OF_RANGE,
            "260 to 390 V",
        ),
        (
            {"operation": Op.MODE, "mode": M.VOLTAGE_REFERENCE, "grid_voltage_v": 350.0},
            E.BUS_ENERGISED,
            "the bus is at 350.0 V",
        ),
        (
            {
                "operation": Op.MODE,
                "mode": M.CHARGE,
                "grid_current_a": 1.0,
                "energy_limit_wh": 0.0,
            },
            E.OUT_OF_RANGE,
            "energy_limit_wh",
        ),
        (
            {"operation": Op.MODE, "mode": M.CHARGE, "grid_current_a": 1.0, "hold_s": 0.0},
            E.OUT_OF_RANGE,
            "hold_s is 0 s",
        ),
        (
            {"operation": Op.MODE, "mode": M.CHARGE, "grid_current_a": 1.0, "hold_s": None},
            E.OUT_OF_RANGE,
            "hold_s is missing",
        ),
        (
            {"operation": Op.MODE, "mode": M.CHARGE, "grid_current_a": 1.0, "term": 0},
            E.OUT_OF_RANGE,
            "term is 0",
        ),
        ({"operation": Op.CURRENT, "grid_current_a": 1.0}, E.WRONG_MODE, "mode is WAIT"),
        ({"operation": Op.VOLTAGE, "grid_voltage_v": 350.0}, E.WRONG_MODE, "mode is WAIT"),
        ({"operation": Op.HOLD}, E.WRONG_MODE, "mode is WAIT"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(order, error, said):
    rig = Rig()
    reply = rig.order(**order)
    assert (reply.error, reply.reading.mode) == (error, M.WAIT)
    assert said in reply.message
    assert rig.device.said == []


def test_a_dead_bus_carries_no_current():
    rig = Rig()
    rig.device.bus_v = 16.0
    reply = rig.order(Op.MODE, M.CHARGE, grid_current_a=1.0)
    assert (reply.error, rig.device.said) == (E.REFUSED, [])
    assert "16.0 V, it must be 260 V or more" in reply.message


def test_an_older_term_is_not_obeyed():
    rig = Rig()
    rig.go(M.CHARGE, term=5)
    reply = rig.order(Op.HOLD, term=4)
    assert reply.error is E.OLD_TERM
    assert reply.reading.term == 5
    assert rig.order(Op.MODE, M.WAIT, term=0).error is E.NONE  # a unit's own word always counts


@pytest.mark.parametrize("bus_v", [0.0, 82.0, 260.0, 320.0])
def test_a_bus_that_nobody_holds_is_not_taken_over(bus_v):
    rig = Rig()
    rig.device.bus_v = bus_v
    reply = rig.order(Op.MODE, M.VOLTAGE_REFERENCE, grid_voltage_v=350.0, droop_ratio=0.04)
    assert reply.error is E.REFUSED
    assert reply.message.startswith(f"the bus is at {bus_v:.1f} V; to take it over")
    assert reply.reading.mode is M.WAIT
    rig.device.bus_v = 320.1
    reply = rig.order(Op.MODE, M.VOLTAGE_REFERENCE, grid_voltage_v=350.0, droop_ratio=0.04)
    assert reply.reading.mode is M.VOLTAGE_REFERENCE


def test_only_a_reference_obeys_a_voltage():
    rig = Rig()
    rig.go(M.CHARGE)
    assert rig.order(Op.VOLTAGE, grid_voltage_v=355.0).error is E.WRONG_MODE
    rig = Rig()
    rig.go(M.VOLTAGE_REFERENCE)
    reply = rig.order(Op.VOLTAGE, droop_ratio=0.04)
    assert rig.device.said == ["voltage 350 0.04"]
    assert (reply.reading.grid_voltage_setpoint_v, reply.reading.droop_ratio) == (350.0, 0.04)


# --- hold times ----------------------------------------------------------------------------------


def test_an_order_that_nobody_renews_ends_in_wait():
    rig = Rig()
    rig.go(M.CHARGE, hold_s=3.0)
    rig.run(2.5, is_renewed=False)
    assert rig.device.mode is M.CHARGE
    rig.run(0.7, is_renewed=False)
    reading = rig.governor.reading()
    assert (reading.mode, reading.stop_cause) == (M.WAIT, StopCause.HOLD_EXPIRED)
    assert "within its hold time of 3 s" in reading.stop_detail


def test_a_renewed_order_lasts():
    rig = Rig()
    rig.go(M.CHARGE, hold_s=3.0)
    rig.run(20.0, hold_s=3.0)
    assert rig.device.mode is M.CHARGE
    assert 1.0 < rig.governor.reading().hold_remaining_s <= 3.0


@pytest.mark.parametrize(("current_a", "ends_s"), [(0.0, 3.2), (3.0, 5.2)])
def test_a_reference_that_carries_current_goes_a_little_later(current_a, ends_s):
    rig = Rig()
    rig.go(M.VOLTAGE_REFERENCE, hold_s=3.0)
    rig.device.ig = current_a
    rig.run(ends_s - 0.4, is_renewed=False)
    assert rig.device.mode is M.VOLTAGE_REFERENCE
    rig.run(0.4, is_renewed=False)
    assert rig.device.mode is M.WAIT


def test_while_the_driver_hangs_the_dead_man_below_acts_and_is_believed():
    rig = Rig()
    rig.go(M.CHARGE, hold_s=3.0)
    rig.clock.pass_(10.0)  # nobody polls
    assert rig.order(Op.HOLD).error is E.WRONG_MODE
    rig.run(1.0, is_renewed=False)
    reading = rig.governor.reading()
    assert (reading.mode, reading.stop_cause) == (M.WAIT, StopCause.HOLD_EXPIRED)
    assert rig.order(Op.MODE, M.CHARGE, grid_current_a=1.0).error is E.NONE


def test_in_wait_the_dead_man_below_has_nothing_to_do():
    rig = Rig()
    rig.go(M.CHARGE, hold_s=3.0)
    rig.order(Op.MODE, M.WAIT)
    assert rig.device.dead_man.until_s is None


# --- energy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [M.CHARGE, M.DISCHARGE])
@pytest.mark.parametrize("slew_a_per_s", [0.5, 1.0, 20.0])
def test_the_agreed_energy_moves_exactly_after_one_stop_has_been_seen(mode, slew_a_per_s):
    rig = Rig(slew_a_per_s=slew_a_per_s)
    errors, moved_wh = [], 0.0
    for _ in range(5):
        rig.device.moved_ws = 0.0
        reply = rig.order(Op.MODE, mode, grid_current_a=3.0, energy_limit_wh=10.0)
        assert reply.error is E.NONE
        before_ws = rig.device.moved_ws  # counting begins with the reading of the reply
        rig.run(60.0)
        reading = rig.governor.reading()
        assert (reading.mode, reading.stop_cause) == (M.WAIT, StopCause.ENERGY_REACHED)
        moved_wh += rig.device.moved_ws / 3600.0
        errors.append((rig.device.moved_ws - before_ws) / 3600.0 / 10.0 - 1.0)
    assert abs(errors[-1]) < 0.002, errors
    counted = reading.grid_charged_wh + reading.grid_discharged_wh
    assert counted == pytest.approx(moved_wh, rel=0.001)


def over_wh(rig, limit_wh):
    """By how much more than agreed has flowed when it is off."""
    rig.run(60.0)
    reading = rig.governor.reading()
    assert (reading.mode, reading.stop_cause) == (M.WAIT, StopCause.ENERGY_REACHED)
    return rig.device.moved_ws / 3600.0 - limit_wh


def begin(rig, limit_wh):
    reply = rig.order(Op.MODE, M.CHARGE, grid_current_a=2.0, energy_limit_wh=limit_wh, hold_s=60)
    assert reply.error is E.NONE
    rig.device.moved_ws = 0.0  # counting begins with the reading of the reply


def test_in_a_simulation_that_goes_faster_and_in_steps_it_still_stops_where_it_should():
    """The smallest deal of the project's policy, at the speed of its grid of devices."""
    rig = Rig(rate=5.0, clock_step_s=0.02, slew_a_per_s=1000.0, talk_s=0.06, order_delay_s=0.06)
    errors = []
    for _ in range(4):
        begin(rig, 50.0)
        errors.append(over_wh(rig, 50.0))
    assert max(map(abs, errors)) < 0.05, errors  # 0.1 %


@pytest.mark.parametrize("slow_s", [0.3, 1.0, 3.0])
def test_an_answer_that_takes_long_is_not_waited_for_when_it_is_to_stop(slow_s):
    rig = Rig(slew_a_per_s=1000.0)
    begin(rig, 2.0)
    while rig.governor.stop_due_in_s > 0.25:
        rig.governor.poll()
    rig.device.reading_s = [slow_s]
    assert over_wh(rig, 2.0) < 0.02


def test_renewals_without_end_do_not_keep_it_from_stopping():
    rig = Rig(slew_a_per_s=1000.0)
    begin(rig, 2.0)
    while rig.device.mode is M.CHARGE:
        rig.order(Op.HOLD, hold_s=5.0)
        rig.clock.pass_(0.001)
        assert rig.device.moved_ws < 2.1 * 3600.0
    assert over_wh(rig, 2.0) < 0.02


def test_a_clock_that_stands_still_is_not_waited_for():
    rig = Rig(slew_a_per_s=1000.0)
    begin(rig, 2.0)
    while rig.governor.stop_due_in_s > 0.11:
        rig.governor.poll()
    begun_s = rig.clock()
    rig.plant_clock = lambda: begun_s
    rig.governor.land()
    assert rig.clock() - begun_s < 0.5


def test_at_the_limit_it_goes_on_with_less_if_others_want_it():
    rig = Rig()
    rig.order(Op.MODE, M.CHARGE, grid_current_a=3.0, energy_limit_wh=5.0, next_current_a=1.0)
    rig.run(30.0)
    assert rig.device.mode is M.CHARGE
    assert rig.governor.reading().grid_current_setpoint_a == 1.0


def test_a_limit_is_moved_by_a_renewal_and_kept_by_a_change_of_the_current():
    rig = Rig()
    rig.go(M.CHARGE, energy_limit_wh=1.0)
    rig.order(Op.HOLD, energy_limit_wh=5.0)
    rig.order(Op.CURRENT, grid_current_a=4.0)
    rig.run(8.0)
    assert rig.device.mode is M.CHARGE
    rig.run(10.0)
    assert rig.governor.reading().stop_cause is StopCause.ENERGY_REACHED


def test_the_offset_of_the_meter_counts_nothing_while_it_is_off():
    rig = Rig()
    rig.device.ig = -0.01
    rig.device.slew_a_per_s = 0.0
    rig.run(100.0)
    assert rig.governor.reading().grid_discharged_wh == 0.0


# --- what stops it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda d: setattr(d, "temp_degc", 90.0), "converter_temp_out_of_range"),
        (lambda d: setattr(d, "bus_v", 410.0), "grid_voltage_out_of_range"),
        (lambda d: setattr(d, "alarm", Alarm.HEAVY), "converter_heavy_alarm"),
        (lambda d: d.go_to(M.UNKNOWN), "converter_mode_not_ordered"),
        (lambda d: d.go_to(M.DISCHARGE), "converter_mode_not_ordered"),
    ],
)
def test_what_is_not_as_it_must_be_stops_it_at_once(break_it, code):
    rig = Rig()
    rig.go(M.CHARGE)
    break_it(rig.device)
    begun_s = rig.clock()
    rig.governor.poll()
    assert rig.device.mode is M.WAIT
    assert rig.clock() - begun_s < 0.2
    rig.run(0.3)
    reading = rig.governor.reading()
    assert (reading.mode, reading.stop_cause) == (M.WAIT, StopCause.TRIP)
    assert rig.codes() == [code]


def test_a_mode_that_nobody_ordered_is_not_left_on():
    rig = Rig()
    rig.device.go_to(M.VOLTAGE_REFERENCE)
    rig.governor.poll()
    assert rig.device.mode is M.WAIT


def test_a_converter_that_stops_by_itself_is_told():
    rig = Rig()
    rig.go(M.CHARGE)
    rig.device.go_to(M.WAIT)
    rig.governor.poll()
    reading = rig.governor.reading()
    assert (reading.mode, reading.stop_cause) == (M.WAIT, StopCause.TRIP)
    assert rig.codes() == ["converter_stopped_by_itself"]
    assert rig.device.dead_man.until_s is None


def test_without_permission_of_the_battery_nothing_starts():
    rig = Rig()
    rig.governor.permit = SharingPermit.DISCHARGE_ONLY
    assert rig.order(Op.MODE, M.CHARGE, grid_current_a=1.0).error is E.REFUSED
    assert rig.device.said == []
    assert rig.order(Op.MODE, M.DISCHARGE, grid_current_a=1.0).error is E.NONE


def test_permission_that_is_withdrawn_ends_in_wait_in_time():
    rig = Rig(permit_grace_s=60.0)
    rig.go(M.CHARGE)
    rig.governor.permit = SharingPermit.NONE
    rig.run(59.0)
    assert rig.device.mode is M.CHARGE
    assert rig.codes() == ["battery_denies_sharing"]
    rig.run(2.0)
    assert rig.device.mode is M.WAIT
    assert "withdrawn" in rig.governor.reading().stop_detail


def test_permission_that_comes_back_in_time_stops_nothing():
    rig = Rig(permit_grace_s=60.0)
    rig.go(M.CHARGE)
    rig.governor.permit = SharingPermit.NONE
    rig.run(50.0)
    rig.governor.permit = SharingPermit.BOTH
    rig.run(50.0)
    assert rig.device.mode is M.CHARGE


def test_wait_is_said_until_it_is_obeyed():
    rig = Rig()
    rig.go(M.CHARGE)
    rig.device.fail["mode WAIT"] = DeviceTimeout("no answer")
    assert rig.order(Op.MODE, M.WAIT).error is E.TIMEOUT
    rig.device.fail.clear()
    rig.governor.poll()
    assert rig.device.mode is M.WAIT


def test_a_converter_that_does_not_stop_is_told_and_told_again_to():
    rig = Rig(wait_limit_s=5.0)
    rig.go(M.CHARGE)
    rig.device.ignores_modes = True
    rig.order(Op.MODE, M.WAIT)
    rig.run(6.0, is_renewed=False)
    assert rig.codes() == ["converter_does_not_stop"]
    rig.device.ignores_modes = False
    rig.run(0.2, is_renewed=False)
    assert rig.governor.is_off


# --- lost and found ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "within_s"), [(PortError("the port has gone"), 0.1), (DeviceTimeout("silent"), 3.0)]
)
def test_a_lost_converter_is_unknown_until_it_has_been_taken_to_wait_again(error, within_s):
    rig = Rig(lost_s=2.0)
    rig.go(M.CHARGE)
    rig.device.fail["read"] = error
    rig.run(within_s, is_renewed=False)
    assert rig.governor.lost == str(error)
    reading = rig.governor.reading()
    assert (reading.mode, reading.grid_current_a) == (M.UNKNOWN, None)
    assert reading.grid_charged_wh is not None
    assert rig.order(Op.HOLD).error is E.TIMEOUT
    assert rig.codes() == ["converter_unreachable"]
    rig.device.fail.clear()
    rig.governor.start(rig.clock() + 2.0)
    reading = rig.governor.reading()
    assert (reading.mode, reading.stop_cause) == (M.WAIT, StopCause.TRIP)
    assert rig.governor.lost == ""
    assert rig.order(Op.MODE, M.CHARGE, grid_current_a=1.0).error is E.NONE


def test_what_flowed_while_the_line_was_broken_is_not_made_up():
    rig = Rig()
    rig.go(M.CHARGE)
    rig.run(5.0)
    before_wh = rig.governor.reading().grid_charged_wh
    rig.device.fail["read"] = PortError("gone")
    rig.governor.poll()
    rig.clock.pass_(600.0)
    rig.device.fail.clear()
    rig.governor.start(rig.clock() + 2.0)
    rig.governor.poll()
    assert rig.governor.reading().grid_charged_wh - before_wh < 0.1


def test_what_flows_while_it_does_not_answer_is_not_made_up_by_saying_wait_again():
    rig = Rig(lost_s=60.0)
    rig.go(M.CHARGE)
    rig.run(5.0)
    before_wh = rig.governor.reading().grid_charged_wh
    rig.device.fail["read"] = rig.device.fail["mode WAIT"] = DeviceTimeout("silent")
    rig.order(Op.MODE, M.WAIT)
    rig.run(50.0, is_renewed=False)
    assert rig.governor.reading().grid_charged_wh - before_wh < 0.2


def test_one_failed_reading_is_no_reason_to_stop():
    rig = Rig()
    rig.go(M.CHARGE)
    rig.device.fail["read"] = DeviceTimeout("silent")
    rig.governor.poll()
    rig.device.fail.clear()
    rig.run(1.0)
    assert (rig.device.mode, rig.governor.lost) == (M.CHARGE, "")


def test_a_power_cycle_is_noticed_by_the_set_points():
    rig = Rig(check_setpoints_s=1.0)
    rig.go(M.CHARGE)
    rig.device.set_a = 0.0
    rig.run(1.5)
    assert rig.device.mode is M.WAIT
    assert rig.codes()[0] == "converter_setpoints_lost"
    assert "was its power cycled" in rig.governor.lost


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [M.CHARGE, M.VOLTAGE_REFERENCE])
def test_at_the_end_it_goes_to_wait_and_obeys_nothing_else(mode):
    rig = Rig()
    rig.go(mode)
    rig.governor.end()
    assert rig.order(Op.MODE, M.CHARGE, grid_current_a=1.0).error is E.REFUSED
    rig.run(0.5, is_renewed=False)
    assert rig.governor.is_off
    rig.device.said.clear()
    rig.governor.force_wait()
    assert rig.device.said == ["mode WAIT"]
