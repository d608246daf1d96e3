"""Recording and replaying: what is in the file, and that it comes out again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy")
msg = pytest.importorskip("apis_interfaces.msg")
mcap_ros2 = pytest.importorskip("mcap_ros2.reader")

import yaml  # noqa: E402
from mcap.reader import make_reader  # noqa: E402
from mcap.writer import Writer  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import DurabilityPolicy  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from rclpy.signals import SignalHandlerOptions  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from apis_ros.qos import RECORD, STATE  # noqa: E402
from apis_viz.recorder import recording  # noqa: E402
from apis_viz.recorder.bag_metadata import as_yaml, qos_profile  # noqa: E402
from apis_viz.recorder.definitions import definition  # noqa: E402
from apis_viz.recorder.recording import (  # noqa: E402
    RecordingError,
    RecordingWriter,
    read_recording,
)

GRID = {
    "cluster": "recorded",
    "policy": "p.json",
    "units": [{"id": "E001", "hardware": "h.json", "scenario": "s.json"}],
}
DEALS = "/apis/recorded/deals"
CONFIG = Path(__file__).resolve().parents[3] / "config"
NOON_S = 1_750_474_800


def deal(deal_id: str, moved_wh: float) -> object:
    return msg.Deal(deal_id=deal_id, moved_wh=moved_wh, sent_wh=float("nan"))


def write_two_deals(file: Path) -> None:
    with RecordingWriter(file, {"grid.json": json.dumps(GRID)}, {"speed": "20"}) as writer:
        writer.add_topic(DEALS, "apis_interfaces/msg/Deal", RECORD)
        for second, moved_wh in enumerate((1.5, 2.5)):
            data = serialize_message(deal("one", moved_wh))
            writer.write(DEALS, data, time_ns=(NOON_S + second) * 1_000_000_000)


def test_others_read_it_without_our_message_files(tmp_path):
    file = tmp_path / "day.mcap"
    write_two_deals(file)

    decoded = list(mcap_ros2.read_ros2_messages(str(file)))
    assert [message.ros_msg.moved_wh for message in decoded] == [1.5, 2.5]
    assert decoded[0].ros_msg.deal_id == "one"
    with file.open("rb") as stream:
        reader = make_reader(stream)
        assert reader.get_header().profile == "ros2"
        (channel,) = reader.get_summary().channels.values()
        (schema,) = reader.get_summary().schemas.values()
    (qos,) = yaml.safe_load(channel.metadata["offered_qos_profiles"])
    assert (qos["durability"], qos["reliability"]) == ("transient_local", "reliable")
    assert (channel.message_encoding, schema.encoding) == ("cdr", "ros2msg")
    assert "MSG: builtin_interfaces/Time" in schema.data.decode()


def test_what_was_recorded_is_read_back(tmp_path):
    file = tmp_path / "day.mcap"
    write_two_deals(file)
    recorded = read_recording(file)

    times_ns, topics, types, profiles, _ = zip(*recorded.messages(), strict=True)
    assert [ns // 1_000_000_000 - NOON_S for ns in times_ns] == [0, 1]
    assert (set(topics), set(types)) == ({DEALS}, {"apis_interfaces/msg/Deal"})
    assert profiles[0].durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert recorded.facts["speed"] == "20"


def test_rosbag2_finds_its_metadata_and_type_hashes(tmp_path):
    folder = tmp_path / "day"
    folder.mkdir()
    file = folder / "day_0.mcap"
    grid = {"grid.json": json.dumps(GRID)}
    with RecordingWriter(file, grid, {"speed": "20"}) as writer:
        writer.add_topic(DEALS, "apis_interfaces/msg/Deal", RECORD, "RIHS01_ab")
        writer.add_topic("/silent", "apis_interfaces/msg/Deal", RECORD, "RIHS01_ab")
        data = serialize_message(deal("one", 1.0))
        for second in (0, 2):
            writer.write(DEALS, data, time_ns=(NOON_S + second) * 1_000_000_000)

    text = (folder / "metadata.yaml").read_text()
    assert "&id" not in text
    information = yaml.safe_load(text)
    bag = information["rosbag2_bagfile_information"]
    assert (bag["version"], bag["storage_identifier"]) == (9, "mcap")
    assert bag["duration"]["nanoseconds"] == 2_000_000_000
    assert bag["starting_time"]["nanoseconds_since_epoch"] == NOON_S * 1_000_000_000
    assert bag["relative_file_paths"] == [bag["files"][0]["path"]] == ["day_0.mcap"]
    counts = {
        t["topic_metadata"]["name"]: t["message_count"] for t in bag["topics_with_message_count"]
    }
    assert counts == {DEALS: 2, "/silent": 0}
    topic = bag["topics_with_message_count"][0]["topic_metadata"]
    assert topic["type_description_hash"] == "RIHS01_ab"
    assert topic["offered_qos_profiles"][0]["durability"] == "transient_local"
    with file.open("rb") as stream:
        reader = make_reader(stream)
        hashes = [c.metadata["topic_type_hash"] for c in reader.get_summary().channels.values()]
        inside = {m.name: m.metadata for m in reader.iter_metadata()}
    assert hashes == ["RIHS01_ab"] * 2
    assert yaml.safe_load(inside["rosbag2"]["serialized_metadata"]) == bag


def test_a_recording_among_other_files_leaves_no_metadata_beside_it(tmp_path):
    (tmp_path / "other").touch()
    write_two_deals(tmp_path / "day.mcap")
    assert {entry.name for entry in tmp_path.iterdir()} == {"other", "day.mcap"}


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    file = tmp_path / "day.mcap"
    file.write_text("dear")
    with pytest.raises(FileExistsError):
        write_two_deals(file)
    assert file.read_text() == "dear"
    with RecordingWriter(file, {}, {}, overwrite=True):
        pass
    assert file.read_bytes().startswith(b"\x89MCAP")


def write_foreign_channels(file: Path, last_s: int) -> None:
    """Two deals, and channels that cannot be played; the second deal at `last_s`."""
    with file.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2")
        writer.add_attachment(0, 0, "grid.json", "application/json", json.dumps(GRID).encode())
        text = definition("apis_interfaces/msg/Deal").encode()
        known = writer.register_schema("apis_interfaces/msg/Deal", "ros2msg", text)
        binary = writer.register_schema("foo.Bar", "protobuf", b"\xff\x00")
        odd = writer.register_schema("Bar", "ros2msg", b"int32 a")
        data = serialize_message(deal("one", 1.5))
        for topic, encoding, schema in (
            ("/clock", "cdr", 0),
            ("/bare", "", 0),
            ("/json", "json", binary),
            ("/odd", "cdr", odd),
            (DEALS, "cdr", known),
        ):
            qos = {"offered_qos_profiles": as_yaml([qos_profile(RECORD)])}
            channel = writer.register_channel(topic, encoding, schema, qos)
            for second in (NOON_S, last_s):
                writer.add_message(channel, second * 10**9, data, second * 10**9)
        writer.finish()


def test_channels_that_cannot_be_played_are_left_out_and_the_rest_is_not(tmp_path):
    file = tmp_path / "day.mcap"
    write_foreign_channels(file, NOON_S + 1)
    recorded = read_recording(file)

    assert recorded.left_out["/clock"] == recorded.left_out["/bare"] == "the channel has no schema"
    assert "json with protobuf" in recorded.left_out["/json"]
    assert "Bar is not installed here" in recorded.left_out["/odd"]
    assert [topic for _, topic, *_ in recorded.messages()] == [DEALS, DEALS]


def test_times_that_ros_cannot_tell_are_refused(tmp_path):
    file = tmp_path / "day.mcap"
    write_foreign_channels(file, 2**31)
    with pytest.raises(RecordingError, match="after 2038"):
        read_recording(file)


def test_a_type_that_has_other_fields_by_now_is_named(tmp_path, monkeypatch):
    file, other = tmp_path / "day.mcap", tmp_path / "other.mcap"
    comment = f"# another comment\n{definition('apis_interfaces/msg/Deal')}"
    monkeypatch.setattr(recording, "definition", lambda _: comment)
    write_two_deals(file)
    monkeypatch.setattr(recording, "definition", lambda _: f"string first\n{comment}")
    write_two_deals(other)
    monkeypatch.undo()

    assert read_recording(file).left_out == {}
    assert "another version" in read_recording(other).left_out[DEALS]
    assert list(read_recording(other).messages()) == []


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"no mcap", "not a complete MCAP file")]
)
def test_a_wrong_file_is_named(tmp_path, content, said):
    file = tmp_path / "day.mcap"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(RecordingError, match=said):
        read_recording(file)


FULL = Path("/dev/full")  # a file for which there is never any room


def record_into_full(messages: int) -> None:
    data = serialize_message(deal("one", 1.5))
    with RecordingWriter(FULL, {}, {}, overwrite=True) as writer:
        writer.add_topic(DEALS, "apis_interfaces/msg/Deal", RECORD)
        for number in range(messages):
            writer.write(DEALS, data, time_ns=NOON_S + number)


@pytest.mark.parametrize("chunk_bytes", [1, recording.CHUNK_BYTES])
def test_a_full_disk_is_told_while_it_records_or_at_the_end(monkeypatch, chunk_bytes):
    monkeypatch.setattr(recording, "CHUNK_BYTES", chunk_bytes)
    said = r"^/dev/full cannot be written: No space left on device; .*mcap recover"

    with pytest.raises(RecordingError, match=said):
        record_into_full(1_000)


# --- the processes ---


@pytest.fixture
def node(own_ros_domain: int) -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("peer", namespace="/apis/recorded", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@contextmanager
def running(module: str, tmp_path: Path, **parameters: object) -> Iterator[subprocess.Popen[str]]:
    grid_file = tmp_path / "grid.json"
    grid_file.write_text(json.dumps(GRID))
    given = {"grid_file": grid_file, **parameters}
    arguments = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    remap = ["-r", "__ns:=/apis/recorded"]
    process = subprocess.Popen(
        [sys.executable, "-m", f"apis_viz.recorder.{module}", "--ros-args", *remap, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def spin_until(node: Node, condition) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    end_s = time.monotonic() + 40.0
    while not condition():
        assert time.monotonic() < end_s, "did not come true in 40 s"
        executor.spin_once(timeout_sec=0.05)
    executor.remove_node(node)


@pytest.mark.ros
def test_the_recorder_hears_everything_and_stamps_it_with_simulated_time(node, tmp_path):
    file = tmp_path / "new folder" / "day.mcap"
    deals = node.create_publisher(msg.Deal, "deals", RECORD)
    clock = node.create_publisher(Clock, "/clock", 10)
    deals.publish(deal("early", 3.0))  # latched: heard by one that comes late
    with running("record", tmp_path, file=file, use_sim_time=True) as process:
        noon = Clock()
        noon.clock.sec = NOON_S

        def is_heard() -> bool:
            clock.publish(noon)
            return all(p.get_subscription_count() for p in (deals, clock))

        spin_until(node, is_heard)
        deals.publish(deal("late", 4.0))
        end_s = time.monotonic() + 2.0
        spin_until(node, lambda: clock.publish(noon) or time.monotonic() > end_s)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=50)

    assert process.returncode == 0, said
    assert "recorded" in said
    recorded = read_recording(file)
    decoded = [m for m in mcap_ros2.read_ros2_messages(str(file)) if m.channel.topic == DEALS]
    assert [m.ros_msg.deal_id for m in decoded] == ["early", "late"]
    assert recorded.start_ns // 1_000_000_000 == NOON_S
    bag = yaml.safe_load((file.parent / "metadata.yaml").read_text())
    topics = bag["rosbag2_bagfile_information"]["topics_with_message_count"]
    assert all(t["topic_metadata"]["type_description_hash"].startswith("RIHS01_") for t in topics)
    assert json.loads(recorded.attachments["grid.json"])["cluster"] == "recorded"


@pytest.mark.ros
def test_a_recorder_whose_disk_is_full_says_so_in_one_line(node, tmp_path):
    deals = node.create_publisher(msg.Deal, "deals", RECORD)
    long = deal("d" * 100_000, 1.0)
    with running("record", tmp_path, file=FULL, overwrite=True) as process:
        spin_until(node, lambda: deals.publish(long) or process.poll() is not None)
        said, _ = process.communicate(timeout=50)

    assert process.returncode == 2
    assert "Traceback" not in said
    assert "recorder: /dev/full cannot be written: No space left on device" in said


@pytest.mark.ros
def test_the_player_says_it_again_with_its_clock(node, tmp_path):
    file = tmp_path / "day.mcap"
    write_two_deals(file)
    heard, times_s = [], []
    node.create_subscription(msg.Deal, "deals", heard.append, RECORD)
    node.create_subscription(Clock, "/clock", lambda m: times_s.append(m.clock.sec), 10)
    with running("play", tmp_path, file=file, speed=2.0):
        spin_until(node, lambda: len(heard) == 2 and NOON_S + 1 in times_s)

    assert [message.moved_wh for message in heard] == [1.5, 2.5]


@pytest.mark.ros
def test_a_gap_of_years_is_not_waited_out(node, tmp_path):
    file = tmp_path / "day.mcap"
    later_s = NOON_S + 10 * 365 * 86_400
    write_foreign_channels(file, later_s)
    heard, times_s = [], []
    node.create_subscription(msg.Deal, "deals", heard.append, RECORD)
    node.create_subscription(Clock, "/clock", lambda m: times_s.append(m.clock.sec), 10)
    with running("play", tmp_path, file=file, speed=1.0) as process:
        spin_until(node, lambda: len(heard) == 2 and later_s in times_s)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=50)
    assert "nothing was recorded for 3650 days: it is not waited for" in said
    assert "/clock is left out: the channel has no schema" in said


@pytest.mark.ros
def test_the_player_is_silent_where_a_grid_lives(node, tmp_path):
    file = tmp_path / "day.mcap"
    write_two_deals(file)
    node.create_publisher(msg.UnitStatus, "e001/status", STATE)
    with running("play", tmp_path, file=file) as process:
        said, _ = process.communicate(timeout=50)

    assert process.returncode == 2
    assert "a grid lives here (/apis/recorded/e001/status)" in said


def test_the_layout_for_foxglove_shows_fields_that_there_are():
    layout = json.loads((CONFIG / "foxglove_layout.json").read_text())
    panels = layout["configById"]
    kinds = {"status": msg.UnitStatus, "converter_state": msg.ConverterState}
    kinds["house_state"] = msg.HouseState
    paths = [p["value"] for panel in panels.values() for p in panel.get("paths", [])]

    def leaves(part) -> list[str]:
        return [part] if isinstance(part, str) else leaves(part["first"]) + leaves(part["second"])

    assert sorted(leaves(layout["layout"])) == sorted(panels)
    assert len(paths) == 16
    for path in paths:
        topic, _, field = path.partition(".")
        assert field in kinds[topic.rpartition("/")[2]].get_fields_and_field_types()
