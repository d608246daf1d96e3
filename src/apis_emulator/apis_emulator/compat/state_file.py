"""State files: those of the original (``lastSave.json``), with what it forgets beside them.

The original saves an object of unit id → unit and neither the time nor its switches. Ours has the
same objects, and one more under ``_emulator``; both read both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apis_core.errors import ConfigError, Problem
from apis_emulator.compat.model import Saved
from apis_emulator.compat.template import wrong_in

__all__ = ["read_state", "write_state"]

EXTRA = "_emulator"


def write_state(file: Path, saved: Saved) -> None:
    """Write a state; a file that was there is replaced at once or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    extra = {"time_s": saved.time_s, "is_ac_charging": sorted(saved.is_ac_charging or ())}
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps({**saved.units, EXTRA: extra}), encoding="utf-8")
    unfinished.replace(file)


def read_state(file: Path) -> Saved:
    """Read a state.

    Raises:
        ConfigError: It is none; lists what is wrong with each unit.
    """
    name = str(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([Problem(name, "", "", error.strerror or str(error))]) from error
    except ValueError as error:
        raise ConfigError([Problem(name, "", "", f"it must be JSON: {error}")]) from error
    if not isinstance(content, dict):
        raise ConfigError([Problem(name, "", "", "it must be an object of unit id → unit")])
    extra = content.pop(EXTRA, {})
    problems = [
        Problem(name, unit_id, "", wrong)
        for unit_id, unit in content.items()
        if (wrong := wrong_in(unit))
    ]
    wanted = [f"E{number:03}" for number in range(1, len(content) + 1)]
    if not content or list(content) != wanted:
        found = " ".join(content) or "empty"
        problems.append(Problem(name, "", found, "it must have the units E001, E002, ..."))
    time_s, charging = _extra(extra, name, problems)
    if problems:
        raise ConfigError(problems)
    return Saved(content, time_s, charging)


def _extra(
    extra: Any, name: str, problems: list[Problem]
) -> tuple[float | None, frozenset[str] | None]:
    if not extra:
        return None, None
    time_s, charging = None, None
    if isinstance(extra, dict):
        time_s, charging = extra.get("time_s"), extra.get("is_ac_charging")
    is_time = isinstance(time_s, (int, float)) and not isinstance(time_s, bool) and time_s >= 0.0
    if not is_time or not isinstance(charging, list):
        right = 'it must be {"time_s": a number >= 0, "is_ac_charging": [unit ids]}'
        problems.append(Problem(name, EXTRA, str(extra)[:60], right))
        return None, None
    return time_s, frozenset(map(str, charging))
