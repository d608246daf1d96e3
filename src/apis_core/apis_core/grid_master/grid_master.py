"""The grid master: it takes in deals, gives each its turn on the bus, and ends what must end.

It exists only while the unit holds the lease of a term, and knows nothing that it could not learn
anew. A new grid master goes on with the deals that it finds running, and winds up what else an
older one left behind on the units (currents first, then the reference).

Several deals share the bus. What makes a current start or the voltage move from one unit to
another happens one at a time; :meth:`GridMaster._go_on` says after every event what comes next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random

from apis_core.cluster.fault_actions import Action, actions_for
from apis_core.config.policy import Policy
from apis_core.config.timing import Timing
from apis_core.events import Effect, Log, PublishFault
from apis_core.grid_master.bus_monitor import BusWatch
from apis_core.grid_master.deal.bus_view import BusView
from apis_core.grid_master.deal.machine import DealMachine
from apis_core.grid_master.deal.transitions import Phase
from apis_core.grid_master.deal_registry import DEALING_MODES, DealRegistry, why_not_take
from apis_core.grid_master.pending_orders import PendingOrders
from apis_core.grid_master.recovery import DealRecovery
from apis_core.grid_master.reference_selection import (
    better_reference,
    first_reference,
    next_reference,
)
from apis_core.grid_master.snapshot import DealSnapshot, GridMasterSnapshot
from apis_core.grid_master.topology import why_not_activate
from apis_core.grid_master.voltage_optimisation import DealingUnit, optimal_voltage_v
from apis_core.grid_master.voltage_reference import Stage, VoltageReference
from apis_core.model.messages import ControlReply, ConverterReading, Deal, Fault, UnitStatus
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.types import (
    NOBODY,
    DealState,
    Direction,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
    SubmitError,
    UnitId,
)
from apis_core.model.units import NEVER_NS, SECOND_NS

__all__ = ["GridMaster"]

_SETTLE_NS = 2 * SECOND_NS  # until a current that was changed has run to where it is to be
_LEAST_MOVE_V = 0.5  # a smaller gain is not worth moving the bus
_PHASE_AT = {
    Stage.ACTIVATING: Phase.ACTIVATING,
    Stage.RAMPING_UP: Phase.RAMPING_UP,
    Stage.AUTHORISING: Phase.AUTHORISING,
}


class GridMaster:
    """What a unit does while it holds the lease of one term.

    Args:
        unit_id: The unit that is the grid master.
        term: The term of its lease.
        policy: Of the cluster.
        timing: Times of the agent.
        random: For voltages drawn by lot.
        known_deals: Records of deals that an earlier grid master ran, as last heard.
        statuses: Of all units, as last heard.
        heard_ns: When that was.
        now_ns: Present time.
    """

    def __init__(
        self,
        *,
        unit_id: UnitId,
        term: int,
        policy: Policy,
        timing: Timing,
        random: Random,
        known_deals: Mapping[str, Deal],
        statuses: Mapping[UnitId, UnitStatus],
        heard_ns: Mapping[UnitId, int],
        now_ns: int,
    ) -> None:
        self.term = term
        self._unit_id = unit_id
        self._policy = policy
        self._timing = timing
        orders = PendingOrders(Asker.VOLTAGE_REFERENCE, unit_id, term, timing.deal)
        self._reference = VoltageReference(orders, policy, timing.deal, random)
        self._watch = BusWatch(policy, 2 * timing.deal.poll_ns + timing.deal.answer_ns)
        self._look_ns = NEVER_NS  # at the bus as a whole
        self._held_by: UnitId = NOBODY  # the reference, as the deals know it
        self._machines: dict[str, DealMachine] = {}
        self._is_leaving = False  # our own process is about to end
        self._is_given_up = False  # the bus is to end as soon as no current is on it
        self._turn: str | None = None  # the deal whose currents start next
        # what flowed when something changed last, and when that was
        self._flows: tuple[object, ...] = ()
        self._changed_ns = now_ns
        self._optimised_for: frozenset[str] = frozenset()  # deals that the voltage was chosen for
        self._postponed: dict[str, str] = {}  # deals that end once a hand-over is over -> why
        self._blocked_until_ns = now_ns  # after a fault of the whole cluster
        self._statuses = dict(statuses)
        self._heard_ns = dict(heard_ns)
        self._registry = DealRegistry(unit_id)
        self._recovery = DealRecovery(
            unit_id=unit_id,
            term=term,
            timing=timing,
            known_deals=known_deals,
            statuses=self._statuses,
            heard_ns=self._heard_ns,
            now_ns=now_ns,
        )

    # --- what others see -------------------------------------------------------------------------

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        return min(
            self._recovery.wake_ns,
            self._reference.wake_ns,
            self._look_ns,
            *(machine.wake_ns for machine in self._machines.values()),
        )

    @property
    def is_idle(self) -> bool:
        """Whether it runs no deal and the bus is off."""
        return not self._machines and self._reference.stage is Stage.OFF

    @property
    def can_hand_off(self) -> bool:
        """Whether the next grid master can go on from here, and without this unit."""
        if any(machine.phase is not Phase.RUNNING for machine in self._machines.values()):
            return False
        is_ours = any(m.deal.direction_of(self._unit_id) for m in self._machines.values())
        stage = Stage.UP if self._machines else Stage.OFF
        return (
            not is_ours
            and self._reference.stage is stage
            and self._reference.unit_id != self._unit_id
        )

    def snapshot(self) -> GridMasterSnapshot:
        """A picture of what it does."""
        return GridMasterSnapshot(
            term=self.term,
            reference_id=self._reference.unit_id,
            reference_stage=self._reference.stage,
            hand_over_step=self._reference.hand_over_step,
            deals={
                deal_id: DealSnapshot(
                    deal=machine.deal,
                    phase=machine.phase,
                    runs=machine.runs,
                    is_between_runs=machine.is_between_runs,
                    readings=machine.readings,
                )
                for deal_id, machine in self._machines.items()
            },
            next_deal_id=self._turn,
        )

    def begin(self, now_ns: int) -> list[Effect]:
        """Take office: go on with the deals that run, wind up what else is left on the units."""
        effects = self._adopt_running(now_ns)
        return [*effects, *self._release_orphans(self._statuses.values(), now_ns)]

    # --- events ----------------------------------------------------------------------------------

    def submit(
        self, requester: Requester, deal: Deal, mode: OperationMode, now_ns: int
    ) -> list[Effect]:
        """A requester hands in a deal.

        It is answered when both units have locked a slot, or one of them will not.
        """
        if deal.deal_id in self._machines or self._registry.has_published(deal.deal_id):
            return self._registry.answer(requester, SubmitError.NONE, "")  # sent twice
        error, message = self._why_not(deal, mode, now_ns)
        if error is not SubmitError.NONE:
            return self._registry.answer(requester, error, message)
        accepted = replace(
            deal,
            term=self.term,
            grid_master_id=self._unit_id,
            created_ns=now_ns,
            state=DealState.UNKNOWN,
            voltage_reference_id=NOBODY,
        )
        machine = DealMachine(accepted, self._policy, self._timing.deal, now_ns)
        self._machines[deal.deal_id] = machine
        self._registry.answer_later(deal.deal_id, requester)
        return [*self._after(machine, machine.acquire(now_ns)), *self._go_on(now_ns)]

    def answered(self, origin: Origin, reply: ControlReply | None, now_ns: int) -> list[Effect]:
        """A unit answered one of our orders."""
        if origin.asker is Asker.VOLTAGE_REFERENCE:
            effects = self._reference.answered(origin, reply, now_ns)
        else:
            machine = self._machines.get(origin.deal_id)
            if machine is None:
                return []
            unit_id = machine.asked_unit(origin)
            if reply is not None and unit_id != NOBODY:
                self._watch.hear(unit_id, reply.reading, now_ns)
            effects = self._after(machine, machine.answered(origin, reply, now_ns))
        return [*effects, *self._go_on(now_ns)]

    def hear_status(self, status: UnitStatus, now_ns: int) -> list[Effect]:
        """Take the status of a unit.

        Its converter may have stopped by itself, its operator may want it out, it may hold
        leftovers.
        """
        before = self._statuses.get(status.unit_id)
        self._statuses[status.unit_id] = status
        self._heard_ns[status.unit_id] = now_ns
        self._recovery.hear_status(status, now_ns)
        self._watch.hear(status.unit_id, status.converter, now_ns)
        effects: list[Effect] = []
        has_changed = before is not None and _works_otherwise(before, status)
        if has_changed and status.unit_id == self._reference.unit_id:
            effects += self._reference.look_now(now_ns)
        for machine in list(self._machines.values()):
            if machine.deal.direction_of(status.unit_id) is None:
                continue
            machine.hear_unit(status.unit_id, now_ns)
            reason = ""
            if status.effective_mode not in DEALING_MODES:
                reason = f"is in {status.effective_mode.name.replace('_', ' ').lower()}"
            elif machine.deal.deal_id in status.ending_deal_ids:
                reason = status.ending_reason or "wants the deal to end"
            if reason:
                reason = f"{status.unit_id}: {reason}"
                effects += self._end(machine, reason, now_ns)
            elif has_changed:
                effects += self._after(machine, machine.look_now(now_ns))
        # what one says may decide what becomes of a deal on another
        is_open = self._recovery.is_open(now_ns)
        statuses = self._statuses.values() if is_open else (status,)
        return [
            *effects,
            *self._adopt_running(now_ns),
            *self._release_orphans(statuses, now_ns),
            *self._close_orphans(now_ns),
            *self._go_on(now_ns),
        ]

    def hear_deal(self, deal: Deal) -> None:
        """A word of an older grid master about a deal is news, ours only if it ends the deal.

        After a change of the policy that was said in the same term.
        """
        is_older = deal.term < self.term and not self._registry.has_published(deal.deal_id)
        if is_older or deal.state.is_over:
            self._recovery.hear_deal(deal)

    def hear_fault(self, fault: Fault, now_ns: int) -> list[Effect]:
        """A fault ends the deals that it concerns.

        One of the whole cluster ends all and keeps the bus free for a while.
        """
        actions = actions_for(fault)
        is_global = Action.SCRAM in actions
        if not is_global and Action.ASK_TO_END not in actions:
            return []
        if is_global:
            until_ns = now_ns - fault.age_ns + self._policy.global_quarantine_ns
            self._blocked_until_ns = max(self._blocked_until_ns, until_ns)
        effects: list[Effect] = []
        for machine in list(self._machines.values()):
            if is_global or machine.deal.direction_of(fault.unit_id) is not None:
                reason = f"{fault.code}: {fault.message}"
                effects += self._end(machine, reason, now_ns, scram=is_global)
        return [*effects, *self._go_on(now_ns)]

    def step_down(self, reason: str, now_ns: int) -> list[Effect]:
        """Prepare to step down: others' deals that run go on under the next grid master.

        Those of this unit end, and what does not run yet.
        """
        self._is_leaving = True
        effects: list[Effect] = []
        for machine in list(self._machines.values()):
            is_own = machine.deal.direction_of(self._unit_id) is not None
            if is_own or machine.phase is not Phase.RUNNING:
                effects += self._end(machine, reason, now_ns)
        return [*effects, *self._go_on(now_ns)]

    def tick(self, now_ns: int) -> list[Effect]:
        """Do what is due: for the deals, for the bus, and for what was inherited."""
        effects: list[Effect] = []
        if self._recovery.is_due(now_ns):
            effects += self._adopt_running(now_ns)
            effects += self._release_orphans(list(self._statuses.values()), now_ns)
        effects += self._close_orphans(now_ns)
        if now_ns >= self._reference.wake_ns:
            effects += self._reference.tick(now_ns)
        if now_ns >= self._look_ns:
            effects += self._look_at_bus(now_ns)
        for machine in list(self._machines.values()):
            if now_ns >= machine.wake_ns:
                effects += self._after(machine, machine.tick(now_ns))
        return [*effects, *self._go_on(now_ns)]

    # --- the bus ---------------------------------------------------------------------------------

    def _go_on(self, now_ns: int) -> list[Effect]:
        """What has become possible, or necessary, on the bus."""
        effects = self._give_in(now_ns)
        self._tell_deals(now_ns)
        if self._reference.stage is not Stage.HANDING_OVER and self._postponed:
            postponed, self._postponed = self._postponed, {}
            for deal_id, reason in postponed.items():
                if deal_id in self._machines:
                    effects += self._end(self._machines[deal_id], reason, now_ns)
        sample = self._reference.sample
        if sample is not None and self._reference.stage is Stage.UP:
            for machine in [m for m in self._machines.values() if m.phase is Phase.COMPENSATING]:
                heard = machine.hear_reference(sample, self._reference_target_a(), now_ns)
                effects += self._after(machine, heard)
        effects += self._let_go(now_ns)
        effects += self._next_turn(now_ns)
        if self._look_ns == NEVER_NS and self._on_bus():
            self._look_ns = now_ns + self._policy.data_collection_period_ns
        is_handed_over = self._reference.stage is Stage.HANDING_OVER
        for machine in list(self._machines.values()):
            if machine.bus.is_handed_over is not is_handed_over:
                machine.see(replace(machine.bus, is_handed_over=is_handed_over))
            if machine.has_news:
                effects += self._after(machine, [])
        return effects

    def _end(
        self, machine: DealMachine, reason: str, now_ns: int, *, scram: bool = False
    ) -> list[Effect]:
        """End a deal early.

        One in whose name a unit is just taking the bus over ends when it has: its slot is what
        that unit holds the bus for, and others depend on the bus.
        """
        is_handed_over = self._reference.stage is Stage.HANDING_OVER
        if is_handed_over and machine.deal.deal_id == self._reference.next_deal_id and not scram:
            self._postponed.setdefault(machine.deal.deal_id, reason)
            return []
        return self._after(machine, machine.abort(reason, now_ns, scram=scram))

    def _on_bus(self) -> list[DealMachine]:
        return [machine for machine in self._machines.values() if machine.needs_bus]

    def _users_of(self, unit_id: UnitId) -> list[DealMachine]:
        """Deals on the bus in which a unit takes part."""
        return [m for m in self._on_bus() if m.deal.direction_of(unit_id) is not None]

    def _reference_target_a(self) -> float:
        """What the deals together should bring the reference. [A, + = from the bus]"""
        unit_id = self._reference.unit_id
        return self._brought_a(unit_id, (Phase.COMPENSATING, Phase.RUNNING))

    def _brought_a(self, unit_id: UnitId, phases: tuple[Phase, ...]) -> float:
        """What its deals in those phases bring a unit. [A, + = from the bus]"""
        users = self._users_of(unit_id)
        return sum(machine.share_a(unit_id) for machine in users if machine.phase in phases)

    def _look_at_bus(self, now_ns: int) -> list[Effect]:
        """At a rate of its own, whatever the deals are doing."""
        on_bus = self._on_bus()
        self._look_ns = NEVER_NS  # until _go_on sees that there is something to look at
        steady = [machine for machine in on_bus if machine.phase is Phase.RUNNING]
        is_steady = len(steady) == len(on_bus) and self._reference.stage is Stage.UP
        # in an order that does not change from process to process: currents are added up in it
        read = steady if is_steady else ()
        dealing_ids = tuple(dict.fromkeys(u for m in read for u in m.deal.unit_ids))
        assumed_a: dict[UnitId, float] = {}
        for machine in on_bus:
            for unit_id in machine.deal.unit_ids:
                share_a = abs(machine.share_a(unit_id))
                assumed_a[unit_id] = assumed_a.get(unit_id, 0.0) + share_a
        effects: list[Effect] = []
        for code, message in self._watch.look(dealing_ids, assumed_a, now_ns):
            fault = self._bus_fault(code, message)
            effects += [PublishFault(fault), *self.hear_fault(fault, now_ns)]
        if is_steady and not effects:
            effects += self._optimise_voltage(steady, now_ns)
        return effects

    def _optimise_voltage(self, steady: list[DealMachine], now_ns: int) -> list[Effect]:
        """Once after each change of the deals that flow, when all of them have been read since."""
        deal_ids = frozenset(machine.deal.deal_id for machine in steady)
        since_ns = max((machine.phase_since_ns for machine in steady), default=now_ns)
        is_read = now_ns - since_ns > 2 * self._timing.deal.poll_ns
        enabled = self._policy.voltage_optimization_enabled
        if not enabled or deal_ids == self._optimised_for or self._turn or not is_read:
            return []
        self._optimised_for = deal_ids
        units = {}
        for unit_id in (u for machine in steady for u in machine.deal.unit_ids):
            status = self._statuses.get(unit_id)
            reading = self._watch.reading(unit_id, now_ns) or ConverterReading()
            units[unit_id] = DealingUnit(
                efficient_ratio=status.efficient_grid_voltage_ratio if status else None,
                battery_voltage_v=reading.battery_voltage_v,
                grid_voltage_v=reading.grid_voltage_v,
                grid_power_w=reading.grid_power_w,
            )
        present_v = self._reference.voltage_v
        best_v = optimal_voltage_v(units, present_v, self._policy)
        if best_v is None or abs(best_v - present_v) < _LEAST_MOVE_V:
            return []
        note = Log(f"moves the bus from {present_v:.1f} to {best_v:.1f} V, where least is lost")
        return [note, *self._reference.set_voltage(best_v, now_ns)]

    def _give_in(self, now_ns: int) -> list[Effect]:
        """The voltage could not be held, or not be brought up: end what hangs on it."""
        reference = self._reference
        if not reference.failure:
            return []
        reason, reference.failure = reference.failure, ""
        effects: list[Effect] = []
        for machine in self._on_bus():
            if machine.awaits_bus and reference.is_unproven:
                text = f"resets deal {machine.deal.deal_id}: {reason}"
                effects.append(Log(text, is_warning=True))
                effects += self._after(machine, machine.reset(reason, now_ns))
                continue
            if machine.awaits_bus and reference.is_bus_fault:
                fault = self._bus_fault("bus_start_failed", reason, machine.deal.deal_id)
                effects.append(PublishFault(fault))
                self._blocked_until_ns = now_ns + self._policy.global_quarantine_ns
            effects += self._after(machine, machine.abort(reason, now_ns))
        self._is_given_up = True
        return effects

    def _tell_deals(self, now_ns: int) -> None:
        """Tell every deal which unit holds the bus, and what follows from that."""
        reference = self._reference
        unit_id, on_bus = reference.unit_id, self._on_bus()
        if unit_id != self._held_by:
            self._held_by = unit_id
            for machine in self._machines.values():
                if unit_id != NOBODY and machine.needs_bus and not machine.awaits_bus:
                    machine.reference_moved(unit_id, now_ns)
        phase = _PHASE_AT.get(reference.stage)
        anchor = self._machines.get(reference.deal_id)
        if phase is not None and anchor is not None and anchor.awaits_bus:
            anchor.await_bus(unit_id, phase, now_ns)
        flows = (unit_id, *[(m.deal.deal_id, m.phase) for m in on_bus if not m.awaits_bus])
        if flows != self._flows:
            self._flows, self._changed_ns = flows, now_ns
        # with what is about to flow: its current may be there before its answer is
        flowing = (Phase.STARTING, Phase.COMPENSATING, Phase.RUNNING)
        net_a = self._brought_a(unit_id, flowing)
        shared = BusView(
            is_handed_over=reference.stage is Stage.HANDING_OVER,
            # whose current goes first relieves the reference, and does not burden it
            stops_first=Direction.DISCHARGE if net_a >= 0.0 else Direction.CHARGE,
        )
        alone = replace(shared, is_alone=True)
        for machine in self._machines.values():
            machine.see(alone if on_bus == [machine] else shared)
        users = self._users_of(unit_id)
        if users and reference.stage is Stage.UP:
            ids = [machine.deal.deal_id for machine in users]
            if reference.deal_id not in ids:
                reference.deal_id = ids[0]

    def _let_go(self, now_ns: int) -> list[Effect]:
        """Deals of the reference's unit that end, and the end of the bus itself."""
        reference = self._reference
        effects: list[Effect] = []
        on_bus = self._on_bus()
        leaving = [m for m in self._machines.values() if m.phase is Phase.LEAVING]
        for machine in leaving:
            unit_id = machine.reference_id
            is_held = reference.unit_id == unit_id and not reference.has_let_go(unit_id)
            if reference.stage is Stage.OFF or not is_held:
                effects += self._after(machine, machine.left(now_ns))
            elif self._users_of(reference.unit_id) and not self._is_given_up:
                effects += self._after(machine, machine.leave_reference(now_ns))
        if reference.stage in (Stage.OFF, Stage.ENDING):
            self._is_given_up = self._is_given_up and reference.stage is not Stage.OFF
            return effects
        if not on_bus:
            return [*effects, *reference.end(now_ns)]
        next_ = self._machines.get(self._turn or "")
        is_about_to = next_ is not None and next_.deal.direction_of(reference.unit_id) is not None
        is_used = self._users_of(reference.unit_id) or is_about_to
        if reference.stage is Stage.UP and not is_used:
            effects += self._pass_on(now_ns)
        return effects

    def _pass_on(self, now_ns: int) -> list[Effect]:
        """The reference has no deal of its own any more, but others go on."""
        running = [m.deal for m in self._on_bus() if m.phase is Phase.RUNNING]
        if not running or self._is_given_up:
            return []  # the rest are ending, or about to run
        reference = self._reference
        chosen = next_reference(running, reference.unit_id, self._policy, reference.unwilling_ids)
        if chosen is None:
            reference.failure = f"nobody takes the bus over from {reference.unit_id}"
            return self._give_in(now_ns)
        note = Log(f"hands the bus over from {reference.unit_id} to {chosen[0]}")
        return [note, *reference.hand_over(*chosen, now_ns)]

    def _next_turn(self, now_ns: int) -> list[Effect]:
        """Start the currents of one deal, if nothing else is in transition."""
        reference = self._reference
        if self._turn is not None:
            machine = self._machines.get(self._turn)
            if machine is None or not (machine.awaits_bus or machine.phase is Phase.QUEUED):
                self._turn = None
        in_transition = any(machine.is_in_transition for machine in self._machines.values())
        if self._turn is None and not in_transition:
            reference.is_watched = False  # until a deal wants to know its current again
        if self._is_given_up or in_transition or reference.stage not in (Stage.OFF, Stage.UP):
            return []
        if self._recovery.has_foreign_current(self._machines, now_ns):
            return []
        if reference.stage is Stage.OFF and self._recovery.winds_down(now_ns):
            return []
        if self._turn is None:
            machine = self._first_that_fits()
            if machine is None:
                return []
            self._turn = machine.deal.deal_id
        deal_id = self._turn
        machine = self._machines[deal_id]
        if reference.stage is Stage.OFF:
            self._turn = None
            unit_id = first_reference(machine.deal, self._policy)
            machine.await_bus(unit_id, Phase.ACTIVATING, now_ns)
            self._held_by = unit_id
            witness_id = next(u for u in machine.deal.unit_ids if u != unit_id)
            return reference.start(unit_id, deal_id, now_ns, witness_id)
        near_limit = {u for m in self._machines.values() if m.is_near_limit for u in m.current_ids}
        if not near_limit.isdisjoint(machine.deal.unit_ids):
            return []  # a converter that ends in this instant could not begin anew
        better = better_reference(machine.deal, reference.unit_id, self._policy)
        if better != NOBODY and better not in reference.unwilling_ids:
            if any(other.is_between_runs for other in self._users_of(reference.unit_id)):
                return []  # its share is 0 A until the rest flows: it would go to WAIT
            note = Log(f"hands the bus over from {reference.unit_id} to {better}")
            machine.await_bus(better, Phase.ACTIVATING, now_ns)
            return [note, *reference.hand_over(better, deal_id, now_ns, joins=True)]
        reference_offset_a = self._reference_offset_a()
        if reference_offset_a is None:
            return reference.watch(now_ns)
        started = self._after(
            machine, machine.start(reference.unit_id, now_ns, reference_offset_a)
        )
        return [*started, *reference.watch(now_ns)]

    def _reference_offset_a(self) -> float | None:
        """By how much the reference's current is off, with nothing in transition. [A]

        None = it has not been read since the others' currents have settled, or they have not.
        """
        flowing = [machine for machine in self._on_bus() if not machine.awaits_bus]
        if not flowing:
            return 0.0
        if any(machine.phase is not Phase.RUNNING for machine in flowing):
            return None
        sample = self._reference.sample
        if sample is None or sample.asked_ns < self._changed_ns + _SETTLE_NS:
            return None
        current_a = sample.reading.grid_current_a
        return 0.0 if current_a is None else current_a - self._reference_target_a()

    def _first_that_fits(self) -> DealMachine | None:
        """The first deal in the queue whose current the lines can carry beside the others'."""
        flowing = [machine.deal for machine in self._on_bus() if not machine.awaits_bus]
        in_turn = sorted(self._machines.values(), key=lambda m: not m.awaits_bus)
        for machine in in_turn:
            is_next = machine.awaits_bus or machine.phase is Phase.QUEUED
            if is_next and not why_not_activate(flowing, machine.deal, self._policy):
                return machine
        return None

    def _adopt_running(self, now_ns: int) -> list[Effect]:
        """Go on with deals of an older grid master, if the bus is as their records say."""
        if self._reference.stage not in (Stage.OFF, Stage.UP):
            return []
        unit_id, running = self._recovery.take_running(now_ns, self._reference.unit_id)
        if not running:
            return []
        names = " and ".join(deal.deal_id for deal in running)
        effects: list[Effect] = [Log(f"goes on with {names}; {unit_id} holds the bus")]
        if self._reference.stage is Stage.OFF:
            own = next(deal for deal in running if deal.direction_of(unit_id) is not None)
            self._reference.adopt(unit_id, own.deal_id, now_ns)
            self._held_by = unit_id
        for deal in running:
            taken = replace(deal, term=self.term, grid_master_id=self._unit_id)
            machine = DealMachine(taken, self._policy, self._timing.deal, now_ns)
            self._machines[deal.deal_id] = machine
            heard_ns = self._heard_ns
            if not self._recovery.has_heard(deal.grid_master_id):
                heard_ns = {u: ns for u, ns in heard_ns.items() if u != deal.grid_master_id}
            effects += self._after(machine, machine.adopt(now_ns, heard_ns))
        return effects

    # --- inside ----------------------------------------------------------------------------------

    def _why_not(self, deal: Deal, mode: OperationMode, now_ns: int) -> tuple[SubmitError, str]:
        error, message = why_not_take(deal, mode, self._policy)
        if error is not SubmitError.NONE:
            return error, message
        if now_ns < self._blocked_until_ns:
            return SubmitError.NOT_DEALING, "a fault of the whole cluster is not over"
        reason = why_not_activate((), deal, self._policy)
        return (SubmitError.CURRENT_LIMIT, reason) if reason else (SubmitError.NONE, "")

    def _after(self, machine: DealMachine, effects: list[Effect]) -> list[Effect]:
        """What follows from a step of a deal: news for the world, the answer to its submitter."""
        if machine.phase is Phase.ACQUIRING or not (effects or machine.has_news):
            return effects
        machine.has_been_told()
        record = machine.record()
        deal_id = record.deal_id
        effects = [*effects, *self._registry.answer_now(deal_id, machine.refusal)]
        if self._registry.has_published(deal_id) or machine.refusal is None:
            effects = [*effects, *self._registry.publish(record)]
        silent_id = machine.take_silent_id()
        if silent_id != NOBODY:
            effects = [*effects, *self._book_silence(silent_id, deal_id)]
        if machine.phase is Phase.OVER:
            self._machines.pop(deal_id, None)
        return effects

    def _book_silence(self, unit_id: UnitId, deal_id: str) -> list[Effect]:
        """A call that is not answered is booked on the unit that does not answer.

        A process that has said that it is stopping owes no answer: the call came after its end.
        While we are leaving ourselves, it may be that the whole grid is stopped.
        """
        status = self._statuses.get(unit_id)
        if self._is_leaving or (status is not None and status.is_stopping):
            return []
        fault = Fault(
            unit_id=unit_id,
            reporter_id=self._unit_id,
            category=FaultCategory.FRAMEWORK,
            extent=FaultExtent.LOCAL,
            level=FaultLevel.ERROR,
            code="no_answer",
            message=f"{unit_id} does not answer its grid master",
            deal_id=deal_id,
        )
        return [PublishFault(fault)]

    def _bus_fault(self, code: str, message: str, deal_id: str = "") -> Fault:
        return Fault(
            unit_id=self._reference.unit_id or self._unit_id,
            reporter_id=self._unit_id,
            category=FaultCategory.HARDWARE,
            extent=FaultExtent.GLOBAL,
            level=FaultLevel.ERROR,
            code=code,
            message=message,
            deal_id=deal_id,
        )

    def _release_orphans(self, statuses: Iterable[UnitStatus], now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for status in statuses:
            reference_id = self._reference.unit_id
            effects += self._recovery.release_orphans(status, self._machines, reference_id, now_ns)
        return effects

    def _close_orphans(self, now_ns: int) -> list[Effect]:
        """Say that an older grid master's deals are over, once no unit has them."""
        closed = self._recovery.close(now_ns)
        return [effect for record in closed for effect in self._registry.publish(record)]


def _works_otherwise(before: UnitStatus, now: UnitStatus) -> bool:
    """Whether a unit's converter does something else than before."""
    return (
        before.converter.mode is not now.converter.mode
        or before.flowing_deal_ids != now.flowing_deal_ids
    )
