"""The executor in which the nodes of this project live.

What a grid has on the graph is some thousand things. One turn of rclpy's usual executor looks at
all of a node's, and costs several times as much as one that is told what has come.
"""

from __future__ import annotations

try:
    from rclpy.experimental.events_executor import EventsExecutor as NodeExecutor
except ImportError:  # ROS 2 before Kilted
    from rclpy.executors import SingleThreadedExecutor as NodeExecutor

__all__ = ["NodeExecutor"]
