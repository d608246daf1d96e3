"""What the graph has of each unit's emulated hardware: its readings, and orders to its converter.

Units with devices of their own (serial lines, HTTP) have a driver for that; of units with real
devices there is nothing here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node

from apis_core.converter.driver_contract import FROM_NOBODY, Complaint, protective_stop
from apis_core.model.messages import ConverterReading, ConverterReply
from apis_core.model.types import ConverterError, ConverterMode, FaultLevel, UnitId
from apis_emulator.emulation import Emulation
from apis_emulator.plant_messages import battery_state, house_state
from apis_interfaces.srv import ConverterCommand
from apis_ros import names, topics
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.conversions import ROS_TIME, Untranslatable
from apis_ros.converter_messages import fault_message, order_of, reading_message, reply_message
from apis_ros.names import of_unit
from apis_ros.topics import Topic
from apis_site.keys import Keys

__all__ = ["UnitEndpoints"]

LAST_WORD_S = 0.5  # for somebody who hears that


class UnitEndpoints:
    """Publishers and services of all units that are there and can be heard.

    Args:
        node: In the namespace of the cluster.
        emulation: The hardware.
        lock: Of the hardware; held while an order is carried out. Whoever calls us holds it.
        keys: Of the grid; None = nobody signs.
        behind_driver: Units whose converters and batteries have a driver here.
        real: Units whose hardware is elsewhere.
        now_ns: Emulated time as ROS time. [ns]
    """

    def __init__(
        self,
        node: Node,
        emulation: Emulation,
        lock: AbstractContextManager[Any],
        keys: Keys | None,
        *,
        behind_driver: Collection[UnitId],
        real: Collection[UnitId],
        now_ns: Callable[[], int],
    ) -> None:
        self._node = node
        self._plant, self._driver = emulation.plant, emulation.driver
        self._lock = lock
        self._keys = keys
        self._behind_driver, self._real = frozenset(behind_driver), frozenset(real)
        self._now_ns = now_ns
        self._reading_ns = 0
        self._authenticators: dict[UnitId, MessageAuthenticator] = {}
        self._faults = topics.FAULTS.publisher(node)
        self._modes: dict[UnitId, ConverterMode] = {}  # as they were said
        self._converters: dict[UnitId, Any] = {}
        self._batteries: dict[UnitId, Any] = {}
        self._houses: dict[UnitId, Any] = {}
        self._commands: dict[UnitId, Any] = {}
        self.follow()

    def follow(self) -> None:
        """Have a publisher and a service for every unit that is there and can be heard."""
        silent, node = self._driver.broken.silent, self._node
        there = [unit_id for unit_id in self._plant.units if unit_id not in self._real]
        native = [unit_id for unit_id in there if unit_id not in self._behind_driver]
        for unit_id in _missing(native, self._modes):
            self._modes[unit_id] = ConverterMode.WAIT
            self._converters[unit_id] = self._publisher(unit_id, topics.CONVERTER_STATE)
            self._batteries[unit_id] = self._publisher(unit_id, topics.BATTERY_STATE)
        for unit_id in _missing(there, self._houses):
            self._houses[unit_id] = self._publisher(unit_id, topics.HOUSE_STATE)
        for unit_id in _missing(self._houses, there):
            node.destroy_publisher(self._houses.pop(unit_id))
        for unit_id in _missing(self._modes, native):
            del self._modes[unit_id]
            node.destroy_publisher(self._converters.pop(unit_id))
            node.destroy_publisher(self._batteries.pop(unit_id))
        heard = [unit_id for unit_id in native if unit_id not in silent]
        for unit_id in _missing(self._commands, heard):
            node.destroy_service(self._commands.pop(unit_id))
        for unit_id in _missing(heard, self._commands):
            self._commands[unit_id] = self._service(unit_id)

    def publish_all(self, now_s: float) -> None:
        """Say all readings. `now_s` is on this process's monotonic clock. [s]"""
        stamp = ROS_TIME.to_stamp(self._now_ns())
        silent = self._driver.broken.silent
        for unit_id, unit in self._plant.units.items():
            if unit_id in self._batteries and unit_id not in silent:
                self._publish_converter(unit_id, now_s)
                self._batteries[unit_id].publish(battery_state(unit_id, unit, stamp))
            if unit_id in self._houses:
                self._houses[unit_id].publish(house_state(unit_id, unit, stamp))

    def publish_changes(self, now_s: float) -> None:
        """Nobody should have to wait for the news that a converter has changed its mode."""
        for unit_id, mode in self._modes.items():
            if unit_id in self._driver.broken.silent:
                continue
            if self._plant.units[unit_id].converter.mode is not mode:
                self._publish_converter(unit_id, now_s)

    def wait_until_heard(self) -> None:
        """Wait a moment for those who listen to have heard what was said last."""
        until_s = time.monotonic() + LAST_WORD_S
        for publisher in self._converters.values():
            left_s = max(until_s - time.monotonic(), 0.0)
            publisher.wait_for_all_acked(Duration(seconds=left_s))

    def _publisher(self, unit_id: UnitId, topic: Topic) -> Any:
        return topic.publisher(self._node, of_unit(unit_id, topic.name))

    def _authenticator(self, unit_id: UnitId) -> MessageAuthenticator:
        """The authenticator of a unit's hardware."""
        if unit_id not in self._authenticators:
            has_key = self._keys is not None and unit_id in self._keys.roles
            self._authenticators[unit_id] = MessageAuthenticator(
                self._keys, unit_id if has_key else ""
            )
        return self._authenticators[unit_id]

    def _service(self, unit_id: UnitId) -> Any:
        channel = f"{self._node.get_namespace()}/{of_unit(unit_id, names.CONVERTER_COMMAND)}"
        authenticator = self._authenticator(unit_id)

        def serve(request: Any, _response: Any) -> Any:
            with self._lock:
                now_s = time.monotonic()
                if why := authenticator.why_refused(request, channel, speaker=unit_id):
                    reply = ConverterReply(error=ConverterError.REFUSED, message=why)
                else:
                    reply = self._obey(unit_id, request, now_s)
                self.publish_changes(now_s)
                reply = replace(reply, reading=self._read(unit_id, now_s))
                return authenticator.sign(reply_message(reply, unit_id), channel, request)

        return self._node.create_service(ConverterCommand, channel, serve)

    def _obey(self, unit_id: UnitId, request: Any, now_s: float) -> ConverterReply:
        try:
            order = order_of(request)
        except Untranslatable as error:
            return ConverterReply(error=ConverterError.OUT_OF_RANGE, message=str(error))
        if why := self._driver.why_from_nobody(unit_id, order):
            self._complain(unit_id, Complaint(FROM_NOBODY, why, FaultLevel.WARN))
        return self._driver.handle(unit_id, order, now_s)

    def _complain(self, unit_id: UnitId, complaint: Complaint) -> None:
        self._node.get_logger().warning(f"{unit_id}: {complaint.code}: {complaint.message}")
        deal_id = self._driver.deal_id(unit_id)
        fault = fault_message(unit_id, complaint, deal_id, self._now_ns())
        self._faults.publish(self._authenticator(unit_id).sign(fault, self._faults.topic_name))

    def _read(self, unit_id: UnitId, now_s: float) -> ConverterReading:
        """Read a converter, with a later stamp than any before: two within a tick may differ."""
        self._reading_ns = max(self._now_ns(), self._reading_ns + 1)
        return self._driver.read(unit_id, now_s, self._reading_ns)

    def _publish_converter(self, unit_id: UnitId, now_s: float) -> None:
        reading = self._read(unit_id, now_s)
        if reading.mode is not self._modes[unit_id] and (why := protective_stop(reading)):
            self._node.get_logger().warning(f"{unit_id} stops its converter: {why}")
        self._modes[unit_id] = reading.mode
        message = reading_message(reading, unit_id)
        publisher = self._converters[unit_id]
        publisher.publish(self._authenticator(unit_id).sign(message, publisher.topic_name))


def _missing(wanted: Iterable[UnitId], present: Collection[UnitId]) -> list[UnitId]:
    return [unit_id for unit_id in wanted if unit_id not in present]
