"""The shell round one agent: carries out its effects on the graph, feeds it what happens there.

Everything of one unit runs in one executor thread, so the agent never sees two events at once. No
callback blocks or waits.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import SystemRandom
from typing import Any, cast
from zoneinfo import ZoneInfo

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType, ROSClock
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import BatteryState

from apis_core import events
from apis_core.model import messages
from apis_core.model.errors import ApisError
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.types import (
    NOBODY,
    ConverterMode,
    FaultLevel,
    OperationMode,
    UnitId,
)
from apis_core.model.units import NEVER_NS, s_from_ns
from apis_core.unit.agent import Agent, AgentSettings
from apis_core.unit.journal_policy import allowed_unwritten
from apis_interfaces import srv
from apis_node.battery_lock import BatteryLock
from apis_node.configuration import WatchedFile
from apis_node.graph_time import GraphTime, SteadyTime, Time
from apis_node.interchange import InterchangeServer
from apis_node.maintenance import maintain
from apis_ros import content_filter, names, qos, topics
from apis_ros.authenticator import UNSIGNED, MessageAuthenticator
from apis_ros.conversions import MESSAGES, Instants, Untranslatable, from_ros, to_ros
from apis_ros.topics import Topic
from apis_site.unit_journal import Journal, JournalError

__all__ = ["UnitShell"]

_COMMAND_LIMIT_S = 2.0  # steady; a driver that has not answered by then never will
_CALL_LIMIT_S = 20.0  # steady; the core gives up earlier, this only forgets the call
_DIAGNOSTICS_PERIOD_S = 1.0
_RENEWALS_PER_HOLD = 4.0
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
# by what a call carries: what its answer carries, and when it is given up. [s]
_ANSWERS = {
    messages.ControlRequest: (messages.ControlReply, _CALL_LIMIT_S),
    messages.DealSubmission: (messages.SubmitReply, _CALL_LIMIT_S),
    messages.ConverterOrder: (messages.ConverterReply, _COMMAND_LIMIT_S),
}
_MIN_WAIT_NS = 1_000  # rcl takes no period of 0


@dataclass(slots=True)
class _Pending:
    """A call of ours that has not been answered."""

    forget: Callable[[], None]
    until_s: float


class UnitShell:
    """Carries out the effects of one agent on the ROS graph, and feeds it events.

    Args:
        node: Its ROS node, in the namespace of the unit.
        cluster: Name of the cluster.
        settings: Of the agent.
        journal: Of the unit.
        timezone: Of the place; the scenario's times of day are local.
        files: Looked at every refreshing period of the policy.
        battery: Its lock, if other units share it.
        authenticator: Signs what it says, and refuses what does not count.
    """

    def __init__(
        self,
        node: Node,
        cluster: str,
        settings: AgentSettings,
        journal: Journal,
        timezone: ZoneInfo,
        files: Sequence[WatchedFile] = (),
        battery: BatteryLock | None = None,
        authenticator: MessageAuthenticator = UNSIGNED,
    ) -> None:
        self._node = node
        self._authenticator = authenticator
        self._cluster = cluster
        self._settings = settings
        self._journal = journal
        self._timezone = timezone
        self._files = files
        self._battery = battery or BatteryLock("")  # never asked, if nobody shares it
        self._met: set[UnitId] = set()  # units that we can hear and reach
        self._log = node.get_logger()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        # deadlines run on /clock where there is one, else on a clock that nobody can set back
        self._is_simulated = bool(node.get_parameter("use_sim_time").value)
        self._agent: Agent | None = None
        self._queue: deque[events.Event] = deque()
        self._is_draining = False
        self._pending: dict[Origin, _Pending] = {}
        self._owed: dict[Requester, Future[Any]] = {}
        self._asked = 0
        self._status: messages.UnitStatus | None = None
        self._wake_ns = NEVER_NS
        self._time: Time = SteadyTime(self._steady)
        self._journal_error = ""  # why the last entry is not on disk
        self.is_stopped = False
        self._make_publishers()
        self._make_subscriptions()
        self._make_services()
        self._make_timers()
        self._meet(settings.policy.member_unit_ids)

    # --- the process asks ------------------------------------------------------------------------

    def close(self) -> None:
        """Take off the graph what the node itself does not."""
        self._interchange.destroy()
        self._battery.close()

    def ask_to_stop(self) -> None:
        """Begin to end: converter to WAIT, deals given up; :attr:`is_stopped` says when."""
        if self._agent is None:
            self.is_stopped = True
        else:
            self.feed(events.StopAsked())

    @property
    def left_on(self) -> str:
        """The mode in which it leaves its converter; empty = in WAIT, as far as it knows."""
        mode = self._agent.converter_mode if self._agent else ConverterMode.UNKNOWN
        return "" if mode in (ConverterMode.WAIT, ConverterMode.UNKNOWN) else mode.name

    def feed(self, event: events.Event) -> None:
        """Give an event to the agent and carry out what it wants.

        Events that come meanwhile wait their turn.
        """
        if self._agent is None:
            return
        self._queue.append(event)
        if self._is_draining:
            return
        self._is_draining = True
        try:
            while self._queue:
                now_ns = self._now_ns()
                self._do(self._handle(self._queue.popleft(), now_ns), now_ns)
        except ApisError as error:
            # a contradiction inside: nothing renews the converter any more, its dead man does the
            # rest
            self._log.fatal(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._is_draining = False
        self._arm()

    def _handle(self, event: events.Event, now_ns: int) -> list[events.Effect]:
        assert self._agent is not None
        try:
            return self._agent.handle(event, now_ns)
        except Exception as error:  # a bug of ours; the unit says so, ends its deals, and goes on
            if isinstance(event, events.InternalErrorOccurred):
                raise
            self._log.error(f"{type(event).__name__} is lost:\n{traceback.format_exc()}")
            words = f"{type(event).__name__}: {type(error).__name__}: {error}"
            return self._agent.handle(events.InternalErrorOccurred(words), now_ns)

    # --- effects ---------------------------------------------------------------------------------

    def _do(self, effects: list[events.Effect], now_ns: int) -> None:
        instants = self._instants()
        if not self._remember(effects):
            effects = allowed_unwritten(effects)
        for effect in effects:
            match effect:
                case events.Record():
                    pass  # on disk already
                case events.Broadcast(message):
                    if isinstance(message, messages.UnitStatus):
                        self._status = message
                    self._say(self._publishers[type(message)], to_ros(message, instants, now_ns))
                case events.PublishFault(fault):
                    self._log_fault(fault)
                    self._say(self._publishers[messages.Fault], to_ros(fault, instants, now_ns))
                case events.Send(to, message):
                    self._say(self._accept_publisher(to), to_ros(message, instants, now_ns))
                case events.Call(origin, to, request) if to == self._settings.unit_id:
                    own = Requester(to, origin)
                    self._queue.append(events.RequestReceived(own, request))
                case events.Call(origin, to, request):
                    self._call(self._peer_client(to, type(request)), origin, to, request, now_ns)
                case events.Command(origin, order):
                    own_id = self._settings.unit_id
                    self._call(self._converter, origin, own_id, order, now_ns)
                case events.Answer(requester, reply):
                    if requester.unit_id == self._settings.unit_id:
                        self._queue.append(events.ReplyReceived(requester.origin, reply))
                    else:
                        answer = to_ros(reply, instants, now_ns, self._settings.unit_id)
                        self._owed.pop(requester).set_result(answer)
                case events.RefuseDeal():
                    self._interchange.refuse(effect)
                case events.ClaimBattery(direction):
                    self._queue.appendleft(self._battery.claim(direction))
                case events.FreeBattery(direction):
                    self._battery.free(direction)
                case events.FollowMembers(unit_ids):
                    self._meet(unit_ids)
                case events.Log(text, is_warning=True):
                    self._log.warning(text)
                case events.Log(text):
                    self._log.info(text)
                case events.AllowExit():
                    self.is_stopped = True

    def _log_fault(self, fault: messages.Fault) -> None:
        text = f"fault {fault.code}: {fault.message}"
        if fault.level is FaultLevel.WARN:
            self._log.warning(text)
        elif fault.level is FaultLevel.FATAL:
            self._log.fatal(text)
        else:
            self._log.error(text)

    def _remember(self, effects: list[events.Effect]) -> bool:
        """Write down what is to be written before anything else happens; whether that is done."""
        entries = [effect.entry for effect in effects if isinstance(effect, events.Record)]
        if not entries:
            return True
        try:
            for entry in entries:
                self._journal.write(entry, self._node.get_clock().now().nanoseconds)
        except JournalError as error:
            self._journal_failed(error)
            return False
        return True

    def _journal_failed(self, error: JournalError) -> None:
        if not self._journal_error:
            self._log.error(f"the journal cannot be written: {error}")
        self._journal_error = str(error)
        self._queue.append(events.JournalFailed(str(error)))

    def _try_journal_again(self) -> None:
        """While it cannot be written: is it still so?"""
        if not self._journal_error:
            return
        try:
            self._journal.try_out()
        except JournalError as error:
            self._journal_failed(error)
            self.feed(events.Wake())
        else:
            self._journal_error = ""
            self._log.info("the journal can be written again")

    def _say(self, publisher: Any, message: Any) -> None:
        publisher.publish(self._authenticator.sign(message, publisher.topic_name))

    def _call(self, client: Any, origin: Origin, to: UnitId, value: Any, now_ns: int) -> None:
        if not client.service_is_ready():
            self._queue.append(events.ReplyReceived(origin, None))
            return
        answer, limit_s = _ANSWERS[type(value)]
        channel = client.service_name
        request = self._authenticator.sign(to_ros(value, self._instants(), now_ns), channel)
        future = client.call_async(request)
        until_s = time.monotonic() + limit_s
        self._pending[origin] = _Pending(lambda: client.remove_pending_request(future), until_s)

        def answered(done: Future[Any]) -> None:
            if self._pending.pop(origin, None) is None:
                return
            response = done.result()
            if self._authenticator.why_refused(response, channel, speaker=to, about=request):
                self.feed(events.ReplyReceived(origin, None))
                return
            try:
                reply: Any = from_ros(response, answer, self._instants())
            except Untranslatable as error:
                self._log.warning(f"answer to {origin} makes no sense: {error}")
                reply = None
            self.feed(events.ReplyReceived(origin, reply))

        future.add_done_callback(answered)

    def _forget_unanswered(self) -> None:
        now_s = time.monotonic()
        for origin in [key for key, call in self._pending.items() if now_s >= call.until_s]:
            self._pending.pop(origin).forget()
            self.feed(events.ReplyReceived(origin, None))

    # --- events ----------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start the agent as soon as the clock has a time (a simulated one is 0 at first)."""
        if self._agent is not None or not self._now_ns():
            return
        self._node.destroy_timer(self._begin_timer)
        now_ns = self._now_ns()
        self._agent = Agent(self._settings, self._journal.recall(), SystemRandom(), now_ns)
        self._meet(self._agent.member_ids)
        self._log.info(f"{self._settings.unit_id} is up; {self._authenticator}")
        self._do(self._agent.start(now_ns), now_ns)
        self.feed(events.Wake())

    def _wake(self) -> None:
        self._timer.cancel()
        if self._now_ns() < self._wake_ns:  # time goes slower than it did
            self._set_timer()
            return
        self._wake_ns = NEVER_NS
        self.feed(events.Wake())

    def _refresh(self) -> None:
        for file in self._files:
            event = file.look()
            if event is not None:
                self.feed(event)

    def _renew(self) -> None:
        self._forget_unanswered()
        self.feed(events.RenewalDue())

    def _listen(self, type_: type, topic: str, profile: Any, **options: Any) -> None:
        """Have the agent hear what is said on a topic, as far as it counts."""

        def hear(message: Any) -> None:
            if self._authenticator.why_refused(message, topic, retained=qos.is_retained(profile)):
                return
            try:
                value: Any = from_ros(message, type_, self._instants())
            except Untranslatable as error:
                self._log.warning(f"{type_.__name__} ignored: {error}")
                return
            if isinstance(value, messages.Deal):
                self._interchange.hear_deal(message)
            is_own = isinstance(value, messages.ConverterReading)
            self.feed(events.ConverterRead(value) if is_own else events.Received(value))

        self._node.create_subscription(MESSAGES[type_], topic, hear, profile, **options)

    def _hear_battery(self, message: BatteryState) -> None:
        soc_ratio = None if message.percentage != message.percentage else message.percentage
        stamp_s = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        local = datetime.fromtimestamp(stamp_s, self._timezone)
        seconds = local.hour * 3600 + local.minute * 60 + local.second + local.microsecond * 1e-6
        reading = messages.BatteryReading(soc_ratio=soc_ratio, seconds_of_day=seconds)
        self.feed(events.BatteryRead(reading))

    def _serve(self, type_: type, channel: str) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
        async def serve(request: Any, response: Any) -> Any:
            return self._authenticator.sign(await answer(request, response), channel, request)

        async def answer(request: Any, response: Any) -> Any:
            if why := self._authenticator.why_refused(request, channel):
                return _refuse(response, _NOT_COUNTED, why)
            try:
                value: Any = from_ros(request, type_, self._instants())
            except Untranslatable as error:
                return _refuse(response, _MALFORMED, str(error))
            if self._agent is None or self.is_stopped:
                return _refuse(response, _NOT_READY, "this unit is not ready")
            self._asked += 1
            requester = Requester(NOBODY, Origin(Asker.PEER, self._asked))
            future: Future[Any] = Future()
            self._owed[requester] = future
            self.feed(events.RequestReceived(requester, value))
            return await future

        return serve

    def _maintain(self, request: Any, response: Any) -> Any:
        channel = self._unit_topic(self._settings.unit_id, names.MAINTENANCE)
        if why := self._authenticator.why_refused(request, channel):
            response.error_code, response.error_msg = response.ERROR_NOT_SIGNED, why
            return response
        mode = self._status.effective_mode if self._status else OperationMode.UNSET
        return maintain(request, response, mode, self._log, self.ask_to_stop)

    # --- time ------------------------------------------------------------------------------------

    def _now_ns(self) -> int:
        return self._time.now_ns()

    def _instants(self) -> Instants:
        if self._is_simulated:
            return Instants(0, 0)
        return Instants(self._now_ns(), self._node.get_clock().now().nanoseconds)

    def _arm(self) -> None:
        """Set the one timer to the agent's next wake-up, if that has changed."""
        if self._agent is None or self.is_stopped:
            self._timer.cancel()
            return
        wake_ns = self._agent.next_wakeup_ns()
        if wake_ns == self._wake_ns:
            return
        self._wake_ns = wake_ns
        self._timer.cancel()
        self._set_timer()

    def _set_timer(self) -> None:
        """Have the timer fire at the wake-up, unless `/clock` speaks before that."""
        wait_ns = None if self._wake_ns == NEVER_NS else self._time.wait_ns(self._wake_ns)
        if wait_ns is not None:
            self._timer.timer_period_ns = max(wait_ns, _MIN_WAIT_NS)
            self._timer.reset()

    # --- the graph -------------------------------------------------------------------------------

    def _topic(self, name: str) -> str:
        return names.in_cluster(self._cluster, name)

    def _unit_topic(self, unit_id: UnitId, name: str) -> str:
        return names.in_unit(self._cluster, unit_id, name)

    def _publisher(self, topic: Topic, name: str = "") -> Any:
        return self._node.create_publisher(topic.type, name or topic.name, topic.qos)

    def _make_publishers(self) -> None:
        shared = {
            messages.Deal: topics.DEALS,
            messages.Fault: topics.FAULTS,
            messages.GridMasterClaim: topics.GRID_MASTER,
            messages.InterchangeRequest: topics.REQUESTS,
            messages.LeaseGrant: topics.GRID_MASTER_GRANTS,
            messages.PolicyOffer: topics.POLICY_OFFERS,
        }
        self._publishers: dict[type, Any] = {
            type_: self._publisher(topic, self._topic(topic.name))
            for type_, topic in shared.items()
        }
        self._publishers[messages.UnitStatus] = self._publisher(topics.STATUS)
        self._diagnostics = self._publisher(topics.DIAGNOSTICS)
        self._accept_publishers: dict[UnitId, Any] = {}
        self._peer_clients: dict[tuple[UnitId, type], Any] = {}

    def _meet(self, unit_ids: Sequence[UnitId]) -> None:
        """Listen to units, and be ready to speak to them.

        At once and not at first use: discovery takes longer than a negotiation window.
        """
        for unit_id in set(unit_ids) - self._met:
            self._met.add(unit_id)
            # our own status, too: another process may use our name
            self._listen(messages.UnitStatus, self._unit_topic(unit_id, names.STATUS), qos.STATE)
            if unit_id != self._settings.unit_id:
                self._accept_publisher(unit_id)
                self._peer_client(unit_id, messages.ControlRequest)
                self._peer_client(unit_id, messages.DealSubmission)

    def _make_subscriptions(self) -> None:
        for type_, name in (
            (messages.Fault, names.FAULTS),
            (messages.GridMasterClaim, names.GRID_MASTER),
            (messages.InterchangeRequest, names.REQUESTS),
            (messages.PolicyOffer, names.POLICY_OFFERS),
            # not retained: what an operator said before we came reaches us with the others' status
            (messages.OperationModeOrder, names.OPERATION_MODE),
        ):
            self._listen(type_, self._topic(name), qos.EVENT)
        # in an election of twenty units, each would else hear four hundred votes for others
        for_us = content_filter.only("grid_master_id = %0", self._settings.unit_id)
        grants = topics.GRID_MASTER_GRANTS
        self._listen(messages.LeaseGrant, self._topic(grants.name), grants.qos, **for_us)
        # retained: a unit that becomes the grid master must know what an older one left
        self._listen(messages.Deal, self._topic(topics.DEALS.name), topics.DEALS.qos)
        unit_id = self._settings.unit_id
        for type_, topic in (
            (messages.InterchangeAccept, topics.ACCEPTS),
            (messages.ConverterReading, topics.CONVERTER_STATE),
        ):
            self._listen(type_, self._unit_topic(unit_id, topic.name), topic.qos)
        # a type of ROS's own, which has no room for a signature
        battery = topics.BATTERY_STATE
        self._node.create_subscription(battery.type, battery.name, self._hear_battery, battery.qos)

    def _make_services(self) -> None:
        node = self._node
        # an answer may come long after its question: meanwhile everything else must go on
        group = ReentrantCallbackGroup()
        for type_, name, request in (
            (srv.UnitControl, names.CONTROL, messages.ControlRequest),
            (srv.SubmitDeal, names.SUBMIT_DEAL, messages.DealSubmission),
        ):
            channel = self._unit_topic(self._settings.unit_id, name)
            serve = self._serve(request, channel)
            node.create_service(type_, name, serve, callback_group=group)
        node.create_service(srv.UnitMaintenance, names.MAINTENANCE, self._maintain)
        self._interchange = InterchangeServer(
            node, self._settings.unit_id, self.feed, group, self._authenticator
        )
        self._converter: Any = node.create_client(srv.ConverterCommand, names.CONVERTER_COMMAND)

    def _make_timers(self) -> None:
        node = self._node
        self._timer = node.create_timer(1.0, self._wake, clock=self._steady, autostart=False)
        if self._is_simulated:
            self._time = GraphTime(cast(ROSClock, node.get_clock()), self._steady, self._set_timer)
        self._begin_timer = node.create_timer(0.05, self._begin, clock=self._steady)
        renewal_s = self._settings.driver_hold_s / _RENEWALS_PER_HOLD
        node.create_timer(renewal_s, self._renew, clock=self._steady)
        refresh_s = s_from_ns(self._settings.policy.refresh_period_ns)
        node.create_timer(refresh_s, self._refresh, clock=self._steady)
        node.create_timer(_DIAGNOSTICS_PERIOD_S, self._diagnose, clock=self._steady)

    def _accept_publisher(self, unit_id: UnitId) -> Any:
        if unit_id not in self._accept_publishers:
            topic = topics.ACCEPTS
            self._accept_publishers[unit_id] = self._publisher(
                topic, self._unit_topic(unit_id, topic.name)
            )
        return self._accept_publishers[unit_id]

    def _peer_client(self, unit_id: UnitId, type_: type) -> Any:
        key = (unit_id, type_)
        if key not in self._peer_clients:
            is_control = type_ is messages.ControlRequest
            service = srv.UnitControl if is_control else srv.SubmitDeal
            name = self._unit_topic(unit_id, names.CONTROL if is_control else names.SUBMIT_DEAL)
            self._peer_clients[key] = self._node.create_client(service, name)
        return self._peer_clients[key]

    def _diagnose(self) -> None:
        self._try_journal_again()
        if complaint := self._authenticator.complaint():
            self._log.warning(complaint)
        status = self._status
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        level, text = DiagnosticStatus.STALE, "waiting for the clock"
        values: dict[str, str] = {}
        if status is not None:
            level, text = DiagnosticStatus.OK, status.effective_mode.name
            if self._authenticator.is_alarmed:
                level, text = DiagnosticStatus.WARN, f"refused: {self._authenticator.last_refusal}"
            if status.fault_codes:
                level, text = DiagnosticStatus.ERROR, ", ".join(status.fault_codes)
            values = {
                "grid_master": status.grid_master_id,
                "term": str(status.term),
                "converter_mode": status.converter.mode.name,
                "deals": " ".join(status.deal_ids),
                "not_dealing": status.not_dealing_reason,
                "unanswered_calls": str(len(self._pending)),
                "journal": self._journal_error or "written",
                "words": str(self._authenticator),
                "words_signed": str(self._authenticator.said),
                "words_heard": str(self._authenticator.heard),
                "words_refused": str(self._authenticator.refused.total()),
            }
        message.status.append(
            DiagnosticStatus(
                level=level,
                name=f"{self._settings.unit_id}: unit node",
                message=text,
                hardware_id=self._settings.unit_id,
                values=[KeyValue(key=key, value=value) for key, value in values.items()],
            )
        )
        self._diagnostics.publish(message)


def _refuse(response: Any, codes: dict[type, int], reason: str) -> Any:
    response.error_code, response.error_msg = codes[type(response)], reason
    return response


def journal_path(text: str, unit_id: UnitId) -> Path:
    """The journal's file: as configured, else in the user's state folder."""
    return Path(text) if text else Path.home() / ".local" / "state" / "apis" / f"{unit_id}.sqlite"
