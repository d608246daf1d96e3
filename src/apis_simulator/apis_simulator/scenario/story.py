"""One scenario file, read and checked: everything that is wrong is told at once.

Files that it names are relative to its own folder. What it leaves open is the project's sample:
`policy.json` and `hardware.json` of the folder `config`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, Le
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from apis_core.config.hardware import Hardware, parse_hardware
from apis_core.config.jsonc import parse_object
from apis_core.config.policy import Policy, parse_policy
from apis_core.config.scenario import Scenario, parse_scenario
from apis_core.config.validation import Whole
from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import UnitId
from apis_emulator.wires import wires
from apis_simulator.scenario.events import Event, read_event
from apis_simulator.scenario.expectations import Expectation, read_expectation
from apis_simulator.scenario.values import (
    Length,
    NotNegative,
    Part,
    Problems,
    Ratio,
    Seconds,
    UnitName,
)
from apis_simulator.scenario_setup import unit_ids
from apis_site.files import read_text
from apis_site.grid import GridDescription, parse_grid
from apis_site.yaml_text import load_yaml

__all__ = ["SCHEMA", "Deal", "FileSet", "Story", "read_story", "with_settings"]

SCHEMA = "apis-scenario/1"
MOST_UNITS = 100
SOC_RATIO = 0.6
DELAY_MS = (0.5, 20.0)
CHAIN_OHM = 0.05  # between neighbours, of a bus that breaks in a story: 25 m of 10 mm2, both ways

_KEYS: Mapping[str, str] = {
    "schema": f'required: "{SCHEMA}"',
    "title": "required: one line of text",
    "units": "",
    "grid": "",
    "policy": "",
    "hardware": "",
    "scenario": "",
    "soc": "",
    "converters": "",
    "availability": "",
    "network": "",
    "run_s": "required: how long the story is, in seconds",
    "seed": "",
    "deals": "",
    "events": "",
    "expect": "required: a list of at least one expectation",
}
# Every band is at rest: only deals by hand happen.
_NOBODY_ASKS = {
    "acceptSelection": {"strategy": "amount"},
    "00:00:00-24:00:00": {
        "batteryStatus": {"0-": "sufficient"},
        "request": {"sufficient": {}},
        "accept": {"sufficient": {}},
    },
}


def _not_below_0(value: float) -> float:
    if value <= 0.0:
        raise ValueError("must be a number greater than 0")
    return value


def _any_amount(value: object) -> object:
    """Also what the units must refuse: inf, nan, and 1e12, which YAML 1.1 reads as a text."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


Amount = Annotated[
    float,
    BeforeValidator(_any_amount),
    AfterValidator(_not_below_0),
    Field(strict=True, description="a number greater than 0"),
]


class Deal(Part):
    """A deal by hand, made at the giver."""

    at_s: Seconds
    giver: Annotated[UnitName, Field(validation_alias="from")]
    taker: Annotated[UnitName, Field(validation_alias="to")]
    energy_wh: Amount
    current_a: Amount | None = None
    price_point_per_wh: NotNegative | None = None


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
_DEAL: TypeAdapter[Deal] = TypeAdapter(Deal)


@dataclass(frozen=True)
class FileSet:
    """The configuration files of a story as data, before anything has changed.

    Attributes:
        policy: Of all units.
        hardware: By unit.
    """

    policy: dict[str, Any]
    hardware: dict[UnitId, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Story:
    """One scenario file.

    Attributes:
        source: Its name, as the user gave it.
        title: One line.
        seed: Of delays and voltmeters.
        run_s: Its length. [s]
        units: Ids.
        files: Configuration as data, for files that change.
        policy: Of all units.
        hardware: By unit.
        scenarios: By unit.
        soc: State of charge at the start, by unit; 0..1.
        is_plain: The converters know nothing of the bus and of each other.
        delay_ms: Of messages, at least and at most. [ms]
        loss: Share of messages that is lost, 0..1.
        lines: Between which units, and how much resistance [ohm]; empty = an ideal bus.
        deals: By hand, in the order of their numbers.
        events: In the order of the file.
        expect: The same.
    """

    source: str
    title: str
    seed: int
    run_s: float
    units: tuple[UnitId, ...]
    files: FileSet
    policy: Policy
    hardware: Mapping[UnitId, Hardware]
    scenarios: Mapping[UnitId, Scenario]
    soc: Mapping[UnitId, float]
    is_plain: bool
    delay_ms: tuple[float, float]
    loss: float
    lines: tuple[tuple[UnitId, UnitId, float], ...]
    deals: tuple[Deal, ...]
    events: tuple[Event, ...]
    expect: tuple[Expectation, ...]

    @property
    def length_s(self) -> float:
        """Until when the story runs: also what an expectation looks at. [s]"""
        return max([self.run_s, *(each.last_s for each in self.expect)])


def read_story(path: Path, samples: Path) -> Story:
    """Read a scenario file and all that it names.

    Args:
        path: The file (YAML).
        samples: Folder of the sample configuration.

    Raises:
        ConfigError: Lists everything that is wrong, in all of them.
    """
    source = str(path)
    data = load_yaml(read_text(path, source, what="the scenario file"), source)
    if not isinstance(data, Mapping):
        right = f'must have keys at its top, such as schema: "{SCHEMA}"'
        raise ConfigError([Problem(source, "", "", right)])
    return _Reader(source, path.resolve().parent, samples, dict(data)).story()


class _Reader:
    def __init__(self, source: str, folder: Path, samples: Path, data: dict[str, Any]) -> None:
        self._source, self._folder, self._samples = source, folder, samples
        self._data = data
        self._problems = Problems(source)
        self._grid: GridDescription | None = None
        self._grid_folder = folder

    def story(self) -> Story:
        problems, data = self._problems, self._data
        for name, value in data.items():
            if name not in _KEYS:
                problems.unknown("", str(name), value, _KEYS)
        for name, right in _KEYS.items():
            if right and data.get(name) is None:
                problems.add(name, None, right)
        self._value("schema", None)
        units = problems.units = self._units()
        plain = self._value("converters", "plain") == "plain"
        network = self._value("network", None) or Network()
        if network.delay_ms[0] > network.delay_ms[1]:
            problems.add("network.delay_ms", list(network.delay_ms), "must be [least, most]")
        run_s = self._value("run_s", None) or 0.0
        deals = self._deals(run_s)
        events = self._events(run_s)
        expect = self._expectations(len(self._list("deals")))
        policy_data, policy = self._policy(units)
        hardware_data, hardware = self._hardware(units)
        scenarios = self._scenarios(units)
        soc = dict.fromkeys(units, SOC_RATIO) | (self._value("soc", None) or {})
        lines = self._lines(events)
        title, seed = self._value("title", ""), self._value("seed", 1)
        files = FileSet(policy_data, hardware_data)
        self._check_files(files, events)
        if problems.found or policy is None:
            raise ConfigError(dict.fromkeys(problems.found))
        return Story(
            source=self._source,
            title=title,
            seed=seed,
            run_s=run_s,
            units=units,
            files=files,
            policy=policy,
            hardware=hardware,
            scenarios=scenarios,
            soc=soc,
            is_plain=plain,
            delay_ms=network.delay_ms,
            loss=network.loss,
            lines=lines,
            deals=deals,
            events=events,
            expect=expect,
        )

    def _value(self, name: str, default: Any) -> Any:
        given = self._data.get(name)
        if given is None:
            return default
        value = self._problems.read(_ADAPTERS[name], name, given)
        return default if value is None else value

    def _list(self, name: str) -> list[Any]:
        given = self._data.get(name)
        if given is None:
            return []
        if not isinstance(given, list):
            self._problems.add(name, given, "must be a list")
            return []
        return given

    # --- units and their files -------------------------------------------------------------------

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

    # --- the story -------------------------------------------------------------------------------

    def _deals(self, run_s: float) -> tuple[Deal, ...]:
        problems, deals = self._problems, []
        for index, entry in enumerate(self._list("deals")):
            key = f"deals[{index}]"
            before = len(problems.found)
            deal = problems.read(_DEAL, key, entry)
            if deal is None:
                continue
            if deal.giver == deal.taker:
                problems.add(f"{key}.to", deal.taker, "must be another unit than from")
            self._must_happen(f"{key}.at_s", deal.at_s, run_s)
            if len(problems.found) == before:
                deals.append(deal)
        return tuple(deals)

    def _events(self, run_s: float) -> tuple[Event, ...]:
        events = []
        for index, entry in enumerate(self._list("events")):
            event = read_event(self._problems, index, entry)
            if event is not None:
                self._must_happen(f"events[{index}].at_s", event.at_s, run_s)
                events.append(event)
        return tuple(events)

    def _must_happen(self, key: str, at_s: float, run_s: float) -> None:
        if run_s and at_s > run_s:
            self._problems.add(key, at_s, f"must not be after the end, run_s: {run_s:g}")

    def _expectations(self, deals: int) -> tuple[Expectation, ...]:
        entries = self._list("expect")
        if self._data.get("expect") is not None and not entries:
            self._problems.add("expect", self._data["expect"], "must expect something")
        read = [
            read_expectation(self._problems, index, entry, deals)
            for index, entry in enumerate(entries)
        ]
        return tuple(each for each in read if each is not None)

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
