"""The topics in code are those of the contract, and names are put together in one way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")

from rclpy.qos import ReliabilityPolicy

from apis_ros import names, qos, topics
from apis_ros.topics import Topic

CONTRACT = Path(__file__).resolve().parents[3] / "src" / "apis_interfaces" / "README.md"


def rows() -> dict[str, tuple[str, str]]:
    """Type and QoS of every row of the table that has a name, by that name."""
    found = re.findall(
        r"^\| `([\w/<>]+)` \| (\S+) \| .*? \| ([^|]+) \|$", CONTRACT.read_text(), re.M
    )
    assert found
    return {name.removeprefix("<unit>/"): (kind, quality) for name, kind, quality in found}


def test_the_contract_has_every_topic_as_it_is_offered():
    said = {name: row for name, row in rows().items() if row[1].startswith("reliable")}
    offered = [topic for topic in vars(topics).values() if isinstance(topic, Topic)]
    assert {topic.name for topic in offered} == said.keys()
    for topic in offered:
        kind, quality = said[topic.name]
        assert topic.type.__name__ == kind.rpartition("/")[2]
        assert topic.qos.reliability == ReliabilityPolicy.RELIABLE
        assert topic.qos.depth == int(re.search(r"last (\d+)", quality)[1]), topic.name
        assert qos.is_retained(topic.qos) is ("transient local" in quality), topic.name


def test_the_contract_has_every_service_and_the_action():
    said = {name for name, (_, quality) in rows().items() if quality in ("service", "action")}
    assert said == {
        names.CONTROL,
        names.CONVERTER_COMMAND,
        names.EMULATOR_CONTROL,
        names.EMULATOR_INJECT_FAULT,
        names.INTERCHANGE,
        names.MAINTENANCE,
        names.SUBMIT_DEAL,
    }


def test_names_are_put_together_and_taken_apart():
    assert names.in_cluster("village", names.DEALS) == "/apis/village/deals"
    status = names.in_unit("village", "E001", names.STATUS)
    assert status == "/apis/village/e001/status"
    assert status.endswith(f"/{names.of_unit('E001', names.STATUS)}")
    for space in ("/apis/village", "/apis/village/"):
        assert names.split_unit(space, status) == ("E001", names.STATUS)
    for other in ("/apis/village/deals", "/apis/villages/e001/status", "/clock"):
        assert names.split_unit("/apis/village", other) == ("", "")
    assert names.cluster_of(status, names.STATUS) == "village"
    for other in (
        "/apis/village/deals",
        "/apis/village/a/e001/status",
        "/x/apis/village/e/status",
    ):
        assert names.cluster_of(other, names.STATUS) == ""


def test_who_records_hears_every_publisher_as_strictly_as_it_can():
    assert qos.is_retained(qos.that_hears([qos.STATE, qos.RECORD]))
    assert not qos.is_retained(qos.that_hears([qos.STATE, qos.TELEMETRY]))
    assert not qos.is_retained(qos.that_hears([]))
    best_effort = qos.that_hears([qos.STATE, qos.CLOCK_HEARD]).reliability
    assert best_effort == ReliabilityPolicy.BEST_EFFORT
