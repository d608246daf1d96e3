"""The bus of a study: gives each deal its turn, lets its current flow, and ends it.

The rules are the core's: which deals the lines can carry, and which unit holds the voltage. What a
grid master does beside that on healthy converters and a perfect network is to wait: for the bus to
come up, for a current to settle. Here these are times (:class:`BusTimes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

import apis_control
from apis_core.config.policy import Policy
from apis_core.config.timing import Timing
from apis_core.grid_master.deal.progress import COMPLETE_RATIO, NEAR_POLLS
from apis_core.grid_master.deal_registry import why_not_take
from apis_core.grid_master.reference_selection import (
    better_reference,
    first_reference,
    next_reference,
)
from apis_core.grid_master.topology import why_not_activate
from apis_core.model.messages import Deal, SubmitReply
from apis_core.model.types import (
    NOBODY,
    ControlError,
    Direction,
    OperationMode,
    SubmitError,
    UnitId,
)
from apis_core.model.units import NEVER_NS, ns_from_s, s_from_ns
from apis_study.deal_flow import DealFlow
from apis_study.events import EventHeap
from apis_study.losses import Loss
from apis_study.trading_unit import FIRST_HORIZON_S, TradingUnit
from apis_study.village import Village

__all__ = ["Bus", "BusTimes"]

_NO_LIMIT_A = 1e9  # the topology's rules see to the currents


@dataclass(frozen=True, slots=True)
class BusTimes:
    """How long a grid master takes for its steps, with healthy converters. [ns]

    Attributes:
        up_ns: From a dead bus to a proven voltage.
        start_ns: From a deal's turn to its current.
        settle_ns: From its current to the next deal's turn.
        stop_ns: From the end of a current to the release of its slots.
        down_ns: From the end of the last current to a dead bus.
        hand_over_ns: From one reference to the next.
    """

    up_ns: int
    start_ns: int
    settle_ns: int
    stop_ns: int
    down_ns: int
    hand_over_ns: int

    @staticmethod
    def of(village: Village) -> BusTimes:
        """The times that follow from how fast the converters are.

        What does not come from a ramp was measured on whole agents (docs/study.md).
        """
        volts = village.policy.grid_voltage_v
        ramp_s = village.policy.deal_current_a / village.current_slew_a_per_s
        return BusTimes(
            up_ns=ns_from_s(volts / village.ramp_up_v_per_s + 2.2),
            start_ns=ns_from_s(0.7 + ramp_s),
            settle_ns=ns_from_s(2.0),
            stop_ns=ns_from_s(0.2),
            down_ns=ns_from_s(volts / village.ramp_down_v_per_s + 1.0),
            hand_over_ns=ns_from_s(3.0),
        )


class _Stage(Enum):
    OFF = auto()
    COMING_UP = auto()
    UP = auto()
    GOING_DOWN = auto()


class Bus:
    """The bus, its deals and its voltage reference.

    Args:
        village: The houses' converters, lines and policy.
        units: Its units.
        timing: Of the agents.
        times: How long the grid master's steps take.
        heap: What happens next.
        look: Called with each unit whose deals have changed.

    Attributes:
        started: How many deals have begun to flow.
        completed: How many deals have moved what was agreed.
        aborted: How many have not.
        line_loss_wh: Lost in the lines since the start. [Wh]
    """

    def __init__(
        self,
        village: Village,
        units: Mapping[UnitId, TradingUnit],
        timing: Timing,
        times: BusTimes,
        heap: EventHeap,
        look: Callable[[TradingUnit], None],
    ) -> None:
        self.started = self.completed = self.aborted = 0
        self.line_loss_wh = 0.0
        self._policy: Policy = village.policy
        self._loss: Loss = village.loss
        self._units = units
        self._timing, self._times = timing, times
        self._heap, self._look = heap, look
        at = {unit_id: index for index, unit_id in enumerate(units)}
        wires = [(at[a], at[b], ohm) for a, b, ohm in village.lines]
        self._lines = apis_control.BusNetwork(len(at), wires) if wires else None
        self._stage = _Stage.OFF
        self._reference: TradingUnit | None = None
        self._queue: list[DealFlow] = []
        self._starting: DealFlow | None = None
        self._free_ns = 0  # until then something is in transition
        self._flowing: list[DealFlow] = []
        self._loss_w = 0.0  # of the lines, now
        self._loss_since_ns = 0

    # --- deals -----------------------------------------------------------------------------------

    def submit(self, deal: Deal) -> SubmitReply:
        """A requester hands in a deal; both units lock a slot, or it is refused."""
        error, message = why_not_take(deal, OperationMode.RUN, self._policy)
        if error is not SubmitError.NONE:
            return SubmitReply(error=error, message=message)
        message = why_not_activate((), deal, self._policy)
        if message:
            return SubmitReply(error=SubmitError.CURRENT_LIMIT, message=message)
        locked: list[TradingUnit] = []
        for unit_id in deal.unit_ids:
            unit = self._units[unit_id]
            direction = deal.direction_of(unit_id) or Direction.CHARGE
            refusal, message = unit.interlock.acquire(deal, direction, NEVER_NS)
            if refusal is not ControlError.NONE:
                for other in locked:
                    other.interlock.release(deal.deal_id)
                message = f"{unit_id}: {message}"
                return SubmitReply(error=SubmitError.UNIT_REFUSED, message=message)
            locked.append(unit)
        giver, taker = self._units[deal.discharge_unit_id], self._units[deal.charge_unit_id]
        flow = DealFlow(deal, giver, taker, self._policy)
        for unit in flow.units:
            unit.flows.append(flow)
        self._queue.append(flow)
        self._go_on()
        return SubmitReply()

    def check_charge(self, unit: TradingUnit) -> None:
        """End the deals that a unit's state of charge forbids."""
        ratio = unit.run.stored_wh / unit.run.capacity_wh
        for flow in list(unit.flows):
            if not flow.is_flowing:
                continue
            is_empty = flow.giver is unit and ratio < self._policy.discharge_soc_min_ratio
            is_full = flow.taker is unit and ratio > self._policy.charge_soc_max_ratio
            if is_empty or is_full:
                self._end(flow, flow.end_version)

    # --- turns -----------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """What has become possible."""
        now_ns = self._heap.now_ns
        if self._starting is not None or now_ns < self._free_ns:
            return
        if self._stage not in (_Stage.OFF, _Stage.UP):
            return
        flow = self._first_that_fits()
        if flow is None:
            return
        if self._stage is _Stage.OFF:
            self._queue.remove(flow)
            self._starting = flow
            self._stage = _Stage.COMING_UP
            self._hold(self._units[first_reference(flow.deal, self._policy)])
            self._heap.at(now_ns + self._times.up_ns, self._is_up)
            return
        if any(self._is_near_end(other) for unit in flow.units for other in unit.flows):
            return  # it gets its turn when that one has ended
        self._queue.remove(flow)
        self._starting = flow
        start_ns = self._times.start_ns
        holder_id = self._reference.id if self._reference is not None else NOBODY
        better_id = better_reference(flow.deal, holder_id, self._policy)
        if better_id != NOBODY:
            self._hold(self._units[better_id])
            start_ns += self._times.hand_over_ns
        self._heap.at(now_ns + start_ns, self._flow)

    def _first_that_fits(self) -> DealFlow | None:
        flowing = [flow.deal for flow in self._flowing]
        has_branches = bool(self._policy.topology)
        for flow in self._queue:
            if not why_not_activate(flowing, flow.deal, self._policy):
                return flow
            if not has_branches:
                return None  # all deals have the policy's current: no other fits either
        return None

    def _is_near_end(self, flow: DealFlow) -> bool:
        if not flow.is_flowing or flow.rate_wh_per_s <= 0.0:
            return False
        left_s = flow.left_wh(self._heap.now_ns) / flow.rate_wh_per_s
        return left_s < s_from_ns(NEAR_POLLS * self._timing.deal.poll_ns)

    def _is_up(self) -> None:
        self._stage = _Stage.UP
        self._heap.at(self._heap.now_ns + self._times.start_ns, self._flow)

    def _flow(self) -> None:
        """The current of the deal whose turn it is flows."""
        flow, self._starting = self._starting, None
        if flow is None:
            return
        now_ns = self._heap.now_ns
        flow.deal = replace(flow.deal, started_ns=now_ns)
        flow.is_flowing = True
        self.started += 1
        self._flowing.append(flow)
        self._carry(flow.units)
        self._free_ns = now_ns + self._times.settle_ns
        self._heap.at(self._free_ns, self._go_on)
        for unit in flow.units:
            self.check_charge(unit)
            self._look(unit)

    def _end(self, flow: DealFlow, version: int) -> None:
        """A deal has moved what was agreed, or must end before."""
        if version != flow.end_version or not flow.is_flowing:
            return
        now_ns = self._heap.now_ns
        flow.end_version += 1
        is_complete = flow.moved_wh(now_ns) >= COMPLETE_RATIO * flow.deal.energy_wh
        flow.is_flowing = False
        self._flowing.remove(flow)
        self._carry(flow.units)
        moved_wh = flow.moved_wh(now_ns)
        self.completed += is_complete
        self.aborted += not is_complete
        points = (flow.deal.price_point_per_wh or 0.0) * moved_wh
        flow.giver.sold_points += points
        flow.taker.bought_points += points
        for unit in flow.units:
            unit.deals += is_complete
        release_ns = now_ns + self._times.stop_ns
        holder = self._reference
        if not self._flowing and self._starting is None:
            self._stage = _Stage.GOING_DOWN
            self._heap.at(now_ns + self._times.down_ns, self._is_down)
        elif holder in flow.units and not any(holder in f.units for f in self._users()):
            deals = [f.deal for f in self._users()]
            chosen = next_reference(deals, holder.id, self._policy) if holder else None
            if chosen is not None:
                self._hold(self._units[chosen[0]])
                release_ns += self._times.hand_over_ns
                self._free_ns = max(self._free_ns, now_ns + self._times.hand_over_ns)
                self._heap.at(self._free_ns, self._go_on)
        self._heap.at(release_ns, self._release, flow)

    def _users(self) -> list[DealFlow]:
        return [*self._flowing, *([self._starting] if self._starting is not None else [])]

    def _release(self, flow: DealFlow) -> None:
        for unit in flow.units:
            unit.flows.remove(flow)
            unit.interlock.release(flow.deal.deal_id)
        for unit in flow.units:
            self._look(unit)
        self._go_on()

    def _is_down(self) -> None:
        self._stage = _Stage.OFF
        self._hold(None)
        self._go_on()

    # --- currents --------------------------------------------------------------------------------

    def _hold(self, unit: TradingUnit | None) -> None:
        """A unit becomes the voltage reference; the one before lets go."""
        before, self._reference = self._reference, unit
        for each, is_reference in ((before, False), (unit, True)):
            if each is not None:
                each.is_reference = is_reference
        self._carry(each for each in dict.fromkeys((before, unit)) if each is not None)

    def _carry(self, changed: Iterable[TradingUnit]) -> None:
        """The currents of some units have changed, or who holds the voltage."""
        units = {unit.index: unit for unit in changed}
        for unit in units.values():
            unit.current_a = sum(
                f.deal.current_a if f.taker is unit else -f.deal.current_a
                for f in unit.flows
                if f.is_flowing
            )
        volts = self._policy.grid_voltage_v
        if self._lines is None or self._reference is None:
            for unit in units.values():
                self._set_power(unit, volts)
            return
        units |= {unit.index: unit for flow in self._flowing for unit in flow.units}
        currents_a = [0.0] * len(self._units)
        for index, unit in units.items():
            currents_a[index] = unit.current_a
        holder = self._reference.index
        currents_a[holder] = 0.0  # it carries what the others leave
        at_v, *_, loss_w, _ = self._lines.solve(currents_a, [(holder, volts, 0.0, _NO_LIMIT_A)])
        for unit in units.values():
            self._set_power(unit, float(at_v[unit.index]))
        self.settle()
        self._loss_w = loss_w

    def _set_power(self, unit: TradingUnit, volts: float) -> None:
        now_ns = self._heap.now_ns
        grid_w = volts * unit.current_a
        is_on = unit.is_reference or unit.current_a != 0.0
        loss_w = (
            self._loss.on_w(grid_w, is_reference=unit.is_reference)
            if is_on
            else self._loss.waiting_w
        )
        unit.run.advance(self._heap.now_s)
        unit.run.set_converter(grid_w, loss_w, is_on)
        unit.horizon_s = FIRST_HORIZON_S
        for flow in unit.flows:
            if flow.meter is not unit:
                continue
            flow.meter_flow(grid_w, loss_w, now_ns)
            flow.end_version += 1
            if flow.is_flowing:
                left_s = flow.left_wh(now_ns) / flow.rate_wh_per_s
                end_ns = now_ns + ns_from_s(left_s)
                self._heap.at(end_ns, self._end, flow, flow.end_version)

    def settle(self) -> None:
        """Count what the lines have lost until now."""
        now_ns = self._heap.now_ns
        self.line_loss_wh += self._loss_w * s_from_ns(now_ns - self._loss_since_ns) / 3600.0
        self._loss_since_ns = now_ns
