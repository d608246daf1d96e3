"""What a unit's node says once a second of its own health."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from apis_core.model.messages import UnitStatus
from apis_core.model.types import UnitId
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.diagnostics import diagnosis

__all__ = ["unit_diagnosis"]


def unit_diagnosis(
    unit_id: UnitId,
    status: UnitStatus | None,
    authenticator: MessageAuthenticator,
    *,
    unanswered: int,
    journal_error: str,
) -> DiagnosticStatus:
    """The health of a unit's node.

    Args:
        unit_id: The unit.
        status: What it said of itself last; None = nothing yet.
        authenticator: Who refuses what does not count.
        unanswered: How many of its calls have no answer yet.
        journal_error: Why its journal cannot be written; empty = it can.
    """
    name = f"{unit_id}: unit node"
    if status is None:
        return diagnosis(name, unit_id, DiagnosticStatus.STALE, "waiting for the clock", {})
    level, text = DiagnosticStatus.OK, status.effective_mode.name
    if authenticator.is_alarmed:
        level, text = DiagnosticStatus.WARN, f"refused: {authenticator.last_refusal}"
    if status.fault_codes:
        level, text = DiagnosticStatus.ERROR, ", ".join(status.fault_codes)
    values = {
        "grid_master": status.grid_master_id,
        "term": str(status.term),
        "converter_mode": status.converter.mode.name,
        "deals": " ".join(status.deal_ids),
        "not_dealing": status.not_dealing_reason,
        "unanswered_calls": str(unanswered),
        "journal": journal_error or "written",
        "words": str(authenticator),
        "words_signed": str(authenticator.said),
        "words_heard": str(authenticator.heard),
        "words_refused": str(authenticator.refused.total()),
    }
    return diagnosis(name, unit_id, level, text, values)
