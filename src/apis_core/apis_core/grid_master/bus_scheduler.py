"""Whose turn it is on the bus, when several deals share it.

What makes a current start or the voltage move from one unit to another happens one at a time;
:meth:`BusScheduler.go_on` says after every event what comes next.
"""

from __future__ import annotations

from dataclasses import replace

from apis_core.config.policy import Policy
from apis_core.events import Effect, Log, PublishFault
from apis_core.grid_master.active_deals import ActiveDeals
from apis_core.grid_master.bus_state import Failure, FailureKind, Stage
from apis_core.grid_master.deal.bus_view import BusView
from apis_core.grid_master.deal.machine import DealMachine
from apis_core.grid_master.deal.transitions import Phase
from apis_core.grid_master.recovery import DealRecovery
from apis_core.grid_master.reference_selection import (
    better_reference,
    first_reference,
    next_reference,
)
from apis_core.grid_master.topology import why_not_activate
from apis_core.grid_master.voltage_reference import VoltageReference
from apis_core.model.messages import Fault
from apis_core.model.types import (
    NOBODY,
    Direction,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    UnitId,
)
from apis_core.model.units import SECOND_NS

__all__ = ["BusScheduler"]

_SETTLE_NS = 2 * SECOND_NS  # until a current that was changed has run to where it is to be
_PHASE_AT = {
    Stage.ACTIVATING: Phase.ACTIVATING,
    Stage.RAMPING_UP: Phase.RAMPING_UP,
    Stage.AUTHORISING: Phase.AUTHORISING,
}


class BusScheduler:
    """Gives each deal its turn on the bus, and ends what must end with it.

    Args:
        unit_id: The unit that is the grid master.
        policy: Of the cluster.
        deals: That it has in hand.
        reference: Of the bus voltage.
        recovery: Knows what an earlier grid master left on the bus.
        now_ns: Present time.

    Attributes:
        blocked_until_ns: No deal is taken in until then, after a fault of the whole cluster.
        turn: The deal whose currents start next; None = none.
    """

    def __init__(
        self,
        unit_id: UnitId,
        policy: Policy,
        deals: ActiveDeals,
        reference: VoltageReference,
        recovery: DealRecovery,
        now_ns: int,
    ) -> None:
        self.blocked_until_ns = now_ns
        self.turn: str | None = None
        self._unit_id = unit_id
        self._policy = policy
        self._deals = deals
        self._reference = reference
        self._recovery = recovery
        self._held_by: UnitId = NOBODY  # the reference, as the deals know it
        self._is_given_up = False  # the bus is to end as soon as no current is on it
        # what flowed when something changed last, and when that was
        self._flows: tuple[object, ...] = ()
        self._changed_ns = now_ns
        self._postponed: dict[str, str] = {}  # deals that end once a hand-over is over -> why

    def adopt(self, unit_id: UnitId, deal_id: str, now_ns: int) -> None:
        """A unit holds the bus already, for a deal of an earlier grid master."""
        self._reference.adopt(unit_id, deal_id, now_ns)
        self._held_by = unit_id

    def go_on(self, now_ns: int) -> list[Effect]:
        """What has become possible, or necessary, on the bus."""
        effects = self._give_in(self._reference.take_failure(), now_ns)
        self._tell_deals(now_ns)
        if self._reference.stage is not Stage.HANDING_OVER and self._postponed:
            postponed, self._postponed = self._postponed, {}
            for deal_id, reason in postponed.items():
                if deal_id in self._deals.machines:
                    effects += self.end(self._deals.machines[deal_id], reason, now_ns)
        sample = self._reference.sample
        if sample is not None and self._reference.stage is Stage.UP:
            for machine in self._deals.in_phase(Phase.COMPENSATING):
                heard = machine.hear_reference(sample, self._reference_target_a(), now_ns)
                effects += self._deals.after(machine, heard)
        effects += self._let_go(now_ns)
        effects += self._next_turn(now_ns)
        is_handed_over = self._reference.stage is Stage.HANDING_OVER
        for machine in list(self._deals.machines.values()):
            if machine.bus.is_handed_over is not is_handed_over:
                machine.see(replace(machine.bus, is_handed_over=is_handed_over))
            if machine.has_news:
                effects += self._deals.after(machine, [])
        return effects

    def end(
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
        return self._deals.after(machine, machine.abort(reason, now_ns, scram=scram))

    def _give_in(self, failure: Failure | None, now_ns: int) -> list[Effect]:
        """The voltage could not be held, or not be brought up: end what hangs on it."""
        if failure is None:
            return []
        reason = failure.reason
        effects: list[Effect] = []
        for machine in self._deals.on_bus():
            if machine.awaits_bus and failure.kind is FailureKind.UNPROVEN:
                text = f"resets deal {machine.deal.deal_id}: {reason}"
                effects.append(Log(text, is_warning=True))
                effects += self._deals.after(machine, machine.reset(reason, now_ns))
                continue
            if machine.awaits_bus and failure.kind is FailureKind.BUS:
                fault = self.bus_fault("bus_start_failed", reason, machine.deal.deal_id)
                effects.append(PublishFault(fault))
                self.blocked_until_ns = now_ns + self._policy.global_quarantine_ns
            effects += self._deals.after(machine, machine.abort(reason, now_ns))
        self._is_given_up = True
        return effects

    def _tell_deals(self, now_ns: int) -> None:
        """Tell every deal which unit holds the bus, and what follows from that."""
        reference = self._reference
        unit_id, on_bus = reference.unit_id, self._deals.on_bus()
        if unit_id != self._held_by:
            self._held_by = unit_id
            for machine in self._deals.machines.values():
                if unit_id != NOBODY and machine.needs_bus and not machine.awaits_bus:
                    machine.reference_moved(unit_id, now_ns)
        phase = _PHASE_AT.get(reference.stage)
        anchor = self._deals.machines.get(reference.deal_id)
        if phase is not None and anchor is not None and anchor.awaits_bus:
            anchor.await_bus(unit_id, phase, now_ns)
        flows = (unit_id, *[(m.deal.deal_id, m.phase) for m in on_bus if not m.awaits_bus])
        if flows != self._flows:
            self._flows, self._changed_ns = flows, now_ns
        # with what is about to flow: its current may be there before its answer is
        flowing = (Phase.STARTING, Phase.COMPENSATING, Phase.RUNNING)
        net_a = self._deals.brought_a(unit_id, flowing)
        shared = BusView(
            is_handed_over=reference.stage is Stage.HANDING_OVER,
            # whose current goes first relieves the reference, and does not burden it
            stops_first=Direction.DISCHARGE if net_a >= 0.0 else Direction.CHARGE,
        )
        alone = replace(shared, is_alone=True)
        for machine in self._deals.machines.values():
            machine.see(alone if on_bus == [machine] else shared)
        users = self._deals.users_of(unit_id)
        if users and reference.stage is Stage.UP:
            reference.order_in_name_of([machine.deal.deal_id for machine in users])

    def _reference_target_a(self) -> float:
        """What the deals together should bring the reference. [A, + = from the bus]"""
        unit_id = self._reference.unit_id
        return self._deals.brought_a(unit_id, (Phase.COMPENSATING, Phase.RUNNING))

    def _let_go(self, now_ns: int) -> list[Effect]:
        """Deals of the reference's unit that end, and the end of the bus itself."""
        reference = self._reference
        effects: list[Effect] = []
        on_bus = self._deals.on_bus()
        leaving = self._deals.in_phase(Phase.LEAVING)
        for machine in leaving:
            unit_id = machine.reference_id
            is_held = reference.unit_id == unit_id and not reference.has_let_go(unit_id)
            if reference.stage is Stage.OFF or not is_held:
                effects += self._deals.after(machine, machine.left(now_ns))
            elif self._deals.users_of(reference.unit_id) and not self._is_given_up:
                effects += self._deals.after(machine, machine.leave_reference(now_ns))
        if reference.stage in (Stage.OFF, Stage.ENDING):
            self._is_given_up = self._is_given_up and reference.stage is not Stage.OFF
            return effects
        if not on_bus:
            return [*effects, *reference.end(now_ns)]
        next_ = self._deals.machines.get(self.turn or "")
        is_about_to = next_ is not None and next_.deal.direction_of(reference.unit_id) is not None
        is_used = self._deals.users_of(reference.unit_id) or is_about_to
        if reference.stage is Stage.UP and not is_used:
            effects += self._pass_on(now_ns)
        return effects

    def _pass_on(self, now_ns: int) -> list[Effect]:
        """The reference has no deal of its own any more, but others go on."""
        running = [m.deal for m in self._deals.on_bus() if m.phase is Phase.RUNNING]
        if not running or self._is_given_up:
            return []  # the rest are ending, or about to run
        reference = self._reference
        chosen = next_reference(running, reference.unit_id, self._policy, reference.unwilling_ids)
        if chosen is None:
            failure = Failure(f"nobody takes the bus over from {reference.unit_id}")
            return self._give_in(failure, now_ns)
        note = Log(f"hands the bus over from {reference.unit_id} to {chosen[0]}")
        return [note, *reference.hand_over(*chosen, now_ns)]

    def _next_turn(self, now_ns: int) -> list[Effect]:
        """Start the currents of one deal, if nothing else is in transition."""
        reference = self._reference
        if self.turn is not None:
            machine = self._deals.machines.get(self.turn)
            if machine is None or not (machine.awaits_bus or machine.phase is Phase.QUEUED):
                self.turn = None
        in_transition = any(machine.is_in_transition for machine in self._deals.machines.values())
        if self.turn is None and not in_transition:
            reference.unwatch()
        if self._is_given_up or in_transition or reference.stage not in (Stage.OFF, Stage.UP):
            return []
        if self._recovery.has_foreign_current(self._deals.machines, now_ns):
            return []
        if reference.stage is Stage.OFF and self._recovery.winds_down(now_ns):
            return []
        if self.turn is None:
            machine = self._first_that_fits()
            if machine is None:
                return []
            self.turn = machine.deal.deal_id
        deal_id = self.turn
        machine = self._deals.machines[deal_id]
        if reference.stage is Stage.OFF:
            self.turn = None
            unit_id = first_reference(machine.deal, self._policy)
            machine.await_bus(unit_id, Phase.ACTIVATING, now_ns)
            self._held_by = unit_id
            witness_id = next(u for u in machine.deal.unit_ids if u != unit_id)
            return reference.start(unit_id, deal_id, now_ns, witness_id)
        ending = [other for other in self._deals.machines.values() if other.is_near_limit]
        near_limit = {unit_id for other in ending for unit_id in other.current_ids}
        if not near_limit.isdisjoint(machine.deal.unit_ids):
            return []  # a converter that ends in this instant could not begin anew
        better = better_reference(machine.deal, reference.unit_id, self._policy)
        if better != NOBODY and better not in reference.unwilling_ids:
            if any(other.is_between_runs for other in self._deals.users_of(reference.unit_id)):
                return []  # its share is 0 A until the rest flows: it would go to WAIT
            note = Log(f"hands the bus over from {reference.unit_id} to {better}")
            machine.await_bus(better, Phase.ACTIVATING, now_ns)
            return [note, *reference.hand_over(better, deal_id, now_ns, joins=True)]
        reference_offset_a = self._reference_offset_a()
        if reference_offset_a is None:
            return reference.watch(now_ns)
        started = self._deals.after(
            machine, machine.start(reference.unit_id, now_ns, reference_offset_a)
        )
        return [*started, *reference.watch(now_ns)]

    def _reference_offset_a(self) -> float | None:
        """By how much the reference's current is off, with nothing in transition. [A]

        None = it has not been read since the others' currents have settled, or they have not.
        """
        flowing = [machine for machine in self._deals.on_bus() if not machine.awaits_bus]
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
        flowing = [machine.deal for machine in self._deals.on_bus() if not machine.awaits_bus]
        in_turn = sorted(self._deals.machines.values(), key=lambda m: not m.awaits_bus)
        for machine in in_turn:
            is_next = machine.awaits_bus or machine.phase is Phase.QUEUED
            if is_next and not why_not_activate(flowing, machine.deal, self._policy):
                return machine
        return None

    def bus_fault(self, code: str, message: str, deal_id: str = "") -> Fault:
        """A fault of the bus, which concerns the whole cluster."""
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
