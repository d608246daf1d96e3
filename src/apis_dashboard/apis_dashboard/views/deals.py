"""What the page of deals shows: each with its receipts and its phases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from apis_dashboard import formatting
from apis_dashboard.records import DealRecord, DealState
from apis_dashboard.views.common import State

__all__ = ["deal_state", "deals_total", "progress_ratio"]


def deal_state(deal: DealRecord, ros_time_s: float | None, zone: tzinfo) -> State:
    """A deal, running or past, with its receipt and its phases."""
    end_s = deal.stopped_at_s or deal.ended_at_s or ros_time_s
    ran_s = end_s - deal.started_at_s if deal.started_at_s and end_s else None
    lost_wh = (
        deal.sent_wh - deal.received_wh
        if deal.sent_wh is not None and deal.received_wh is not None
        else None
    )
    left_s = None
    if deal.state is DealState.RUNNING and ran_s and deal.moved_wh > 0.0:
        left_s = (deal.energy_wh - deal.moved_wh) / deal.moved_wh * ran_s
    points = None if deal.price_point_per_wh is None else deal.price_point_per_wh * deal.moved_wh
    return {
        "id": deal.deal_id,
        "giver": deal.discharge_unit_id,
        "taker": deal.charge_unit_id,
        "asked": deal.request_unit_id,
        "flowing": deal.state is DealState.RUNNING,
        "over": deal.state.is_over,
        "completed": deal.state is DealState.COMPLETED,
        "ratio": round(progress_ratio(deal), 3),
        "percent": formatting.percent(progress_ratio(deal)),
        "agreed": formatting.energy(deal.energy_wh),
        "moved": formatting.energy(deal.moved_wh, 1),
        "progress": f"{deal.moved_wh:.0f} / {deal.energy_wh:.0f} Wh",
        "sent": formatting.energy(deal.sent_wh, 1),
        "received": formatting.energy(deal.received_wh, 1),
        "lost": formatting.energy(lost_wh, 1),
        "current": formatting.amount(deal.current_a, "A", 1),
        "price": formatting.amount(deal.price_point_per_wh, "pt/Wh", 1),
        "points": formatting.amount(points, "pt"),
        "state": formatting.DEAL_WORDS[deal.state],
        "reason": deal.reason,
        "reference": deal.voltage_reference_id,
        "master": deal.grid_master_id,
        "ran": formatting.duration(ran_s),
        "left": f"about {formatting.duration(left_s)} left" if left_s is not None else "",
        "began": formatting.clock_time(deal.started_at_s or deal.created_at_s, zone),
        "day": formatting.day(deal.created_at_s, zone),
        "phases": _phases(deal, ros_time_s, zone),
    }


def progress_ratio(deal: DealRecord) -> float:
    """Give how much of what was agreed has moved, 0..1."""
    ratio = deal.moved_wh / deal.energy_wh if deal.energy_wh > 0.0 else 0.0
    return min(max(ratio, 0.0), 1.0)


def deals_total(deals: Sequence[DealRecord]) -> str:
    """What some deals moved, lost and cost together, for people; empty if there are none."""
    if not deals:
        return ""
    pairs = [
        (d.sent_wh, d.received_wh)
        for d in deals
        if d.sent_wh is not None and d.received_wh is not None
    ]
    lost_wh = sum(sent - received for sent, received in pairs)
    points = sum((d.price_point_per_wh or 0.0) * d.moved_wh for d in deals)
    moved_wh = sum(d.moved_wh for d in deals)
    moved, lost = formatting.energy(moved_wh), formatting.energy(lost_wh)
    return f"{moved} moved, {lost} lost, {formatting.amount(points, 'pt')}"


def _phases(deal: DealRecord, ros_time_s: float | None, zone: tzinfo) -> list[State]:
    """What stretches of time the deal went through, as parts of the whole.

    The states as they were heard of; of a deal that was heard of late, what its stamps say.
    """
    end_s = deal.ended_at_s or (None if deal.state.is_over else ros_time_s)
    steps = [(state, at_s) for state, at_s in deal.steps if not state.is_over]
    words = formatting.DEAL_WORDS
    if len(steps) < 2:
        stamps = (deal.created_at_s, deal.started_at_s, deal.stopped_at_s)
        states = (DealState.STARTING, DealState.RUNNING, DealState.RELEASING)
        words = {**words, DealState.STARTING: "getting ready"}
        steps = [(state, at_s) for state, at_s in zip(states, stamps, strict=True) if at_s]
    if not steps or not end_s:
        return []
    whole_s = max(end_s - steps[0][1], 1.0)
    ends_s = [*(at_s for _, at_s in steps[1:]), end_s]
    return [
        {
            "kind": state.name.lower(),
            "name": words[state],
            "at": formatting.clock_time(at_s, zone),
            "took": formatting.duration(until_s - at_s),
            "part": round(max(until_s - at_s, 0.0) / whole_s, 4),
        }
        for (state, at_s), until_s in zip(steps, ends_s, strict=True)
    ]
