"""Reads the parameters, makes the node, spins it, ends it in order."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from apis_core.errors import ConfigError, Problem
from apis_core.hardware import Hardware, parse_hardware
from apis_driver.http_server import HttpServerSettings
from apis_driver.put_to_wait import put_to_wait
from apis_driver.registry import battery_settings, make_battery, make_dcdc, read_settings
from apis_driver.rules import GovernorSettings
from apis_driver.shell import DriverNode, DriverSetup
from apis_signing import OPEN, Words, read_keys

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
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    parser = argparse.ArgumentParser(prog="driver", description="drives converter and battery")
    parser.add_argument("--cluster", default="village", help="name of the cluster")
    parser.add_argument("--unit", required=True, metavar="ID", help="such as E001")
    parser.add_argument(
        "--put-to-wait", action="store_true", help="only tell the converter WAIT, and end"
    )
    options = parser.parse_args(rclpy.utilities.remove_ros_args(["driver", *arguments])[1:])
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
    finally:
        rclpy.try_shutdown()
        signal.alarm(0)
    return 0


def _spin(node: DriverNode, signals: list[int]) -> None:
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
        namespace=f"/apis/{cluster}/{unit_id.lower()}",
        enable_rosout=False,
        start_parameter_services=False,
        automatically_declare_parameters_from_overrides=True,
    )
    source = f"{node.get_fully_qualified_name()} parameters"
    groups = {
        name: {
            key: parameter.value for key, parameter in node.get_parameters_by_prefix(name).items()
        }
        for name in ("converter", "battery", "rules", "http")
    }
    plain: dict[str, Any] = {
        name: node.get_parameter_or(name).value
        for name in ("hardware_file", "autostart", "speed", "keys")
    }
    node.destroy_node()
    problems: list[Problem] = []

    def tried(make: Any, *given: Any) -> Any:
        try:
            return make(*given)
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    dcdc = tried(make_dcdc, groups["converter"], source)
    battery_group = None if dcdc is None else battery_settings(groups)
    battery = tried(make_battery, battery_group, source) if battery_group else None
    http = tried(read_settings, HttpServerSettings, groups["http"], source, "http")
    rules = tried(read_settings, GovernorSettings, groups["rules"], source, "rules")
    limits = tried(_limits, plain["hardware_file"], source) if plain["hardware_file"] else None
    keys = tried(read_keys, Path(plain["keys"])) if plain["keys"] else None
    words = tried(Words, keys, unit_id) if keys else OPEN
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
        plant_rate=float(plain["speed"] or 1.0),
        autostart=plain["autostart"] is not False,
        words=words,
    )


def _limits(path: str, source: str) -> Hardware:
    try:
        return parse_hardware(Path(path).read_text(encoding="utf-8"), path)
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        raise ConfigError([Problem(source, "hardware_file", path, why)]) from error
