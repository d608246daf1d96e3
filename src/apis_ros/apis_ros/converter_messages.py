"""What a converter's driver and an emulated one both turn into values of the core, and back."""

from __future__ import annotations

from typing import Any

from apis_core.converter.driver_contract import TO_WAIT, Complaint
from apis_core.model.messages import (
    ClaimKind,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
    Fault,
    GridMasterClaim,
)
from apis_core.model.types import FaultCategory, FaultExtent, UnitId
from apis_interfaces import msg, srv
from apis_ros.conversions import ROS_TIME, Untranslatable, from_ros, to_ros

__all__ = [
    "claim_of",
    "fault_message",
    "order_of",
    "reading_message",
    "reply_message",
]


def order_of(request: Any) -> ConverterOrder:
    """The order in a ``ConverterCommand``.

    Whoever says WAIT means it, whatever else the request holds.

    Raises:
        Untranslatable: A field holds what the protocol does not know.
    """
    operation, mode = int(TO_WAIT.operation), int(TO_WAIT.mode)
    if (request.operation, request.mode) == (operation, mode):
        return ConverterOrder(
            operation=TO_WAIT.operation,
            mode=TO_WAIT.mode,
            term=request.term,
            grid_master_id=request.grid_master_id,
            deal_id=request.deal_id,
        )
    return from_ros(request, ConverterOrder, ROS_TIME)


def reply_message(reply: ConverterReply, unit_id: UnitId) -> srv.ConverterCommand.Response:
    """The response to an order."""
    response: srv.ConverterCommand.Response = to_ros(reply, ROS_TIME, 0, unit_id)
    return response


def reading_message(reading: ConverterReading, unit_id: UnitId) -> msg.ConverterState:
    """A reading; its stamp is in ROS time."""
    message: msg.ConverterState = to_ros(reading, ROS_TIME, 0, unit_id)
    return message


def claim_of(message: msg.GridMasterClaim) -> tuple[ClaimKind, int] | None:
    """What somebody claims and in which term; None if that makes no sense."""
    try:
        claim = from_ros(message, GridMasterClaim, ROS_TIME)
    except Untranslatable:
        return None
    return claim.kind, claim.term


def fault_message(unit_id: UnitId, complaint: Complaint, deal_id: str, now_ns: int) -> msg.Fault:
    """What a driver has to say of its converter, for the unit and for people.

    Args:
        unit_id: Of the converter.
        complaint: What there is to say.
        deal_id: In whose name the converter is on; empty = in none's.
        now_ns: ROS time. [ns]
    """
    fault = Fault(
        unit_id=unit_id,
        # not the unit's own id: it takes no word of its own from the graph
        reporter_id=f"{unit_id}/driver",
        category=FaultCategory.HARDWARE,
        extent=FaultExtent.LOCAL,
        level=complaint.level,
        code=complaint.code,
        message=complaint.message,
        deal_id=deal_id,
    )
    message: msg.Fault = to_ros(fault, ROS_TIME, now_ns)
    return message
