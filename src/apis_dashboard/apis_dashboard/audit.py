"""Who did what, and when: one JSON object per line, on disk before the order is given."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

__all__ = ["Audit", "AuditEntry"]

SHOWN = 200
LARGEST_BYTES = 5_000_000  # then the file is set aside as .1, and an earlier .1 goes


@dataclass(frozen=True)
class AuditEntry:
    """One line: wall time in UTC, who, what was asked, and for an answer how it ended."""

    when: str
    who: str
    what: str
    outcome: str = ""


class Audit:
    """The log. None as path = in memory only."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: deque[AuditEntry] = deque(maxlen=SHOWN)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._recall(path)

    def note(self, who: str, what: str, outcome: str = "") -> None:
        """Write a line; it is on disk when this returns."""
        when = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        entry = AuditEntry(when, who, what, outcome)
        with self._lock:
            self._entries.appendleft(entry)
            if self._path is None:
                return
            if self._path.is_file() and self._path.stat().st_size > LARGEST_BYTES:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def entries(self) -> list[AuditEntry]:
        """The last lines, the newest first."""
        with self._lock:
            return list(self._entries)

    def _recall(self, path: Path) -> None:
        if not path.is_file():
            return
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]:
            try:
                self._entries.appendleft(AuditEntry(**json.loads(line)))
            except (ValueError, TypeError):
                continue  # cut off by a crash in the middle of a line
