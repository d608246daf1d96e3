"""Reads the parameters, makes the node, spins it, ends it in order."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rclpy.executors import Executor
from rclpy.node import Node

from apis_core.model.errors import ConfigError, Problem
from apis_emulator.emulation import Emulation
from apis_emulator.emulator_node import EmulatorNode
from apis_emulator.parameters import PARAMETERS
from apis_ros.executor import NodeExecutor
from apis_ros.leaving import STOPPED, leave_within_limit, run_in_graph
from apis_ros.parameters import declare_parameters
from apis_site.grid import GridDescription, parse_grid

__all__ = ["run"]


def run(arguments: list[str], signals: list[float]) -> int:
    """Run until a signal comes; 0 then, 2 if the configuration is wrong.

    Args:
        arguments: Command line.
        signals: Where the handlers put when one came; it may hold one already.
    """
    return run_in_graph("emulator", arguments, lambda: _run(signals))


def _run(signals: list[float]) -> int:
    grid, speed, tty_folder = _configuration()
    emulation = Emulation(grid)
    if not signals:
        node = EmulatorNode(grid, emulation, speed, tty_folder)
        units = len(grid.units)
        node.get_logger().info(f"{units} units, {speed:g} times as fast as the clock")
        _spin(node, signals)
        node.close()
        leave_within_limit()
        node.destroy_node()
    return STOPPED


def _spin(node: EmulatorNode, signals: list[float]) -> None:
    executor: Executor = NodeExecutor()
    executor.add_node(node)
    due_s = time.monotonic()
    while not node.is_ended:
        # No timer of the graph: one that fires fifty times a second costs more than what it does.
        now_s = time.monotonic()
        if now_s >= due_s:
            due_s = max(due_s + node.tick_s, now_s)
            node.tick()
        executor.spin_once(timeout_sec=max(due_s - time.monotonic(), 0.0))
        if signals:
            signals.pop()
            node.end()
    executor.shutdown()


def _configuration() -> tuple[GridDescription, float, Path]:
    """Grid description, speed and folder of serial lines, from the parameters of the process.

    The namespace of the node stands in the description, so a node for the parameters comes first.
    """
    node = Node("emulator", enable_rosout=False, start_parameter_services=False)
    try:  # those with which one tampers are known when the grid is
        own = declare_parameters(node, PARAMETERS, are_all=False)
    finally:
        node.destroy_node()
    grid_file = own["grid_file"]
    if not grid_file:
        right = "it must name the resolved grid description"
        raise ConfigError([Problem("parameters", "grid_file", '""', right)])
    grid, tty_folder = _read_grid(grid_file), Path(grid_file).parent / "tty"
    return grid, own["speed"] or grid.emulator.speed, tty_folder


def _read_grid(file: str) -> GridDescription:
    try:
        return parse_grid(json.loads(Path(file).read_text(encoding="utf-8")), file)
    except OSError as error:
        raise ConfigError([Problem(file, "", "", error.strerror or str(error))]) from error
    except ValueError as error:
        raise ConfigError([Problem(file, "", "", f"it must be JSON: {error}")]) from error
