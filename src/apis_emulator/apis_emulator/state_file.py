"""The state of all emulated hardware in a file: what batteries hold, switches, temperatures.

Converters are not part of it: a state is loaded with all of them in WAIT.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apis_core.config.error_messages import problems_from_pydantic
from apis_core.config.jsonc import parse_object
from apis_core.model.errors import ConfigError, Problem
from apis_emulator.physics.plant import Plant
from apis_site.files import read_text

__all__ = ["HouseRecord", "StateRecord", "read_state", "write_state"]

NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=-60.0, le=150.0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HouseRecord(_Part):
    """One unit."""

    stored_wh: NonNegative
    has_mains: bool
    is_bypass: bool
    is_ac_charging: bool
    is_dark: bool
    pack_degc: Temperature
    converter_degc: Temperature


LIMIT_BYTES = 4 << 20  # the state of a thousand units has a quarter of it
FIELDS = tuple(HouseRecord.model_fields)
_FLAGS = ("has_mains", "is_bypass", "is_ac_charging", "is_dark")


class StateRecord(_Part):
    """All units, and the time."""

    format: Annotated[int, Field(ge=1, le=1)] = 1
    time_s: Annotated[NonNegative, Field(le=2.0**31)]
    units: dict[str, HouseRecord]

    @classmethod
    def of(cls, plant: Plant) -> StateRecord:
        """The present state."""
        units = {}
        for unit_id, unit in plant.units.items():
            values = {name: getattr(unit.native, name) for name in FIELDS}
            units[unit_id] = HouseRecord(
                **{n: bool(v) if n in _FLAGS else v for n, v in values.items()}
            )
        return cls(time_s=plant.time_s, units=units)

    def problems(self, plant: Plant, source: str) -> list[Problem]:
        """What keeps this state from being one of a plant."""
        found = []
        for unit_id in plant.units.keys() ^ self.units.keys():
            right = (
                "is not in it" if unit_id in plant.units else "is not put up here; add it first"
            )
            found.append(Problem(source, "units", "", f"unit {unit_id} {right}"))
        for unit_id in plant.units.keys() & self.units.keys():
            capacity_wh = plant.units[unit_id].battery.capacity_wh
            stored_wh = self.units[unit_id].stored_wh
            if stored_wh > capacity_wh:
                right = f"must not exceed what the battery holds, {capacity_wh:g}"
                key = f"units.{unit_id}.stored_wh"
                found.append(Problem(source, key, f"{stored_wh:g}", right))
        return sorted(found, key=str)

    def put_into(self, plant: Plant) -> None:
        """Make it the state of a plant, without problems and with all converters in WAIT."""
        for unit_id, record in self.units.items():
            native = plant.units[unit_id].native
            for name in FIELDS:
                setattr(native, name, float(getattr(record, name)))
        plant.native.voltage_v = 0.0
        plant.native.time_s = self.time_s


def write_state(file: Path, state: StateRecord) -> None:
    """Write a state; a file that was there is replaced at once or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(file.name + ".part")
    unfinished.write_text(state.model_dump_json(indent=1) + "\n", encoding="utf-8")
    unfinished.replace(file)


def read_state(file: Path) -> StateRecord:
    """Read a state.

    Raises:
        ConfigError: It is none; lists every problem.
    """
    name = str(file)
    content, problems = parse_object(read_text(file, limit_bytes=LIMIT_BYTES), name)
    if problems:
        raise ConfigError(problems)
    try:
        return StateRecord.model_validate(content)
    except ValidationError as error:
        raise ConfigError(
            problems_from_pydantic(error, name, StateRecord.model_json_schema())
        ) from error
