"""The dashboard and other windows, for a grid that runs elsewhere.

ros2 launch launch/viz.launch.py config:=my_grid.yaml port:=8080
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration

from apis_bringup.grid_file import resolve, write_run_folder
from apis_bringup.launch_actions import Members
from apis_bringup.overrides import Overrides
from apis_bringup.processes import Extras, dashboard_process, dashboard_url, extra_processes
from apis_bringup.run_folder import run_folder

# Beside this file's folder, in the source tree as well as where it is installed.
ROOT = Path(__file__).resolve().parents[1]


def start_dashboard(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The windows, with what the command line says."""
    port = LaunchConfiguration("port").perform(context)
    config = Path(LaunchConfiguration("config").perform(context))
    keys = LaunchConfiguration("keys").perform(context)
    resolved = resolve(config, Overrides.of_texts(port=port, keys=keys))
    grid = resolved.description
    # Not the folder of the grid itself, which may run on this machine.
    run = run_folder(grid, "-viz")
    is_simulated = LaunchConfiguration("use_sim_time").perform(context) == "true"
    names = ("markers", "metrics_port", "compat_http")
    extras = Extras.of_texts(*(LaunchConfiguration(name).perform(context) for name in names))
    write_run_folder(resolved, run, use_sim_time=is_simulated, extras=extras)
    processes = [dashboard_process(grid, run), *extra_processes(grid, run, extras)]
    members = Members(
        context, fail_fast=LaunchConfiguration("fail_fast").perform(context) == "true"
    )
    actions = [action for process in processes for action in members.start_process(process)]
    return [LogInfo(msg=f"dashboard: {dashboard_url(grid)}"), *actions]


def generate_launch_description() -> LaunchDescription:
    """Arguments, and the dashboard."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "config",
                default_value=str(ROOT / "config" / "sim_grid.yaml"),
                description="Grid file (YAML): which units there are, and where they stand.",
            ),
            DeclareLaunchArgument(
                "keys",
                default_value="",
                description="Key folder with an operator's key; empty = as the file has it.",
            ),
            DeclareLaunchArgument(
                "port",
                default_value="",
                description="Port of the dashboard; empty = as the grid file has it.",
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="true",
                choices=["true", "false"],
                description="Whether the grid lives by /clock; false for real units.",
            ),
            DeclareLaunchArgument(
                "markers",
                default_value="false",
                choices=["true", "false"],
                description="Whether to draw the grid for RViz (topic markers, TF).",
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
                description="Whether to serve the original's HTTP interfaces.",
            ),
            DeclareLaunchArgument(
                "fail_fast",
                default_value="false",
                choices=["true", "false"],
                description="Whether the first process that dies ends all; else it is started "
                "again, five times.",
            ),
            OpaqueFunction(function=start_dashboard),
        ]
    )
