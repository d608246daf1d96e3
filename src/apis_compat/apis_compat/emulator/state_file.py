"""State files: those of the original (``lastSave.json``), with what it forgets beside them.

The original saves an object of unit id → unit and neither the time nor its switches. Ours has the
same objects, and one more under ``_emulator``; both read both. Older files of the original, such
as the one that it ships, know fewer values of a unit, and count from ``E000`` in no order: what a
unit lacks is as at its start, and its units become ``E001``, ``E002``, ... in the order of ids.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apis_compat.emulator.model import Saved
from apis_compat.emulator.template import completed, wrong_in
from apis_core.config.jsonc import parse_object
from apis_core.model.errors import ConfigError, Problem
from apis_site.files import read_text

__all__ = ["read_state", "write_state"]

EXTRA = "_emulator"
LIMIT_BYTES = 16 << 20  # a unit has 2 kB


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
    content, problems = parse_object(read_text(file, limit_bytes=LIMIT_BYTES), name)
    extra = content.pop(EXTRA, {})
    first = 0 if "E000" in content else 1
    wanted = [f"E{number:03}" for number in range(first, len(content) + first)]
    if not content or sorted(content) != wanted:
        found = " ".join(content)[:60] or "empty"
        problems.append(Problem(name, "", found, "it must have the units E001, E002, ..."))
    units: dict[str, Any] = {}
    for number, unit_id in enumerate(sorted(content), start=1):
        unit = completed(content[unit_id], number)
        units[f"E{number:03}"] = unit
        if wrong := wrong_in(unit):
            problems.append(Problem(name, unit_id, "", wrong))
    time_s, charging = _extra(extra, name, problems)
    if problems:
        raise ConfigError(problems)
    return Saved(units, time_s, charging)


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
