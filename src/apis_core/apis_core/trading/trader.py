"""One unit's trading: asks when its scenario wants a deal, and answers the others.

What is agreed goes to the grid master. What a request came to decides how soon the next one
follows: in vain, less often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from apis_core.config.policy import Policy
from apis_core.config.scenario import Section
from apis_core.config.timing import Timing
from apis_core.events import (
    Broadcast,
    Call,
    DealWanted,
    Effect,
    Log,
    RefuseDeal,
    Send,
)
from apis_core.model.messages import (
    Deal,
    DealSubmission,
    InterchangeAccept,
    InterchangeRequest,
    SubmitReply,
)
from apis_core.model.origin import Asker, Origin
from apis_core.model.types import (
    NOBODY,
    Direction,
    InterchangeError,
    SelectionStrategy,
    SubmitError,
    UnitId,
)
from apis_core.model.units import NEVER_NS
from apis_core.trading.interlock import Interlock
from apis_core.trading.negotiation import (
    Negotiation,
    Offer,
    evaluate_accept,
    evaluate_request,
    why_no_deal_size,
)

__all__ = ["Trader", "TradingConditions"]

_MAX_BACK_OFF = 8.0  # times the housekeeping period
_TELLING_LOOKS = 6  # looks further back have no bearing on when the next one comes
_LOST = SubmitReply(
    error=SubmitError.NOT_GRID_MASTER, message="its grid master was lost; ask again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingConditions:
    """The state of the unit on which a decision is based.

    Attributes:
        why_not: Why it neither asks, accepts nor begins deals; empty = it does.
        section: The scenario's rules for this time of day; None = there are none.
        expected_wh: Energy in the battery once everything agreed has moved. [Wh]
        efficient_grid_voltage_v: Bus voltage at which its converter works best. [V]
        grid_master_id: The grid master that it obeys.
        live_peer_ids: Units heard from lately; their answers are waited for.
    """

    why_not: str
    section: Section | None
    expected_wh: float | None
    efficient_grid_voltage_v: float | None
    grid_master_id: UnitId
    live_peer_ids: Sequence[UnitId]


class Trader:
    """Asks for deals when the unit's scenario wants one, and answers the other units.

    Args:
        unit_id: This unit.
        policy: Of the cluster.
        timing: Of the agent.
        interlock: The unit's slots, in which deals under negotiation are reserved.
        random: Source of jitter and deal ids.
        now_ns: Present time.
    """

    def __init__(
        self,
        *,
        unit_id: UnitId,
        policy: Policy,
        timing: Timing,
        interlock: Interlock,
        random: Random,
        now_ns: int,
    ) -> None:
        self._unit_id = unit_id
        self._policy = policy
        self._timing = timing
        self._interlock = interlock
        self._random = random
        self._negotiation: Negotiation | None = None
        self._submitted: Deal | None = None  # handed to the grid master, not answered yet
        self._wanted: dict[str, Deal] = {}  # deals by hand, submitted and not answered yet
        self._leader: tuple[UnitId, int] = (NOBODY, 0)  # the grid master and its term
        self._asks_next_leader = False  # this unit wanted a deal while nobody led
        self._back_off = 1.0
        self._last_failure = ""
        self._due_ns = self._next_ns(now_ns)
        self._asked_ns = -NEVER_NS  # when it sent its last request

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        window_ns = self._negotiation.until_ns if self._negotiation else NEVER_NS
        return min(self._due_ns, window_ns)

    def asks(self, conditions: TradingConditions, now_ns: int) -> Direction | None:
        """The direction in which it would ask for a deal now; None = it would not."""
        offer = self._wish(conditions) if now_ns >= self._due_ns else None
        return offer.direction if offer is not None else None

    def look_now(self, now_ns: int) -> None:
        """The charge has come into another band: look at the scenario now, not when it is time.

        Requests do not follow each other quicker for that, and after some in vain as slowly: a
        charge that goes to and fro over the edge of a band asks no oftener than one that stays.
        """
        if now_ns - self._asked_ns >= self._timing.housekeeping_ns * self._back_off:
            self._due_ns = min(self._due_ns, now_ns)

    def tick(self, conditions: TradingConditions, now_ns: int) -> list[Effect]:
        """Close a window that has run out; look at the scenario when it is time."""
        effects = self._conclude(conditions, now_ns)
        if now_ns >= self._due_ns:
            self._asks_next_leader |= conditions.grid_master_id == NOBODY
            self._due_ns = self._next_ns(now_ns)
            effects += self._ask(conditions, now_ns)
        return effects

    def pass_over(self, until_ns: int, *, in_vain: bool) -> None:
        """Take the looks before `until_ns` for made, of which none came to a deal.

        A simulation that knows so need not make them one by one. The next look comes as if they
        had been.

        Args:
            until_ns: Present time.
            in_vain: Whether it asked each time, and nobody could answer; else it asked for
                nothing.
        """
        while self._due_ns < until_ns:
            if in_vain:
                self._back_off = min(2.0 * self._back_off, _MAX_BACK_OFF)
                self._asked_ns = self._due_ns
            if not in_vain or self._back_off == _MAX_BACK_OFF:
                far_ns = round(_TELLING_LOOKS * self._back_off * self._timing.housekeeping_ns)
                self._due_ns = max(self._due_ns, until_ns - far_ns)
            self._due_ns = self._next_ns(self._due_ns)

    def follow(self, grid_master_id: UnitId, term: int, now_ns: int) -> list[Effect]:
        """Take note that another unit leads, or none.

        A deal that was submitted to the last one, or was about to be, comes to nothing. Nobody is
        to blame: the next one is asked as soon as it leads.
        """
        leader = (grid_master_id, term if grid_master_id != NOBODY else 0)
        if leader == self._leader:
            return []
        had_leader, self._leader = self._leader[0] != NOBODY, leader
        effects: list[Effect] = []
        if had_leader:
            self._interlock.release_reservations()
            for deal_id in list(self._wanted):
                effects += self._wanted_answered(self._wanted.pop(deal_id), _LOST)
            self._asks_next_leader |= self._submitted is not None or self._negotiation is not None
            self._submitted = self._negotiation = None
        if grid_master_id != NOBODY and self._asks_next_leader:
            self._asks_next_leader = False
            self._back_off = 1.0
            # not all in the same moment, but the first well within the heartbeat
            spread = self._random.random()
            self._due_ns = min(self._due_ns, now_ns + round(self._timing.window_ns * spread / 2))
        return effects

    def hear_request(
        self, request: InterchangeRequest, conditions: TradingConditions, now_ns: int
    ) -> list[Effect]:
        """Answer a request; also with a no, so that nobody waits for us."""
        if request.unit_id == self._unit_id or request.unit_id not in self._policy.member_unit_ids:
            return []
        offer = self._offer_for(request, conditions)
        reason = offer if isinstance(offer, str) else ""
        if isinstance(offer, Offer):
            energy_wh = min(offer.energy_wh, request.energy_wh)
            reason = self._reserve(request.request_id, offer, energy_wh, now_ns)
        if reason or isinstance(offer, str):
            no = InterchangeAccept(
                request_id=request.request_id, unit_id=self._unit_id, type=None, reason=reason
            )
            return [Send(request.unit_id, no)]
        accept = InterchangeAccept(
            request_id=request.request_id,
            unit_id=self._unit_id,
            type=offer.direction,
            energy_wh=offer.energy_wh,
            current_a=self._policy.deal_current_a,
            price_point_per_wh=offer.price_point_per_wh,
            pair_unit_id=offer.pair_unit_id,
            efficient_grid_voltage_v=conditions.efficient_grid_voltage_v,
        )
        return [Send(request.unit_id, accept)]

    def hear_accept(
        self, accept: InterchangeAccept, conditions: TradingConditions, now_ns: int
    ) -> list[Effect]:
        """Take an answer to our request."""
        if self._negotiation is None:
            return []
        self._negotiation.hear(accept)
        return self._conclude(conditions, now_ns)

    def want(self, wanted: DealWanted, conditions: TradingConditions, now_ns: int) -> list[Effect]:
        """An operator wants a deal; what can be refused here is refused at once."""
        charges = wanted.type is Direction.CHARGE
        deal = Deal(
            deal_id=wanted.deal_id,
            request_unit_id=self._unit_id,
            accept_unit_id=wanted.peer_unit_id,
            discharge_unit_id=wanted.peer_unit_id if charges else self._unit_id,
            charge_unit_id=self._unit_id if charges else wanted.peer_unit_id,
            energy_wh=wanted.energy_wh,
            current_a=self._policy.deal_current_a
            if wanted.current_a is None
            else wanted.current_a,
            price_point_per_wh=wanted.price_point_per_wh,
            meter=self._policy.meter,
        )
        error, reason = self._why_not_wanted(deal, conditions)
        if not reason:
            until_ns = now_ns + self._timing.reservation_ns
            reason = self._interlock.reserve(deal.deal_id, wanted.type, deal.energy_wh, until_ns)
        if reason:
            return [RefuseDeal(deal.deal_id, error, reason)]
        self._wanted[deal.deal_id] = deal
        return [_submit(deal, conditions.grid_master_id)]

    def submission_answered(self, deal_id: str, reply: SubmitReply | None) -> list[Effect]:
        """The grid master took our deal, refused it, or will never answer (None)."""
        wanted = self._wanted.pop(deal_id, None)
        if wanted is not None:
            return self._wanted_answered(wanted, reply)
        if self._submitted is None or self._submitted.deal_id != deal_id:
            return []  # late: the grid master that it was handed to was lost
        deal, self._submitted = self._submitted, None
        if reply is not None and reply.error is SubmitError.NONE:
            self._back_off, self._last_failure = 1.0, ""
            return []
        if self._interlock.held(deal.deal_id) is None:
            self._interlock.release(deal.deal_id)
        return self._come_to_nothing(reply.message if reply else "the grid master does not answer")

    # --- inside ----------------------------------------------------------------------------------

    def _why_not_wanted(
        self, deal: Deal, conditions: TradingConditions
    ) -> tuple[InterchangeError, str]:
        others = [unit for unit in self._policy.member_unit_ids if unit != self._unit_id]
        if deal.accept_unit_id not in others:
            right = f"it must be one of {', '.join(others)}"
            return InterchangeError.INVALID, f"peer_unit_id is '{deal.accept_unit_id}'; {right}"
        name, right = why_no_deal_size(
            deal.energy_wh, deal.current_a, deal.price_point_per_wh, self._policy
        )
        if name:
            return InterchangeError.INVALID, f"{name} is {getattr(deal, name):g}, {right}"
        if conditions.grid_master_id == NOBODY:
            return InterchangeError.NO_GRID_MASTER, "there is no grid master"
        return InterchangeError.REFUSED, conditions.why_not

    def _wanted_answered(self, deal: Deal, reply: SubmitReply | None) -> list[Effect]:
        if reply is not None and reply.error is SubmitError.NONE:
            return []
        if self._interlock.held(deal.deal_id) is None:
            self._interlock.release(deal.deal_id)
        reason = reply.message if reply else "the grid master does not answer"
        return [RefuseDeal(deal.deal_id, InterchangeError.REFUSED, reason)]

    def _next_ns(self, now_ns: int) -> int:
        jitter = 0.5 + self._random.random()
        return now_ns + round(self._timing.housekeeping_ns * self._back_off * jitter)

    def _wish(self, conditions: TradingConditions) -> Offer | None:
        """What the scenario wants to ask for, if this unit may ask."""
        is_busy = self._negotiation is not None or self._submitted is not None
        section, expected_wh = conditions.section, conditions.expected_wh
        if is_busy or conditions.why_not or section is None or expected_wh is None:
            return None
        offer = evaluate_request(section, expected_wh)
        is_enough = offer is not None and offer.energy_wh >= self._policy.deal_energy_min_wh
        return offer if is_enough else None

    def _ask(self, conditions: TradingConditions, now_ns: int) -> list[Effect]:
        offer = self._wish(conditions)
        if offer is None:
            return []
        request = InterchangeRequest(
            request_id=f"{self._unit_id}-{self._random.getrandbits(64):016x}",
            unit_id=self._unit_id,
            type=offer.direction,
            energy_wh=offer.energy_wh,
            current_a=self._policy.deal_current_a,
            price_point_per_wh=offer.price_point_per_wh,
            pair_unit_id=offer.pair_unit_id,
            efficient_grid_voltage_v=conditions.efficient_grid_voltage_v,
            window_ns=self._timing.window_ns,
        )
        if self._reserve(request.request_id, offer, offer.energy_wh, now_ns):
            return []
        until_ns = now_ns + self._timing.window_ns
        self._asked_ns = now_ns
        self._negotiation = Negotiation(request, until_ns, set(conditions.live_peer_ids))
        return [Broadcast(request), *self._conclude(conditions, now_ns)]

    def _offer_for(
        self, request: InterchangeRequest, conditions: TradingConditions
    ) -> Offer | str:
        if conditions.why_not or conditions.section is None or conditions.expected_wh is None:
            return conditions.why_not or "does not know its state of charge"
        offer = evaluate_accept(conditions.section, conditions.expected_wh, request, self._unit_id)
        if isinstance(offer, Offer) and offer.energy_wh < self._policy.deal_energy_min_wh:
            return f"has only {offer.energy_wh:g} Wh to {offer.direction.name.lower()}"
        return offer

    def _reserve(self, deal_id: str, offer: Offer, energy_wh: float, now_ns: int) -> str:
        committed_wh = min(energy_wh, self._policy.deal_energy_max_wh)
        until_ns = now_ns + self._timing.reservation_ns
        return self._interlock.reserve(deal_id, offer.direction, committed_wh, until_ns)

    def _conclude(self, conditions: TradingConditions, now_ns: int) -> list[Effect]:
        negotiation = self._negotiation
        if negotiation is None or not negotiation.is_over(now_ns):
            return []
        self._negotiation = None
        strategy = conditions.section.selection if conditions.section else SelectionStrategy.AMOUNT
        deal = negotiation.conclude(strategy, self._policy)
        if isinstance(deal, str) or conditions.why_not:
            self._interlock.release(negotiation.request.request_id)
            return self._come_to_nothing(conditions.why_not or str(deal))
        self._submitted = deal
        return [_submit(deal, conditions.grid_master_id)]

    def _come_to_nothing(self, reason: str) -> list[Effect]:
        """A request led to no deal: ask less often, and say why once."""
        self._back_off = min(2.0 * self._back_off, _MAX_BACK_OFF)
        is_news, self._last_failure = reason != self._last_failure, reason
        return [Log(f"no deal: {reason}")] * is_news


def _submit(deal: Deal, grid_master_id: UnitId) -> Call:
    origin = Origin(Asker.TRADER, deal_id=deal.deal_id)
    return Call(origin, grid_master_id, DealSubmission(deal=deal))
