"""Calls of services and actions of the graph that never block: each ends as an ``Outcome``.

A service that has not been found yet is waited for a little; one that does not answer is given up.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node

from apis_dashboard.grid_source import BreakWish, ConverterWish, DealWish, Outcome, Progress
from apis_interfaces.action import Interchange
from apis_interfaces.msg import ConverterState, Deal
from apis_interfaces.srv import ConverterCommand, EmulatorControl, InjectFault, UnitMaintenance
from apis_ros import names
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.names import of_unit

__all__ = ["Orders"]

FOUND_WITHIN_S = 3.0
ANSWERED_WITHIN_S = 5.0
UNKNOWN = float("nan")
OPERATOR = "operator"

Send = Callable[[], Any]


@dataclass
class _Call:
    """A call on its way."""

    name: str
    is_ready: Callable[[], bool]
    send: Send
    read: Callable[[Any], Outcome | None]
    future: Future[Outcome]
    until_s: float
    answer: Any = None

    def end(self, outcome: Outcome) -> None:
        if not self.future.done():
            self.future.set_result(outcome)


@dataclass
class _Goal:
    """A deal that was made by hand from here."""

    handle: Any = None
    deal_id: str = ""
    future: Future[Outcome] = field(default_factory=Future)


class Orders:
    """The operator's side of the services.

    Args:
        node: Its executor runs in another thread than the callers'.
        unit_ids: All units of the grid.
        authenticator: Signs them.
    """

    def __init__(
        self, node: Node, unit_ids: tuple[str, ...], authenticator: MessageAuthenticator
    ) -> None:
        self._node = node
        self._authenticator = authenticator
        self._lock = threading.Lock()
        self._calls: list[_Call] = []
        self._goals: list[_Goal] = []
        # at once and not at first use: an emergency stop cannot wait for discovery
        self._converters: dict[str, Any] = {
            unit_id: node.create_client(
                ConverterCommand, of_unit(unit_id, names.CONVERTER_COMMAND)
            )
            for unit_id in unit_ids
        }
        self._maintenance: dict[str, Any] = {}
        self._emulator: dict[type, Any] = {}
        self._interchange: dict[str, Any] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether something is under way that :meth:`tick` has to look at."""
        return bool(self._calls)

    def tick(self) -> None:
        """Send what has found its service by now, and give up what has waited long enough."""
        now_s = time.monotonic()
        with self._lock:
            calls, self._calls = self._calls, []
        for call in calls:
            self._advance(call, now_s)

    def converter(self, wish: ConverterWish, *, term: int) -> Future[Outcome]:
        """Order a converter; with term 0 the driver obeys WAIT only."""
        request = ConverterCommand.Request(
            operation=ConverterCommand.Request.OPERATION_HOLD
            if wish.mode is None
            else ConverterCommand.Request.OPERATION_MODE,
            mode=ConverterState.MODE_UNKNOWN if wish.mode is None else wish.mode.value,
            grid_voltage_v=_number(wish.grid_voltage_v),
            grid_current_a=_number(wish.grid_current_a),
            droop_ratio=UNKNOWN,
            energy_limit_wh=UNKNOWN,
            next_current_a=UNKNOWN,
            hold_s=wish.hold_s,
            term=term,
            grid_master_id=OPERATOR if term else "",
        )
        return self._call(f"converter of {wish.unit_id}", self._converters[wish.unit_id], request)

    def maintain(self, unit_id: str, request: UnitMaintenance.Request) -> Future[Outcome]:
        """Ask something of a unit's program itself."""
        if unit_id not in self._maintenance:
            self._maintenance[unit_id] = self._node.create_client(
                UnitMaintenance, of_unit(unit_id, names.MAINTENANCE)
            )
        return self._call(f"program of {unit_id}", self._maintenance[unit_id], request)

    def break_hardware(self, wish: BreakWish) -> Future[Outcome]:
        """Break something of the emulated hardware."""
        request = InjectFault.Request(
            kind=wish.kind.value,
            unit_id=wish.unit_id,
            other_unit_id=wish.other_unit_id,
            quantity=wish.quantity,
            value=_number(wish.value),
            duration_s=_number(wish.duration_s),
        )
        return self._emulate(InjectFault, request, lambda reply: f"broken: {reply.fault_id}")

    def repair(self, fault_id: str) -> Future[Outcome]:
        """Undo one fault, or all."""
        request = InjectFault.Request(kind=InjectFault.Request.KIND_REPAIR, fault_id=fault_id)
        return self._emulate(InjectFault, request, lambda _: "repaired")

    def broken(self) -> Future[Outcome]:
        """Ask what is broken; the outcome has a line each."""
        request = EmulatorControl.Request(operation=EmulatorControl.Request.OPERATION_READ)
        return self._emulate(
            EmulatorControl, request, lambda reply: "\n".join(reply.active_faults)
        )

    def deal(self, wish: DealWish, progress: Progress) -> Future[Outcome]:
        """Make a deal by hand; the giver is the one that is asked."""
        client = self._interchange.get(wish.giver_id)
        if client is None:
            client = self._interchange[wish.giver_id] = ActionClient(
                self._node, Interchange, of_unit(wish.giver_id, names.INTERCHANGE)
            )
        goal = _Goal()
        request = Interchange.Goal(
            peer_unit_id=wish.taker_id,
            type=Interchange.Goal.TYPE_DISCHARGE,
            energy_wh=wish.energy_wh,
            current_a=_number(wish.current_a),
            price_point_per_wh=_number(wish.price_point_per_wh),
        )

        def hear(feedback: Any) -> None:
            if not goal.deal_id:
                goal.deal_id = feedback.feedback.deal.deal_id
                progress(goal.deal_id)

        def accepted(handle: Any) -> Outcome | None:
            if not handle.accepted:
                return Outcome(False, f"{wish.giver_id} does not take the order")
            goal.handle = handle
            handle.get_result_async().add_done_callback(
                lambda done: goal.future.set_result(_ending(done.result().result))
            )
            return None

        call = _Call(
            name=f"unit {wish.giver_id}",
            is_ready=client.server_is_ready,
            send=lambda: client.send_goal_async(
                self._authenticator.sign(
                    request,
                    f"{self._node.get_namespace()}/{of_unit(wish.giver_id, names.INTERCHANGE)}",
                ),
                feedback_callback=hear,
            ),
            read=accepted,
            future=goal.future,
            until_s=time.monotonic() + FOUND_WITHIN_S,
        )
        with self._lock:
            self._goals = [known for known in self._goals if not known.future.done()] + [goal]
        self._advance(call, time.monotonic())
        return goal.future

    def end_deal(self, deal_id: str) -> Future[Outcome]:
        """End a deal that was made by :meth:`deal`."""
        with self._lock:
            goal = next((g for g in self._goals if g.deal_id == deal_id and g.handle), None)
        done: Future[Outcome] = Future()
        if goal is None:
            done.set_result(Outcome(False, "it was not made by hand from here"))
            return done
        goal.handle.cancel_goal_async().add_done_callback(
            lambda answer: done.set_result(
                Outcome(True, "is being ended")
                if answer.result().goals_canceling
                else Outcome(False, "it cannot be ended any more")
            )
        )
        return done

    def close(self) -> None:
        """Give up everything that is under way."""
        with self._lock:
            calls, self._calls = self._calls, []
        for call in calls:
            call.end(Outcome(False, "the dashboard stops"))
        for client in self._interchange.values():
            client.destroy()

    def _emulate(self, kind: type, request: Any, words: Callable[[Any], str]) -> Future[Outcome]:
        if kind not in self._emulator:
            is_control = kind is EmulatorControl
            name = names.EMULATOR_CONTROL if is_control else names.EMULATOR_INJECT_FAULT
            self._emulator[kind] = self._node.create_client(kind, name)
        return self._call("emulator", self._emulator[kind], request, words)

    def _call(
        self, name: str, client: Any, request: Any, words: Callable[[Any], str] = lambda _: ""
    ) -> Future[Outcome]:
        call = _Call(
            name=name,
            is_ready=client.service_is_ready,
            send=lambda: client.call_async(self._authenticator.sign(request, client.service_name)),
            read=lambda reply: _reply(reply, words),
            future=Future(),
            until_s=time.monotonic() + FOUND_WITHIN_S,
        )
        self._advance(call, time.monotonic())
        return call.future

    def _advance(self, call: _Call, now_s: float) -> None:
        if call.future.done():
            return
        if call.answer is None:
            if call.is_ready():
                call.until_s = now_s + ANSWERED_WITHIN_S
                call.answer = call.send()
            elif now_s > call.until_s:
                call.end(Outcome(False, f"{call.name} is not there"))
                return
        elif call.answer.done():
            outcome = call.read(call.answer.result())
            if outcome is not None:
                call.end(outcome)
            return
        elif now_s > call.until_s:
            call.end(Outcome(False, f"{call.name} does not answer"))
            return
        with self._lock:
            self._calls.append(call)


def _number(value: float | None) -> float:
    return UNKNOWN if value is None else value


def _reply(reply: Any, words: Callable[[Any], str]) -> Outcome:
    is_done = reply.error_code == 0
    return Outcome(is_done, words(reply) if is_done else f"{reply.error_msg} ({reply.error_code})")


def _ending(result: Any) -> Outcome:
    deal = result.deal
    if result.error_code:
        return Outcome(False, f"{result.error_msg} ({result.error_code})")
    moved = deal.moved_wh if math.isfinite(deal.moved_wh) else 0.0
    return Outcome(deal.state == Deal.STATE_COMPLETED, f"{moved:.1f} Wh moved")
