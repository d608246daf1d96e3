"""How far a deal is: what the parts of its machine share.

That is its record, both sides, the orders that are unanswered, and its phase with the times at
which something is due.
"""

from __future__ import annotations

from dataclasses import replace

from apis_core.config.policy import Policy
from apis_core.config.timing import DealTiming
from apis_core.events import Effect
from apis_core.grid_master.deal.bus_view import BusView
from apis_core.grid_master.deal.side import DealSide
from apis_core.grid_master.deal.transitions import (
    HOLDING,
    STATE_OF,
    TRANSITIONS,
    Phase,
)
from apis_core.grid_master.pending_orders import PendingOrders
from apis_core.model.messages import Deal
from apis_core.model.origin import Asker
from apis_core.model.transitions import check
from apis_core.model.types import (
    NOBODY,
    ControlOperation,
    ConverterMode,
    DealState,
    Direction,
    UnitId,
)
from apis_core.model.units import NEVER_NS, wh_from_w

__all__ = ["COMPLETE_RATIO", "NEAR_POLLS", "DealProgress"]

COMPLETE_RATIO = 0.9995  # of the agreed energy counts as all of it
NEAR_POLLS = 3  # so many polls before its end the deal is polled quickly


class DealProgress:
    """The state of one deal at its grid master.

    Args:
        deal: The agreed deal; term, grid master and creation time are filled in.
        policy: Of the cluster.
        timing: See :class:`DealTiming`.
        now_ns: Present time.

    Attributes:
        deal: As the world sees it, but for its state.
        bus: The bus as it was last seen.
        phase: See :class:`Phase`; changed by :meth:`enter` alone.
        outcome: How it will be over.
        silent_id: A unit that has not answered for long, or several times; nobody = there is none.
        miscount: Which counts of both sides cannot be true together; empty = there are none.
        giver: The side that discharges.
        taker: The side that charges.
        sides: Both, in the order in which slots are locked.
        orders: That are not answered yet.
        began_ns: Since when it counts as having heard of its units.
        entered_ns: Since when it has been in its phase.
        deadline_ns: Of the phase.
        polled_ns: When all units were asked last.
        next_poll_ns: When one of them is asked next.
        wake_ns: When something is due; :meth:`arm` sets it.
        counts_until_ns: Answers to later orders are not counted: the energy of the bus's own
            capacitance, which comes back at the end, is not the deal's.
    """

    def __init__(self, deal: Deal, policy: Policy, timing: DealTiming, now_ns: int) -> None:
        self.deal = deal
        self.policy = policy
        self.timing = timing
        self.bus = BusView()
        self.phase = Phase.ACQUIRING
        self.outcome = DealState.COMPLETED
        self.silent_id: UnitId = NOBODY
        self.miscount = ""
        self.giver = DealSide(deal.discharge_unit_id, Direction.DISCHARGE, deal.current_a)
        self.taker = DealSide(deal.charge_unit_id, Direction.CHARGE, deal.current_a)
        is_giver_first = self.giver.unit_id == deal.unit_ids[0]
        self.sides = (self.giver, self.taker) if is_giver_first else (self.taker, self.giver)
        self.orders = PendingOrders(
            Asker.DEAL, deal.grid_master_id, deal.term, timing, deal.deal_id
        )
        self.began_ns = now_ns
        self.entered_ns = now_ns
        self.deadline_ns = NEVER_NS
        self.polled_ns = now_ns
        self.next_poll_ns = NEVER_NS
        self.wake_ns = NEVER_NS
        self.counts_until_ns = NEVER_NS

    # --- the sides -------------------------------------------------------------------------------

    def side(self, unit_id: UnitId) -> DealSide:
        """The side of a unit that takes part."""
        return self.taker if unit_id == self.taker.unit_id else self.giver

    @property
    def reference_id(self) -> UnitId:
        """The unit that holds the voltage of the bus for this deal."""
        return self.deal.voltage_reference_id

    @property
    def reference(self) -> DealSide | None:
        """The side that holds the voltage of the bus; None = neither does."""
        reference_id = self.deal.voltage_reference_id
        if reference_id == self.taker.unit_id:
            return self.taker
        return self.giver if reference_id == self.giver.unit_id else None

    @property
    def meter(self) -> DealSide:
        """The side whose meter decides how much energy the deal has moved."""
        return self.taker if self.policy.metering_side is Direction.CHARGE else self.giver

    @property
    def currents(self) -> list[DealSide]:
        """The sides that hold a current, in the order in which they stop."""
        sides = [self.giver, self.taker]
        if self.bus.stops_first is Direction.CHARGE:
            sides.reverse()
        return [side for side in sides if side is not self.reference]

    def is_carried(self, side: DealSide) -> bool:
        """Whether a side does what it was ordered: it holds the bus, or its current flows."""
        if side is not self.reference:
            return side.carries_current
        reading = side.reading
        return reading is not None and reading.mode is ConverterMode.VOLTAGE_REFERENCE

    def is_silent(self, side: DealSide, now_ns: int) -> bool:
        """Whether a side has given no sign of life for long."""
        return now_ns - self._last_heard_ns(side) >= self.timing.silence_ns

    def _last_heard_ns(self, side: DealSide) -> int:
        return self.began_ns if side.heard_ns is None else side.heard_ns

    # --- the energy ------------------------------------------------------------------------------

    @property
    def flow_w(self) -> float:
        """What its current promises."""
        return self.deal.current_a * self.policy.grid_voltage_v

    @property
    def is_complete(self) -> bool:
        """Whether the agreed energy has been counted."""
        return self.deal.moved_wh >= self.deal.energy_wh * COMPLETE_RATIO

    @property
    def is_near_limit(self) -> bool:
        """Whether its currents are about to end by themselves."""
        near_wh = wh_from_w(self.flow_w, NEAR_POLLS * self.timing.poll_ns)
        left_wh = self.deal.energy_wh - self.deal.moved_wh
        return self.phase is Phase.RUNNING and left_wh < near_wh

    # --- the record ------------------------------------------------------------------------------

    def record(self) -> Deal:
        """The deal as the world is to see it now."""
        state = self.outcome if self.phase is Phase.OVER else STATE_OF[self.phase]
        if self.deal.state is not state:
            self.deal = replace(self.deal, state=state)
        return self.deal

    def name_reference(self, reference_id: UnitId) -> None:
        """That unit holds the bus for the deal, or is to; nobody = there is none yet."""
        self.deal = replace(self.deal, voltage_reference_id=reference_id)

    # --- phase and time --------------------------------------------------------------------------

    def enter(self, phase: Phase, now_ns: int, limit_ns: int = NEVER_NS) -> None:
        """Change the phase.

        Args:
            phase: The next one.
            now_ns: Present time.
            limit_ns: How long it may last.

        Raises:
            ProtocolMisuse: It does not follow the present one.
        """
        check(TRANSITIONS, self.phase, phase)
        self.phase = phase
        self.entered_ns = self.polled_ns = now_ns
        self.deadline_ns = now_ns + limit_ns if limit_ns < NEVER_NS else NEVER_NS
        self.plan_poll(now_ns)
        self.arm()

    def plan_poll(self, now_ns: int) -> None:
        """Say when the units are asked next."""
        timing = self.timing
        if self.phase in (Phase.ACQUIRING, Phase.RELEASING, Phase.OVER):
            self.next_poll_ns = NEVER_NS
        elif self.phase in (Phase.STARTING, Phase.COMPENSATING, Phase.STOPPING):
            self.next_poll_ns = now_ns + timing.fresh_poll_ns  # what comes next waits for it
        elif self.is_near_limit:  # near the end the limits want to be as fresh as can be
            self.next_poll_ns = now_ns + timing.quick_poll_ns
        else:
            self.next_poll_ns = max(self.polled_ns + timing.poll_ns, now_ns)
            if self.orders.awaited_units():
                self.next_poll_ns = min(self.next_poll_ns, now_ns + timing.lost_ns)

    def due_for_poll(self, now_ns: int) -> list[DealSide]:
        """The sides to ask now: all at their turn, else those whose answer is missing.

        Those that hold a current come first: when one has stopped by itself, the meter is read
        after it. Who was asked a moment ago is not asked again yet.
        """
        is_turn = now_ns >= self.polled_ns + self.timing.poll_ns
        is_for_all = is_turn or self.phase is not Phase.RUNNING or self.is_near_limit
        late: set[UnitId] = set()
        if is_for_all:
            self.polled_ns = now_ns
        else:
            late = self.orders.awaited_units()
        # an answer that is lost must not leave the limits as they are for long
        busy = self.orders.awaited_units(since_ns=now_ns - self.timing.lost_ns + 1)
        reference = self.reference
        in_turn = [side for side in self.sides if side is not reference]
        if reference is not None:
            in_turn.append(reference)
        return [
            side
            for side in in_turn
            if side.unit_id not in busy and (is_for_all or side.unit_id in late)
        ]

    def arm(self) -> None:
        """Set the time at which something is due."""
        wakes_ns = [self.orders.wake_ns, self.next_poll_ns, self.deadline_ns]
        if self.phase in HOLDING:
            heard_ns = min(self._last_heard_ns(self.giver), self._last_heard_ns(self.taker))
            wakes_ns.append(heard_ns + self.timing.silence_ns)
        self.wake_ns = min(wakes_ns)

    def ask(
        self,
        side: DealSide,
        operation: ControlOperation,
        now_ns: int,
        *,
        deal: Deal | None = None,
        grid_current_a: float | None = None,
        energy_limit_wh: float | None = None,
    ) -> list[Effect]:
        """Give a side an order, and await its answer."""
        call = self.orders.ask(
            side.unit_id,
            operation,
            self.deal.deal_id,
            now_ns,
            deal=deal,
            grid_current_a=grid_current_a,
            energy_limit_wh=energy_limit_wh,
        )
        self.arm()
        return [call]
