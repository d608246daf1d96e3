"""The directions of a battery that several units of one host share, as locks of the kernel.

What counts is the lock, not the file: a process that dies frees its locks, whatever it was doing.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from apis_core.events import BatteryClaimed
from apis_core.model.types import Direction

__all__ = ["BatteryLock"]


class BatteryLock:
    """Both directions of one battery, for one unit.

    Args:
        battery: Its name, the same for all units that use it.
        folder: Of the files, the same for all of them; None = the host's folder for such files.
    """

    def __init__(self, battery: str, folder: Path | None = None) -> None:
        self._battery = battery
        self._folder = folder or Path(tempfile.gettempdir())
        self._files: dict[Direction, int] = {}

    def claim(self, direction: Direction) -> BatteryClaimed:
        """Try to get a direction; at once, either way."""
        if direction in self._files:
            return BatteryClaimed(direction, True)
        path = self._folder / f".apis.{self._battery}.{direction.name}.lock"
        file = -1
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return BatteryClaimed(direction, False)
        except OSError as error:
            if file >= 0:
                os.close(file)
            return BatteryClaimed(direction, False, f"{path} cannot be locked: {error.strerror}")
        self._files[direction] = file
        return BatteryClaimed(direction, True)

    def free(self, direction: Direction) -> None:
        """Give a direction back; one that is not held is no error."""
        file = self._files.pop(direction, None)
        if file is not None:
            os.close(file)

    def close(self) -> None:
        """Give everything back."""
        for direction in list(self._files):
            self.free(direction)
