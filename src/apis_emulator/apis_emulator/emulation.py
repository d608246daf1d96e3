"""The emulated world: hardware that comes and goes, breaks, and is saved, and its energies.

No ROS, no clock. :mod:`apis_emulator.emulator_node` makes it a node.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from apis_core.config.error_messages import problems_from_pydantic
from apis_core.config.jsonc import parse_object
from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import StopCause, UnitId
from apis_emulator.accounts import EnergyAccounts
from apis_emulator.driver import Driver
from apis_emulator.faults import (
    SAME_INSTANT_S,
    BrokenHardware,
    FaultBoard,
    Injection,
    check_plan,
    why_not,
)
from apis_emulator.houses import build_plant, installation, local_start
from apis_emulator.physics.plant import Plant
from apis_emulator.state_file import StateRecord, read_state, write_state
from apis_emulator.wires import Wire, wires
from apis_site.grid import Cable, GridDescription, InjectedFault, Lines, UnitEntry

__all__ = ["ConvertersOn", "Emulation"]


class ConvertersOn(Exception):
    """Not while these converters are on."""

    def __init__(self, unit_ids: list[UnitId]) -> None:
        super().__init__(f"{', '.join(unit_ids)}: the converter must be in WAIT first")


class Emulation:
    """All hardware of a grid, its drivers, its faults and its energy accounts.

    Attributes:
        plant: The hardware.
        driver: What stands between the converters and those who order them.
        faults: What breaks, when.
        accounts: Energy by unit and day.
    """

    def __init__(self, grid: GridDescription, plant: Plant | None = None) -> None:
        self._grid = grid
        self.plant = build_plant(grid) if plant is None else plant
        self.driver = Driver(self.plant)
        self.faults = FaultBoard(grid.emulator.faults)
        self.accounts = EnergyAccounts(self.plant, local_start(grid))
        self._entries = {unit.id: unit for unit in grid.units}
        lines = grid.emulator.lines
        self._wires = [] if lines is None else list(wires(grid.units, lines))
        check_plan(grid.emulator.faults, self.plant.units, self._wires)
        self._is_open: list[bool] = []
        self._with_devices = {
            u.id for u in grid.units if u.device.kind != "native" or u.driver is not None
        }
        self._clock_ahead_s = 0.0
        self._at_start = StateRecord.of(self.plant)
        self._string_lines()

    @property
    def clock_s(self) -> float:
        """Simulated time since the start; it never goes back, though a state that is loaded may
        belong to an earlier time of day. [s]
        """
        return self.plant.time_s + self._clock_ahead_s

    @property
    def active_faults(self) -> list[Injection]:
        """What is broken now."""
        return list(self.faults.active(self.clock_s))

    def step(self, dt_s: float) -> None:
        """Let a time pass, [s, > 0], with faults at their instants and days at their ends."""
        end_s = self.plant.time_s + dt_s
        while (edge_s := self._next_edge_s()) <= end_s:
            if edge_s - self.plant.time_s > SAME_INSTANT_S:
                self.plant.step(edge_s - self.plant.time_s)
            self.plant.native.time_s = edge_s  # it may miss by a rounding
            if edge_s >= self.accounts.day_ends_s:
                self.accounts.close_day()
            self._apply_faults()
        if end_s > self.plant.time_s:
            self.plant.step(end_s - self.plant.time_s)

    def _next_edge_s(self) -> float:
        """When something changes next, in the plant's time. [s]"""
        fault_s = self.faults.next_change_s(self.clock_s) - self._clock_ahead_s
        return min(fault_s, self.accounts.day_ends_s)

    # --- faults ----------------------------------------------------------------------------------

    def inject(self, fault: InjectedFault) -> Injection:
        """Break something, now or at its time.

        Raises:
            ConfigError: There is no such unit or line.
        """
        problem = why_not(fault, self.plant.units, self._wires)
        if fault.unit in self._with_devices and fault.kind != "line_break":
            problem = f"{fault.unit} has devices of its own; parameters of the emulator break them"
        if problem:
            raise ConfigError([Problem("fault", "", "", problem)])
        injection = self.faults.add(fault, self.clock_s + fault.at_s)
        self._apply_faults()
        return injection

    def repair(self, fault_id: str) -> None:
        """Undo a fault; empty = all that are active.

        Raises:
            ConfigError: There is no such fault.
        """
        if not fault_id:
            self.faults.repair_all(self.clock_s)
        elif not self.faults.repair(fault_id):
            known = " ".join(injection.id for injection in self.active_faults) or "none"
            raise ConfigError([Problem("fault_id", "", fault_id, f"active are: {known}")])
        self._apply_faults()

    def _apply_faults(self) -> None:
        broken = BrokenHardware(injection.fault for injection in self.active_faults)
        self.driver.broken = broken
        for index, (a, b, _) in enumerate(self._wires):
            is_open = frozenset((a, b)) in broken.open_lines
            if is_open != self._is_open[index]:
                self.plant.native.set_line_open(index, is_open)
                self._is_open[index] = is_open
        for unit_id in broken.unpermitted:
            detail = "the battery permits no exchange"
            self.plant.stop(unit_id, StopCause.TRIP, detail)

    # --- units -----------------------------------------------------------------------------------

    def add_unit(self, text: str) -> UnitEntry:
        """Put up the hardware of one more unit.

        Args:
            text: Its entry of the grid description, as JSON, with absolute file names. On a bus
                with lines it may have a ``line`` to another unit, such as ``{"to": "E001",
                "length_m": 30}``; without one it hangs on the nearest unit.

        Raises:
            ConfigError: The entry is wrong; lists every problem.
        """
        entry, new = self._entry_of(text)
        if entry.device.kind != "native" or entry.driver is not None:
            right = "must be native, and without a driver, for a unit that is added"
            raise ConfigError([Problem("unit", "device.kind", entry.device.kind, right)])
        made = installation(self._grid, entry, len(self.plant.units))
        self.plant.add(entry.id, made)
        self.driver.add_unit(entry.id)
        self.accounts.add_unit(entry.id)
        self._entries[entry.id] = entry
        self._wires += new
        self._string_lines()
        return entry

    def remove_unit(self, unit_id: UnitId) -> None:
        """Take the hardware of a unit away; lines that ended there go on, end to end.

        Raises:
            ConfigError: There is no such unit, or it is the only one.
            ConvertersOn: Its converter is.
        """
        if unit_id not in self.plant.units:
            right = f"must be one of {' '.join(self.plant.units)}"
            raise ConfigError([Problem("unit_id", "", unit_id or "missing", right)])
        if len(self.plant.units) == 1:
            raise ConfigError([Problem("unit_id", "", unit_id, "is the only unit; it stays")])
        if unit_id in self._with_devices:
            right = "has devices of its own; it stays"
            raise ConfigError([Problem("unit_id", "", unit_id, right)])
        if self.plant.units[unit_id].converter.is_active:
            raise ConvertersOn([unit_id])
        self.accounts.remove_unit(unit_id)
        self.faults.forget_unit(unit_id)
        self.driver.remove_unit(unit_id)
        self.plant.remove(unit_id)
        del self._entries[unit_id]
        self._wires = _without(unit_id, self._wires)
        self._string_lines()

    def _entry_of(self, text: str) -> tuple[UnitEntry, list[Wire]]:
        """The unit that a text describes, and its line."""
        content, problems = parse_object(text, "unit")
        if problems:
            raise ConfigError(problems)
        line = content.pop("line", None)
        try:
            entry = UnitEntry.model_validate(content)
        except ValidationError as error:
            raise ConfigError(
                problems_from_pydantic(error, "unit", UnitEntry.model_json_schema())
            ) from None
        if entry.id in self.plant.units:
            raise ConfigError([Problem("unit", "id", entry.id, "is there already")])
        lines = self._grid.emulator.lines
        if lines is not None:
            return entry, self._wire_of(entry, line, lines)
        if line is not None:
            right = "the bus of this grid has no lines"
            raise ConfigError([Problem("unit", "line", str(line), right)])
        return entry, []

    def _wire_of(self, entry: UnitEntry, line: Any, lines: Lines) -> list[Wire]:
        """From a new unit to the one that its line names, or to the nearest."""
        known = self._entries
        nearest = min(known, key=lambda i: math.dist(known[i].position_m, entry.position_m))
        given = {} if line is None else line
        to = given.get("to", nearest) if isinstance(given, dict) else ""
        if to not in known:
            right = f'must have "to", one of {" ".join(known)}'
            raise ConfigError([Problem("unit", "line", str(line), right)])
        size = {key: value for key, value in given.items() if key != "to"}
        try:
            cable = Cable.model_validate({"units": (to, entry.id), **size})
        except ValidationError as error:
            schema = Cable.model_json_schema()
            raise ConfigError(
                problems_from_pydantic(error, "unit", schema, prefix=("line",))
            ) from None
        return wires([known[to], entry], lines.model_copy(update={"cables": (cable,)}))

    def _string_lines(self) -> None:
        """Put the lines up anew, after units came or went."""
        if self._wires:
            self.plant.set_lines(self._wires)
        self._is_open = [False] * len(self._wires)
        self._apply_faults()

    # --- the whole state -------------------------------------------------------------------------

    def save(self, file: Path) -> None:
        """Write the state to a file.

        Raises:
            OSError: It cannot be written.
        """
        write_state(file, StateRecord.of(self.plant))

    def load(self, file: Path) -> None:
        """Take the state in a file over; the energy accounts begin anew.

        Raises:
            ConfigError: The file is wrong, or of other units.
            ConvertersOn: Some are.
        """
        state = read_state(file)
        if problems := state.problems(self.plant, str(file)):
            raise ConfigError(problems)
        self._take_over(state)

    def reset(self) -> None:
        """Go back to the state at the start, units that came or went since apart.

        Raises:
            ConvertersOn: Some are.
        """
        now, start = StateRecord.of(self.plant), self._at_start
        known = {i: start.units.get(i, record) for i, record in now.units.items()}
        self._take_over(start.model_copy(update={"units": known}))

    def _take_over(self, state: StateRecord) -> None:
        if active := list(self.driver.active_ids()):
            raise ConvertersOn(active)
        clock_s = self.clock_s
        state.put_into(self.plant)
        self._clock_ahead_s = clock_s - self.plant.time_s
        self.accounts.begin()
        self._apply_faults()


def _without(unit_id: UnitId, wires: list[Wire]) -> list[Wire]:
    """The wires when a unit is gone: what passed it by goes on, end to end."""
    ends = [(b if a == unit_id else a, ohm) for a, b, ohm in wires if unit_id in (a, b)]
    left = [wire for wire in wires if unit_id not in wire[:2]]
    if ends:
        (hub, hub_ohm), *others = ends
        left += [(hub, other, hub_ohm + ohm) for other, ohm in others]
    return left
