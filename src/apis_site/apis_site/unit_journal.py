"""What one unit must not forget: an append-only journal in SQLite.

An entry is on disk (WAL, synchronised) before the effect behind it happens. At start the entries
are folded into the core's :class:`~apis_core.unit.persisted_state.PersistedState`.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from apis_core import events
from apis_core.events import Entry
from apis_core.model.errors import ApisError, ConfigError, Problem
from apis_core.model.messages import Deal, Fault
from apis_core.model.receipt import Receipt
from apis_core.model.types import (
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    Meter,
    OperationMode,
)
from apis_core.unit.persisted_state import PersistedState

__all__ = ["Journal", "JournalError", "read_receipts"]

_PATIENCE_S = 0.5  # with another process that holds the file; the unit does nothing else meanwhile
_KINDS = tuple(kind.__name__ for kind in get_args(Entry))


class JournalError(ApisError):
    """An entry is not on disk."""


class Journal:
    """The journal of one unit.

    Args:
        path: Its file, made if it is not there.

    Raises:
        ConfigError: The file cannot be used, or holds what this program did not write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.database = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
            self.database.execute("PRAGMA journal_mode=WAL")
            self.database.execute("PRAGMA synchronous=FULL")
            self.database.execute(
                "CREATE TABLE IF NOT EXISTS entries ("
                "id INTEGER PRIMARY KEY, stamp_ns INTEGER NOT NULL, "
                "kind TEXT NOT NULL, body TEXT NOT NULL)"
            )
        except (OSError, sqlite3.Error) as error:
            right = f"cannot be used as a journal ({error}); it must be a writable file"
            raise ConfigError([Problem(str(path), "", "", right)]) from error

    def recall(self) -> PersistedState:
        """Everything written so far, folded."""
        persisted_state = PersistedState()
        try:
            rows = self.database.execute(
                "SELECT id, kind, body FROM entries ORDER BY id"
            ).fetchall()
        except sqlite3.Error as error:
            right = f"is no journal of ours, or damaged ({error}); move the file away"
            raise ConfigError([Problem(str(self._path), "", "", right)]) from error
        for number, kind, body in rows:
            try:
                persisted_state.add(_entry(kind, json.loads(body)))
            except (KeyError, TypeError, ValueError) as error:
                right = f"entry {number} ({kind}) is not one of ours: {error}; move the file away"
                raise ConfigError([Problem(str(self._path), "", "", right)]) from error
        return persisted_state

    def write(self, entry: Entry, stamp_ns: int) -> None:
        """Append an entry; it is on disk when this returns.

        Args:
            entry: What happened.
            stamp_ns: ROS time, for people. [ns]

        Raises:
            JournalError: It is not; the disk may be full, or the file read-only.
        """
        self._write(
            "INSERT INTO entries (stamp_ns, kind, body) VALUES (?, ?, ?)",
            (stamp_ns, type(entry).__name__, json.dumps(asdict(entry))),
        )

    def try_out(self) -> None:
        """Find out whether an entry could be written, without writing one.

        Raises:
            JournalError: It could not.
        """
        # in one go, so that the file is as it was: 4 kB more than any entry takes
        self._write("CREATE TABLE IF NOT EXISTS trial (body BLOB)")
        self._write("INSERT INTO trial VALUES (zeroblob(8192))")
        self._write("DELETE FROM trial")

    def _write(self, statement: str, values: tuple[object, ...] = ()) -> None:
        try:
            self.database.execute(statement, values)
        except sqlite3.Error as error:
            raise JournalError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self.database.close()


def read_receipts(path: Path) -> dict[str, Receipt]:
    """Read what a unit counted for each deal of its own that is over, by deal id.

    Args:
        path: The unit's journal; its node may be running. One that is not there is empty.

    Raises:
        ConfigError: The file is no journal, or damaged.
    """
    if not path.is_file():
        return {}
    try:
        name = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(name, uri=True)) as database:
            bodies = database.execute(
                "SELECT body FROM entries WHERE kind = 'DealClosed' ORDER BY id"
            ).fetchall()
        receipts = [Receipt(**json.loads(body)["receipt"]) for (body,) in bodies]
    except (sqlite3.Error, KeyError, TypeError, ValueError) as error:
        right = f"is no journal of ours, or damaged ({error})"
        raise ConfigError([Problem(str(path), "", "", right)]) from error
    return {receipt.deal_id: receipt for receipt in receipts}


def _fault(body: dict[str, Any]) -> Fault:
    known = {
        "category": FaultCategory(body["category"]),
        "extent": FaultExtent(body["extent"]),
        "level": FaultLevel(body["level"]),
    }
    return Fault(**{**body, **known})


def _entry(kind: str, body: dict[str, Any]) -> Entry:
    match kind:
        case "LeaseGranted":
            return events.LeaseGranted(**body)
        case "LocalModeSet":
            return events.LocalModeSet(OperationMode(body["mode"]))
        case "GlobalModeSet":
            return events.GlobalModeSet(OperationMode(body["mode"]), body["version"])
        case "FaultsLatched":
            return events.FaultsLatched(tuple(_fault(each) for each in body["faults"]))
        case "PolicyPrepared":
            return events.PolicyPrepared(**body)
        case "PolicyAdopted":
            return events.PolicyAdopted(**body)
        case "DealOpened":
            deal = body["deal"]
            known = {"meter": Meter(deal["meter"]), "state": DealState(deal["state"])}
            return events.DealOpened(Deal(**{**deal, **known}))
        case "DealCounted":
            return events.DealCounted(Receipt(**body["receipt"]))
        case "DealClosed":
            return events.DealClosed(Receipt(**body["receipt"]))
        case "HourCounted":
            return events.HourCounted(**body)
    raise ValueError(f"the kind must be one of {', '.join(_KINDS)}")
