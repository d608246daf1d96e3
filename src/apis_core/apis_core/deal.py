"""One deal, as the grid master runs it.

    ACQUIRING ─► QUEUED ─► ACTIVATING ─► RAMPING_UP ─► STARTING ─► RUNNING
        │           │           └─────────────┴───────────┴───────────┤ done, or abort
        │           │                                                 ▼
        └───────────┴─ refused, or abort ─────► RELEASING ◄─────── STOPPING
                                                    └─► over

The machine never trusts silence: every state has a wake-up, every order a hold time, and what a
unit does not confirm is asked again or waited out until that unit's own dead man has stopped it.
Energy is what the units' converters counted; here it is only read. So that the agreed amount is
met without waiting for a poll, the current side gets an energy limit for its own counter, refined
from the ratio of both meters while the deal runs; it stops itself at that instant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from apis_core.events import Call, Effect
from apis_core.landing import (
    Sample,
    first_limit_wh,
    flowing_limit_wh,
    is_comparable,
    resting_limit_wh,
)
from apis_core.messages import ControlReply, ControlRequest, Deal
from apis_core.policy import Policy
from apis_core.types import (
    ControlError,
    ControlOperation,
    ConverterMode,
    DealState,
    Side,
    StopCause,
    UnitId,
)
from apis_core.units import NEVER_NS, s_from_ns

__all__ = ["DealMachine", "DealTiming", "Phase"]

_COMPLETE_RATIO = 0.9995  # of the agreed energy counts as all of it
_TIME_MARGIN_RATIO = 2.0  # a deal may take this many times what its current promises ...
_TIME_MARGIN_S = 300.0  # ... and this much more
_NO_CURRENT_A = 0.125  # below this a converter that is ramping down counts as stopped
_RELEASE_TRIES = 3


class Phase(Enum):
    """What the machine is doing; finer than the state that the world sees."""

    ACQUIRING = auto()
    QUEUED = auto()
    ACTIVATING = auto()
    RAMPING_UP = auto()
    STARTING = auto()
    RUNNING = auto()
    STOPPING_CURRENT = auto()
    STOPPING_REFERENCE = auto()
    RELEASING = auto()
    OVER = auto()


_STATE_OF = {
    Phase.ACQUIRING: DealState.UNKNOWN,
    Phase.QUEUED: DealState.QUEUED,
    Phase.ACTIVATING: DealState.ACTIVATING,
    Phase.RAMPING_UP: DealState.RAMPING_UP,
    Phase.STARTING: DealState.STARTING,
    Phase.RUNNING: DealState.RUNNING,
    Phase.STOPPING_CURRENT: DealState.STOPPING,
    Phase.STOPPING_REFERENCE: DealState.STOPPING,
    Phase.RELEASING: DealState.RELEASING,
}
_ENERGISED = (Phase.ACTIVATING, Phase.RAMPING_UP, Phase.STARTING, Phase.RUNNING)
_STOPPING = (Phase.STOPPING_CURRENT, Phase.STOPPING_REFERENCE)


@dataclass(frozen=True, slots=True)
class DealTiming:
    """Times of running a deal.

    Attributes:
        poll_ns: Between two looks at the units while nothing changes quickly.
        quick_poll_ns: The same while the bus or a current ramps.
        answer_ns: A unit that has not answered an order for this long does not.
        hold_ns: How long an order lasts without a renewal; several polls.
    """

    poll_ns: int
    quick_poll_ns: int
    answer_ns: int
    hold_ns: int


@dataclass(frozen=True, slots=True)
class _Call:
    """An order of ours that is unanswered."""

    unit_id: UnitId
    operation: ControlOperation
    asked_ns: int
    until_ns: int


class DealMachine:
    """Runs one deal.

    Args:
        deal: The agreed deal; term, grid master and creation time are filled in.
        policy: Of the cluster.
        timing: See :class:`DealTiming`.
        now_ns: Present time.
    """

    def __init__(self, deal: Deal, policy: Policy, timing: DealTiming, now_ns: int) -> None:
        reference_is_charge = policy.voltage_reference_side is Side.CHARGE
        self.deal = replace(
            deal,
            voltage_reference_id=deal.charge_unit_id
            if reference_is_charge
            else deal.discharge_unit_id,
        )
        self.phase = Phase.ACQUIRING
        self.refusal: ControlReply | None = (
            None  # why a unit gave no slot, once phase is OVER without one
        )
        self.wake_ns = NEVER_NS
        self._policy = policy
        self._timing = timing
        self._outcome = DealState.COMPLETED
        self._calls: dict[str, _Call] = {}  # ours that are unanswered
        self._call_count = 0
        self._next_poll_ns = NEVER_NS
        self._deadline_ns = NEVER_NS  # of the phase
        self._to_acquire = list(self.deal.unit_ids)
        self._asked: list[UnitId] = []  # units that may hold a slot for us
        self._released: set[UnitId] = set()
        self._release_tries = 0
        self._samples: dict[UnitId, Sample] = {}
        self._runs = 0
        # the energy of the bus's own capacitance, which comes back at the end, is not the deal's
        self._counts_until_ns = NEVER_NS
        self._began_ns = now_ns
        self._entered_ns = now_ns  # the present phase

    # --- what others see -------------------------------------------------------------------------

    @property
    def is_on_the_bus(self) -> bool:
        """Whether it uses the bus, or may."""
        return self.phase in _ENERGISED or self.phase in _STOPPING

    @property
    def current_id(self) -> UnitId:
        """The unit that holds a current, while the other holds the voltage."""
        deal = self.deal
        is_charge = deal.voltage_reference_id == deal.charge_unit_id
        return deal.discharge_unit_id if is_charge else deal.charge_unit_id

    # --- events ----------------------------------------------------------------------------------

    def acquire(self, now_ns: int) -> list[Effect]:
        """Begin: lock a slot on each unit, in the order of their ids."""
        unit_id = self._to_acquire.pop(0)
        self._asked.append(unit_id)
        return self._ask(unit_id, ControlOperation.ACQUIRE, now_ns, deal=self.deal)

    def begin(self, now_ns: int) -> list[Effect]:
        """The bus is ours: make the deal flow."""
        if self.phase is not Phase.QUEUED:
            return []
        self._began_ns = now_ns
        self._enter(Phase.ACTIVATING, now_ns, self._policy.ramp_up_timeout_ns)
        return self._order_reference(now_ns)

    def abort(self, reason: str, now_ns: int, *, scram: bool = False) -> list[Effect]:
        """End it early, orderly.

        The current first, then the voltage, then the locks. Once ending, the first reason stays.
        """
        if self.phase in _STOPPING or self.phase in (Phase.RELEASING, Phase.OVER):
            return []
        self._outcome = DealState.SCRAMMED if scram else DealState.ABORTED
        self.deal = replace(self.deal, reason=reason)
        if self.phase in (Phase.ACQUIRING, Phase.QUEUED):
            return self._release(now_ns)
        return self._stop_current(now_ns)

    def answered(self, call_id: str, reply: ControlReply | None, now_ns: int) -> list[Effect]:
        """A unit answered an order of ours, or never will (None)."""
        call = self._calls.pop(call_id, None)
        if call is None:
            return []  # late: already given up
        unit_id, operation = call.unit_id, call.operation
        if reply is None:
            reply = ControlReply(error=ControlError.NO_ANSWER, message="does not answer")
        else:
            sample = Sample(reply, call.asked_ns, now_ns)
            newest = self._samples.get(unit_id)
            if newest is None or sample.asked_ns >= newest.asked_ns:
                self._samples[unit_id] = sample  # a latecomer would tell of an older state
            if sample.asked_ns <= self._counts_until_ns:
                self._take_counts(unit_id, sample)
        effects = self._react(unit_id, operation, reply, now_ns)
        self._arm()
        return effects

    def look_now(self, now_ns: int) -> list[Effect]:
        """Something changed on one of the units.

        Poll at once instead of waiting for the next turn.
        """
        if not self.is_on_the_bus:
            return []
        self._next_poll_ns = now_ns
        return self.tick(now_ns)

    def tick(self, now_ns: int) -> list[Effect]:
        """Do what is due."""
        effects: list[Effect] = []
        for call_id in [key for key, call in self._calls.items() if now_ns >= call.until_ns]:
            effects += self.answered(call_id, None, now_ns)
        if now_ns >= self._deadline_ns:
            effects += self._too_late(now_ns)
        if now_ns >= self._next_poll_ns:
            effects += self._poll(now_ns)
        self._arm()
        return effects

    # --- reactions -------------------------------------------------------------------------------

    def _react(
        self, unit_id: UnitId, operation: ControlOperation, reply: ControlReply, now_ns: int
    ) -> list[Effect]:
        failed = reply.error is not ControlError.NONE
        if operation is ControlOperation.ACQUIRE and self.phase is Phase.ACQUIRING:
            if failed:
                self.refusal = replace(reply, message=f"{unit_id}: {reply.message}")
                self.deal = replace(self.deal, reason=self.refusal.message)
                self._outcome = DealState.ABORTED
                return self._release(now_ns)
            if self._to_acquire:
                return self.acquire(now_ns)
            self._enter(Phase.QUEUED, now_ns)
            return []
        if operation is ControlOperation.RELEASE:
            if not failed or reply.error is ControlError.UNKNOWN_DEAL:
                self._released.add(unit_id)
            return self._release_rest(now_ns)
        if self.phase in _STOPPING:
            return self._go_on_stopping(now_ns)
        if reply.error is ControlError.BUS_ENERGISED and self.phase is Phase.ACTIVATING:
            return []  # another source, or a bus that still decays: ask again until the deadline
        if failed and not (
            operation is ControlOperation.HOLD and self._is_patient(unit_id, reply, now_ns)
        ):
            return self.abort(f"{unit_id}: {reply.message}", now_ns)
        if operation is ControlOperation.VOLTAGE_REFERENCE and self.phase is Phase.ACTIVATING:
            self._enter(Phase.RAMPING_UP, now_ns, self._policy.ramp_up_timeout_ns)
        elif self.phase is Phase.RAMPING_UP and self._bus_is_up():
            return self._start_current(now_ns)
        elif self.phase is Phase.STARTING and unit_id == self.current_id and not failed:
            if operation is not ControlOperation.HOLD:
                self._run(now_ns)
        elif self.phase is Phase.RUNNING:
            return self._count(now_ns)
        return []

    def _is_patient(self, unit_id: UnitId, reply: ControlReply, now_ns: int) -> bool:
        """Whether a failed poll may be repeated.

        Silence shorter than the hold time is no reason to end a deal.
        """
        if reply.error is not ControlError.NO_ANSWER:
            return False
        sample = self._samples.get(unit_id)
        return now_ns - (sample.heard_ns if sample else self._began_ns) < self._timing.hold_ns

    def _take_counts(self, unit_id: UnitId, sample: Sample) -> None:
        deal = self.deal
        sent_wh, moved_wh = sample.reply.grid_moved_wh, sample.metered_wh(deal.meter)
        if unit_id == deal.discharge_unit_id and sent_wh is not None:
            deal = replace(deal, sent_wh=max(deal.sent_wh or 0.0, sent_wh))
        if unit_id == deal.charge_unit_id and moved_wh is not None:
            deal = replace(deal, received_wh=max(deal.received_wh or 0.0, moved_wh))
        if unit_id == self._reference_meter_id and moved_wh is not None:
            deal = replace(deal, moved_wh=max(deal.moved_wh, moved_wh))
        self.deal = deal

    @property
    def _reference_meter_id(self) -> UnitId:
        is_charge = self._policy.reference_side is Side.CHARGE
        return self.deal.charge_unit_id if is_charge else self.deal.discharge_unit_id

    def _bus_is_up(self) -> bool:
        reading = self._samples[self.deal.voltage_reference_id].reading
        enough_v = self._policy.grid_voltage_v - self._policy.grid_voltage_allowance_v
        return (
            reading.mode is ConverterMode.VOLTAGE_REFERENCE
            and reading.grid_voltage_v is not None
            and reading.grid_voltage_v >= enough_v
        )

    def _order_reference(self, now_ns: int) -> list[Effect]:
        return self._ask(
            self.deal.voltage_reference_id,
            ControlOperation.VOLTAGE_REFERENCE,
            now_ns,
            grid_voltage_v=self._policy.grid_voltage_v,
        )

    def _start_current(self, now_ns: int) -> list[Effect]:
        gives = self.current_id == self.deal.discharge_unit_id
        self._enter(Phase.STARTING, now_ns, self._timing.hold_ns)
        return self._ask(
            self.current_id,
            ControlOperation.DISCHARGE if gives else ControlOperation.CHARGE,
            now_ns,
            grid_current_a=self.deal.current_a,
            energy_limit_wh=self._energy_limit_wh(),
        )

    def _run(self, now_ns: int) -> None:
        deal = self.deal
        expected_s = deal.energy_wh / (deal.current_a * self._policy.grid_voltage_v) * 3600.0
        limit_s = expected_s * _TIME_MARGIN_RATIO + _TIME_MARGIN_S
        self._enter(Phase.RUNNING, now_ns, round(limit_s * 1e9))
        self._runs += 1
        if not deal.started_ns:
            self.deal = replace(self.deal, started_ns=now_ns)

    def _count(self, now_ns: int) -> list[Effect]:
        deal = self.deal
        if deal.moved_wh >= deal.energy_wh * _COMPLETE_RATIO:
            return self._stop_current(now_ns)
        for unit_id, sample in self._samples.items():
            reading = sample.reading
            if reading.mode is not ConverterMode.WAIT:
                continue
            if unit_id == self.current_id and reading.stop_cause is StopCause.ENERGY_REACHED:
                # the rest, if the limit was short, is reckoned from meters that stand still
                return self._start_current(now_ns) if self._is_settled else []
            why = reading.stop_detail or "its converter went to WAIT by itself"
            return self.abort(f"{unit_id}: {why}", now_ns)
        giver_soc, taker_soc = (
            self._soc_ratio(deal.discharge_unit_id),
            self._soc_ratio(deal.charge_unit_id),
        )
        if giver_soc is not None and giver_soc < self._policy.discharge_soc_min_ratio:
            return self.abort(
                f"{deal.discharge_unit_id} is down to {giver_soc:.1%} of charge", now_ns
            )
        if taker_soc is not None and taker_soc > self._policy.charge_soc_max_ratio:
            return self.abort(f"{deal.charge_unit_id} is up to {taker_soc:.1%} of charge", now_ns)
        return []

    def _soc_ratio(self, unit_id: UnitId) -> float | None:
        sample = self._samples.get(unit_id)
        return sample.reply.soc_ratio if sample else None

    @property
    def _is_settled(self) -> bool:
        """Whether the reference meter was read after the current side had stopped by itself."""
        stopped, meter = self._samples[self.current_id], self._samples[self._reference_meter_id]
        current_a = abs(meter.reading.grid_current_a or 0.0)
        return meter.heard_ns >= stopped.heard_ns and current_a <= _NO_CURRENT_A

    def _energy_limit_wh(self) -> float | None:
        """Where the current side is to stop by itself; None = where it was told before."""
        own = self._samples.get(self.current_id)
        meter = self._samples.get(self._reference_meter_id)
        if own is None or meter is None or not is_comparable(self.deal, own, meter):
            return first_limit_wh(self.deal, own.grid_wh if own else 0.0)
        if own is meter or self.phase is not Phase.RUNNING:
            return resting_limit_wh(self.deal, own, meter)
        return flowing_limit_wh(self.deal, own, meter) if self._runs == 1 else None

    # --- stopping --------------------------------------------------------------------------------

    def _stop_current(self, now_ns: int) -> list[Effect]:
        if self.phase in (Phase.ACTIVATING, Phase.RAMPING_UP):
            return self._stop_reference(now_ns)  # the current side was never started
        self._enter(Phase.STOPPING_CURRENT, now_ns, 2 * self._timing.hold_ns)
        return self._ask(self.current_id, ControlOperation.WAIT, now_ns)

    def _stop_reference(self, now_ns: int) -> list[Effect]:
        if self.deal.started_ns and not self.deal.stopped_ns:
            self.deal = replace(self.deal, stopped_ns=now_ns)
        self._counts_until_ns = now_ns
        self._enter(Phase.STOPPING_REFERENCE, now_ns, 2 * self._timing.hold_ns)
        return self._ask(self.deal.voltage_reference_id, ControlOperation.WAIT, now_ns)

    def _go_on_stopping(self, now_ns: int) -> list[Effect]:
        if self.phase is Phase.STOPPING_CURRENT and (
            self._is_off(self.current_id) or self._bus_carries_nothing()
        ):
            return self._stop_reference(now_ns)
        if self.phase is Phase.STOPPING_REFERENCE and self._is_off(self.deal.voltage_reference_id):
            return self._release(now_ns)
        return []

    def _is_off(self, unit_id: UnitId) -> bool:
        sample = self._samples.get(unit_id)
        if sample is None or sample.reading.mode is not ConverterMode.WAIT:
            return False
        return abs(sample.reading.grid_current_a or 0.0) <= _NO_CURRENT_A

    def _bus_carries_nothing(self) -> bool:
        """Whether a silent current side has stopped for all that the reference can see."""
        sample = self._samples.get(self.deal.voltage_reference_id)
        if sample is None or sample.asked_ns < self._entered_ns:
            return False
        current_a = sample.reading.grid_current_a
        return current_a is not None and abs(current_a) <= _NO_CURRENT_A

    def _release(self, now_ns: int) -> list[Effect]:
        self._enter(Phase.RELEASING, now_ns)
        return self._release_rest(now_ns)

    def _release_rest(self, now_ns: int) -> list[Effect]:
        if self.phase is not Phase.RELEASING:
            return []
        busy = {
            call.unit_id
            for call in self._calls.values()
            if call.operation is ControlOperation.RELEASE
        }
        left = [unit for unit in reversed(self._asked) if unit not in self._released]
        if busy:
            return []
        if not left or self._release_tries >= _RELEASE_TRIES:
            # a unit that does not answer gives its slot back by itself when nothing renews it
            self.phase, self._next_poll_ns, self._deadline_ns = Phase.OVER, NEVER_NS, NEVER_NS
            moved_all = self.deal.moved_wh >= self.deal.energy_wh * _COMPLETE_RATIO
            if self._outcome is DealState.COMPLETED and not moved_all:
                self._outcome = DealState.ABORTED
                self.deal = replace(self.deal, reason="less than agreed was counted")
            self.deal = replace(self.deal, ended_ns=now_ns)
            return []
        self._release_tries += 1
        effects: list[Effect] = []
        for unit_id in left:
            effects += self._ask(unit_id, ControlOperation.RELEASE, now_ns, deal=self.record())
        return effects

    def record(self) -> Deal:
        """The deal as the world is to see it now."""
        state = self._outcome if self.phase is Phase.OVER else _STATE_OF[self.phase]
        return replace(self.deal, state=state)

    # --- time ------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, now_ns: int, limit_ns: int = NEVER_NS) -> None:
        self.phase = phase
        self._entered_ns = now_ns
        self._deadline_ns = now_ns + limit_ns if limit_ns < NEVER_NS else NEVER_NS
        self._plan_poll(now_ns)
        self._arm()

    def _plan_poll(self, now_ns: int) -> None:
        if self.phase in (Phase.ACQUIRING, Phase.RELEASING, Phase.OVER):
            self._next_poll_ns = NEVER_NS
            return
        calm = self.phase in (Phase.QUEUED, Phase.RUNNING)
        self._next_poll_ns = now_ns + (
            self._timing.poll_ns if calm else self._timing.quick_poll_ns
        )

    def _poll(self, now_ns: int) -> list[Effect]:
        self._plan_poll(now_ns)
        busy = {call.unit_id for call in self._calls.values()}
        effects: list[Effect] = []
        # the current side first: when it has stopped by itself, the reference's meter is read
        # after that
        for unit_id in (self.current_id, self.deal.voltage_reference_id):
            if unit_id in busy:
                continue
            if self.phase is Phase.ACTIVATING and unit_id == self.deal.voltage_reference_id:
                effects += self._order_reference(now_ns)
            elif (self.phase is Phase.STOPPING_CURRENT and unit_id == self.current_id) or (
                self.phase is Phase.STOPPING_REFERENCE
                and unit_id == self.deal.voltage_reference_id
            ):
                effects += self._ask(unit_id, ControlOperation.WAIT, now_ns)
            elif self.phase is Phase.RUNNING and unit_id == self.current_id:
                limit_wh = self._energy_limit_wh()
                effects += self._ask(
                    unit_id, ControlOperation.HOLD, now_ns, energy_limit_wh=limit_wh
                )
            else:
                effects += self._ask(unit_id, ControlOperation.HOLD, now_ns)
        return effects

    def _too_late(self, now_ns: int) -> list[Effect]:
        self._deadline_ns = NEVER_NS
        match self.phase:
            case Phase.ACTIVATING:
                return self.abort("the bus did not become free", now_ns)
            case Phase.RAMPING_UP:
                limit_s = s_from_ns(self._policy.ramp_up_timeout_ns)
                return self.abort(
                    f"the bus did not reach its voltage within {limit_s:g} s", now_ns
                )
            case Phase.STARTING:
                return self.abort(f"{self.current_id} did not start", now_ns)
            case Phase.RUNNING:
                return self.abort(
                    "it took more than twice the time that its current promised", now_ns
                )
            case Phase.STOPPING_CURRENT:
                return self._stop_reference(now_ns)  # its own dead man has stopped it by now
            case Phase.STOPPING_REFERENCE:
                return self._release(now_ns)
        return []

    def _arm(self) -> None:
        calls_ns = min((call.until_ns for call in self._calls.values()), default=NEVER_NS)
        self.wake_ns = min(calls_ns, self._next_poll_ns, self._deadline_ns)

    def _ask(
        self,
        unit_id: UnitId,
        operation: ControlOperation,
        now_ns: int,
        *,
        deal: Deal | None = None,
        grid_voltage_v: float | None = None,
        grid_current_a: float | None = None,
        energy_limit_wh: float | None = None,
    ) -> list[Effect]:
        self._call_count += 1
        call_id = f"{self.deal.deal_id}/{self.deal.term}/{self._call_count}"
        self._calls[call_id] = _Call(unit_id, operation, now_ns, now_ns + self._timing.answer_ns)
        request = ControlRequest(
            operation=operation,
            grid_master_id=self.deal.grid_master_id,
            term=self.deal.term,
            deal_id=self.deal.deal_id,
            deal=deal,
            grid_voltage_v=grid_voltage_v,
            grid_current_a=grid_current_a,
            energy_limit_wh=energy_limit_wh,
            hold_ns=self._timing.hold_ns,
        )
        self._arm()
        return [Call(call_id, unit_id, request)]
