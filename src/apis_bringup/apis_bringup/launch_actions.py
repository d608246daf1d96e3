"""Processes of a grid as actions of ROS 2's `launch`; imported by the launch files only."""

from __future__ import annotations

from launch import LaunchContext
from launch.actions import EmitEvent, LogInfo, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_entity import LaunchDescriptionEntity
from launch_ros.actions import Node

from apis_bringup.processes import Process

__all__ = ["required", "start"]


def start(process: Process) -> list[LaunchDescriptionEntity]:
    """Actions that start a process and shut everything down when it ends."""
    return required(
        Node(
            package=process.package,
            executable=process.executable,
            exec_name=process.name.replace(" ", "_"),
            # Without one, the executable names its own nodes.
            namespace=process.namespace or None,
            arguments=list(process.arguments),
            parameters=[str(process.params_file)],
            output="screen",
            emulate_tty=True,
            sigterm_timeout="8",  # a unit first puts its converter to WAIT
        ),
        process.name,
    )


def required(node: Node, name: str) -> list[LaunchDescriptionEntity]:
    """Actions that start a node without which the rest makes no sense."""

    def ended(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown:  # it was asked to
            return []
        reason = f"{name} ended by itself (exit code {event.returncode}); its last words are above"
        return [LogInfo(msg=reason), EmitEvent(event=Shutdown(reason=reason))]

    return [node, RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended))]
