"""One MCAP file: profile `ros2`, CDR messages, schemas, QoS and the grid description.

`ros2 bag play`, Foxglove and PlotJuggler open it. Channels carry their QoS as rosbag2 writes it.
The resolved grid and its policy are attached, so that a replay needs nothing but the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.writer import Writer
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from apis_viz.recorder.definitions import definition

__all__ = ["GRID", "POLICY", "Recorded", "RecordingError", "RecordingWriter", "read_recording"]

GRID, POLICY = "grid.json", "policy.json"  # names of the attachments
CHUNK_BYTES = 256 * 1024  # what a power cut may cost
INFINITE = {"sec": 9223372036, "nsec": 854775807}


class RecordingError(Exception):
    """A file is no recording of a grid; the text is one line for people."""


class RecordingWriter:
    """Writes a recording; a context manager, at whose end the file is complete."""

    def __init__(
        self, file: Path, attachments: Mapping[str, str], facts: Mapping[str, str]
    ) -> None:
        """Open the file.

        Args:
            file: Is replaced if it is there.
            attachments: Texts by name.
            facts: About the run, for people and for the replay.

        Raises:
            OSError: The file cannot be written.
        """
        self._stream = file.open("wb")
        self._writer = Writer(self._stream, chunk_size=CHUNK_BYTES)
        self._writer.start(profile="ros2", library="apis_viz recorder")
        for name, text in attachments.items():
            self._writer.add_attachment(0, 0, name, "application/json", text.encode())
        self._writer.add_metadata("apis", dict(facts))
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.finish()
        self._stream.close()

    @property
    def message_count(self) -> int:
        """How many messages were written."""
        return sum(self._counts.values())

    def add_topic(self, topic: str, type_name: str, qos: QoSProfile) -> None:
        """Make a topic known; once for each.

        Raises:
            LookupError: The type's definition is not installed.
        """
        if type_name not in self._schemas:
            self._schemas[type_name] = self._writer.register_schema(
                type_name, "ros2msg", definition(type_name).encode()
            )
        self._channels[topic] = self._writer.register_channel(
            topic, "cdr", self._schemas[type_name], {"offered_qos_profiles": _qos_yaml(qos)}
        )
        self._counts[topic] = 0

    def write(self, topic: str, data: bytes, *, time_ns: int) -> None:
        """Write a message of a topic that is known, as it came."""
        self._writer.add_message(
            self._channels[topic], time_ns, data, time_ns, sequence=self._counts[topic]
        )
        self._counts[topic] += 1


@dataclass(frozen=True)
class Recorded:
    """A recording that is there to be read.

    Attributes:
        file: The file.
        attachments: Texts by name.
        facts: About the run.
        start_ns: Time of the first message. [ns]
        end_ns: Time of the last one. [ns]
        strangers: Types that are not installed here, or have other fields: their bytes would be
            misread.
    """

    file: Path
    attachments: dict[str, str]
    facts: dict[str, str]
    start_ns: int
    end_ns: int
    strangers: frozenset[str] = frozenset()

    def messages(self) -> Iterator[tuple[int, str, str, QoSProfile, bytes]]:
        """Time [ns], topic, type, QoS and bytes of every message, the oldest first."""
        profiles: dict[int, QoSProfile] = {}
        with self.file.open("rb") as stream:
            for schema, channel, message in make_reader(stream).iter_messages():
                if channel.id not in profiles:
                    profiles[channel.id] = _qos(channel.metadata.get("offered_qos_profiles", ""))
                name = schema.name if schema else ""
                yield message.log_time, channel.topic, name, profiles[channel.id], message.data


def read_recording(file: Path) -> Recorded:
    """Look into a file.

    Raises:
        RecordingError: It cannot be read, or is no recording of a grid.
    """
    try:
        with file.open("rb") as stream:
            reader = make_reader(stream)
            summary = reader.get_summary()
            attached = {a.name: a.data.decode() for a in reader.iter_attachments()}
            facts = {
                key: value
                for record in reader.iter_metadata()
                if record.name == "apis"
                for key, value in record.metadata.items()
            }
    except OSError as error:
        raise RecordingError(f"{file} cannot be read: {error.strerror}") from error
    except (McapError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise RecordingError(f"{file} is not a complete MCAP file: {error}") from error
    if GRID not in attached:
        raise RecordingError(f"{file} was not made by `apisctl record`: it has no {GRID}")
    statistics = summary.statistics if summary else None
    if statistics is None or statistics.message_count == 0:
        raise RecordingError(f"{file} has no messages")
    schemas = summary.schemas.values() if summary else ()
    strangers = frozenset(s.name for s in schemas if not _is_known(s.name, s.data.decode()))
    return Recorded(
        file,
        attached,
        facts,
        statistics.message_start_time,
        statistics.message_end_time,
        strangers,
    )


def _is_known(type_name: str, recorded: str) -> bool:
    """Whether a type has the same fields here as there; comments do not count."""

    def fields(text: str) -> list[str]:
        lines = (" ".join(line.partition("#")[0].split()) for line in text.splitlines())
        return [line for line in lines if line]

    try:
        return fields(definition(type_name)) == fields(recorded)
    except LookupError:
        return False


def _qos_yaml(qos: QoSProfile) -> str:
    """As rosbag2 has written it since Iron."""
    profile: dict[str, Any] = {
        "history": "keep_last",
        "depth": max(qos.depth, 1),
        "reliability": qos.reliability.name.lower(),
        "durability": qos.durability.name.lower(),
        "deadline": INFINITE,
        "lifespan": INFINITE,
        "liveliness": "automatic",
        "liveliness_lease_duration": INFINITE,
        "avoid_ros_namespace_conventions": False,
    }
    text: str = yaml.safe_dump([profile], sort_keys=False)
    return text


def _qos(text: str) -> QoSProfile:
    profiles = yaml.safe_load(text) if text else None
    profile = profiles[0] if profiles else {}
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=int(profile.get("depth", 10)) or 10,
        reliability=ReliabilityPolicy[str(profile.get("reliability", "reliable")).upper()],
        durability=DurabilityPolicy[str(profile.get("durability", "volatile")).upper()],
    )
