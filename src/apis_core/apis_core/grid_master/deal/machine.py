"""One deal, as the grid master runs it: what it calls, and where that goes.

A deal has one or two units that hold a current: the voltage reference of the bus, if it takes
part, only lets flow what the others leave. Which unit that is, and when the deal gets its turn on
the bus, is the grid master's business, not the deal's.

The machine never trusts silence: every phase has a wake-up, every order a hold time.
"""

from __future__ import annotations

from collections.abc import Mapping

from apis_core.config.policy import Policy
from apis_core.config.timing import DealTiming
from apis_core.converter.energy_limit import Sample
from apis_core.events import Effect
from apis_core.grid_master.deal.bus_view import BusView
from apis_core.grid_master.deal.compensation import Compensation
from apis_core.grid_master.deal.currents import Currents
from apis_core.grid_master.deal.metering import Metering
from apis_core.grid_master.deal.progress import DealProgress
from apis_core.grid_master.deal.shutdown import Shutdown
from apis_core.grid_master.deal.side import DealSide
from apis_core.grid_master.deal.silence import SilenceWatch
from apis_core.grid_master.deal.startup import Startup
from apis_core.grid_master.deal.transitions import (
    AWAITING_BUS,
    FLOWING,
    IN_TRANSITION,
    Phase,
)
from apis_core.grid_master.pending_orders import PendingOrder
from apis_core.model.messages import ControlReply, ConverterReading, Deal
from apis_core.model.origin import Origin
from apis_core.model.types import NOBODY, ControlError, ControlOperation, UnitId
from apis_core.model.units import NEVER_NS

__all__ = ["DealMachine"]

_Op = ControlOperation


class DealMachine:
    """The machine of the grid master that runs one deal, from its locks to their release.

    Args:
        deal: The agreed deal; term, grid master and creation time are filled in.
        policy: Of the cluster.
        timing: See :class:`DealTiming`.
        now_ns: Present time.

    Attributes:
        resets: How often it was put back into the queue.
    """

    def __init__(self, deal: Deal, policy: Policy, timing: DealTiming, now_ns: int) -> None:
        self.resets = 0
        self._told: tuple[Phase, Deal] | None = None
        progress = DealProgress(deal, policy, timing, now_ns)
        self._progress = progress
        self._currents = Currents(progress)
        self._shutdown = Shutdown(progress)
        self._metering = Metering(progress, self._currents, self._shutdown, now_ns)
        self._compensation = Compensation(progress, self._metering, self._shutdown, now_ns)
        self._silence = SilenceWatch(progress, self._shutdown)
        self._startup = Startup(
            progress, self._currents, self._metering, self._compensation, self._shutdown
        )

    # --- what others see -------------------------------------------------------------------------

    @property
    def deal(self) -> Deal:
        """The deal as the world sees it, but for its state."""
        return self._progress.deal

    @property
    def phase(self) -> Phase:
        """What is being done for it."""
        return self._progress.phase

    @property
    def refusal(self) -> ControlReply | None:
        """Why a unit gave no slot, once the phase is OVER without one."""
        return self._startup.refusal

    @property
    def phase_since_ns(self) -> int:
        """Since when it has been in its present phase."""
        return self._progress.entered_ns

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        return self._progress.wake_ns

    @property
    def runs(self) -> int:
        """How often its currents have been started, >= 0."""
        return self._currents.runs

    @property
    def readings(self) -> dict[UnitId, ConverterReading]:
        """The newest converter reading of each unit that has answered."""
        sides = self._progress.sides
        return {side.unit_id: side.sample.reading for side in sides if side.sample is not None}

    @property
    def has_news(self) -> bool:
        """Whether something has changed since :meth:`has_been_told`."""
        if self._told is None:
            return True
        phase, deal = self._told  # kept: a record that is gone may leave its address to the next
        return phase is not self._progress.phase or deal is not self._progress.deal

    def has_been_told(self) -> None:
        """The world knows it as it is now."""
        self._told = (self._progress.phase, self._progress.deal)

    @property
    def needs_bus(self) -> bool:
        """Whether a current of it flows or is about to, or the bus is being brought up for it."""
        return self._progress.phase in FLOWING or self._progress.phase in AWAITING_BUS

    @property
    def awaits_bus(self) -> bool:
        """Whether the bus is being brought up for it."""
        return self._progress.phase in AWAITING_BUS

    @property
    def is_in_transition(self) -> bool:
        """Whether its currents are just being started."""
        return self._progress.phase in IN_TRANSITION

    @property
    def is_between_runs(self) -> bool:
        """Whether the reference books nothing for it until its next run, which brings the rest."""
        return self._progress.phase is Phase.RUNNING and self._currents.is_frozen

    @property
    def is_near_limit(self) -> bool:
        """Whether its currents are about to end by themselves."""
        return self._progress.is_near_limit

    @property
    def reference_id(self) -> UnitId:
        """The unit that holds the voltage of the bus for this deal."""
        return self._progress.reference_id

    @property
    def current_ids(self) -> tuple[UnitId, ...]:
        """The units that hold a current, in the order in which they stop."""
        return tuple(side.unit_id for side in self._progress.currents)

    def asked(self, origin: Origin) -> PendingOrder | None:
        """An order of ours; None = it is answered or given up."""
        return self._progress.orders.find(origin)

    def share_a(self, unit_id: UnitId) -> float:
        """Signed current that the deal brings to one of its units.

        [A, + = from the bus into the unit]
        """
        return self._progress.side(unit_id).signed_share_a

    def record(self) -> Deal:
        """The deal as the world is to see it now."""
        return self._progress.record()

    def take_silent_id(self) -> UnitId:
        """Name a unit that has not answered for long, or several times, once; mostly nobody."""
        silent_id, self._progress.silent_id = self._progress.silent_id, NOBODY
        return silent_id

    def take_miscount(self) -> str:
        """Say once which counts of its two units cannot be true together; mostly nothing."""
        miscount, self._progress.miscount = self._progress.miscount, ""
        return miscount

    # --- what the grid master wants --------------------------------------------------------------

    @property
    def bus(self) -> BusView:
        """The bus as it was last seen."""
        return self._progress.bus

    def see(self, bus: BusView) -> None:
        """The bus is so from now on."""
        self._progress.bus = bus

    def acquire(self, now_ns: int) -> list[Effect]:
        """Begin: lock a slot on each unit, in the order of their ids."""
        return self._startup.acquire(now_ns)

    def await_bus(self, reference_id: UnitId, phase: Phase, now_ns: int) -> None:
        """The bus is being brought up for this deal; how far that is."""
        progress = self._progress
        if progress.phase is Phase.QUEUED:
            progress.began_ns = now_ns
        if progress.reference_id != reference_id:
            progress.name_reference(reference_id)
        if progress.phase is not phase:
            progress.enter(phase, now_ns)

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
        return self._startup.begin(reference_id, now_ns, reference_offset_a)

    def reference_moved(self, reference_id: UnitId, now_ns: int) -> None:
        """Another unit holds the bus now: answers from before say nothing any more."""
        self._progress.name_reference(reference_id)
        for side in self._progress.sides:
            side.ordered_ns = now_ns

    def reset(self, reason: str, now_ns: int) -> list[Effect]:
        """Back into the queue; once too often, and it is aborted."""
        progress = self._progress
        self.resets += 1
        if self.resets > progress.policy.deal_reset_limit:
            return self.abort(reason, now_ns)
        progress.name_reference(NOBODY)
        progress.enter(Phase.QUEUED, now_ns, progress.policy.queue_limit_ns)
        return []

    def adopt(self, now_ns: int, heard_ns: Mapping[UnitId, int]) -> list[Effect]:
        """An earlier grid master made it flow: ask both units to go on with it under us.

        Args:
            now_ns: Present time.
            heard_ns: The last sign of life of each unit; who has given none for long, and the
                earlier grid master, whose lease ran out, get a moment to answer us.
        """
        return self._startup.adopt(now_ns, heard_ns)

    def abort(self, reason: str, now_ns: int, *, scram: bool = False) -> list[Effect]:
        """End the deal early, in order: the currents first, then the voltage, then the locks.

        Once it is ending, the first reason stays.
        """
        return self._shutdown.abort(reason, now_ns, scram=scram)

    def leave_reference(self, now_ns: int) -> list[Effect]:
        """Its unit stays the reference for other deals: take only our share off it."""
        return self._shutdown.leave_reference(now_ns)

    def left(self, now_ns: int) -> list[Effect]:
        """Its unit is the reference no more."""
        return self._shutdown.left(now_ns)

    # --- events ----------------------------------------------------------------------------------

    def answered(self, origin: Origin, reply: ControlReply | None, now_ns: int) -> list[Effect]:
        """A unit answered an order of ours, or never will (None)."""
        progress = self._progress
        call = progress.orders.pop(origin)
        if call is None:
            return []  # late: already given up
        side = progress.side(call.unit_id)
        if reply is None:
            reply = ControlReply(error=ControlError.NO_ANSWER, message="does not answer")
        else:
            side.heard_ns = now_ns
            if reply.error is ControlError.NONE:
                side.obeyed_ns = now_ns
            sample = Sample(reply, call.asked_ns, now_ns)
            side.hear(sample)
            if sample.asked_ns <= progress.counts_until_ns:
                self._metering.take_counts(side, sample)
        effects = self._react(side, call.operation, reply, now_ns)
        progress.arm()
        return effects

    def hear_unit(self, unit_id: UnitId, now_ns: int) -> None:
        """One of its units gives a sign of life, by whatever it says."""
        self._progress.side(unit_id).heard_ns = now_ns
        self._progress.arm()

    def hear_reference(self, sample: Sample, target_a: float, now_ns: int) -> list[Effect]:
        """The bus's reference was read; while compensating its current matters.

        Args:
            sample: What it answered.
            target_a: What all deals together should bring it. [A, + = from the bus]
            now_ns: Present time.
        """
        return self._compensation.hear_reference(sample, target_a, now_ns)

    def look_now(self, now_ns: int) -> list[Effect]:
        """Something changed on one of the units.

        Poll at once instead of waiting for the next turn.
        """
        progress = self._progress
        if progress.phase not in FLOWING and progress.phase is not Phase.LEAVING:
            return []
        progress.next_poll_ns = now_ns
        progress.polled_ns = now_ns - progress.timing.poll_ns
        return self.tick(now_ns)

    def tick(self, now_ns: int) -> list[Effect]:
        """Do what is due: give up late answers, poll, end a phase that took too long."""
        progress = self._progress
        effects: list[Effect] = []
        for origin in progress.orders.overdue(now_ns):
            effects += self.answered(origin, None, now_ns)
        effects += self._silence.look(now_ns)
        if now_ns >= progress.deadline_ns:
            effects += self._too_late(now_ns)
        if now_ns >= progress.next_poll_ns:
            effects += self._poll(now_ns)
        progress.arm()
        return effects

    # --- where it goes ---------------------------------------------------------------------------

    def _react(
        self, side: DealSide, operation: _Op, reply: ControlReply, now_ns: int
    ) -> list[Effect]:
        progress, failed = self._progress, reply.error is not ControlError.NONE
        if operation is _Op.ACQUIRE and progress.phase is Phase.ACQUIRING:
            return self._startup.acquire_answered(side, reply, now_ns)
        if operation is _Op.RELEASE:
            return self._shutdown.release_answered(side, reply, now_ns)
        match progress.phase:
            case Phase.STOPPING:
                return self._shutdown.go_on_stopping(now_ns)
            case Phase.LEAVING:
                return self._shutdown.reference_answered(side, operation, reply, now_ns)
            case Phase.RELEASING | Phase.OVER:
                return []
        is_poll = operation in (_Op.HOLD, _Op.ADOPT)
        if failed and not (is_poll and self._silence.is_patient(side, reply, now_ns)):
            return self._silence.failed(side, reply, now_ns)
        match progress.phase:
            case Phase.STARTING if not failed:
                return self._startup.go_on(now_ns)
            case Phase.COMPENSATING | Phase.RUNNING:
                return self._metering.look(now_ns)
        return []

    def _poll(self, now_ns: int) -> list[Effect]:
        progress = self._progress
        match progress.phase:
            case Phase.RUNNING:
                return self._metering.poll(now_ns)
            case Phase.STOPPING | Phase.LEAVING:
                return self._shutdown.poll(now_ns)
        effects: list[Effect] = []
        for side in progress.due_for_poll(now_ns):
            effects += progress.ask(side, _Op.HOLD, now_ns)
        progress.plan_poll(now_ns)
        return effects

    def _too_late(self, now_ns: int) -> list[Effect]:
        progress = self._progress
        progress.deadline_ns = NEVER_NS
        match progress.phase:
            case Phase.QUEUED:
                return self._startup.waited_too_long(now_ns)
            case Phase.STARTING:
                return self._startup.too_late(now_ns)
            case Phase.COMPENSATING:
                return self._compensation.too_late(now_ns)
            case Phase.RUNNING:
                return self._metering.too_late(now_ns)
            case Phase.STOPPING:
                return self._shutdown.leave_bus(now_ns)  # their own dead men have stopped them
        return []
