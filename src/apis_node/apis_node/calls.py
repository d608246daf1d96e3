"""Calls of a unit to others and to its converter, each answered once, if only by silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.task import Future

from apis_core import events
from apis_core.model import messages
from apis_core.model.origin import Origin
from apis_core.model.types import UnitId
from apis_node.graph_time import UnitClock
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.conversions import Untranslatable, from_ros, to_ros

__all__ = ["Calls"]

_COMMAND_LIMIT_S = 2.0  # steady; a driver that has not answered by then never will
_CALL_LIMIT_S = 20.0  # steady; the core gives up earlier, this only forgets the call
# by what a call carries: what its answer carries, and when it is given up. [s]
_ANSWERS = {
    messages.ControlRequest: (messages.ControlReply, _CALL_LIMIT_S),
    messages.DealSubmission: (messages.SubmitReply, _CALL_LIMIT_S),
    messages.ConverterOrder: (messages.ConverterReply, _COMMAND_LIMIT_S),
}


@dataclass(slots=True)
class _Pending:
    """A call of ours that has not been answered."""

    forget: Callable[[], None]
    until_s: float


class Calls:
    """Sends calls and gives their answers to the agent; None where there is none.

    Args:
        clock: For stamps.
        authenticator: Signs calls; refuses answers that do not count.
        log: The unit's logger.
        feed: Takes answers as they come.
        answer_later: Takes an answer while the agent is busy.
    """

    def __init__(
        self,
        clock: UnitClock,
        authenticator: MessageAuthenticator,
        log: Any,
        feed: Callable[[events.Event], None],
        answer_later: Callable[[events.Event], None],
    ) -> None:
        self._clock = clock
        self._authenticator = authenticator
        self._log = log
        self._feed = feed
        self._answer_later = answer_later
        self._pending: dict[Origin, _Pending] = {}

    def __len__(self) -> int:
        """How many have not been answered."""
        return len(self._pending)

    def call(self, client: Any, origin: Origin, to: UnitId, value: Any, now_ns: int) -> None:
        """Call a service.

        Args:
            client: Of the service.
            origin: Who of the agent wants to have the answer.
            to: Whose answer counts.
            value: The request, of a type of :mod:`messages`.
            now_ns: Present of the agent. [ns]
        """
        if not client.service_is_ready():
            self._answer_later(events.ReplyReceived(origin, None))
            return
        answer, limit_s = _ANSWERS[type(value)]
        channel = client.service_name
        request = self._authenticator.sign(to_ros(value, self._clock.instants(), now_ns), channel)
        future = client.call_async(request)
        until_s = time.monotonic() + limit_s
        self._pending[origin] = _Pending(lambda: client.remove_pending_request(future), until_s)

        def answered(done: Future[Any]) -> None:
            if self._pending.pop(origin, None) is None:
                return
            response = done.result()
            if self._authenticator.why_refused(response, channel, speaker=to, about=request):
                self._feed(events.ReplyReceived(origin, None))
                return
            try:
                reply: Any = from_ros(response, answer, self._clock.instants())
            except Untranslatable as error:
                self._log.warning(f"answer to {origin} makes no sense: {error}")
                reply = None
            self._feed(events.ReplyReceived(origin, reply))

        future.add_done_callback(answered)

    def forget_unanswered(self) -> None:
        """Give up what has waited long enough; call it now and then."""
        now_s = time.monotonic()
        for origin in [key for key, call in self._pending.items() if now_s >= call.until_s]:
            self._pending.pop(origin).forget()
            self._feed(events.ReplyReceived(origin, None))
