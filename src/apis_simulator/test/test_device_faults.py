"""Meters that lie and sensors that are wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode
from apis_emulator.faults import BrokenHardware
from apis_simulator.device_faults import DeviceFaults, MeterFault, SensorFault

TRUE = ConverterReading(
    mode=ConverterMode.CHARGE,
    grid_voltage_v=350.0,
    grid_current_a=1.0,
    grid_power_w=350.0,
    battery_voltage_v=50.0,
    battery_current_a=6.0,
    battery_power_w=300.0,
    grid_charged_wh=10.0,
    grid_discharged_wh=4.0,
    battery_charged_wh=9.0,
    battery_discharged_wh=5.0,
)
LATER = replace(TRUE, grid_charged_wh=20.0, battery_charged_wh=18.0)


@pytest.fixture
def devices() -> DeviceFaults:
    return DeviceFaults(BrokenHardware())


def test_nothing_is_wrong_at_first(devices):
    assert not devices.misreads
    assert devices.seen("E001", TRUE) == TRUE
    assert not devices.is_cut_off("E001")


@pytest.mark.parametrize(
    ("fault", "charged_wh"),
    [
        (MeterFault(gain=0.5), 15.0),
        (MeterFault(gain=0.0), 10.0),
        (MeterFault(jump_wh=60.0), 80.0),
        (MeterFault(jump_wh=-4.0), 16.0),
        (MeterFault(jump_wh=-40.0), 10.0),
    ],
)
def test_counters_of_the_direction_that_works(devices, fault, charged_wh):
    devices.break_meter("E001", fault, TRUE)

    seen = devices.seen("E001", LATER)

    assert seen.grid_charged_wh == charged_wh
    assert seen.grid_discharged_wh == 4.0
    assert devices.seen("E002", LATER) == LATER


def test_a_meter_that_is_mended_goes_on_from_where_it_stands(devices):
    devices.break_meter("E001", MeterFault(gain=0.0), TRUE)
    devices.break_meter("E001", MeterFault(), LATER)

    assert devices.seen("E001", LATER).grid_charged_wh == 10.0
    assert devices.seen("E001", replace(LATER, grid_charged_wh=21.0)).grid_charged_wh == 11.0


def test_a_sensor_and_the_power_that_follows_from_it(devices):
    offset = SensorFault("grid_current_a", offset=0.5)
    devices.break_sensor("E001", offset)
    assert devices.seen("E001", TRUE).grid_current_a == 1.5
    assert devices.seen("E001", TRUE).grid_power_w == 525.0

    devices.break_sensor("E001", SensorFault("grid_current_a", value=math.nan))
    assert devices.seen("E001", TRUE).grid_current_a is None
    assert devices.seen("E001", TRUE).grid_power_w is None
    assert devices.seen("E001", TRUE).battery_power_w == 300.0


def test_a_sensor_that_is_mended(devices):
    stuck = SensorFault("battery_voltage_v", value=48.0)
    devices.break_sensor("E001", stuck)
    assert devices.seen("E001", TRUE).battery_voltage_v == 48.0

    devices.mend_sensor("E001", stuck)
    assert devices.seen("E001", TRUE) == TRUE
