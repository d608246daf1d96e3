"""Converters by hand, in Manual: on only while somebody holds the button. Pure.

First the voltage reference, then, when the bus is up, the currents. What is on lasts for
:data:`HOLD_S` without a renewal, and a renewal is given only while the browser says that the
button is still held. Let go, the currents go first and the voltage last. A browser that is gone,
a dead network or a dead dashboard: the drivers' own hold times end it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from apis_core.converter.driver_contract import ENERGISED_BUS_V
from apis_dashboard.grid_source import ConverterWish
from apis_dashboard.model import GridView
from apis_dashboard.records import ConverterMode, Mode
from apis_site.site import Site

__all__ = ["HOLD_S", "ManualControl", "Setting", "Stage", "why_not"]

HOLD_S = 2.0
RENEW_S = 0.5
BUTTON_S = 1.0  # the browser says "still held" a few times a second; silence means let go
RAMP_UP_S = 60.0  # of the grid's own time
CURRENTS_OFF_S = 3.0
NEAR_V = 10.0


@dataclass(frozen=True)
class Setting:
    """What one converter is to do."""

    mode: ConverterMode
    grid_voltage_v: float | None = None
    grid_current_a: float | None = None


class Stage(Enum):
    """How far it is."""

    IDLE = "idle"
    RAISING = "raising the bus voltage"
    RUNNING = "running"
    STOPPING = "stopping"


def why_not(settings: Mapping[str, Setting], view: GridView, site: Site) -> list[str]:
    """Everything that forbids these settings now; empty = they are allowed."""
    found: list[str] = []
    active = {u: s for u, s in settings.items() if s.mode is not ConverterMode.WAIT}
    if not active:
        found.append("No converter is chosen.")
    units = {unit.unit_id: unit for unit in view.units}
    for unit_id in active:
        unit = units[unit_id]
        if not unit.is_present or unit.status is None:
            found.append(f"{unit_id} is silent.")
        elif unit.status.effective_mode is not Mode.MANUAL:
            found.append(f"{unit_id} is not in Manual: the whole cluster must be.")
    holders = [u for u, s in active.items() if s.mode is ConverterMode.VOLTAGE_REFERENCE]
    if active and len(holders) != 1:
        found.append("Exactly one converter must hold the voltage.")
    bus_v = view.bus.voltage_v
    if bus_v is not None and bus_v > ENERGISED_BUS_V:
        found.append(f"The bus is at {bus_v:.0f} V already: another source holds it.")
    policy = site.policy
    balance_a = 0.0
    for unit_id, setting in active.items():
        hardware = site.units[unit_id].hardware if unit_id in site.units else None
        most_a = hardware.grid_current_capacity_a if hardware else None
        if setting.mode is ConverterMode.VOLTAGE_REFERENCE:
            low_v, high_v = (
                (policy.grid_voltage_min_v, policy.grid_voltage_max_v)
                if policy
                else (320.0, 380.0)
            )
            if setting.grid_voltage_v is None or not low_v <= setting.grid_voltage_v <= high_v:
                found.append(f"{unit_id} may hold {low_v:g} to {high_v:g} V.")
        elif (
            setting.grid_current_a is None
            or setting.grid_current_a <= 0.0
            or (most_a is not None and setting.grid_current_a > most_a)
        ):
            upper = f" and at most {most_a:g} A" if most_a is not None else ""
            found.append(f"{unit_id} needs a current above 0{upper}.")
        else:
            is_charge = setting.mode is ConverterMode.CHARGE
            balance_a += setting.grid_current_a if is_charge else -setting.grid_current_a
    for unit_id in holders:
        hardware = site.units[unit_id].hardware if unit_id in site.units else None
        if hardware and abs(balance_a) > hardware.grid_current_capacity_a:
            found.append(
                f"{unit_id} would have to carry {abs(balance_a):g} A; "
                f"it can carry {hardware.grid_current_capacity_a:g} A."
            )
    return found


class ManualControl:
    """One round of steering by hand. Feed it once per tick; it answers with what to order."""

    def __init__(self) -> None:
        self.stage = Stage.IDLE
        self.reason = ""  # why it ended last, for people
        self.who = ""
        self._settings: dict[str, Setting] = {}
        self._held_s = 0.0
        self._renewed_s = 0.0
        self._since_s = 0.0
        self._since_ros_s = 0.0
        self._on: list[str] = []

    @property
    def active_ids(self) -> tuple[str, ...]:
        """Converters that were switched on, in that order."""
        return tuple(self._on)

    def start(
        self, settings: Mapping[str, Setting], view: GridView, who: str, now_s: float
    ) -> list[ConverterWish]:
        """Somebody pressed the button; :func:`why_not` has been asked."""
        self._settings = {u: s for u, s in settings.items() if s.mode is not ConverterMode.WAIT}
        self.who, self.reason = who, ""
        self._held_s = self._renewed_s = now_s
        self._enter(Stage.RAISING, view, now_s)
        return self._switch_on(ConverterMode.VOLTAGE_REFERENCE)

    def renew(self, now_s: float) -> None:
        """The browser says that the button is still held."""
        self._held_s = now_s

    def stop(self, view: GridView, now_s: float, reason: str = "let go") -> list[ConverterWish]:
        """The button was let go, or something else wants an end."""
        if self.stage not in (Stage.RAISING, Stage.RUNNING):
            return []
        self.reason = reason
        self._enter(Stage.STOPPING, view, now_s)
        return [
            ConverterWish(unit_id=unit_id, mode=ConverterMode.WAIT)
            for unit_id in self._on
            if self._settings[unit_id].mode is not ConverterMode.VOLTAGE_REFERENCE
        ]

    def refused(
        self, unit_id: str, words: str, view: GridView, now_s: float
    ) -> list[ConverterWish]:
        """A converter did not obey."""
        return self.stop(view, now_s, f"{unit_id}: {words}")

    def tick(self, view: GridView, now_s: float) -> list[ConverterWish]:
        """What is to be ordered now."""
        if self.stage is Stage.IDLE:
            return []
        if self.stage is Stage.STOPPING:
            return self._stop_reference(view, now_s)
        if now_s - self._held_s > BUTTON_S:
            return self.stop(view, now_s, "the browser fell silent")
        modes = {u.unit_id: u.status.effective_mode for u in view.units if u.status}
        if any(modes.get(unit_id) is not Mode.MANUAL for unit_id in self._settings):
            return self.stop(view, now_s, "the mode is no longer Manual")
        if self.stage is Stage.RAISING:
            if self._is_up(view):
                self._enter(Stage.RUNNING, view, now_s)
                return [
                    *self._switch_on(ConverterMode.DISCHARGE),
                    *self._switch_on(ConverterMode.CHARGE),
                ]
            waited_s = (view.ros_time_s or 0.0) - self._since_ros_s
            if waited_s > RAMP_UP_S and now_s - self._since_s > 3.0:
                return self.stop(view, now_s, "the bus voltage does not come up")
        if now_s - self._renewed_s >= RENEW_S:
            self._renewed_s = now_s
            return [
                ConverterWish(unit_id=unit_id, mode=None, hold_s=HOLD_S) for unit_id in self._on
            ]
        return []

    def _is_up(self, view: GridView) -> bool:
        holder = next(
            u for u, s in self._settings.items() if s.mode is ConverterMode.VOLTAGE_REFERENCE
        )
        unit = next(unit for unit in view.units if unit.unit_id == holder)
        seen_v = unit.converter.grid_voltage_v if unit.converter else None
        wanted_v = self._settings[holder].grid_voltage_v
        return seen_v is not None and wanted_v is not None and abs(seen_v - wanted_v) < NEAR_V

    def _switch_on(self, mode: ConverterMode) -> list[ConverterWish]:
        chosen = [(u, s) for u, s in self._settings.items() if s.mode is mode]
        self._on += [unit_id for unit_id, _ in chosen]
        return [
            ConverterWish(
                unit_id=unit_id,
                mode=setting.mode,
                grid_voltage_v=setting.grid_voltage_v,
                grid_current_a=setting.grid_current_a,
                hold_s=HOLD_S,
            )
            for unit_id, setting in chosen
        ]

    def _stop_reference(self, view: GridView, now_s: float) -> list[ConverterWish]:
        """When the currents are off, or late, the reference goes too."""
        readings = {unit.unit_id: unit.converter for unit in view.units}
        others = [
            unit_id
            for unit_id in self._on
            if self._settings[unit_id].mode is not ConverterMode.VOLTAGE_REFERENCE
            and (reading := readings.get(unit_id)) is not None
            and reading.mode is not ConverterMode.WAIT
        ]
        if others and now_s - self._since_s < CURRENTS_OFF_S:
            holders = [
                u for u in self._on if self._settings[u].mode is ConverterMode.VOLTAGE_REFERENCE
            ]
            if now_s - self._renewed_s >= RENEW_S:
                self._renewed_s = now_s
                return [ConverterWish(unit_id=u, mode=None, hold_s=HOLD_S) for u in holders]
            return []
        wishes = [ConverterWish(unit_id=u, mode=ConverterMode.WAIT) for u in self._on]
        self._on.clear()
        self.stage = Stage.IDLE
        return wishes

    def _enter(self, stage: Stage, view: GridView, now_s: float) -> None:
        self.stage = stage
        self._since_s = now_s
        self._since_ros_s = view.ros_time_s or 0.0
