"""Which deals the grid master accepts, what it answers to a submission, and what it publishes.

Each record that it publishes has a higher sequence number than the one before.
"""

from __future__ import annotations

from dataclasses import replace

from apis_core.config.policy import Policy
from apis_core.events import Answer, Broadcast, Effect, Log
from apis_core.model.messages import ControlReply, Deal, SubmitReply
from apis_core.model.origin import Requester
from apis_core.model.types import ControlError, DealState, OperationMode, SubmitError, UnitId
from apis_core.trading.negotiation import why_no_deal_size

__all__ = ["DEALING_MODES", "DealRegistry", "why_not_take"]

DEALING_MODES = (OperationMode.RUN, OperationMode.SOFT_STOP)


def why_not_take(deal: Deal, mode: OperationMode, policy: Policy) -> tuple[SubmitError, str]:
    """Why a deal that is handed in makes no sense, or not now; NONE = it may be tried.

    Args:
        deal: As it came.
        mode: Of the cluster.
        policy: With the members.
    """
    roles = {deal.discharge_unit_id, deal.charge_unit_id}
    for unit_id in roles:
        if unit_id not in policy.member_unit_ids:
            return SubmitError.INVALID, f"{unit_id or 'an unnamed unit'} is not a member"
    if len(roles) != 2 or roles != {deal.request_unit_id, deal.accept_unit_id}:
        return (
            SubmitError.INVALID,
            "requester and accepter must be the giving and the taking unit",
        )
    if not deal.deal_id:
        return SubmitError.INVALID, "deal_id is missing"
    name, right = why_no_deal_size(deal.energy_wh, deal.current_a, deal.price_point_per_wh, policy)
    if name:
        return SubmitError.INVALID, f"{name} is {getattr(deal, name):g}, {right}"
    if mode not in DEALING_MODES:
        words = mode.name.replace("_", " ").lower()
        return SubmitError.NOT_DEALING, f"the cluster is in {words}"
    return SubmitError.NONE, ""


class DealRegistry:
    """Answers submissions and publishes deals, for the grid master of one term.

    Args:
        unit_id: The unit that is the grid master.
    """

    def __init__(self, unit_id: UnitId) -> None:
        self._unit_id = unit_id
        # what was said of a deal last, and the machine's last record that was looked at
        self._published: dict[str, tuple[Deal, Deal]] = {}
        self._submitters: dict[str, Requester] = {}  # deal id -> call to be answered

    def has_published(self, deal_id: str) -> bool:
        """Whether the world knows of a deal."""
        return deal_id in self._published

    def publish(self, record: Deal) -> list[Effect]:
        """Tell the world of a deal, if that is news.

        What the other side than the meter has counted goes with the next news.
        """
        before, told = self._published.get(record.deal_id, (None, None))
        if record is told:
            return []
        if before is not None and told is not None and not _is_news(record, told):
            self._published[record.deal_id] = (before, record)
            return []
        news = replace(record, sequence=before.sequence + 1 if before else 1)
        self._published[record.deal_id] = (news, record)
        effects: list[Effect] = [Broadcast(news)]
        if before is None or before.state is not news.state:
            words = f"deal {news.deal_id} {news.discharge_unit_id} -> {news.charge_unit_id}"
            tail = f": {news.reason}" if news.reason else ""
            effects.append(
                Log(
                    f"{words} {news.state.name.lower()}, "
                    f"{news.moved_wh:.2f}/{news.energy_wh:g} Wh{tail}",
                    is_warning=bool(tail) and news.state is not DealState.COMPLETED,
                )
            )
        return effects

    def answer(self, requester: Requester, error: SubmitError, message: str) -> list[Effect]:
        """Answer whoever hands a deal in."""
        reply = SubmitReply(error=error, message=message, grid_master_id=self._unit_id)
        return [Answer(requester, reply)]

    def answer_later(self, deal_id: str, requester: Requester) -> None:
        """The answer follows when the units have locked their slots, or one of them will not."""
        self._submitters[deal_id] = requester

    def answer_now(self, deal_id: str, refusal: ControlReply | None) -> list[Effect]:
        """Give the answer that is owed, if one is.

        Args:
            deal_id: The deal.
            refusal: The unit's that does not lock a slot; None = both have.
        """
        requester = self._submitters.pop(deal_id, None)
        if requester is None:
            return []
        if refusal is None:
            return self.answer(requester, SubmitError.NONE, "")
        is_silent = refusal.error is ControlError.NO_ANSWER
        error = SubmitError.TIMEOUT if is_silent else SubmitError.UNIT_REFUSED
        return self.answer(requester, error, refusal.message)


def _is_news(record: Deal, told: Deal) -> bool:
    if record.moved_wh != told.moved_wh or record.state is not told.state:
        return True
    return record != replace(told, sent_wh=record.sent_wh, received_wh=record.received_wh)
