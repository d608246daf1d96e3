"""What a unit has on the graph: what it says to all and to one, hears, and calls.

Which it is stands in two tables; names, types and qualities of service are
:mod:`apis_ros.topics`'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import BatteryState

from apis_core import events
from apis_core.model import messages
from apis_core.model.types import UnitId
from apis_interfaces import srv
from apis_interfaces.msg import Deal, HouseState
from apis_node.graph_time import UnitClock
from apis_node.house_meter import HouseMeter
from apis_ros import content_filter, names, qos, topics
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.conversions import Untranslatable, from_ros, to_ros
from apis_ros.topics import Topic

__all__ = ["Endpoints"]

# what all units hear of each other: by its type, the topic on which one says it
SAID_TO_ALL: dict[type, Topic] = {
    messages.Deal: topics.DEALS,
    messages.Fault: topics.FAULTS,
    messages.GridMasterClaim: topics.GRID_MASTER,
    messages.InterchangeRequest: topics.REQUESTS,
    messages.LeaseGrant: topics.GRID_MASTER_GRANTS,
    messages.PolicyOffer: topics.POLICY_OFFERS,
}
# what a unit hears of all: type, topic, and with which quality
HEARD_OF_ALL: tuple[tuple[type, Topic, QoSProfile], ...] = (
    (messages.Fault, topics.FAULTS, qos.EVENT),
    (messages.GridMasterClaim, topics.GRID_MASTER, topics.GRID_MASTER.qos),
    (messages.InterchangeRequest, topics.REQUESTS, topics.REQUESTS.qos),
    (messages.PolicyOffer, topics.POLICY_OFFERS, topics.POLICY_OFFERS.qos),
    # not retained: what an operator said before we came reaches us with the others' status
    (messages.OperationModeOrder, topics.OPERATION_MODE, qos.EVENT),
    (messages.LeaseGrant, topics.GRID_MASTER_GRANTS, topics.GRID_MASTER_GRANTS.qos),
    # retained: a unit that becomes the grid master must know what an older one left
    (messages.Deal, topics.DEALS, topics.DEALS.qos),
)
# what a unit hears on topics of its own
HEARD_BY_ITSELF: tuple[tuple[type, Topic], ...] = (
    (messages.InterchangeAccept, topics.ACCEPTS),
    (messages.ConverterReading, topics.CONVERTER_STATE),
)
# what other units are called with: service and name
CALLED: dict[type, tuple[type, str]] = {
    messages.ControlRequest: (srv.UnitControl, names.CONTROL),
    messages.DealSubmission: (srv.SubmitDeal, names.SUBMIT_DEAL),
}


class Endpoints:
    """Publishers, subscriptions and clients of one unit.

    Args:
        node: In the namespace of the unit.
        cluster: Name of the cluster.
        unit_id: The unit.
        clock: For stamps.
        authenticator: Signs what is said; refuses what does not count.
        timezone: Of the place, for the time of day.
        feed: Takes what is heard.
        hear_deal: Is told of every deal, too, as a message.

    Attributes:
        converter: Client of the own converter.
    """

    def __init__(
        self,
        node: Node,
        cluster: str,
        unit_id: UnitId,
        clock: UnitClock,
        authenticator: MessageAuthenticator,
        timezone: ZoneInfo,
        *,
        feed: Callable[[events.Event], None],
        hear_deal: Callable[[Deal], None],
    ) -> None:
        self._node = node
        self._cluster = cluster
        self._unit_id = unit_id
        self._clock = clock
        self._authenticator = authenticator
        self._timezone = timezone
        self._feed = feed
        self._hear_deal = hear_deal
        self._house_meter: HouseMeter | None = None
        self._met: set[UnitId] = set()  # units that we can hear and reach
        self._accept_publishers: dict[UnitId, Any] = {}
        self._peer_clients: dict[tuple[UnitId, type], Any] = {}
        self._publishers: dict[type, Any] = {
            type_: topic.publisher(node, names.in_cluster(cluster, topic.name))
            for type_, topic in SAID_TO_ALL.items()
        }
        own_status = names.in_unit(cluster, unit_id, names.STATUS)
        self._publishers[messages.UnitStatus] = topics.STATUS.publisher(node, own_status)
        self.converter: Any = node.create_client(
            srv.ConverterCommand, names.in_unit(cluster, unit_id, names.CONVERTER_COMMAND)
        )
        self._listen_to_all()

    def say(self, message: messages.Message, now_ns: int) -> None:
        """Publish to all; `now_ns` is the present of the agent. [ns]"""
        self._publish(self._publishers[type(message)], message, now_ns)

    def say_to(self, unit_id: UnitId, message: messages.InterchangeAccept, now_ns: int) -> None:
        """Publish to one unit; `now_ns` is the present of the agent. [ns]"""
        self._publish(self._accept_publisher(unit_id), message, now_ns)

    def peer(self, unit_id: UnitId, type_: type) -> Any:
        """The client that calls a unit with a request of a type of :mod:`messages`."""
        key = (unit_id, type_)
        if key not in self._peer_clients:
            service, name = CALLED[type_]
            self._peer_clients[key] = self._node.create_client(
                service, names.in_unit(self._cluster, unit_id, name)
            )
        return self._peer_clients[key]

    def count_hours(self) -> None:
        """Listen to the meters of the house, for a unit that reckons with sun and load."""
        if self._house_meter is None:
            self._house_meter = HouseMeter(self._timezone)
            topic = topics.HOUSE_STATE
            name = names.in_unit(self._cluster, self._unit_id, topic.name)
            self._node.create_subscription(topic.type, name, self._hear_house, topic.qos)

    def meet(self, unit_ids: Sequence[UnitId]) -> None:
        """Listen to units, and be ready to speak to them.

        At once and not at first use: discovery takes longer than a negotiation window.
        """
        for unit_id in set(unit_ids) - self._met:
            self._met.add(unit_id)
            # our own status, too: another process may use our name
            status = topics.STATUS
            name = names.in_unit(self._cluster, unit_id, status.name)
            self._listen(messages.UnitStatus, status, name, status.qos)
            if unit_id != self._unit_id:
                self._accept_publisher(unit_id)
                for type_ in CALLED:
                    self.peer(unit_id, type_)

    def _listen_to_all(self) -> None:
        for type_, topic, profile in HEARD_OF_ALL:
            options = {}
            if topic is topics.GRID_MASTER_GRANTS:
                # in an election of twenty units, each would else hear 400 votes for others
                options = content_filter.only("grid_master_id = %0", self._unit_id)
            name = names.in_cluster(self._cluster, topic.name)
            self._listen(type_, topic, name, profile, **options)
        for type_, topic in HEARD_BY_ITSELF:
            name = names.in_unit(self._cluster, self._unit_id, topic.name)
            self._listen(type_, topic, name, topic.qos)
        # a type of ROS's own, which has no room for a signature
        battery = topics.BATTERY_STATE
        name = names.in_unit(self._cluster, self._unit_id, battery.name)
        self._node.create_subscription(battery.type, name, self._hear_battery, battery.qos)

    def _listen(
        self, type_: type, topic: Topic, name: str, profile: QoSProfile, **options: Any
    ) -> None:
        """Have the agent hear what is said on a topic, as far as it counts."""

        def hear(message: Any) -> None:
            is_retained = qos.is_retained(profile)
            if self._authenticator.why_refused(message, name, retained=is_retained):
                return
            try:
                value: Any = from_ros(message, type_, self._clock.instants())
            except Untranslatable as error:
                self._node.get_logger().warning(f"{type_.__name__} ignored: {error}")
                return
            if isinstance(value, messages.Deal):
                self._hear_deal(message)
            is_own = isinstance(value, messages.ConverterReading)
            self._feed(events.ConverterRead(value) if is_own else events.Received(value))

        self._node.create_subscription(topic.type, name, hear, profile, **options)

    def _hear_battery(self, message: BatteryState) -> None:
        soc_ratio = None if message.percentage != message.percentage else message.percentage
        stamp_s = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        local = datetime.fromtimestamp(stamp_s, self._timezone)
        seconds = local.hour * 3600 + local.minute * 60 + local.second + local.microsecond * 1e-6
        reading = messages.BatteryReading(soc_ratio=soc_ratio, seconds_of_day=seconds)
        if self._house_meter is not None and soc_ratio is not None:
            self._house_meter.hear_charge(soc_ratio)
        self._feed(events.BatteryRead(reading))

    def _hear_house(self, message: HouseState) -> None:
        hour = self._house_meter.hear(message) if self._house_meter is not None else None
        if hour is not None:
            self._feed(hour)

    def _accept_publisher(self, unit_id: UnitId) -> Any:
        if unit_id not in self._accept_publishers:
            topic = topics.ACCEPTS
            self._accept_publishers[unit_id] = topic.publisher(
                self._node, names.in_unit(self._cluster, unit_id, topic.name)
            )
        return self._accept_publishers[unit_id]

    def _publish(self, publisher: Any, value: Any, now_ns: int) -> None:
        message = to_ros(value, self._clock.instants(), now_ns)
        publisher.publish(self._authenticator.sign(message, publisher.topic_name))
