"""A grid of emulated houses: the emulator, a unit node for every house, and the dashboard.

ros2 launch launch/sim_grid.launch.py units:=8 speed:=60
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration

from apis_bringup.launch_actions import Members
from apis_bringup.overrides import Overrides
from apis_bringup.processes import Extras, stop_limit_s
from apis_bringup.roles import Role
from apis_bringup.run_lock import members_environment
from apis_bringup.session import GridOptions, prepare

# Beside this file's folder, in the source tree as well as where it is installed.
ROOT = Path(__file__).resolve().parents[1]
RVIZ_CONFIG = ROOT / "rviz" / "grid.rviz"

# The domain is ours until this process ends.
held = ExitStack()


def start_grid(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Work out the processes from what the command line says."""

    def text(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    names = ("units", "speed", "port", "device", "keys")
    overrides = Overrides.of_texts(**{name: text(name) for name in names})
    web, rviz = text("web") == "true", text("rviz") == "true"
    markers = "true" if rviz else text("markers")
    extras = Extras.of_texts(markers, text("metrics_port"), text("compat_http"), text("record"))
    options = GridOptions(Path(text("config")), overrides, web=web, extras=extras)
    prepared = held.enter_context(prepare(options))
    members = Members(context, fail_fast=text("fail_fast") == "true")
    environment = members_environment()
    actions = [
        action
        for process in prepared.processes
        for action in members.start_process(
            process, stop_limit_s(process, prepared.grid, prepared.policy), **environment
        )
    ]
    if prepared.url:
        actions.insert(0, LogInfo(msg=f"dashboard: {prepared.url}"))
    if rviz:
        actions += _rviz(members)
    return actions


def _rviz(members: Members) -> list[LaunchDescriptionEntity]:
    """RViz may be closed, and the grid goes on without it."""
    if not RVIZ_CONFIG.is_file():
        return [LogInfo(msg=f"RViz is not started: {RVIZ_CONFIG} is missing")]
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="RViz is not started: the package rviz2 is not installed")]
    return members.start(
        "rviz",
        Role.WINDOW,
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(RVIZ_CONFIG)],
        parameters=[{"use_sim_time": True}],
    )


def generate_launch_description() -> LaunchDescription:
    """Arguments, and the grid."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "config",
                default_value=str(ROOT / "config" / "sim_grid.yaml"),
                description="Grid file (YAML): units, policy, place, emulation.",
            ),
            DeclareLaunchArgument(
                "units",
                default_value="",
                description="Number of units; empty = as the grid file has them.",
            ),
            DeclareLaunchArgument(
                "speed",
                default_value="",
                description="Simulated seconds per second; empty = as the grid file has it.",
            ),
            DeclareLaunchArgument(
                "web",
                default_value="true",
                choices=["true", "false"],
                description="Whether to start the dashboard, a web page.",
            ),
            DeclareLaunchArgument(
                "port",
                default_value="",
                description="Port of the dashboard; empty = as the grid file has it.",
            ),
            DeclareLaunchArgument(
                "device",
                default_value="",
                choices=["", "native", "serial", "http"],
                description="How every unit reaches its converter; empty = as the file has it.",
            ),
            DeclareLaunchArgument(
                "keys",
                default_value="",
                description="Key folder: only signed words count; empty = as the file has it.",
            ),
            DeclareLaunchArgument(
                "rviz",
                default_value="false",
                choices=["true", "false"],
                description="Whether to draw the grid and start RViz with rviz/grid.rviz.",
            ),
            DeclareLaunchArgument(
                "markers",
                default_value="false",
                choices=["true", "false"],
                description="Whether to draw the grid (topic markers, TF) without starting RViz.",
            ),
            DeclareLaunchArgument(
                "metrics_port",
                default_value="",
                description="Port of the metrics for Prometheus, such as 4383; empty = none.",
            ),
            DeclareLaunchArgument(
                "compat_http",
                default_value="false",
                choices=["true", "false"],
                description="Whether to serve the original's HTTP interfaces "
                "(43830, 43900, 9999).",
            ),
            DeclareLaunchArgument(
                "record",
                default_value="",
                description="MCAP file to record all topics into; empty = none.",
            ),
            DeclareLaunchArgument(
                "fail_fast",
                default_value="false",
                choices=["true", "false"],
                description="Whether the first process that dies ends all; else it is started "
                "again, five times.",
            ),
            OpaqueFunction(function=start_grid),
        ]
    )
