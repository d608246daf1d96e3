"""The machine of the grid master that brings the bus up, hands it over and takes it down.

    OFF ─► ACTIVATING ─► RAMPING_UP ─► AUTHORISING ─► UP ─► ENDING ─► OFF
                                                     │  ▲
                                                     ▼  │
                                                HANDING_OVER

Exactly one unit holds the voltage. It proves after ramp-up that it alone does so: the bus must
follow it to voltages drawn by lot, and stay there (see `voltage_proof.py`). Only a reading
can tell that it does not, one that was asked for when the bus had had its time to follow; silence
and older readings mean that nothing is known yet. When its own deals are over while others go on,
another unit takes over without the bus going down: for a moment both hold the voltage, and droop
makes them share the load (7.6.1).
"""

from __future__ import annotations

from enum import Enum, auto
from random import Random

from apis_core.config.policy import Policy
from apis_core.config.timing import DealTiming
from apis_core.converter.energy_limit import Sample
from apis_core.events import Effect
from apis_core.grid_master.pending_orders import PendingOrder, PendingOrders
from apis_core.grid_master.voltage_proof import VoltageProof
from apis_core.model.messages import ControlReply
from apis_core.model.origin import Origin
from apis_core.model.types import NOBODY, ControlError, ControlOperation, ConverterMode, UnitId
from apis_core.model.units import NEVER_NS, SECOND_NS, s_from_ns

__all__ = ["Stage", "VoltageReference"]

_TRIAL_NS = 30 * SECOND_NS  # for the bus to follow to a voltage that is set; drivers ramp
_RAMP_POLLS = 4  # fresh polls a look, while the bus comes up ...
_NEAR_RATIO = 0.7  # ... to so much of its voltage
_NO_CURRENT_A = 0.125
_Op = ControlOperation
_STEPS = (_Op.WILL_HAND_OVER, _Op.WILL_TAKE_OVER, _Op.DID_HAND_OVER, _Op.DID_TAKE_OVER)
# Of one that failed halfway. The next one may hold the voltage already: it must have let go before
# the old one may hold it alone.
_STEPS_BACK = (_Op.HOLD, _Op.WAIT, _Op.DID_HAND_OVER, _Op.DID_TAKE_OVER)


class Stage(Enum):
    """What is being done with the bus voltage."""

    OFF = auto()
    ACTIVATING = auto()
    RAMPING_UP = auto()
    AUTHORISING = auto()
    UP = auto()
    HANDING_OVER = auto()
    ENDING = auto()


class VoltageReference:
    """Orders units to hold the voltage of the bus, one at a time.

    Args:
        orders: Of this machine, that are unanswered.
        policy: Of the cluster.
        timing: Times of running a deal.
        random: For the voltages to try; injected so that a seed fixes them.

    Attributes:
        stage: What is being done.
        unit_id: Who holds the voltage, or is to.
        deal_id: One of its deals, in whose name it is ordered.
        failure: Why it is to be ended, once something went wrong; empty = nothing has.
        is_bus_fault: Whether the bus itself is at fault, and not a unit that would not.
        is_unproven: Whether the voltage did not follow while it was tried.
        unwilling_ids: Units that refused to take over from the present one.
        is_watched: Whether its current is wanted at short intervals.
        sample: Its newest answer.
    """

    def __init__(
        self, orders: PendingOrders, policy: Policy, timing: DealTiming, random: Random
    ) -> None:
        self.stage = Stage.OFF
        self.unit_id: UnitId = NOBODY
        self.deal_id = ""
        self.failure = ""
        self.is_bus_fault = False
        self.is_unproven = False
        self.unwilling_ids: set[UnitId] = set()
        self.is_watched = False
        self.sample: Sample | None = None
        self.voltage_v = policy.grid_voltage_v
        self.wake_ns = NEVER_NS
        self._orders = orders
        self._policy = policy
        self._timing = timing
        self._random = random
        self._next: tuple[UnitId, str] = (NOBODY, "")  # who takes over, for which deal
        self._joins = False  # whether that deal has no current on the bus yet
        self._step = 0  # of a hand-over
        self._is_doubtful = False  # an order of this step was not answered: it may be obeyed
        self._goes_back = False
        self._proof: VoltageProof | None = None
        self._witness_id: UnitId = NOBODY
        self._goal_v: float | None = None  # where the voltage is to go, step by step
        self._off: set[UnitId] = set()  # of those that are to end
        self._told: set[UnitId] = set()  # of those: who has let its deals go, and goes down
        self._set_ns = NEVER_NS  # since when the voltage that is tried has been set
        self._due_ns = NEVER_NS  # readings asked for from then on must show the voltage
        self._deadline_ns = NEVER_NS
        self._next_poll_ns = NEVER_NS

    @property
    def next_unit_id(self) -> UnitId:
        """The unit that is taking over; nobody if no hand-over is under way."""
        return self._next[0]

    @property
    def next_deal_id(self) -> str:
        """The deal in whose name that unit is taking over."""
        return self._next[1]

    @property
    def hand_over_step(self) -> int:
        """How far a hand-over has come, 0..3; of the last one if none is under way."""
        return self._step

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
        self._witness_id = witness_id
        self.unit_id, self.deal_id, self.sample = unit_id, deal_id, None
        self.failure, self.is_bus_fault, self.is_unproven = "", False, False
        self.voltage_v, self._goal_v = self._policy.grid_voltage_v, None
        self.unwilling_ids.clear()
        self._await_bus(Stage.ACTIVATING, now_ns, self._policy.ramp_up_timeout_ns)
        return self._order(now_ns)

    def adopt(self, unit_id: UnitId, deal_id: str, now_ns: int) -> None:
        """Go on with a bus that an earlier grid master brought up."""
        self.unit_id, self.deal_id, self.failure = unit_id, deal_id, ""
        self._goal_v = None
        self._enter(Stage.UP, now_ns)

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
        self._next, self._joins = (unit_id, deal_id), joins
        self._step, self._goes_back = 0, False
        self._goal_v = None
        return self._do_step(now_ns)

    def set_voltage(self, voltage_v: float, now_ns: int) -> list[Effect]:
        """Move a bus that is up to another voltage. [V]"""
        self._goal_v = voltage_v
        return self._step_voltage(now_ns)

    def end(self, now_ns: int) -> list[Effect]:
        """Bring the voltage down; in a hand-over that of both."""
        if self.stage in (Stage.OFF, Stage.ENDING):
            return []
        self._off.clear()
        self._told.clear()
        self._enter(Stage.ENDING, now_ns, 2 * self._timing.hold_ns)
        return self._poll(now_ns)

    def watch(self, now_ns: int) -> list[Effect]:
        """Its current is wanted now, and often, until :attr:`is_watched` is cleared."""
        if self.is_watched or self.stage is not Stage.UP:
            return []
        self.is_watched = True
        return self._poll(now_ns)

    def look_now(self, now_ns: int) -> list[Effect]:
        """Something changed at the unit that holds the voltage: ask it."""
        return self._poll(now_ns) if self.stage in (Stage.UP, Stage.ENDING) else []

    def has_let_go(self, unit_id: UnitId) -> bool:
        """Whether a unit that was to end goes down, or is down: no deal keeps it any more."""
        return self.stage is Stage.ENDING and unit_id in self._told | self._off

    # --- events ----------------------------------------------------------------------------------

    def answered(self, origin: Origin, reply: ControlReply | None, now_ns: int) -> list[Effect]:
        """A unit answered an order of ours, or never will (None)."""
        call = self._orders.pop(origin)
        if call is None:
            return []
        if reply is None:
            reply = ControlReply(error=ControlError.NO_ANSWER, message="does not answer")
        elif call.unit_id == self.unit_id:
            self.sample = Sample(reply, call.asked_ns, now_ns)
        effects = self._react(call, reply, now_ns)
        self._arm()
        return effects

    def tick(self, now_ns: int) -> list[Effect]:
        """Do what is due: give up late answers, poll, end a stage that took too long."""
        effects: list[Effect] = []
        for origin in self._orders.overdue(now_ns):
            effects += self.answered(origin, None, now_ns)
        if now_ns >= self._deadline_ns:
            effects += self._too_late(now_ns)
        if now_ns >= self._next_poll_ns:
            effects += self._poll(now_ns)
        self._arm()
        return effects

    # --- inside ----------------------------------------------------------------------------------

    def _react(self, call: PendingOrder, reply: ControlReply, now_ns: int) -> list[Effect]:
        unit_id, operation = call.unit_id, call.operation
        if self.stage is Stage.ENDING:
            if operation is _Op.WAIT and reply.error is ControlError.NONE:
                self._told.add(unit_id)
            if reply.error is not ControlError.NO_ANSWER and _is_off(reply):
                self._off.add(unit_id)
            if {self.unit_id, self.next_unit_id} - {NOBODY} <= self._off:
                self._enter(Stage.OFF, now_ns)
            return []
        if self.stage is Stage.HANDING_OVER:
            return self._react_to_step(unit_id, operation, reply, now_ns)
        if unit_id == self._witness_id and unit_id != self.unit_id:
            is_good = self.stage is Stage.AUTHORISING and reply.error is ControlError.NONE
            return self._weigh(call, reply, now_ns) if is_good else []
        if operation is _Op.DID_TAKE_OVER and reply.error is ControlError.NO_ANSWER:
            return self._ask(unit_id, operation, self.deal_id, now_ns)  # its droop is to go
        if reply.error is ControlError.BUS_ENERGISED and self.stage is Stage.ACTIVATING:
            if call.asked_ns >= self._due_ns:
                self.failure, self.is_bus_fault = "the bus did not become free", True
            return []  # another source, or a bus that still decays: ask again for a while
        if operation is _Op.VOLTAGE and self.stage is Stage.UP and reply.reading is not None:
            self.voltage_v = reply.reading.grid_voltage_setpoint_v or self.voltage_v
            if reply.error is ControlError.NONE and self._goal_v is not None:
                self._next_poll_ns = now_ns + self._timing.quick_poll_ns
        if reply.error is not ControlError.NONE:
            # a converter that is only read and does not answer just now is asked again
            is_poll = operation is _Op.HOLD and reply.error is ControlError.CONVERTER
            is_patient = is_poll or reply.error is ControlError.NO_ANSWER
            if self.stage is not Stage.UP and not is_patient:
                self.failure = f"{unit_id}: {reply.message}"
            return []  # once the bus is up, the deals judge such answers
        reading = reply.reading
        if self.stage is Stage.ACTIVATING and operation is _Op.VOLTAGE_REFERENCE:
            self._await_bus(Stage.RAMPING_UP, now_ns, self._policy.ramp_up_timeout_ns)
        elif self.stage is Stage.AUTHORISING and operation is _Op.VOLTAGE:
            self._set_ns = now_ns
            self._expect_bus(now_ns, _TRIAL_NS)
            self._next_poll_ns = now_ns  # what it and its witness see is wanted as soon as can be
        elif operation is not _Op.HOLD:
            return []
        elif reading.mode is not ConverterMode.VOLTAGE_REFERENCE:
            why = reading.stop_detail or "its converter went to WAIT by itself"
            self.failure = f"{unit_id}: {why}"
        elif self.stage is Stage.UP:
            return []
        elif self.stage is Stage.AUTHORISING and self._goal_v is None:
            return self._weigh(call, reply, now_ns)
        elif self._follows(reading.grid_voltage_v):
            return self._go_further(now_ns)
        elif call.asked_ns >= self._due_ns:
            self._fail_to_follow()
        elif (reading.grid_voltage_v or 0.0) >= _NEAR_RATIO * self.voltage_v:
            self._next_poll_ns = min(self._next_poll_ns, now_ns + self._timing.fresh_poll_ns)
        return []

    def _weigh(self, call: PendingOrder, reply: ControlReply, now_ns: int) -> list[Effect]:
        """A meter was read while the bus is to stay at a voltage that is tried."""
        if self._proof is None or call.asked_ns < self._set_ns:
            return []
        doubt = self._proof.hear(call.unit_id, reply.reading, call.asked_ns, now_ns)
        if self._proof.has_dwelt:
            return self._try_next(now_ns)
        if doubt and call.asked_ns >= self._due_ns:
            self.failure, self.is_unproven = doubt, True
        return []

    def _fail_to_follow(self) -> None:
        """A reading shows the bus elsewhere, though it had its time."""
        if self.stage is Stage.RAMPING_UP:
            limit_s = s_from_ns(self._policy.ramp_up_timeout_ns)
            self.failure = f"the bus did not reach its voltage within {limit_s:g} s"
            self.is_bus_fault = True
            return
        self.failure = (
            f"the bus did not follow {self.unit_id} to {self.voltage_v:g} V: "
            "another source holds it"
        )
        self.is_unproven = True

    def _follows(self, bus_v: float | None) -> bool:
        """Whether the bus is where its reference is to hold it."""
        if bus_v is None:
            return False
        gap_v = bus_v - self.voltage_v
        allowance_v = self._policy.grid_voltage_allowance_v
        return gap_v >= -allowance_v and (self.stage is Stage.RAMPING_UP or gap_v <= allowance_v)

    def _go_further(self, now_ns: int) -> list[Effect]:
        """The reference's own meter sees the bus where it is to be."""
        if self.stage is Stage.RAMPING_UP:
            return self._begin_proof(now_ns)
        return self._step_voltage(now_ns)

    def _step_voltage(self, now_ns: int) -> list[Effect]:
        """One step towards where the voltage is to be (the protocol, 8.3)."""
        step_v = self._policy.grid_voltage_step_v
        gap_v = (self._goal_v or self.voltage_v) - self.voltage_v
        if abs(gap_v) > step_v:
            self.voltage_v += step_v if gap_v > 0.0 else -step_v
        else:
            self.voltage_v, self._goal_v = self._goal_v or self.voltage_v, None
        return self._order_voltage(now_ns)

    def _order_voltage(self, now_ns: int) -> list[Effect]:
        if self.stage is Stage.AUTHORISING:
            self._due_ns = self._set_ns = NEVER_NS  # until it is set
        return self._ask(self.unit_id, _Op.VOLTAGE, self.deal_id, now_ns, self.voltage_v)

    def _begin_proof(self, now_ns: int) -> list[Effect]:
        witness_ids = {self._witness_id} - {NOBODY, self.unit_id}
        self._proof = VoltageProof(
            self._policy, self._timing.dwell_ns, self._random, self.unit_id, witness_ids
        )
        self.stage = Stage.AUTHORISING
        return self._try_next(now_ns)

    def _try_next(self, now_ns: int) -> list[Effect]:
        self._goal_v = self._proof.move_on() if self._proof is not None else None
        if self._goal_v is None:
            self._proof = None
            self._enter(Stage.UP, now_ns)
            return []
        self._await_bus(Stage.AUTHORISING, now_ns, _TRIAL_NS)
        return self._step_voltage(now_ns)

    def _do_step(self, now_ns: int) -> list[Effect]:
        self._is_doubtful = False
        self._enter(Stage.HANDING_OVER, now_ns, 2 * self._timing.answer_ns)
        if self._orders.awaited_units():
            return []  # two orders on their way to one unit may overtake each other
        return self._ask_step(now_ns)

    @property
    def _operation(self) -> _Op:
        """What the present step of a hand-over orders."""
        return (_STEPS_BACK if self._goes_back else _STEPS)[self._step]

    def _ask_step(self, now_ns: int) -> list[Effect]:
        operation = self._operation
        is_old = operation in (_Op.WILL_HAND_OVER, _Op.DID_HAND_OVER)
        if self._goes_back:
            is_old = operation is _Op.DID_TAKE_OVER
        unit_id, deal_id = (self.unit_id, self.deal_id) if is_old else self._next
        takes_v = operation is _Op.WILL_TAKE_OVER and self._policy.take_over_dvg == "theoretical"
        voltage_v = self.voltage_v if takes_v else None
        return self._ask(unit_id, operation, deal_id, now_ns, voltage_v)

    def _react_to_step(
        self, unit_id: UnitId, operation: _Op, reply: ControlReply, now_ns: int
    ) -> list[Effect]:
        if operation is not self._operation:  # asked before the hand-over began
            return [] if self._orders.awaited_units() else self._ask_step(now_ns)
        if reply.error is ControlError.NO_ANSWER:
            self._is_doubtful = True
            return []  # asked again until the deadline
        if self._goes_back and operation is not _Op.DID_TAKE_OVER:
            return self._go_back(operation, reply, now_ns)
        if reply.error is not ControlError.NONE:
            if operation is _Op.WILL_TAKE_OVER:
                self.unwilling_ids.add(unit_id)  # the old one goes on
                if self._is_doubtful or reply.error is ControlError.CONVERTER:
                    self._step, self._goes_back = 0, True
                    return self._do_step(now_ns)
                self._next = (NOBODY, "")
                self._enter(Stage.UP, now_ns)
                return self._ask(self.unit_id, _Op.DID_TAKE_OVER, self.deal_id, now_ns)
            self.failure = f"{unit_id}: {reply.message}"
            return []
        self._step += 1
        if self._step < len(_STEPS):
            return self._do_step(now_ns)
        if not self._goes_back:
            self.unit_id, self.deal_id = self._next
            self.unwilling_ids.clear()
        self._next, self._goes_back = (NOBODY, ""), False
        self.sample = None
        if reply.reading.grid_voltage_setpoint_v:
            self.voltage_v = reply.reading.grid_voltage_setpoint_v
        self._goal_v = None
        self._enter(Stage.UP, now_ns)
        return []

    def _go_back(self, operation: _Op, reply: ControlReply, now_ns: int) -> list[Effect]:
        """What a unit says that failed to take over."""
        has_closed = reply.error is ControlError.UNKNOWN_DEAL  # with its converter off
        holds_bus = reply.reading.mode is ConverterMode.VOLTAGE_REFERENCE
        is_in_vain = holds_bus and operation is _Op.DID_HAND_OVER
        if not has_closed and (reply.error is not ControlError.NONE or is_in_vain):
            return []  # asked again until the deadline
        if has_closed or not holds_bus:
            self._step = _STEPS_BACK.index(_Op.DID_TAKE_OVER)
        elif operation is _Op.HOLD and not self._joins:
            self._step = _STEPS_BACK.index(_Op.DID_HAND_OVER)
        else:
            self._step += 1
        return self._do_step(now_ns)

    def _too_late(self, now_ns: int) -> list[Effect]:
        self._deadline_ns = NEVER_NS
        match self.stage:
            case Stage.ACTIVATING | Stage.RAMPING_UP | Stage.AUTHORISING:
                silent = " or ".join(sorted(self._orders.awaited_units() or {self.unit_id}))
                self.failure = f"{silent} does not answer"
                self.is_unproven = True
            case Stage.HANDING_OVER:
                self.failure = f"the hand-over to {self.next_unit_id} did not go on"
            case Stage.ENDING:
                self._enter(Stage.OFF, now_ns)  # their own dead men have stopped them by now
        return []

    def _order(self, now_ns: int) -> list[Effect]:
        return self._ask(self.unit_id, _Op.VOLTAGE_REFERENCE, self.deal_id, now_ns, self.voltage_v)

    def _poll(self, now_ns: int) -> list[Effect]:
        self._plan_poll(now_ns)
        busy = self._orders.awaited_units()
        match self.stage:
            case Stage.ACTIVATING if self.unit_id not in busy:
                return self._order(now_ns)
            case Stage.UP if self.unit_id not in busy and self._goal_v is not None:
                return self._step_voltage(now_ns)
            case Stage.AUTHORISING if self.unit_id not in busy and self._due_ns == NEVER_NS:
                return self._order_voltage(now_ns)  # the order or its answer was lost
            case Stage.AUTHORISING:
                is_watched = self._goal_v is None and self._set_ns < NEVER_NS
                meters = {self.unit_id, self._witness_id if is_watched else self.unit_id}
                effects: list[Effect] = []
                for unit_id in sorted(meters - busy - {NOBODY}):
                    effects += self._ask(unit_id, _Op.HOLD, self.deal_id, now_ns)
                return effects
            case Stage.RAMPING_UP | Stage.UP if self.unit_id not in busy:
                return self._ask(self.unit_id, _Op.HOLD, self.deal_id, now_ns)
            case Stage.HANDING_OVER if not busy:
                return self._ask_step(now_ns)
            case Stage.ENDING:
                effects = []
                for unit_id in (self.unit_id, self.next_unit_id):
                    is_done = unit_id in self._off or unit_id in busy
                    if unit_id != NOBODY and not is_done:
                        # whatever deals of it there are: no current flows any more
                        effects += self._ask(unit_id, _Op.WAIT, "", now_ns)
                return effects
        return []

    def _await_bus(self, stage: Stage, now_ns: int, limit_ns: int) -> None:
        self._enter(stage, now_ns)
        self._expect_bus(now_ns, limit_ns)

    def _expect_bus(self, now_ns: int, limit_ns: int) -> None:
        """Give the bus a time in which it must reach the voltage.

        A unit that is asked after that may be silent for as long as its order lasts.
        """
        self._due_ns = now_ns + limit_ns
        self._deadline_ns = self._due_ns + self._timing.hold_ns
        self._arm()

    def _enter(self, stage: Stage, now_ns: int, limit_ns: int = NEVER_NS) -> None:
        self.stage = stage
        self._deadline_ns = now_ns + limit_ns if limit_ns < NEVER_NS else NEVER_NS
        if stage is Stage.OFF:
            self.unit_id, self.deal_id, self._next = NOBODY, "", (NOBODY, "")
            self.sample, self.is_watched = None, False
        self._plan_poll(now_ns)
        self._arm()

    def _plan_poll(self, now_ns: int) -> None:
        is_quiet = self.stage is Stage.OFF or (self.stage is Stage.UP and not self.is_watched)
        timing = self._timing
        match self.stage:
            case Stage.AUTHORISING | Stage.UP:
                period_ns = timing.fresh_poll_ns
            case Stage.RAMPING_UP:  # what follows is to begin as soon as the bus is there
                period_ns = min(timing.quick_poll_ns, _RAMP_POLLS * timing.fresh_poll_ns)
            case _:
                period_ns = timing.quick_poll_ns
        self._next_poll_ns = NEVER_NS if is_quiet else now_ns + period_ns

    def _arm(self) -> None:
        self.wake_ns = min(self._orders.wake_ns, self._deadline_ns, self._next_poll_ns)

    def _ask(
        self,
        unit_id: UnitId,
        operation: _Op,
        deal_id: str,
        now_ns: int,
        voltage_v: float | None = None,
    ) -> list[Effect]:
        call = self._orders.ask(unit_id, operation, deal_id, now_ns, grid_voltage_v=voltage_v)
        self._arm()
        return [call]


def _is_off(reply: ControlReply) -> bool:
    if reply.error is ControlError.UNKNOWN_DEAL:
        return True  # it has closed our deal already, which it does with the converter off
    reading = reply.reading
    is_dead = abs(reading.grid_current_a or 0.0) <= _NO_CURRENT_A
    return reading.mode is ConverterMode.WAIT and is_dead
