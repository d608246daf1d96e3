"""What a driver says: readings of converter and battery, and faults; signed where that counts."""

from __future__ import annotations

import threading
import time

from rclpy.node import Node

from apis_core.converter.driver_contract import Complaint, protective_stop
from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode, FaultLevel, UnitId
from apis_driver.battery_message import battery_state
from apis_driver.device import BatteryStatus
from apis_ros import names, topics
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.converter_messages import fault_message, reading_message

__all__ = ["DriverPublisher"]

PUBLISH_S = 0.2  # a reading that says nothing new; news go out at once


class DriverPublisher:
    """Publishes for one unit's converter and battery; the converter's thread may call it, too.

    Args:
        node: In the namespace of the unit.
        unit_id: Such as E001.
        cluster: Such as village.
        authenticator: Signs what it says.
        has_battery: Whether the battery is this driver's.
    """

    def __init__(
        self,
        node: Node,
        unit_id: UnitId,
        cluster: str,
        authenticator: MessageAuthenticator,
        *,
        has_battery: bool,
    ) -> None:
        self._node = node
        self._unit_id = unit_id
        self._authenticator = authenticator
        self.readings = topics.CONVERTER_STATE.publisher(node)
        self._batteries = topics.BATTERY_STATE.publisher(node) if has_battery else None
        self._faults = topics.FAULTS.publisher(node, names.in_cluster(cluster, names.FAULTS))
        self._published: tuple[ConverterMode, float] = (ConverterMode.UNKNOWN, 0.0)
        self._last_complaint: Complaint | None = None
        self._stamp_lock = threading.Lock()
        self._newest_ns = 0

    def stamp_ns(self) -> int:
        """Later than that of any reading before, since a simulated clock goes in steps."""
        with self._stamp_lock:
            self._newest_ns = max(self._now_ns(), self._newest_ns + 1)
            return self._newest_ns

    def reading(self, reading: ConverterReading) -> None:
        """Publish a reading, if it says something new or the last one is old."""
        mode, when_s = self._published
        now_s = time.monotonic()
        if reading.mode is mode and now_s < when_s + PUBLISH_S:
            return
        if reading.mode is not mode and (why := protective_stop(reading)):
            self._node.get_logger().warning(f"stops its converter: {why}")
        self._published = (reading.mode, now_s)
        self.reading_now(reading)

    def reading_now(self, reading: ConverterReading) -> None:
        """Publish a reading."""
        message = reading_message(reading, self._unit_id)
        self.readings.publish(self._authenticator.sign(message, self.readings.topic_name))

    def battery(self, status: BatteryStatus | None) -> None:
        """Publish what the battery says; None = it says nothing."""
        if self._batteries is not None:
            self._batteries.publish(battery_state(self._unit_id, status, self._now_ns()))

    def complain(self, complaint: Complaint, deal_id: str) -> None:
        """Tell people and the unit; one that lasts is told again, but not to people.

        Args:
            complaint: What there is to say.
            deal_id: In whose name the converter is on; empty = in none's.
        """
        text = f"{complaint.code}: {complaint.message}"
        if complaint == self._last_complaint:
            pass
        elif complaint.level is FaultLevel.WARN:
            self._node.get_logger().warning(text)
        else:
            self._node.get_logger().error(text)
        self._last_complaint = complaint
        self.fault(complaint, deal_id)

    def fault(self, complaint: Complaint, deal_id: str) -> None:
        """Tell the unit."""
        fault = fault_message(self._unit_id, complaint, deal_id, self._now_ns())
        self._faults.publish(self._authenticator.sign(fault, self._faults.topic_name))

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
