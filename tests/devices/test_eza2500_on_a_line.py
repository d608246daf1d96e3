"""The driver of the EZA2500 against a simulated one on a pseudo-terminal: both ends are real."""

from __future__ import annotations

import time

import pytest

from apis_core.model.types import Alarm
from apis_core.model.types import ConverterMode as Mode
from apis_driver.errors import DeviceTimeout, PortError


def soon() -> float:
    """A deadline for a device."""
    return time.monotonic() + 5.0


def test_orders_arrive_and_readings_are_the_plants(make_site):
    site = make_site()
    eza = site.eza()
    eza.open(soon())
    eza.set_voltage(voltage_v=350.0, droop_ratio=0.0, deadline_s=soon())
    eza.set_current(7.5, soon())
    eza.set_mode(Mode.VOLTAGE_REFERENCE, soon())
    site.step(20.0)
    with site.lock:
        other = site.plant.units["E002"].converter
        other.start(Mode.CHARGE, bus_v=350.0, energy_limit_wh=None)
        other.current_setpoint_a = 2.0
    site.step(20.0)
    status = eza.read_status(soon())
    assert status.mode is Mode.VOLTAGE_REFERENCE
    assert status.alarm is Alarm.NONE
    assert status.grid_voltage_v == pytest.approx(site.plant.voltage_v, abs=0.02)
    assert status.grid_current_a == pytest.approx(-2.0, abs=0.001)
    held = eza.read_setpoints(soon())
    assert held.grid_voltage_v == pytest.approx(350.0, abs=0.03)
    eza.set_mode(Mode.WAIT, soon())
    assert site.plant.units["E001"].converter.mode is Mode.WAIT
    eza.close()


def test_every_reading_is_right_on_a_line_that_flips_one_bit_in_a_thousand(make_site):
    """One frame in six is damaged, and some damage is invisible to a sum of bytes."""
    site = make_site(dcdc_baud=4_000_000, flips_per_bit=0.001)
    eza = site.eza(reply_timeout_s=0.1, late_reply_s=0.01, byte_gap_s=0.01)
    with site.lock:
        other = site.plant.units["E002"].converter
        other.start(Mode.VOLTAGE_REFERENCE, bus_v=0.0, energy_limit_wh=None)
        other.voltage_setpoint_v, other.current_setpoint_a = 350.0, 7.5
    site.step(20.0)
    eza.open(soon())
    eza.set_current(1.5, soon())
    eza.set_mode(Mode.CHARGE, soon())
    site.step(20.0)
    site.devices.dcdc_line.faults.flips_per_bit = 0.0
    right = [eza.read_status(soon()), eza.read_setpoints(soon())]
    assert right[0].mode is Mode.CHARGE
    assert right[0].grid_current_a == pytest.approx(1.5, abs=0.001)
    site.devices.dcdc_line.faults.flips_per_bit = 0.001
    before = dict(eza.counters)
    for round_ in range(120):
        assert eza.read_status(soon()) == right[0], f"round {round_}: {eza.counters}"
        if round_ % 5 == 0:
            assert eza.read_setpoints(soon()) == right[1], f"round {round_}: {eza.counters}"
    damaged = sum(eza.counters[k] - before.get(k, 0) for k in eza.counters if k != "exchanges")
    assert damaged > 100, eza.counters
    eza.set_mode(Mode.WAIT, soon())
    assert site.plant.units["E001"].converter.mode is Mode.WAIT
    eza.close()


@pytest.mark.parametrize(
    "fault",
    [{"cut_ratio": 0.15}, {"bad_sum_ratio": 0.3}, {"noise_ratio": 0.5}, {"is_echoing": True}],
    ids=lambda fault: next(iter(fault)),
)
def test_it_keeps_working(make_site, fault):
    site = make_site(dcdc_baud=115200)
    eza = site.eza()
    eza.open(soon())
    right = eza.read_status(soon())
    for name, value in fault.items():
        setattr(site.devices.dcdc_line.faults, name, value)
    for _ in range(10):
        assert eza.read_status(soon()) == right
    eza.close()


def test_silence_is_a_timeout_that_names_the_port(make_site):
    site = make_site()
    site.devices.dcdc_line.faults.is_silent = True
    eza = site.eza()
    with pytest.raises(DeviceTimeout, match=str(site.port)):
        eza.open(soon())
    eza.close()


def test_a_slow_device_is_waited_for(make_site):
    site = make_site()
    site.devices.dcdc_line.faults.delay_s = 0.15
    eza = site.eza(reply_timeout_s=0.3)
    eza.open(soon())
    assert eza.read_status(soon()).mode is Mode.WAIT
    assert not eza.counters["silence"]
    eza.close()


def test_a_pulled_plug_is_a_port_error_and_the_port_can_come_back(make_site):
    site = make_site()
    eza = site.eza()
    eza.open(soon())
    site.devices.dcdc_line.unplug()
    with pytest.raises(PortError):
        eza.read_status(soon())
    eza.close()
    with pytest.raises(PortError, match="no such port"):
        eza.open(soon())
    site.devices.dcdc_line.plug_in()
    eza.open(soon())
    assert eza.read_status(soon()).mode is Mode.WAIT
    eza.close()


def test_the_deadline_holds_whatever_the_line_does(make_site):
    site = make_site()
    eza = site.eza()
    eza.open(soon())
    site.devices.dcdc_line.faults.flips_per_bit = 0.3
    began_s = time.monotonic()
    with pytest.raises(Exception, match=str(site.port)):
        eza.read_status(began_s + 0.5)
    assert time.monotonic() - began_s < 1.0
    eza.close()
