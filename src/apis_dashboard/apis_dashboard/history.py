"""What the dashboard remembers: it counts and averages the views of a grid, and keeps the results.

They go into the :mod:`operator's history <apis_site.operator_history>`, which survives a restart.
A simulation that begins again, before what is kept there, overwrites it from there on: what came
later has not happened any more.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path

from apis_dashboard.model import LONGEST_GAP_S, Event, GridView, UnitView
from apis_dashboard.records import DealRecord, DealState, PriceRecord
from apis_site import operator_history
from apis_site.history_values import BUS, Energy, EventRecord, Schedule, Series
from apis_site.operator_history import TIERS, OperatorHistory

__all__ = ["BUS", "Energy", "History", "Schedule", "Series", "days_back"]

PRUNE_EVERY = 200  # views
WENT_BACK_S = 120.0  # a clock that goes back by more is a simulation that began again

PRICES = ("asked_pt", "offered_pt")  # per Wh: for energy given, for energy taken
BUS_QUANTITIES = ("grid_v", "grid_w", "loss_w")  # voltage, transported, lost in the lines


class _Mean:
    """Means of some quantities over one bucket."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self._sums: dict[str, list[float]] = {}

    def add(self, values: dict[str, float | None]) -> None:
        for name, value in values.items():
            if value is not None:
                sums = self._sums.setdefault(name, [0.0, 0.0])
                sums[0] += value
                sums[1] += 1.0

    def means(self) -> dict[str, float | None]:
        return {name: total / count for name, (total, count) in self._sums.items()}


@dataclass
class _Last:
    """What a unit showed when it was last looked at."""

    t: float
    house_wh: dict[str, float]
    counters_wh: dict[str, float]


class History:
    """What is remembered of a grid. Every method may be called from any thread."""

    def __init__(self, path: Path | None, zone: tzinfo) -> None:
        """Open the operator's history, or make it.

        Args:
            path: Its file; None = in memory, for as long as the process lives.
            zone: Of the place: days begin at its midnight.
        """
        self._zone = zone
        self._lock = threading.RLock()
        self._means: dict[tuple[str, int], _Mean] = {}
        self._last: dict[str, _Last] = {}
        self._seen: set[tuple[object, ...]] = set()
        self._priced: dict[tuple[str, str], PriceRecord] = {}
        self._open_deals: dict[str, tuple[int, int]] = {}
        self._views = 0
        self._store = OperatorHistory(path)
        self._newest_s = self._store.newest_sample_s()

    def close(self) -> None:
        """Write what is in the open buckets and close the file."""
        with self._lock:
            with self._store.transaction():
                for (unit, width), mean in self._means.items():
                    self._write_mean(unit, width, mean)
            self._means.clear()
            self._store.close()

    # --- writing ---------------------------------------------------------------------------------

    def take(self, view: GridView) -> None:
        """Take in a view of the grid; call it about once a second."""
        t = view.ros_time_s
        if t is None:
            return
        with self._lock, self._store.transaction():
            if t < self._newest_s - WENT_BACK_S:
                self._rewind(t)
            self._newest_s = max(self._newest_s, t)
            for unit in view.units:
                if unit.is_present:
                    self._add_unit(unit, t)
            bus = view.bus
            flows = (bus.voltage_v, bus.transported_w, bus.line_loss_w)
            self._add_values(BUS, dict(zip(BUS_QUANTITIES, flows, strict=True)), t)
            for deal in (*view.running, *view.past):
                self._add_deal(deal)
            for event in reversed(view.events):
                self._add_event(event)
            self._views += 1
            if self._views % PRUNE_EVERY == 0:
                self._prune(t)

    def _add_unit(self, unit: UnitView, t: float) -> None:
        status, converter, house = unit.status, unit.converter, unit.house
        values = {
            "soc_ratio": status.soc_ratio if status else None,
            "solar_w": house.solar_w if house else None,
            "load_w": house.load_w if house else None,
            "mains_w": house.mains_w if house else None,
            "grid_w": converter.grid_power_w if converter else None,
            "grid_v": converter.grid_voltage_v if converter else None,
            "battery_w": converter.battery_power_w if converter else None,
        }
        for column, price in zip(PRICES, (unit.asked, unit.offered), strict=True):
            if price is not None and self._priced.get((unit.unit_id, column)) != price:
                self._priced[unit.unit_id, column] = price
                values[column] = price.price_point_per_wh
        self._add_values(unit.unit_id, values, t)
        counters_wh = (
            {
                "charged_wh": converter.grid_charged_wh,
                "discharged_wh": converter.grid_discharged_wh,
                "_battery_charged_wh": converter.battery_charged_wh,
                "_battery_discharged_wh": converter.battery_discharged_wh,
            }
            if converter
            else {}
        )
        new = _Last(
            t,
            asdict(unit.house_wh) if unit.house_wh else {},
            {name: value for name, value in counters_wh.items() if value is not None},
        )
        last = self._last.get(unit.unit_id)
        self._last[unit.unit_id] = new
        if last is not None and 0.0 < t - last.t <= LONGEST_GAP_S:
            self._store.add_energy(self._day(t), unit.unit_id, _between(last, new))

    def _add_values(self, unit: str, values: dict[str, float | None], t: float) -> None:
        for width, _ in TIERS:
            begin = int(t // width) * width
            mean = self._means.get((unit, width))
            if mean is None or mean.begin != begin:
                if mean is not None:
                    self._write_mean(unit, width, mean)
                mean = self._means[unit, width] = _Mean(begin)
            mean.add(values)

    def _write_mean(self, unit: str, width: int, mean: _Mean) -> None:
        self._store.put_sample(unit, width, mean.begin, mean.means())

    def _add_deal(self, deal: DealRecord) -> None:
        stamp = (deal.term, deal.sequence)
        if self._open_deals.get(deal.deal_id) == stamp:
            return
        self._open_deals[deal.deal_id] = stamp
        known = self._store.deal(deal.deal_id)
        if known is not None and known.state.is_over:
            return
        if known is not None:  # what was heard before a restart of the dashboard
            heard = {state for state, _ in deal.steps}
            earlier = tuple(step for step in known.steps if step[0] not in heard)
            deal = replace(deal, steps=(*earlier, *deal.steps))
        self._store.put_deal(deal, deal.created_at_s or self._newest_s)
        if deal.state.is_over and deal.price_point_per_wh:
            points = deal.price_point_per_wh * deal.moved_wh
            day = self._day(deal.ended_at_s or self._newest_s)
            self._store.add_energy(day, deal.discharge_unit_id, Energy(earned_pt=points))
            self._store.add_energy(day, deal.charge_unit_id, Energy(paid_pt=points))

    def _add_event(self, event: Event) -> None:
        key = (event.stamp_s, event.unit_id, event.code, event.text)
        if event.stamp_s is None or key in self._seen:
            return
        self._seen.add(key)
        self._store.put_event(
            EventRecord(
                stamp_s=event.stamp_s,
                unit_id=event.unit_id,
                text=event.text,
                level=event.level,
                code=event.code,
                category=event.category,
                extent=event.extent,
            )
        )

    def _rewind(self, t: float) -> None:
        self._store.forget_from(t, self._day(t))
        self._means.clear()
        self._last.clear()
        self._priced.clear()
        self._seen.clear()
        self._open_deals.clear()
        self._newest_s = t

    def _prune(self, t: float) -> None:
        self._store.prune(t, self._day(t))
        if len(self._seen) > operator_history.KEEP_EVENTS:
            self._seen.clear()
        if len(self._open_deals) > operator_history.KEEP_DEALS:
            self._open_deals.clear()

    def _day(self, t: float) -> date:
        return datetime.fromtimestamp(t, self._zone).date()

    # --- schedules -------------------------------------------------------------------------------

    def schedules(self) -> list[Schedule]:
        """Soft stops that are still to come, the next one first."""
        return self._store.schedules()

    def set_schedule(self, schedule: Schedule) -> None:
        """Keep a schedule; the unit's earlier one is replaced."""
        self._store.set_schedule(schedule)

    def clear_schedule(self, unit_id: str) -> None:
        """Forget a unit's schedule, if there is one; an empty id means that of the cluster."""
        self._store.clear_schedule(unit_id)

    # --- reading ---------------------------------------------------------------------------------

    def series(self, unit_id: str, from_s: float, to_s: float) -> Series:
        """The means of a unit, or of the :data:`BUS`, in the finest width that is kept so long."""
        width = next((w for w, keep_s in TIERS if from_s >= self._newest_s - keep_s), TIERS[-1][0])
        if to_s - from_s > 86_400.0:
            width = TIERS[-1][0]
        return self._store.series(unit_id, width, from_s, to_s)

    def deals(
        self,
        *,
        unit_id: str = "",
        state: DealState | None = None,
        from_s: float | None = None,
        to_s: float | None = None,
        limit: int = 200,
    ) -> list[DealRecord]:
        """Deals, running ones too, the newest first.

        Args:
            unit_id: Either side; empty = any.
            state: None = any.
            from_s: Created then or later.
            to_s: Created before.
            limit: At most so many.
        """
        return self._store.deals(
            unit_id=unit_id, state=state, from_s=from_s, to_s=to_s, limit=limit
        )

    def events(self, *, unit_id: str = "", limit: int = 200) -> list[Event]:
        """Faults and what else was worth knowing, the newest first."""
        found = self._store.events(unit_id=unit_id, limit=limit)
        return [Event(**vars(event)) for event in found]

    def energy(self, first: date, last: date) -> dict[str, Energy]:
        """What each unit made of these days, both included."""
        found: dict[str, Energy] = {}
        for _, unit_id, energy in self._store.energies(first, last):
            found.setdefault(unit_id, Energy()).add(energy)
        return dict(sorted(found.items()))

    def energy_by_day(self, first: date, last: date) -> dict[date, Energy]:
        """What all units together made of each of these days."""
        found: dict[date, Energy] = {}
        for day, _, energy in self._store.energies(first, last):
            found.setdefault(day, Energy()).add(energy)
        return found


def _between(last: _Last, new: _Last) -> Energy:
    """What flowed between two looks, by what has grown."""
    energy = Energy()
    for name, sum_wh in new.house_wh.items():
        setattr(energy, name, max(sum_wh - last.house_wh.get(name, 0.0), 0.0))
    grown = {
        name: count - last.counters_wh[name]
        for name, count in new.counters_wh.items()
        if name in last.counters_wh
    }
    if all(more >= 0.0 for more in grown.values()):  # else it was started anew
        energy.charged_wh = grown.get("charged_wh", 0.0)
        energy.discharged_wh = grown.get("discharged_wh", 0.0)
        if "_battery_charged_wh" in grown and "_battery_discharged_wh" in grown:
            into = energy.charged_wh - grown["_battery_charged_wh"]
            out = grown["_battery_discharged_wh"] - energy.discharged_wh
            energy.converter_loss_wh = max(into + out, 0.0)
    return energy


def days_back(today: date, days: int) -> Sequence[date]:
    """Today and the days before it, the oldest first."""
    return [today - timedelta(days=back) for back in reversed(range(days))]
