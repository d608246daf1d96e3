"""What a command line changes of a grid file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apis_core.model.errors import ConfigError, Problem
from apis_site.grid import Composition, DeviceKind

__all__ = ["NO_OVERRIDES", "Overrides"]


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line changes of a grid file; None = as the file has it."""

    units: int | None = None
    speed: float | None = None
    seed: int | None = None
    port: int | None = None
    composition: Composition | None = None
    device: DeviceKind | None = None
    keys: Path | None = None  # key folder
    faults: Sequence[Any] | None = None  # instead of the file's `emulator.faults`

    @classmethod
    def of_texts(cls, **texts: str) -> Overrides:
        """Overrides as launch arguments have them: all text, and empty for what stays as it is.

        Raises:
            ConfigError: A text is not a number.
        """
        problems = []
        values: dict[str, Any] = {}
        if device := texts.pop("device", ""):
            values["device"] = device  # checked with the grid
        if keys := texts.pop("keys", ""):
            values["keys"] = Path(keys)
        for name, text in texts.items():
            number = float if name == "speed" else int
            try:
                values[name] = number(text) if text else None
            except ValueError:
                what = "a number" if number is float else "a whole number"
                problems.append(Problem("command line", name, text, f"must be {what}"))
        if problems:
            raise ConfigError(problems)
        return cls(**values)


NO_OVERRIDES = Overrides()
