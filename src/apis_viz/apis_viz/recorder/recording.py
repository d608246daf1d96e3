"""One MCAP file: profile `ros2`, CDR messages, schemas, QoS and the grid description.

`ros2 bag info` and `play`, Foxglove and PlotJuggler open it: channels carry their QoS and the hash
of their type as rosbag2 writes them, and rosbag2's own metadata are in it, too. The resolved grid
and its policy are attached, so that a replay needs nothing but the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import yaml
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Schema
from mcap.writer import Writer
from rclpy.qos import QoSProfile

from apis_ros import qos
from apis_viz.recorder.bag_metadata import (
    METADATA_FILE,
    Topic,
    as_yaml,
    bag_information,
    qos_profile,
)
from apis_viz.recorder.definitions import definition

__all__ = ["GRID", "POLICY", "Recorded", "RecordingError", "RecordingWriter", "read_recording"]

GRID, POLICY = "grid.json", "policy.json"  # names of the attachments
CHUNK_BYTES = 256 * 1024  # what a power cut may cost
LAST_NS = (2**31 - 1) * 10**9  # what a ROS time can say
HOW_TO_RECOVER = (
    "a recording that was cut off is made whole by `mcap recover FILE -o WHOLE.mcap` (the mcap "
    "command line tool) or `ros2 bag reindex`"
)


class RecordingError(Exception):
    """A file is no recording of a grid, or cannot become one; the text is one line for people."""


class RecordingWriter:
    """Writes a recording; a context manager, at whose end the file is complete.

    Raises:
        RecordingError: The file cannot be completed; the disk is full, say.
    """

    def __init__(
        self,
        file: Path,
        attachments: Mapping[str, str],
        facts: Mapping[str, str],
        *,
        overwrite: bool = False,
    ) -> None:
        """Open the file. In a folder of its own it gets a `metadata.yaml` beside it at the end.

        Args:
            file: Must not be there.
            attachments: Texts by name.
            facts: About the run, for people and for the replay.
            overwrite: Replace the file if it is there.

        Raises:
            OSError: The file cannot be written, or is there already.
        """
        self._file = file
        self._facts = dict(facts)
        self._stream = file.open("wb" if overwrite else "xb")
        others = {entry.name for entry in file.parent.iterdir()} - {file.name, METADATA_FILE}
        self._is_folder_ours = not others
        self._writer = Writer(self._stream, chunk_size=CHUNK_BYTES)
        self._writer.start(profile="ros2", library="apis_viz recorder")
        for name, text in attachments.items():
            self._writer.add_attachment(0, 0, name, "application/json", text.encode())
        self._writer.add_metadata("apis", self._facts)
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._topics: dict[str, Topic] = {}
        self._times_ns: tuple[int, int] | None = None

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, RecordingError):  # what cannot be written cannot be completed
            with suppress(OSError):
                self._stream.close()
            return
        with self._writing():
            self._complete()

    def _complete(self) -> None:
        information = bag_information(
            self._file.name, self._topics, self._times_ns or (0, 0), self._facts
        )
        try:
            self._writer.add_metadata("rosbag2", {"serialized_metadata": as_yaml(information)})
            self._writer.finish()  # type: ignore[no-untyped-call]
        finally:
            self._stream.close()
        if self._is_folder_ours:
            text = as_yaml({"rosbag2_bagfile_information": information})
            (self._file.parent / METADATA_FILE).write_text(text, encoding="utf-8")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say in a line what keeps the file from being written."""
        try:
            yield
        except OSError as error:
            text = f"{self._file} cannot be written: {error.strerror}; {HOW_TO_RECOVER}"
            raise RecordingError(text) from error

    @property
    def message_count(self) -> int:
        """How many messages were written."""
        return sum(topic.count for topic in self._topics.values())

    def add_topic(self, topic: str, type_name: str, qos: QoSProfile, type_hash: str = "") -> None:
        """Make a topic known; once for each. See :class:`Topic`.

        Raises:
            LookupError: The type's definition is not installed.
        """
        if type_name not in self._schemas:
            self._schemas[type_name] = self._writer.register_schema(
                type_name, "ros2msg", definition(type_name).encode()
            )
        metadata = {
            "offered_qos_profiles": as_yaml([qos_profile(qos)]),
            "topic_type_hash": type_hash,
        }
        self._channels[topic] = self._writer.register_channel(
            topic, "cdr", self._schemas[type_name], metadata
        )
        self._topics[topic] = Topic(type_name, qos, type_hash)

    def write(self, topic: str, data: bytes, *, time_ns: int) -> None:
        """Write a message of a topic that is known, as it came.

        Raises:
            RecordingError: The file cannot be written any more; the disk is full, say.
        """
        known = self._topics[topic]
        with self._writing():
            self._writer.add_message(
                self._channels[topic], time_ns, data, time_ns, sequence=known.count
            )
        known.count += 1
        first_ns, last_ns = self._times_ns or (time_ns, time_ns)
        self._times_ns = min(first_ns, time_ns), max(last_ns, time_ns)


@dataclass(frozen=True)
class Recorded:
    """A recording that is there to be read.

    Attributes:
        file: The file.
        attachments: Texts by name.
        facts: About the run.
        start_ns: Time of the first message. [ns]
        end_ns: Time of the last one. [ns]
        left_out: Why the messages of some channels cannot be played, by their topic.
    """

    file: Path
    attachments: dict[str, str]
    facts: dict[str, str]
    start_ns: int
    end_ns: int
    left_out: Mapping[str, str]

    def messages(self) -> Iterator[tuple[int, str, str, QoSProfile, bytes]]:
        """Time [ns], topic, type, QoS and bytes of every message that can be played, the oldest
        first.
        """
        profiles: dict[int, QoSProfile] = {}
        with self.file.open("rb") as stream:
            for schema, channel, message in make_reader(stream).iter_messages():
                if schema is None or channel.topic in self.left_out:
                    continue
                if channel.id not in profiles:
                    profiles[channel.id] = _qos(channel.metadata.get("offered_qos_profiles", ""))
                profile = profiles[channel.id]
                yield message.log_time, channel.topic, schema.name, profile, message.data


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
        text = f"{file} is not a complete MCAP file: {error}; {HOW_TO_RECOVER}"
        raise RecordingError(text) from error
    if GRID not in attached:
        raise RecordingError(f"{file} was not made by `apisctl record`: it has no {GRID}")
    statistics = summary.statistics if summary else None
    if statistics is None or statistics.message_count == 0:
        raise RecordingError(f"{file} has no messages")
    if statistics.message_end_time > LAST_NS:
        raise RecordingError(f"{file} has messages from after 2038, which ROS cannot tell")
    left_out = {
        channel.topic: why
        for channel in (summary.channels.values() if summary else ())
        if summary and (why := _why_left_out(channel, summary.schemas.get(channel.schema_id)))
    }
    return Recorded(
        file,
        attached,
        facts,
        statistics.message_start_time,
        statistics.message_end_time,
        left_out,
    )


def _why_left_out(channel: Channel, schema: Schema | None) -> str:
    """Why the messages of a channel cannot be played; empty = they can."""
    if schema is None:
        return "the channel has no schema"
    if (channel.message_encoding, schema.encoding) != ("cdr", "ros2msg"):
        return (
            f"it is in {channel.message_encoding} with {schema.encoding}, not in cdr with ros2msg"
        )
    if not _is_known(schema.name, schema.data.decode(errors="replace")):
        return f"{schema.name} is not installed here, or was recorded in another version"
    return ""


def _is_known(type_name: str, recorded: str) -> bool:
    """Whether a type has the same fields here as there; comments do not count. The bytes of
    another one would be misread.
    """

    def fields(text: str) -> list[str]:
        lines = (" ".join(line.partition("#")[0].split()) for line in text.splitlines())
        return [line for line in lines if line]

    try:
        return fields(definition(type_name)) == fields(recorded)
    except LookupError:
        return False


def _qos(text: str) -> QoSProfile:
    profiles = yaml.safe_load(text) if text else None
    profile = profiles[0] if profiles else {}
    return qos.profile(
        int(profile.get("depth", 10)) or 10,
        is_retained=profile.get("durability") == "transient_local",
        is_reliable=profile.get("reliability") != "best_effort",
    )
