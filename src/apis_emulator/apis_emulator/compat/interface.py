"""The original's HTTP interface: from a request to an answer. No socket, no clock.

Good requests are answered as the original does. Where that one answers 200 with nothing, 500, or
never again, an unknown id or path gets 404 and a wrong parameter 400, with a JSON object whose
``error`` says what is wrong; nothing has been changed then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from apis_core.errors import ConfigError
from apis_emulator.compat.model import (
    ACCELERATION,
    BadRequest,
    Emulation,
    NotFound,
    whole_if_it_is,
)
from apis_emulator.compat.state_file import read_state, write_state
from apis_emulator.compat.template import filtered

__all__ = ["Answer", "Interface"]

JSON, TEXT = "application/json", "text/html; charset=UTF-8"
Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client."""

    status: int
    content_type: str
    body: bytes


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

    def answer(self, method: str, target: str, now_s: float) -> Answer:
        """Do what a request asks, and answer it.

        Args:
            method: Of HTTP.
            target: Path and query, as it came.
            now_s: Wall time. [s]
        """
        self._now_s = now_s
        self._emulation.ramp(now_s)
        parts = urlsplit(target)
        if method != "GET":
            return _error(405, f"{method} is not understood; every request here is a GET")
        try:
            return self._route(unquote(parts.path), _query(parts.query))
        except NotFound as error:
            return _error(404, str(error))
        except BadRequest as error:
            return _error(400, str(error))

    def _route(self, path: str, query: Query) -> Answer:
        if path in self._plain:
            return self._plain[path]()
        prefix, _, name = path.rpartition("/")
        if prefix == "/set/acc" and name:
            return self._set_acceleration(name)
        if prefix in self._of_unit and name:
            return _json(self._of_unit[prefix](name, query))
        raise NotFound(
            f"there is no {path}; there are {' '.join(self._plain)} /set/acc/<number> "
            f"{' '.join(f'{known}/<unit id>' for known in self._of_unit)}"
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

    def _get_unit(self, unit_id: str, _query: Query) -> dict[str, Any]:
        document = self._emulation.unit(unit_id).document
        return {**document, "dcdc": filtered(document["dcdc"])}

    def _set_house(self, unit_id: str, query: Query) -> dict[str, Any]:
        self._emulation.set_house(unit_id, {name: _number(query, name) for name in query})
        return {i: unit.document for i, unit in self._emulation.units.items()}

    def _set_converter(self, unit_id: str, query: Query) -> dict[str, Any]:
        self._emulation.unit(unit_id)
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
        return self._shown(unit_id)

    def _set_voltage(self, unit_id: str, query: Query) -> dict[str, Any]:
        self._emulation.unit(unit_id)
        self._emulation.set_converter(
            unit_id, self._now_s, voltage_v=_positive(query, "dvg"), droop_ratio=_droop(query)
        )
        return self._shown(unit_id, "meter", "vdis")

    def _set_current(self, unit_id: str, query: Query) -> dict[str, Any]:
        self._emulation.unit(unit_id)
        self._emulation.set_converter(unit_id, self._now_s, current_a=_positive(query, "dig"))
        return self._shown(unit_id, "meter", "param")

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
    return Answer(status, JSON, json.dumps(content).encode())


def _bare(number: float) -> Answer:
    """A number alone; the original calls that HTML."""
    return Answer(200, TEXT, json.dumps(number).encode())


def _error(status: int, message: str) -> Answer:
    return _json({"error": message}, status)


def _page() -> Answer:
    page = files("apis_emulator.compat").joinpath("page.html").read_bytes()
    return Answer(200, TEXT, page)
