"""Diagnostics: what every node says once a second of its own health."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from apis_ros.topics import DIAGNOSTICS

__all__ = ["Diagnostics", "diagnosis"]

PERIOD_S = 1.0


class Diagnostics:
    """Publishes a report again and again, by a clock that nobody can set back.

    Args:
        node: Whose health it is.
        report: What there is to say now.
        stamp: Time of the report; None = the node's.
    """

    def __init__(
        self,
        node: Node,
        report: Callable[[], Iterable[DiagnosticStatus]],
        stamp: Callable[[], Time] | None = None,
    ) -> None:
        self._node = node
        self._report = report
        self._stamp = stamp
        self._publisher = DIAGNOSTICS.publisher(node)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(PERIOD_S, self._publish, clock=steady)

    def _publish(self) -> None:
        message = DiagnosticArray(status=list(self._report()))
        message.header.stamp = (
            self._node.get_clock().now().to_msg() if self._stamp is None else self._stamp()
        )
        self._publisher.publish(message)


def diagnosis(
    name: str, hardware_id: str, level: bytes, text: str, values: Mapping[str, object]
) -> DiagnosticStatus:
    """The health of one thing.

    Args:
        name: Of the thing, such as ``e001 driver: battery``.
        hardware_id: Such as a unit's id.
        level: ``DiagnosticStatus.OK``, ``WARN``, ``ERROR`` or ``STALE``.
        text: For people, in one line.
        values: What else there is to see.
    """
    return DiagnosticStatus(
        level=level,
        name=name,
        message=text,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
