"""What the dashboard remembers: one SQLite file, bounded in size, that survives a restart.

Times are ROS time, seconds since the epoch. A simulation that begins again, before what the file
has, overwrites it from there on: what came later has not happened any more.

The views that :meth:`History.add` is shown are averaged over buckets of two widths: one minute,
kept for two days, and a quarter of an hour, kept for five weeks. Energies are kept by day for ten
years. With a hundred units the file stays below 150 MB, with four below 6 MB.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from apis_dashboard.model import LONGEST_GAP_S, Event, GridView, UnitView
from apis_dashboard.records import (
    DealRecord,
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    PriceRecord,
)

__all__ = ["BUS", "Energy", "History", "Schedule", "Series"]

BUS = ""  # the unit id under which the bus itself is kept
SCHEMA = 2
TIERS = ((60, 2 * 86_400), (900, 35 * 86_400))  # width and how long it is kept [s]
KEEP_DAYS = 3653
KEEP_DEALS = 20_000
KEEP_EVENTS = 5_000
PRUNE_EVERY = 200  # commits
WENT_BACK_S = 120.0  # a clock that goes back by more is a simulation that began again

QUANTITIES = ("soc_ratio", "solar_w", "load_w", "mains_w", "grid_w", "grid_v", "battery_w")
PRICES = ("asked_pt", "offered_pt")  # per Wh: for energy given, for energy taken
BUS_QUANTITIES = ("grid_v", "grid_w", "loss_w")  # voltage, transported, lost in the lines
_COLUMNS = (*QUANTITIES, "loss_w", *PRICES)

_TABLES = f"""
CREATE TABLE sample (
    unit TEXT, width INTEGER, t INTEGER, {", ".join(f"{c} REAL" for c in _COLUMNS)},
    PRIMARY KEY (unit, width, t)) WITHOUT ROWID;
CREATE INDEX sample_by_time ON sample (width, t);
CREATE TABLE energy (day TEXT, unit TEXT, data TEXT, PRIMARY KEY (day, unit)) WITHOUT ROWID;
CREATE TABLE deal (id TEXT PRIMARY KEY, created REAL, ended REAL, giver TEXT, taker TEXT,
    state INTEGER, data TEXT) WITHOUT ROWID;
CREATE INDEX deal_by_time ON deal (created);
CREATE TABLE event (id INTEGER PRIMARY KEY, t REAL, unit TEXT, level INTEGER, code TEXT, text TEXT,
    category INTEGER DEFAULT 0, extent INTEGER DEFAULT 0, UNIQUE (t, unit, code, text));
CREATE TABLE schedule (unit TEXT PRIMARY KEY, due REAL, who TEXT) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA};
"""


# From an older schema to the next one.
_MIGRATIONS = {
    1: "".join(f"ALTER TABLE sample ADD COLUMN {name} REAL;" for name in PRICES)
    + "".join(
        f"ALTER TABLE event ADD COLUMN {name} INTEGER DEFAULT 0;"
        for name in ("category", "extent")
    )
}


@dataclass
class Energy:
    """What one unit, or all, made of a day or of several. [Wh], >= 0; prices in points."""

    solar_wh: float = 0.0
    available_wh: float = 0.0  # what the panels could have given
    load_wh: float = 0.0
    mains_wh: float = 0.0
    unserved_wh: float = 0.0
    charged_wh: float = 0.0  # taken from the bus
    discharged_wh: float = 0.0  # given to the bus
    converter_loss_wh: float = 0.0
    earned_pt: float = 0.0
    paid_pt: float = 0.0

    def add(self, other: Energy) -> None:
        """Add another one to this one."""
        for name in _ENERGIES:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def own_sun_ratio(self) -> float | None:
        """Part of the sun's energy that stayed in its house, 0..1; None = there was none."""
        if self.solar_wh <= 0.0:
            return None
        return _ratio(1.0 - self.discharged_wh / self.solar_wh)

    @property
    def self_sufficiency_ratio(self) -> float | None:
        """Part of the load that did not come from the mains, what came over the bus included."""
        return _ratio(1.0 - self.mains_wh / self.load_wh) if self.load_wh > 0.0 else None

    @property
    def alone_ratio(self) -> float | None:
        """The same as if what came over the bus had come from the mains."""
        if self.load_wh <= 0.0:
            return None
        return _ratio(1.0 - (self.mains_wh + self.charged_wh) / self.load_wh)


_ENERGIES = tuple(field.name for field in fields(Energy))


def _ratio(value: float) -> float:
    return min(max(value, 0.0), 1.0)


@dataclass(frozen=True)
class Series:
    """Values over time; None where nothing is known."""

    t: tuple[float, ...]
    values: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True)
class Schedule:
    """A Soft stop that somebody ordered for later; an empty unit means the whole cluster."""

    unit_id: str
    due_s: float
    who: str


class _Mean:
    """Means of some quantities over one bucket."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self._sums: dict[str, list[float]] = {}

    def add(self, values: dict[str, float | None]) -> None:
        for name, value in values.items():
            if value is not None:
                sums = self._sums.setdefault(name, [0.0, 0.0])
                sums[0] += value
                sums[1] += 1.0

    def row(self) -> list[float | None]:
        return [sums[0] / sums[1] if (sums := self._sums.get(name)) else None for name in _COLUMNS]


@dataclass
class _Last:
    """What a unit showed when it was last looked at."""

    t: float
    house_wh: dict[str, float]
    counters_wh: dict[str, float]


class History:
    """The store. Every method may be called from any thread."""

    def __init__(self, path: Path | None, zone: tzinfo) -> None:
        """Open the file, or make it; None = in memory, for as long as the process lives.

        A file that is no such store, or that a newer version wrote, is set aside and not lost.

        Args:
            path: Where; its folder is made.
            zone: Of the place: days begin at its midnight.
        """
        self._zone = zone
        self._lock = threading.RLock()
        self._means: dict[tuple[str, int], _Mean] = {}
        self._last: dict[str, _Last] = {}
        self._seen: set[tuple[object, ...]] = set()
        self._priced: dict[tuple[str, str], PriceRecord] = {}
        self._open_deals: dict[str, tuple[int, int]] = {}
        self._commits = 0
        self._database = self._open(path)
        self._newest_s = self._scalar("SELECT max(t) FROM sample") or 0.0

    def close(self) -> None:
        """Write what is in the open buckets and close the file."""
        with self._lock:
            with self._database:
                for (unit, width), mean in self._means.items():
                    self._write_mean(unit, width, mean)
            self._means.clear()
            self._database.close()

    # --- writing ---------------------------------------------------------------------------------

    def add(self, view: GridView) -> None:
        """Take in a view of the grid; call it about once a second."""
        t = view.ros_time_s
        if t is None:
            return
        with self._lock, self._database:
            if t < self._newest_s - WENT_BACK_S:
                self._rewind(t)
            self._newest_s = max(self._newest_s, t)
            for unit in view.units:
                if unit.is_present:
                    self._add_unit(unit, t)
            bus = view.bus
            flows = (bus.voltage_v, bus.transported_w, bus.line_loss_w)
            self._add_values(BUS, dict(zip(BUS_QUANTITIES, flows, strict=True)), t)
            for deal in (*view.running, *view.past):
                self._add_deal(deal)
            for event in reversed(view.events):
                self._add_event(event)
            self._commits += 1
            if self._commits % PRUNE_EVERY == 0:
                self._prune(t)

    def _add_unit(self, unit: UnitView, t: float) -> None:
        status, converter, house = unit.status, unit.converter, unit.house
        values = {
            "soc_ratio": status.soc_ratio if status else None,
            "solar_w": house.solar_w if house else None,
            "load_w": house.load_w if house else None,
            "mains_w": house.mains_w if house else None,
            "grid_w": converter.grid_power_w if converter else None,
            "grid_v": converter.grid_voltage_v if converter else None,
            "battery_w": converter.battery_power_w if converter else None,
        }
        for column, price in zip(PRICES, (unit.asked, unit.offered), strict=True):
            if price is not None and self._priced.get((unit.unit_id, column)) != price:
                self._priced[unit.unit_id, column] = price
                values[column] = price.price_point_per_wh
        self._add_values(unit.unit_id, values, t)
        counters_wh = (
            {
                "charged_wh": converter.grid_charged_wh,
                "discharged_wh": converter.grid_discharged_wh,
                "_battery_charged_wh": converter.battery_charged_wh,
                "_battery_discharged_wh": converter.battery_discharged_wh,
            }
            if converter
            else {}
        )
        new = _Last(
            t,
            asdict(unit.house_wh) if unit.house_wh else {},
            {name: value for name, value in counters_wh.items() if value is not None},
        )
        last = self._last.get(unit.unit_id)
        self._last[unit.unit_id] = new
        if last is not None and 0.0 < t - last.t <= LONGEST_GAP_S:
            self._add_energy(unit.unit_id, t, _between(last, new))

    def _add_values(self, unit: str, values: dict[str, float | None], t: float) -> None:
        for width, _ in TIERS:
            begin = int(t // width) * width
            mean = self._means.get((unit, width))
            if mean is None or mean.begin != begin:
                if mean is not None:
                    self._write_mean(unit, width, mean)
                mean = self._means[unit, width] = _Mean(begin)
            mean.add(values)

    def _write_mean(self, unit: str, width: int, mean: _Mean) -> None:
        places = ", ".join("?" * (3 + len(_COLUMNS)))
        self._database.execute(
            f"INSERT OR REPLACE INTO sample VALUES ({places})",
            (unit, width, mean.begin, *mean.row()),
        )

    def _add_energy(self, unit: str, t: float, more: Energy) -> None:
        day = datetime.fromtimestamp(t, self._zone).date().isoformat()
        row = self._database.execute(
            "SELECT data FROM energy WHERE day = ? AND unit = ?", (day, unit)
        ).fetchone()
        energy = _energy(row[0]) if row else Energy()
        energy.add(more)
        self._database.execute(
            "INSERT OR REPLACE INTO energy VALUES (?, ?, ?)",
            (day, unit, json.dumps([round(getattr(energy, name), 4) for name in _ENERGIES])),
        )

    def _add_deal(self, deal: DealRecord) -> None:
        stamp = (deal.term, deal.sequence)
        if self._open_deals.get(deal.deal_id) == stamp:
            return
        self._open_deals[deal.deal_id] = stamp
        row = self._database.execute(
            "SELECT data FROM deal WHERE id = ?", (deal.deal_id,)
        ).fetchone()
        known = _deal(row[0]) if row else None
        if known is not None and known.state.is_over:
            return
        if known is not None:  # what was heard before a restart of the dashboard
            heard = {state for state, _ in deal.steps}
            earlier = tuple(step for step in known.steps if step[0] not in heard)
            deal = replace(deal, steps=(*earlier, *deal.steps))
        self._database.execute(
            "INSERT OR REPLACE INTO deal VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                deal.deal_id,
                deal.created_at_s or self._newest_s,
                deal.ended_at_s,
                deal.discharge_unit_id,
                deal.charge_unit_id,
                deal.state.value,
                json.dumps(asdict(deal)),
            ),
        )
        if deal.state.is_over and deal.price_point_per_wh:
            points = deal.price_point_per_wh * deal.moved_wh
            at_s = deal.ended_at_s or self._newest_s
            self._add_energy(deal.discharge_unit_id, at_s, Energy(earned_pt=points))
            self._add_energy(deal.charge_unit_id, at_s, Energy(paid_pt=points))

    def _add_event(self, event: Event) -> None:
        level = -1 if event.level is None else event.level.value
        key = (event.stamp_s, event.unit_id, event.code, event.text)
        if event.stamp_s is None or key in self._seen:
            return
        self._seen.add(key)
        self._database.execute(
            "INSERT OR IGNORE INTO event (t, unit, level, code, text, category, extent) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key[:2], level, *key[2:], event.category.value, event.extent.value),
        )

    def _rewind(self, t: float) -> None:
        day = datetime.fromtimestamp(t, self._zone).date().isoformat()
        for statement, value in (
            ("DELETE FROM sample WHERE t >= ?", t),
            ("DELETE FROM energy WHERE day >= ?", day),
            ("DELETE FROM deal WHERE created >= ?", t),
            ("DELETE FROM event WHERE t >= ?", t),
            ("DELETE FROM schedule WHERE due >= ?", t + 366 * 86_400),
        ):
            self._database.execute(statement, (value,))
        self._means.clear()
        self._last.clear()
        self._priced.clear()
        self._seen.clear()
        self._open_deals.clear()
        self._newest_s = t

    def _prune(self, t: float) -> None:
        for width, keep_s in TIERS:
            self._database.execute(
                "DELETE FROM sample WHERE width = ? AND t < ?", (width, t - keep_s)
            )
        oldest = datetime.fromtimestamp(t, self._zone).date() - timedelta(days=KEEP_DAYS)
        self._database.execute("DELETE FROM energy WHERE day < ?", (oldest.isoformat(),))
        for table, order, keep in (("deal", "created", KEEP_DEALS), ("event", "t", KEEP_EVENTS)):
            self._database.execute(
                f"DELETE FROM {table} WHERE id IN "
                f"(SELECT id FROM {table} ORDER BY {order} DESC LIMIT -1 OFFSET ?)",
                (keep,),
            )
        if len(self._seen) > KEEP_EVENTS:
            self._seen.clear()
        if len(self._open_deals) > KEEP_DEALS:
            self._open_deals.clear()

    # --- schedules -------------------------------------------------------------------------------

    def schedules(self) -> list[Schedule]:
        """Soft stops that are still to come, the next one first."""
        rows = self._rows("SELECT unit, due, who FROM schedule ORDER BY due")
        return [Schedule(*row) for row in rows]

    def set_schedule(self, schedule: Schedule) -> None:
        """Keep a schedule; the unit's earlier one is replaced."""
        with self._lock, self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO schedule VALUES (?, ?, ?)",
                (schedule.unit_id, schedule.due_s, schedule.who),
            )

    def clear_schedule(self, unit_id: str) -> None:
        """Forget a unit's schedule, if there is one; an empty id means that of the cluster."""
        with self._lock, self._database:
            self._database.execute("DELETE FROM schedule WHERE unit = ?", (unit_id,))

    # --- reading ---------------------------------------------------------------------------------

    def series(self, unit_id: str, from_s: float, to_s: float) -> Series:
        """The means of a unit, or of the :data:`BUS`, in the finest width that is kept so long."""
        width = next((w for w, keep_s in TIERS if from_s >= self._newest_s - keep_s), TIERS[-1][0])
        if to_s - from_s > 86_400.0:
            width = TIERS[-1][0]
        rows = self._rows(
            f"SELECT t, {', '.join(_COLUMNS)} FROM sample "
            "WHERE unit = ? AND width = ? AND t BETWEEN ? AND ? ORDER BY t",
            (unit_id, width, from_s - width, to_s),
        )
        columns = list(zip(*rows, strict=True)) if rows else [()] * (1 + len(_COLUMNS))
        t = tuple(begin + width / 2 for begin in columns[0])
        return Series(t, dict(zip(_COLUMNS, columns[1:], strict=True)))

    def deals(
        self,
        *,
        unit_id: str = "",
        state: DealState | None = None,
        from_s: float | None = None,
        to_s: float | None = None,
        limit: int = 200,
    ) -> list[DealRecord]:
        """Deals, running ones too, the newest first.

        Args:
            unit_id: Either side; empty = any.
            state: None = any.
            from_s: Created then or later.
            to_s: Created before.
            limit: At most so many.
        """
        wheres, values = ["1"], list[object]()
        if unit_id:
            wheres.append("? IN (giver, taker)")
            values.append(unit_id)
        if state is not None:
            wheres.append("state = ?")
            values.append(state.value)
        if from_s is not None:
            wheres.append("created >= ?")
            values.append(from_s)
        if to_s is not None:
            wheres.append("created < ?")
            values.append(to_s)
        rows = self._rows(
            f"SELECT data FROM deal WHERE {' AND '.join(wheres)} ORDER BY created DESC LIMIT ?",
            (*values, limit),
        )
        return [_deal(row[0]) for row in rows]

    def events(self, *, unit_id: str = "", limit: int = 200) -> list[Event]:
        """Faults and what else was worth knowing, the newest first."""
        rows = self._rows(
            "SELECT t, unit, level, code, text, category, extent FROM event WHERE ? IN ('', unit) "
            "ORDER BY t DESC, id DESC LIMIT ?",
            (unit_id, limit),
        )
        return [
            Event(
                text=words,
                unit_id=unit,
                level=None if level < 0 else FaultLevel(level),
                code=code,
                stamp_s=t,
                category=FaultCategory(category),
                extent=FaultExtent(extent),
            )
            for t, unit, level, code, words, category, extent in rows
        ]

    def energy(self, first: date, last: date) -> dict[str, Energy]:
        """What each unit made of these days, both included."""
        found: dict[str, Energy] = {}
        for unit, data in self._rows(
            "SELECT unit, data FROM energy WHERE day BETWEEN ? AND ? ORDER BY unit",
            (first.isoformat(), last.isoformat()),
        ):
            found.setdefault(unit, Energy()).add(_energy(data))
        return found

    def energy_by_day(self, first: date, last: date) -> dict[date, Energy]:
        """What all units together made of each of these days."""
        found: dict[date, Energy] = {}
        for day, data in self._rows(
            "SELECT day, data FROM energy WHERE day BETWEEN ? AND ? ORDER BY day",
            (first.isoformat(), last.isoformat()),
        ):
            found.setdefault(date.fromisoformat(day), Energy()).add(_energy(data))
        return found

    # --- the file --------------------------------------------------------------------------------

    def _open(self, path: Path | None) -> sqlite3.Connection:
        if path is None:
            return self._prepared(":memory:")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._prepared(str(path))
        except sqlite3.DatabaseError:
            path.replace(path.with_name(f"{path.name}.unreadable"))
            for tail in ("-wal", "-shm"):
                path.with_name(path.name + tail).unlink(missing_ok=True)
            return self._prepared(str(path))

    def _prepared(self, name: str) -> sqlite3.Connection:
        database = sqlite3.connect(name, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                database.executescript(_TABLES)
            elif version in _MIGRATIONS:
                database.executescript(
                    "BEGIN;"
                    + "".join(_MIGRATIONS[old] for old in range(version, SCHEMA))
                    + f"PRAGMA user_version = {SCHEMA}; COMMIT;"
                )
            elif version != SCHEMA:
                raise sqlite3.DatabaseError(f"schema {version}, ours is {SCHEMA}")
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database

    def _rows(self, query: str, values: Iterable[object] = ()) -> list[Any]:
        with self._lock:
            return self._database.execute(query, tuple(values)).fetchall()

    def _scalar(self, query: str) -> float | None:
        row = self._database.execute(query).fetchone()
        return None if row is None else row[0]


def _between(last: _Last, new: _Last) -> Energy:
    """What flowed between two looks, by what has grown."""
    energy = Energy()
    for name, sum_wh in new.house_wh.items():
        setattr(energy, name, max(sum_wh - last.house_wh.get(name, 0.0), 0.0))
    grown = {
        name: count - last.counters_wh[name]
        for name, count in new.counters_wh.items()
        if name in last.counters_wh
    }
    if all(more >= 0.0 for more in grown.values()):  # else it was started anew
        energy.charged_wh = grown.get("charged_wh", 0.0)
        energy.discharged_wh = grown.get("discharged_wh", 0.0)
        if "_battery_charged_wh" in grown and "_battery_discharged_wh" in grown:
            into = energy.charged_wh - grown["_battery_charged_wh"]
            out = grown["_battery_discharged_wh"] - energy.discharged_wh
            energy.converter_loss_wh = max(into + out, 0.0)
    return energy


def _energy(data: str) -> Energy:
    return Energy(*json.loads(data))


def _deal(data: str) -> DealRecord:
    values = json.loads(data)
    steps = tuple((DealState(state), at_s) for state, at_s in values.get("steps", ()))
    return DealRecord(**values | {"state": DealState(values["state"]), "steps": steps})


def days_back(today: date, days: int) -> Sequence[date]:
    """Today and the days before it, the oldest first."""
    return [today - timedelta(days=back) for back in reversed(range(days))]
