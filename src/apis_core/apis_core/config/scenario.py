"""One unit's scenario: when it asks for energy, when it gives some, and at what price.

Read from the original's scenario file. A day is cut into sections, a section cuts the battery into
bands, and a band has rules. This module says which section and band hold, and
:mod:`apis_core.trading.negotiation` what follows from the rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen
from pydantic import ConfigDict, Field

from apis_core.config.error_messages import NUMBER_LIMIT, shorten, suggestion
from apis_core.config.jsonc import parse_object
from apis_core.config.validation import Key, Number, UnitIdText, read_fields
from apis_core.config.value_rule import VALUE_RULES, ValueRule
from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import SelectionStrategy
from apis_core.model.units import DAY_S

__all__ = [
    "Band",
    "Rule",
    "Rules",
    "Scenario",
    "Section",
    "band_of",
    "parse_scenario",
    "section_at",
]


_SECTION_KEY = re.compile(r"(\d\d):(\d\d):(\d\d)-(\d\d):(\d\d):(\d\d)")
_BAND_KEY = re.compile(r"(\d+(?:\.\d+)?)?\s*-\s*(\d+(?:\.\d+)?)?")
_LIKE_A_SECTION = re.compile(r"\s*\d")  # other keys begin with a letter


@dataclass(frozen=True, slots=True)
class Rule:
    """What a unit asks for, or gives, in one direction.

    Attributes:
        limit_wh: Remaining energy to which it charges up or discharges down, >= 0. [Wh]
        price_point_per_wh: None = any price.
        pair_unit_id: The only unit that it deals with; None = any.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    limit_wh: Annotated[Number, Ge(0), Field(validation_alias="limitWh")]
    price_point_per_wh: Annotated[Number | None, Field(validation_alias="pointPerWh")] = None
    pair_unit_id: Annotated[UnitIdText | None, Field(validation_alias="pairUnitId")] = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one band; None = nothing in that direction."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    charge: Rule | None = None
    discharge: Rule | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """A named range of energy, ``lower_wh <= remaining < upper_wh``; None = no bound. [Wh]"""

    name: str
    lower_wh: float | None
    upper_wh: float | None

    def __contains__(self, remaining_wh: float) -> bool:
        """Whether `remaining_wh` lies in this band."""
        return (self.lower_wh is None or self.lower_wh <= remaining_wh) and (
            self.upper_wh is None or remaining_wh < self.upper_wh
        )


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the day, ``from_s <= time < to_s`` in seconds after midnight.

    Attributes:
        bands: From the lowest to the highest; they do not overlap.
        request: What the unit asks for, by band name.
        accept: What it gives or takes when asked, by band name.
        selection: How it chooses among the answers.
    """

    from_s: int
    to_s: int
    bands: tuple[Band, ...]
    request: Mapping[str, Rules]
    accept: Mapping[str, Rules]
    selection: SelectionStrategy


@dataclass(frozen=True, slots=True)
class Scenario:
    """When a unit asks and gives, and what the file's author may want to look at.

    Attributes:
        sections: In the order of the file; none = they follow from `value`.
        value: What the unit knows of its house, if it goes by what energy is worth to it.
    """

    sections: tuple[Section, ...]
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
    value: ValueRule | None = None


def section_at(scenario: Scenario, seconds_of_day: float) -> Section | None:
    """The first section that holds; None = no dealing now.

    Args:
        scenario: The unit's.
        seconds_of_day: Local time after midnight, 0 <= it < 86400. [s]
    """
    return next((s for s in scenario.sections if s.from_s <= seconds_of_day < s.to_s), None)


def band_of(section: Section, remaining_wh: float) -> str | None:
    """Name of the band in which the remaining energy lies; None = in none: no rule. [Wh]"""
    return next((band.name for band in section.bands if remaining_wh in band), None)


@dataclass(frozen=True, slots=True)
class _FileKeys:
    """What stands beside the sections."""

    rule: Annotated[Literal["bands", "value"], Key("rule", "bands")]
    selection: Annotated[SelectionStrategy, Key("acceptSelection.strategy", "amount")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ValueFileKeys(ValueRule):
    """What stands in a file with the value rule."""

    rule: Annotated[Literal["value"], Key("rule")]
    selection: Annotated[Literal["value"], Key("acceptSelection.strategy", "value")]


@dataclass(frozen=True, slots=True)
class _SectionKeys:
    """What stands in a section."""

    battery_status: Annotated[dict[str, str], MinLen(1), Key("batteryStatus")]
    request: Annotated[dict[str, Rules | None], Key("request", {})]
    accept: Annotated[dict[str, Rules | None], Key("accept", {})]
    selection: Annotated[SelectionStrategy | None, Key("acceptSelection.strategy", None)]


def parse_scenario(text: str, source: str) -> Scenario:
    """Read a scenario file.

    Args:
        text: Its content: JSON with comments, as the original has it.
        source: Its name, as the user gave it; stands in every problem.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    data, problems = parse_object(text, source)
    reader = _Reader(source, problems)
    scenario = reader.scenario(data)
    if problems:
        raise ConfigError(problems)
    return scenario


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads on after a mistake, so that all of them are found at once."""

    source: str
    problems: list[Problem]
    unused: list[Problem] = field(default_factory=list)  # entries of bands that there are not

    def scenario(self, data: Mapping[str, Any]) -> Scenario:
        parts = {key: part for key, part in data.items() if _LIKE_A_SECTION.match(key)}
        rest = {key: value for key, value in data.items() if key not in parts}
        if data.get("rule") == "value":
            return self._by_value(parts, rest)
        # The original reads the file again every so often; here it holds from start to stop.
        beside = read_fields(_FileKeys, rest, self.source, unread=["refreshingPeriodMsec"])
        self.problems.extend(beside.problems)
        selection = beside.values.get("selection", SelectionStrategy.AMOUNT)
        sections = {key: self._section(key, part, selection) for key, part in parts.items()}
        if not parts:
            right = 'needs at least one section, such as "00:00:00-24:00:00" : { ... }'
            self._wrong("", "", right)
        warnings = (*self.unused, *self._warnings(sections))
        return Scenario(tuple(sections.values()), warnings)

    def _by_value(self, parts: Mapping[str, Any], rest: Mapping[str, Any]) -> Scenario:
        for key in parts:
            self._wrong(key, "", 'must not stand beside "rule" : "value": bands follow from it')
        reading = read_fields(_ValueFileKeys, rest, self.source, unread=["refreshingPeriodMsec"])
        self.problems.extend([*reading.problems, *reading.broken(VALUE_RULES)])
        if self.problems:
            return Scenario(())
        values = {f.name: reading.values[f.name] for f in fields(ValueRule)}
        return Scenario((), value=ValueRule(**values))

    def _section(self, key: str, data: object, selection: SelectionStrategy) -> Section:
        times = _times_of(key)
        if times is None:
            right = "must be HH:mm:ss-HH:mm:ss within one day, the earlier time first"
            self._wrong(key, "", right)
        if not isinstance(data, Mapping):
            self._wrong(key, shorten(data), "must be an object { ... }")
            data = {}
        reading = read_fields(_SectionKeys, data, self.source)
        self.problems.extend(replace(p, key=f"{key}.{p.key}") for p in reading.problems)
        values = reading.values
        status = values.get("battery_status", {})
        for part in ("request", "accept"):
            rules = data.get(part)
            entries = rules if status and isinstance(rules, Mapping) else {}
            for name, entry in entries.items():
                if entry is not None and name not in status.values():  # the original skips it, too
                    near = suggestion(name, status.values())
                    right = f"no band has this name, so it is never used{near}"
                    self.unused.append(Problem(self.source, f"{key}.{part}.{name}", "", right))
        return Section(
            *(times or (0, 0)),
            bands=self._bands(f"{key}.batteryStatus", status),
            request=_of_bands(values.get("request", {}), status),
            accept=_of_bands(values.get("accept", {}), status),
            selection=values.get("selection") or selection,
        )

    def _bands(self, key: str, battery_status: Mapping[str, str]) -> tuple[Band, ...]:
        bands = []
        for text, name in battery_status.items():
            match = _BAND_KEY.fullmatch(text.strip())
            lower_wh, upper_wh = (
                (float(t) if t else None for t in match.groups()) if match else (1, 0)
            )
            is_huge = max(lower_wh or 0.0, upper_wh or 0.0) > NUMBER_LIMIT
            is_empty = lower_wh is not None and upper_wh is not None and lower_wh >= upper_wh
            if is_huge or is_empty:
                right = (
                    "must be LOWER-UPPER in Wh, such as 2880-3600, or 4320- or -2880 at the ends"
                )
                self._wrong(f"{key}.{text}", shorten(name), right)
            else:
                bands.append(Band(name, lower_wh, upper_wh))
        # No lower bound comes before 0: "-0" is a band that covers nothing above 0.
        bands.sort(key=lambda band: -math.inf if band.lower_wh is None else band.lower_wh)
        for low, high in pairwise(bands):
            if low.upper_wh is None or high.lower_wh is None or low.upper_wh > high.lower_wh:
                self._wrong(key, "", f"{low.name} and {high.name} overlap")
            elif low.upper_wh < high.lower_wh:
                gap = f"{low.upper_wh:g} Wh to {high.lower_wh:g} Wh"
                self._wrong(key, "", f"nothing covers {gap}, between {low.name} and {high.name}")
        return tuple(bands)

    def _wrong(self, key: str, value: str, right: str) -> None:
        self.problems.append(Problem(self.source, key, value, right))

    def _warnings(self, sections: Mapping[str, Section]) -> Iterator[Problem]:
        covered_s, last = 0, ""
        for key, section in sorted(sections.items(), key=lambda item: item[1].from_s):
            if section.from_s < covered_s:
                right = f"overlaps {last}; the one that comes first in the file holds"
                yield Problem(self.source, key, "", right)
            elif section.from_s > covered_s:
                right = f"no section before it from {_clock(covered_s)}: no dealing then"
                yield Problem(self.source, key, "", right)
            if section.to_s > covered_s:
                covered_s, last = section.to_s, key
            status = f"{key}.batteryStatus"
            if section.bands and section.bands[0].lower_wh:
                edge = f"{section.bands[0].lower_wh:g} Wh"
                yield Problem(self.source, status, "", f"no band below {edge}: no dealing there")
            if section.bands and section.bands[-1].upper_wh is not None:
                edge = f"{section.bands[-1].upper_wh:g} Wh"
                yield Problem(self.source, status, "", f"no band from {edge} on: no dealing there")
        if covered_s < DAY_S:
            right = f"no section from {_clock(covered_s)} on: no dealing then"
            yield Problem(self.source, last, "", right)


def _of_bands(rules: Mapping[str, Rules | None], status: Mapping[str, str]) -> dict[str, Rules]:
    """Entries of bands that there are; one that is null counts as absent."""
    names = set(status.values())
    return {name: entry for name, entry in rules.items() if entry is not None and name in names}


def _times_of(key: str) -> tuple[int, int] | None:
    """Start and end of a section, in seconds after midnight; None if `key` says no such thing."""
    match = _SECTION_KEY.fullmatch(key)
    if match is None:
        return None
    h1, m1, s1, h2, m2, s2 = (int(part) for part in match.groups())
    from_s, to_s = (h1 * 60 + m1) * 60 + s1, (h2 * 60 + m2) * 60 + s2
    good = max(m1, s1, m2, s2) < 60 and from_s < to_s <= DAY_S
    return (from_s, to_s) if good else None


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
