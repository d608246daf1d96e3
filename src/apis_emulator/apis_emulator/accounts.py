"""Energy by unit and by local day, from the counters of the plant.

Of every row holds, to rounding:

    solar + mains + grid_received = load + ac_loss + dc_loss + battery_loss + stored_change
                                    + grid_sent

(``dc_loss`` includes the converter; what the solar panels could have given beyond is
``curtailed``). What is lost between the units stands in rows of their own, with the unit
:data:`BUS`: ``line_loss`` in the lines, and ``bled`` by a bus that nothing held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import UnitId
from apis_emulator.physics.plant import Plant

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BUS", "COLUMNS", "EnergyAccounts", "write_table"]

BUS = "bus"
TOTAL = "total"
_COUNTED = (
    *("solar_wh", "curtailed_wh", "load_wh", "unserved_wh", "mains_wh"),
    *("ac_loss_wh", "dc_loss_wh", "battery_loss_wh"),
)
_UNIT_COLUMNS = (*_COUNTED, "grid_received_wh", "grid_sent_wh", "stored_change_wh")
COLUMNS = (*_UNIT_COLUMNS, "line_loss_wh", "bled_wh", "soc_ratio")
FORMATS = (".csv", ".parquet")
SAME_INSTANT_S = 1e-6


@dataclass(frozen=True, slots=True)
class _Row:
    day: str
    unit_id: str
    values: Mapping[str, float]


class EnergyAccounts:
    """Rows of the days that are over, and of the one that is not.

    Args:
        plant: Whose counters are read.
        start: Local time at which the plant's time was 0, with its time zone.
    """

    def __init__(self, plant: Plant, start: datetime) -> None:
        self._plant = plant
        self._start = start
        self._rows: list[_Row] = []
        self.begin()

    def begin(self) -> None:
        """Forget everything, and count from now."""
        self._rows.clear()
        self._before: dict[UnitId, dict[str, float]] = {}
        self._before_bus = self._read_bus()
        self._before.update(self._read_units())
        self._set_day()

    @property
    def day_ends_s(self) -> float:
        """Plant time at which the day ends: the next local midnight. [s]"""
        return self._day_ends_s

    def close_day(self) -> None:
        """The plant stands on the end of the day: write its rows."""
        self._rows += self._open_rows()
        self._before = self._read_units()
        self._before_bus = self._read_bus()
        self._set_day()

    def add_unit(self, unit_id: UnitId) -> None:
        """Count a new unit, from now."""
        self._before[unit_id] = self._read_unit(unit_id)

    def remove_unit(self, unit_id: UnitId) -> None:
        """Write the row of a unit that is about to be taken away."""
        self._rows.append(self._row(unit_id, self._read_unit(unit_id)))
        del self._before[unit_id]

    def table(self) -> pd.DataFrame:
        """A row per day and unit, one per day for the bus, and totals. [Wh]"""
        is_new = self._plant.time_s - self._day_began_s < SAME_INSTANT_S
        # At midnight the new day has nothing yet, and a row of zeros would be taken for a day.
        return _table(self._rows if self._rows and is_new else [*self._rows, *self._open_rows()])

    def write(self, file: Path) -> None:
        """Write the table; see :func:`write_table`."""
        write_table(self.table(), file)

    def _set_day(self) -> None:
        zone = self._start.tzinfo
        self._day_began_s = self._plant.time_s
        now = datetime.fromtimestamp(self._start.timestamp() + self._plant.time_s + 1e-6, zone)
        self._day = now.date()
        midnight = datetime.combine(self._day + timedelta(days=1), time(), zone)
        self._day_ends_s = midnight.timestamp() - self._start.timestamp()

    def _open_rows(self) -> list[_Row]:
        bus = self._read_bus()
        changes = {name: value - self._before_bus[name] for name, value in bus.items()}
        return [
            *(self._row(unit_id, now) for unit_id, now in self._read_units().items()),
            _Row(str(self._day), BUS, changes),
        ]

    def _row(self, unit_id: UnitId, now: Mapping[str, float]) -> _Row:
        before = self._before[unit_id]
        values = {name: now[name] - before[name] for name in (*_COUNTED, *_GRID)}
        values["stored_change_wh"] = now["stored_wh"] - before["stored_wh"]
        values["soc_ratio"] = now["soc_ratio"]
        return _Row(str(self._day), unit_id, values)

    def _read_units(self) -> dict[UnitId, dict[str, float]]:
        native = self._plant.native
        columns = {name: native.column(name) for name in (*_COUNTED, "stored_wh", "capacity_wh")}
        return {
            unit_id: self._read(index, unit_id, columns)
            for index, unit_id in enumerate(self._plant.units)
        }

    def _read_unit(self, unit_id: UnitId) -> dict[str, float]:
        return self._read_units()[unit_id]

    def _read(
        self, index: int, unit_id: UnitId, columns: Mapping[str, np.ndarray[Any, Any]]
    ) -> dict[str, float]:
        values = {name: float(column[index]) for name, column in columns.items()}
        converter = self._plant.units[unit_id].converter
        values["grid_received_wh"] = converter.charged_wh
        values["grid_sent_wh"] = converter.discharged_wh
        values["soc_ratio"] = values["stored_wh"] / values["capacity_wh"]
        return values

    def _read_bus(self) -> dict[str, float]:
        native = self._plant.native
        return {"line_loss_wh": native.line_loss_wh, "bled_wh": native.bled_wh}


_GRID = ("grid_received_wh", "grid_sent_wh")


def _table(rows: Iterable[_Row]) -> pd.DataFrame:
    import pandas as pd  # half a second that most runs do without

    names = ["day", "unit_id", *COLUMNS]
    records = [{"day": row.day, "unit_id": row.unit_id, **row.values} for row in rows]
    frame = pd.DataFrame(records, columns=names)
    totals = [
        {**_total(part), "unit_id": unit_id, "soc_ratio": part["soc_ratio"].iloc[-1]}
        for unit_id, part in frame.groupby("unit_id", sort=False)
    ]
    totals.append({**_total(frame), "unit_id": TOTAL})
    table = pd.DataFrame([*records, *totals], columns=names)
    return table.astype(dict.fromkeys(COLUMNS, float))


def _total(part: pd.DataFrame) -> dict[str, object]:
    sums = part[[name for name in COLUMNS if name.endswith("_wh")]].sum(min_count=1)
    return {"day": TOTAL, **sums}


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table of energies as its suffix says: ``.csv`` or ``.parquet``.

    Raises:
        ConfigError: The suffix is another.
        OSError: The file cannot be written.
    """
    if file.suffix not in FORMATS:
        raise ConfigError([Problem("file", "", str(file), f"must end in {' or '.join(FORMATS)}")])
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".csv":
        table.to_csv(file, index=False, float_format="%.4f")
    else:
        table.to_parquet(file, index=False, engine="fastparquet")
