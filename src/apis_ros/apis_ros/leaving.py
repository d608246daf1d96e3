"""How a process of the graph ends: what is wrong in a line each, one meaning of exit codes, and
never a hang.

Signals are noted from the first moment on by :mod:`apis_ros.program`, which needs no ROS.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import rclpy
from rclpy.context import Context
from rclpy.exceptions import ParameterException
from rclpy.signals import SignalHandlerOptions

from apis_core.model.errors import ConfigError

__all__ = [
    "LEFT_UNDONE",
    "STOPPED",
    "WRONG",
    "StartError",
    "leave_within_limit",
    "own_arguments",
    "run_in_graph",
]

STOPPED = 0  # by a signal, in order
LEFT_UNDONE = 1  # it ends, and something is not as it should be: a converter is on, for one
WRONG = 2  # a configuration, a parameter or an environment with which it cannot start

_LIMIT_S = 3  # wall; for leaving the graph


class StartError(Exception):
    """The process cannot start; the text is one line for people."""


def run_in_graph(
    program: str,
    arguments: Sequence[str] | None,
    run: Callable[[], int],
    *,
    context: Context | None = None,
) -> int:
    """Run a process with ROS, which handles no signals; give the exit code.

    Why the process cannot start becomes a line for each problem, and ``WRONG``.

    Args:
        program: Its name, for the user.
        arguments: Command line; None = the process's.
        run: Its work; gives the exit code. It may raise ConfigError or StartError.
        context: Which one is initialised; None = the process's.
    """
    try:
        with _in_graph(arguments, context):
            return run()
    except ConfigError as error:
        lines = [str(problem) for problem in error.problems]
    except (StartError, ParameterException) as error:  # the latter of those that rclpy reads
        lines = [" ".join(str(error).split())]
    for line in lines:
        print(f"{program}: {line}", file=sys.stderr)
    return WRONG


@contextmanager
def _in_graph(arguments: Sequence[str] | None, context: Context | None) -> Iterator[None]:
    given = None if arguments is None else list(arguments)
    try:
        rclpy.init(args=given, context=context, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy has several kinds for arguments that it cannot read
        raise StartError(str(error)) from error
    try:
        yield
    finally:
        rclpy.try_shutdown(context=context)
        signal.alarm(0)


def own_arguments(arguments: Sequence[str]) -> list[str]:
    """What is left of a command line when rclpy has taken its own (after ``--ros-args``)."""
    return list(rclpy.utilities.remove_ros_args(["", *arguments])[1:])


def leave_within_limit() -> None:
    """Have the kernel end the process unless it leaves the graph soon; call it before nodes go.

    All is said and done by then. Fast DDS may wait for ever for a callback of its own when others
    leave the graph in the same moment, with Python's lock held: only the kernel helps then.
    """
    signal.alarm(_LIMIT_S)
