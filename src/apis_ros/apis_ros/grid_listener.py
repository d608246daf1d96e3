"""The newest of everything that a grid says, as messages.

This is the base of all who watch a grid: the windows use it as it is, ``apisctl`` and the
dashboard choose other topics and add what is their own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import BatteryState

from apis_interfaces.msg import (
    BusState,
    ConverterState,
    Deal,
    Fault,
    HouseState,
    OperationMode,
    UnitStatus,
)
from apis_ros import qos, topics
from apis_ros.authenticator import UNSIGNED, MessageAuthenticator, is_signed
from apis_ros.names import of_unit, split_unit
from apis_ros.topics import Topic

__all__ = ["OVER", "GridListener"]

OVER = frozenset({Deal.STATE_COMPLETED, Deal.STATE_ABORTED, Deal.STATE_SCRAMMED})


class GridListener:
    """Callbacks of `node` fill it in, holding `lock`; whoever reads from another thread holds it.

    Attributes:
        lock: Notified of every message.
        unit_ids: Units that it listens to, in the order in which they were met.
        statuses: Last status by unit id.
        heard_s: When that came, on this process's monotonic clock. [s]
        converters: Last reading of each converter, from the hardware itself, by unit id.
        batteries: Last reading of each battery by unit id.
        houses: Last reading of each house by unit id.
        deals: Present record by deal id, in the order in which they were first heard of; running
            ones, and some that are over.
        faults: The newest that were reported, oldest first.
        bus: What the emulator says of the bus; None on a real grid.
        diagnostics: Last word by the name of what it is about.
    """

    UNIT_TOPICS: ClassVar[tuple[Topic, ...]] = (
        topics.STATUS,
        topics.CONVERTER_STATE,
        topics.BATTERY_STATE,
        topics.HOUSE_STATE,
    )
    CLUSTER_TOPICS: ClassVar[tuple[Topic, ...]] = (
        topics.DEALS,
        topics.FAULTS,
        topics.BUS_STATE,
        topics.DIAGNOSTICS,
    )
    PAST_DEALS: ClassVar[int | None] = 200  # how many that are over it keeps; None = all
    PAST_FAULTS: ClassVar[int | None] = 200  # how many it keeps; None = all

    def __init__(
        self,
        node: Node,
        unit_ids: Iterable[str] = (),
        *,
        namespace: str = "",
        authenticator: MessageAuthenticator = UNSIGNED,
        lock: threading.Condition | None = None,
    ) -> None:
        """Listen to a grid.

        Args:
            node: Whose callbacks run one at a time: in an executor of one thread, or, as in rqt's
                MultiThreadedExecutor, by the node's default callback group, which is mutually
                exclusive. :meth:`close` may be called from any thread.
            unit_ids: Units to listen to from now on; see also :meth:`discover`.
            namespace: Such as ``/apis/village``; empty = the node's own.
            authenticator: Refuses what does not count; who orders through us speaks with it.
            lock: One that is there already; None = its own.
        """
        self.authenticator = authenticator
        self.lock = lock or threading.Condition()
        self.unit_ids: tuple[str, ...] = ()
        self.statuses: dict[str, UnitStatus] = {}
        self.heard_s: dict[str, float] = {}
        self.converters: dict[str, ConverterState] = {}
        self.batteries: dict[str, BatteryState] = {}
        self.houses: dict[str, HouseState] = {}
        self.deals: dict[str, Deal] = {}
        self.faults: list[Fault] = []
        self.bus: BusState | None = None
        self.diagnostics: dict[str, DiagnosticStatus] = {}
        self._after: list[Callable[[object], None]] = []
        self._node = node
        self._subscriptions: list[Any] = []
        self._prefix = f"{namespace}/" if namespace else ""
        self._is_closed = False
        for unit_id in unit_ids:
            self._follow(unit_id)
        for topic in self.CLUSTER_TOPICS:
            self._listen(topic, topic.name)

    def after_each(self, call: Callable[[object], None]) -> None:
        """Have `call` called with every message, after it was taken in and with the lock held."""
        self._after.append(call)

    def is_news(self, deal: Deal) -> bool:
        """Whether a record is no older than the one that is known of its deal."""
        known = self.deals.get(deal.deal_id)
        return known is None or (deal.term, deal.sequence) >= (known.term, known.sequence)

    def converter(self, unit_id: str) -> ConverterState | None:
        """The newest reading: the hardware's own, else the one in the unit's status."""
        if unit_id in self.converters:
            return self.converters[unit_id]
        status = self.statuses.get(unit_id)
        is_read = status and status.converter.mode != ConverterState.MODE_UNKNOWN
        return status.converter if status and is_read else None

    def running_deals(self) -> list[Deal]:
        """Deals that are not over, oldest first."""
        return [deal for deal in self.deals.values() if deal.state not in OVER]

    def age_s(self, unit_id: str) -> float | None:
        """How long ago a unit spoke, wall time; None = never. [s]"""
        heard_s = self.heard_s.get(unit_id)
        return None if heard_s is None else time.monotonic() - heard_s

    def grid_master(self) -> UnitStatus | None:
        """Status of the grid master; if two say they are it, the one of the newer term."""
        masters = [status for status in self.statuses.values() if status.is_grid_master]
        return max(masters, key=lambda status: status.term, default=None)

    def next_mode_version(self) -> int:
        """What to number a global mode with, so that all units find it newer than theirs."""
        known = (int(status.global_mode_version) for status in self.statuses.values())
        return max(known, default=0) + 1

    def global_mode(self) -> int:
        """The newest global mode that any unit knows, as ``OperationMode.MODE_*``."""
        newest = max(self.statuses.values(), key=lambda s: s.global_mode_version, default=None)
        return int(newest.global_mode if newest else OperationMode.MODE_UNSET)

    def discover(self) -> None:
        """Listen to units that have appeared in the graph under our namespace."""
        namespace = self._prefix or self._node.get_namespace()
        known = {topic.name for topic in self.UNIT_TOPICS}
        for topic, _ in self._node.get_topic_names_and_types():
            unit_id, rest = split_unit(namespace, topic)
            if rest in known and unit_id not in self.unit_ids:
                with self.lock:  # for one unit at a time: who looks need not wait for all
                    if self._is_closed:
                        return
                    self._follow(unit_id)

    def close(self) -> None:
        """Listen no longer, not even to what is being discovered."""
        with self.lock:
            self._is_closed = True
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions.clear()

    def take(self, message: object, unit_id: str) -> None:
        """Keep what was heard; called with the lock held.

        Args:
            message: One that counts.
            unit_id: Whose topic it came on; empty = the cluster's.
        """
        match message:
            case UnitStatus():
                self.statuses[message.unit_id] = message
                self.heard_s[message.unit_id] = time.monotonic()
            case ConverterState():
                self.converters[unit_id] = message
            case BatteryState():
                self.batteries[unit_id] = message
            case HouseState():
                self.houses[unit_id] = message
            case Deal():
                self._take_deal(message)
            case Fault():
                self.faults.append(message)
                if self.PAST_FAULTS is not None:
                    del self.faults[: -self.PAST_FAULTS]
            case BusState():
                self.bus = message
            case DiagnosticArray():
                for status in message.status:
                    self.diagnostics[status.name] = status

    def options(self, topic: Topic) -> dict[str, Any]:
        """What else ``create_subscription`` is told; see :mod:`apis_ros.content_filter`."""
        return {}

    def _follow(self, unit_id: str) -> None:
        self.unit_ids = (*self.unit_ids, unit_id)
        for topic in self.UNIT_TOPICS:
            self._listen(topic, of_unit(unit_id, topic.name), unit_id)

    def _listen(self, topic: Topic, name: str, unit_id: str = "") -> None:
        name = name if name.startswith("/") else self._prefix + name

        def heard(message: object) -> None:
            with self.lock:
                if is_signed(topic.type) and self._is_refused(message, name, topic):
                    return
                self.take(message, unit_id)
                for call in self._after:
                    call(message)
                self.lock.notify_all()

        self._subscriptions.append(
            self._node.create_subscription(
                topic.type, name, heard, topic.qos, **self.options(topic)
            )
        )

    def _is_refused(self, message: object, name: str, topic: Topic) -> bool:
        if self.authenticator.keys is None:
            return False
        full = name if name.startswith("/") else f"{self._node.get_namespace()}/{name}"
        # a recorded day that is shown again is old, too; only what is never repeated must be new
        may_be_old = topic.qos is not qos.EVENT
        return bool(self.authenticator.why_refused(message, full, retained=may_be_old))

    def _take_deal(self, deal: Deal) -> None:
        if not self.is_news(deal):
            return
        self.deals[deal.deal_id] = deal
        if self.PAST_DEALS is not None:
            over = [one.deal_id for one in self.deals.values() if one.state in OVER]
            for deal_id in over[: -self.PAST_DEALS]:
                del self.deals[deal_id]
