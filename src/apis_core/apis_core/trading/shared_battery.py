"""A gateway: one battery behind several converters, each a unit of a cluster of its own.

Energy that one of them takes out while another puts it in goes round in circles. So at most one
unit of the host may have deals in a given direction (the protocol, 13). A direction is claimed
before the unit asks, accepts or locks a slot in it, and given back with its last slot of that
direction. What needs the claim waits for the answer, which comes at once.
"""

from __future__ import annotations

from apis_core.events import (
    BatteryClaimed,
    ClaimBattery,
    DealWanted,
    Effect,
    Event,
    FreeBattery,
    Received,
    RequestReceived,
    Wake,
)
from apis_core.model.messages import ControlRequest, InterchangeRequest
from apis_core.model.types import ControlOperation, Direction, UnitId
from apis_core.trading.interlock import Interlock

__all__ = ["SharedBattery"]


class SharedBattery:
    """Claims directions of a shared battery for one unit, before anything of a deal begins.

    Args:
        unit_id: The unit.
        interlock: Its slots.
    """

    def __init__(self, unit_id: UnitId, interlock: Interlock) -> None:
        self._unit_id = unit_id
        self._interlock = interlock
        self._held: set[Direction] = set()
        self._waiting: dict[Direction, list[Event]] = {}

    def needs(self, event: Event, asks: Direction | None) -> tuple[bool, list[Effect]]:
        """Whether an event needs a claim that is not there, and what is to be done for it.

        Args:
            event: That has just come; it is kept until the answer.
            asks: The direction in which this unit would ask for a deal, if that is due now.
        """
        direction = self._direction_of(event, asks)
        if direction is None or direction in self._held:
            return False, []
        is_first = direction not in self._waiting
        self._waiting.setdefault(direction, []).append(event)
        return True, [ClaimBattery(direction)] if is_first else []

    def answered(self, answer: BatteryClaimed) -> list[Event]:
        """Take the answer to a claim: the events that have waited for it can be handled now.

        A direction that is refused is barred, and the interlock gives no slot in it.
        """
        if answer.is_granted:
            self._held.add(answer.type)
        self._interlock.barred = None if answer.is_granted else answer.type
        return self._waiting.pop(answer.type, [])

    def give_back(self) -> list[Effect]:
        """Free the directions in which no slot is taken any more."""
        self._interlock.barred = None
        unused = [
            direction
            for direction in Direction
            if direction in self._held - self._interlock.directions
        ]
        self._held -= set(unused)
        return [FreeBattery(direction) for direction in unused]

    def _direction_of(self, event: Event, asks: Direction | None) -> Direction | None:
        match event:
            case Received(InterchangeRequest() as request) if request.unit_id != self._unit_id:
                return request.type.opposite
            case RequestReceived(_, ControlRequest(operation=ControlOperation.ACQUIRE, deal=deal)):
                return deal.direction_of(self._unit_id) if deal is not None else None
            case DealWanted():
                return event.type
            case Wake():
                return asks
        return None
