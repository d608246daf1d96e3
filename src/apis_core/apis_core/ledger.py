"""The unit's own books: how much energy each of its deals moved, from the converter's counters.

The converter counts in its own loop; here its growing counters are shared out among the deals that
used it meanwhile, in proportion to the currents ordered for them at that time (not to currents
frozen at the start of a deal). A poll that is late or lost therefore loses no energy. A deal whose
share ends at a limit gets nothing beyond it as long as another deal can have it: the converter has
lowered its current there, whenever that is heard of.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apis_core.errors import ProtocolMisuse
from apis_core.messages import ConverterReading
from apis_core.types import DealType

__all__ = ["Ledger", "Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one unit counted for one deal.

    Attributes:
        deal_id: The deal.
        grid_moved_wh: Energy over the bus terminal in the deal's direction, >= 0. [Wh]
        battery_moved_wh: The same on the battery side of the converter, >= 0. [Wh]
        reason: How it ended for this unit; empty = it is open or ended as agreed.
    """

    deal_id: str
    grid_moved_wh: float
    battery_moved_wh: float
    reason: str = ""


@dataclass(slots=True)
class _Account:
    type: DealType
    current_a: float
    limit_wh: float | None = None
    grid_moved_wh: float = 0.0
    battery_moved_wh: float = 0.0

    @property
    def room_wh(self) -> float:
        """What still fits below the limit. [Wh]"""
        if self.limit_wh is None:
            return float("inf")
        return max(self.limit_wh - self.grid_moved_wh, 0.0)


@dataclass(slots=True)
class Ledger:
    """Accounts of the deals that use the own converter."""

    _accounts: dict[str, _Account] = field(default_factory=dict)
    _last: ConverterReading | None = None

    def open(self, deal_id: str, type: DealType, current_a: float) -> None:
        """Begin to count for a deal, or change the current that decides its share.

        Args:
            deal_id: The deal.
            type: This unit's direction in it.
            current_a: Its current on this converter, >= 0; with 0 nothing more is counted. [A]
        """
        if not current_a >= 0.0:
            raise ProtocolMisuse(
                f"deal {deal_id}: a share needs a current of at least 0 A, not {current_a}"
            )
        account = self._accounts.get(deal_id)
        if account is None:
            self._accounts[deal_id] = _Account(type, current_a)
        else:
            account.current_a = current_a

    def limit(self, deal_id: str, limit_wh: float | None) -> None:
        """Say where a deal's share ends. [Wh over the bus terminal; None = nowhere]"""
        self._accounts[deal_id].limit_wh = limit_wh

    def freeze(self, deal_id: str) -> None:
        """Count nothing more for a deal; what it has moved is kept."""
        account = self._accounts.get(deal_id)
        if account is not None:
            account.current_a = 0.0

    def count(self, reading: ConverterReading) -> None:
        """Share out what the counters grew by since the last reading.

        A reading without counters changes nothing.
        """
        if reading.grid_charged_wh is None:
            return
        last, self._last = self._last, reading
        if last is None or not self._accounts:
            return
        for type_, grid_wh, battery_wh in (
            (
                DealType.CHARGE,
                _growth(last.grid_charged_wh, reading.grid_charged_wh),
                _growth(last.battery_charged_wh, reading.battery_charged_wh),
            ),
            (
                DealType.DISCHARGE,
                _growth(last.grid_discharged_wh, reading.grid_discharged_wh),
                _growth(last.battery_discharged_wh, reading.battery_discharged_wh),
            ),
        ):
            if grid_wh > 0.0 or battery_wh > 0.0:
                self._share_out(type_, grid_wh, battery_wh)

    def _share_out(self, type_: DealType, grid_wh: float, battery_wh: float) -> None:
        """Fill the accounts at the rates of their currents; one that is full leaves the rest."""
        running = [a for a in self._accounts.values() if a.type is type_ and a.current_a > 0.0]
        battery_per_grid = battery_wh / grid_wh if grid_wh > 0.0 else 0.0
        if grid_wh == 0.0:  # the converter's own loss while nothing flows
            total_a = sum(account.current_a for account in running)
            for account in running:
                account.battery_moved_wh += battery_wh * account.current_a / total_a
            return
        left_wh = grid_wh
        while running and left_wh > 0.0:
            total_a = sum(account.current_a for account in running)
            # how much flows in all until the first of them is full
            until_full_wh = min(a.room_wh * total_a / a.current_a for a in running)
            if len(running) == 1 or until_full_wh >= left_wh:
                until_full_wh = left_wh
            for account in running:
                part_wh = until_full_wh * account.current_a / total_a
                account.grid_moved_wh += part_wh
                account.battery_moved_wh += part_wh * battery_per_grid
            left_wh -= until_full_wh
            open_ = [account for account in running if account.room_wh > 1e-9]
            running = open_ or running[-1:]  # what flows must be booked somewhere

    def moved_wh(self, deal_id: str) -> float:
        """What a deal has moved over the bus terminal so far. [Wh]"""
        account = self._accounts.get(deal_id)
        return account.grid_moved_wh if account else 0.0

    def receipt(self, deal_id: str, reason: str = "") -> Receipt | None:
        """What was counted for a deal so far; None if it was never opened."""
        account = self._accounts.get(deal_id)
        if account is None:
            return None
        return Receipt(deal_id, account.grid_moved_wh, account.battery_moved_wh, reason)

    def close(self, deal_id: str, reason: str = "") -> Receipt:
        """Stop counting for a deal; an unopened one closes with nothing moved."""
        receipt = self.receipt(deal_id, reason) or Receipt(deal_id, 0.0, 0.0, reason)
        self._accounts.pop(deal_id, None)
        return receipt


def _growth(before_wh: float | None, after_wh: float | None) -> float:
    """Growth of a counter.

    A counter that went back was reset (the driver restarted) and counts from zero. [Wh]
    """
    if after_wh is None or before_wh is None:
        return 0.0
    return after_wh - before_wh if after_wh >= before_wh else after_wh
