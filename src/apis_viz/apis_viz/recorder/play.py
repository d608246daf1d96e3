"""The player process: a recorded day on the topics again, with its clock.

Parameters beside those of every window: ``file``, ``speed`` (recorded seconds per second; 0 = as
fast as it was recorded) and ``start_s`` (seconds of the recording to leave out). It refuses to
speak in a graph where units live: a replayed order would be a real one.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage

from apis_ros import names
from apis_ros.parameters import NodeParameter
from apis_ros.qos import is_retained
from apis_ros.topics import CLOCK
from apis_ros.window import WindowError, WindowFiles, run_window
from apis_viz.recorder.messages import message_class
from apis_viz.recorder.recording import Recorded, RecordingError, read_recording

__all__ = ["Player", "main"]

TICK_S = 0.02  # wall
LISTEN_S = 3.5  # wall; a process announces itself every 3 s, and one word may be lost
LOOK_S = 0.1
LONGEST_GAP_S = 20.0  # wall; nobody looks at a picture that stands for longer
BATCH = 2000  # messages at a time, so that a signal is seen in between
PARAMETERS = (
    NodeParameter(name="file", default="", about="Path of the recording (MCAP) to replay; needed"),
    NodeParameter(
        name="speed",
        default=0.0,
        about="Recorded seconds per second; 0 = as fast as it was recorded",
        least=0.0,
        most=10_000.0,
    ),
    NodeParameter(
        name="start_s",
        default=0.0,
        about="Seconds of the recording that are left out at the beginning",
        least=0.0,
        most=1e9,
    ),
)
NOT_REPLAYED = (names.CLOCK, names.ROSOUT)


def main(arguments: list[str] | None = None) -> int:
    """Play until a signal comes; give the exit code."""
    return run_window("player", PARAMETERS, _build, arguments)


def _build(node: Node, files: WindowFiles, own: dict[str, Any], _stack: ExitStack) -> None:
    try:
        recorded = read_recording(Path(own["file"]))
    except RecordingError as error:
        raise WindowError(str(error)) from error
    speed = own["speed"] or float(recorded.facts.get("speed", "1"))
    prefix = f"{names.cluster_namespace(files.grid.cluster)}/"
    if living := _living_topic(node, prefix):
        raise WindowError(f"a grid lives here ({living}); replay on another ROS_DOMAIN_ID")
    Player(node, recorded, speed=speed, start_s=own["start_s"])
    hours = (recorded.end_ns - recorded.start_ns) / 3.6e12
    began = datetime.fromtimestamp(recorded.start_ns * 1e-9, timezone.utc)
    print(f"replays {hours:.2f} h from {began:%Y-%m-%d %H:%M} UTC, {speed:g} times as fast")


def _living_topic(node: Node, prefix: str) -> str:
    """A topic on which a unit speaks; empty if none does."""
    limit_s = time.monotonic() + LISTEN_S
    while time.monotonic() < limit_s:  # a graph does not say when it has told of everybody
        for topic, _ in node.get_topic_names_and_types():
            is_of_a_unit = topic.endswith((f"/{names.STATUS}", f"/{names.CONVERTER_STATE}"))
            if topic.startswith(prefix) and is_of_a_unit and node.count_publishers(topic):
                return topic
        time.sleep(LOOK_S)
    return ""


class Player:
    """Publishes what is due, and the clock; at the end the last picture stays."""

    def __init__(self, node: Node, recorded: Recorded, *, speed: float, start_s: float) -> None:
        self._node = node
        for topic, why in sorted(recorded.left_out.items()):
            node.get_logger().warning(f"{topic} is left out: {why}")
        self._messages = recorded.messages()
        self._next = next(self._messages, None)
        self._speed = speed
        self._end_ns = recorded.end_ns
        self._start_ns = recorded.start_ns + round(start_s * 1e9)
        self._publishers: dict[str, Publisher[Any]] = {}
        self._clock = CLOCK.publisher(node)
        self._skip_to_start()
        self._began_s = time.monotonic()
        self._is_over = False
        node.create_timer(TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _skip_to_start(self) -> None:
        """Of what is left out, late comers would still hear the last words of latched topics."""
        last: dict[str, tuple[str, QoSProfile, bytes]] = {}
        while self._next and self._next[0] < self._start_ns:
            _, topic, type_name, qos, data = self._next
            if is_retained(qos):
                last[topic] = (type_name, qos, data)
            self._next = next(self._messages, None)
        for topic, (type_name, qos, data) in last.items():
            self._publish(topic, type_name, qos, data)

    def _tick(self) -> None:
        passed_s = (time.monotonic() - self._began_s) * self._speed
        now_ns = min(self._start_ns + round(passed_s * 1e9), self._end_ns)
        if self._next and self._next[0] - now_ns > LONGEST_GAP_S * self._speed * 1e9:
            gap_ns = self._next[0] - now_ns
            print(f"nothing was recorded for {_span(gap_ns)}: it is not waited for", flush=True)
            self._start_ns += gap_ns
            now_ns += gap_ns
        sent = 0
        while self._next and self._next[0] <= now_ns and sent < BATCH:
            _, topic, type_name, qos, data = self._next
            self._publish(topic, type_name, qos, data)
            self._next = next(self._messages, None)
            sent += 1
        clock = ClockMessage()
        clock.clock.sec, clock.clock.nanosec = divmod(now_ns, 1_000_000_000)
        self._clock.publish(clock)
        if self._next is None and not self._is_over:
            self._is_over = True
            print("the replay is over; the last picture stays until Ctrl-C", flush=True)

    def _publish(self, topic: str, type_name: str, qos: QoSProfile, data: bytes) -> None:
        if topic in NOT_REPLAYED:
            return
        if topic not in self._publishers:
            kind = message_class(type_name)
            self._publishers[topic] = self._node.create_publisher(kind, topic, qos)
        self._publishers[topic].publish(data)


def _span(span_ns: int) -> str:
    hours = span_ns / 3.6e12
    return f"{hours / 24:.0f} days" if hours > 72 else f"{hours:.1f} h"


if __name__ == "__main__":
    sys.exit(main())
