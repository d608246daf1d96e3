"""Reads the parameters, makes the nodes, spins them, ends them in order."""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rclpy.executors import Executor, ExternalShutdownException
from rclpy.node import Node

from apis_core.config.policy import Policy
from apis_core.config.timing import BUS_DOWN_S, network_floor_ns, stop_limit_wall_s
from apis_core.config.validation import UnitIdText
from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import UnitId
from apis_core.model.units import ns_from_s
from apis_core.unit.agent import AgentSettings
from apis_node.battery_lock import BatteryLock
from apis_node.configuration import WatchedFile, watched_files
from apis_node.unit_node import UnitNode, journal_path
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.executor import NodeExecutor
from apis_ros.leaving import (
    LEFT_UNDONE,
    STOPPED,
    leave_within_limit,
    own_arguments,
    run_in_graph,
)
from apis_ros.names import unit_namespace
from apis_ros.parameters import NodeParameter, declare_parameters, text_argument
from apis_site.grid import ClusterName
from apis_site.keys import Keys, read_keys
from apis_site.unit_journal import Journal

__all__ = ["run"]

_STOP_SLACK_S = 1.0  # steady; after that the drivers' dead men have to do it
_SPIN_S = 0.1


def run(arguments: list[str], signals: list[float]) -> int:
    """Run until a signal comes.

    Args:
        arguments: Command line.
        signals: Where the handlers put when one came (steady clock); it may hold one already. [s]

    Returns:
        0 after a signal, 1 if a converter was not seen in WAIT at the end, 2 if the configuration
        is wrong.
    """
    return run_in_graph("unit", arguments, lambda: _run(arguments, signals))


def _run(arguments: list[str], stop_asked_s: list[float]) -> int:
    options = _options(arguments)
    executor: Executor = NodeExecutor()
    nodes: list[Node] = []
    units: list[UnitNode] = []
    journals: list[Journal] = []
    left_on: dict[str, str] = {}
    stop_limit_s = 0.0
    keys: dict[str, Keys | None] = {"": None}  # by folder; what one has verified, all have
    try:
        for unit_id in options.units:
            node = _make_node(options.cluster, unit_id, is_alone=len(options.units) == 1)
            nodes.append(node)
            settings, timezone, files = _settings(node)
            stop_limit_s = max(stop_limit_s, _stop_limit_s(node, settings.policy))
            journals.append(Journal(journal_path(_text(node, "journal_file"), settings.unit_id)))
            battery = BatteryLock(_text(node, "battery")) if settings.shares_battery else None
            folder = _text(node, "keys")
            if folder not in keys:
                keys[folder] = read_keys(Path(folder))
            authenticator = MessageAuthenticator(keys[folder], settings.unit_id)
            unit = UnitNode(
                node,
                options.cluster,
                settings,
                journals[-1],
                timezone,
                files,
                battery,
                authenticator,
            )
            units.append(unit)
            executor.add_node(node)
        _spin(executor, units, stop_asked_s, stop_limit_s)
        left_on = {
            unit_id: unit.left_on
            for unit_id, unit in zip(options.units, units, strict=True)
            if unit.left_on
        }
        for unit_id, mode in left_on.items():
            print(f"unit: {unit_id} was not seen in WAIT; it is in {mode}", file=sys.stderr)
    except ExternalShutdownException:
        pass
    finally:
        executor.shutdown()
        for unit in units:
            unit.close()
        for journal in journals:
            journal.close()
        if not left_on:  # which an end by its limit would hide
            leave_within_limit()
        for node in nodes:
            node.destroy_node()
    return LEFT_UNDONE if left_on else STOPPED


def _options(arguments: list[str]) -> argparse.Namespace:
    """Command line; ends the process with a line if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="unit", description="The process: one unit node, or several of one cluster."
    )
    parser.add_argument(
        "--cluster", default="village", type=text_argument(ClusterName), help="name of the cluster"
    )
    parser.add_argument(
        "--units",
        nargs="+",
        required=True,
        metavar="ID",
        type=text_argument(UnitIdText),
        help="such as E001",
    )
    return parser.parse_args(own_arguments(arguments))


def _spin(
    executor: Executor, units: list[UnitNode], stop_asked_s: list[float], stop_limit_s: float
) -> None:
    is_stopping = False
    while True:
        executor.spin_once(timeout_sec=_SPIN_S)
        if stop_asked_s and not is_stopping:
            is_stopping = True
            for unit in units:
                unit.ask_to_stop()
        if is_stopping:
            late = time.monotonic() - stop_asked_s[0] > stop_limit_s
            if late or all(unit.is_stopped for unit in units):
                # what was said last (the last status, the resignation) is still on its way out
                executor.spin_once(timeout_sec=_SPIN_S)
                return
        elif all(unit.is_stopped for unit in units):  # an operator has shut them down
            executor.spin_once(timeout_sec=_SPIN_S)
            return


def _parameters(unit_id: UnitId, cluster: str) -> tuple[NodeParameter, ...]:
    def text(name: str, about: str, default: str = "") -> NodeParameter:
        return NodeParameter(name=name, default=default, about=about)

    return (
        text(
            "policy_file", "Path of the policy that all units agree on; read again when it changes"
        ),
        text("hardware_file", "Path of the unit's hwConfig; read again when it changes"),
        text("scenario_file", "Path of the unit's scenario; read again when it changes"),
        text("journal_file", "Path of its journal; empty = in the user's state folder"),
        text("battery", "Name of a battery that it shares with units of other clusters"),
        text("keys", "Path of the folder of the grid's keys; empty = nobody signs"),
        text("unit_id", "The unit's id", unit_id),
        text("cluster", "The cluster's name", cluster),
        text("timezone", "IANA name of the time zone of its schedule", "UTC"),
        NodeParameter(
            name="speed",
            default=1.0,
            about="Simulated seconds per second of the clock; the emulator sets the pace",
            least=0.001,
            most=10_000.0,
        ),
        NodeParameter(
            name="bus_down_s",
            default=BUS_DOWN_S,
            about="How long the bus may take from its voltage down to nothing [simulated s]",
            least=0.0,
            most=1e6,
        ),
    )


def _make_node(cluster: str, unit_id: UnitId, *, is_alone: bool) -> Node:
    node = Node(
        "unit",
        namespace=unit_namespace(cluster, unit_id),
        # a hundred units in one process start five times faster without these
        start_parameter_services=is_alone,
        enable_rosout=is_alone,
    )
    declare_parameters(node, _parameters(unit_id, cluster))
    return node


def _stop_limit_s(node: Node, policy: Policy) -> float:
    """How long its unit may take to stop. [s, steady]"""
    speed, bus_down_s = (float(node.get_parameter(n).value) for n in ("speed", "bus_down_s"))
    return stop_limit_wall_s(policy, speed, bus_down_s) + _STOP_SLACK_S


def _text(node: Node, name: str) -> str:
    return str(node.get_parameter(name).value)


def _settings(node: Node) -> tuple[AgentSettings, ZoneInfo, list[WatchedFile]]:
    """What the parameters say.

    Raises:
        ConfigError: With every problem of all files.
    """
    problems: list[Problem] = []
    parsed: dict[str, object] = {}
    files = watched_files(
        _text(node, "policy_file"), _text(node, "hardware_file"), _text(node, "scenario_file")
    )
    for name, file in files.items():
        source = f"{node.get_fully_qualified_name()} parameter {name}"
        if not file.path:
            problems.append(Problem(source, "", "", "must name a file"))
            continue
        try:
            parsed[name] = file.read()
        except ConfigError as error:
            problems += error.problems
    unit_id, zone_name = _text(node, "unit_id"), _text(node, "timezone")
    policy = parsed.get("policy_file")
    if policy is not None and unit_id not in policy.member_unit_ids:  # type: ignore[attr-defined]
        members = ", ".join(policy.member_unit_ids)  # type: ignore[attr-defined]
        problems.append(
            Problem("parameter unit_id", "", unit_id, f"must be a member of the policy: {members}")
        )
    zone = ZoneInfo("UTC")
    try:
        zone = ZoneInfo(zone_name)
    except (ZoneInfoNotFoundError, ValueError):
        right = "must be an IANA name such as Asia/Tokyo"
        problems.append(Problem("parameter timezone", "", zone_name, right))
    if problems:
        raise ConfigError(problems)
    speed = float(node.get_parameter("speed").value)
    settings = AgentSettings(
        unit_id=unit_id,
        instance_id=uuid.uuid4().hex,
        policy=policy,  # type: ignore[arg-type]
        hardware=parsed["hardware_file"],  # type: ignore[arg-type]
        scenario=parsed["scenario_file"],  # type: ignore[arg-type]
        shares_battery=bool(_text(node, "battery")),
        network_floor_ns=network_floor_ns(speed),
        bus_down_ns=ns_from_s(float(node.get_parameter("bus_down_s").value)),
    )
    return settings, zone, list(files.values())
