"""The grid master: it takes in deals, gives each its turn on the bus, and ends what must end.

It exists only while the unit holds the lease of a term, and knows nothing that it could not learn
anew. A new grid master goes on with the deals that it finds running, and winds up what else an
older one left behind on the units (currents first, then the reference).

What comes next on the bus, when several deals share it, is the business of
:class:`~apis_core.grid_master.bus_scheduler.BusScheduler`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random

from apis_core.cluster.fault_actions import Action, actions_for
from apis_core.config.policy import Policy
from apis_core.config.timing import Timing
from apis_core.events import Effect, Log, PublishFault
from apis_core.grid_master.active_deals import ActiveDeals
from apis_core.grid_master.bus_scheduler import BusScheduler
from apis_core.grid_master.bus_state import Stage
from apis_core.grid_master.bus_supervision import BusSupervision
from apis_core.grid_master.deal.machine import DealMachine
from apis_core.grid_master.deal.transitions import Phase
from apis_core.grid_master.deal_registry import DEALING_MODES, why_not_take
from apis_core.grid_master.pending_orders import PendingOrders
from apis_core.grid_master.recovery import DealRecovery
from apis_core.grid_master.snapshot import DealSnapshot, GridMasterSnapshot
from apis_core.grid_master.topology import why_not_activate
from apis_core.grid_master.voltage_reference import VoltageReference
from apis_core.model.messages import ControlReply, Deal, Fault, UnitStatus
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.types import (
    NOBODY,
    DealState,
    OperationMode,
    SubmitError,
    UnitId,
)

__all__ = ["GridMaster"]


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
        self._statuses = dict(statuses)
        self._heard_ns = dict(heard_ns)
        orders = PendingOrders(Asker.VOLTAGE_REFERENCE, unit_id, term, timing.deal)
        self._reference = VoltageReference(orders, policy, timing.deal, random)
        self._deals = ActiveDeals(unit_id, self._statuses)
        self._recovery = DealRecovery(
            unit_id=unit_id,
            term=term,
            timing=timing,
            known_deals=known_deals,
            statuses=self._statuses,
            heard_ns=self._heard_ns,
            now_ns=now_ns,
        )
        self._scheduler = BusScheduler(
            unit_id, policy, self._deals, self._reference, self._recovery, now_ns
        )
        self._supervision = BusSupervision(
            policy, timing.deal, self._deals, self._reference, self._statuses
        )

    # --- what others see -------------------------------------------------------------------------

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        return min(
            self._recovery.wake_ns,
            self._reference.wake_ns,
            self._supervision.wake_ns,
            *(machine.wake_ns for machine in self._deals.machines.values()),
        )

    @property
    def is_idle(self) -> bool:
        """Whether it runs no deal and the bus is off."""
        return not self._deals.machines and self._reference.stage is Stage.OFF

    @property
    def can_hand_off(self) -> bool:
        """Whether the next grid master can go on from here, and without this unit."""
        if any(machine.phase is not Phase.RUNNING for machine in self._deals.machines.values()):
            return False
        is_ours = any(m.deal.direction_of(self._unit_id) for m in self._deals.machines.values())
        stage = Stage.UP if self._deals.machines else Stage.OFF
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
                for deal_id, machine in self._deals.machines.items()
            },
            next_deal_id=self._scheduler.turn,
        )

    def begin(self, now_ns: int) -> list[Effect]:
        """Begin: go on with the deals that run, wind up what else is left on the units."""
        effects = self._adopt_running(now_ns)
        return [*effects, *self._release_orphans(self._statuses.values(), now_ns)]

    # --- events ----------------------------------------------------------------------------------

    def submit(
        self, requester: Requester, deal: Deal, mode: OperationMode, now_ns: int
    ) -> list[Effect]:
        """A requester hands in a deal.

        It is answered when both units have locked a slot, or one of them will not.
        """
        registry = self._deals.registry
        if deal.deal_id in self._deals.machines or registry.has_published(deal.deal_id):
            return registry.answer(requester, SubmitError.NONE, "")  # sent twice
        error, message = self._why_not(deal, mode, now_ns)
        if error is not SubmitError.NONE:
            return registry.answer(requester, error, message)
        accepted = replace(
            deal,
            term=self.term,
            grid_master_id=self._unit_id,
            created_ns=now_ns,
            state=DealState.UNKNOWN,
            voltage_reference_id=NOBODY,
        )
        machine = DealMachine(accepted, self._policy, self._timing.deal, now_ns)
        self._deals.machines[deal.deal_id] = machine
        registry.answer_later(deal.deal_id, requester)
        return [*self._deals.after(machine, machine.acquire(now_ns)), *self._go_on(now_ns)]

    def answered(self, origin: Origin, reply: ControlReply | None, now_ns: int) -> list[Effect]:
        """A unit answered one of our orders."""
        if origin.asker is Asker.VOLTAGE_REFERENCE:
            effects = self._reference.answered(origin, reply, now_ns)
        else:
            machine = self._deals.machines.get(origin.deal_id)
            if machine is None:
                return []
            call = machine.asked(origin)
            if reply is not None and call is not None:
                self._supervision.hear(call.unit_id, reply.reading, now_ns, call.asked_ns)
            effects = self._deals.after(machine, machine.answered(origin, reply, now_ns))
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
        self._supervision.hear(status.unit_id, status.converter, now_ns)
        effects: list[Effect] = []
        has_changed = before is not None and _works_otherwise(before, status)
        if has_changed and status.unit_id == self._reference.unit_id:
            effects += self._reference.look_now(now_ns)
        effects += self._see_droop(now_ns)
        for machine in list(self._deals.machines.values()):
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
                effects += self._scheduler.end(machine, reason, now_ns)
            elif has_changed:
                effects += self._deals.after(machine, machine.look_now(now_ns))
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
        is_older = deal.term < self.term and not self._deals.registry.has_published(deal.deal_id)
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
            self._scheduler.blocked_until_ns = max(self._scheduler.blocked_until_ns, until_ns)
            self._recovery.scram_reason = f"{fault.code}: {fault.message}"
        effects: list[Effect] = []
        for machine in list(self._deals.machines.values()):
            if is_global or machine.deal.direction_of(fault.unit_id) is not None:
                reason = f"{fault.code}: {fault.message}"
                effects += self._scheduler.end(machine, reason, now_ns, scram=is_global)
        return [*effects, *self._go_on(now_ns)]

    def step_down(self, reason: str, now_ns: int) -> list[Effect]:
        """Prepare to step down: others' deals that run go on under the next grid master.

        Those of this unit end, and what does not run yet.
        """
        self._deals.is_leaving = True
        effects: list[Effect] = []
        for machine in list(self._deals.machines.values()):
            is_own = machine.deal.direction_of(self._unit_id) is not None
            if is_own or machine.phase is not Phase.RUNNING:
                effects += self._scheduler.end(machine, reason, now_ns)
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
        if now_ns >= self._supervision.wake_ns:
            effects += self._look_at_bus(now_ns)
        for machine in list(self._deals.machines.values()):
            if now_ns >= machine.wake_ns:
                effects += self._deals.after(machine, machine.tick(now_ns))
        return [*effects, *self._go_on(now_ns)]

    # --- the bus ---------------------------------------------------------------------------------

    def _go_on(self, now_ns: int) -> list[Effect]:
        """What has become possible, or necessary, on the bus."""
        effects = self._scheduler.go_on(now_ns)
        self._supervision.plan(now_ns)
        return effects

    def _look_at_bus(self, now_ns: int) -> list[Effect]:
        """At a rate of its own, whatever the deals are doing."""
        effects: list[Effect] = []
        for code, message in self._supervision.look(now_ns):
            fault = self._scheduler.bus_fault(code, message)
            effects += [PublishFault(fault), *self.hear_fault(fault, now_ns)]
        if effects:
            return effects
        if self._supervision.wants_readings:
            for machine in self._deals.on_bus():
                effects += self._deals.after(machine, machine.look_now(now_ns))
            return effects
        is_turn_taken = self._scheduler.turn is not None
        return self._supervision.optimise_voltage(now_ns, is_turn_taken=is_turn_taken)

    def _see_droop(self, now_ns: int) -> list[Effect]:
        """A bus that was adopted in the middle of a hand-over is held with droop."""
        unit_id = self._reference.unit_id
        status = self._statuses.get(unit_id)
        if status is None:
            return []
        is_alone = self._recovery.holds_alone(unit_id)
        return self._reference.hear_holder(status.converter, now_ns, is_alone=is_alone)

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
            self._scheduler.adopt(unit_id, own.deal_id, now_ns)
        for deal in running:
            taken = replace(deal, term=self.term, grid_master_id=self._unit_id)
            machine = DealMachine(taken, self._policy, self._timing.deal, now_ns)
            self._deals.machines[deal.deal_id] = machine
            heard_ns = self._heard_ns
            if not self._recovery.has_heard(deal.grid_master_id):
                heard_ns = {u: ns for u, ns in heard_ns.items() if u != deal.grid_master_id}
            effects += self._deals.after(machine, machine.adopt(now_ns, heard_ns))
        return effects

    # --- inside ----------------------------------------------------------------------------------

    def _why_not(self, deal: Deal, mode: OperationMode, now_ns: int) -> tuple[SubmitError, str]:
        error, message = why_not_take(deal, mode, self._policy)
        if error is not SubmitError.NONE:
            return error, message
        if now_ns < self._scheduler.blocked_until_ns:
            return SubmitError.NOT_DEALING, "a fault of the whole cluster is not over"
        reason = why_not_activate((), deal, self._policy)
        return (SubmitError.CURRENT_LIMIT, reason) if reason else (SubmitError.NONE, "")

    def _release_orphans(self, statuses: Iterable[UnitStatus], now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for status in statuses:
            reference_id = self._reference.unit_id
            effects += self._recovery.release_orphans(
                status, self._deals.machines, reference_id, now_ns
            )
        return effects

    def _close_orphans(self, now_ns: int) -> list[Effect]:
        """Say that an older grid master's deals are over, once no unit has them."""
        closed = self._recovery.close(now_ns)
        return [effect for record in closed for effect in self._deals.registry.publish(record)]


def _works_otherwise(before: UnitStatus, now: UnitStatus) -> bool:
    """Whether a unit's converter does something else than before."""
    return (
        before.converter.mode is not now.converter.mode
        or before.flowing_deal_ids != now.flowing_deal_ids
    )
