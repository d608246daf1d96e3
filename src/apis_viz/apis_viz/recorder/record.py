"""The recorder process: every topic of the grid, as it comes, into one MCAP file.

Parameters beside those of every window: ``file``, and ``overwrite``, without which a file that is
there is left as it is. Messages are stamped with the graph's time, so
that a recorded day is a day long in Foxglove and PlotJuggler, however fast it was simulated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from apis_ros.names import CLOCK, DIAGNOSTICS, ROSOUT, TF_STATIC, cluster_namespace
from apis_ros.parameters import NodeParameter
from apis_ros.qos import that_hears
from apis_ros.window import WindowError, WindowFiles, run_window
from apis_viz.recorder.messages import message_class
from apis_viz.recorder.recording import GRID, POLICY, RecordingError, RecordingWriter

__all__ = ["Recorder", "main"]

LOOK_PERIOD_S = 0.5  # wall
PARAMETERS = (
    NodeParameter(name="file", default="", about="Path of the recording (MCAP) to write; needed"),
    NodeParameter(
        name="overwrite", default=False, about="Whether a file that is there already is replaced"
    ),
)
SHARED = (CLOCK, DIAGNOSTICS, ROSOUT, "/tf", TF_STATIC)


def main(arguments: list[str] | None = None) -> int:
    """Record until a signal comes; give the exit code."""
    return run_window("recorder", PARAMETERS, _build, arguments)


def _build(node: Node, files: WindowFiles, own: dict[str, Any], stack: ExitStack) -> None:
    if not own["file"]:
        raise WindowError("parameter file is missing: --ros-args -p file:=FILE.mcap")
    file = Path(own["file"])
    attachments = {GRID: files.grid.model_dump_json(indent=1)}
    if files.policy_text:
        attachments[POLICY] = files.policy_text
    facts = {
        "cluster": files.grid.cluster,
        "speed": f"{files.grid.emulator.speed:g}",
        "timezone": files.grid.emulator.place.timezone,
    }
    stack.enter_context(_told())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        writer = stack.enter_context(
            RecordingWriter(file, attachments, facts, overwrite=own["overwrite"])
        )
    except FileExistsError as error:
        raise WindowError(f"file {file} is there; choose another name") from error
    except OSError as error:
        raise WindowError(f"{file} cannot be written: {error.strerror}") from error
    recorder = Recorder(node, writer, files.grid.cluster)
    print(f"recording into {file}", flush=True)
    stack.callback(recorder.report)


@contextmanager
def _told() -> Iterator[None]:
    """Let the window end with the line that says why nothing more can be recorded."""
    try:
        yield
    except RecordingError as error:
        raise WindowError(str(error)) from error


class Recorder:
    """Subscribes to topics as they appear."""

    def __init__(self, node: Node, writer: RecordingWriter, cluster: str) -> None:
        self._node = node
        self._writer = writer
        self._prefix = f"{cluster_namespace(cluster)}/"
        self._seen: set[str] = set()
        self._early: list[tuple[str, bytes]] = []  # heard before the time was
        self._look()
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(LOOK_PERIOD_S, self._look, clock=clock)

    def report(self) -> None:
        """Say how much there is."""
        topics = len(self._seen)
        print(f"recorded {self._writer.message_count} messages of {topics} topics", flush=True)

    def _look(self) -> None:
        for topic, types in self._node.get_topic_names_and_types():
            is_ours = topic.startswith(self._prefix) or topic in SHARED
            if not is_ours or topic in self._seen or "/_action/" in topic:
                continue
            publishers = self._node.get_publishers_info_by_topic(topic)
            if publishers:  # before there is one nobody knows what it offers
                self._seen.add(topic)
                qos = that_hears(publisher.qos_profile for publisher in publishers)
                # ROS 2 before Iron has no hashes
                type_hash = str(getattr(publishers[0], "topic_type_hash", ""))
                self._listen(topic, types[0], qos, type_hash)

    def _listen(self, topic: str, type_name: str, qos: QoSProfile, type_hash: str) -> None:
        try:
            kind = message_class(type_name)
            self._writer.add_topic(topic, type_name, qos, type_hash)
        except (ImportError, AttributeError, LookupError) as error:
            self._node.get_logger().warning(f"{topic} is not recorded: {error}")
            return

        def heard(data: bytes) -> None:
            self._take(topic, data)

        self._node.create_subscription(kind, topic, heard, qos, raw=True)

    def _take(self, topic: str, data: bytes) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        self._early.append((topic, data))
        if now_ns > 0:
            for early_topic, early_data in self._early:
                self._writer.write(early_topic, early_data, time_ns=now_ns)
            self._early.clear()


if __name__ == "__main__":
    sys.exit(main())
