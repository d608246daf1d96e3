"""The unit's ledger: how much energy each of its deals moved, from the converter's counters.

The converter counts in its own loop; here its growing counters are shared out among the deals that
used it meanwhile, in proportion to the currents ordered for them at that time (not to currents
frozen at the start of a deal). A poll that is late or lost therefore loses no energy. A deal whose
share ends at a limit gets nothing beyond it as long as another deal can have it: the converter has
lowered its current there, whenever that is heard of.

The voltage reference carries what all other currents leave over. That may belong to none of its
deals: when the process of another unit dies, the current of that unit ends or changes, and for a
while nobody knows to which deal the difference belongs. So the ledger compares the current of the
reference with the sum that its deals should bring. If the two differ for some time, each deal is
booked the energy that was ordered for it. A deal whose end explains the difference is booked
nothing for that time. A current that goes on after the share of its deal has ended is booked to no
other deal.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from apis_core.model.errors import ProtocolMisuse
from apis_core.model.messages import ConverterReading
from apis_core.model.receipt import Receipt
from apis_core.model.types import ConverterMode, Direction
from apis_core.model.units import SECOND_NS, s_from_ns, wh_from_w

__all__ = ["EnergyLedger"]

_ALIKE_RATIO = 0.5  # of the smallest share; a deal that is missing, or one too many, makes more
_NO_CURRENT_A = 0.25
_MOST_RATIO = 1.1  # of what a deal was ordered, beside one whose share has ended
_FULL_WH = 1e-9
_MOST_LOSS = 0.3  # of a converter that carries a deal
_PATIENCE_NS = 3 * SECOND_NS  # a deal that starts or reaches its limit is told of sooner than that
_COUNTER_WH = 0.5  # a counter may step by so much, however short the time
_COUNTERS = {  # with the loss of the converter that is in what it counts
    "grid_charged_wh": 0.0,
    "grid_discharged_wh": 0.0,
    "battery_charged_wh": _MOST_LOSS,
    "battery_discharged_wh": _MOST_LOSS,
}


@dataclass(slots=True)
class _Account:
    direction: Direction
    current_a: float
    limit_wh: float | None = None
    grid_moved_wh: float = 0.0
    battery_moved_wh: float = 0.0
    has_flowed: bool = False  # as ordered, as far as the converter could see
    assumed_grid_wh: float = 0.0  # of what has moved: booked as ordered, and not seen to flow
    assumed_battery_wh: float = 0.0

    @property
    def signed_a(self) -> float:
        """What it brings the converter. [A, + = from the bus]"""
        return self.current_a if self.direction is Direction.CHARGE else -self.current_a

    @property
    def room_wh(self) -> float:
        """What still fits below the limit. [Wh]"""
        if self.limit_wh is None:
            return float("inf")
        return max(self.limit_wh - self.grid_moved_wh, 0.0)


@dataclass(slots=True)
class EnergyLedger:
    """Accounts of the deals that use the own converter."""

    _accounts: dict[str, _Account] = field(default_factory=dict)
    _last: ConverterReading | None = None
    _matches_orders: bool = True  # the last reading, by the deals of that time
    _matched_ns: int = 0  # the stamp of the last that was
    _amiss: str = ""  # what a counter did that no energy does

    def open(self, deal_id: str, direction: Direction, current_a: float) -> None:
        """Begin to count for a deal, or change the current that decides its share.

        Args:
            deal_id: The deal.
            direction: This unit's direction in it.
            current_a: Its current on this converter, >= 0; with 0 nothing more is counted. [A]
        """
        if not current_a >= 0.0:
            raise ProtocolMisuse(
                f"deal {deal_id}: a share needs a current of at least 0 A, not {current_a}"
            )
        account = self._accounts.get(deal_id)
        if account is None:
            self._accounts[deal_id] = _Account(direction, current_a)
        elif current_a == 0.0:
            self.freeze(deal_id)
        else:
            account.current_a = current_a

    def limit(self, deal_id: str, limit_wh: float | None) -> None:
        """Say where a deal's share ends. [Wh over the bus terminal; None = nowhere]"""
        self._accounts[deal_id].limit_wh = limit_wh

    def freeze(self, deal_id: str) -> None:
        """Count nothing more for a deal; what it has moved is kept."""
        account = self._accounts.get(deal_id)
        if account is None or not account.current_a:
            return
        others = [a for a in self._running if a is not account]
        if not self._matches_orders and self._last and _matches_orders(self._last, others):
            account.grid_moved_wh -= account.assumed_grid_wh
            account.battery_moved_wh -= account.assumed_battery_wh
            self._matches_orders = True
            _confirm_assumed(self._accounts.values())
        account.current_a = 0.0

    def take_amiss(self) -> str:
        """Say once what a counter did that no energy does; mostly nothing."""
        amiss, self._amiss = self._amiss, ""
        return amiss

    def count(
        self,
        reading: ConverterReading,
        capacity_a: float = math.inf,
        longest_ns: int = 60 * SECOND_NS,
    ) -> None:
        """Share out what the counters grew by since the last reading.

        A reading without counters changes nothing. A counter that jumps, or goes back while its
        converter works, is amiss: nothing of that step is booked.

        Args:
            reading: The newest.
            capacity_a: What the converter can carry, > 0. [A]
            longest_ns: Readings that are farther apart tell of a clock that has jumped, and that
                moves no energy. [ns]
        """
        if reading.grid_charged_wh is None:
            return
        last, self._last = self._last, reading
        running = self._running
        self._matches_orders = not running or _matches_orders(reading, running)
        if self._matches_orders:
            self._matched_ns = reading.stamp_ns
        if last is None:
            return
        amiss = _why_not_plausible(last, reading, capacity_a, longest_ns)
        if amiss:
            self._amiss = amiss
            return
        if not self._accounts:
            return
        if self._matches_orders:
            for account in running:
                account.has_flowed = True
            _confirm_assumed(self._accounts.values())
        is_seen = reading.stamp_ns - self._matched_ns <= _PATIENCE_NS
        period_ns = min(max(reading.stamp_ns - last.stamp_ns, 0), longest_ns)
        for direction, grid_wh, battery_wh, per_grid in (
            (
                Direction.CHARGE,
                _growth(last.grid_charged_wh, reading.grid_charged_wh),
                _growth(last.battery_charged_wh, reading.battery_charged_wh),
                _usual_ratio(reading.grid_charged_wh, reading.battery_charged_wh),
            ),
            (
                Direction.DISCHARGE,
                _growth(last.grid_discharged_wh, reading.grid_discharged_wh),
                _growth(last.battery_discharged_wh, reading.battery_discharged_wh),
                _usual_ratio(reading.grid_discharged_wh, reading.battery_discharged_wh),
            ),
        ):
            part = [account for account in running if account.direction is direction]
            wh_per_a = wh_from_w(reading.grid_voltage_v or 0.0, period_ns)
            if (
                not is_seen
                and wh_per_a
                and _book_as_ordered(part, grid_wh, battery_wh, wh_per_a, per_grid)
            ):
                continue
            if grid_wh > 0.0 or battery_wh > 0.0:
                if reading.mode is ConverterMode.VOLTAGE_REFERENCE:
                    grid_wh, battery_wh = _exclude_foreign_current(
                        part, grid_wh, battery_wh, wh_per_a
                    )
                _share_out(part, grid_wh, battery_wh)

    @property
    def _running(self) -> list[_Account]:
        return [account for account in self._accounts.values() if account.current_a > 0.0]

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


def _matches_orders(reading: ConverterReading, running: Collection[_Account]) -> bool:
    """Whether a voltage reference carries what its deals together should bring it."""
    current_a = reading.grid_current_a
    if reading.mode is not ConverterMode.VOLTAGE_REFERENCE or current_a is None:
        return True
    smallest_a = min((account.current_a for account in running), default=_NO_CURRENT_A)
    return abs(current_a - sum(a.signed_a for a in running)) <= _ALIKE_RATIO * smallest_a


def _why_not_plausible(
    last: ConverterReading, reading: ConverterReading, capacity_a: float, longest_ns: int
) -> str:
    """Why what the counters say between two readings cannot be energy; empty = it can."""
    bus_v = max(last.grid_voltage_v or 0.0, reading.grid_voltage_v or 0.0)
    period_ns = reading.stamp_ns - last.stamp_ns
    if not last.stamp_ns or not 0 < period_ns < longest_ns:
        period_ns = longest_ns
    most_wh = _MOST_RATIO * wh_from_w(capacity_a * bus_v, period_ns) if bus_v else math.inf
    works = last.mode.is_active and reading.mode.is_active
    for name, loss_ratio in _COUNTERS.items():
        before_wh, after_wh = getattr(last, name), getattr(reading, name)
        if before_wh is None or after_wh is None:
            continue
        grown_wh = after_wh - before_wh
        if works and grown_wh < -_COUNTER_WH:  # a driver that starts anew says WAIT first
            return f"{name} went back from {before_wh:.2f} to {after_wh:.2f} Wh"
        if grown_wh > most_wh * (1.0 + loss_ratio) + _COUNTER_WH:
            return (
                f"{name} jumped from {before_wh:.2f} to {after_wh:.2f} Wh within "
                f"{s_from_ns(period_ns):.1f} s; {capacity_a:g} A move {most_wh:.2f} Wh at most"
            )
    return ""


def _confirm_assumed(accounts: Iterable[_Account]) -> None:
    """What was assumed has proved true."""
    for account in accounts:
        account.assumed_grid_wh = account.assumed_battery_wh = 0.0


def _book_as_ordered(
    running: Collection[_Account],
    grid_wh: float,
    battery_wh: float,
    wh_per_a: float,
    per_grid: float,
) -> bool:
    """Book what was ordered, if the count does not tell to which deal it belongs; True = done.

    A deal whose current has not been seen to come yet gets what is left.
    """
    flowing = [account for account in running if account.has_flowed]
    parts = [(account, account.current_a * wh_per_a) for account in flowing]
    ordered_wh = sum(part_wh for _, part_wh in parts)
    if not flowing or (len(running) == 1 and grid_wh <= ordered_wh):
        return False  # of a single deal's current the counter tells all that there was
    for account, part_wh in parts:
        part_wh = min(part_wh, account.room_wh)
        account.grid_moved_wh += part_wh
        account.battery_moved_wh += part_wh * per_grid
        account.assumed_grid_wh += part_wh
        account.assumed_battery_wh += part_wh * per_grid
        grid_wh, battery_wh = grid_wh - part_wh, battery_wh - part_wh * per_grid
    new = [account for account in running if not account.has_flowed]
    if new and grid_wh > 0.0:
        _share_out(new, grid_wh, max(battery_wh, 0.0))
    return True


def _exclude_foreign_current(
    running: Sequence[_Account], grid_wh: float, battery_wh: float, wh_per_a: float
) -> tuple[float, float]:
    """The count of a reference without the part that its open deals cannot have moved.

    What flows in the place of a deal whose share has ended belongs to none of them.
    """
    open_ = [account for account in running if account.room_wh > _FULL_WH]
    most_wh = _MOST_RATIO * sum(account.current_a for account in open_) * wh_per_a
    if not open_ or len(open_) == len(running) or not grid_wh > most_wh > 0.0:
        return grid_wh, battery_wh
    return most_wh, battery_wh * most_wh / grid_wh


def _share_out(running: Sequence[_Account], grid_wh: float, battery_wh: float) -> None:
    """Fill the accounts at the rates of their currents; one that is full leaves the rest."""
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
        open_ = [account for account in running if account.room_wh > _FULL_WH]
        running = open_ or running[-1:]  # what flows must be booked somewhere


def _usual_ratio(grid_wh: float | None, battery_wh: float | None) -> float:
    """Of battery to bus energy over the counters' whole life, within what a converter can do."""
    if not grid_wh or battery_wh is None:
        return 1.0
    return min(max(battery_wh / grid_wh, 1.0 - _MOST_LOSS), 1.0 + _MOST_LOSS)


def _growth(before_wh: float | None, after_wh: float | None) -> float:
    """Growth of a counter. [Wh]

    One that went back was reset, since its driver was restarted: that has said WAIT first, so
    hardly anything has moved since. Were it only overtaken on its way, all that the converter has
    ever moved would be booked.
    """
    if after_wh is None or before_wh is None:
        return 0.0
    return max(after_wh - before_wh, 0.0)
