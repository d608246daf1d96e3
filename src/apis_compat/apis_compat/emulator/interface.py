"""The original's HTTP interface: from a request to an answer. No socket, no clock.

Good requests are answered as the original does. Where that one answers 200 with nothing, 500, or
never again, an unknown id or path gets 404 and a wrong parameter 400, with a JSON object whose
``error`` says what is wrong; nothing has been changed then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from apis_compat.emulator.model import (
    ACCELERATION,
    BadRequest,
    Emulation,
    NotFound,
    whole_if_it_is,
)
from apis_compat.emulator.state_file import read_state, write_state
from apis_compat.emulator.template import filtered
from apis_core.model.errors import ConfigError

__all__ = ["Answer", "Interface", "refusal"]

JSON, TEXT = "application/json", "text/html; charset=UTF-8"
READING = ("/get/unit/", "/get/log", "/get/emu/", "/get/dcdc/")
MOST_KEPT = 4096
Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client.

    Attributes:
        again: None, or: the converter is not yet where this request wants it. It gives the answer
            of a later moment.
    """

    status: int
    content_type: str
    body: bytes
    again: Callable[[], Answer] | None = None


class Interface:
    """Answers requests to an emulation.

    Args:
        emulation: What they are about.
        state_file: Where ``/save`` writes and ``/get/last`` reads.
    """

    def __init__(self, emulation: Emulation, state_file: Path) -> None:
        self._emulation = emulation
        self._state_file = state_file
        self._now_s = 0.0
        self._kept: dict[str, Answer] = {}  # of reading; good as long as nothing changes
        self._kept_version = -1

    def answer(self, method: str, target: str, now_s: float) -> Answer:
        """Do what a request asks, and answer it.

        Args:
            method: Of HTTP.
            target: Path and query, as it came.
            now_s: Wall time. [s]
        """
        self._now_s = now_s
        self._emulation.ramp(now_s)
        if method != "GET":
            return refusal(405, f"{method} is not understood; every request here is a GET")
        if self._kept_version != self._emulation.version:
            self._kept.clear()
            self._kept_version = self._emulation.version
        if (kept := self._kept.get(target)) is not None:
            return kept
        path, _, query = target.partition("?")
        answer = _tried(lambda: self._route(unquote(path), _query(query)))
        if target.startswith(READING) and answer.status == 200 and len(self._kept) < MOST_KEPT:
            self._kept[target] = answer
        return answer

    def _route(self, path: str, query: Query) -> Answer:
        if path in self._plain:
            return self._plain[path]()
        prefix, _, name = path.rpartition("/")
        if prefix == "/set/acc" and name:
            return self._set_acceleration(name)
        if prefix in self._of_unit and name:
            return _json(self._of_unit[prefix](name, query))
        if prefix in self._orders and name:
            self._emulation.unit(name)
            parts = self._orders[prefix](name, query)
            return self._when_there(name, parts)
        raise NotFound(
            f"there is no {path}; there are {' '.join(self._plain)} /set/acc/<number> "
            f"{' '.join(f'{known}/<unit id>' for known in (*self._of_unit, *self._orders))}"
        )

    @cached_property
    def _plain(self) -> Mapping[str, Callable[[], Answer]]:
        """Paths without a parameter."""
        emulation = self._emulation
        return {
            "/": _page,
            "/get/log": self._all,
            "/get/acc": lambda: _bare(emulation.acceleration),
            "/add/unit": lambda: self._all(emulation.add_unit),
            "/remove/unit": lambda: self._all(emulation.remove_unit),
            "/save": lambda: self._all(self._save),
            "/get/last": lambda: self._all(self._load),
            "/restart": lambda: self._all(emulation.reset),
        }

    @cached_property
    def _of_unit(self) -> Mapping[str, Callable[[str, Query], Any]]:
        """Paths that end in a unit's id."""
        return {
            "/get/unit": self._get_unit,
            "/get/emu": lambda unit_id, _: self._emulation.unit(unit_id).emu,
            "/get/dcdc": lambda unit_id, _: self._emulation.unit(unit_id).dcdc,
            "/get/dcdc/status": lambda unit_id, _: self._shown(unit_id, "status", "meter"),
            "/set/emu": self._set_house,
        }

    @cached_property
    def _orders(self) -> Mapping[str, Callable[[str, Query], tuple[str, ...]]]:
        """Orders to a unit's converter; each gives the parts of it that its answer shows."""
        return {
            "/set/dcdc": self._set_converter,
            "/set/dcdc/voltage": self._set_voltage,
            "/set/dcdc/current": self._set_current,
        }

    def _all(self, act: Callable[[], None] = lambda: None) -> Answer:
        """Do something, and answer with all units."""
        act()
        return _json({i: unit.document for i, unit in self._emulation.units.items()})

    def _shown(self, unit_id: str, *parts: str) -> dict[str, Any]:
        return filtered(self._emulation.unit(unit_id).dcdc, *parts)

    def _when_there(self, unit_id: str, parts: tuple[str, ...]) -> Answer:
        """What an order is answered by; early, while the converter is not where it shall be."""
        answer = _json(self._shown(unit_id, *parts))
        if self._emulation.is_there(unit_id):
            return answer
        return replace(answer, again=lambda: _tried(lambda: self._when_there(unit_id, parts)))

    def _get_unit(self, unit_id: str, _query: Query) -> dict[str, Any]:
        document = self._emulation.unit(unit_id).document
        return {**document, "dcdc": filtered(document["dcdc"])}

    def _set_house(self, unit_id: str, query: Query) -> dict[str, Any]:
        self._emulation.set_house(unit_id, {name: _number(query, name) for name in query})
        return {i: unit.document for i, unit in self._emulation.units.items()}

    def _set_converter(self, unit_id: str, query: Query) -> tuple[str, ...]:
        meters_w = None
        if query.get("p1"):
            meters_w = (_number(query, "p1"), _number(query, "p2"))
        self._emulation.set_converter(
            unit_id,
            self._now_s,
            mode=_text(query, "mode"),
            voltage_v=_positive(query, "dvg"),
            current_a=_positive(query, "dig"),
            droop_ratio=_droop(query),
            meters_w=meters_w,
        )
        return ()

    def _set_voltage(self, unit_id: str, query: Query) -> tuple[str, ...]:
        self._emulation.set_converter(
            unit_id, self._now_s, voltage_v=_positive(query, "dvg"), droop_ratio=_droop(query)
        )
        return "meter", "vdis"

    def _set_current(self, unit_id: str, query: Query) -> tuple[str, ...]:
        self._emulation.set_converter(unit_id, self._now_s, current_a=_positive(query, "dig"))
        return "meter", "param"

    def _set_acceleration(self, text: str) -> Answer:
        value = _number({"acceleration": text}, "acceleration")
        low, high = ACCELERATION
        if not low <= value <= high:
            raise BadRequest(f"acceleration is {text}, it must be from {low:g} to {high:g}")
        self._emulation.acceleration = whole_if_it_is(value)
        return _bare(self._emulation.acceleration)

    def _save(self) -> None:
        try:
            write_state(self._state_file, self._emulation.save())
        except OSError as error:
            raise BadRequest(f"{self._state_file} cannot be written: {error.strerror}") from None

    def _load(self) -> None:
        if not self._state_file.exists():
            raise NotFound("no state has been saved yet; /save does it")
        try:
            saved = read_state(self._state_file)
        except ConfigError as error:
            raise BadRequest(str(error)) from None
        houses = self._emulation.inputs.houses
        if len(saved.units) > houses:
            raise BadRequest(f"{len(saved.units)} units were saved; there is load for {houses}")
        self._emulation.load(saved)


def _tried(make: Callable[[], Answer]) -> Answer:
    """An answer, or the reason why there is none."""
    try:
        return make()
    except NotFound as error:
        return refusal(404, str(error))
    except BadRequest as error:
        return refusal(400, str(error))


def _query(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True))


def _text(query: Query, name: str) -> str:
    if not query.get(name):
        raise BadRequest(f"{name} is missing")
    return query[name]


def _number(query: Query, name: str) -> float:
    text = _text(query, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadRequest(f"{name} is {text}, it must be a number")
    return value


def _positive(query: Query, name: str) -> float:
    value = _number(query, name)
    if value < 0.0:
        raise BadRequest(f"{name} is {query[name]}, it must be a number of at least 0")
    return value


def _droop(query: Query) -> float | None:
    return _positive(query, "drg") if "drg" in query else None


def _json(content: Any, status: int = 200) -> Answer:
    return Answer(status, JSON, orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))


def _bare(number: float) -> Answer:
    """A number alone; the original calls that HTML."""
    return Answer(200, TEXT, json.dumps(number).encode())


def refusal(status: int, message: str) -> Answer:
    """An answer that says why there is no other."""
    return _json({"error": message}, status)


def _page() -> Answer:
    page = files("apis_compat.emulator").joinpath("page.html").read_bytes()
    return Answer(200, TEXT, page)
