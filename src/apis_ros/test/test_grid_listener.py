"""Who watches a grid leaves it whole, even while units are being discovered."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")

from apis_ros.grid_listener import GridListener


class Graph:
    """A node that sees two units; it can be held up in the middle of a subscription."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.is_in_the_middle = threading.Event()
        self.may_go_on = threading.Event()

    def get_topic_names_and_types(self):
        return [(f"/apis/village/{unit}/status", []) for unit in ("e001", "e002")]

    def create_subscription(self, _kind, topic, _hear, _qos):
        if topic.endswith("/status"):
            self.is_in_the_middle.set()
            assert self.may_go_on.wait(10.0)
        self.topics.append(topic)
        return topic

    def destroy_subscription(self, topic):
        self.topics.remove(topic)


def test_closing_while_units_are_discovered_leaves_no_subscription():
    graph = Graph()
    watch = GridListener(graph, namespace="/apis/village")
    discovering = threading.Thread(target=watch.discover)
    closing = threading.Thread(target=watch.close)
    discovering.start()
    assert graph.is_in_the_middle.wait(10.0)
    closing.start()
    closing.join(0.2)  # it waits for the other one, or it does not
    graph.may_go_on.set()
    for thread in (discovering, closing):
        thread.join(10.0)
        assert not thread.is_alive()
    assert graph.topics == []


def test_who_has_left_discovers_nothing():
    graph = Graph()
    watch = GridListener(graph, namespace="/apis/village")
    watch.close()
    graph.may_go_on.set()
    watch.discover()
    assert graph.topics == []
