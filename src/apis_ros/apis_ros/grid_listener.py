"""The newest of everything that a grid says, as messages, for windows that are not the dashboard.

Messages and not records: metrics, recordings and old clients want fields that no picture shows.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
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
from apis_ros.authenticator import UNSIGNED, MessageAuthenticator, is_signed

__all__ = ["OVER", "GridListener"]

STATE = QoSProfile(depth=1)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
HISTORY = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)

OVER = frozenset({Deal.STATE_COMPLETED, Deal.STATE_ABORTED, Deal.STATE_SCRAMMED})
PAST_DEALS = 200
FAULTS = 200


class GridListener:
    """Callbacks of `node` fill it in, holding `lock`; whoever reads from another thread holds it.

    Attributes:
        statuses: Last status by unit id.
        heard_s: When that came, on this process's monotonic clock. [s]
        converters: Last reading of each converter, from the hardware itself, by unit id.
        batteries: Last reading of each battery by unit id.
        houses: Last reading of each house by unit id.
        deals: Present record by deal id; running ones, and some that are over.
        faults: The newest that were reported, oldest first.
        bus: What the emulator says of the bus; None on a real grid.
        diagnostics: Last word by the name of what it is about.
    """

    def __init__(
        self,
        node: Node,
        unit_ids: Iterable[str] = (),
        *,
        namespace: str = "",
        authenticator: MessageAuthenticator = UNSIGNED,
    ) -> None:
        """Listen to a grid.

        Args:
            node: Whose callbacks run one at a time: in an executor of one thread, or, as in rqt's
                MultiThreadedExecutor, by the node's default callback group, which is mutually
                exclusive. :meth:`close` may be called from any thread.
            unit_ids: Units to listen to from now on; see also :meth:`discover`.
            namespace: Such as ``/apis/village``; empty = the node's own.
            authenticator: Refuses what does not count; who orders through us speaks with it.
        """
        self.authenticator = authenticator
        self.lock = threading.RLock()
        self.unit_ids: tuple[str, ...] = ()
        self.statuses: dict[str, UnitStatus] = {}
        self.heard_s: dict[str, float] = {}
        self.converters: dict[str, ConverterState] = {}
        self.batteries: dict[str, BatteryState] = {}
        self.houses: dict[str, HouseState] = {}
        self.deals: dict[str, Deal] = {}
        self.faults: deque[Fault] = deque(maxlen=FAULTS)
        self.bus: BusState | None = None
        self.diagnostics: dict[str, DiagnosticStatus] = {}
        self._after: list[Callable[[object], None]] = []
        self._node = node
        self._subscriptions: list[Any] = []
        self._prefix = f"{namespace}/" if namespace else ""
        self._names: set[str] = set()
        self._is_closed = False
        for unit_id in unit_ids:
            self._follow(unit_id)
        self._listen(Deal, "deals", self._on_deal, HISTORY)
        self._listen(Fault, "faults", self.faults.append, HISTORY)
        self._listen(BusState, "bus_state", self._on_bus)
        self._listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=100))

    def after_each(self, call: Callable[[object], None]) -> None:
        """Have `call` called with every message, after it was taken in and with the lock held."""
        self._after.append(call)

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
        prefix = self._prefix or f"{self._node.get_namespace().rstrip('/')}/"
        for topic, _ in self._node.get_topic_names_and_types():
            name, _, rest = topic.removeprefix(prefix).partition("/")
            if topic.startswith(prefix) and rest == "status" and name not in self._names:
                with self.lock:  # for one unit at a time: who looks need not wait for all
                    if self._is_closed:
                        return
                    self._follow(name.upper())

    def close(self) -> None:
        """Listen no longer, not even to what is being discovered."""
        with self.lock:
            self._is_closed = True
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions.clear()

    def _follow(self, unit_id: str) -> None:
        self.unit_ids = (*self.unit_ids, unit_id)
        name = unit_id.lower()
        self._names.add(name)
        self._listen(UnitStatus, f"{name}/status", self._on_status, LATCHED)
        self._listen(
            ConverterState, f"{name}/converter_state", self._into(self.converters, unit_id)
        )
        self._listen(BatteryState, f"{name}/battery_state", self._into(self.batteries, unit_id))
        self._listen(HouseState, f"{name}/house_state", self._into(self.houses, unit_id))

    def _listen(
        self, kind: type, topic: str, take: Callable[..., None], qos: QoSProfile = STATE
    ) -> None:
        name = topic if topic.startswith("/") else self._prefix + topic

        def heard(message: object) -> None:
            with self.lock:
                if is_signed(kind) and self._is_refused(message, name):
                    return
                take(message)
                for call in self._after:
                    call(message)

        self._subscriptions.append(self._node.create_subscription(kind, name, heard, qos))

    def _is_refused(self, message: object, topic: str) -> bool:
        if self.authenticator.keys is None:
            return False
        full = topic if topic.startswith("/") else f"{self._node.get_namespace()}/{topic}"
        return bool(self.authenticator.why_refused(message, full, retained=True))

    @staticmethod
    def _into(table: dict[str, object], unit_id: str) -> Callable[[object], None]:
        def take(message: object) -> None:
            table[unit_id] = message

        return take

    def _on_status(self, status: UnitStatus) -> None:
        self.statuses[status.unit_id] = status
        self.heard_s[status.unit_id] = time.monotonic()

    def _on_deal(self, deal: Deal) -> None:
        known = self.deals.get(deal.deal_id)
        if known is not None and (known.term, known.sequence) > (deal.term, deal.sequence):
            return  # a late record of an older state
        self.deals[deal.deal_id] = deal
        over = [one.deal_id for one in self.deals.values() if one.state in OVER]
        for deal_id in over[:-PAST_DEALS]:
            del self.deals[deal_id]

    def _on_bus(self, bus: BusState) -> None:
        self.bus = bus

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics[status.name] = status
