"""Carries out what an agent wants: on the graph, in its journal, with its battery."""

from __future__ import annotations

from collections import deque
from typing import Any

from apis_core import events
from apis_core.model import messages
from apis_core.model.origin import Requester
from apis_core.model.types import FaultLevel, UnitId
from apis_node.battery_lock import BatteryLock
from apis_node.calls import Calls
from apis_node.endpoints import Endpoints
from apis_node.journal_writer import JournalWriter
from apis_node.manual_deal_action import ManualDealAction
from apis_node.request_server import RequestServer

__all__ = ["EffectRunner"]


class EffectRunner:
    """Turns each effect into the one thing that it means.

    Args:
        unit_id: The unit.
        queue: Of events that wait for the agent; what it asks of itself goes there.
        endpoints: To speak to others.
        calls: To call others and the converter.
        requests: To answer others.
        deals: Deals that were made by hand.
        battery: Its lock, if other units share it.
        writer: Of the journal.
        log: The unit's logger.

    Attributes:
        status: What the unit said of itself last.
        may_exit: Whether the process may end.
    """

    def __init__(
        self,
        unit_id: UnitId,
        queue: deque[events.Event],
        endpoints: Endpoints,
        calls: Calls,
        requests: RequestServer,
        deals: ManualDealAction,
        battery: BatteryLock,
        writer: JournalWriter,
        log: Any,
    ) -> None:
        self._unit_id = unit_id
        self._queue = queue
        self._endpoints = endpoints
        self._calls = calls
        self._requests = requests
        self._deals = deals
        self._battery = battery
        self._writer = writer
        self._log = log
        self.status: messages.UnitStatus | None = None
        self.may_exit = False

    def carry_out(self, effects: list[events.Effect], now_ns: int) -> None:
        """Carry out effects in their order, those first that are to be written down.

        Args:
            effects: Of the agent.
            now_ns: Its present. [ns]
        """
        for effect in self._writer.write(effects):
            self._carry_out(effect, now_ns)

    def _carry_out(self, effect: events.Effect, now_ns: int) -> None:
        match effect:
            case events.Record():
                pass  # on disk already
            case events.Broadcast(message):
                if isinstance(message, messages.UnitStatus):
                    self.status = message
                self._endpoints.say(message, now_ns)
            case events.PublishFault(fault):
                self._log_fault(fault)
                self._endpoints.say(fault, now_ns)
            case events.Send(to, message):
                self._endpoints.say_to(to, message, now_ns)
            case events.Call(origin, to, request) if to == self._unit_id:
                own = Requester(to, origin)
                self._queue.append(events.RequestReceived(own, request))
            case events.Call(origin, to, request):
                client = self._endpoints.peer(to, type(request))
                self._calls.call(client, origin, to, request, now_ns)
            case events.Command(origin, order):
                converter = self._endpoints.converter
                self._calls.call(converter, origin, self._unit_id, order, now_ns)
            case events.Answer(requester, reply) if requester.unit_id == self._unit_id:
                self._queue.append(events.ReplyReceived(requester.origin, reply))
            case events.Answer(requester, reply):
                self._requests.answer(requester, reply, now_ns)
            case events.RefuseDeal():
                self._deals.refuse(effect)
            case events.ClaimBattery(direction):
                self._queue.appendleft(self._battery.claim(direction))
            case events.FreeBattery(direction):
                self._battery.free(direction)
            case events.FollowMembers(unit_ids):
                self._endpoints.meet(unit_ids)
            case events.Log(text, is_warning=True):
                self._log.warning(text)
            case events.Log(text):
                self._log.info(text)
            case events.AllowExit():
                self.may_exit = True

    def _log_fault(self, fault: messages.Fault) -> None:
        text = f"fault {fault.code}: {fault.message}"
        if fault.level is FaultLevel.WARN:
            self._log.warning(text)
        elif fault.level is FaultLevel.FATAL:
            self._log.fatal(text)
        else:
            self._log.error(text)
