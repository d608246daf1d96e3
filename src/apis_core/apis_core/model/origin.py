"""Who asks a question, so that the answer finds its way back.

A shell carries these values and never looks into them, but for what it has made itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from apis_core.model.types import UnitId

__all__ = ["Asker", "Origin", "Requester"]


class Asker(Enum):
    """A part of a unit that orders or asks. The value names it in logs."""

    CONVERTER_MANAGER = "converter"  # orders the own converter
    TRADER = "submit"  # hands a deal to the grid master
    DEAL = "deal"  # of the grid master, as all that follow
    VOLTAGE_REFERENCE = "reference"
    RECOVERY = "wind-up"
    PEER = "peer"  # another unit: its shell knows the rest


@dataclass(frozen=True, slots=True)
class Origin:
    """One question of one asker.

    Attributes:
        asker: The part of the unit that asks.
        number: Which of its questions this is; 0 = the deal's id is enough.
        term: In which the grid master asks; 0 = not a grid master.
        deal_id: The deal that it is about, if the asker has several; else empty.
    """

    asker: Asker
    number: int = 0
    term: int = 0
    deal_id: str = ""

    def __str__(self) -> str:
        who = self.deal_id if self.asker is Asker.DEAL else self.asker.value
        if self.asker is Asker.TRADER:
            return f"{who}/{self.deal_id}"
        return f"{who}/{self.term}/{self.number}" if self.term else f"{who}/{self.number}"


@dataclass(frozen=True, slots=True)
class Requester:
    """Whom the answer to a request goes to.

    Attributes:
        unit_id: The unit that asks; empty = the shell knows it by the origin's number.
        origin: The unit's own name for the question.
    """

    unit_id: UnitId
    origin: Origin
