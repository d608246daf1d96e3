"""One real node computer: the unit's node, and the driver of its converter and battery.

They are two processes, so that the driver's hold times outlive a unit node that hangs. What the
driver drives stands in a ROS parameter file (`driver_params`, see docs/drivers.md); without one,
some other node must serve `<unit>/converter/command` and publish `<unit>/converter_state` and
`<unit>/battery_state`.

ros2 launch launch/unit.launch.py unit_id:=E001 policy_file:=/etc/apis/policy.json \\
    driver_params:=/etc/apis/driver.yaml ...
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration

from apis_bringup.launch_actions import Members
from apis_bringup.roles import Role

PARAMETERS = {
    "unit_id": "Which unit this is, such as E001.",
    "cluster": "The cluster it belongs to.",
    "policy_file": "The cluster's policy, the same file on every unit.",
    "hardware_file": "What this unit's battery and converter can do (hwConfig).",
    "scenario_file": "When this unit asks for energy, and when it offers some.",
    "journal_file": "What this unit must not forget; made if it is not there.",
    "driver_params": "ROS parameters of its driver; empty = somebody else drives the converter.",
    "keys": "Key folder of the grid; empty = an open grid, where every word counts.",
    "timezone": "IANA name of the time zone that the scenario's hours are in.",
}
DEFAULTS = {"cluster": "village", "driver_params": "", "keys": "", "timezone": "Asia/Tokyo"}


def start_unit(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node, with what the command line says."""
    values = {name: LaunchConfiguration(name).perform(context) for name in PARAMETERS}
    driver_params = values.pop("driver_params")
    fail_fast = LaunchConfiguration("fail_fast").perform(context) == "true"
    # Whoever starts this (systemd, say) sees that one of them is missing for good.
    members = Members(context, fail_fast=fail_fast, needs_all=True)
    actions: list[LaunchDescriptionEntity] = []
    if driver_params:
        actions += members.start(
            f"driver {values['unit_id']}",
            Role.DRIVER,
            package="apis_driver",
            executable="driver",
            arguments=["--cluster", values["cluster"], "--unit", values["unit_id"]],
            parameters=[
                driver_params,
                {"hardware_file": values["hardware_file"], "keys": values["keys"]},
            ],
        )
    actions += members.start(
        f"unit {values['unit_id']}",
        Role.UNIT,
        package="apis_node",
        executable="unit",
        arguments=["--cluster", values["cluster"], "--units", values["unit_id"]],
        # A real unit lives by the clock of its computer.
        parameters=[{**values, "speed": 1.0, "use_sim_time": False}],
    )
    return actions


def generate_launch_description() -> LaunchDescription:
    """Arguments, and the node."""
    arguments = [
        DeclareLaunchArgument(name, default_value=DEFAULTS.get(name), description=description)
        for name, description in PARAMETERS.items()
    ]
    arguments.append(
        DeclareLaunchArgument(
            "fail_fast",
            default_value="false",
            choices=["true", "false"],
            description="Whether the first process that dies ends all; else it is started again, "
            "five times.",
        )
    )
    return LaunchDescription([*arguments, OpaqueFunction(function=start_unit)])
