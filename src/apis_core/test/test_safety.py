import math

import pytest

from apis_core.messages import ConverterReading
from apis_core.safety import static_violation
from apis_core.types import Alarm, ConverterMode

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
