"""Foreign devices on the bus, and converters that know nothing of it."""

from __future__ import annotations

import pytest

from apis_core.converter.driver_contract import Refused
from apis_core.model.messages import ConverterOperation, ConverterOrder
from apis_core.model.types import ConverterError, ConverterMode
from apis_emulator.driver import Driver
from apis_emulator.orders import command
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.foreign import ForeignDevice, connect
from apis_emulator.physics.plant import Installation, Plant
from apis_site.grid import Bus, ConverterLoss

FAST = Bus(current_slew_a_per_s=1e6, ramp_up_v_per_s=300.0)


@pytest.fixture
def plant() -> Plant:
    units = {
        name: Installation(
            capacity_wh=4800.0,
            stored_wh=2400.0,
            converter=Converter(loss=ConverterLoss(), bus=FAST),
        )
        for name in ("E001", "E002")
    }
    return Plant(units, FAST)


def order(mode: ConverterMode, current_a: float = 2.0, **more: object) -> ConverterOrder:
    voltage_v = 350.0 if mode is ConverterMode.VOLTAGE_REFERENCE else None
    return ConverterOrder(
        operation=ConverterOperation.MODE,
        mode=mode,
        grid_voltage_v=voltage_v,
        grid_current_a=current_a,
        hold_s=5.0,
        term=1,
        grid_master_id="E001",
        **more,  # type: ignore[arg-type]
    )


def test_a_leak_is_carried_by_the_reference_and_ends(plant):
    device = ForeignDevice(plant, "E002")
    command(plant, "E001", order(ConverterMode.VOLTAGE_REFERENCE))
    plant.step(5.0)
    device.leak(0.6)
    plant.step(1.0)

    assert device.current_a == pytest.approx(0.6)
    assert plant.units["E001"].converter.current_a == pytest.approx(-0.6)

    device.remove()
    plant.step(1.0)
    assert plant.units["E001"].converter.current_a == pytest.approx(0.0, abs=1e-6)


def test_a_dead_bus_leaks_nothing(plant):
    device = ForeignDevice(plant, "E002")
    device.leak(0.6)
    plant.step(10.0)

    assert abs(device.current_a) < 1e-6
    assert plant.voltage_v == pytest.approx(0.0, abs=0.1)


def test_an_earth_fault_takes_what_its_resistance_says(plant):
    device = ForeignDevice(plant, "E002")
    command(plant, "E001", order(ConverterMode.VOLTAGE_REFERENCE))
    plant.step(5.0)
    device.earth(500.0)
    plant.step(2.0)

    assert device.current_a == pytest.approx(350.0 / 500.0, rel=1e-3)


def test_a_foreign_source_holds_the_bus(plant):
    device = ForeignDevice(plant, "E002")
    device.hold(340.0, 5.0)
    plant.step(5.0)

    assert plant.voltage_v == pytest.approx(340.0, abs=0.1)


def test_behind_a_line_that_is_cut_nothing_leaks(plant):
    device = ForeignDevice(plant, "E002")
    connect(plant, [("E001", "E002", 0.1)], [device])
    command(plant, "E001", order(ConverterMode.VOLTAGE_REFERENCE))
    plant.step(5.0)
    device.leak(0.5)
    plant.step(1.0)
    assert plant.units["E001"].converter.current_a == pytest.approx(-0.5, abs=0.01)

    plant.native.set_line_open(0, True)
    plant.step(5.0)
    assert plant.units["E001"].converter.current_a == pytest.approx(0.0, abs=0.01)
    assert plant.units["E002"].bus_v == pytest.approx(0.0, abs=0.1)


def test_a_plain_converter_obeys_what_a_polite_one_refuses(plant):
    command(plant, "E001", order(ConverterMode.VOLTAGE_REFERENCE))
    plant.step(5.0)

    with pytest.raises(Refused) as refused:
        command(plant, "E002", order(ConverterMode.VOLTAGE_REFERENCE))
    assert refused.value.error is ConverterError.BUS_ENERGISED

    command(plant, "E002", order(ConverterMode.VOLTAGE_REFERENCE), is_plain=True)
    assert plant.units["E002"].converter.is_reference


def test_a_plain_converter_is_off_at_once(plant):
    driver = Driver(plant, is_plain=True)
    driver.handle("E001", order(ConverterMode.VOLTAGE_REFERENCE), 0.0)
    plant.step(3.0)

    driver.handle("E001", order(ConverterMode.WAIT), 3.0)

    assert not plant.units["E001"].converter.is_active
    assert plant.voltage_v > 300.0  # the bus discharges by itself


def test_without_a_driver_nobody_watches_the_hold_time(plant):
    driver = Driver(plant, is_plain=True)
    driver.handle("E001", order(ConverterMode.VOLTAGE_REFERENCE), 0.0)
    driver.broken.halted.add("E001")
    driver.watch(100.0)
    assert plant.units["E001"].converter.is_active

    driver.broken.halted.clear()
    driver.watch(100.0)
    assert not plant.units["E001"].converter.is_active
