"""Takes the deals that requesters hand in, if this unit is the grid master."""

from __future__ import annotations

from apis_core.events import Answer, Effect
from apis_core.model.messages import Deal, SubmitReply
from apis_core.model.origin import Requester
from apis_core.model.types import NOBODY, SubmitError
from apis_core.unit.unit_state import UnitState

__all__ = ["submit"]


def submit(state: UnitState, requester: Requester, deal: Deal, now_ns: int) -> list[Effect]:
    """Give a deal to the grid master of this unit, or say why not and whom to ask."""
    unit_id = state.unit_id
    if state.grid_master is None or state.is_stopping:
        other = state.election.grid_master_id(now_ns)
        other = NOBODY if other == unit_id else other
        message = f"{unit_id} is not the grid master; ask {other or 'again later'}"
        refusal = SubmitReply(
            error=SubmitError.NOT_GRID_MASTER, message=message, grid_master_id=other
        )
        return [Answer(requester, refusal)]
    reason = _why_not(state, deal, now_ns)
    if reason:
        refusal = SubmitReply(
            error=SubmitError.NOT_DEALING, message=reason, grid_master_id=unit_id
        )
        return [Answer(requester, refusal)]
    return state.grid_master.submit(requester, deal, state.modes.global_mode, now_ns)


def _why_not(state: UnitState, deal: Deal, now_ns: int) -> str:
    missed = [u for u in deal.unit_ids if u in state.suspect_ids(now_ns)]
    if missed:
        return f"{', '.join(missed)} has not been heard for a while"
    if now_ns < state.paused_until_ns:
        return "a new policy is about to hold"
    return ""
