"""The machine of the grid master that brings the bus up, hands it over and takes it down.

Exactly one unit holds the voltage. It proves after ramp-up that it alone does so (`bring_up.py`).
When its own deals are over while others go on, another unit takes over (`hand_over.py`). The
stages stand in `bus_state.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from apis_core.config.policy import Policy
from apis_core.config.timing import DealTiming
from apis_core.converter.driver_contract import NO_CURRENT_A
from apis_core.converter.energy_limit import Sample
from apis_core.events import Effect
from apis_core.grid_master.bring_up import BringUp, fail_unless_it_holds
from apis_core.grid_master.bus_state import BusState, Failure, Holder, Stage
from apis_core.grid_master.hand_over import HandOver, Step
from apis_core.grid_master.pending_orders import PendingOrder, PendingOrders
from apis_core.model.messages import ControlReply, ConverterReading
from apis_core.model.origin import Origin
from apis_core.model.types import NOBODY, ControlError, ControlOperation, ConverterMode, UnitId
from apis_core.model.units import NEVER_NS

__all__ = ["VoltageReference"]

_Op = ControlOperation


class VoltageReference:
    """Orders units to hold the voltage of the bus, one at a time.

    Args:
        orders: Of this machine, that are unanswered.
        policy: Of the cluster.
        timing: Times of running a deal.
        random: For the voltages to try; injected so that a seed fixes them.

    Attributes:
        unwilling_ids: Units that refused to take over from the present one.
    """

    def __init__(
        self, orders: PendingOrders, policy: Policy, timing: DealTiming, random: Random
    ) -> None:
        self.unwilling_ids: set[UnitId] = set()
        self._orders = orders
        self._policy = policy
        self._timing = timing
        self._bus = BusState(orders, policy, timing)
        self._bring_up = BringUp(self._bus, policy, timing, random)
        self._hand_over: HandOver | None = None
        self._may_have_droop = False  # it was adopted: a hand-over may have been interrupted
        # of the units whose voltage is to end
        self._told_ids: set[UnitId] = set()  # have let their deals go, and go down
        self._off_ids: set[UnitId] = set()  # are down

    # --- what others see -------------------------------------------------------------------------

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        return self._bus.wake_ns

    @property
    def stage(self) -> Stage:
        """What is being done with the voltage."""
        return self._bus.stage

    @property
    def unit_id(self) -> UnitId:
        """The unit that holds the voltage, or is to."""
        return self._bus.holder.unit_id

    @property
    def deal_id(self) -> str:
        """One of its deals, in whose name it is ordered."""
        return self._bus.holder.deal_id

    @property
    def voltage_v(self) -> float:
        """What it is ordered to hold. [V]"""
        return self._bus.voltage_v

    @property
    def sample(self) -> Sample | None:
        """Its newest answer; None = none since it holds the voltage."""
        return self._bus.sample

    @property
    def failure(self) -> Failure | None:
        """Why the voltage is to be ended; None = nothing is wrong, or it was taken already."""
        return self._bus.failure

    @property
    def next_unit_id(self) -> UnitId:
        """The unit that is taking over; nobody if no hand-over is under way."""
        return NOBODY if self._hand_over is None else self._hand_over.successor.unit_id

    @property
    def next_deal_id(self) -> str:
        """The deal in whose name that unit is taking over."""
        return "" if self._hand_over is None else self._hand_over.successor.deal_id

    @property
    def hand_over_step(self) -> Step | None:
        """How far a hand-over has come; None = none is under way."""
        return None if self._hand_over is None else self._hand_over.step

    def has_let_go(self, unit_id: UnitId) -> bool:
        """Whether a unit that was to end goes down, or is down: no deal keeps it any more."""
        return self.stage is Stage.ENDING and unit_id in self._told_ids | self._off_ids

    # --- what is wanted --------------------------------------------------------------------------

    def start(
        self, unit_id: UnitId, deal_id: str, now_ns: int, witness_id: UnitId = NOBODY
    ) -> list[Effect]:
        """Bring a dead bus up.

        Args:
            unit_id: The unit that is to hold the voltage.
            deal_id: The deal in whose name it is ordered.
            now_ns: Present time.
            witness_id: The other unit of that deal: its meter must see the bus move, too. Else the
                reference may hold a bus of its own.
        """
        self._take_bus(Holder(unit_id, deal_id))
        self._bus.voltage_v = self._policy.grid_voltage_v
        self.unwilling_ids.clear()
        return self._bring_up.start(witness_id, now_ns)

    def adopt(self, unit_id: UnitId, deal_id: str, now_ns: int) -> None:
        """Go on with a bus that an earlier grid master brought up."""
        self._take_bus(Holder(unit_id, deal_id))
        self._may_have_droop = True
        self._bus.enter(Stage.UP, now_ns)

    def hear_holder(
        self, reading: ConverterReading, now_ns: int, *, is_alone: bool
    ) -> list[Effect]:
        """Take the status of the unit that holds the bus.

        An earlier grid master may have been lost in a hand-over, and have left it with droop.

        Args:
            reading: Of its converter.
            now_ns: Present time.
            is_alone: Whether no other unit holds the voltage; else its droop is needed still.
        """
        if not self._may_have_droop or self.stage is not Stage.UP or not is_alone:
            return []
        if not reading.droop_ratio:
            self._may_have_droop = False
            return []
        if self.unit_id in self._orders.awaited_units(_Op.DID_TAKE_OVER):
            return []
        return self._bus.ask(self._bus.holder, _Op.DID_TAKE_OVER, now_ns)

    def order_in_name_of(self, deal_ids: Sequence[str]) -> None:
        """Give orders in the name of one of those deals of the unit that holds the voltage.

        Args:
            deal_ids: At least one. The present one stays if it is among them.
        """
        if self.deal_id not in deal_ids:
            self._bus.holder = Holder(self.unit_id, deal_ids[0])

    def hand_over(
        self, unit_id: UnitId, deal_id: str, now_ns: int, *, joins: bool = False
    ) -> list[Effect]:
        """Let another unit hold the voltage; one that refuses is noted as unwilling.

        Args:
            unit_id: Who is to hold it.
            deal_id: In whose name.
            now_ns: Present time.
            joins: Whether that deal has no current on the bus yet.
        """
        self._may_have_droop = False  # the steps see to it
        self._hand_over = HandOver(self._bus.holder, Holder(unit_id, deal_id), joins=joins)
        self._bus.goal_v = None
        return self._begin_step(now_ns)

    def set_voltage(self, voltage_v: float, now_ns: int) -> list[Effect]:
        """Move a bus that is up to another voltage. [V]"""
        self._bus.goal_v = voltage_v
        return self._bus.step_voltage(now_ns)

    def end(self, now_ns: int) -> list[Effect]:
        """Bring the voltage down; in a hand-over that of both."""
        if self.stage in (Stage.OFF, Stage.ENDING):
            return []
        self._told_ids.clear()
        self._off_ids.clear()
        self._bus.enter(Stage.ENDING, now_ns, 2 * self._timing.hold_ns)
        return self._poll(now_ns)

    def take_failure(self) -> Failure | None:
        """The failure, if there is one that was not taken before."""
        failure, self._bus.failure = self._bus.failure, None
        return failure

    def watch(self, now_ns: int) -> list[Effect]:
        """Read the current of the unit that holds the voltage now, and often from now on."""
        if self._bus.is_watched or self.stage is not Stage.UP:
            return []
        self._bus.is_watched = True
        return self._poll(now_ns)

    def unwatch(self) -> None:
        """Read that current no more, until somebody wants to know it again."""
        self._bus.is_watched = False

    def look_now(self, now_ns: int) -> list[Effect]:
        """Something changed at the unit that holds the voltage: ask it."""
        return self._poll(now_ns) if self.stage in (Stage.UP, Stage.ENDING) else []

    # --- events ----------------------------------------------------------------------------------

    def answered(self, origin: Origin, reply: ControlReply | None, now_ns: int) -> list[Effect]:
        """A unit answered an order of ours, or never will (None)."""
        call = self._orders.pop(origin)
        if call is None:
            return []
        if reply is None:
            reply = ControlReply(error=ControlError.NO_ANSWER, message="does not answer")
        elif call.unit_id == self.unit_id:
            self._bus.sample = Sample(reply, call.asked_ns, now_ns)
        effects = self._react(call, reply, now_ns)
        self._bus.arm()
        return effects

    def tick(self, now_ns: int) -> list[Effect]:
        """Do what is due: give up late answers, poll, end a stage that took too long."""
        effects: list[Effect] = []
        for origin in self._orders.overdue(now_ns):
            effects += self.answered(origin, None, now_ns)
        if now_ns >= self._bus.deadline_ns:
            self._too_late(now_ns)
        if now_ns >= self._bus.next_poll_ns:
            effects += self._poll(now_ns)
        self._bus.arm()
        return effects

    # --- inside ----------------------------------------------------------------------------------

    def _take_bus(self, holder: Holder) -> None:
        self._bus.holder, self._bus.failure, self._bus.goal_v = holder, None, None

    def _react(self, call: PendingOrder, reply: ControlReply, now_ns: int) -> list[Effect]:
        if self.stage is Stage.ENDING:
            return self._react_to_end(call, reply, now_ns)
        if self.stage is Stage.HANDING_OVER:
            return self._react_to_step(call, reply, now_ns)
        if self._bring_up.is_witness(call.unit_id):
            return self._bring_up.hear_witness(call, reply, now_ns)
        if call.operation is _Op.DID_TAKE_OVER and reply.error is ControlError.NO_ANSWER:
            holder = Holder(call.unit_id, self.deal_id)
            return self._bus.ask(holder, call.operation, now_ns)  # its droop is to go
        if self.stage is Stage.UP:
            return self._react_up(call, reply, now_ns)
        return self._bring_up.hear_reference(call, reply, now_ns)

    def _react_up(self, call: PendingOrder, reply: ControlReply, now_ns: int) -> list[Effect]:
        bus = self._bus
        is_obeyed = reply.error is ControlError.NONE  # other answers are for the deals to judge
        if call.operation is _Op.VOLTAGE:
            bus.voltage_v = reply.reading.grid_voltage_setpoint_v or bus.voltage_v
            if is_obeyed and bus.goal_v is not None:
                bus.next_poll_ns = now_ns + self._timing.quick_poll_ns
        if call.operation is _Op.HOLD and is_obeyed:
            fail_unless_it_holds(bus, call, reply)
        return []

    def _begin_step(self, now_ns: int) -> list[Effect]:
        self._bus.enter(Stage.HANDING_OVER, now_ns, 2 * self._timing.answer_ns)
        return self._ask_step(now_ns)

    def _ask_step(self, now_ns: int) -> list[Effect]:
        """Order the present step of a hand-over, once nobody owes an answer.

        Two orders on their way to one unit may overtake each other.
        """
        if self._hand_over is None or self._bus.awaited_units():
            return []
        operation = self._hand_over.operation
        takes_v = operation is _Op.WILL_TAKE_OVER and self._policy.take_over_dvg == "theoretical"
        voltage_v = self.voltage_v if takes_v else None
        return self._bus.ask(self._hand_over.ordered, operation, now_ns, voltage_v)

    def _react_to_step(self, call: PendingOrder, reply: ControlReply, now_ns: int) -> list[Effect]:
        bus, hand_over = self._bus, self._hand_over
        if hand_over is None or call.operation is not hand_over.operation:
            return self._ask_step(now_ns)  # that was asked before the hand-over began
        before = hand_over.step
        if hand_over.hear(reply):
            bus.fail(f"{call.unit_id}: {reply.message}")
        if hand_over.step is before:
            return []  # it is asked again until the deadline
        if hand_over.step in (Step.REFUSED, Step.CHECK_SUCCESSOR):
            self.unwilling_ids.add(call.unit_id)
        if not hand_over.is_over:
            return self._begin_step(now_ns)
        self._hand_over = None
        if hand_over.step is Step.REFUSED:  # the present one goes on, and its droop is to go
            bus.enter(Stage.UP, now_ns)
            return bus.ask(bus.holder, _Op.DID_TAKE_OVER, now_ns)
        if hand_over.step is Step.DONE:
            bus.holder = hand_over.successor
            self.unwilling_ids.clear()
        bus.sample, bus.goal_v = None, None
        bus.voltage_v = reply.reading.grid_voltage_setpoint_v or bus.voltage_v
        bus.enter(Stage.UP, now_ns)
        return []

    def _react_to_end(self, call: PendingOrder, reply: ControlReply, now_ns: int) -> list[Effect]:
        if call.operation is _Op.WAIT and reply.error is ControlError.NONE:
            self._told_ids.add(call.unit_id)
        if reply.error is not ControlError.NO_ANSWER and _is_off(reply):
            self._off_ids.add(call.unit_id)
        if {self.unit_id, self.next_unit_id} - {NOBODY} <= self._off_ids:
            self._be_off(now_ns)
        return []

    def _be_off(self, now_ns: int) -> None:
        self._hand_over = None
        self._bus.enter(Stage.OFF, now_ns)

    def _too_late(self, now_ns: int) -> None:
        self._bus.deadline_ns = NEVER_NS
        match self.stage:
            case Stage.ACTIVATING | Stage.RAMPING_UP | Stage.AUTHORISING:
                self._bring_up.too_late()
            case Stage.HANDING_OVER:
                self._bus.fail(f"the hand-over to {self.next_unit_id} did not go on")
            case Stage.ENDING:
                self._be_off(now_ns)  # their own dead men have stopped them by now

    def _poll(self, now_ns: int) -> list[Effect]:
        bus, unit_id = self._bus, self.unit_id
        bus.plan_poll(now_ns)
        busy = bus.awaited_units()
        match self.stage:
            case Stage.ACTIVATING | Stage.RAMPING_UP | Stage.AUTHORISING:
                return self._bring_up.poll(busy, now_ns)
            case Stage.UP if unit_id not in busy and bus.goal_v is not None:
                return bus.step_voltage(now_ns)
            case Stage.UP if unit_id not in busy:
                return bus.ask(bus.holder, _Op.HOLD, now_ns)
            case Stage.HANDING_OVER:
                return self._ask_step(now_ns)
            case Stage.ENDING:
                effects: list[Effect] = []
                for next_id in (unit_id, self.next_unit_id):
                    if next_id not in busy | self._off_ids | {NOBODY}:
                        # whatever deals of it there are: no current flows any more
                        effects += bus.ask(Holder(next_id, ""), _Op.WAIT, now_ns)
                return effects
        return []


def _is_off(reply: ControlReply) -> bool:
    if reply.error is ControlError.UNKNOWN_DEAL:
        return True  # it has closed our deal already, which it does with the converter off
    reading = reply.reading
    is_dead = abs(reading.grid_current_a or 0.0) <= NO_CURRENT_A
    return reading.mode is ConverterMode.WAIT and is_dead
