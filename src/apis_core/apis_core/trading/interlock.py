"""The slots of one unit: how many deals may use its converter at once, and in which direction.

Only the unit itself knows which of its slots are taken. A slot is *reserved* while a negotiation
is under way, and free again by itself after a while. It is *held* once the grid master has
acquired it for a deal, and free again if the grid master stops renewing it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apis_core.model.messages import Deal
from apis_core.model.types import ControlError, Direction
from apis_core.model.units import NEVER_NS

__all__ = ["Interlock", "Slot"]


@dataclass(slots=True)
class Slot:
    """The right of one deal to use the unit's converter.

    Attributes:
        direction: Direction of this unit.
        energy_wh: Energy that is still to move. [Wh]
        until_ns: When it falls back unless renewed.
        deal: The deal that holds it; None = only reserved.
    """

    direction: Direction
    energy_wh: float
    until_ns: int
    deal: Deal | None = None


@dataclass(slots=True)
class Interlock:
    """All slots of one unit, by deal id.

    Attributes:
        capacity: How many there are, >= 0.
        barred: A direction in which another unit of the same battery deals; None = neither.
    """

    capacity: int
    barred: Direction | None = None
    _slots: dict[str, Slot] = field(default_factory=dict)

    @property
    def wake_ns(self) -> int:
        """When the next slot falls back."""
        if not self._slots:  # asked after every event, and mostly so
            return NEVER_NS
        return min([slot.until_ns for slot in self._slots.values()])

    @property
    def slots_left(self) -> int:
        """How many slots are neither taken nor reserved."""
        return self.capacity - len(self._slots)

    @property
    def is_used(self) -> bool:
        """Whether a deal holds a slot, or one is reserved."""
        return bool(self._slots)

    @property
    def directions(self) -> set[Direction]:
        """Directions in which slots are taken or reserved."""
        return {slot.direction for slot in self._slots.values()}

    @property
    def deals(self) -> tuple[Deal, ...]:
        """Deals that hold a slot, in the order in which they took it."""
        if not self._slots:
            return ()
        return tuple([slot.deal for slot in self._slots.values() if slot.deal is not None])

    @property
    def deal_ids(self) -> tuple[str, ...]:
        """The ids of the deals that hold a slot."""
        if not self._slots:
            return ()
        return tuple([key for key, slot in self._slots.items() if slot.deal is not None])

    @property
    def committed_wh(self) -> float:
        """Energy that reservations and deals will still bring (+) or take (-). [Wh]"""
        return sum(
            (
                slot.energy_wh if slot.direction is Direction.CHARGE else -slot.energy_wh
                for slot in self._slots.values()
            ),
            0.0,
        )

    def why_not(self, direction: Direction) -> str:
        """Why no further slot of that direction can be had; empty = it can."""
        if direction is self.barred:
            return f"another unit of its battery has deals to {direction.name.lower()}"
        if any(slot.direction is not direction for slot in self._slots.values()):
            return f"has a deal or a reservation to {direction.opposite.name.lower()}"
        if len(self._slots) >= self.capacity:
            return f"all {self.capacity} slots are taken"
        return ""

    def reserve(self, deal_id: str, direction: Direction, energy_wh: float, until_ns: int) -> str:
        """Take a slot for a negotiation; returns why not, empty = taken."""
        if deal_id in self._slots:
            return "has heard this request before"
        reason = self.why_not(direction)
        if not reason:
            self._slots[deal_id] = Slot(direction, energy_wh, until_ns)
        return reason

    def acquire(self, deal: Deal, direction: Direction, until_ns: int) -> tuple[ControlError, str]:
        """Take a slot for a deal, or turn its reservation into one. Doing so twice is no error."""
        slot = self._slots.get(deal.deal_id)
        if slot is None or slot.direction is not direction:
            if direction is self.barred:
                return ControlError.OTHER_DIRECTION, self.why_not(direction)
            others = [slot for key, slot in self._slots.items() if key != deal.deal_id]
            if any(slot.direction is not direction for slot in others):
                return ControlError.OTHER_DIRECTION, self.why_not(direction)
            if len(others) >= self.capacity:
                return ControlError.NO_SLOT, self.why_not(direction)
        self._slots[deal.deal_id] = Slot(direction, deal.energy_wh, until_ns, deal)
        return ControlError.NONE, ""

    def held(self, deal_id: str) -> Slot | None:
        """The slot that a deal holds.

        None if it holds none (a mere reservation does not count).
        """
        slot = self._slots.get(deal_id)
        return slot if slot is not None and slot.deal is not None else None

    def release(self, deal_id: str) -> Slot | None:
        """Give a slot or a reservation back; None if there was none."""
        return self._slots.pop(deal_id, None)

    def release_reservation(self, deal_id: str) -> None:
        """Give back what was reserved for one negotiation; a slot that a deal holds stays."""
        slot = self._slots.get(deal_id)
        if slot is not None and slot.deal is None:
            del self._slots[deal_id]

    def release_reservations(self) -> None:
        """Give back what was reserved for negotiations that lead to nothing any more."""
        for key in [key for key, slot in self._slots.items() if slot.deal is None]:
            del self._slots[key]

    def expired(self, now_ns: int) -> list[str]:
        """Ids whose slots were not renewed in time. The caller releases them."""
        return [key for key, slot in self._slots.items() if now_ns >= slot.until_ns]
