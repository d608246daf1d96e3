"""A small grid of houses for the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apis_core.model.messages import ConverterOperation, ConverterOrder, ConverterReply
from apis_core.model.types import ConverterError, ConverterMode
from apis_emulator.driver import Driver
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.plant import Installation, Plant
from apis_site.grid import Bus, ConverterLoss


class Village:
    """A plant, its driver, and the orders that tests give most."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.driver = Driver(plant)
        self.now_s = 0.0
        self.term = 1

    def __getitem__(self, unit_id: str) -> Converter:
        return self.plant.units[unit_id].converter

    def order(self, unit_id: str, operation: ConverterOperation, **rest: Any) -> ConverterReply:
        rest = {"hold_s": 1e9, "term": self.term} | rest
        order = ConverterOrder(operation=operation, **rest)
        return self.driver.handle(unit_id, order, self.now_s)

    def mode(self, unit_id: str, mode: ConverterMode, **rest: Any) -> ConverterReply:
        return self.order(unit_id, ConverterOperation.MODE, mode=mode, **rest)

    def hold_voltage(self, unit_id: str, grid_voltage_v: float = 350.0, **rest: Any) -> None:
        reply = self.mode(
            unit_id, ConverterMode.VOLTAGE_REFERENCE, grid_voltage_v=grid_voltage_v, **rest
        )
        assert reply.error is ConverterError.NONE, reply.message

    def charge(self, unit_id: str, grid_current_a: float, **rest: Any) -> None:
        reply = self.mode(unit_id, ConverterMode.CHARGE, grid_current_a=grid_current_a, **rest)
        assert reply.error is ConverterError.NONE, reply.message

    def discharge(self, unit_id: str, grid_current_a: float, **rest: Any) -> None:
        reply = self.mode(unit_id, ConverterMode.DISCHARGE, grid_current_a=grid_current_a, **rest)
        assert reply.error is ConverterError.NONE, reply.message

    def wait(self, unit_id: str, **rest: Any) -> None:
        assert self.mode(unit_id, ConverterMode.WAIT, **rest).error is ConverterError.NONE


@pytest.fixture
def make_village() -> Callable[..., Village]:
    def make(
        count: int = 4,
        *,
        soc_ratio: float = 0.6,
        solar_w: float = 500.0,
        load_w: float = 300.0,
        mains: bool = True,
        bus: Bus | None = None,
    ) -> Village:
        bus = bus or Bus()
        units = {
            f"E{index + 1:03}": Installation(
                capacity_wh=4800.0,
                stored_wh=4800.0 * soc_ratio,
                mains=mains,
                converter=Converter(loss=ConverterLoss(), bus=bus),
                solar=solar_w,
                load=load_w,
                voltage_offset_v=0.2 * (-1) ** index,
            )
            for index in range(count)
        }
        return Village(Plant(units, bus))

    return make


@pytest.fixture(scope="session")
def hardware() -> dict[str, Any]:
    """Content of a hwConfig file."""
    ranges = {
        "tmp": (0.0, 45.0),
        "vg": (-4.0, 380.0),
        "vb": (32.0, 58.4),
        "ig": (-2.35, 2.35),
        "ib": (-20.0, 20.0),
    }
    meter = {name: {"min": low, "max": high} for name, (low, high) in ranges.items()}
    return {
        "batteryNominalCapacityWh": 4800,
        "gridCurrentCapacityA": 2.3,
        "gridCurrentAllowanceA": 0.125,
        "droopRatio": 0.039,
        "safety": {"range": {"dcdc": {"meter": meter}}},
    }
