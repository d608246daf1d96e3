"""Reads the parameters, makes the node, spins it, ends it in order."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

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
from apis_ros.names import unit_namespace
from apis_ros.parameters import declare_parameters, text_argument
from apis_site.files import read_text
from apis_site.grid import ClusterName
from apis_site.keys import read_keys

__all__ = ["run"]

_LEAVE_LIMIT_S = 3  # for leaving the graph
_SPIN_S = 0.1


def run(arguments: list[str], signals: list[int]) -> int:
    """Run until a signal comes.

    Args:
        arguments: Command line.
        signals: Where the signal handlers put what came; it may hold one already. The converter
            is told WAIT all the same: an earlier process may have left it on.

    Returns:
        0 after a signal, 1 if a converter that was only to be told WAIT is not there, 2 if the
        configuration is wrong.
    """
    try:
        options = _options(arguments)
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy has several kinds for arguments that it cannot read
        print(f"driver: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    try:
        setup = _setup(options.cluster, options.unit)
        if options.put_to_wait or signals:
            if why := put_to_wait(setup.dcdc, setup.rules):
                print(f"driver: {setup.unit_id} is not in WAIT: {why}", file=sys.stderr)
                return 1
            return 0
        node = DriverNode(setup)
        try:
            _spin(node, signals)
        finally:  # with the port, its dead man says WAIT if the converter is on
            node.close()
            signal.alarm(_LEAVE_LIMIT_S)  # as the unit's process does, and for its reason
            node.destroy_node()
    except ConfigError as error:
        for problem in error.problems:
            print(f"driver: {problem}", file=sys.stderr)
        return 2
    except ParameterException as error:  # of those that rclpy reads itself
        print(f"driver: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()
        signal.alarm(0)
    return 0


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
    own = rclpy.utilities.remove_ros_args(["driver", *arguments])[1:]
    return parser.parse_args(own)


def _spin(node: DriverNode, signals: list[int]) -> None:
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
