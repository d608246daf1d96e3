"""Every `ros2` command of the documents does what they say.

The `ros2` tools come with an installation of ROS 2 alone. So each command is taken apart here as
the tool does it, and done with rclpy: the same quality of service, the same message from the same
YAML, the same arguments of the same launch file.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

rclpy = pytest.importorskip("rclpy")

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import (  # noqa: E402
    DurabilityPolicy,
    QoSPresetProfiles,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.signals import SignalHandlerOptions  # noqa: E402

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INTERFACES = ROOT / "src" / "apis_interfaces"
# verbs that take nothing of ours
PLAIN = {("node", "list"), ("topic", "list")}
PRESET = {"echo": "sensor_data", "pub": "default"}  # where an option of QoS is given


def commands() -> Iterator[tuple[str, list[str]]]:
    """Page and words of every command in a block of code, or as a whole `in a line`."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        lines = re.findall(r"^ {4}(ros2 .*)$", text, re.M)
        spans = re.findall(r"`(ros2 (?:topic echo |launch launch)[^`]*)`", text)
        for command in (*lines, *spans):
            words = shlex.split(re.sub(r"\s# .*| ;.*| \|.*", "", command))
            if "..." not in words:
                yield page.name, words[1:]


COMMANDS = list(commands())
QOS_ROWS = dict(
    re.findall(
        r"^\| `([\w/<>]+)` \| \S+ \| .*? \| (reliable[^|]*) \|$",
        (INTERFACES / "README.md").read_text(),
        re.M,
    )
)


def of_verb(*verb: str) -> list[Any]:
    found = [pytest.param(words, id=" ".join(words[2:4])) for _, words in COMMANDS]
    return [param for param in found if tuple(param.values[0][: len(verb)]) == verb]


def documented_qos(topic: str) -> QoSProfile:
    """How the table of apis_interfaces says that a topic is offered."""
    name = topic.removeprefix("/apis/village/")
    row = QOS_ROWS[re.sub(r"^e\d+/", "<unit>/", name)]
    depth = re.search(r"last (\d+)", row)
    assert depth, row
    is_kept = "transient local" in row
    durability = DurabilityPolicy.TRANSIENT_LOCAL if is_kept else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=int(depth[1]), durability=durability)


def qos_of(words: list[str], offered: QoSProfile) -> tuple[QoSProfile, list[str]]:
    """The profile that `ros2 topic` uses, and the other words."""
    parser = argparse.ArgumentParser(prog="ros2 topic", allow_abbrev=False)
    parser.add_argument("--qos-profile", default=PRESET[words[1]])
    parser.add_argument("--qos-reliability")
    parser.add_argument("--qos-durability")
    parser.add_argument("--qos-depth", type=int)
    options, others = parser.parse_known_args(words[2:])
    profile = QoSPresetProfiles.get_from_short_key(options.qos_profile)
    qos = QoSProfile(
        depth=profile.depth, reliability=profile.reliability, durability=profile.durability
    )
    is_said = [options.qos_reliability, options.qos_durability, options.qos_depth]
    if words[1] == "echo" and not any(is_said):  # as the publishers offer it
        qos.reliability, qos.durability = offered.reliability, offered.durability
    if options.qos_reliability:
        qos.reliability = ReliabilityPolicy.get_from_short_key(options.qos_reliability)
    if options.qos_durability:
        qos.durability = DurabilityPolicy.get_from_short_key(options.qos_durability)
    if options.qos_depth:
        qos.depth = options.qos_depth
    return qos, [word for word in others if word not in ("--once",)]


def kind(name: str) -> Any:
    package, group, type_name = name.split("/")
    return getattr(importlib.import_module(f"{package}.{group}"), type_name)


def fill(message: Any, content: dict[str, Any]) -> None:
    """As the tools fill a message from YAML: unknown fields and other types are errors."""
    for name, value in content.items():
        part = getattr(message, name)
        if isinstance(value, dict):
            fill(part, value)
        else:
            setattr(message, name, float(value) if isinstance(part, float) else value)


@pytest.fixture
def nodes(
    own_ros_domain: int,
) -> Iterator[tuple[Node, Node, Callable[[Callable[[], bool]], None]]]:
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    speaker, listener = (Node(name, context=context) for name in ("speaker", "listener"))
    executor = SingleThreadedExecutor(context=context)
    for node in (speaker, listener):
        executor.add_node(node)

    def spin_until(condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + 30.0
        while not condition():
            assert time.monotonic() < end_s, "did not come true in 30 s"
            executor.spin_once(timeout_sec=0.05)

    yield speaker, listener, spin_until
    for node in (speaker, listener):
        node.destroy_node()
    context.try_shutdown()


def test_the_documents_have_commands_of_every_kind():
    verbs = {tuple(words[:2]) for _, words in COMMANDS if words[0] != "launch"}
    assert verbs >= {("topic", "echo"), ("topic", "pub"), ("service", "call"), *PLAIN}
    known = {("topic", "hz"), ("interface", "show"), ("action", "send_goal")}
    known |= {("topic", "echo"), ("topic", "pub"), ("service", "call"), *PLAIN}
    assert verbs <= known, "test the new verb here"


@pytest.mark.parametrize("words", of_verb("topic", "echo"))
def test_echo_shows_what_is_kept_and_what_comes(nodes, words):
    speaker, listener, spin_until = nodes
    topic = words[2]
    offered = QoSProfile(depth=100) if topic == "/diagnostics" else documented_qos(topic)
    qos, others = qos_of(words, offered)
    assert others == [topic]
    is_kept = offered.durability == DurabilityPolicy.TRANSIENT_LOCAL
    is_explicit = len(words) > 3 and words[3].startswith("--qos")
    message = kind("diagnostic_msgs/msg/DiagnosticArray")  # any type: quality is what counts
    publisher = speaker.create_publisher(message, topic, offered)
    expected = offered.depth if is_kept and is_explicit else 1
    if is_kept:
        for _ in range(expected):
            publisher.publish(message())
    heard: list[Any] = []
    listener.create_subscription(message, topic, heard.append, qos)
    if not is_kept:
        spin_until(lambda: publisher.get_subscription_count() > 0)
        publisher.publish(message())
    spin_until(lambda: len(heard) >= expected)


@pytest.mark.parametrize("words", of_verb("topic", "pub"))
def test_a_message_that_is_published_is_heard_by_the_units(nodes, words):
    speaker, listener, spin_until = nodes
    qos, (topic, type_name, text) = qos_of(words, QoSProfile(depth=1))
    message = kind(type_name)()
    fill(message, yaml.safe_load(text))
    heard: list[Any] = []
    listens = documented_qos(topic)
    listener.create_subscription(type(message), topic, heard.append, listens)
    publisher = speaker.create_publisher(type(message), topic, qos)
    spin_until(lambda: publisher.get_subscription_count() > 0)  # as `--once` waits for it
    publisher.publish(message)
    spin_until(lambda: heard == [message])


@pytest.mark.parametrize("words", [*of_verb("service", "call"), *of_verb("action", "send_goal")])
def test_a_request_can_be_made_of_its_text(words):
    name, type_name, text = (word for word in words[2:] if not word.startswith("--"))
    interface = kind(type_name)
    request = interface.Request() if words[0] == "service" else interface.Goal()
    fill(request, yaml.safe_load(text))
    row = re.sub(r"/apis/village/(e\d+/)?", lambda m: "<unit>/" if m[1] else "", name)
    group = type_name.replace("apis_interfaces/", "")
    assert f"| `{row}` | {group} |" in (INTERFACES / "README.md").read_text()


@pytest.mark.parametrize("words", of_verb("interface", "show"))
def test_an_interface_that_is_shown_is_there(words):
    package, group, name = words[2].split("/")
    assert (ROOT / "src" / package / group / f"{name}.{group}").is_file()


@pytest.mark.parametrize("words", of_verb("launch"))
def test_a_launch_file_has_the_arguments(words):
    given = [word for word in words[1:] if not word.startswith("--") and word != "apis_bringup"]
    file, *arguments = given
    text = (ROOT / "launch" / Path(file).name).read_text()
    for argument in arguments:
        name, _, value = argument.partition(":=")
        assert value, argument
        assert re.search(rf'"{name}"', text), f"{file} has no argument {name}"
