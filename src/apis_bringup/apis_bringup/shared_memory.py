"""Removes the shared memory of Fast DDS whose process was killed.

With ``ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST`` the middleware (rmw_fastrtps) always opens a
segment of shared memory beside UDP, whatever the profile says: half a megabyte a process, which
stays in ``/dev/shm`` for good when the process is killed. Its owner holds a lock on a file beside
it as long as it lives; ``fastdds shm clean`` goes by the same lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path

__all__ = ["remove_dead_segments"]

_SEGMENT = re.compile(r"fastdds_[0-9a-f]{16}")
_LOCK = "_el"
_SETTLED_S = 10.0  # a lock file that is younger may be about to be locked by the one who made it


def remove_dead_segments(folder: Path = Path("/dev/shm")) -> int:
    """Remove our own user's segments that no process holds any more.

    Returns:
        How many.
    """
    removed = 0
    with contextlib.suppress(OSError):  # no such folder here: nothing to do
        for segment in list(folder.iterdir()):
            if _SEGMENT.fullmatch(segment.name):
                with contextlib.suppress(OSError):  # another one removes it, too
                    removed += _remove_if_dead(segment)
    return removed


def _remove_if_dead(segment: Path) -> bool:
    lock = segment.with_name(segment.name + _LOCK)
    with lock.open("rb") as file:
        facts = os.fstat(file.fileno())
        if facts.st_uid != os.getuid() or time.time() - facts.st_mtime < _SETTLED_S:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its owner lives
            return False
        segment.unlink()
        lock.unlink()
    return True
