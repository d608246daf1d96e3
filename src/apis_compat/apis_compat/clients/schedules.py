"""Soft stops that a client of the original's main controller has ordered for later, in a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

__all__ = ["Schedules"]


class Schedules:
    """By unit id, empty for the cluster; at most one each. Any thread may use it."""

    def __init__(self, file: Path) -> None:
        """Read what an earlier process left in the file."""
        self._file = file
        self._lock = threading.Lock()
        try:
            self._due: dict[str, str] = json.loads(file.read_text())
        except (OSError, ValueError):
            self._due = {}

    def all(self) -> dict[str, dict[str, str]]:
        """As ``/schedules`` gives them."""
        with self._lock:
            return {unit_id: {"softStop": due} for unit_id, due in self._due.items()}

    def set(self, unit_id: str, due: str | None) -> None:
        """Keep a schedule, or forget it.

        Args:
            unit_id: Empty for the cluster.
            due: ISO 8601 with offset; None = forget it.

        Raises:
            ValueError: It is no such time.
        """
        if due is not None and datetime.fromisoformat(due).tzinfo is None:
            raise ValueError(f"{due} has no offset such as +09:00")
        with self._lock:
            self._due.pop(unit_id, None)
            if due is not None:
                self._due[unit_id] = due
            self._file.write_text(json.dumps(self._due))

    def fire(self, now_s: float, soft_stop: Callable[[str], object]) -> None:
        """Order what is due, and forget it.

        Args:
            now_s: The graph's time. [s]
            soft_stop: Orders a Soft stop of a unit, or of the cluster.
        """
        with self._lock:
            due = [u for u, at in self._due.items() if _seconds(at) <= now_s]
        for unit_id in due:
            soft_stop(unit_id)
            self.set(unit_id, None)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
