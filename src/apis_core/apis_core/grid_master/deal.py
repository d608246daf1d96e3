"""One deal, as the grid master runs it.

    ACQUIRING ─► QUEUED ─► (bus comes up) ─► STARTING ─► COMPENSATING ─► RUNNING
        │          │ ▲           │               └─────────────┴────────────┤ done, or abort
        │          │ └── reset ──┤                                          ▼
        │          │             └──────────────► LEAVING ◄────────────  STOPPING
        └──────────┴─ refused, or abort ─► RELEASING ◄─┘
                                               └─► over

A deal has one or two units that hold a current: the voltage reference of the bus, if it takes
part, only lets flow what the others leave. Which unit that is, and when the deal gets its turn on
the bus, is the grid master's business, not the deal's.

The machine never trusts silence: every state has a wake-up, every order a hold time, and what a
unit does not confirm is asked again or waited out until that unit's own dead man has stopped it.
Energy is what the units' converters counted; here it is only read. So that the agreed amount is
met without waiting for a poll, a unit that holds a current gets an energy limit for its own
counter, refined from the ratio of both meters while the deal runs; it stops itself at that
instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto

from apis_core.config.policy import Policy
from apis_core.config.timing import DealTiming
from apis_core.converter.energy_limit import (
    Sample,
    first_limit_wh,
    flowing_limit_wh,
    is_comparable,
    resting_limit_wh,
)
from apis_core.events import Effect
from apis_core.grid_master.pending_orders import PendingOrders
from apis_core.model.messages import ControlReply, ConverterReading, Deal
from apis_core.model.origin import Asker, Origin
from apis_core.model.types import (
    NOBODY,
    ControlError,
    ControlOperation,
    ConverterMode,
    DealState,
    Direction,
    StopCause,
    UnitId,
)
from apis_core.model.units import NEVER_NS, SECOND_NS, s_from_ns, wh_from_w

__all__ = ["DealMachine", "Phase"]

_COMPLETE_RATIO = 0.9995  # of the agreed energy counts as all of it
_EXACT_RATIO = 0.001  # a deal that moved more than this beyond the agreed energy says so
_TIME_MARGIN_RATIO = 2.0  # a deal may take this many times what its current promises ...
_TIME_MARGIN_S = 300.0  # ... and this much more
_LEAST_FLOW_RATIO = 0.1  # of what its current promises; with less of it a deal only blocks others
_NO_CURRENT_A = 0.125  # below this a converter that is ramping down counts as stopped
_METER_ERROR_A = 0.25  # compensation corrects no more than this
_STEADY_A = 0.01  # a reference whose current changes by less has settled
_RELEASE_TRIES = 3
_LEAD_NS = SECOND_NS // 2  # the current that relieves the reference ends so much earlier
_NEAR_POLLS = 3  # so many polls before its end the deal is polled quickly

_Op = ControlOperation


class Phase(Enum):
    """What the machine is doing; finer than the state that the world sees."""

    ACQUIRING = auto()
    QUEUED = auto()
    ACTIVATING = auto()
    RAMPING_UP = auto()
    AUTHORISING = auto()
    STARTING = auto()
    COMPENSATING = auto()
    RUNNING = auto()
    STOPPING = auto()
    LEAVING = auto()
    RELEASING = auto()
    OVER = auto()


_STATE_OF = {
    Phase.ACQUIRING: DealState.UNKNOWN,
    Phase.QUEUED: DealState.QUEUED,
    Phase.ACTIVATING: DealState.ACTIVATING,
    Phase.RAMPING_UP: DealState.RAMPING_UP,
    Phase.AUTHORISING: DealState.RAMPING_UP,
    Phase.STARTING: DealState.STARTING,
    Phase.COMPENSATING: DealState.STARTING,
    Phase.RUNNING: DealState.RUNNING,
    Phase.STOPPING: DealState.STOPPING,
    Phase.LEAVING: DealState.STOPPING,
    Phase.RELEASING: DealState.RELEASING,
}
_AWAITING_BUS = (Phase.ACTIVATING, Phase.RAMPING_UP, Phase.AUTHORISING)
_HOLDING = (Phase.STARTING, Phase.COMPENSATING, Phase.RUNNING)
_FLOWING = (Phase.STARTING, Phase.COMPENSATING, Phase.RUNNING, Phase.STOPPING)
_ENDING = (Phase.STOPPING, Phase.LEAVING, Phase.RELEASING, Phase.OVER)
_ASTRAY = (  # of a unit that does not follow us now, and may again
    ControlError.NO_ANSWER,
    ControlError.NOT_MY_GRID_MASTER,
    ControlError.OLD_TERM,
)


class DealMachine:
    """The machine of the grid master that runs one deal, from its locks to their release.

    Args:
        deal: The agreed deal; term, grid master and creation time are filled in.
        policy: Of the cluster.
        timing: See :class:`DealTiming`.
        now_ns: Present time.

    Attributes:
        deal: As the world sees it, but for its state.
        phase: See :class:`Phase`.
        refusal: Why a unit gave no slot, once the phase is OVER without one.
        resets: How often it was put back into the queue.
        silent_id: A unit that has not answered for long, or several times; nobody = there is none.
        is_alone: Whether no other deal is on the bus.
        is_handed_over: Whether the voltage of its bus is just passing from one unit to another.
        stops_first: The direction whose current goes first when it ends.
    """

    def __init__(self, deal: Deal, policy: Policy, timing: DealTiming, now_ns: int) -> None:
        self.deal = deal
        self.phase = Phase.ACQUIRING
        self.refusal: ControlReply | None = None
        self.resets = 0
        self.silent_id: UnitId = NOBODY
        self.is_alone = False
        self.is_handed_over = False
        self.stops_first = Direction.DISCHARGE
        self.wake_ns = NEVER_NS
        self._policy = policy
        self._timing = timing
        self._told: tuple[Phase, Deal] | None = None
        self._orders = PendingOrders(
            Asker.DEAL, deal.grid_master_id, deal.term, timing, deal.deal_id
        )
        self._outcome = DealState.COMPLETED
        self._heard_ns: dict[UnitId, int] = {}  # the last sign of life of each unit
        self._polled_ns = now_ns  # when all units were asked last
        self._next_poll_ns = NEVER_NS
        self._deadline_ns = NEVER_NS  # of the phase
        self._to_acquire = list(deal.unit_ids)
        self._asked: list[UnitId] = []  # units that may hold a slot for us
        self._released: set[UnitId] = set()
        self._release_tries = 0
        self._to_start: list[UnitId] = []
        self._started: list[UnitId] = []  # units that may carry a current for us
        self._to_stop: list[UnitId] = []  # that may still carry a current, in order
        self._stopping_ids: list[UnitId] = []  # of these, who has been told
        self._shares_a: dict[UnitId, float] = {}  # ordered, once compensated
        # when a share was seen to have ended by itself
        self._limit_reached_ns: dict[UnitId, int] = {}
        self._is_frozen = False  # the reference books nothing for us
        self._since_ns: dict[UnitId, int] = {}  # answers to older orders say nothing any more
        self._samples: dict[UnitId, Sample] = {}
        self._obeyed_ns: dict[UnitId, int] = {}  # when each unit last did as it was told
        self._earlier: dict[UnitId, Sample] = {}  # the ones before
        self._last_reference: Sample | None = None  # while compensating
        self._reference_offset_a = 0.0  # in the reference's current before we began
        self._fresh_ns = now_ns  # older readings of the reference say nothing
        self._trials = 0
        self._runs = 0
        self._late_because = "it took more than twice the time that its current promised"
        # the energy of the bus's own capacitance, which comes back at the end, is not the deal's
        self._counts_until_ns = NEVER_NS
        self._mark = (now_ns, 0.0)  # when was looked whether energy flows, and what had by then
        self._began_ns = now_ns
        self._entered_ns = now_ns  # the present phase

    # --- what others see -------------------------------------------------------------------------

    @property
    def runs(self) -> int:
        """How often its currents have been started, >= 0."""
        return self._runs

    @property
    def readings(self) -> dict[UnitId, ConverterReading]:
        """The newest converter reading of each unit that has answered."""
        return {unit_id: sample.reading for unit_id, sample in self._samples.items()}

    @property
    def has_news(self) -> bool:
        """Whether something has changed since :meth:`has_been_told`."""
        if self._told is None:
            return True
        phase, deal = self._told  # kept: a record that is gone may leave its address to the next
        return phase is not self.phase or deal is not self.deal

    def has_been_told(self) -> None:
        """The world knows it as it is now."""
        self._told = (self.phase, self.deal)

    @property
    def needs_bus(self) -> bool:
        """Whether a current of it flows or is about to, or the bus is being brought up for it."""
        return self.phase in _FLOWING or self.phase in _AWAITING_BUS

    @property
    def awaits_bus(self) -> bool:
        """Whether the bus is being brought up for it."""
        return self.phase in _AWAITING_BUS

    @property
    def is_in_transition(self) -> bool:
        """Whether its currents are just being started."""
        return self.phase in (Phase.STARTING, Phase.COMPENSATING)

    @property
    def is_between_runs(self) -> bool:
        """Whether the reference books nothing for it until its next run, which brings the rest."""
        return self.phase is Phase.RUNNING and self._is_frozen

    @property
    def is_near_limit(self) -> bool:
        """Whether its currents are about to end by themselves."""
        near_wh = wh_from_w(self._flow_w, _NEAR_POLLS * self._timing.poll_ns)
        left_wh = self.deal.energy_wh - self.deal.moved_wh
        return self.phase is Phase.RUNNING and left_wh < near_wh

    @property
    def phase_since_ns(self) -> int:
        """Since when it has been in its present phase."""
        return self._entered_ns

    @property
    def reference_id(self) -> UnitId:
        """The unit that holds the voltage of the bus for this deal."""
        return self.deal.voltage_reference_id

    @property
    def has_reference(self) -> bool:
        """Whether the bus is held by one of its own units."""
        return self.deal.direction_of(self.reference_id) is not None

    @property
    def current_ids(self) -> tuple[UnitId, ...]:
        """The units that hold a current, in the order in which they stop."""
        deal = self.deal
        sides = [deal.discharge_unit_id, deal.charge_unit_id]
        if self.stops_first is Direction.CHARGE:
            sides.reverse()
        return tuple(unit_id for unit_id in sides if unit_id != self.reference_id)

    @property
    def meter_id(self) -> UnitId:
        """The unit whose meter decides how much energy the deal has moved."""
        return self.deal.unit_id_of(self._policy.metering_side)

    def asked_unit(self, origin: Origin) -> UnitId:
        """Whom an order of ours went to; nobody if it is answered or given up."""
        call = self._orders.find(origin)
        return call.unit_id if call is not None else NOBODY

    def share_a(self, unit_id: UnitId) -> float:
        """Signed current that the deal brings to a unit. [A, + = from the bus into the unit]"""
        current_a = self._shares_a.get(unit_id, self.deal.current_a)
        return current_a if self.deal.direction_of(unit_id) is Direction.CHARGE else -current_a

    # --- what the grid master wants --------------------------------------------------------------

    def acquire(self, now_ns: int) -> list[Effect]:
        """Begin: lock a slot on each unit, in the order of their ids."""
        unit_id = self._to_acquire.pop(0)
        self._asked.append(unit_id)
        return self._ask(unit_id, _Op.ACQUIRE, now_ns, deal=self.deal)

    def await_bus(self, reference_id: UnitId, phase: Phase, now_ns: int) -> None:
        """The bus is being brought up for this deal; how far that is."""
        if self.phase is Phase.QUEUED:
            self._began_ns = now_ns
        if self.deal.voltage_reference_id != reference_id:
            self.deal = replace(self.deal, voltage_reference_id=reference_id)
        if self.phase is not phase:
            self._enter(phase, now_ns)

    def start(
        self, reference_id: UnitId, now_ns: int, reference_offset_a: float = 0.0
    ) -> list[Effect]:
        """The bus is up, held by that unit, and it is this deal's turn: make it flow.

        Args:
            reference_id: The unit.
            now_ns: Present time.
            reference_offset_a: By how much its current is off already. A deal makes up for its
                own meters only: what it did for others would be wrong as soon as one of them
                ends. [A]
        """
        self._reference_offset_a = reference_offset_a
        self.deal = replace(self.deal, voltage_reference_id=reference_id)
        first = tuple(reversed(self.current_ids))  # what starts first stops last
        self._to_start = [reference_id, *first] if self.has_reference else [*first]
        self._started = []
        self._shares_a.clear()
        self._trials = 0
        self._enter(Phase.STARTING, now_ns, self._timing.hold_ns)
        return self._start_next(now_ns)

    def reference_moved(self, reference_id: UnitId, now_ns: int) -> None:
        """Another unit holds the bus now."""
        self.deal = replace(self.deal, voltage_reference_id=reference_id)
        for unit_id in self.deal.unit_ids:
            self._since_ns[unit_id] = now_ns

    def reset(self, reason: str, now_ns: int) -> list[Effect]:
        """Back into the queue; once too often, and it is aborted."""
        self.resets += 1
        if self.resets > self._policy.deal_reset_limit:
            return self.abort(reason, now_ns)
        self.deal = replace(self.deal, voltage_reference_id=NOBODY)
        self._enter(Phase.QUEUED, now_ns)
        return []

    def adopt(self, now_ns: int, heard_ns: Mapping[UnitId, int]) -> list[Effect]:
        """An earlier grid master made it flow: ask both units to go on with it under us.

        Args:
            now_ns: Present time.
            heard_ns: The last sign of life of each unit; who has given none for long, and the
                earlier grid master, whose lease ran out, get a moment to answer us.
        """
        spared_ns = now_ns - self._timing.silence_ns + self._timing.quit_ns
        for unit_id in self.deal.unit_ids:
            self._heard_ns[unit_id] = max(heard_ns.get(unit_id, spared_ns), spared_ns)
        self._to_acquire.clear()
        self._asked = list(self.deal.unit_ids)
        self._started = [unit for unit in self.deal.unit_ids if unit != self.reference_id]
        self._runs = 1
        self._mark = (now_ns, self.deal.moved_wh)
        self._enter(Phase.RUNNING, now_ns, self._longest_ns())
        effects: list[Effect] = []
        for unit_id in self.deal.unit_ids:
            effects += self._ask(unit_id, _Op.ADOPT, now_ns, deal=self.deal)
        return effects

    def abort(self, reason: str, now_ns: int, *, scram: bool = False) -> list[Effect]:
        """End the deal early, in order: the currents first, then the voltage, then the locks.

        Once it is ending, the first reason stays.
        """
        if self.phase in _ENDING:
            return []
        self._outcome = DealState.SCRAMMED if scram else DealState.ABORTED
        self.deal = replace(self.deal, reason=reason)
        if self.phase in (Phase.ACQUIRING, Phase.QUEUED):
            return self._release(now_ns)
        return self._stop_currents(now_ns)

    def leave_reference(self, now_ns: int) -> list[Effect]:
        """Its unit stays the reference for other deals: take only our share off it."""
        if self.phase is not Phase.LEAVING or self.reference_id in self._orders.awaited_units():
            return []
        return self._ask(self.reference_id, _Op.WAIT, now_ns)

    def left(self, now_ns: int) -> list[Effect]:
        """Its unit is the reference no more."""
        return self._release(now_ns) if self.phase is Phase.LEAVING else []

    # --- events ----------------------------------------------------------------------------------

    def answered(self, origin: Origin, reply: ControlReply | None, now_ns: int) -> list[Effect]:
        """A unit answered an order of ours, or never will (None)."""
        call = self._orders.pop(origin)
        if call is None:
            return []  # late: already given up
        unit_id, operation = call.unit_id, call.operation
        if reply is None:
            reply = ControlReply(error=ControlError.NO_ANSWER, message="does not answer")
        else:
            self._heard_ns[unit_id] = now_ns
            if reply.error is ControlError.NONE:
                self._obeyed_ns[unit_id] = now_ns
            sample = Sample(reply, call.asked_ns, now_ns)
            newest = self._samples.get(unit_id)
            if newest is None or sample.asked_ns >= newest.asked_ns:
                if newest is not None:
                    self._earlier[unit_id] = newest
                self._samples[unit_id] = sample  # a latecomer would tell of an older state
            if sample.asked_ns <= self._counts_until_ns:
                self._take_counts(unit_id, sample)
        effects = self._react(unit_id, operation, reply, now_ns)
        self._arm()
        return effects

    def hear_unit(self, unit_id: UnitId, now_ns: int) -> None:
        """One of its units gives a sign of life, by whatever it says."""
        self._heard_ns[unit_id] = now_ns
        self._arm()

    def hear_reference(self, sample: Sample, target_a: float, now_ns: int) -> list[Effect]:
        """The bus's reference was read; while compensating its current matters.

        Args:
            sample: What it answered.
            target_a: What all deals together should bring it. [A, + = from the bus]
            now_ns: Present time.
        """
        if self.phase is not Phase.COMPENSATING or sample.asked_ns < self._fresh_ns:
            return []
        last = self._last_reference
        if last is not None and sample.asked_ns < last.heard_ns + self._timing.dwell_ns:
            return []  # too soon to tell whether it has settled
        self._last_reference = sample
        current_a = sample.reading.grid_current_a
        last_a = last.reading.grid_current_a if last is not None else None
        if current_a is None:
            return []
        is_steady = last_a is not None and abs(current_a - last_a) <= _STEADY_A
        error_a = current_a - target_a - self._reference_offset_a
        effects = self._compensate(error_a, is_steady, now_ns)
        self._arm()
        return effects

    def look_now(self, now_ns: int) -> list[Effect]:
        """Something changed on one of the units.

        Poll at once instead of waiting for the next turn.
        """
        if self.phase not in _FLOWING and self.phase is not Phase.LEAVING:
            return []
        self._next_poll_ns, self._polled_ns = now_ns, now_ns - self._timing.poll_ns
        return self.tick(now_ns)

    def tick(self, now_ns: int) -> list[Effect]:
        """Do what is due: give up late answers, poll, end a phase that took too long."""
        effects: list[Effect] = []
        for origin in self._orders.overdue(now_ns):
            effects += self.answered(origin, None, now_ns)
        effects += self._look_for_silence(now_ns)
        if now_ns >= self._deadline_ns:
            effects += self._too_late(now_ns)
        if now_ns >= self._next_poll_ns:
            effects += self._poll(now_ns)
        self._arm()
        return effects

    # --- reactions -------------------------------------------------------------------------------

    def _react(
        self, unit_id: UnitId, operation: _Op, reply: ControlReply, now_ns: int
    ) -> list[Effect]:
        failed = reply.error is not ControlError.NONE
        if operation is _Op.ACQUIRE and self.phase is Phase.ACQUIRING:
            if failed:
                self.refusal = replace(reply, message=f"{unit_id}: {reply.message}")
                self.deal = replace(self.deal, reason=self.refusal.message)
                self._outcome = DealState.ABORTED
                return self._release(now_ns)
            if self._to_acquire:
                return self.acquire(now_ns)
            self._enter(Phase.QUEUED, now_ns)
            return []
        if operation is _Op.RELEASE:
            if not failed or reply.error is ControlError.UNKNOWN_DEAL:
                self._released.add(unit_id)
            return self._release_rest(now_ns)
        if self.phase is Phase.STOPPING:
            return self._go_on_stopping(now_ns)
        if self.phase is Phase.LEAVING:
            has_left = operation is _Op.WAIT and (
                not failed or reply.error is ControlError.UNKNOWN_DEAL
            )
            return self._release(now_ns) if has_left and unit_id == self.reference_id else []
        if self.phase in (Phase.RELEASING, Phase.OVER):
            return []
        is_poll = operation in (_Op.HOLD, _Op.ADOPT)
        if failed and not (is_poll and self._is_patient(unit_id, reply, now_ns)):
            self._note_silence(unit_id, reply)
            return self.abort(f"{unit_id}: {reply.message}", now_ns)
        if self.phase is Phase.STARTING:
            return self._start_next(now_ns) if not failed else []
        if self.phase in (Phase.COMPENSATING, Phase.RUNNING):
            return self._count(now_ns)
        return []

    def _is_patient(self, unit_id: UnitId, reply: ControlReply, now_ns: int) -> bool:
        """Whether a failed poll may be repeated.

        Silence shorter than the hold time is no reason to end a deal. Nor is a unit that does not
        follow us just now: it has not heard of our lease yet, or it has heard of a newer one,
        which goes on with the deal.
        """
        if reply.error not in _ASTRAY:
            return False
        obeyed_ns = self._obeyed_ns.get(unit_id, self._began_ns)
        return now_ns - obeyed_ns < self._timing.hold_ns

    def _look_for_silence(self, now_ns: int) -> list[Effect]:
        """A unit whose process is gone, or that is cut off, does not keep its partner on."""
        if self.phase not in _HOLDING:
            return []
        for unit_id in self.deal.unit_ids:
            if self._is_silent(unit_id, now_ns):
                self.silent_id = unit_id
                return self.abort(f"{unit_id}: does not answer", now_ns)
        return []

    def _is_silent(self, unit_id: UnitId, now_ns: int) -> bool:
        return now_ns - self._last_heard_ns(unit_id) >= self._timing.silence_ns

    def _last_heard_ns(self, unit_id: UnitId) -> int:
        return self._heard_ns.get(unit_id, self._began_ns)

    def _note_silence(self, unit_id: UnitId, reply: ControlReply) -> None:
        if reply.error is ControlError.NO_ANSWER and self.phase not in _ENDING:
            self.silent_id = unit_id

    def _take_counts(self, unit_id: UnitId, sample: Sample) -> None:
        deal = self.deal
        sent_wh, received_wh, moved_wh = deal.sent_wh, deal.received_wh, deal.moved_wh
        grid_wh, metered_wh = sample.reply.grid_moved_wh, sample.metered_wh(deal.meter)
        if unit_id == deal.discharge_unit_id and grid_wh is not None:
            sent_wh = max(sent_wh or 0.0, grid_wh)
        if metered_wh is not None:
            if unit_id == deal.charge_unit_id:
                received_wh = max(received_wh or 0.0, metered_wh)
            if unit_id == self.meter_id:
                moved_wh = max(moved_wh, metered_wh)
        counts = (sent_wh, received_wh, moved_wh)
        if counts != (deal.sent_wh, deal.received_wh, deal.moved_wh):
            self.deal = replace(deal, sent_wh=sent_wh, received_wh=received_wh, moved_wh=moved_wh)

    def _reading(self, unit_id: UnitId) -> ConverterReading | None:
        """The newest reading that tells of what was ordered last."""
        sample = self._samples.get(unit_id)
        if sample is None or sample.asked_ns < self._since_ns.get(unit_id, 0):
            return None
        return sample.reading

    # --- starting --------------------------------------------------------------------------------

    def _start_next(self, now_ns: int) -> list[Effect]:
        """One unit after the other: the next begins once the last one's current flows."""
        if self._started:
            last_id = self._started[-1]
            if last_id in self._orders.awaited_units() or not self._flows(last_id):
                return []
        if not self._to_start:
            self._compensate_anew(now_ns)
            return []
        return self._order_current(self._to_start.pop(0), now_ns)

    def _order_current(self, unit_id: UnitId, now_ns: int) -> list[Effect]:
        direction = (
            Direction.CHARGE if unit_id == self.deal.charge_unit_id else Direction.DISCHARGE
        )
        self._started.append(unit_id)
        self._since_ns[unit_id] = now_ns
        self._limit_reached_ns.pop(unit_id, None)
        if unit_id == self.reference_id:
            self._is_frozen = False
        limit_wh = self._limit_wh(unit_id, is_at_rest=True)
        return self._ask(
            unit_id,
            direction.control_operation,
            now_ns,
            grid_current_a=abs(self.share_a(unit_id)),
            energy_limit_wh=limit_wh,
        )

    def _flows(self, unit_id: UnitId) -> bool:
        """Whether a unit carries what it was ordered, in the right direction."""
        reading = self._reading(unit_id)
        if reading is None:
            return False
        if unit_id == self.reference_id:
            return reading.mode is ConverterMode.VOLTAGE_REFERENCE
        direction = self.deal.direction_of(unit_id)
        if direction is None or reading.mode is not direction.converter_mode:
            return False
        setpoint_a, current_a = reading.grid_current_setpoint_a, reading.grid_current_a
        if setpoint_a is None or current_a is None:
            return True  # a converter that does not say
        goal_a = setpoint_a if direction is Direction.CHARGE else -setpoint_a
        return abs(current_a - goal_a) <= _NO_CURRENT_A

    def _compensate_anew(self, now_ns: int) -> None:
        self._last_reference = None
        if self._adjusted_id == NOBODY:
            self._run(now_ns)
        else:
            self._fresh_ns = now_ns
            self._enter(Phase.COMPENSATING, now_ns, self._timing.hold_ns)

    @property
    def _adjusted_id(self) -> UnitId:
        """The unit whose current is corrected for the meters' errors (the protocol, 7.5).

        Nobody, if there is one current only and it counts as exact.
        """
        others = [unit_id for unit_id in self.current_ids if unit_id != self.meter_id]
        return others[0] if others else NOBODY

    def _compensate(self, error_a: float, is_steady: bool, now_ns: int) -> list[Effect]:
        """Bring the reference's current to where it should be.

        So a meter's error does not run through the reference for as long as the deal lasts.
        """
        if not is_steady:
            return []  # what passes by is no proof
        if abs(error_a) <= self._policy.compensation_drift_allowance_a:
            self._run(now_ns)
            return []
        unit_id = self._adjusted_id
        if unit_id in self._orders.awaited_units() or not self._flows(unit_id):
            return []
        if abs(error_a) > _METER_ERROR_A:
            # no meter is so wrong: another deal's current has changed meanwhile
            self._run(now_ns)
            return []
        if self._trials >= self._policy.compensation_trials:
            return self.abort(
                f"the current of {self.reference_id} stays {error_a:+.3f} A off after "
                f"{self._trials} corrections of {unit_id}",
                now_ns,
            )
        self._trials += 1
        # too much runs into the reference: give less, or take more
        sign = -1.0 if self.deal.direction_of(unit_id) is Direction.DISCHARGE else 1.0
        self._shares_a[unit_id] = max(abs(self.share_a(unit_id)) + sign * error_a, 1e-3)
        self._since_ns[unit_id] = now_ns
        self._compensate_anew(now_ns)
        return self._ask(unit_id, _Op.CURRENT, now_ns, grid_current_a=self._shares_a[unit_id])

    @property
    def _flow_w(self) -> float:
        """What its current promises."""
        return self.deal.current_a * self._policy.grid_voltage_v

    def _longest_ns(self) -> int:
        expected_s = self.deal.energy_wh / self._flow_w * 3600.0
        return round((expected_s * _TIME_MARGIN_RATIO + _TIME_MARGIN_S) * 1e9)

    def _run(self, now_ns: int) -> None:
        self._enter(Phase.RUNNING, now_ns, self._longest_ns())
        self._runs = 1
        self._mark = (now_ns, self.deal.moved_wh)
        if not self.deal.started_ns:
            self.deal = replace(self.deal, started_ns=now_ns)

    # --- running ---------------------------------------------------------------------------------

    def _count(self, now_ns: int) -> list[Effect]:
        deal = self.deal
        if deal.moved_wh >= deal.energy_wh * _COMPLETE_RATIO:
            return self._stop_currents(now_ns)
        for unit_id in deal.unit_ids:
            reading = self._reading(unit_id)
            if reading is None:
                continue
            is_on = self._samples[unit_id].reply.deal_current_a > 0.0
            if is_on or reading.mode is ConverterMode.VOLTAGE_REFERENCE:
                continue
            if unit_id != self.reference_id and self._has_reached_limit(unit_id):
                effects = self._on_limit_reached(unit_id, now_ns)
                if effects or self.phase is not Phase.RUNNING:
                    return effects
                continue
            why = reading.stop_detail or "its converter went to WAIT by itself"
            return self.abort(f"{unit_id}: {why}", now_ns)
        giver_soc = self._soc_ratio(deal.discharge_unit_id)
        taker_soc = self._soc_ratio(deal.charge_unit_id)
        if giver_soc is not None and giver_soc < self._policy.discharge_soc_min_ratio:
            return self.abort(
                f"{deal.discharge_unit_id} is down to {giver_soc:.1%} of charge", now_ns
            )
        if taker_soc is not None and taker_soc > self._policy.charge_soc_max_ratio:
            return self.abort(f"{deal.charge_unit_id} is up to {taker_soc:.1%} of charge", now_ns)
        return self._watch_flow(now_ns) if self.phase is Phase.RUNNING else []

    def _watch_flow(self, now_ns: int) -> list[Effect]:
        """End a deal of which hardly anything is counted, whatever the converters say.

        Beside others the meter of a reference shows what they do, too, and that may be the fault.
        """
        since_ns, before_wh = self._mark
        duration_ns = now_ns - since_ns
        is_disturbed = self.is_handed_over or not self.is_alone
        if duration_ns < 2 * self._timing.hold_ns and not is_disturbed:
            return []
        moved_wh = self.deal.moved_wh - before_wh
        self._mark = (now_ns, self.deal.moved_wh)
        promised_wh = wh_from_w(self._flow_w, duration_ns)
        if is_disturbed or moved_wh >= _LEAST_FLOW_RATIO * promised_wh:
            return []
        words = f"{self.meter_id} has counted {moved_wh:.2f} Wh in {s_from_ns(duration_ns):.0f} s"
        return self.abort(f"hardly anything flows: {words}", now_ns)

    def _soc_ratio(self, unit_id: UnitId) -> float | None:
        sample = self._samples.get(unit_id)
        return sample.reply.soc_ratio if sample else None

    def _has_reached_limit(self, unit_id: UnitId) -> bool:
        """Whether a unit's share ended by itself at its energy limit."""
        return self._samples[unit_id].reading.stop_cause is StopCause.ENERGY_REACHED

    def _on_limit_reached(self, unit_id: UnitId, now_ns: int) -> list[Effect]:
        """A share has reached its limit, but what counts is not complete."""
        if self.is_handed_over:
            return []  # who the reference is, and who holds a current, will be known after it
        if unit_id != self.meter_id and len(self.current_ids) > 1:
            # the metering unit has a limit of its own and is about to reach it
            self._deadline_ns = min(self._deadline_ns, now_ns + self._timing.hold_ns)
            self._late_because = f"{self.meter_id} went on when {unit_id} had given what it was to"
            return []
        limit_reached_ns = self._limit_reached_ns.setdefault(unit_id, now_ns)
        if not self.is_alone and self.has_reference and not self._is_frozen:
            # the others' energy still runs through the reference: it is none of ours
            self._is_frozen = True
            return self._ask(self.reference_id, _Op.CURRENT, now_ns, grid_current_a=0.0)
        meter = self._samples.get(self.meter_id)
        is_freezing = self.reference_id in self._orders.awaited_units(_Op.CURRENT)
        if meter is None or meter.heard_ns < limit_reached_ns or is_freezing:
            return []
        flows_a = abs(meter.reading.grid_current_a or 0.0)
        if meter.asked_ns < limit_reached_ns and flows_a > _NO_CURRENT_A:
            return []
        # the rest, if the limit was short, is reckoned from meters that stand still
        self._runs += 1
        rejoins = self._order_current(self.reference_id, now_ns) if self._is_frozen else []
        return [*rejoins, *self._order_current(unit_id, now_ns)]

    def _limit_wh(self, unit_id: UnitId, *, is_at_rest: bool) -> float | None:
        """Where a unit's share is to end by itself; None = where it was told before."""
        own, meter = self._samples.get(unit_id), self._samples.get(self.meter_id)
        if unit_id == self.reference_id:
            return None
        is_limited = unit_id in (self.meter_id, self.current_ids[0])
        if (own is None or meter is None) and not is_at_rest:
            return None  # an earlier grid master started it and knew better where it ends
        if own is None or meter is None:
            return first_limit_wh(self.deal, own.grid_wh if own else 0.0)
        if not is_limited or not is_comparable(self.deal, own, meter):
            return first_limit_wh(self.deal, own.grid_wh)
        if is_at_rest:
            return resting_limit_wh(self.deal, own, meter)
        if own is meter or (self._runs > 1 and self.has_reference):
            return None  # it knows best itself, or the limit is exact already
        before = self._earlier.get(unit_id), self._earlier.get(self.meter_id)
        earlier = (before[0], before[1]) if before[0] and before[1] else None
        limit_wh = flowing_limit_wh(self.deal, own, meter, earlier)
        if not self.has_reference:
            # the other one's current runs through a reference that may be full: it must not be
            # the first to go
            limit_wh -= wh_from_w(own.flow_w, _LEAD_NS)
        return max(limit_wh, own.grid_wh)

    # --- stopping --------------------------------------------------------------------------------

    def _stop_currents(self, now_ns: int) -> list[Effect]:
        self._to_stop = [unit_id for unit_id in self.current_ids if unit_id in self._started]
        self._stopping_ids.clear()
        if not self._to_stop:
            return self._leave_bus(now_ns)
        self._enter(Phase.STOPPING, now_ns, 2 * self._timing.hold_ns)
        if self._outcome is not DealState.SCRAMMED and self.silent_id == NOBODY:
            return self._tell_to_stop(self._to_stop[:1], now_ns)
        return [*self._tell_to_stop(self._to_stop, now_ns), *self._poll(now_ns)]

    def _tell_to_stop(self, unit_ids: Iterable[UnitId], now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for unit_id in unit_ids:
            if unit_id not in self._stopping_ids:
                self._stopping_ids.append(unit_id)
                effects += self._ask(unit_id, _Op.WAIT, now_ns)
        return effects

    def _go_on_stopping(self, now_ns: int) -> list[Effect]:
        """One after the other if they answer, but nobody stays on because another is silent."""
        is_late = now_ns >= self._entered_ns + self._timing.quit_ns
        for unit_id in list(self._stopping_ids):
            is_gone = is_late and self._is_silent(unit_id, now_ns)
            if self._has_left(unit_id) or is_gone or self._bus_carries_nothing():
                self._stopping_ids.remove(unit_id)
                self._to_stop.remove(unit_id)
        if not self._to_stop:
            return self._leave_bus(now_ns)
        meant = self._to_stop if is_late else self._to_stop[:1]
        return self._tell_to_stop(meant, now_ns)

    def _has_left(self, unit_id: UnitId) -> bool:
        """Whether a unit carries nothing for us any more."""
        sample = self._samples.get(unit_id)
        if sample is None or sample.asked_ns < self._entered_ns:
            return False
        if sample.reply.deal_current_a > 0.0:
            return False
        reading = sample.reading
        current_a = abs(reading.grid_current_a or 0.0)
        if reading.mode is ConverterMode.WAIT:
            return current_a <= _NO_CURRENT_A
        # what it still carries belongs to others, and it is at what they want
        return current_a <= (reading.grid_current_setpoint_a or 0.0) + _NO_CURRENT_A

    def _bus_carries_nothing(self) -> bool:
        """Whether a silent current side has stopped for all that the reference can see."""
        sample = self._samples.get(self.reference_id)
        if not self.is_alone or sample is None or sample.asked_ns < self._entered_ns:
            return False
        current_a = sample.reading.grid_current_a
        return current_a is not None and abs(current_a) <= _NO_CURRENT_A

    def _leave_bus(self, now_ns: int) -> list[Effect]:
        if self.deal.started_ns and not self.deal.stopped_ns:
            self.deal = replace(self.deal, stopped_ns=now_ns)
        self._counts_until_ns = now_ns
        if not self.has_reference:
            return self._release(now_ns)
        self._enter(Phase.LEAVING, now_ns)
        # what it carries from now on is none of ours
        return self._ask(self.reference_id, _Op.CURRENT, now_ns, grid_current_a=0.0)

    def _release(self, now_ns: int) -> list[Effect]:
        self._counts_until_ns = min(self._counts_until_ns, now_ns)
        self._enter(Phase.RELEASING, now_ns)
        return self._release_rest(now_ns)

    def _release_rest(self, now_ns: int) -> list[Effect]:
        # who is silent is told once, and not waited for
        silent = {unit for unit in self._asked if self._is_silent(unit, now_ns)}
        if self.phase is not Phase.RELEASING or self._orders.awaited_units(_Op.RELEASE) - silent:
            return []
        done = self._released | (silent if self._release_tries else set())
        left = [unit for unit in reversed(self._asked) if unit not in done]
        if not left or self._release_tries >= _RELEASE_TRIES:
            # a unit that does not answer gives its slot back by itself when nothing renews it
            self.silent_id = self.silent_id or next(iter(left), NOBODY)
            self.phase, self._next_poll_ns, self._deadline_ns = Phase.OVER, NEVER_NS, NEVER_NS
            moved_all = self.deal.moved_wh >= self.deal.energy_wh * _COMPLETE_RATIO
            if self._outcome is DealState.COMPLETED and not moved_all:
                self._outcome = DealState.ABORTED
                self.deal = replace(self.deal, reason="less than agreed was counted")
            more_wh = self.deal.moved_wh - self.deal.energy_wh
            if more_wh > _EXACT_RATIO * self.deal.energy_wh and not self.deal.reason:
                words = f"{more_wh:.3f} Wh more than agreed flowed before {self.meter_id} stopped"
                self.deal = replace(self.deal, reason=words)
            self.deal = replace(self.deal, ended_ns=now_ns)
            return []
        self._release_tries += 1
        effects: list[Effect] = []
        for unit_id in left:
            effects += self._ask(unit_id, _Op.RELEASE, now_ns, deal=self.record())
        return effects

    def record(self) -> Deal:
        """The deal as the world is to see it now."""
        state = self._outcome if self.phase is Phase.OVER else _STATE_OF[self.phase]
        if self.deal.state is not state:
            self.deal = replace(self.deal, state=state)
        return self.deal

    # --- time ------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, now_ns: int, limit_ns: int = NEVER_NS) -> None:
        self.phase = phase
        self._entered_ns = self._polled_ns = now_ns
        self._deadline_ns = now_ns + limit_ns if limit_ns < NEVER_NS else NEVER_NS
        self._plan_poll(now_ns)
        self._arm()

    def _plan_poll(self, now_ns: int) -> None:
        if self.phase in (Phase.ACQUIRING, Phase.RELEASING, Phase.OVER):
            self._next_poll_ns = NEVER_NS
            return
        timing = self._timing
        if self.phase in (Phase.STARTING, Phase.COMPENSATING, Phase.STOPPING):
            self._next_poll_ns = now_ns + timing.fresh_poll_ns  # what comes next waits for it
        elif self.is_near_limit:  # near the end the limits want to be as fresh as can be
            self._next_poll_ns = now_ns + timing.quick_poll_ns
        else:
            self._next_poll_ns = max(self._polled_ns + timing.poll_ns, now_ns)
            if self._orders.awaited_units():
                self._next_poll_ns = min(self._next_poll_ns, now_ns + timing.lost_ns)

    def _due_for_poll(self, now_ns: int) -> Sequence[UnitId]:
        """The units to poll now: all at their turn, else those whose answer is missing."""
        is_turn = now_ns >= self._polled_ns + self._timing.poll_ns
        if is_turn or self.phase is not Phase.RUNNING or self.is_near_limit:
            self._polled_ns = now_ns
            return self.deal.unit_ids
        busy = self._orders.awaited_units()
        return tuple(unit_id for unit_id in self.deal.unit_ids if unit_id in busy)

    def _poll(self, now_ns: int) -> list[Effect]:
        due = self._due_for_poll(now_ns)
        # an answer that is lost must not leave the limits as they are for long
        busy = self._orders.awaited_units(since_ns=now_ns - self._timing.lost_ns + 1)
        effects: list[Effect] = []
        if self.phase is Phase.STOPPING:
            effects += self._go_on_stopping(now_ns)
            due = due if self.phase is Phase.STOPPING else ()
        elif self.phase is Phase.LEAVING:  # nobody renews what is to end, unless others need it
            due = () if self.is_alone else (self.reference_id,)
        # those that hold a current first: when one has stopped by itself, the meter is read after
        for unit_id in sorted(due, key=lambda unit: unit == self.reference_id):
            if unit_id in busy:
                continue
            if self.phase is Phase.STOPPING and unit_id != self.reference_id:
                if unit_id in self._stopping_ids:
                    effects += self._ask(unit_id, _Op.WAIT, now_ns)
            elif self.phase is Phase.RUNNING:
                limit_wh = self._limit_wh(unit_id, is_at_rest=False)
                effects += self._ask(unit_id, _Op.HOLD, now_ns, energy_limit_wh=limit_wh)
            else:
                effects += self._ask(unit_id, _Op.HOLD, now_ns)
        self._plan_poll(now_ns)
        return effects

    def _too_late(self, now_ns: int) -> list[Effect]:
        self._deadline_ns = NEVER_NS
        match self.phase:
            case Phase.STARTING:
                return self.abort(f"{self._started[-1]} did not start", now_ns)
            case Phase.COMPENSATING:
                return self.abort(f"the current of {self.reference_id} does not settle", now_ns)
            case Phase.RUNNING:
                return self.abort(self._late_because, now_ns)
            case Phase.STOPPING:
                return self._leave_bus(now_ns)  # their own dead men have stopped them by now
        return []

    def _arm(self) -> None:
        wakes_ns = [self._orders.wake_ns, self._next_poll_ns, self._deadline_ns]
        if self.phase in _HOLDING:
            heard_ns = min(self._last_heard_ns(unit_id) for unit_id in self.deal.unit_ids)
            wakes_ns.append(heard_ns + self._timing.silence_ns)
        self.wake_ns = min(wakes_ns)

    def _ask(
        self,
        unit_id: UnitId,
        operation: _Op,
        now_ns: int,
        *,
        deal: Deal | None = None,
        grid_current_a: float | None = None,
        energy_limit_wh: float | None = None,
    ) -> list[Effect]:
        call = self._orders.ask(
            unit_id,
            operation,
            self.deal.deal_id,
            now_ns,
            deal=deal,
            grid_current_a=grid_current_a,
            energy_limit_wh=energy_limit_wh,
        )
        self._arm()
        return [call]
