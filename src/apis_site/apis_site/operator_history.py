"""The operator's history: what a dashboard keeps of a grid, in one SQLite file of the run folder.

The dashboard writes it; ``apisctl`` reads past deals from it, and keeps schedules in it. Times are
ROS time, seconds since the epoch. Means of quantities are kept in buckets of two widths: one
minute for two days, a quarter of an hour for five weeks. Energies are kept by day for ten years.
With a hundred units the file stays below 150 MB, with four below 6 MB.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from apis_core.model.errors import ApisError
from apis_core.model.types import DealState, FaultCategory, FaultExtent, FaultLevel
from apis_site.history_values import (
    ENERGIES,
    QUANTITIES,
    DealRecord,
    Energy,
    EventRecord,
    Schedule,
    Series,
)

__all__ = ["TIERS", "HistoryError", "OperatorHistory"]

SCHEMA = 2
TIERS = ((60, 2 * 86_400), (900, 35 * 86_400))  # width and how long it is kept [s]
KEEP_DAYS = 3653
KEEP_DEALS = 20_000
KEEP_EVENTS = 5_000
PATIENCE_S = 5.0  # wall; with another process that writes

_TABLES = f"""
CREATE TABLE sample (
    unit TEXT, width INTEGER, t INTEGER, {", ".join(f"{c} REAL" for c in QUANTITIES)},
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
    1: "".join(
        f"ALTER TABLE sample ADD COLUMN {name} REAL;" for name in ("asked_pt", "offered_pt")
    )
    + "".join(
        f"ALTER TABLE event ADD COLUMN {name} INTEGER DEFAULT 0;"
        for name in ("category", "extent")
    )
}


class HistoryError(ApisError):
    """A history cannot be read or written; the text says which and why."""


class OperatorHistory:
    """Reads and writes the file. Every method may be called from any thread.

    What puts, adds, forgets or prunes is called within :meth:`transaction`.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the file, or make it.

        A file that is no such store, or that a newer version wrote, is set aside and not lost.

        Args:
            path: Where; its folder is made. None = in memory, for as long as the process lives.
        """
        self._lock = threading.RLock()
        self._database = _open(path)

    @classmethod
    def join(cls, path: Path) -> OperatorHistory:
        """Open the file that another process keeps; nothing is made and nothing set aside.

        Raises:
            HistoryError: There is none, it holds nothing yet, or it is no such store.
        """
        if not path.is_file():
            raise HistoryError(f"{path}: there is no such file")
        joined = cls.__new__(cls)
        joined._lock = threading.RLock()
        joined._database = _connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)
        try:
            version = _version(joined._database)
        except sqlite3.DatabaseError as error:
            joined.close()
            raise HistoryError(f"{path}: {error}") from None
        if not 0 < version <= SCHEMA:
            joined.close()
            raise HistoryError(f"{path}: schema {version}, it must be one from 1 to {SCHEMA}")
        return joined

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write what is written inside all together, or, when something raises, not at all.

        Raises:
            HistoryError: The file cannot be written.
        """
        try:
            with self._lock, self._database:
                yield
        except sqlite3.Error as error:
            raise HistoryError(f"the history cannot be written: {error}") from error

    # --- means over buckets ----------------------------------------------------------------------

    def put_sample(
        self, unit_id: str, width_s: int, begin_s: int, means: Mapping[str, float | None]
    ) -> None:
        """Keep the means of a bucket, instead of what was kept of it.

        Args:
            unit_id: Whose; :data:`~apis_site.history_values.BUS` for the bus.
            width_s: One of :data:`TIERS`.
            begin_s: Where the bucket begins.
            means: By name, of the quantities that are kept; what is left out is not
                known.
        """
        row = (unit_id, width_s, begin_s, *(means.get(name) for name in QUANTITIES))
        self._write(f"INSERT OR REPLACE INTO sample VALUES ({', '.join('?' * len(row))})", row)

    def series(self, unit_id: str, width_s: int, from_s: float, to_s: float) -> Series:
        """Give the means of a unit, or of the bus, at the middles of their buckets."""
        rows = self._rows(
            f"SELECT t, {', '.join(QUANTITIES)} FROM sample "
            "WHERE unit = ? AND width = ? AND t BETWEEN ? AND ? ORDER BY t",
            (unit_id, width_s, from_s - width_s, to_s),
        )
        columns = list(zip(*rows, strict=True)) if rows else [()] * (1 + len(QUANTITIES))
        t = tuple(begin + width_s / 2 for begin in columns[0])
        return Series(t, dict(zip(QUANTITIES, columns[1:], strict=True)))

    def newest_sample_s(self) -> float:
        """When the newest bucket begins; 0 = there is none."""
        return self._rows("SELECT max(t) FROM sample")[0][0] or 0.0

    # --- energies by day -------------------------------------------------------------------------

    def add_energy(self, day: date, unit_id: str, more: Energy) -> None:
        """Add to what is kept of a unit and a day."""
        key = (day.isoformat(), unit_id)
        rows = self._rows("SELECT data FROM energy WHERE day = ? AND unit = ?", key)
        energy = _energy(rows[0][0]) if rows else Energy()
        energy.add(more)
        data = json.dumps([round(getattr(energy, name), 4) for name in ENERGIES])
        self._write("INSERT OR REPLACE INTO energy VALUES (?, ?, ?)", (*key, data))

    def energies(self, first: date, last: date) -> Iterator[tuple[date, str, Energy]]:
        """Day, unit and what it made of it, for these days, both included, in this order."""
        for day, unit_id, data in self._rows(
            "SELECT day, unit, data FROM energy WHERE day BETWEEN ? AND ? ORDER BY day, unit",
            (first.isoformat(), last.isoformat()),
        ):
            yield date.fromisoformat(day), unit_id, _energy(data)

    # --- deals -----------------------------------------------------------------------------------

    def put_deal(self, deal: DealRecord, created_s: float) -> None:
        """Keep a deal, instead of what was kept of it.

        Args:
            deal: As it was told last.
            created_s: By which deals are sorted.
        """
        sides = (deal.discharge_unit_id, deal.charge_unit_id)
        row = (deal.deal_id, created_s, deal.ended_at_s, *sides, deal.state.value)
        self._write(
            "INSERT OR REPLACE INTO deal VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row, json.dumps(asdict(deal))),
        )

    def deal(self, deal_id: str) -> DealRecord | None:
        """What is kept of a deal; None = nothing."""
        rows = self._rows("SELECT data FROM deal WHERE id = ?", (deal_id,))
        return _deal(rows[0][0]) if rows else None

    def deals(
        self,
        *,
        unit_id: str = "",
        state: DealState | None = None,
        from_s: float | None = None,
        to_s: float | None = None,
        limit: int | None = None,
    ) -> list[DealRecord]:
        """Deals, running ones too, the newest first.

        Args:
            unit_id: Either side; empty = any.
            state: None = any.
            from_s: Created then or later.
            to_s: Created before.
            limit: At most so many; None = all.
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
            (*values, -1 if limit is None else limit),
        )
        return [_deal(row[0]) for row in rows]

    # --- events ----------------------------------------------------------------------------------

    def put_event(self, event: EventRecord) -> None:
        """Keep an event, once however often it comes."""
        self._write(
            "INSERT OR IGNORE INTO event (t, unit, level, code, text, category, extent) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                event.stamp_s,
                event.unit_id,
                -1 if event.level is None else event.level.value,
                event.code,
                event.text,
                event.category.value,
                event.extent.value,
            ),
        )

    def events(self, *, unit_id: str = "", limit: int = 200) -> list[EventRecord]:
        """Faults and what else was worth knowing, the newest first; an empty unit = of all."""
        rows = self._rows(
            "SELECT t, unit, level, code, text, category, extent FROM event WHERE ? IN ('', unit) "
            "ORDER BY t DESC, id DESC LIMIT ?",
            (unit_id, limit),
        )
        return [
            EventRecord(
                stamp_s=t,
                unit_id=unit,
                text=words,
                level=None if level < 0 else FaultLevel(level),
                code=code,
                category=FaultCategory(category),
                extent=FaultExtent(extent),
            )
            for t, unit, level, code, words, category, extent in rows
        ]

    # --- schedules -------------------------------------------------------------------------------

    def schedules(self) -> list[Schedule]:
        """Soft stops that are still to come, the next one first."""
        rows = self._rows("SELECT unit, due, who FROM schedule ORDER BY due")
        return [Schedule(*row) for row in rows]

    def set_schedule(self, schedule: Schedule) -> None:
        """Keep a schedule; the unit's earlier one is replaced.

        Raises:
            HistoryError: The file cannot be written.
        """
        row = (schedule.unit_id, schedule.due_s, schedule.who)
        with self.transaction():
            self._write("INSERT OR REPLACE INTO schedule VALUES (?, ?, ?)", row)

    def clear_schedule(self, unit_id: str) -> None:
        """Forget a unit's schedule, if there is one; an empty id means that of the cluster.

        Raises:
            HistoryError: The file cannot be written.
        """
        with self.transaction():
            self._write("DELETE FROM schedule WHERE unit = ?", (unit_id,))

    # --- what goes -------------------------------------------------------------------------------

    def forget_from(self, from_s: float, day: date) -> None:
        """Delete what came then or later; of schedules, those that are due a year later.

        Args:
            from_s: When.
            day: Which day that is, at the place.
        """
        for statement, value in (
            ("DELETE FROM sample WHERE t >= ?", from_s),
            ("DELETE FROM energy WHERE day >= ?", day.isoformat()),
            ("DELETE FROM deal WHERE created >= ?", from_s),
            ("DELETE FROM event WHERE t >= ?", from_s),
            ("DELETE FROM schedule WHERE due >= ?", from_s + 366 * 86_400),
        ):
            self._write(statement, (value,))

    def prune(self, now_s: float, today: date) -> None:
        """Delete what has been kept long enough."""
        for width_s, keep_s in TIERS:
            self._write("DELETE FROM sample WHERE width = ? AND t < ?", (width_s, now_s - keep_s))
        oldest = today - timedelta(days=KEEP_DAYS)
        self._write("DELETE FROM energy WHERE day < ?", (oldest.isoformat(),))
        for table, order, keep in (("deal", "created", KEEP_DEALS), ("event", "t", KEEP_EVENTS)):
            self._write(
                f"DELETE FROM {table} WHERE id IN "
                f"(SELECT id FROM {table} ORDER BY {order} DESC LIMIT -1 OFFSET ?)",
                (keep,),
            )

    # ---------------------------------------------------------------------------------------------

    def _rows(self, query: str, values: Iterable[object] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._database.execute(query, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise HistoryError(f"the history cannot be read: {error}") from error

    def _write(self, statement: str, values: Iterable[object]) -> None:
        with self._lock:
            self._database.execute(statement, tuple(values))


def _open(path: Path | None) -> sqlite3.Connection:
    if path is None:
        return _prepared(":memory:")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _prepared(str(path))
    except sqlite3.DatabaseError:
        path.replace(path.with_name(f"{path.name}.unreadable"))
        for tail in ("-wal", "-shm"):
            path.with_name(path.name + tail).unlink(missing_ok=True)
        return _prepared(str(path))


def _prepared(name: str) -> sqlite3.Connection:
    database = _connect(name)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        version = _version(database)
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


def _connect(name: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=PATIENCE_S, check_same_thread=False, uri=uri)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _energy(data: str) -> Energy:
    return Energy(*json.loads(data))


def _deal(data: str) -> DealRecord:
    values = json.loads(data)
    steps = tuple((DealState(state), at_s) for state, at_s in values.get("steps", ()))
    return DealRecord(**values | {"state": DealState(values["state"]), "steps": steps})
