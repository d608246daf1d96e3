"""How a program of ours begins: signals and the environment first, ROS after them."""

from __future__ import annotations

import importlib
import signal
import sys

__all__ = ["run_program"]


def run_program(program: str, module: str, function: str = "main") -> int:
    """Look at the environment, load the module and call its function; give the exit code.

    ROS is loaded only then: with a wrong environment it would end the process with a text of its
    own (see :mod:`apis_ros.ros_environment`). Loading takes a second or two, in which a signal
    ends the process without a traceback.

    Args:
        program: Its name, for the user.
        module: Where its main function is.
        function: The name of that.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    from apis_ros.ros_environment import is_ros_usable

    if not is_ros_usable(program):
        return 2
    code: int = getattr(importlib.import_module(module), function)()
    return code
