"""Knows which grid runs on a ROS domain, to refuse a second one and to stop the first.

One grid at a time runs on a domain, whatever its cluster is called: an emulator publishes
``/clock``, which all nodes of a domain share.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from apis_bringup.errors import CommandError

__all__ = ["RunningGrid", "age_s", "claim", "domain_id", "find", "stop"]

LAST_DOMAIN = 101  # the ports of a higher one are among those that the kernel gives to anybody


@dataclass(frozen=True, slots=True)
class RunningGrid:
    """A grid that runs on this machine.

    Attributes:
        cluster: Its name in the graph.
        units: Its unit ids.
        folder: Its run folder, absolute.
        url: The dashboard's address; None = no dashboard.
        pid: Process that stops everything when it gets SIGINT.
        started: When that process was created, in ticks since the machine started; tells it from a
            later one with the same id.
    """

    cluster: str
    units: tuple[str, ...]
    folder: str
    url: str | None
    pid: int = 0
    started: int = 0


def domain_id() -> int:
    """The ROS domain that all commands of this process use."""
    text = os.environ.get("ROS_DOMAIN_ID", "") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) <= LAST_DOMAIN):
        right = f"must be a whole number from 0 to {LAST_DOMAIN}"
        why = "the ports of higher domains are also given to other programs"
        raise CommandError(f"ROS_DOMAIN_ID is {text!r}, {right}; {why}")
    return int(text)


@contextlib.contextmanager
def claim(grid: RunningGrid) -> Iterator[RunningGrid]:
    """Hold the domain for a grid that this process runs.

    Raises:
        CommandError: Another grid runs on the domain.
    """
    path = _lock_path()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("a+") as file:
        try:
            # Ends with this process, however it ends.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(_busy_text()) from None
        grid = replace(grid, pid=os.getpid(), started=_created_at(os.getpid()))
        file.truncate(0)
        file.write(json.dumps(asdict(grid)))
        file.flush()
        try:
            yield grid
        finally:
            file.truncate(0)


def find() -> RunningGrid | None:
    """The grid that runs on our domain on this machine, if there is one."""
    try:
        data = json.loads(_lock_path().read_text())
        grid = RunningGrid(**(data | {"units": tuple(data["units"])}))
        # A process with the number but not the birthday is a later one that got the same number.
        return grid if _created_at(grid.pid) == grid.started else None
    except (FileNotFoundError, ValueError):
        return None


def age_s(grid: RunningGrid) -> float:
    """How long ago a grid was started. [s, wall]"""
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    return up_s - grid.started / os.sysconf("SC_CLK_TCK")


def stop(grid: RunningGrid, *, within_s: float) -> bool:
    """Ask a grid to stop and wait until it has; False if it still runs after that time."""
    try:
        handle = os.pidfd_open(grid.pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(handle, signal.SIGINT)
        return bool(select.select([handle], [], [], within_s)[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)


def _created_at(pid: int) -> int:
    """When a process was created, in ticks since the machine started; see proc_pid_stat(5)."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    return int(after_name.split()[19])


def _lock_path() -> Path:
    folder = Path(tempfile.gettempdir()) / f"apis-{os.getuid()}"
    return folder / f"domain-{domain_id()}.json"


def _busy_text() -> str:
    other = find()
    who = f"the grid {other.cluster!r} (process {other.pid})" if other else "another grid"
    return (
        f"{who} already runs on ROS_DOMAIN_ID {domain_id()}: "
        "stop it with `apisctl stop`, or choose another ROS_DOMAIN_ID"
    )
