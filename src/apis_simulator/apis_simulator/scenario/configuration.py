"""The configuration of a story: units, their files, and what the scenario file changes of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, Le
from pydantic import Field, TypeAdapter

from apis_core.config.hardware import Hardware, parse_hardware
from apis_core.config.jsonc import parse_object
from apis_core.config.policy import Policy, parse_policy
from apis_core.config.scenario import Scenario, parse_scenario
from apis_core.config.validation import Whole
from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import UnitId
from apis_emulator.wires import wires
from apis_simulator.scenario.events import Event
from apis_simulator.scenario.values import Length, NotNegative, Part, Problems, Ratio, UnitName
from apis_simulator.scenario_setup import unit_ids
from apis_site.files import read_text
from apis_site.grid import GridDescription, parse_grid
from apis_site.yaml_text import load_yaml

__all__ = ["ConfigurationReader", "FileSet", "Network", "with_settings"]

MOST_UNITS = 100
DELAY_MS = (0.5, 20.0)
CHAIN_OHM = 0.05  # between neighbours, of a bus that breaks in a story: 25 m of 10 mm2, both ways
# Every band is at rest: only deals by hand happen.
_NOBODY_ASKS = {
    "acceptSelection": {"strategy": "amount"},
    "00:00:00-24:00:00": {
        "batteryStatus": {"0-": "sufficient"},
        "request": {"sufficient": {}},
        "accept": {"sufficient": {}},
    },
}


class Network(Part):
    """How late messages come, and how many are lost."""

    delay_ms: tuple[NotNegative, NotNegative] = DELAY_MS
    loss: Ratio = 0.0


_Settings = dict[str, Any]
_ADAPTERS: Mapping[str, TypeAdapter[Any]] = {
    "schema": TypeAdapter(Literal["apis-scenario/1"]),
    "title": TypeAdapter(Annotated[str, Field(min_length=1, max_length=200)]),
    "units": TypeAdapter(Annotated[Whole, Gt(1), Le(MOST_UNITS)]),
    "grid": TypeAdapter(Annotated[str, Field(min_length=1, description="name of a grid file")]),
    "policy": TypeAdapter(_Settings),
    "hardware": TypeAdapter(dict[str, _Settings]),
    "soc": TypeAdapter(dict[UnitName, Ratio]),
    "converters": TypeAdapter(Literal["plain", "polite"]),
    "availability": TypeAdapter(bool),
    "network": TypeAdapter(Network),
    "run_s": TypeAdapter(Length),
    "seed": TypeAdapter(Annotated[Whole, Field(ge=0)]),
}


@dataclass(frozen=True)
class FileSet:
    """The configuration files of a story as data, before anything has changed.

    Attributes:
        policy: Of all units.
        hardware: By unit.
    """

    policy: dict[str, Any]
    hardware: dict[UnitId, dict[str, Any]]


class ConfigurationReader:
    """Reads what the units of a story are configured with.

    Args:
        source: The scenario file, as the user named it.
        folder: Its folder; names in it are relative to that.
        samples: Folder of the sample configuration.
        data: Its content.
    """

    def __init__(self, source: str, folder: Path, samples: Path, data: dict[str, Any]) -> None:
        self._source, self._folder, self._samples = source, folder, samples
        self._data = data
        self._problems = Problems(source)
        self._grid: GridDescription | None = None
        self._grid_folder = folder

    def _value(self, name: str, default: Any) -> Any:
        given = self._data.get(name)
        if given is None:
            return default
        value = self._problems.read(_ADAPTERS[name], name, given)
        return default if value is None else value

    def _units(self) -> tuple[UnitId, ...]:
        has_count, has_grid = (self._data.get(name) is not None for name in ("units", "grid"))
        if has_count is has_grid:
            found = "units, grid" if has_count else None
            right = "must have exactly one of units (a number) and grid (a grid file)"
            self._problems.add("units", found, right)
        if has_grid and not has_count:
            return self._units_of_grid()
        return tuple(unit_ids(self._value("units", 0)))

    def _units_of_grid(self) -> tuple[UnitId, ...]:
        name = self._value("grid", None)
        if name is None:
            return ()
        path = self._folder / name
        try:
            grid = parse_grid(load_yaml(read_text(path, name, what="grid"), name), name)
        except ConfigError as error:
            self._problems.found += error.problems
            return ()
        self._grid, self._grid_folder = grid, path.parent
        return tuple(unit.id for unit in grid.units)

    def _policy(self, units: tuple[UnitId, ...]) -> tuple[dict[str, Any], Policy | None]:
        data = self._object(
            self._grid_folder / self._grid.policy if self._grid else self._samples / "policy.json"
        )
        wishes = dict(self._value("policy", {}))
        if "memberUnitIds" in wishes:
            self._problems.add("policy.memberUnitIds", wishes["memberUnitIds"], "follows units")
        availability = self._value("availability", None)
        if availability is not None:
            wishes["availability"] = availability
        data["memberUnitIds"] = list(units)
        large = data.get("largeCapacityUnitIds")
        if isinstance(large, list):
            data["largeCapacityUnitIds"] = [unit for unit in large if unit in units]
        changed = with_settings(data, wishes)
        if not units:
            return changed, None
        return changed, self._parsed(parse_policy, changed, "policy")

    def _hardware(
        self, units: tuple[UnitId, ...]
    ) -> tuple[dict[UnitId, dict[str, Any]], dict[UnitId, Hardware]]:
        wishes: dict[str, Any] = self._value("hardware", {})
        for name in wishes:
            if name != "all" and units and name not in units:
                self._problems.unknown("hardware", name, wishes[name], ("all", *units))
        files = (
            {unit.id: self._grid_folder / unit.hardware for unit in self._grid.units}
            if (self._grid)
            else dict.fromkeys(units, self._samples / "hardware.json")
        )
        read = {file: self._object(file) for file in dict.fromkeys(files.values())}
        data, hardware = {}, {}
        for unit_id in units:
            changed = with_settings(read[files[unit_id]], wishes.get("all", {}))
            data[unit_id] = changed = with_settings(changed, wishes.get(unit_id, {}))
            where = f"hardware.{unit_id if unit_id in wishes else 'all'}"
            parsed = self._parsed(parse_hardware, changed, where)
            if parsed is not None:
                hardware[unit_id] = parsed
        return data, hardware

    def _scenarios(self, units: tuple[UnitId, ...]) -> dict[UnitId, Scenario]:
        given = self._data.get("scenario")
        nobody = parse_scenario(json.dumps(_NOBODY_ASKS), "scenario")
        if isinstance(given, str):
            given = dict.fromkeys(units, given)
        if given is not None and not isinstance(given, Mapping):
            self._problems.add("scenario", given, "must be a file, or unit ids with a file each")
            given = None
        given = given or {}
        read: dict[str, Scenario | None] = {}
        for name, file in given.items():
            if name not in ("all", *units):
                self._problems.unknown("scenario", str(name), file, ("all", *units))
            elif not isinstance(file, str):
                self._problems.add(f"scenario.{name}", file, "must be the name of a file")
            elif file not in read:
                read[file] = self._scenario(file)
        chosen = {unit: given.get(unit, given.get("all")) for unit in units}
        return {unit: read.get(str(file)) or nobody for unit, file in chosen.items()}

    def _scenario(self, file: str) -> Scenario | None:
        try:
            return parse_scenario(read_text(self._folder / file, file, what="scenario"), file)
        except ConfigError as error:
            self._problems.found += error.problems
            return None

    def _object(self, file: Path) -> dict[str, Any]:
        try:
            data, wrong = parse_object(read_text(file), str(file))
        except ConfigError as error:
            self._problems.found += error.problems
            return {}
        self._problems.found += wrong
        return dict(data)

    def _parsed(self, parse: Any, data: Mapping[str, Any], where: str) -> Any:
        try:
            return parse(json.dumps(data), self._source)
        except ConfigError as error:
            self._problems.found += [
                Problem(each.source, f"{where}.{each.key}".rstrip("."), each.value, each.right)
                for each in error.problems
            ]
            return None

    def _check_files(self, files: FileSet, events: tuple[Event, ...]) -> None:
        """A key that no file has is a slip of this file's; a wrong value is part of the story."""
        for event in events:
            if event.kind == "policy_file":
                parse: Any = parse_policy
                before = files.policy
            elif event.kind == "hardware_file":
                parse = parse_hardware
                before = next(iter(files.hardware.values()), {})
            else:
                continue
            try:
                parse(json.dumps(with_settings(before, event.value.set)), self._source)
            except ConfigError as error:
                where = f"events[{event.index}].{event.kind}.set"
                self._problems.found += [
                    Problem(each.source, f"{where}.{each.key}", each.value, each.right)
                    for each in error.problems
                    if each.right.startswith("unknown key")
                ]

    def _lines(self, events: tuple[Event, ...]) -> tuple[tuple[UnitId, UnitId, float], ...]:
        units = self._problems.units
        breaks = [event for event in events if event.kind == "line_break"]
        lines: tuple[tuple[UnitId, UnitId, float], ...] = ()
        if self._grid is not None and self._grid.emulator.lines is not None:
            try:
                lines = tuple(wires(self._grid.units, self._grid.emulator.lines))
            except ConfigError as error:
                self._problems.found += error.problems
        elif breaks:
            lines = tuple((a, b, CHAIN_OHM) for a, b in pairwise(units))
        known = ", ".join(f"[{a}, {b}]" for a, b, _ in lines)
        for event in breaks:
            if not any({a, b} == set(event.value) for a, b, _ in lines):
                right = f"there is no line between them; there are {known}"
                key = f"events[{event.index}].line_break"
                self._problems.add(key, list(event.value), right)
        return lines


def with_settings(data: Mapping[str, Any], wishes: Mapping[str, Any]) -> dict[str, Any]:
    """A file's content with dotted keys set; what stands beside them stays."""
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    for path, value in wishes.items():
        part = changed
        *above, leaf = str(path).split(".")
        for name in above:
            inner = part.get(name)
            part[name] = inner = inner if isinstance(inner, dict) else {}
            part = inner
        before = part.get(leaf)
        if isinstance(value, Mapping) and isinstance(before, dict):
            part[leaf] = with_settings(before, value)
        else:
            part[leaf] = copy.deepcopy(value)
    return changed
