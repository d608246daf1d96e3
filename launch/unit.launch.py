"""The unit node of one real node computer.

It needs a driver that serves `<unit>/converter/command` and publishes `<unit>/converter_state` and
`<unit>/battery_state`; until `apis_driver` has one, any node of your own with that contract does.

ros2 launch launch/unit.launch.py unit_id:=E001 policy_file:=/etc/apis/policy.json ...
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from apis_bringup.launch_actions import required

PARAMETERS = {
    "unit_id": "Which unit this is, such as E001.",
    "cluster": "The cluster it belongs to.",
    "policy_file": "The cluster's policy, the same file on every unit.",
    "hardware_file": "What this unit's battery and converter can do (hwConfig).",
    "scenario_file": "When this unit asks for energy, and when it offers some.",
    "journal_file": "What this unit must not forget; made if it is not there.",
    "timezone": "IANA name of the time zone that the scenario's hours are in.",
}
DEFAULTS = {"cluster": "village", "timezone": "Asia/Tokyo"}


def start_unit(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node, with what the command line says."""
    values = {name: LaunchConfiguration(name).perform(context) for name in PARAMETERS}
    node = Node(
        package="apis_node",
        executable="unit",
        arguments=["--cluster", values["cluster"], "--units", values["unit_id"]],
        # A real unit lives by the clock of its computer.
        parameters=[{**values, "speed": 1.0, "use_sim_time": False}],
        output="screen",
        emulate_tty=True,
        sigterm_timeout="8",  # it first puts its converter to WAIT
    )
    return required(node, f"unit {values['unit_id']}")


def generate_launch_description() -> LaunchDescription:
    """Arguments, and the node."""
    arguments = [
        DeclareLaunchArgument(name, default_value=DEFAULTS.get(name), description=description)
        for name, description in PARAMETERS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_unit)])
