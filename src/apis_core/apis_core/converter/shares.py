"""The shares that deals have of the current of one converter.

Each deal that uses the converter has a *share*: a current, a hold time, and the energy at which it
ends. The converter carries their sum. On the voltage reference a share orders no current: the bus
decides what flows. It says how to book it.

Here is the bookkeeping alone; :mod:`apis_core.converter.manager` orders the converter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from apis_core.config.policy import Policy
from apis_core.converter.energy_ledger import EnergyLedger
from apis_core.converter.energy_limit import OwnMeterLimit
from apis_core.model.messages import ControlRequest, Deal
from apis_core.model.receipt import Receipt
from apis_core.model.types import ControlOperation, Direction, UnitId
from apis_core.model.units import NEVER_NS, SECOND_NS, wh_from_w

__all__ = ["SAME_A", "Share", "ShareSnapshot", "Shares"]

SAME_A = 1e-6
_SAME_WH = 1e-6
_TOGETHER_NS = 3 * SECOND_NS // 2
_JOINS = (ControlOperation.VOLTAGE_REFERENCE, ControlOperation.WILL_TAKE_OVER)


@dataclass(slots=True)
class Share:
    """What one deal has of the converter's current.

    Attributes:
        deal_id: The deal.
        direction: This unit's direction in it.
        current_a: >= 0; 0 = it only stays the reference. [A]
        term: The term in which it was ordered or renewed last.
        grid_master_id: The grid master that did so.
        until_ns: When it ends unless it is renewed.
        limit_wh: What the deal has moved when its share ends by itself; None = never. [Wh]
        counted_by: How this unit's meter counts for the deal; None = the other unit's does.
    """

    deal_id: str
    direction: Direction
    current_a: float
    term: int
    grid_master_id: UnitId
    until_ns: int
    limit_wh: float | None = None
    counted_by: OwnMeterLimit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareSnapshot:
    """What one deal uses of the unit's converter.

    Attributes:
        current_a: Ordered for it, >= 0. [A]
        moved_wh: Counted for it over the bus terminal, >= 0. [Wh]
        limit_wh: Where its share ends, over the bus terminal; None = not known yet. [Wh]
    """

    current_a: float
    moved_wh: float
    limit_wh: float | None


class Shares:
    """Keeps the shares of one converter, and the energy that each deal has moved.

    Attributes:
        ledger: The accounts of the deals.
        ramping_down: Shares that are taken off, by deal, until a reading shows that the driver has
            lowered the current.
    """

    def __init__(self) -> None:
        self.ledger = EnergyLedger()
        self.ramping_down: dict[str, Share] = {}
        self._shares: dict[str, Share] = {}
        # deals whose shares ended at their limits while others went on
        self._limit_reached_ids: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._shares)

    def __len__(self) -> int:
        return len(self._shares)

    def __iter__(self) -> Iterator[Share]:
        return iter(self._shares.values())

    # --- what there is ---------------------------------------------------------------------------

    @property
    def deal_ids(self) -> tuple[str, ...]:
        """Deals that have a share, whether it has a current or not."""
        return tuple(self._shares)

    @property
    def current_ids(self) -> tuple[str, ...]:
        """Deals whose share has a current."""
        if not self._shares:
            return ()
        return tuple([share.deal_id for share in self._shares.values() if share.current_a > 0.0])

    @property
    def directions(self) -> set[Direction]:
        """Directions in which deals use the converter now."""
        return {share.direction for share in self._shares.values()}

    @property
    def total_a(self) -> float:
        """The current of all shares together, >= 0. [A]"""
        return sum(share.current_a for share in self._shares.values())

    @property
    def newest(self) -> Share | None:
        """The share of the newest term: the driver obeys no older one any more."""
        return max(self._shares.values(), key=lambda share: share.term, default=None)

    @property
    def first_end_ns(self) -> int:
        """When the hold of the first share runs out."""
        return min([share.until_ns for share in self._shares.values()], default=NEVER_NS)

    @property
    def last_end_ns(self) -> int:
        """When the hold of the last share runs out; 0 = there is none."""
        return max([share.until_ns for share in self._shares.values()], default=0)

    def get(self, deal_id: str) -> Share | None:
        """The share of a deal; None = it has none."""
        return self._shares.get(deal_id)

    def reported(self, deal_id: str) -> Share | None:
        """The share of a deal, or the one that it had until the driver lowers the current."""
        share = self._shares.get(deal_id)
        if share is None and not self.has_reached_limit(deal_id):
            share = self.ramping_down.get(deal_id)
        return share

    def has_reached_limit(self, deal_id: str) -> bool:
        """Whether a deal's share ended at its limit while others went on."""
        return deal_id not in self._shares and deal_id in self._limit_reached_ids

    def others_a(self, deal_id: str) -> float:
        """The current of all other deals' shares together. [A]"""
        return sum(s.current_a for s in self._shares.values() if s.deal_id != deal_id)

    def expired(self, now_ns: int) -> list[Share]:
        """Shares that were not renewed in time."""
        return [share for share in self._shares.values() if now_ns >= share.until_ns]

    def snapshot(self) -> dict[str, ShareSnapshot]:
        """What each deal uses of the converter, by its id."""
        return {
            deal_id: ShareSnapshot(
                current_a=share.current_a,
                moved_wh=self.ledger.moved_wh(deal_id),
                limit_wh=share.limit_wh,
            )
            for deal_id, share in self._shares.items()
        }

    # --- what comes and goes ---------------------------------------------------------------------

    def give(
        self,
        request: ControlRequest,
        deal: Deal,
        direction: Direction,
        policy: Policy,
        now_ns: int,
    ) -> None:
        """Give a deal the share that is ordered for it, or change the one that it has."""
        deal_id, share = request.deal_id, self._shares.get(request.deal_id)
        current_a = request.grid_current_a
        if current_a is None:
            keeps = share is not None and request.operation in _JOINS
            current_a = share.current_a if share is not None and keeps else deal.current_a
        limit_wh = request.energy_limit_wh
        if (
            request.operation is ControlOperation.CURRENT
            and limit_wh is None
            and share is not None
        ):
            limit_wh = share.limit_wh
        counts = direction is policy.metering_side
        self._shares[deal_id] = Share(
            deal_id=deal_id,
            direction=direction,
            current_a=current_a,
            term=request.term,
            grid_master_id=request.grid_master_id,
            until_ns=now_ns + request.hold_ns,
            limit_wh=limit_wh,
            counted_by=OwnMeterLimit(deal.energy_wh, deal.meter) if counts else None,
        )
        self.ledger.open(deal_id, direction, current_a)
        self.ledger.limit(deal_id, limit_wh)
        self._limit_reached_ids.discard(deal_id)

    def take_off(self, deal_id: str, *, is_counted: bool, ramps_down: bool) -> None:
        """End the share of a deal.

        Args:
            deal_id: The deal.
            is_counted: Whether what still flows is the deal's.
            ramps_down: Whether its current flows until the driver has obeyed.
        """
        share = self._shares.pop(deal_id, None)
        if not is_counted:
            self.ledger.freeze(deal_id)
        elif share is not None and ramps_down:
            self.ramping_down[deal_id] = share

    def drop(self, deal_id: str) -> None:
        """End the share of a deal for which nothing flows any more."""
        self._shares.pop(deal_id, None)
        self.ledger.freeze(deal_id)

    def void_all(self) -> None:
        """End all shares; what flows until the converter is off is counted for their deals."""
        self._shares.clear()

    def close(self, deal_id: str) -> Receipt:
        """Forget a deal that the converter has left; returns what it moved."""
        self._limit_reached_ids.discard(deal_id)
        self._shares.pop(deal_id, None)  # one whose converter never came on for it
        self.ramping_down.pop(deal_id, None)
        return self.ledger.close(deal_id)

    def forget_ramping_down(self) -> None:
        """Count nothing more for the deals whose current has been lowered."""
        for deal_id in self.ramping_down:
            if deal_id not in self._shares:
                self.ledger.freeze(deal_id)
        self.ramping_down.clear()

    # --- where they end --------------------------------------------------------------------------

    def limit(self, share: Share, limit_wh: float) -> None:
        """Say where a share ends. [Wh over the bus terminal]"""
        share.limit_wh = limit_wh
        self.ledger.limit(share.deal_id, limit_wh)

    def refine_limits(self) -> None:
        """Set the limits of the deals that our own meter counts: we know best where they end."""
        for share in self._shares.values():
            receipt = self.ledger.receipt(share.deal_id)
            if share.counted_by is None or receipt is None:
                continue
            limit_wh = share.counted_by.limit_wh(receipt)
            if limit_wh is not None:
                self.limit(share, limit_wh)

    def end_full(self) -> list[str]:
        """Deals whose shares have reached their limits, all but the last one; the others go on."""
        if len(self._shares) < 2:
            return []
        full = [
            share.deal_id
            for share in self._shares.values()
            if share.limit_wh is not None
            and self.ledger.moved_wh(share.deal_id) >= share.limit_wh - _SAME_WH
        ]
        full = full[: len(self._shares) - 1]
        self._limit_reached_ids.update(full)
        return full

    def next_end(self, grid_voltage_v: float) -> tuple[float | None, float | None]:
        """What still flows until the first share ends, and the current after that. [Wh, A]"""
        total_a = self.total_a
        ends = [
            (
                max(share.limit_wh - self.ledger.moved_wh(share.deal_id), 0.0) / share.current_a,
                share,
            )
            for share in self._shares.values()
            if share.limit_wh is not None and share.current_a > 0.0
        ]
        if not ends:
            return None, None
        first_wh_per_a = min(wh_per_a for wh_per_a, _ in ends)
        # those that would end while the current still runs down for the first end with it
        soon_wh_per_a = first_wh_per_a + wh_from_w(grid_voltage_v, _TOGETHER_NS)
        next_a = total_a
        for wh_per_a, share in ends:
            if wh_per_a <= soon_wh_per_a:
                next_a -= share.current_a
                early_wh = (wh_per_a - first_wh_per_a) * share.current_a
                self.limit(share, (share.limit_wh or 0.0) - early_wh)
        until_wh = max(first_wh_per_a * total_a, _SAME_WH)
        return until_wh, next_a if next_a > SAME_A else None
