"""The action ``<unit>/interchange``: a deal by hand, with feedback in Wh."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from apis_core.events import DealUnwanted, DealWanted, Event, RefuseDeal
from apis_core.model.types import DealState, Direction, UnitId
from apis_interfaces.action import Interchange
from apis_interfaces.msg import Deal
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.names import INTERCHANGE

__all__ = ["ManualDealAction"]


@dataclass(slots=True)
class _Goal:
    handle: Any
    result: Future[Interchange.Result]


class ManualDealAction:
    """Turns goals into events of the agent, and what becomes of the deal into results.

    Args:
        node: The unit's.
        unit_id: The unit.
        feed: Takes the events.
        group: One in which a goal may wait for its end without holding up the rest.
        authenticator: Refuses what no operator has said.
    """

    def __init__(
        self,
        node: Node,
        unit_id: UnitId,
        feed: Callable[[Event], None],
        group: CallbackGroup,
        authenticator: MessageAuthenticator,
    ) -> None:
        self._authenticator = authenticator
        self._channel = f"{node.get_namespace()}/{INTERCHANGE}"
        self._unit_id = unit_id
        self._feed = feed
        self._goals: dict[str, _Goal] = {}
        self._server = ActionServer(
            node,
            Interchange,
            INTERCHANGE,
            execute_callback=self._execute,
            cancel_callback=self._cancel,
            callback_group=group,
        )

    def destroy(self) -> None:
        """Take the action off the graph."""
        self._server.destroy()

    def hear_deal(self, deal: Deal) -> None:
        """News of a deal, perhaps of one of ours."""
        goal = self._goals.get(deal.deal_id)
        if goal is None:
            return
        goal.handle.publish_feedback(Interchange.Feedback(deal=deal))
        if not DealState(deal.state).is_over:
            return
        result = Interchange.Result(deal=deal)
        if deal.state != Deal.STATE_COMPLETED:
            is_cancelled = goal.handle.is_cancel_requested
            result.error_code = result.ERROR_CANCELLED if is_cancelled else result.ERROR_ABORTED
            result.error_msg = deal.reason
        goal.result.set_result(result)

    def refuse(self, refused: RefuseDeal) -> None:
        """The deal does not come about."""
        goal = self._goals.get(refused.deal_id)
        if goal is not None:
            result = Interchange.Result(error_code=refused.error.value, error_msg=refused.message)
            goal.result.set_result(result)

    async def _execute(self, handle: Any) -> Interchange.Result:
        request = handle.request
        if why := self._authenticator.why_refused(request, self._channel):
            handle.abort()
            return Interchange.Result(
                error_code=Interchange.Result.ERROR_REFUSED, error_msg=f"{self._unit_id}: {why}"
            )
        if request.type not in (request.TYPE_CHARGE, request.TYPE_DISCHARGE):
            handle.abort()
            right = f"it must be {request.TYPE_CHARGE} (charge) or {request.TYPE_DISCHARGE}"
            return Interchange.Result(
                error_code=Interchange.Result.ERROR_INVALID,
                error_msg=f"type is {request.type}; {right} (discharge)",
            )
        deal_id = f"{self._unit_id}-{uuid4().hex[:16]}"
        goal = self._goals[deal_id] = _Goal(handle, Future())
        self._feed(
            DealWanted(
                deal_id=deal_id,
                peer_unit_id=request.peer_unit_id,
                type=Direction(request.type),
                energy_wh=request.energy_wh,
                current_a=_known(request.current_a),
                price_point_per_wh=_known(request.price_point_per_wh),
            )
        )
        result: Any = await goal.result
        del self._goals[deal_id]
        if result.error_code == result.ERROR_NONE:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _cancel(self, handle: Any) -> CancelResponse:
        for deal_id, goal in self._goals.items():
            if goal.handle.goal_id == handle.goal_id:
                self._feed(DealUnwanted(deal_id))
                return CancelResponse.ACCEPT
        return CancelResponse.REJECT


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
