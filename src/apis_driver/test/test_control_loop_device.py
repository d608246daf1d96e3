"""A power stage that the control loop in the driver's process regulates; in real time."""

from __future__ import annotations

import time

import pytest

from apis_control import SimulatedBus
from apis_core.model.errors import ConfigError
from apis_core.model.types import ConverterMode
from apis_driver.devices.control_loop import LoopDcdc, LoopSettings
from apis_driver.errors import OutOfRange, PortError
from apis_driver.registry import make_dcdc

M = ConverterMode
FAST = {"voltage_up_v_per_s": 2000.0, "voltage_down_v_per_s": 2000.0, "current_slew_a_per_s": 50.0}


def make_stage(**values):
    """What an integrator's package would have."""
    return SimulatedBus(1, **values).stage(0)


@pytest.fixture
def device():
    settings = LoopSettings(converter=FAST, stage_settings={"capacitance_f": 1e-3})
    device = LoopDcdc(settings)
    device.open(time.monotonic() + 10.0)
    yield device
    device.close()


def until(holds, within_s=10.0):
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, "it did not come about in time"
        time.sleep(0.002)


def test_it_holds_a_voltage_and_goes_back_to_wait_in_order(device):
    assert device.read_status(0.0).mode is M.WAIT
    device.set_voltage(voltage_v=350.0, droop_ratio=0.0, deadline_s=0.0)
    device.set_mode(M.VOLTAGE_REFERENCE, 0.0)
    assert device.dead_man.renew(30.0)
    until(lambda: abs(device.read_status(0.0).grid_voltage_v - 350.0) < 0.5)
    device.set_voltage(voltage_v=340.0, droop_ratio=0.0, deadline_s=0.0)
    until(lambda: abs(device.read_status(0.0).grid_voltage_v - 340.0) < 0.5)
    assert device.read_setpoints(0.0).grid_voltage_v == 340.0
    device.set_mode(M.WAIT, 0.0)
    until(lambda: device.read_status(0.0).mode is M.WAIT)
    assert not device.dead_man.fired
    assert device.loop_timing.ticks > 0


def test_it_is_its_own_dead_man(device):
    device.set_voltage(voltage_v=350.0, droop_ratio=0.0, deadline_s=0.0)
    device.set_mode(M.VOLTAGE_REFERENCE, 0.0)
    assert device.dead_man.renew(0.3)
    until(lambda: device.read_status(0.0).mode is M.WAIT)
    assert device.dead_man.fired
    assert not device.dead_man.renew(1.0)
    assert device.dead_man.disarm()
    assert not device.dead_man.fired


@pytest.mark.parametrize(
    "order",
    [
        lambda d: d.set_voltage(voltage_v=200.0, droop_ratio=0.0, deadline_s=0.0),
        lambda d: d.set_voltage(voltage_v=350.0, droop_ratio=0.5, deadline_s=0.0),
        lambda d: d.set_current(9.0, 0.0),
        lambda d: d.set_mode(M.UNKNOWN, 0.0),
    ],
)
def test_what_it_cannot_take_is_refused(device, order):
    with pytest.raises(OutOfRange, match="must be"):
        order(device)


def test_a_stage_of_ones_own_is_found_by_its_name():
    settings = {"kind": "control_loop", "stage": f"{__name__}:make_stage"}
    with pytest.raises(ConfigError, match=r"stage is no_such\.thing:x"):
        make_dcdc({"kind": "control_loop", "stage": "no_such.thing:x"}, "grid.yaml")
    with pytest.raises(ConfigError, match="rate_hz is 0, must be"):
        make_dcdc({"kind": "control_loop", "rate_hz": 0}, "grid.yaml")
    device = make_dcdc({**settings, "stage_settings": {"start_v": 123.0}}, "grid.yaml")
    with pytest.raises(PortError, match="not open"):
        device.read_status(0.0)
    device.open(time.monotonic() + 10.0)
    assert device.read_status(0.0).grid_voltage_v == pytest.approx(123.0, abs=2.0)
    device.close()
    device = make_dcdc({**settings, "stage_settings": {"capacitance_f": -1.0}}, "grid.yaml")
    with pytest.raises(PortError, match="capacitance_f is -1"):
        device.open(time.monotonic() + 10.0)
