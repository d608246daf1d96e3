"""Plays a recorded conversation with the original emulator against ours, and compares.

A recording is a JSON file: ``meta`` says how the emulator was set up, ``sessions`` are played one
after the other, each on a fresh emulator. A session is a list of *calls* (a request and the
answer), of steps (``advance_steps``: the loop ran so often) and of waits (``wait_wall_s``: real
time, in which a voltage ramps). Ours need not really wait: its clock is set.

``compare`` on a call or a session says what is to be matched: all of it if absent, nothing if
``false`` (a fact about the original that need not be reproduced), all but some paths if a list.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apis_compat.emulator.inputs import FloatArray, Inputs, constant_after
from apis_compat.emulator.interface import Interface
from apis_compat.emulator.model import ACCELERATION, MAX_UNITS, Emulation, whole_if_it_is
from apis_compat.emulator.server import Server
from apis_core.config.error_messages import problems_from_pydantic
from apis_core.model.errors import ConfigError, Problem

__all__ = ["Session", "Transcript", "differences", "play", "read_transcript"]

TOLERANCE = 1e-6
ANSWERS_WITHIN_S = 10.0

Compare = Literal[False] | list[str] | None
Acceleration = Annotated[float, Field(ge=ACCELERATION[0], le=ACCELERATION[1])]


Request = Annotated[
    str,
    Field(
        pattern=r"^[A-Z]+ /\S*( HTTP/1\.[01])?$",
        description="a request such as GET /get/acc HTTP/1.1",
    ),
]


class _Part(BaseModel):
    """A part of the file; what is not known here may stand in it."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Settings(_Part):
    """How the emulator was set up."""

    units: Annotated[int, Field(ge=1, le=999)] = 4
    acc: Acceleration = 10


class FirstHours(_Part):
    """What sun and load were at each full hour, as far as the recording needs it."""

    pv_w_per_unit_hourly: Annotated[list[float], Field(min_length=1, max_length=8760)] = [0.0]
    load_kw_hourly: dict[str, Annotated[list[float], Field(min_length=1, max_length=8760)]] = {}


class Meta(_Part):
    """About the recording."""

    settings: Settings = Settings()
    inputs_first_hours: FirstHours = FirstHours()


class Step(_Part):
    """A call, or something that happened between calls."""

    n: int | None = None
    request: Request | None = None
    status: int | None = None
    content_type: str | None = None
    body: Any = None
    body_text: str | None = None
    compare: Compare = None
    note: str = ""
    advance_steps: Annotated[int, Field(ge=0)] = 0
    sim_time_after: str | None = None
    wait_wall_s: Annotated[float, Field(ge=0.0)] = 0.0


class Session(_Part):
    """A conversation with an emulator that has just been started."""

    id: str
    compare: Compare = None
    acc: Acceleration | None = None
    settings: Settings | None = None
    calls: list[Step]

    def acceleration(self, usual: float) -> float:
        """Where it starts. A recording may say it in a note on its first call only, such as
        ``acc 300: no ramp``.
        """
        if self.acc is not None:
            return self.acc
        if self.settings is not None:
            return self.settings.acc
        noted = re.match(r"acc (\d+)\b", self.calls[0].note) if self.calls else None
        return float(noted.group(1)) if noted else usual


class Transcript(_Part):
    """A recording."""

    meta: Meta = Meta()
    sessions: Annotated[list[Session], Field(min_length=1)]


def read_transcript(file: Path) -> Transcript:
    """Read a recording.

    Raises:
        ConfigError: It is none; lists every problem.
    """
    name = str(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([Problem(name, "", "", error.strerror or str(error))]) from error
    except ValueError as error:
        raise ConfigError([Problem(name, "", "", f"it must be JSON: {error}")]) from error
    try:
        return Transcript.model_validate(content)
    except ValidationError as error:
        schema = Transcript.model_json_schema()
        raise ConfigError(problems_from_pydantic(error, name, schema)) from error


class Played:
    """What came of a session.

    Attributes:
        compared: Calls whose answer was to be matched.
        differing: What differs, a line each.
    """

    def __init__(self) -> None:
        self.compared = 0
        self.differing: list[str] = []


def play(session: Session, meta: Meta, state_file: Path) -> Played:
    """Play a session against a fresh emulator, over HTTP on this machine.

    Args:
        session: What to play.
        meta: How the emulator is set up.
        state_file: For ``/save`` and ``/get/last``.
    """
    emulation = _emulation(session, meta)
    interface = Interface(emulation, state_file)
    server = Server(emulation, interface, host="127.0.0.1", port=0, period_s=None)
    clock_s = 0.0
    server.now_s = lambda: clock_s
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    played = Played()
    try:
        for step in session.calls:
            where = f"{session.id} {step.n or ''}".strip()
            clock_s += step.wait_wall_s
            with server.lock:
                for _ in range(step.advance_steps):
                    emulation.step()
                after = f"{emulation.now:%Y/%m/%d-%H:%M:%S}"
            expects_time = step.sim_time_after is not None and session.compare is not False
            if expects_time and step.sim_time_after != after:
                played.differing.append(
                    f"{where}: time is {after}, recorded was {step.sim_time_after}"
                )
            if step.request is not None:
                compare = False if session.compare is False else step.compare
                answer = _ask(server.port, step.request)
                if compare is False or step.status is None:
                    continue
                played.compared += 1
                skipped = [*(session.compare or ()), *(compare or ())]
                played.differing += [
                    f"{where} {step.request}: {line}" for line in _compare(step, answer, skipped)
                ]
    finally:
        server.stop()
        thread.join()
    return played


def _emulation(session: Session, meta: Meta) -> Emulation:
    """As the recording's emulator was when the session began: after one step."""
    settings = session.settings or meta.settings
    hours = meta.inputs_first_hours
    acceleration = session.acceleration(settings.acc)

    def load_kw(number: int) -> FloatArray:
        return constant_after(hours.load_kw_hourly.get(f"E{number:03}", [0.0]))

    emulation = Emulation(
        Inputs(constant_after(hours.pv_w_per_unit_hourly), load_kw, MAX_UNITS),
        whole_if_it_is(acceleration),
    )
    for _ in range(settings.units):
        emulation.add_unit()
    emulation.step()
    return emulation


def _ask(port: int, request: str) -> tuple[int, str, str]:
    """Status, content type and body of an answer."""
    method, target = request.split(" ")[:2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWERS_WITHIN_S)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
        return answer.status, answer.headers.get("Content-Type", ""), body
    finally:
        connection.close()


def _compare(step: Step, answer: tuple[int, str, str], skipped: list[str]) -> Iterator[str]:
    """What differs, as text."""
    status, content_type, text = answer
    if status != step.status:
        yield f"status is {status}, recorded was {step.status}"
    if step.content_type is not None and _kind(content_type) != _kind(step.content_type):
        yield f"content type is {content_type}, recorded was {step.content_type}"
    if step.body_text is not None and text != step.body_text:
        yield f"answer is {text!r}, recorded was {step.body_text!r}"
    if "body" in step.model_fields_set:
        try:
            body = json.loads(text)
        except ValueError:
            yield f"answer is {text[:80]!r}, it must be JSON"
            return
        for path, ours, theirs in differences(body, step.body):
            if not any(path == name or path.startswith(f"{name}.") for name in skipped):
                yield f"{path or 'answer'} is {ours}, recorded was {theirs}"


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Every field that differs: its path, what is ours, what was recorded.

    Numbers match within 1e-6, whatever their type; true and false are no numbers.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            here = f"{path}.{key}" if path else str(key)
            if key not in ours:
                yield here, "absent", json.dumps(theirs[key])
            elif key not in theirs:
                yield here, json.dumps(ours[key]), "absent"
            else:
                yield from differences(ours[key], theirs[key], here)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(mine, other, f"{path}[{index}]")
    elif not _matches(ours, theirs):
        yield path, json.dumps(ours), json.dumps(theirs)


def _matches(ours: Any, theirs: Any) -> bool:
    if _is_number(ours) and _is_number(theirs):
        return math.isclose(ours, theirs, rel_tol=0.0, abs_tol=TOLERANCE)
    return type(ours) is type(theirs) and bool(ours == theirs)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
