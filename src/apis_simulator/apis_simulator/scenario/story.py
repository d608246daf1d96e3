"""One scenario file, read and checked: everything that is wrong is told at once.

Files that it names are relative to its own folder. What it leaves open is the project's sample:
`policy.json` and `hardware.json` of the folder `config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.config.scenario import Scenario
from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import UnitId
from apis_simulator.scenario.configuration import ConfigurationReader, FileSet, Network
from apis_simulator.scenario.events import Event, read_event
from apis_simulator.scenario.expectations import Expectation, read_expectation
from apis_simulator.scenario.values import (
    NotNegative,
    Part,
    Seconds,
    UnitName,
)
from apis_site.files import read_text
from apis_site.yaml_text import load_yaml

__all__ = ["SCHEMA", "Deal", "Story", "read_story"]

SCHEMA = "apis-scenario/1"
SOC_RATIO = 0.6

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


_DEAL: TypeAdapter[Deal] = TypeAdapter(Deal)


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


class _Reader(ConfigurationReader):
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

    def _list(self, name: str) -> list[Any]:
        given = self._data.get(name)
        if given is None:
            return []
        if not isinstance(given, list):
            self._problems.add(name, given, "must be a list")
            return []
        return given

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
