"""The dashboard on invented data, without ROS: ``python -m apis_dashboard.demo --help``.

For work on the page and for its tests. The numbers are plausible and add up roughly; nothing
here is physics.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from apis_core.config.scenario import Band, Rule, Rules, Scenario, Section
from apis_core.model.types import SelectionStrategy
from apis_dashboard.access import AccessError, is_loopback, read_users
from apis_dashboard.audit import Audit
from apis_dashboard.grid_source import (
    BreakKind,
    BreakWish,
    ConverterWish,
    DealWish,
    FaultWish,
    Outcome,
    Progress,
)
from apis_dashboard.history import History
from apis_dashboard.model import GridModel, GridView
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.records import (
    Alarm,
    BusRecord,
    ConverterMode,
    ConverterRecord,
    DealRecord,
    DealState,
    DiagnosticRecord,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    FaultRecord,
    HouseRecord,
    Mode,
    ModeOrder,
    PriceRecord,
    Record,
    UnitRecord,
)
from apis_dashboard.server import PortBusy, make_server, open_port, serve
from apis_site.plan import GridPlan, Place
from apis_site.site import Site, UnitSite

__all__ = ["DemoSource", "main"]

ZONE = timezone(timedelta(hours=9), "JST")
START_S = datetime(2025, 6, 21, 11, 30, tzinfo=ZONE).timestamp()
SPEED = 20.0  # simulated seconds per wall second
STEP_S = 5.0  # simulated seconds per step
STEPS_AT_ONCE = 12
CAPACITY_WH = 4800.0
BUS_V = 350.0
LINE_OHM = 0.8  # from each house to the middle of the bus
NAMES_PRICE_S = 600.0  # simulated
FOLLOW_S = 24.0  # simulated seconds until the last unit has taken up a new mode
PHASES = (  # what a young deal goes through, and until what age [simulated s]
    (DealState.QUEUED, 10.0),
    (DealState.ACTIVATING, 20.0),
    (DealState.RAMPING_UP, 40.0),
    (DealState.STARTING, 50.0),
)


@dataclass(frozen=True)
class DayPart:
    """Bands of the scenario until an hour of the day, and what a unit in each names as price."""

    until_h: float
    bands: tuple[tuple[float, str], ...]  # from this state of charge on, the highest first
    prices: dict[str, tuple[float | None, float | None]]  # asked, or offered [pt/Wh]


NIGHT = DayPart(
    6.0,
    ((0.7, "excess"), (0.5, "sufficient"), (0.3, "scarce"), (0.0, "short")),
    {
        "excess": (10.0, None),
        "sufficient": (12.0, None),
        "scarce": (None, 11.0),
        "short": (None, 14.0),
    },
)
DAYTIME = DayPart(
    17.0,
    ((0.8, "excess"), (0.6, "sufficient"), (0.4, "scarce"), (0.0, "short")),
    {
        "excess": (8.0, None),
        "sufficient": (10.0, None),
        "scarce": (None, 9.0),
        "short": (None, 12.0),
    },
)
DAY = (NIGHT, DAYTIME, replace(NIGHT, until_h=24.0))


class DemoSource:
    """An invented village, stepped to the present whenever somebody looks."""

    def __init__(
        self,
        units: int = 4,
        *,
        clock: Callable[[], float] = time.monotonic,
        warm_up_s: float = 7200.0,
    ) -> None:
        """Invent the village.

        Args:
            units: How many houses.
            clock: Monotonic wall clock. [s]
            warm_up_s: Simulated time before the first look, so that there is a past to show. [s]
        """
        self._ids = [f"E{number:03d}" for number in range(1, units + 1)]
        self._random = random.Random(7)
        self._soc = {unit_id: self._random.uniform(0.25, 0.9) for unit_id in self._ids}
        self._sun_w = {unit_id: self._random.uniform(800.0, 2600.0) for unit_id in self._ids}
        self._use_w = {unit_id: self._random.uniform(180.0, 900.0) for unit_id in self._ids}
        self._modes = dict.fromkeys(self._ids, Mode.RUN)
        self._local = dict.fromkeys(self._ids, Mode.UNSET)
        self._ordered: tuple[Mode, float] = (Mode.RUN, -FOLLOW_S)
        self._hands: dict[str, tuple[ConverterWish, float]] = {}  # by hand, until then [wall s]
        self._counters_wh = {unit_id: [0.0, 0.0, 0.0, 0.0] for unit_id in self._ids}
        self._deals: list[DealRecord] = []
        self._futures: dict[str, Future[Outcome]] = {}
        self._gone: set[str] = set()
        self._reported: list[FaultRecord] = []
        self._count = 0
        self._broken: dict[str, BreakWish] = {}
        self._broken_count = 0
        self._site = _site(self._ids)
        self._model = GridModel(self._ids)
        self._lock = threading.RLock()
        self._clock = clock
        self._begin_s = clock()
        self._warm_up_s = warm_up_s
        self._elapsed_s = 0.0
        self._has_begun = False

    @property
    def site(self) -> Site:
        """What the files of the invented village would say."""
        return self._site

    def view(self) -> GridView:
        """Step to the present and look."""
        with self._lock:
            now_s = self._clock()
            due_s = self._warm_up_s + (now_s - self._begin_s) * SPEED
            latest_s = self._elapsed_s + STEPS_AT_ONCE * STEP_S
            if self._has_begun and due_s > latest_s:  # a busy machine: time goes slower here
                self._begin_s += (due_s - latest_s) / SPEED
                due_s = latest_s
            self._has_begun = True
            while self._elapsed_s + STEP_S <= due_s:
                self._take(STEP_S)
            return self._look()

    def past(self, days: int, history: History) -> None:
        """Invent a past, in coarse steps, and write it into a history."""
        with self._lock:
            self._warm_up_s += days * 86_400.0
            while self._elapsed_s < self._warm_up_s:
                is_near = self._warm_up_s - self._elapsed_s < 86_400.0
                self._take(60.0 if is_near else 600.0)
                history.add(self._look())

    def _take(self, step_s: float) -> None:
        self._elapsed_s += step_s
        for record in self._step(step_s):
            self._model.take(record, now_s=self._clock(), ros_time_s=self._ros_time_s)

    def _look(self) -> GridView:
        return self._model.view(now_s=self._clock(), ros_time_s=self._ros_time_s)

    # --- orders ----------------------------------------------------------------------------------

    def set_mode(self, mode: Mode, unit_id: str = "") -> None:
        """Let the units follow one after the other."""
        with self._lock:
            if unit_id:
                self._local[unit_id] = Mode.UNSET if mode is Mode.RUN else mode
            else:
                self._ordered = (mode, self._elapsed_s)
            order = ModeOrder(mode=mode, unit_id=unit_id, issuer="demo")
            self._model.take(order, now_s=self._clock())

    def order(self, wish: ConverterWish) -> Future[Outcome]:
        """Order a converter by hand."""
        with self._lock:
            if wish.mode is ConverterMode.WAIT:
                self._hands.pop(wish.unit_id, None)
                return _done(True)
            if self._effective(wish.unit_id) is not Mode.MANUAL:
                return _done(False, f"{wish.unit_id} is not in Manual")
            known = self._hands.get(wish.unit_id)
            kept = known[0] if known and wish.mode is None else wish
            self._hands[wish.unit_id] = (kept, self._clock() + wish.hold_s)
            return _done(True)

    def deal(self, wish: DealWish, progress: Progress) -> Future[Outcome]:
        """Make a deal by hand."""
        with self._lock:
            if self._effective(wish.giver_id) not in (Mode.RUN, Mode.SOFT_STOP):
                return _done(False, "the operation mode forbids it (402)")
            deal = self._new_deal(wish.giver_id, wish.taker_id, wish.energy_wh, wish.current_a)
            self._deals.append(replace(deal, price_point_per_wh=wish.price_point_per_wh))
            self._futures[deal.deal_id] = Future()
            progress(deal.deal_id)
            return self._futures[deal.deal_id]

    def end_deal(self, deal_id: str) -> Future[Outcome]:
        """End any deal."""
        with self._lock:
            self._deals = [
                replace(deal, energy_wh=max(deal.moved_wh, 0.1))
                if deal.deal_id == deal_id
                else deal
                for deal in self._deals
            ]
        return _done(True, "is being ended")

    def report_fault(self, wish: FaultWish) -> None:
        """Let it be heard."""
        self._reported.append(
            FaultRecord(
                unit_id=wish.unit_id,
                reporter_id="demo",
                level=wish.level,
                code="made_by_operator",
                message=wish.message,
                stamp_s=self._ros_time_s,
                category=wish.category,
                extent=wish.extent,
            )
        )

    def break_hardware(self, wish: BreakWish) -> Future[Outcome]:
        """Note it; a lost communication makes the unit silent, the rest has no physics here."""
        self._broken_count += 1
        fault_id = f"F{self._broken_count}"
        with self._lock:
            self._broken[fault_id] = wish
        return _done(True, f"broken: {fault_id}")

    def repair(self, fault_id: str) -> Future[Outcome]:
        """Forget it, or all."""
        with self._lock:
            if fault_id and fault_id not in self._broken:
                return _done(False, f"there is no fault {fault_id} (701)")
            self._broken = {i: w for i, w in self._broken.items() if fault_id and i != fault_id}
        return _done(True, "repaired")

    def broken(self) -> tuple[str, ...]:
        """What is noted."""
        return tuple(
            f"{fault_id}: {wish.kind.name.lower()} {wish.unit_id}"
            + (f"-{wish.other_unit_id}" if wish.other_unit_id else "")
            for fault_id, wish in self._broken.items()
        )

    def shut_down(self, unit_id: str) -> Future[Outcome]:
        """The unit falls silent."""
        if self._effective(unit_id) is not Mode.MANUAL:
            return _done(False, "the mode is not MANUAL (502)")
        self._gone.add(unit_id)
        return _done(True)

    def set_log_level(self, unit_id: str, level: str) -> Future[Outcome]:
        """Nobody writes anything here."""
        return _done(True, f"{unit_id} writes {level}")

    def flush(self) -> None:
        """Begin with an empty model."""
        with self._lock:
            self._model = GridModel(self._ids)

    # --- what happens ----------------------------------------------------------------------------

    def _effective(self, unit_id: str) -> Mode:
        mode, local = self._modes[unit_id], self._local[unit_id]
        return mode if mode is Mode.MANUAL or local is Mode.UNSET else max(mode, local)

    @property
    def _ros_time_s(self) -> float:
        return START_S - self._warm_up_s + self._elapsed_s

    @property
    def _hour(self) -> float:
        """Time of day at the place, 0..24. [h]"""
        return (self._ros_time_s + 9 * 3600.0) / 3600.0 % 24.0

    def _band(self, unit_id: str) -> str:
        part = next(part for part in DAY if self._hour < part.until_h)
        return next(band for limit, band in part.bands if self._soc[unit_id] >= limit)

    def _price(self, unit_id: str) -> tuple[float, bool]:
        """What it names, and whether it asks that for energy that it would give."""
        part = next(part for part in DAY if self._hour < part.until_h)
        asked, offered = part.prices[self._band(unit_id)]
        return (asked, True) if offered is None else (offered, False)  # type: ignore[return-value]

    def _step(self, step_s: float) -> Iterator[Record]:
        mode, since_s = self._ordered
        for place, unit_id in enumerate(self._ids, start=1):
            if self._elapsed_s - since_s >= FOLLOW_S * place / len(self._ids):
                self._modes[unit_id] = mode
        self._begin_deal()
        self._deals = [self._advance(deal, step_s) for deal in self._deals]
        yield from self._deals
        faults, self._reported = self._reported, []
        yield from faults
        is_hot_from_s = self._warm_up_s - 3600.0
        if self._elapsed_s - step_s < is_hot_from_s <= self._elapsed_s:
            yield FaultRecord(
                unit_id=self._ids[-1],
                reporter_id=self._ids[-1],
                level=FaultLevel.WARN,
                code="converter_temperature_high",
                message="converter at 71 °C, above the warning limit of 70 °C",
                stamp_s=self._ros_time_s,
                category=FaultCategory.HARDWARE,
                extent=FaultExtent.LOCAL,
            )
        self._deals = [deal for deal in self._deals if not deal.state.is_over]
        currents_a = self._currents_a()
        lost = {
            wish.unit_id
            for wish in self._broken.values()
            if wish.kind is BreakKind.LOST_COMMUNICATION
        }
        for unit_id in self._ids:
            if unit_id not in self._gone | lost:
                yield from self._unit(unit_id, currents_a[unit_id], step_s)
        sent_w = sum(-BUS_V * current_a for current_a in currents_a.values() if current_a < 0.0)
        holder = self._holder()
        yield BusRecord(
            voltage_v=BUS_V + self._random.uniform(-0.4, 0.4)
            if holder
            else self._random.uniform(0.0, 4.0),
            transported_power_w=sent_w,
            line_loss_w=sum(LINE_OHM * current_a**2 for current_a in currents_a.values()),
            voltage_reference_ids=(holder,) if holder else (),
            speed=SPEED,
        )

    def _begin_deal(self) -> None:
        busy = {
            unit_id
            for deal in self._deals
            for unit_id in (deal.discharge_unit_id, deal.charge_unit_id)
        }
        free = sorted(
            (
                u
                for u in self._ids
                if u not in busy and self._effective(u) is Mode.RUN and u not in self._gone
            ),
            key=self._soc.__getitem__,
        )
        # whoever looks first is to see a deal
        is_due = not self._deals and 0.0 <= self._warm_up_s - self._elapsed_s < 600.0
        if (
            len(free) < 2
            or len(self._deals) >= max(1, len(self._ids) // 10, min(len(self._ids) // 4, 5))
            or (self._random.random() > 0.05 * max(1.0, len(self._ids) / 12) and not is_due)
        ):
            return
        deal = self._new_deal(free[-1], free[0], self._random.choice((120.0, 180.0, 240.0)), None)
        named = [self._price(unit_id)[0] for unit_id in (free[-1], free[0])]
        price = round(sum(named) / 2.0, 1)
        self._deals.append(replace(deal, price_point_per_wh=price))

    def _new_deal(
        self, giver: str, taker: str, energy_wh: float, current_a: float | None
    ) -> DealRecord:
        self._count += 1
        return DealRecord(
            deal_id=f"demo-{self._count}",
            term=3,
            sequence=1,
            state=DealState.QUEUED,
            request_unit_id=taker,
            accept_unit_id=giver,
            discharge_unit_id=giver,
            charge_unit_id=taker,
            voltage_reference_id=giver if self._count % 2 else taker,
            grid_master_id=self._ids[min(1, len(self._ids) - 1)],
            energy_wh=energy_wh,
            current_a=current_a or self._random.choice((1.0, 1.5, 2.0)),
            created_at_s=self._ros_time_s,
        )

    def _advance(self, deal: DealRecord, step_s: float) -> DealRecord:
        age_s = self._ros_time_s - (deal.created_at_s or 0.0)
        deal = replace(deal, sequence=deal.sequence + 1, stamp_s=self._ros_time_s)
        if self._effective(deal.discharge_unit_id) in (Mode.FORCE_STOP, Mode.MANUAL):
            return self._ended(deal, DealState.ABORTED, "the operator stopped the cluster")
        young = next((state for state, until_s in PHASES if age_s < until_s), None)
        if young is not None:
            return replace(deal, state=young)
        if deal.moved_wh >= deal.energy_wh:
            return self._ended(deal, DealState.COMPLETED, "")
        moved_wh = min(deal.moved_wh + BUS_V * deal.current_a * step_s / 3600.0, deal.energy_wh)
        return replace(
            deal,
            state=DealState.RUNNING,
            started_at_s=deal.started_at_s or self._ros_time_s,
            moved_wh=moved_wh,
        )

    def _ended(self, deal: DealRecord, state: DealState, reason: str) -> DealRecord:
        now_s = self._ros_time_s
        future = self._futures.pop(deal.deal_id, None)
        if future is not None:
            future.set_result(
                Outcome(state is DealState.COMPLETED, reason or f"{deal.moved_wh:.1f} Wh moved")
            )
        sent_wh, received_wh = 1.03 * deal.moved_wh, 0.998 * deal.moved_wh
        return replace(
            deal,
            state=state,
            reason=reason,
            sent_wh=sent_wh,
            received_wh=received_wh,
            stopped_at_s=now_s,
            ended_at_s=now_s,
        )

    def _currents_a(self) -> dict[str, float]:
        currents_a = dict.fromkeys(self._ids, 0.0)
        for deal in self._deals:
            if deal.state is DealState.RUNNING:
                currents_a[deal.discharge_unit_id] -= deal.current_a
                currents_a[deal.charge_unit_id] += deal.current_a
        now_s = self._clock()
        self._hands = {u: hand for u, hand in self._hands.items() if hand[1] > now_s}
        for unit_id, (wish, _) in self._hands.items():
            sign = {ConverterMode.CHARGE: 1.0, ConverterMode.DISCHARGE: -1.0}.get(wish.mode, 0.0)  # type: ignore[arg-type]
            currents_a[unit_id] = sign * (wish.grid_current_a or 0.0)
        holder = self._hand_holder()
        if holder:
            currents_a[holder] = -sum(a for unit_id, a in currents_a.items() if unit_id != holder)
        return currents_a

    def _hand_holder(self) -> str:
        return next(
            (u for u, (w, _) in self._hands.items() if w.mode is ConverterMode.VOLTAGE_REFERENCE),
            "",
        )

    def _holder(self) -> str:
        """The bus has one reference: the one held by hand, or that of the oldest deal."""
        if self._hand_holder():
            return self._hand_holder()
        under_way = (
            deal
            for deal in self._deals
            if deal.state not in (DealState.QUEUED, DealState.ACTIVATING)
        )
        return next((deal.voltage_reference_id for deal in under_way), "")

    def _unit(self, unit_id: str, current_a: float, step_s: float) -> Iterator[Record]:
        hour = self._hour
        sun = max(0.0, math.sin(math.pi * (hour - 5.0) / 14.0)) if 5.0 < hour < 19.0 else 0.0
        evening = 1.0 + 0.9 * math.exp(-(((hour - 19.5) / 2.0) ** 2))
        available_w = self._sun_w[unit_id] * sun * self._random.uniform(0.97, 1.0)
        load_w = self._use_w[unit_id] * self._random.uniform(0.9, 1.1) * evening
        soc = self._soc[unit_id]
        surplus_w = max(available_w - load_w / 0.9, 0.0)  # a full battery throttles the panels
        solar_w = available_w - surplus_w * min(max((soc - 0.94) / 0.02, 0.0), 1.0)
        mains_w = 0.0 if soc > 0.12 else load_w
        battery_w = 0.9 * solar_w - load_w + mains_w + BUS_V * current_a * 0.96
        gain_wh = battery_w * step_s / 3600.0
        soc = self._soc[unit_id] = min(max(soc + gain_wh / CAPACITY_WH, 0.06), 0.97)
        mode = ConverterMode.CHARGE if current_a > 0.0 else ConverterMode.DISCHARGE
        if unit_id == self._holder():
            mode = ConverterMode.VOLTAGE_REFERENCE
        elif current_a == 0.0:
            mode = ConverterMode.WAIT
        yield HouseRecord(
            unit_id=unit_id,
            solar_w=solar_w,
            solar_available_w=available_w,
            load_w=load_w,
            mains_w=mains_w,
            losses_w=30.0 + 0.1 * solar_w,
            unserved_w=0.0,
            stamp_s=self._ros_time_s,
        )
        is_hot = unit_id == self._ids[-1] and abs(self._elapsed_s - self._warm_up_s) < 3600.0
        converter = self._reading(unit_id, mode, current_a, step_s)
        yield UnitRecord(
            unit_id=unit_id,
            global_mode=self._modes[unit_id],
            local_mode=self._local[unit_id],
            effective_mode=self._effective(unit_id),
            is_grid_master=unit_id == self._ids[min(1, len(self._ids) - 1)],
            grid_master_id=self._ids[min(1, len(self._ids) - 1)],
            term=3,
            soc_ratio=soc,
            remaining_wh=soc * CAPACITY_WH,
            capacity_wh=CAPACITY_WH,
            battery_band=self._band(unit_id),
            committed_wh=self._committed_wh(unit_id),
            policy_hash="3c94d1f0a2b7",
            deal_ids=tuple(
                deal.deal_id
                for deal in self._deals
                if unit_id in (deal.discharge_unit_id, deal.charge_unit_id)
            ),
            slot_capacity=2,
            fault_codes=("converter_temperature_high",) if is_hot else (),
            not_dealing_reason=""
            if self._effective(unit_id) is Mode.RUN
            else "the operation mode forbids it",
            converter=converter,
        )
        if self._elapsed_s % NAMES_PRICE_S < step_s:
            price, is_asked = self._price(unit_id)
            yield PriceRecord(
                unit_id=unit_id,
                is_asked=is_asked,
                price_point_per_wh=price,
                stamp_s=self._ros_time_s,
            )
        yield DiagnosticRecord(
            unit_id=unit_id,
            level=2 if is_hot else 0,
            message="converter_temperature_high" if is_hot else self._effective(unit_id).name,
            values=(
                ("grid_master", "E002"),
                ("term", "3"),
                ("converter_mode", mode.name),
                ("unanswered_calls", "0"),
            ),
        )

    def _committed_wh(self, unit_id: str) -> float:
        return sum(
            (1.0 if deal.charge_unit_id == unit_id else -1.0) * (deal.energy_wh - deal.moved_wh)
            for deal in self._deals
            if unit_id in (deal.charge_unit_id, deal.discharge_unit_id)
        )

    def _reading(
        self, unit_id: str, mode: ConverterMode, current_a: float, step_s: float
    ) -> ConverterRecord:
        voltage_v = BUS_V - LINE_OHM * current_a if self._holder() else 2.0
        power_w = voltage_v * current_a
        battery_w = power_w - 30.0 - 0.04 * abs(power_w) if mode.is_active else -4.5
        counters = self._counters_wh[unit_id]
        hours = step_s / 3600.0
        for place, watts in enumerate((power_w, -power_w, battery_w, -battery_w)):
            counters[place] += max(watts, 0.0) * hours
        return ConverterRecord(
            unit_id=unit_id,
            mode=mode,
            alarm=Alarm.NONE,
            grid_voltage_v=voltage_v,
            grid_current_a=current_a,
            grid_power_w=power_w,
            battery_voltage_v=52.0 + 2.0 * self._soc[unit_id],
            battery_current_a=battery_w / 53.0,
            battery_power_w=battery_w,
            temp_degc=31.0 + 0.004 * abs(power_w),
            grid_voltage_setpoint_v=BUS_V if mode is ConverterMode.VOLTAGE_REFERENCE else 0.0,
            grid_current_setpoint_a=abs(current_a),
            droop_ratio=0.0,
            grid_charged_wh=counters[0],
            grid_discharged_wh=counters[1],
            battery_charged_wh=counters[2],
            battery_discharged_wh=counters[3],
            term=3,
            hold_remaining_s=4.0 if mode.is_active else 0.0,
        )


def _done(is_done: bool, words: str = "") -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(Outcome(is_done, words))
    return future


def _section(part: DayPart, from_h: float) -> Section:
    uppers = [None, *(limit * CAPACITY_WH for limit, _ in part.bands[:-1])]
    bands = tuple(
        Band(name, limit * CAPACITY_WH or None, upper)
        for (limit, name), upper in zip(part.bands, uppers, strict=True)
    )[::-1]

    def rules(band: str, limit_wh: float) -> Rules:
        asked, offered = part.prices[band]
        if asked is not None:
            return Rules(discharge=Rule(limit_wh, asked))
        return Rules(charge=Rule(limit_wh, offered))

    return Section(
        from_s=int(from_h * 3600),
        to_s=int(part.until_h * 3600),
        bands=bands,
        request={"excess": rules("excess", 3600.0), "short": rules("short", 2400.0)},
        accept={band: rules(band, 2880.0) for band in part.prices},
        selection=SelectionStrategy.POINT_AND_AMOUNT,
    )


def _site(ids: list[str]) -> Site:
    scenario = Scenario(
        tuple(
            _section(part, from_h)
            for part, from_h in zip(DAY, (0.0, *(p.until_h for p in DAY)), strict=False)
        )
    )
    places = [Place(u, 20.0 * (i // 2), 24.0 * (i % 2)) for i, u in enumerate(ids)]
    units = {unit_id: UnitSite(scenario=scenario) for unit_id in ids}
    return Site("village", ZONE, GridPlan.of(places), units=units, is_simulated=True)


def main(arguments: list[str] | None = None) -> int:
    """Serve the demo until it is stopped; give the exit code."""
    parser = argparse.ArgumentParser(description="The dashboard on invented data, without ROS.")
    parser.add_argument("--units", type=int, default=4, help="houses (default %(default)s)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=4382,
        help="port to listen on, 0 = any free (default %(default)s)",
    )
    parser.add_argument(
        "--past-days", type=int, default=1, help="invented past (default %(default)s)"
    )
    parser.add_argument("--history", type=Path, help="SQLite file (default: in memory)")
    parser.add_argument("--audit", type=Path, help="audit log (default: in memory)")
    parser.add_argument("--access", type=Path, help="file of users (default: nobody logs in)")
    options = parser.parse_args(arguments)
    try:
        users = read_users(options.access) if options.access else None
        if users is None and not is_loopback(options.host):
            raise AccessError(f"--host {options.host} is open to the network: needs --access FILE")
        listener = open_port(options.host, options.port)
    except (PortBusy, AccessError) as error:
        print(
            f"dashboard: {error}".replace("dashboard: dashboard:", "dashboard:"), file=sys.stderr
        )
        return 2
    host, port = listener.getsockname()[:2]
    source = DemoSource(options.units)
    history = History(options.history, ZONE)
    source.past(options.past_days, history)
    commands = OperatorCommands(source, history, Audit(options.audit))
    server = make_server(commands, users)

    def begin() -> None:
        commands.start()
        print(f"dashboard (invented data): http://{host}:{port}", flush=True)

    serve(server, listener, ready=begin)
    commands.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
