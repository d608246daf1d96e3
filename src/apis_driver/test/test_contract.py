"""What every converter's device must do, whatever its make. A new device: give it a bench."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from benches import Bench, EzaBench, HttpBench, KestrelBench

from apis_core.model.errors import DeviceError
from apis_core.model.types import ConverterMode
from apis_driver.device import DcdcDevice
from apis_driver.errors import BadFrame, DeviceTimeout, OutOfRange, PortError

M = ConverterMode
BENCHES: dict[str, Callable[[], Bench]] = {
    "eza2500": EzaBench,
    "http": HttpBench,
    "emulator_http": lambda: HttpBench(is_emulator=True),
    "kestrel": KestrelBench,
}


def soon() -> float:
    return time.monotonic() + 2.0


@pytest.fixture(params=BENCHES)
def bench(request) -> Bench:
    return BENCHES[request.param]()


@pytest.fixture
def opened(bench) -> Bench:
    bench.device.open(soon())
    return bench


def test_it_has_the_shape(bench):
    device = bench.device
    assert isinstance(device, DcdcDevice)
    assert device.address
    assert 0.0 < device.rating.grid_voltage_min_v < device.rating.grid_voltage_max_v
    assert device.rating.grid_current_max_a > 0.0


@pytest.mark.parametrize("mode", [M.CHARGE, M.DISCHARGE, M.VOLTAGE_REFERENCE])
def test_opening_takes_it_to_wait(bench, mode):
    bench.force(mode)
    bench.device.open(soon())
    assert bench.mode is M.WAIT
    assert bench.device.read_status(soon()).mode is M.WAIT


def test_nothing_is_said_before_it_is_opened(bench):
    assert bench.said == 0
    bench.device.close()
    bench.fault = "gone"
    with pytest.raises(DeviceError):
        bench.device.read_status(soon())


@pytest.mark.parametrize("mode", [M.CHARGE, M.DISCHARGE, M.VOLTAGE_REFERENCE, M.WAIT])
def test_a_mode_is_set_and_read(opened, mode):
    opened.device.set_mode(mode, soon())
    assert opened.mode is mode
    assert opened.device.read_status(soon()).mode is mode


def test_a_reading_is_what_is_measured_now_positive_into_the_unit(opened):
    for voltage_v, current_a in ((352.0, 1.5), (0.0, 0.0), (340.0, -2.0)):
        opened.measure(voltage_v, current_a)
        status = opened.device.read_status(soon())
        assert status.grid_voltage_v == pytest.approx(voltage_v, abs=0.03)
        assert status.grid_current_a == pytest.approx(current_a, abs=0.002)


def test_set_points_are_held_as_told(opened):
    device = opened.device
    device.set_voltage(voltage_v=355.0, droop_ratio=0.0, deadline_s=soon())
    device.set_current(1.75, soon())
    held = device.read_setpoints(soon())
    assert held.grid_voltage_v == pytest.approx(355.0, abs=0.05)
    assert held.grid_current_a == pytest.approx(1.75, abs=0.002)
    assert held.droop_ratio == 0.0


def test_setting_changes_nothing_else(opened):
    device = opened.device
    device.set_voltage(voltage_v=355.0, droop_ratio=0.0, deadline_s=soon())
    device.set_current(1.0, soon())
    device.set_mode(M.CHARGE, soon())
    device.set_current(1.5, soon())
    assert opened.mode is M.CHARGE
    device.set_mode(M.WAIT, soon())
    held = device.read_setpoints(soon())
    assert held.grid_voltage_v == pytest.approx(355.0, abs=0.05)
    assert held.grid_current_a == pytest.approx(1.5, abs=0.002)


@pytest.mark.parametrize("value", [-1.0, 1e6, float("nan"), float("inf")])
def test_what_it_cannot_take_is_refused_before_a_byte_is_sent(opened, value):
    before = opened.said
    with pytest.raises(OutOfRange):
        opened.device.set_current(value, soon())
    with pytest.raises(OutOfRange):
        opened.device.set_voltage(voltage_v=value, droop_ratio=0.0, deadline_s=soon())
    with pytest.raises(OutOfRange):
        opened.device.set_voltage(voltage_v=350.0, droop_ratio=value, deadline_s=soon())
    with pytest.raises(OutOfRange):
        opened.device.set_mode(M.UNKNOWN, soon())
    assert opened.said == before


@pytest.mark.parametrize("fault", ["silent", "nonsense"])
def test_silence_and_nonsense_are_told_by_the_deadline_and_pass(opened, fault):
    opened.fault = fault
    for call in (
        lambda deadline_s: opened.device.read_status(deadline_s),
        lambda deadline_s: opened.device.set_mode(M.WAIT, deadline_s),
        lambda deadline_s: opened.device.set_current(1.0, deadline_s),
    ):
        begun_s = time.monotonic()
        with pytest.raises((DeviceTimeout, BadFrame)) as raised:
            call(begun_s + 0.3)
        assert time.monotonic() < begun_s + 0.6
        assert opened.device.address in str(raised.value)
    opened.fault = ""
    assert opened.device.read_status(soon()).mode is M.WAIT


def test_a_deadline_that_is_over_is_kept_too(opened):
    opened.fault = "silent"
    begun_s = time.monotonic()
    with pytest.raises(DeviceError):
        opened.device.read_status(begun_s - 1.0)
    assert time.monotonic() < begun_s + 0.3


def test_a_line_that_goes_is_told_as_such_and_comes_back_by_opening_again(opened):
    opened.device.set_mode(M.CHARGE, soon())
    opened.fault = "gone"
    with pytest.raises(PortError) as raised:
        opened.device.read_status(soon())
    assert str(raised.value)
    with pytest.raises(PortError):
        opened.device.open(soon())
    opened.device.close()
    opened.device.close()
    opened.fault = ""
    opened.device.open(soon())
    assert opened.mode is M.WAIT


def test_it_counts_what_happens_on_the_line(opened):
    before = dict(opened.device.counters)
    opened.device.read_status(soon())
    assert sum(opened.device.counters.values()) > sum(before.values())


def test_alarms_are_acknowledged_without_complaint(opened):
    opened.device.clear_alarms(soon())
