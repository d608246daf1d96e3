"""Knows which grid runs on a ROS domain, to refuse a second one and to stop the first.

One grid at a time runs on a domain, whatever its cluster is called: an emulator publishes
``/clock``, which all nodes of a domain share. The grid holds its domain until its last process has
ended, also when the one that started them is gone: each shares a lock, see child.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from apis_bringup.errors import CommandError
from apis_ros.ros_environment import domain_id

__all__ = [
    "RunningGrid",
    "age_s",
    "claim",
    "domain_id",
    "find",
    "leftovers",
    "members_environment",
    "stop",
    "stop_leftovers",
]

_KILLED_WITHIN_S = 2.0  # steady


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
        _refuse_leftovers()
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


def members_environment() -> dict[str, str]:
    """What child.py needs to know to make a process a member of the grid that runs here."""
    return {"APIS_MEMBERS_FILE": str(_members_path())}


def leftovers() -> list[int]:
    """The processes of a grid on our domain whose runner is gone; each was told to stop then."""
    if find() is not None:
        return []
    try:
        file = _members_path().stat()
    except FileNotFoundError:
        return []
    found = []
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is somebody else's
            if os.path.samestat(file, handle.stat()):
                found.append(int(handle.parts[2]))
    return sorted(set(found) - {os.getpid()})


def stop_leftovers(pids: list[int], *, within_s: float) -> list[int]:
    """Ask processes without a runner to stop, and kill those that have not after that time.

    Returns:
        Those that had to be killed.
    """
    handles = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handles[pid] = os.pidfd_open(pid)
    try:
        _signal_and_wait(handles, signal.SIGTERM, within_s)
        killed = [pid for pid, handle in handles.items() if not _has_ended(handle)]
        _signal_and_wait({pid: handles[pid] for pid in killed}, signal.SIGKILL, _KILLED_WITHIN_S)
        return killed
    finally:
        for handle in handles.values():
            os.close(handle)


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


def _signal_and_wait(handles: dict[int, int], number: signal.Signals, within_s: float) -> None:
    for handle in handles.values():
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
    deadline_s = time.monotonic() + within_s
    for handle in handles.values():
        select.select([handle], [], [], max(0.0, deadline_s - time.monotonic()))


def _has_ended(handle: int) -> bool:
    return bool(select.select([handle], [], [], 0.0)[0])


def _created_at(pid: int) -> int:
    """When a process was created, in ticks since the machine started; see proc_pid_stat(5).

    -1 = it has ended, and its parent has not asked for its exit code yet.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return -1 if fields[0] == "Z" else int(fields[19])


def _lock_path() -> Path:
    folder = Path(tempfile.gettempdir()) / f"apis-{os.getuid()}"
    return folder / f"domain-{domain_id()}.json"


def _members_path() -> Path:
    return _lock_path().with_suffix(".members")


def _refuse_leftovers() -> None:
    """Refuse to start beside what is left of a grid whose runner is gone.

    Raises:
        CommandError: Processes are left.
    """
    with _members_path().open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = ", ".join(str(pid) for pid in leftovers())
            raise CommandError(
                f"processes of an earlier grid still run on ROS_DOMAIN_ID {domain_id()} ({who}): "
                "stop them with `apisctl stop`, or choose another ROS_DOMAIN_ID"
            ) from None


def _busy_text() -> str:
    other = find()
    who = f"the grid {other.cluster!r} (process {other.pid})" if other else "another grid"
    return (
        f"{who} already runs on ROS_DOMAIN_ID {domain_id()}: "
        "stop it with `apisctl stop`, or choose another ROS_DOMAIN_ID"
    )
