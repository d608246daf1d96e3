import dataclasses
import math

import pytest

from apis_core.config.hardware import Hardware, Limits, Range, parse_hardware
from apis_core.model.errors import ConfigError

# The structure and the numbers of the original's sample.
TEXT = """{
    "#" : "place this file at the path defined by 'hwConfigFile' in config file",
    "refreshingPeriodMsec" : 5000,
    "batteryNominalCapacityWh" : 4800, // Float
    "gridCurrentCapacityA" : 2.3,
    "gridCurrentAllowanceA" : 0.125,
    "droopRatio" : 0.039,
    "efficientBatteryGridVoltageRatio" : 6.5,
    "safety" : { "range" : { "dcdc" : { "meter" : {
        "tmp" : { "min" : 0, "max" : 45 },
        "vg" : { "min" : -4, "max" : 380 },
        "vb" : { "min" : 32, "max" : 58.4 },
        "ig" : { "min" : -2.35, "max" : 2.35 },
        "ib" : { "min" : -20, "max" : 20 }
    } } } },
    "#" : "end"
}"""


def problems_of(text):
    with pytest.raises(ConfigError) as caught:
        parse_hardware(text, "hw.json")
    return {str(problem) for problem in caught.value.problems}


def test_3_2_every_key_of_the_original():
    assert parse_hardware(TEXT, "hw.json") == Hardware(
        battery_capacity_wh=4800.0,
        grid_current_capacity_a=2.3,
        grid_current_allowance_a=0.125,
        droop_ratio=0.039,
        efficient_grid_voltage_ratio=6.5,
        limits=Limits(
            converter_temp_degc=Range(0.0, 45.0),
            grid_voltage_v=Range(-4.0, 380.0),
            battery_voltage_v=Range(32.0, 58.4),
            grid_current_a=Range(-2.35, 2.35),
            battery_current_a=Range(-20.0, 20.0),
        ),
    )


def test_the_efficient_ratio_may_be_absent_or_null():
    for value in ("", '"efficientBatteryGridVoltageRatio" : null,'):
        text = TEXT.replace('"efficientBatteryGridVoltageRatio" : 6.5,', value)
        assert parse_hardware(text, "hw.json").efficient_grid_voltage_ratio is None


def test_an_empty_file_lacks_every_required_key():
    assert problems_of("{}") == {
        "hw.json: batteryNominalCapacityWh: required: a number greater than 0",
        "hw.json: gridCurrentCapacityA: required: a number greater than 0",
        "hw.json: gridCurrentAllowanceA: required: a number greater than 0",
        "hw.json: droopRatio: required: a number greater than 0 and of at most 3.999",
        "hw.json: safety.range.dcdc.meter: required: an object { ... }",
    }


def test_every_problem_at_once():
    text = (
        TEXT.replace('"vb"', '"vbb"')
        .replace('"max" : 45', '"max" : -2')
        .replace('"max" : 2.35', '"max" : 2.2')
        .replace('"max" : 20', '"max" : "20"')
        .replace('"droopRatio" : 0.039', '"droopRatio" : true, "droopRation" : 0')
    )
    meter = "hw.json: safety.range.dcdc.meter"
    assert problems_of(text) == {
        "hw.json: droopRatio is true, must be a number greater than 0 and of at most 3.999",
        "hw.json: droopRation is 0, unknown key; did you mean droopRatio?",
        f'{meter}.tmp is {{"min": 0, "max": -2}}, min must be less than max',
        f"{meter}.vb: required: an object {{ ... }}",
        f'{meter}.vbb is {{"min": 32, "max": 58.4}}, unknown key; did you mean vb?',
        f'{meter}.ib.max is "20", must be a number',
    }


def test_3_2_the_current_range_must_allow_the_converter_to_work():
    (problem,) = problems_of(TEXT.replace('"max" : 2.35', '"max" : 2.2'))
    assert problem == (
        'hw.json: safety.range.dcdc.meter.ig is {"min": -2.35, "max": 2.2}, must allow '
        "gridCurrentCapacityA in both directions, or a working converter trips"
    )


def test_a_key_that_stands_twice_does_not_hide_the_rest():
    text = TEXT.replace('"droopRatio" : 0.039', '"droopRatio" : 1, "droopRatio" : 9')
    assert problems_of(text) == {
        "hw.json: droopRatio: stands twice; keep one",
        "hw.json: droopRatio is 9, must be a number greater than 0 and of at most 3.999",
    }


def test_what_should_be_an_object():
    text = TEXT[: TEXT.index('"safety"')] + '"safety" : { "range" : 3 } }'
    assert problems_of(text) == {"hw.json: safety.range is 3, must be an object { ... }"}


def test_a_range_is_closed_and_nan_is_outside():
    limits = Range(-1.0, 2.0)
    assert -1.0 in limits
    assert 2.0 in limits
    assert 2.1 not in limits
    assert math.nan not in limits


def test_warnings_do_not_make_hardware_different():
    hardware = parse_hardware(TEXT, "hw.json")
    assert dataclasses.replace(hardware, warnings=("x",)) == hardware


def test_a_droop_of_0_is_an_error_since_no_hand_over_works_without():
    text = TEXT.replace('"droopRatio" : 0.039', '"droopRatio" : 0')

    with pytest.raises(ConfigError, match=r"droopRatio is 0, must be a number greater than 0"):
        parse_hardware(text, "hw.json")
