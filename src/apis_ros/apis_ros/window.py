"""The process of a window on the grid: parameters in, a node that spins, an orderly end.

Parameters of every window: ``grid_file`` (resolved grid description, JSON) and ``policy_file``
(the original's JSON; may be missing). Exit codes: 0 stopped by SIGINT or SIGTERM, 2 a wrong
parameter or a busy port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rclpy.node import Node

from apis_core.config.policy import Policy, parse_policy
from apis_core.model.errors import ConfigError
from apis_ros.authenticator import UNSIGNED, MessageAuthenticator, operator_authenticator
from apis_ros.executor import NodeExecutor
from apis_ros.leaving import STOPPED, StartError, leave_within_limit, run_in_graph
from apis_ros.parameters import NodeParameter, declare_parameters
from apis_ros.program import note_signals
from apis_site.files import read_text
from apis_site.grid import GridDescription

__all__ = ["WindowError", "WindowFiles", "read_grid_file", "run_window"]

FILES = (
    NodeParameter(
        name="grid_file", default="", about="Path of the resolved grid description (JSON); needed"
    ),
    NodeParameter(name="policy_file", default="", about="Path of the policy; empty = none"),
)
SPIN_S = 0.1  # wall; how soon a signal is seen


class WindowError(StartError):
    """The window cannot open; the text is one line for people."""


@dataclass(frozen=True)
class WindowFiles:
    """What a window was given to read."""

    grid: GridDescription
    policy: Policy | None
    policy_text: str = ""
    authenticator: MessageAuthenticator = UNSIGNED


def run_window(
    name: str,
    parameters: Sequence[NodeParameter],
    build: Callable[[Node, WindowFiles, dict[str, Any], ExitStack], None],
    arguments: list[str] | None = None,
) -> int:
    """Run a window's node until a signal comes.

    Args:
        name: Of the node.
        parameters: Its own, beside the files that every window reads.
        build: Gives the node its work; what is to be closed at the end goes on the stack.
            Raises WindowError if it cannot.
        arguments: Command line; None = the process's.

    Returns:
        The exit code.
    """
    signals = note_signals()

    def run() -> int:
        with ExitStack() as stack:
            executor = NodeExecutor()
            node = Node(name)
            stack.callback(node.destroy_node)
            stack.callback(leave_within_limit)
            values = declare_parameters(node, (*FILES, *parameters))
            build(node, _files(values), values, stack)
            executor.add_node(node)
            while not signals:
                executor.spin_once(timeout_sec=SPIN_S)
            executor.shutdown()
        return STOPPED

    return run_in_graph(name, arguments, run)


def read_grid_file(file: str) -> GridDescription:
    """Read a resolved grid description.

    Raises:
        WindowError: It is missing or wrong.
    """
    if not file:
        raise WindowError("parameter grid_file is missing: --ros-args -p grid_file:=FILE.json")
    try:
        return GridDescription.model_validate_json(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise WindowError(f"grid_file {file}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise WindowError(f"grid_file {file}: {place}: {first['msg']}") from error


def _files(values: dict[str, Any]) -> WindowFiles:
    grid = read_grid_file(values["grid_file"])
    file = values["policy_file"]
    try:
        text = read_text(file, what="policy_file") if file else ""
        policy = parse_policy(text, file) if file else None
    except ConfigError as error:
        raise WindowError(str(error.problems[0])) from error
    try:
        authenticator = operator_authenticator(grid.keys, may_be_silent=True)
    except ConfigError as error:
        raise WindowError(str(error)) from error
    return WindowFiles(grid, policy, text, authenticator)
