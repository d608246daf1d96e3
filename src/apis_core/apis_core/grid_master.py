"""The grid master's office: takes in deals, gives each its turn on the bus, ends what must end.

It exists only while the unit holds the lease of a term, and knows nothing that it could not learn
anew: a new grid master starts with empty hands, and what an older one left behind on the units it
winds up (currents first, then the reference). One deal is on the bus at a time; the others wait
with their slots held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from apis_core.deal import DealMachine, Phase
from apis_core.events import Answer, Broadcast, Call, Effect, Note, Raise
from apis_core.messages import (
    ControlReply,
    ControlRequest,
    Deal,
    Fault,
    SubmitReply,
    UnitStatus,
)
from apis_core.policy import Policy
from apis_core.timing import Timing
from apis_core.types import (
    ControlError,
    ControlOperation,
    ConverterMode,
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
    SubmitError,
    UnitId,
)
from apis_core.units import NEVER_NS

__all__ = ["GridMaster"]

_DEALING_MODES = (OperationMode.RUN, OperationMode.SOFT_STOP)


class GridMaster:
    """One term in office.

    Args:
        unit_id: The unit in office.
        term: Its term.
        policy: Of the cluster.
        timing: Times of the agent.
        known_deals: Records of deals that an earlier grid master ran, as last heard.
        statuses: Of all units, as last heard.
        now_ns: Present time.
    """

    def __init__(
        self,
        *,
        unit_id: UnitId,
        term: int,
        policy: Policy,
        timing: Timing,
        known_deals: Mapping[str, Deal],
        statuses: Mapping[UnitId, UnitStatus],
        now_ns: int,
    ) -> None:
        self.term = term
        self._unit_id = unit_id
        self._policy = policy
        self._timing = timing
        self._machines: dict[str, DealMachine] = {}
        self._published: dict[str, Deal] = {}
        self._submitters: dict[str, str] = {}  # deal id -> call to be answered
        self._inherited = {
            key: deal for key, deal in known_deals.items() if not deal.state.is_over
        }
        self._wind_up: dict[
            tuple[UnitId, str], int
        ] = {}  # leftovers on units: not asked again before
        self._calls_out = 0
        # by then every hold of an older term has run out, heard or not
        self._inherit_until_ns = now_ns + timing.deal.hold_ns + timing.silent_ns
        self._blocked_until_ns = now_ns  # after a fault of the whole cluster
        self._statuses = dict(statuses)
        self._heard: set[UnitId] = set()  # in this term

    # --- what others see -------------------------------------------------------------------------

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        inherited_ns = self._inherit_until_ns if self._inherited else NEVER_NS
        return min(
            inherited_ns, *(machine.wake_ns for machine in self._machines.values()), NEVER_NS
        )

    @property
    def is_idle(self) -> bool:
        """Whether no deal is under way."""
        return not self._machines

    def begin(self, now_ns: int) -> list[Effect]:
        """Take office: wind up what an older grid master left on the units."""
        effects: list[Effect] = []
        for status in list(self._statuses.values()):
            effects += self._wind_up_leftovers(status, now_ns)
        return effects

    # --- events ----------------------------------------------------------------------------------

    def submit(self, call_id: str, deal: Deal, mode: OperationMode, now_ns: int) -> list[Effect]:
        """A requester hands in a deal.

        It is answered when both units have locked a slot, or one of them will not.
        """
        if deal.deal_id in self._machines or deal.deal_id in self._published:
            return [Answer(call_id, SubmitReply(grid_master_id=self._unit_id))]  # sent twice
        error, message = self._why_not(deal, mode, now_ns)
        if error is not SubmitError.NONE:
            reply = SubmitReply(error=error, message=message, grid_master_id=self._unit_id)
            return [Answer(call_id, reply)]
        accepted = replace(
            deal,
            term=self.term,
            grid_master_id=self._unit_id,
            created_ns=now_ns,
            state=DealState.UNKNOWN,
        )
        machine = DealMachine(accepted, self._policy, self._timing.deal, now_ns)
        self._machines[deal.deal_id] = machine
        self._submitters[deal.deal_id] = call_id
        return self._after(machine, machine.acquire(now_ns), now_ns)

    def answered(self, call_id: str, reply: ControlReply | None, now_ns: int) -> list[Effect]:
        """A unit answered one of our orders."""
        deal_id = call_id.split("/", 1)[0]
        machine = self._machines.get(deal_id)
        if machine is None:
            return []
        return self._after(machine, machine.answered(call_id, reply, now_ns), now_ns)

    def hear_status(self, status: UnitStatus, now_ns: int) -> list[Effect]:
        """A unit speaks.

        Its converter may have stopped by itself, its operator may want it out, it may hold
        leftovers.
        """
        before = self._statuses.get(status.unit_id)
        self._statuses[status.unit_id] = status
        self._heard.add(status.unit_id)
        effects: list[Effect] = []
        for machine in list(self._machines.values()):
            if machine.deal.type_of(status.unit_id) is None:
                continue
            if status.effective_mode not in _DEALING_MODES:
                name = status.effective_mode.name.replace("_", " ").lower()
                reason = f"{status.unit_id} is in {name}"
                effects += self._after(machine, machine.abort(reason, now_ns), now_ns)
            elif before is not None and before.converter.mode is not status.converter.mode:
                effects += self._after(machine, machine.look_now(now_ns), now_ns)
        return [*effects, *self._wind_up_leftovers(status, now_ns), *self._close_inherited(now_ns)]

    def hear_fault(self, fault: Fault, now_ns: int) -> list[Effect]:
        """A fault ends the deals that it concerns.

        One of the whole cluster ends all and keeps the bus free for a while.
        """
        if fault.level is FaultLevel.WARN:
            return []
        is_global = fault.extent is not FaultExtent.LOCAL
        if is_global:
            self._blocked_until_ns = now_ns + self._policy.global_quarantine_ns
        effects: list[Effect] = []
        for machine in list(self._machines.values()):
            if is_global or machine.deal.type_of(fault.unit_id) is not None:
                reason = f"{fault.code}: {fault.message}"
                aborted = machine.abort(reason, now_ns, scram=is_global)
                effects += self._after(machine, aborted, now_ns)
        return effects

    def stop_all(self, reason: str, now_ns: int) -> list[Effect]:
        """End every deal, orderly."""
        effects: list[Effect] = []
        for machine in list(self._machines.values()):
            effects += self._after(machine, machine.abort(reason, now_ns), now_ns)
        return effects

    def tick(self, now_ns: int) -> list[Effect]:
        """Do what is due."""
        effects = self._close_inherited(now_ns)
        for machine in list(self._machines.values()):
            if now_ns >= machine.wake_ns:
                effects += self._after(machine, machine.tick(now_ns), now_ns)
        return effects

    # --- inside ----------------------------------------------------------------------------------

    def _why_not(self, deal: Deal, mode: OperationMode, now_ns: int) -> tuple[SubmitError, str]:
        members = self._policy.member_unit_ids
        roles = {deal.discharge_unit_id, deal.charge_unit_id}
        for unit_id in roles:
            if unit_id not in members:
                return SubmitError.INVALID, f"{unit_id or 'an unnamed unit'} is not a member"
        if len(roles) != 2 or roles != {deal.request_unit_id, deal.accept_unit_id}:
            return (
                SubmitError.INVALID,
                "requester and accepter must be the giving and the taking unit",
            )
        if not deal.deal_id:
            return SubmitError.INVALID, "deal_id is missing"
        if not (deal.energy_wh > 0.0 and deal.current_a > 0.0):
            return SubmitError.INVALID, "energy_wh and current_a must be above 0"
        if mode not in _DEALING_MODES:
            return (
                SubmitError.NOT_DEALING,
                f"the cluster is in {mode.name.replace('_', ' ').lower()}",
            )
        if now_ns < self._blocked_until_ns:
            return SubmitError.NOT_DEALING, "a fault of the whole cluster is not over"
        limit_a = self._policy.total_deal_current_max_a
        if limit_a is not None and deal.current_a > limit_a:
            return SubmitError.CURRENT_LIMIT, f"the bus carries at most {limit_a:g} A"
        return SubmitError.NONE, ""

    def _after(self, machine: DealMachine, effects: list[Effect], now_ns: int) -> list[Effect]:
        """What follows from a step of a deal.

        News for the world, the answer to its submitter, the next one's turn.
        """
        record = machine.record()
        deal_id = record.deal_id
        if machine.phase is not Phase.ACQUIRING:
            effects = [*effects, *self._answer_submitter(machine)]
        was_locked = deal_id in self._published or machine.refusal is None
        if machine.phase is not Phase.ACQUIRING and was_locked:
            effects = [*effects, *self._publish(record)]
        if machine.phase is Phase.OVER and deal_id in self._machines:
            del self._machines[deal_id]
            if (
                "did not reach its voltage" in record.reason
                or "did not become free" in record.reason
            ):
                effects = [*effects, self._bus_fault(record)]
        if not any(other.is_on_the_bus for other in self._machines.values()):
            queued = (m for m in self._machines.values() if m.phase is Phase.QUEUED)
            following = next(queued, None)
            if following is not None:
                effects = [*effects, *self._after(following, following.begin(now_ns), now_ns)]
        return effects

    def _publish(self, record: Deal) -> list[Effect]:
        before = self._published.get(record.deal_id)
        if before is not None and replace(record, sequence=before.sequence) == before:
            return []
        news = replace(record, sequence=before.sequence + 1 if before else 1)
        self._published[record.deal_id] = news
        effects: list[Effect] = [Broadcast(news)]
        if before is None or before.state is not news.state:
            words = f"deal {news.deal_id} {news.discharge_unit_id} -> {news.charge_unit_id}"
            tail = f": {news.reason}" if news.reason else ""
            effects.append(
                Note(
                    f"{words} {news.state.name.lower()}, "
                    f"{news.moved_wh:.2f}/{news.energy_wh:g} Wh{tail}"
                )
            )
        return effects

    def _answer_submitter(self, machine: DealMachine) -> list[Effect]:
        call_id = self._submitters.pop(machine.deal.deal_id, None)
        if call_id is None:
            return []
        refusal = machine.refusal
        if refusal is None:
            error, message = SubmitError.NONE, ""
        elif refusal.error is ControlError.NO_ANSWER:
            error, message = SubmitError.TIMEOUT, refusal.message
        else:
            error, message = SubmitError.UNIT_REFUSED, refusal.message
        return [
            Answer(
                call_id, SubmitReply(error=error, message=message, grid_master_id=self._unit_id)
            )
        ]

    def _bus_fault(self, record: Deal) -> Effect:
        return Raise(
            Fault(
                unit_id=record.voltage_reference_id,
                reporter_id=self._unit_id,
                category=FaultCategory.HARDWARE,
                extent=FaultExtent.GLOBAL,
                level=FaultLevel.ERROR,
                code="bus_start_failed",
                message=record.reason,
                deal_id=record.deal_id,
            )
        )

    def _wind_up_leftovers(self, status: UnitStatus, now_ns: int) -> list[Effect]:
        """Release slots for deals that this grid master does not run.

        A reference only once no current is left on the bus.
        """
        effects: list[Effect] = []
        for deal_id in status.deal_ids:
            key = (status.unit_id, deal_id)
            if deal_id in self._machines or now_ns < self._wind_up.get(key, now_ns):
                continue
            if (
                status.converter.mode is ConverterMode.VOLTAGE_REFERENCE
                and self._carries_current()
            ):
                continue
            self._wind_up[key] = now_ns + self._timing.deal.answer_ns
            self._calls_out += 1
            request = ControlRequest(
                operation=ControlOperation.RELEASE,
                grid_master_id=self._unit_id,
                term=self.term,
                deal_id=deal_id,
            )
            effects.append(Call(f"/wind-up/{self._calls_out}", status.unit_id, request))
        return effects

    def _close_inherited(self, now_ns: int) -> list[Effect]:
        """Say that an older grid master's deals are over, once no unit has them."""
        effects: list[Effect] = []
        is_time = now_ns >= self._inherit_until_ns
        if is_time:
            self._inherit_until_ns = now_ns + self._timing.deal.hold_ns
        for deal_id, left in list(self._inherited.items()):
            # what they said before this term may be out of date
            statuses = [self._statuses.get(u) for u in left.unit_ids if u in self._heard]
            is_held = any(status and deal_id in status.deal_ids for status in statuses)
            if is_held or (len(statuses) < len(left.unit_ids) and not is_time):
                continue
            del self._inherited[deal_id]
            ended = replace(
                left,
                term=self.term,
                sequence=0,
                grid_master_id=self._unit_id,
                state=DealState.ABORTED,
                reason=f"its grid master {left.grid_master_id} was lost",
                ended_ns=now_ns,
            )
            effects += self._publish(ended)
        return effects

    def _carries_current(self) -> bool:
        currents = (ConverterMode.CHARGE, ConverterMode.DISCHARGE)
        return any(status.converter.mode in currents for status in self._statuses.values())
