"""How a program of ours begins: signals and the environment first, ROS after them.

ROS is loaded only then: with a wrong environment it would end the process with a text of its own
(see :mod:`apis_ros.ros_environment`). Loading takes a second or two, and a signal in that time is
to end the process, not to break it.
"""

from __future__ import annotations

import importlib
import signal
import sys
import time
from collections.abc import Sequence

__all__ = ["note_signals", "run_node", "run_program"]


def note_signals() -> list[float]:
    """Have SIGINT and SIGTERM noted instead of ending the process.

    Returns:
        When each came, on this process's monotonic clock; it grows. [s]
    """
    signals: list[float] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: signals.append(time.monotonic()))
    return signals


def run_node(program: str, module: str, arguments: Sequence[str] | None) -> int:
    """Run a process that has to end in order: converters to WAIT, and the like.

    Args:
        program: Its name, for the user.
        module: Where its ``run(arguments, signals)`` is; see :func:`note_signals`.
        arguments: Command line; None = the process's.

    Returns:
        The exit code.
    """
    signals = note_signals()
    if not _is_ros_usable(program):
        return 2
    given = list(sys.argv[1:] if arguments is None else arguments)
    code: int = importlib.import_module(module).run(given, signals)
    return code


def run_program(program: str, module: str, function: str = "main") -> int:
    """Run a process that a signal may end at any time while it loads.

    Args:
        program: Its name, for the user.
        module: Where its main function is.
        function: The name of that.

    Returns:
        The exit code.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    if not _is_ros_usable(program):
        return 2
    code: int = getattr(importlib.import_module(module), function)()
    return code


def _is_ros_usable(program: str) -> bool:
    from apis_ros.ros_environment import is_ros_usable  # this one takes long, too

    return is_ros_usable(program)
