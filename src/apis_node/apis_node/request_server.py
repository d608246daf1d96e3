"""The services that other units call: ``control`` and ``submit_deal``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from apis_core import events
from apis_core.model import messages
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.types import NOBODY, UnitId
from apis_interfaces import srv
from apis_node.graph_time import UnitClock
from apis_ros import names
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.conversions import Untranslatable, from_ros, to_ros

__all__ = ["RequestServer"]

_SERVED = (
    (srv.UnitControl, names.CONTROL, messages.ControlRequest),
    (srv.SubmitDeal, names.SUBMIT_DEAL, messages.DealSubmission),
)
# what a service says before the agent is asked
_MALFORMED = {
    srv.UnitControl.Response: srv.UnitControl.Response.ERROR_OUT_OF_RANGE,
    srv.SubmitDeal.Response: srv.SubmitDeal.Response.ERROR_INVALID,
}
_NOT_READY = {
    srv.UnitControl.Response: srv.UnitControl.Response.ERROR_NOT_READY,
    srv.SubmitDeal.Response: srv.SubmitDeal.Response.ERROR_NOT_DEALING,
}
_NOT_COUNTED = {
    srv.UnitControl.Response: srv.UnitControl.Response.ERROR_NOT_MY_GRID_MASTER,
    srv.SubmitDeal.Response: srv.SubmitDeal.Response.ERROR_INVALID,
}


class RequestServer:
    """Asks the agent what others ask, and hands its replies back when they come.

    Args:
        node: In the namespace of the unit.
        unit_id: The unit.
        clock: For stamps.
        authenticator: Refuses what does not count; signs the answers.
        group: One in which an answer may come late without holding up the rest.
        feed: Takes the requests.
        is_ready: Whether the agent can be asked.
    """

    def __init__(
        self,
        node: Node,
        unit_id: UnitId,
        clock: UnitClock,
        authenticator: MessageAuthenticator,
        group: CallbackGroup,
        *,
        feed: Callable[[events.Event], None],
        is_ready: Callable[[], bool],
    ) -> None:
        self._unit_id = unit_id
        self._clock = clock
        self._authenticator = authenticator
        self._feed = feed
        self._is_ready = is_ready
        self._owed: dict[Requester, Future[Any]] = {}
        self._asked = 0
        for service, name, request in _SERVED:
            channel = f"{node.get_namespace()}/{name}"
            serve = self._server(request, channel)
            node.create_service(service, channel, serve, callback_group=group)

    def answer(self, requester: Requester, reply: Any, now_ns: int) -> None:
        """Hand a reply to whoever waits for it; `now_ns` is the present of the agent. [ns]"""
        answer = to_ros(reply, self._clock.instants(), now_ns, self._unit_id)
        self._owed.pop(requester).set_result(answer)

    def _server(self, type_: type, channel: str) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
        async def serve(request: Any, response: Any) -> Any:
            reply = await self._reply(type_, channel, request, response)
            return self._authenticator.sign(reply, channel, request)

        return serve

    async def _reply(self, type_: type, channel: str, request: Any, response: Any) -> Any:
        if why := self._authenticator.why_refused(request, channel):
            return _refuse(response, _NOT_COUNTED, why)
        try:
            value: Any = from_ros(request, type_, self._clock.instants())
        except Untranslatable as error:
            return _refuse(response, _MALFORMED, str(error))
        if not self._is_ready():
            return _refuse(response, _NOT_READY, "this unit is not ready")
        self._asked += 1
        requester = Requester(NOBODY, Origin(Asker.PEER, self._asked))
        future: Future[Any] = Future()
        self._owed[requester] = future
        self._feed(events.RequestReceived(requester, value))
        return await future


def _refuse(response: Any, codes: dict[type, int], reason: str) -> Any:
    response.error_code, response.error_msg = codes[type(response)], reason
    return response
