"""The node round one agent: feeds it what happens on the graph, and has its effects carried out.

Everything of one unit runs in one executor thread, so the agent never sees two events at once. No
callback blocks or waits.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any
from zoneinfo import ZoneInfo

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from apis_core import events
from apis_core.model.errors import ApisError
from apis_core.model.types import ConverterMode, OperationMode
from apis_core.model.units import NEVER_NS, s_from_ns
from apis_core.unit.agent import Agent, AgentSettings
from apis_interfaces import srv
from apis_node.battery_lock import BatteryLock
from apis_node.calls import Calls
from apis_node.configuration import WatchedFile
from apis_node.effect_runner import EffectRunner
from apis_node.endpoints import Endpoints
from apis_node.graph_time import UnitClock
from apis_node.journal_writer import JournalWriter
from apis_node.maintenance import maintain
from apis_node.manual_deal_action import ManualDealAction
from apis_node.request_server import RequestServer
from apis_node.unit_diagnostics import unit_diagnosis
from apis_ros import names
from apis_ros.authenticator import UNSIGNED, MessageAuthenticator
from apis_ros.diagnostics import Diagnostics
from apis_site.unit_journal import Journal

__all__ = ["UnitNode", "journal_path"]

_BEGIN_PERIOD_S = 0.05
_RENEWALS_PER_HOLD = 4.0
_MIN_WAIT_NS = 1_000  # rcl takes no period of 0


class UnitNode:
    """Lives in a ROS node; feeds an agent events, and carries out its effects on the graph.

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
        self._settings = settings
        self._journal = journal
        self._files = files
        self._battery = battery or BatteryLock("")  # never asked, if nobody shares it
        self._log = log = node.get_logger()
        self._agent: Agent | None = None
        self._queue: deque[events.Event] = deque()
        self._is_draining = False
        self._wake_ns = NEVER_NS
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0, self._wake, clock=steady, autostart=False)
        self._clock = clock = UnitClock(node, steady, self._set_timer)

        unit_id = settings.unit_id
        # an answer may come long after its question: meanwhile everything else must go on
        group = ReentrantCallbackGroup()
        self._deals = ManualDealAction(node, unit_id, self.feed, group, authenticator)
        self._endpoints = Endpoints(
            node,
            cluster,
            unit_id,
            clock,
            authenticator,
            timezone,
            feed=self.feed,
            hear_deal=self._deals.hear_deal,
        )
        self._calls = Calls(clock, authenticator, log, self.feed, self._queue.append)
        requests = RequestServer(
            node, unit_id, clock, authenticator, group, feed=self.feed, is_ready=self._is_ready
        )
        self._writer = JournalWriter(journal, node, self._queue.append)
        self._effects = EffectRunner(
            unit_id,
            self._queue,
            self._endpoints,
            self._calls,
            requests,
            self._deals,
            self._battery,
            self._writer,
            log,
        )
        self._maintenance = names.in_unit(cluster, unit_id, names.MAINTENANCE)
        node.create_service(srv.UnitMaintenance, self._maintenance, self._maintain)
        self._begin_timer = node.create_timer(_BEGIN_PERIOD_S, self._begin, clock=steady)
        renewal_s = settings.driver_hold_s / _RENEWALS_PER_HOLD
        node.create_timer(renewal_s, self._renew, clock=steady)
        refresh_s = s_from_ns(settings.policy.refresh_period_ns)
        node.create_timer(refresh_s, self._refresh, clock=steady)
        Diagnostics(node, self._report)
        self._endpoints.meet(settings.policy.member_unit_ids)
        if settings.scenario.value is not None:
            self._endpoints.count_hours()

    # --- the process asks ------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether its process may end."""
        return self._effects.may_exit

    def close(self) -> None:
        """Take off the graph what the node itself does not."""
        self._deals.destroy()
        self._battery.close()

    def ask_to_stop(self) -> None:
        """Begin to end: converter to WAIT, deals given up; :attr:`is_stopped` says when."""
        if self._agent is None:
            self._effects.may_exit = True
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
                now_ns = self._clock.now_ns()
                self._effects.carry_out(self._handle(self._queue.popleft(), now_ns), now_ns)
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

    def _is_ready(self) -> bool:
        return self._agent is not None and not self.is_stopped

    # --- what comes by itself --------------------------------------------------------------------

    def _begin(self) -> None:
        """Start the agent as soon as the clock has a time (a simulated one is 0 at first)."""
        now_ns = self._clock.now_ns()
        if self._agent is not None or not now_ns:
            return
        self._node.destroy_timer(self._begin_timer)
        self._agent = Agent(self._settings, self._journal.recall(), SystemRandom(), now_ns)
        self._endpoints.meet(self._agent.member_ids)
        self._log.info(f"{self._settings.unit_id} is up; {self._authenticator}")
        self._effects.carry_out(self._agent.start(now_ns), now_ns)
        self.feed(events.Wake())

    def _wake(self) -> None:
        self._timer.cancel()
        if self._clock.now_ns() < self._wake_ns:  # time goes slower than it did
            self._set_timer()
            return
        self._wake_ns = NEVER_NS
        self.feed(events.Wake())

    def _refresh(self) -> None:
        for file in self._files:
            event = file.look()
            if isinstance(event, events.ScenarioRead) and event.scenario.value is not None:
                self._endpoints.count_hours()
            if event is not None:
                self.feed(event)

    def _renew(self) -> None:
        self._calls.forget_unanswered()
        self.feed(events.RenewalDue())

    def _maintain(self, request: Any, response: Any) -> Any:
        if why := self._authenticator.why_refused(request, self._maintenance):
            response.error_code, response.error_msg = response.ERROR_NOT_SIGNED, why
            return response
        status = self._effects.status
        mode = status.effective_mode if status else OperationMode.UNSET
        return maintain(request, response, mode, self._log, self.ask_to_stop)

    def _report(self) -> list[DiagnosticStatus]:
        if self._writer.try_again():
            self.feed(events.Wake())
        if complaint := self._authenticator.complaint():
            self._log.warning(complaint)
        return [
            unit_diagnosis(
                self._settings.unit_id,
                self._effects.status,
                self._authenticator,
                unanswered=len(self._calls),
                journal_error=self._writer.error,
            )
        ]

    # --- its next wake-up ------------------------------------------------------------------------

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
        wait_ns = None if self._wake_ns == NEVER_NS else self._clock.wait_ns(self._wake_ns)
        if wait_ns is not None:
            self._timer.timer_period_ns = max(wait_ns, _MIN_WAIT_NS)
            self._timer.reset()


def journal_path(text: str, unit_id: str) -> Path:
    """The journal's file: as configured, else in the user's state folder."""
    return Path(text) if text else Path.home() / ".local" / "state" / "apis" / f"{unit_id}.sqlite"
