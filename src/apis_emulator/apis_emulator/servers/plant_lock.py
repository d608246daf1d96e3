"""A lock for the plant that nobody can keep from others by taking it again at once.

On a busy machine the emulator's tick is always late, and takes the lock as soon as it has let it
go; a plain lock would then let no device answer for seconds.
"""

from __future__ import annotations

import threading
from types import TracebackType

__all__ = ["PlantLock"]


class PlantLock:
    """Re-entrant; who waits has its turn before who has just had it. Use it by ``with``."""

    def __init__(self) -> None:
        self._gate = threading.Lock()  # held by the one who is next
        self._lock = threading.Lock()
        self._owner = 0
        self._depth = 0

    def __enter__(self) -> PlantLock:
        me = threading.get_ident()
        if self._owner != me:
            with self._gate:
                self._lock.acquire()
            self._owner = me
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._lock.release()
