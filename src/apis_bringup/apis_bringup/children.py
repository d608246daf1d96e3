"""What the runner runs: a program, what has become of it, and how it is started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from apis_bringup.roles import Restarts, Role

__all__ = ["Child", "Running", "popen"]

LAST_WORDS = 12  # lines


@dataclass(frozen=True, slots=True)
class Child:
    """A program to run.

    Attributes:
        name: As people know it, such as ``unit E001``.
        command: Program and arguments.
        role: What it is for: when it is asked to stop, and what follows from its death.
        stop_s: Wall time that it has to stop. [s]
        rescue: For a driver, a program that tells its converter WAIT and ends with 0 when it is
            there. It is run at the end if the driver itself could not do so.
    """

    name: str
    command: tuple[str, ...]
    role: Role
    stop_s: float = 5.0
    rescue: tuple[str, ...] = ()


@dataclass
class Running:
    """A child and what has become of it."""

    child: Child
    log: BinaryIO
    colour: str
    restarts: Restarts
    pid: int | None = None
    is_alive: bool = False
    returncode: int | None = None  # of the last one that has ended
    asked: bool = False  # to stop
    killed: bool = False  # by the runner
    is_rescue: bool = False
    started_s: float = 0.0  # steady
    restart_at_s: float | None = None  # steady
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS))

    @property
    def ended_orderly(self) -> bool:
        """Whether it ended as one that was asked to; it may not have had a handler yet."""
        if self.returncode in (0, -signal.SIGINT, 128 + signal.SIGINT):
            return True
        # Python's exit code is 1 if the interrupt comes while the interpreter itself starts.
        return bool(self.last_words) and self.last_words[-1].startswith("KeyboardInterrupt")

    @property
    def is_lost(self) -> bool:
        """Whether its converter may still be on, and nobody is there who would switch it off."""
        return bool(self.child.rescue) and not self.is_alive and self.returncode != 0

    @property
    def how_it_ended(self) -> str:
        """For people."""
        if self.returncode is None or self.returncode >= 0:
            return f"ended by itself with exit code {self.returncode}"
        return f"was killed by {signal.Signals(-self.returncode).name}"

    @property
    def is_unit(self) -> bool:
        """Whether it is one, or several."""
        return self.child.role is Role.UNIT

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the child and whatever it started."""
        if self.pid is None or not self.is_alive:
            return
        with suppress(ProcessLookupError):  # it has ended, and that message is in the queue
            os.killpg(self.pid, number)


def popen(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a child in its own session, so that Ctrl-C reaches the runner alone.

    When the runner is killed, the kernel asks the child to end, so that it can say WAIT first.
    """
    wrapper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py"))]
    return subprocess.Popen(
        [*wrapper, str(os.getpid()), str(int(signal.SIGTERM)), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )
