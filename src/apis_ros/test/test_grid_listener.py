"""What is kept of what a grid says; and who listens leaves, even while units are discovered."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")

from apis_interfaces.msg import ConverterState, Deal, Fault, UnitStatus
from apis_ros import topics
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


class Heard:
    """A node that hears what a test says, in a graph with these topics."""

    def __init__(self, *topics: str) -> None:
        self.topics = topics
        self.hear: dict[str, Callable[[object], None]] = {}
        self.options: dict[str, dict[str, object]] = {}

    def get_topic_names_and_types(self):
        return [(topic, []) for topic in self.topics]

    def create_subscription(self, _kind, topic, hear, _qos, **options):
        self.hear[topic] = hear
        self.options[topic] = options


def test_the_newest_of_each_kind_is_kept_and_every_message_is_told():
    graph = Heard()
    listener = GridListener(graph, ["E001"], namespace="/apis/village")
    told = []
    listener.after_each(told.append)
    status, read = UnitStatus(unit_id="E001", term=3), ConverterState(mode=1)
    graph.hear["/apis/village/e001/status"](status)
    graph.hear["/apis/village/e001/converter_state"](read)
    assert (listener.statuses, listener.converter("E001")) == ({"E001": status}, read)
    assert told == [status, read]


def test_a_late_record_of_an_older_state_of_a_deal_is_dropped():
    graph = Heard()
    listener = GridListener(graph, namespace="/apis/village")
    hear = graph.hear["/apis/village/deals"]
    for term, sequence in ((2, 1), (1, 9), (2, 0)):
        hear(Deal(deal_id="d", term=term, sequence=sequence))
    assert (listener.deals["d"].term, listener.deals["d"].sequence) == (2, 1)


def test_deals_that_are_over_and_faults_are_kept_up_to_a_number():
    class Short(GridListener):
        PAST_DEALS = 2
        PAST_FAULTS = 3

    graph = Heard()
    listener = Short(graph, namespace="/apis/village")
    hear = graph.hear["/apis/village/deals"]
    hear(Deal(deal_id="running", state=Deal.STATE_RUNNING))
    for number in range(4):
        hear(Deal(deal_id=str(number), state=Deal.STATE_COMPLETED))
        graph.hear["/apis/village/faults"](Fault(code=str(number)))
    assert list(listener.deals) == ["running", "2", "3"]
    assert [fault.code for fault in listener.faults] == ["1", "2", "3"]


def test_a_unit_is_found_by_any_of_its_topics_and_followed_once():
    unit = "/apis/village/e001"
    graph = Heard(f"{unit}/converter_state", f"{unit}/status", "/apis/other/e002/status")
    listener = GridListener(graph, namespace="/apis/village")
    listener.discover()
    listener.discover()
    assert listener.unit_ids == ("E001",)
    assert f"{unit}/battery_state" in graph.hear


def test_who_listens_may_hear_other_topics_and_less_of_them():
    class Offers(GridListener):
        UNIT_TOPICS = ()
        CLUSTER_TOPICS = (topics.REQUESTS,)

        def options(self, topic):
            return {"only": topic.name}

    graph = Heard()
    Offers(graph, ["E001"], namespace="/apis/village")
    assert graph.options == {"/apis/village/requests": {"only": "requests"}}
