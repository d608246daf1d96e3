"""What a unit may still do when its journal cannot be written.

It promises nothing then that it could forget: no vote in an election, no slot. What concerns the
converter goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from apis_core.events import Answer, Broadcast, Effect, Record
from apis_core.model.messages import ClaimKind, ControlReply, GridMasterClaim, LeaseGrant
from apis_core.model.types import ControlError

__all__ = ["allowed_unwritten"]


def allowed_unwritten(effects: Iterable[Effect]) -> list[Effect]:
    """The effects, or parts of them, that are allowed although their records are not on disk."""
    allowed = [_allowed(effect) for effect in effects]
    return [effect for effect in allowed if effect is not None]


def _allowed(effect: Effect) -> Effect | None:
    match effect:
        case Record() | Broadcast(LeaseGrant(granted=True)):
            return None
        case Broadcast(GridMasterClaim(kind=kind)):
            return effect if kind is ClaimKind.RESIGN else None
        case Answer(requester, ControlReply(error=ControlError.NONE) as reply):
            why = "its journal cannot be written"
            refusal = replace(reply, error=ControlError.NOT_READY, message=why)
            return Answer(requester, refusal)
    return effect
