"""Reads the parameters, makes the node, spins it, ends it in order."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from apis_core.config.hardware import Hardware, parse_hardware
from apis_core.config.validation import UnitIdText
from apis_core.model.errors import ConfigError, Problem
from apis_driver.driver_node import DriverNode, DriverSetup
from apis_driver.http_server import HttpServerSettings
from apis_driver.parameters import GROUPS, PARAMETERS
from apis_driver.put_to_wait import put_to_wait
from apis_driver.registry import battery_settings, make_battery, make_dcdc, read_settings
from apis_driver.rules import GovernorSettings
from apis_ros.authenticator import UNSIGNED, MessageAuthenticator
from apis_ros.leaving import (
    LEFT_UNDONE,
    STOPPED,
    leave_within_limit,
    own_arguments,
    run_in_graph,
)
from apis_ros.names import unit_namespace
from apis_ros.parameters import declare_parameters, text_argument
from apis_site.files import read_text
from apis_site.grid import ClusterName
from apis_site.keys import read_keys

__all__ = ["run"]

_SPIN_S = 0.1


def run(arguments: list[str], signals: list[float]) -> int:
    """Run until a signal comes.

    Args:
        arguments: Command line.
        signals: Where the handlers put when one came; it may hold one already. The converter is
            told WAIT all the same: an earlier process may have left it on.

    Returns:
        0 after a signal, 1 if a converter that was only to be told WAIT is not there, 2 if the
        configuration is wrong.
    """
    return run_in_graph("driver", arguments, lambda: _run(arguments, signals))


def _run(arguments: list[str], signals: list[float]) -> int:
    options = _options(arguments)
    setup = _setup(options.cluster, options.unit)
    if options.put_to_wait or signals:
        if why := put_to_wait(setup.dcdc, setup.rules):
            print(f"driver: {setup.unit_id} is not in WAIT: {why}", file=sys.stderr)
            return LEFT_UNDONE
        return STOPPED
    node = DriverNode(setup)
    try:
        _spin(node, signals)
    finally:  # with the port, its dead man says WAIT if the converter is on
        node.close()
        leave_within_limit()
        node.destroy_node()
    return STOPPED


def _options(arguments: list[str]) -> argparse.Namespace:
    """Command line; ends the process with a line if it is wrong."""
    parser = argparse.ArgumentParser(prog="driver", description="drives converter and battery")
    parser.add_argument(
        "--cluster", default="village", type=text_argument(ClusterName), help="name of the cluster"
    )
    parser.add_argument(
        "--unit", required=True, metavar="ID", type=text_argument(UnitIdText), help="such as E001"
    )
    parser.add_argument(
        "--put-to-wait", action="store_true", help="only tell the converter WAIT, and end"
    )
    return parser.parse_args(own_arguments(arguments))


def _spin(node: DriverNode, signals: list[float]) -> None:
    # the executor of events knows no guard conditions, by which the converter's thread wakes it
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not node.is_ended:
        executor.spin_once(timeout_sec=_SPIN_S)
        if signals:
            signals.pop()
            node.end()
    executor.shutdown()


def _setup(cluster: str, unit_id: str) -> DriverSetup:
    """What the parameters say.

    A lifecycle node starts with what it drives, so a node for the parameters comes first.

    Raises:
        ConfigError: With every problem.
    """
    node = Node(
        "driver",
        namespace=unit_namespace(cluster, unit_id),
        enable_rosout=False,
        start_parameter_services=False,
    )
    source = f"{node.get_fully_qualified_name()} parameters"
    try:
        values = declare_parameters(node, PARAMETERS, GROUPS)
    finally:
        node.destroy_node()
    problems: list[Problem] = []

    def tried(make: Any, *given: Any) -> Any:
        try:
            return make(*given)
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    dcdc = tried(make_dcdc, values["converter"], source)
    battery_group = None if dcdc is None else battery_settings(values)
    battery = tried(make_battery, battery_group, source) if battery_group else None
    http = tried(read_settings, HttpServerSettings, values["http"], source, "http")
    rules = tried(read_settings, GovernorSettings, values["rules"], source, "rules")
    limits = tried(_limits, values["hardware_file"], source)
    keys = tried(read_keys, Path(values["keys"])) if values["keys"] else None
    authenticator = tried(MessageAuthenticator, keys, unit_id) if keys else UNSIGNED
    if problems:
        raise ConfigError(problems)
    return DriverSetup(
        unit_id=unit_id,
        cluster=cluster,
        dcdc=dcdc,
        battery=battery,
        rules=rules,
        limits=limits,
        http=http,
        plant_rate=values["speed"],
        autostart=values["autostart"],
        authenticator=authenticator,
    )


def _limits(path: str, source: str) -> Hardware:
    if not path:
        right = "required: the unit's hwConfig; no converter is driven without its limits"
        raise ConfigError([Problem(source, "hardware_file", "", right)])
    return parse_hardware(read_text(path, what=f"hardware_file of {source}"), path)
