"""The service ``converter/command``: orders in, the device's answers out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from dataclasses import replace
from typing import Any, cast

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from apis_core.model.messages import ConverterReading, ConverterReply
from apis_core.model.types import ConverterError, UnitId
from apis_driver.unit_hardware import UnitHardware
from apis_interfaces.srv import ConverterCommand
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.conversions import Untranslatable
from apis_ros.converter_messages import order_of, reply_message
from apis_ros.names import CONVERTER_COMMAND

__all__ = ["CommandService"]


class CommandService:
    """Gives orders to the converter's thread and waits for it without holding up the node.

    Args:
        node: In the namespace of the unit.
        unit_id: Whose unit node gives the orders.
        hardware: That obeys them.
        authenticator: Refuses what does not count.
        why_absent: Why there is no device to give an order to; empty = there is one.
        stamp_ns: Time of a reading, in ROS time. [ns]
    """

    def __init__(
        self,
        node: Node,
        unit_id: UnitId,
        hardware: UnitHardware,
        authenticator: MessageAuthenticator,
        *,
        why_absent: Callable[[], str],
        stamp_ns: Callable[[], int],
    ) -> None:
        self._unit_id = unit_id
        self._hardware = hardware
        self._authenticator = authenticator
        self._why_absent = why_absent
        self._stamp_ns = stamp_ns
        self._finished: deque[tuple[Future[Any], ConverterReply]] = deque()
        self._waker = node.create_guard_condition(self._answer)
        self._channel = f"{node.get_namespace()}/{CONVERTER_COMMAND}"
        # reentrant: an order waits for the converter's thread, and nothing else waits for an order
        group = ReentrantCallbackGroup()
        node.create_service(ConverterCommand, self._channel, self._serve, callback_group=group)

    async def _serve(self, request: Any, _response: Any) -> Any:
        reply = await self._reply(request)
        if reply.reading is None:
            reply = replace(reply, reading=ConverterReading(stamp_ns=self._stamp_ns()))
        response = reply_message(reply, self._unit_id)
        return self._authenticator.sign(response, self._channel, request)

    async def _reply(self, request: Any) -> ConverterReply:
        reading = self._hardware.reading
        if why := self._authenticator.why_refused(request, self._channel, speaker=self._unit_id):
            return ConverterReply(error=ConverterError.REFUSED, message=why, reading=reading)
        try:
            order = order_of(request)
        except Untranslatable as error:
            return ConverterReply(
                error=ConverterError.OUT_OF_RANGE, message=str(error), reading=reading
            )
        if why := self._why_absent():
            return ConverterReply(error=ConverterError.TIMEOUT, message=why)
        future: Future[Any] = Future()

        def done(answered: ThreadFuture[ConverterReply]) -> None:
            self._finished.append((future, answered.result()))
            self._waker.trigger()

        self._hardware.handle(order).add_done_callback(done)
        return cast(ConverterReply, await future)

    def _answer(self) -> None:
        """In the executor's thread: what the converter's thread has finished."""
        while self._finished:
            future, reply = self._finished.popleft()
            future.set_result(reply)
