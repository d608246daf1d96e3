"""All hardware of a grid together: houses, converters and the bus.

The physics is C++ (:class:`apis_control.Plant`): one call a step, whatever the number of units.
Here are the names of the units, and the vocabulary of the core.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import apis_control
from apis_core.model.errors import ProtocolMisuse
from apis_core.model.types import StopCause, UnitId
from apis_emulator.physics.converter import Converter
from apis_emulator.profiles.series import Series
from apis_site.grid import BatteryCells, Bus, HouseModel

__all__ = [
    "NOMINAL_VOLTAGE_V",
    "STIFF_STEP_S",
    "Battery",
    "BusReading",
    "HouseFlow",
    "Installation",
    "Plant",
    "Unit",
]

IDLE_STEP_S = 1.0
STIFF_STEP_S = 0.01  # sub-step while nothing steadies the bus
NOMINAL_VOLTAGE_V = 51.2  # [V] 16 LiFePO4 cells in series at 3.2 V


@dataclass(slots=True)
class Installation:
    """What is put up as one unit.

    Attributes:
        capacity_wh: What the battery holds when full, > 0. [Wh]
        stored_wh: What it holds at the start, 0..capacity_wh. [Wh]
        converter: Between the battery and the bus.
        solar: Sun that is to be had, over the seconds since the start, or always. [W]
        load: Load that is wanted. [W]
        mains: Whether the house is connected to the mains.
        voltage_offset_v: Error of the converter's voltmeter. References that disagree fight by as
            much. [V]
    """

    capacity_wh: float
    stored_wh: float
    converter: Converter
    solar: Series | float = 0.0
    load: Series | float = 0.0
    mains: bool = True
    voltage_offset_v: float = 0.0

    def at(self, time_s: float) -> tuple[float, float]:
        """Sun and load at a time since the start [s]. [W]"""
        solar, load = (
            p.at(time_s) if isinstance(p, Series) else p for p in (self.solar, self.load)
        )
        return solar, load


@dataclass(frozen=True, slots=True)
class HouseFlow:
    """Mean powers of a house over a step. [W]

    They balance: ``solar + mains + converter's grid power = load + losses + battery``. All are >=
    0 but the battery's, which is + when charging. Of the battery's power `battery_loss_w` does not
    reach the store.
    """

    solar_w: float
    solar_available_w: float
    load_w: float
    unserved_w: float
    mains_w: float
    losses_w: float
    battery_w: float
    battery_loss_w: float
    overcharge_w: float  # part of the losses: what a full battery had to burn off


class Battery:
    """The battery of a unit: its energy is never rounded."""

    __slots__ = ("_native",)

    def __init__(self, native: apis_control.PlantUnit) -> None:
        self._native = native

    @property
    def capacity_wh(self) -> float:
        """What it holds when full. [Wh]"""
        return self._native.capacity_wh

    @property
    def stored_wh(self) -> float:
        """What it holds now, 0..capacity_wh. [Wh]"""
        return self._native.stored_wh

    @stored_wh.setter
    def stored_wh(self, energy_wh: float) -> None:
        self._native.stored_wh = energy_wh

    @property
    def soc_ratio(self) -> float:
        """State of charge, by energy, 0..1."""
        return self._native.soc_ratio

    @property
    def voltage_v(self) -> float:
        """At its terminals, under the load of the last step. [V]"""
        return self._native.battery_v

    @property
    def current_a(self) -> float:
        """Over the last step, + when charging. [A]"""
        return self._native.battery_a

    @property
    def temp_degc(self) -> float:
        """Of the pack. [degC]"""
        return self._native.pack_degc


class Unit:
    """One unit's hardware, as a part of a plant.

    Attributes:
        installation: What was put up.
        converter: Between the battery and the bus.
        battery: Behind it.
        native: The plant's own handle.
    """

    __slots__ = ("_plant", "battery", "converter", "installation", "native")

    def __init__(
        self, plant: apis_control.Plant, native: apis_control.PlantUnit, installation: Installation
    ) -> None:
        self._plant = plant  # the handle is good for as long as that lives
        self.native = native
        self.installation = installation
        self.converter = installation.converter
        self.battery = Battery(native)

    @property
    def flow(self) -> HouseFlow:
        """Mean powers of the last step."""
        native = self.native
        return HouseFlow(
            solar_w=native.solar_w,
            solar_available_w=native.solar_available_w,
            load_w=native.load_w,
            unserved_w=native.unserved_w,
            mains_w=native.mains_w,
            losses_w=native.ac_loss_w + native.dc_loss_w,
            battery_w=native.battery_w,
            battery_loss_w=native.battery_loss_w,
            overcharge_w=native.overcharge_w,
        )

    @property
    def bus_v(self) -> float:
        """At its bus terminal. [V]"""
        return self.native.bus_v

    @property
    def is_empty(self) -> bool:
        """Whether the battery management forbids drawing."""
        return self.native.is_empty

    @property
    def is_full(self) -> bool:
        """Whether the battery management forbids charging."""
        return self.native.is_full


@dataclass(frozen=True, slots=True)
class BusReading:
    """The bus as a whole; fields as in ``BusState.msg``."""

    voltage_v: float
    transported_power_w: float
    line_loss_w: float
    line_loss_wh: float
    voltage_reference_ids: tuple[UnitId, ...]


class Plant:
    """The hardware of a grid. Deterministic: equal steps and orders give equal results.

    Args:
        units: What is put up, by its name.
        bus: The bus.
        idle_step_s: Sub-step while nothing is on; longer where sun and load are constant. [s]
        house_model: What the houses are made of.
        battery_cells: What their batteries are made of.

    Attributes:
        units: The units, in the order of their installation.
        native: The plant itself: arrays of its state, lines, sums. See `apis_control.Plant`.
    """

    def __init__(
        self,
        units: Mapping[UnitId, Installation],
        bus: Bus,
        idle_step_s: float = IDLE_STEP_S,
        house_model: HouseModel | None = None,
        battery_cells: BatteryCells | None = None,
    ) -> None:
        self.bus = bus
        self.native = apis_control.Plant(
            bus={
                "capacitance_per_unit_f": bus.capacitance_per_unit_f,
                "decay_time_constant_s": bus.decay_time_constant_s,
                "idle_step_s": idle_step_s,
            },
            house=(house_model or HouseModel()).model_dump(),
            cells=(battery_cells or BatteryCells()).model_dump(),
        )
        self.units: dict[UnitId, Unit] = {}
        for unit_id, installation in units.items():
            self.add(unit_id, installation)

    def add(self, unit_id: UnitId, installation: Installation) -> None:
        """Put up one more unit, also in mid-run. Lines are forgotten: set them anew."""
        native = self.native.add(
            installation.converter,
            capacity_wh=installation.capacity_wh,
            stored_wh=installation.stored_wh,
            solar=_samples(installation.solar),
            load=_samples(installation.load),
            has_mains=installation.mains,
            voltage_offset_v=installation.voltage_offset_v,
        )
        self.units[unit_id] = Unit(self.native, native, installation)

    def set_lines(self, lines: Iterable[tuple[UnitId, UnitId, float]]) -> None:
        """Give the bus wires: between which units, and the resistance of both conductors. [ohm]"""
        index = {unit_id: unit.native.index for unit_id, unit in self.units.items()}
        self.native.set_lines([(index[a], index[b], ohm) for a, b, ohm in lines])

    def remove(self, unit_id: UnitId) -> None:
        """Take a unit away; its converter is switched off."""
        self.native.remove(self.units.pop(unit_id).native.index)

    @property
    def time_s(self) -> float:
        """Simulated time since the start. [s]"""
        return self.native.time_s

    @property
    def voltage_v(self) -> float:
        """Of the bus; with lines, its mean. [V]"""
        return self.native.voltage_v

    @voltage_v.setter
    def voltage_v(self, voltage_v: float) -> None:
        self.native.voltage_v = voltage_v

    @property
    def bled_wh(self) -> float:
        """Burned by a bus that nothing held, since the start. [Wh]"""
        return self.native.bled_wh

    @property
    def capacitance_f(self) -> float:
        """Of all converters' bus terminals. [F]"""
        return self.bus.capacitance_per_unit_f * len(self.units)

    @property
    def converters(self) -> Iterable[Converter]:
        """All of them, in the order of the units."""
        return (unit.converter for unit in self.units.values())

    def read_bus(self) -> BusReading:
        """The bus now."""
        return BusReading(
            voltage_v=self.native.voltage_v,
            transported_power_w=self.native.transported_power_w,
            line_loss_w=self.native.line_loss_w,
            line_loss_wh=self.native.line_loss_wh,
            voltage_reference_ids=tuple(
                i for i, u in self.units.items() if u.converter.is_reference
            ),
        )

    def is_held_without(self, unit_id: UnitId) -> bool:
        """Whether another unit is the voltage reference and means to stay so."""
        return self.native.is_held_without(self.units[unit_id].native.index)

    def stop(self, unit_id: UnitId, cause: StopCause = StopCause.NONE, detail: str = "") -> None:
        """Take a converter to WAIT in order; nothing happens if it is there or on the way."""
        unit = self.units[unit_id]
        has_other = self.native.has_other_reference(unit.native.index)
        unit.converter.stop(cause, detail, is_bus_held=has_other)

    def step(self, dt_s: float) -> None:
        """Let a time pass. [s, > 0]"""
        if not (math.isfinite(dt_s) and dt_s > 0.0):
            raise ProtocolMisuse(f"a step of {dt_s} s; it must be finite and > 0")
        self.native.step(dt_s)


def _samples(profile: Series | float) -> Any:
    return profile.samples if isinstance(profile, Series) else profile
