"""All hardware of a grid together: houses, converters and the bus.

A step is cut into sub-steps: no longer than :data:`RAMP_STEP_S` while anything ramps, than
:data:`STIFF_STEP_S` while nothing steadies the bus, and ending on the instant at which a converter
reaches its energy limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from apis_core.errors import ProtocolMisuse
from apis_core.grid import Bus
from apis_core.types import ConverterMode, StopCause, UnitId
from apis_emulator.physics import bus as dc_bus
from apis_emulator.physics.battery import Battery
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.house import House, HouseFlow

__all__ = ["BusReading", "Plant", "Unit"]

IDLE_STEP_S = 1.0
RAMP_STEP_S = 0.1
STIFF_STEP_S = 0.01
_SHORTEST_STEP_S = 1e-9  # nearer to an energy limit than that is on it

SATURATION_TRIP_S = 0.5  # a reference that is at its current limit for so long gives up
DEAD_BUS_V = 1.0  # an orderly stop of a reference ends here
# of a reference without droop that meets another: stiff, so they fight; an engineering estimate
STRAY_OHM = 0.005
EMPTY_RATIO = 0.005  # the battery management lets no converter draw below that
_EMPTY_WH = 2.0  # ... nor below what a converter at full power could draw within two idle steps

Profile = Callable[[float], tuple[float, float]]


@dataclass(slots=True)
class Unit:
    """One unit's hardware.

    Attributes:
        profile: Sun that is to be had and load that is wanted [W], over the seconds since the
            start of the emulation.
        voltage_offset_v: Error of the converter's voltmeter. References that disagree fight by as
            much. [V]
    """

    house: House
    converter: Converter
    profile: Profile
    voltage_offset_v: float = 0.0
    flow: HouseFlow = field(default_factory=HouseFlow)

    @property
    def battery(self) -> Battery:
        """The battery of the house."""
        return self.house.battery

    @property
    def is_empty(self) -> bool:
        """Whether the battery management forbids drawing."""
        battery = self.battery
        return battery.stored_wh <= max(EMPTY_RATIO * battery.capacity_wh, _EMPTY_WH)

    @property
    def is_full(self) -> bool:
        """Whether the battery management forbids charging."""
        return self.battery.stored_wh >= self.battery.capacity_wh


@dataclass(frozen=True, slots=True)
class BusReading:
    """The bus as a whole; fields as in ``BusState.msg``."""

    voltage_v: float
    transported_power_w: float
    voltage_reference_ids: tuple[UnitId, ...]


class Plant:
    """The hardware of a grid. Deterministic: equal steps and orders give equal results.

    Attributes:
        time_s: Simulated time since the start. [s]
        voltage_v: Of the bus. [V]
        bled_wh: Burned by a bus that nothing held, since the start. [Wh]
    """

    def __init__(self, units: Mapping[UnitId, Unit], bus: Bus) -> None:
        self.units = dict(units)
        self.bus = bus
        self.time_s = 0.0
        self.voltage_v = 0.0
        self.bled_wh = 0.0
        self._is_stiff = False

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
        fed_a = sum(-c.current_a for c in self.converters if c.current_a < 0.0)
        return BusReading(
            voltage_v=self.voltage_v,
            transported_power_w=fed_a * self.voltage_v,
            voltage_reference_ids=tuple(
                i for i, u in self.units.items() if u.converter.is_reference
            ),
        )

    def is_held_without(self, unit_id: UnitId) -> bool:
        """Whether another unit is the voltage reference and means to stay so."""
        return any(
            unit.converter.is_reference and not unit.converter.is_stopping
            for other_id, unit in self.units.items()
            if other_id != unit_id
        )

    def stop(self, unit_id: UnitId, cause: StopCause = StopCause.NONE, detail: str = "") -> None:
        """Take a converter to WAIT in order; nothing happens if it is there or on the way."""
        self.units[unit_id].converter.stop(
            cause, detail, is_bus_held=self.is_held_without(unit_id)
        )

    # --- time ------------------------------------------------------------------------------------

    def step(self, dt_s: float) -> None:
        """Let a time pass. [s, > 0]"""
        if not (math.isfinite(dt_s) and dt_s > 0.0):
            raise ProtocolMisuse(f"a step of {dt_s} s; it must be finite and > 0")
        end_s = self.time_s + dt_s
        left_s = dt_s
        while left_s > _SHORTEST_STEP_S:
            left_s -= self._substep(left_s)
        self.time_s = end_s

    def _substep(self, longest_s: float) -> float:
        """Advance by as much as one set of mean values may cover; returns how much. [s]"""
        active = [(i, u) for i, u in self.units.items() if u.converter.is_active]
        dt_s = min(longest_s, self._stop_at_limits(active), self._resolution_s(active))
        if active or self.voltage_v > 0.0:
            dt_s, step, means_a = self._move_bus(active, dt_s)
            mean_v = step.mean_v
        else:
            step, means_a, mean_v = None, {}, 0.0

        for unit_id, unit in self.units.items():
            self._move_house(unit_id, unit, means_a.get(unit_id, 0.0) * mean_v, dt_s)
        self.time_s += dt_s
        if step is not None:
            self.voltage_v = step.voltage_v
            self.bled_wh += step.bleed_w * dt_s / 3600.0
            self._protect(active)
            self._finish_stops(active)
        return dt_s

    def _move_house(self, unit_id: UnitId, unit: Unit, grid_w: float, dt_s: float) -> None:
        """One house over a step, under the mean power that its converter takes from the bus."""
        battery_w, loss_w = unit.converter.count(grid_w, dt_s)
        solar_w, load_w = unit.profile(self.time_s + 0.5 * dt_s)
        unit.flow = unit.house.step(
            solar_available_w=solar_w,
            load_w=load_w,
            converter_w=battery_w,
            converter_loss_w=loss_w,
            dt_s=dt_s,
        )

    def _stop_at_limits(self, active: list[tuple[UnitId, Unit]]) -> float:
        """Begin the stops that are due, and say when the next one is. [s]"""
        next_s = math.inf
        for unit_id, unit in active:
            due_s = unit.converter.time_to_stop(self.voltage_v)
            if due_s > _SHORTEST_STEP_S:
                next_s = min(next_s, due_s)
            elif unit.converter.next_current_a > 0.0:
                unit.converter.go_on_with_less()
            else:
                limit_wh = unit.converter.energy_limit_wh
                self.stop(unit_id, StopCause.ENERGY_REACHED, f"{limit_wh:.6g} Wh have moved")
        return next_s

    def _resolution_s(self, active: list[tuple[UnitId, Unit]]) -> float:
        """How long mean values are good for: as long as nothing changes course. [s]"""
        if self._is_stiff:
            return STIFF_STEP_S
        is_held = False
        for _, unit in active:
            converter = unit.converter
            if converter.is_reference:
                is_held = True
                if converter.is_stopping or converter.regulated_v != converter.voltage_setpoint_v:
                    return RAMP_STEP_S
            elif converter.current_a != converter.target_a(self.voltage_v):
                return RAMP_STEP_S
        return IDLE_STEP_S if is_held or not active else STIFF_STEP_S

    def _move_bus(
        self, active: list[tuple[UnitId, Unit]], dt_s: float
    ) -> tuple[float, dc_bus.BusStep, dict[UnitId, float]]:
        """Solve the bus over a step, or over a shorter one if it turns out stiff; returns its
        length and mean currents.
        """
        references = [(i, u) for i, u in active if u.converter.is_reference]
        sources = [(i, u.converter) for i, u in active if not u.converter.is_reference]
        before_a = [converter.current_a for _, converter in sources]
        means_a = {i: c.move_current(self.voltage_v, dt_s) for i, c in sources}
        step = self._solve(references, sum(means_a.values()), dt_s)

        is_loose = not references and any(means_a.values())
        self._is_stiff = is_loose or any(step.is_saturated)
        if self._is_stiff and dt_s > STIFF_STEP_S:
            for (_, converter), current_a in zip(sources, before_a, strict=True):
                converter.rewind_current(current_a)
            return self._move_bus(active, STIFF_STEP_S)

        for (unit_id, unit), current_a, is_saturated in zip(
            references, step.currents_a, step.is_saturated, strict=True
        ):
            converter = unit.converter
            means_a[unit_id] = converter.current_a = current_a
            converter.saturated_s = converter.saturated_s + dt_s if is_saturated else 0.0
            # A saturated reference starts anew from where the bus is, instead of winding up.
            converter.regulated_v = (
                step.voltage_v if is_saturated else self._next_setpoint_v(converter, dt_s)
            )
            if not converter.is_stopping:
                converter.has_held |= converter.regulated_v == converter.voltage_setpoint_v
        return dt_s, step, means_a

    def _next_setpoint_v(self, converter: Converter, dt_s: float) -> float:
        """Where the ramp of a reference is after a time. [V]"""
        goal_v, now_v = converter.voltage_setpoint_v, converter.regulated_v
        if goal_v > now_v:
            return min(goal_v, now_v + self.bus.ramp_up_v_per_s * dt_s)
        return max(goal_v, now_v - self.bus.ramp_down_v_per_s * dt_s)

    def _solve(
        self, references: list[tuple[UnitId, Unit]], load_a: float, dt_s: float
    ) -> dc_bus.BusStep:
        """The bus over a step. Two references without droop see each other through the stray
        resistance only.
        """
        voltage_v, capacitance_f = self.voltage_v, self.capacitance_f
        if not references:
            decay_s = self.bus.decay_time_constant_s
            return dc_bus.drift(voltage_v, capacitance_f, load_a, decay_s, dt_s)
        is_alone = len(references) == 1
        regulators = [
            dc_bus.Regulator(
                source_v=self._next_setpoint_v(unit.converter, dt_s)
                + (0.0 if is_alone else unit.voltage_offset_v),
                resistance_ohm=max(unit.converter.droop_ohm, 0.0 if is_alone else STRAY_OHM),
                limit_a=unit.converter.current_setpoint_a,
            )
            for _, unit in references
        ]
        if is_alone and regulators[0].resistance_ohm == 0.0:
            return dc_bus.hold(voltage_v, capacitance_f, load_a, regulators[0], dt_s)
        return dc_bus.share(voltage_v, capacitance_f, load_a, regulators, dt_s)

    # --- what a converter does by itself ---------------------------------------------------------

    def _protect(self, active: list[tuple[UnitId, Unit]]) -> None:
        """Trips."""
        low_v, high_v = self.bus.under_voltage_trip_v, self.bus.over_voltage_trip_v
        for _, unit in active:
            converter = unit.converter
            if not converter.is_active:
                continue
            must_have_bus = not converter.is_reference or converter.has_held
            if self.voltage_v > high_v:
                converter.trip(f"over-voltage: {self.voltage_v:.1f} V, limit {high_v:g} V")
            elif self.voltage_v < low_v and must_have_bus and not converter.is_stopping:
                converter.trip(f"under-voltage: {self.voltage_v:.1f} V, limit {low_v:g} V")
            elif converter.is_reference and converter.saturated_s > SATURATION_TRIP_S:
                converter.trip(
                    f"over-current: its limit of {converter.current_setpoint_a:g} A is too low"
                )
            elif unit.is_empty and converter.current_a < 0.0:
                converter.trip("battery empty: the battery management forbids drawing")
            elif unit.flow.overcharge_w > 0.0 and converter.current_a > 0.0:
                converter.trip("battery full: the battery management forbids charging")

    def _finish_stops(self, active: list[tuple[UnitId, Unit]]) -> None:
        """Orderly stops that have come to their end."""
        for unit_id, unit in active:
            converter = unit.converter
            if not converter.is_stopping:
                continue
            if converter.is_reference:
                if self.voltage_v <= DEAD_BUS_V:
                    converter.finish()
            elif converter.current_a == 0.0 or not self._can_carry(unit_id):
                converter.finish()

    def _can_carry(self, unit_id: UnitId) -> bool:
        """Whether there is a bus left on which a current could run down in order."""
        return self.voltage_v >= self.bus.under_voltage_trip_v or any(
            unit.converter.mode is ConverterMode.VOLTAGE_REFERENCE
            for other_id, unit in self.units.items()
            if other_id != unit_id
        )
