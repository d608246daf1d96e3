"""The directions of a battery that several units of one host share, as locks of the kernel.

What counts is the lock, not the file: a process that dies frees its locks, whatever it was doing.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from apis_core.events import BatteryClaimed
from apis_core.types import DealType

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
        self._files: dict[DealType, int] = {}

    def claim(self, type_: DealType) -> BatteryClaimed:
        """Try to get a direction; at once, either way."""
        if type_ in self._files:
            return BatteryClaimed(type_, True)
        path = self._folder / f".apis.{self._battery}.{type_.name}.lock"
        file = -1
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return BatteryClaimed(type_, False)
        except OSError as error:
            if file >= 0:
                os.close(file)
            return BatteryClaimed(type_, False, f"{path} cannot be locked: {error.strerror}")
        self._files[type_] = file
        return BatteryClaimed(type_, True)

    def free(self, type_: DealType) -> None:
        """Give a direction back; one that is not held is no error."""
        file = self._files.pop(type_, None)
        if file is not None:
            os.close(file)

    def close(self) -> None:
        """Give everything back."""
        for type_ in list(self._files):
            self.free(type_)
