import math

import pytest

from apis_core.converter.limits import dynamic_violation, mode_violation, static_violation
from apis_core.model.debounce import Debounce
from apis_core.model.messages import ConverterReading
from apis_core.model.types import Alarm, ConverterMode, Direction
from apis_core.model.units import SECOND_NS as S

GOOD = {
    "alarm": Alarm.NONE,
    "grid_voltage_v": 350.0,
    "grid_current_a": 2.0,
    "battery_voltage_v": 52.0,
    "battery_current_a": 13.0,
    "converter_temp_degc": 30.0,
}


def violation(hardware, **changes):
    return static_violation(ConverterReading(**{**GOOD, **changes}), hardware)


@pytest.mark.parametrize("mode", ConverterMode)
def test_10_3_a_healthy_reading_breaks_nothing_in_any_mode(hardware, mode):
    assert violation(hardware, mode=mode) is None


@pytest.mark.parametrize(
    ("field", "low", "high", "code"),
    [
        ("converter_temp_degc", 0.0, 45.0, "converter_temp_out_of_range"),
        ("grid_voltage_v", -4.0, 380.0, "grid_voltage_out_of_range"),
        ("grid_current_a", -2.35, 2.35, "grid_current_out_of_range"),
        ("battery_voltage_v", 32.0, 58.4, "battery_voltage_out_of_range"),
        ("battery_current_a", -20.0, 20.0, "battery_current_out_of_range"),
    ],
)
def test_10_3_a_quantity_outside_its_range(hardware, field, low, high, code):
    for value in (low, high, None):  # the range is closed; what was not read breaks nothing
        assert violation(hardware, **{field: value}) is None
    for value in (low - 0.01, high + 0.01, math.inf, -math.inf, math.nan):
        found = violation(hardware, **{field: value})
        assert found is not None
        assert found[0] == code


def test_10_3_the_message_says_what_and_what_would_be_right(hardware):
    assert violation(hardware, battery_voltage_v=60.0) == (
        "battery_voltage_out_of_range",
        "battery voltage is 60.00 V, outside 32..58.4 V",
    )


@pytest.mark.parametrize(
    ("alarm", "is_broken"),
    [(Alarm.UNKNOWN, False), (Alarm.NONE, False), (Alarm.LIGHT, False), (Alarm.HEAVY, True)],
)
def test_10_3_a_heavy_alarm(hardware, alarm, is_broken):
    expected = ("converter_heavy_alarm", "the converter reports a heavy alarm")
    assert violation(hardware, alarm=alarm) == (expected if is_broken else None)


def test_the_alarm_is_told_before_what_it_may_have_caused(hardware):
    found = violation(hardware, alarm=Alarm.HEAVY, converter_temp_degc=90.0)
    assert found is not None
    assert found[0] == "converter_heavy_alarm"


def test_a_converter_that_says_nothing_breaks_nothing_here(hardware):
    assert static_violation(ConverterReading(), hardware) is None


# --- dynamic limits ------------------------------------------------------------------------------

M = ConverterMode


def doing(mode, **changes) -> ConverterReading:
    fields = {"grid_voltage_v": 350.0, "grid_current_a": 0.0, "grid_current_setpoint_a": 0.0}
    return ConverterReading(mode=mode, **{**fields, **changes})


@pytest.mark.parametrize(
    ("reading", "code"),
    [
        (doing(M.WAIT), ""),
        (doing(M.WAIT, grid_current_a=0.12), ""),
        (doing(M.WAIT, grid_current_a=-0.13), "current_off_setpoint"),
        (doing(M.CHARGE, grid_current_a=1.1, grid_current_setpoint_a=1.0), ""),
        (doing(M.CHARGE, grid_current_a=1.2, grid_current_setpoint_a=1.0), "current_off_setpoint"),
        (doing(M.DISCHARGE, grid_current_a=-1.0, grid_current_setpoint_a=1.0), ""),
        # W11: the size alone is not enough
        (
            doing(M.DISCHARGE, grid_current_a=1.0, grid_current_setpoint_a=1.0),
            "current_off_setpoi",
        ),
        (doing(M.CHARGE, grid_current_setpoint_a=None), "setpoint_unknown"),
        (doing(M.CHARGE, grid_current_a=None), "meter_unknown"),
        (doing(M.DISCHARGE, grid_current_a=None), "meter_unknown"),
        (doing(M.DISCHARGE, grid_voltage_v=None), "meter_unknown"),
        (doing(M.WAIT, grid_current_a=None, grid_voltage_v=None), ""),
        (doing(M.WAIT, grid_current_setpoint_a=2.0), ""),
        (doing(M.DISCHARGE, grid_voltage_v=300.0), ""),
        (doing(M.CHARGE, grid_voltage_v=380.0), ""),
        (doing(M.WAIT, grid_voltage_v=0.0), ""),
        (doing(M.CHARGE, grid_voltage_v=299.0), "bus_voltage_out_of_range"),
        (doing(M.DISCHARGE, grid_voltage_v=381.0), "bus_voltage_out_of_range"),
        (doing(M.VOLTAGE_REFERENCE, grid_voltage_setpoint_v=353.9), ""),
        (doing(M.VOLTAGE_REFERENCE, grid_voltage_setpoint_v=354.1), "voltage_off_setpoint"),
        (doing(M.VOLTAGE_REFERENCE, grid_voltage_setpoint_v=345.9), "voltage_off_setpoint"),
        (doing(M.VOLTAGE_REFERENCE, grid_voltage_setpoint_v=350.0, grid_current_a=2.0), ""),
        (doing(M.VOLTAGE_REFERENCE), "setpoint_unknown"),
        (
            doing(M.VOLTAGE_REFERENCE, grid_voltage_setpoint_v=350.0, grid_voltage_v=None),
            "meter_unknown",
        ),
        # while a reference does not say its current, no leak can be told on the whole bus
        (
            doing(M.VOLTAGE_REFERENCE, grid_voltage_setpoint_v=350.0, grid_current_a=None),
            "meter_unknown",
        ),
        (doing(M.UNKNOWN), "mode_unknown"),
    ],
)
def test_10_4_what_a_converter_does_is_compared_with_what_it_was_told(
    policy, hardware, reading, code
):
    found = dynamic_violation(reading, hardware, policy, is_voltage_masked=False)
    assert (found[0] if found else "").startswith(code) if code else found is None


@pytest.mark.parametrize(
    ("field", "name"), [("grid_current_a", "current"), ("grid_voltage_v", "voltage")]
)
def test_10_4_a_meter_that_is_silent_is_named(policy, hardware, field, name):
    reading = doing(M.CHARGE, **{field: None})
    found = dynamic_violation(reading, hardware, policy, is_voltage_masked=False)
    words = f"in CHARGE the converter does not say its grid {name}"
    assert found == ("meter_unknown", words)


def test_w10_the_mask_hides_the_voltage_of_a_reference_and_nothing_else(policy, hardware):
    moving = doing(M.VOLTAGE_REFERENCE, grid_voltage_setpoint_v=370.0)
    assert dynamic_violation(moving, hardware, policy, is_voltage_masked=True) is None
    unread = doing(M.VOLTAGE_REFERENCE, grid_voltage_setpoint_v=370.0, grid_current_a=None)
    assert dynamic_violation(unread, hardware, policy, is_voltage_masked=True) is not None
    stray = doing(M.CHARGE, grid_current_a=2.0)
    assert dynamic_violation(stray, hardware, policy, is_voltage_masked=True) is not None


@pytest.mark.parametrize(
    ("mode", "directions", "code"),
    [
        (M.WAIT, [], None),
        (M.WAIT, [Direction.CHARGE], None),
        (M.VOLTAGE_REFERENCE, [Direction.CHARGE], None),
        (M.CHARGE, [Direction.CHARGE], None),
        (M.DISCHARGE, [Direction.CHARGE], "mode_against_deal"),
        (M.CHARGE, [Direction.CHARGE, Direction.DISCHARGE], "mode_against_deal"),
        (M.CHARGE, [], "on_without_deal"),
        (M.VOLTAGE_REFERENCE, [], "on_without_deal"),
    ],
)
def test_10_3_the_mode_fits_the_deals(mode, directions, code):
    found = mode_violation(mode, directions, is_reference=None)
    assert (found[0] if found else None) == code


@pytest.mark.parametrize(
    ("mode", "is_reference", "code"),
    [
        (M.WAIT, False, None),
        (M.WAIT, True, None),
        (M.WAIT, None, None),
        (M.CHARGE, False, None),
        (M.CHARGE, None, None),
        (M.CHARGE, True, "mode_against_deal"),
        (M.DISCHARGE, False, "mode_against_deal"),
        (M.VOLTAGE_REFERENCE, True, None),
        (M.VOLTAGE_REFERENCE, None, None),
        (M.VOLTAGE_REFERENCE, False, "mode_against_deal"),
        (M.UNKNOWN, None, "mode_against_deal"),
    ],
)
def test_10_3_a_deal_that_runs_needs_its_mode_or_the_reference(mode, is_reference, code):
    found = mode_violation(mode, [Direction.CHARGE], is_reference=is_reference)
    assert (found[0] if found else None) == code


def test_w13_what_is_seen_twice_in_a_moment_is_not_real():
    debounce = Debounce(5 * S)
    assert not debounce.is_real("a", 1, 0)
    assert not debounce.is_real("a", 2, S // 1000)
    assert not debounce.is_real("a", 1, 6 * S)  # the same reading once more
    assert debounce.is_real("a", 3, 6 * S)
    debounce.keep_only(["b"])
    assert not debounce.is_real("a", 4, 7 * S)


@pytest.mark.parametrize(
    ("mode", "sign"), [(ConverterMode.CHARGE, 1.0), (ConverterMode.DISCHARGE, -1.0)]
)
def test_8_2_a_set_point_is_checked_with_its_sign_and_by_several_readings(
    policy, hardware, mode, sign
):
    """W11: what flows the wrong way is not what was ordered, however much it is."""

    def seen(current_a: float):
        reading = ConverterReading(
            mode=mode,
            grid_current_a=current_a,
            grid_voltage_v=350.0,
            grid_current_setpoint_a=2.0,
        )
        return dynamic_violation(reading, hardware, policy, is_voltage_masked=False)

    within_a = 0.9 * hardware.grid_current_allowance_a
    assert seen(sign * 2.0) is None
    assert seen(sign * (2.0 + within_a)) is None
    assert seen(sign * (2.0 + 2.0 * within_a)) is not None
    wrong_way = seen(-sign * 2.0)
    assert wrong_way is not None
    debounce = Debounce(lasts_ns=10)
    assert not debounce.is_real(wrong_way[0], 1, 0)
    assert not debounce.is_real(wrong_way[0], 2, 9)
    assert debounce.is_real(wrong_way[0], 3, 10)
