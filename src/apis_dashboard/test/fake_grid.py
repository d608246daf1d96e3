"""An invented village behind the page, without ROS: for the tests of the page.

:class:`FakeGrid` is a :class:`~apis_dashboard.grid_source.Source`. As a program, this file serves
the page on it: ``python src/apis_dashboard/test/fake_grid.py --help``.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

from fake_deals import FakeDeals
from fake_houses import BUS_V, CAPACITY_WH, LINE_OHM, ZONE, FakeHouses, invented_site

from apis_dashboard.access import read_users
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
    BusRecord,
    ConverterMode,
    DiagnosticRecord,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    FaultRecord,
    Mode,
    ModeOrder,
    PriceRecord,
    Record,
    UnitRecord,
)
from apis_dashboard.server import make_server, open_port, serve
from apis_site.site import Site

START_S = datetime(2025, 6, 21, 11, 30, tzinfo=ZONE).timestamp()
SPEED = 20.0  # simulated seconds per wall second
STEP_S = 5.0  # simulated seconds per step
STEPS_AT_ONCE = 12
NAMES_PRICE_S = 600.0  # simulated
FOLLOW_S = 24.0  # simulated seconds until the last unit has taken up a new mode


class FakeGrid:
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
        self._houses = FakeHouses(self._ids, self._random)
        self._deals = FakeDeals(self._ids, self._random)
        self._modes = dict.fromkeys(self._ids, Mode.RUN)
        self._local = dict.fromkeys(self._ids, Mode.UNSET)
        self._ordered: tuple[Mode, float] = (Mode.RUN, -FOLLOW_S)
        self._hands: dict[str, tuple[ConverterWish, float]] = {}  # by hand, until then [wall s]
        self._gone: set[str] = set()
        self._reported: list[FaultRecord] = []
        self._broken: dict[str, BreakWish] = {}
        self._broken_count = 0
        self._model = GridModel(self._ids)
        self._lock = threading.RLock()
        self._clock = clock
        self._begin_s = clock()
        self._warm_up_s = warm_up_s
        self._elapsed_s = 0.0
        self._has_begun = False
        self.site: Site = invented_site(self._ids)

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
                self._elapsed_s += STEP_S
                for record in self._step(STEP_S):
                    self._model.take(record, now_s=self._clock(), ros_time_s=self._ros_time_s)
            return self._model.view(now_s=self._clock(), ros_time_s=self._ros_time_s)

    # --- orders ----------------------------------------------------------------------------------

    def set_mode(self, mode: Mode, unit_id: str = "") -> None:
        """Let the units follow one after the other."""
        with self._lock:
            if unit_id:
                self._local[unit_id] = Mode.UNSET if mode is Mode.RUN else mode
            else:
                self._ordered = (mode, self._elapsed_s)
            order = ModeOrder(mode=mode, unit_id=unit_id, issuer="test")
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
            deal_id, future = self._deals.begin_manual_deal(
                wish.giver_id,
                wish.taker_id,
                energy_wh=wish.energy_wh,
                current_a=wish.current_a,
                price_point_per_wh=wish.price_point_per_wh,
                now_s=self._ros_time_s,
            )
            progress(deal_id)
            return future

    def end_deal(self, deal_id: str) -> Future[Outcome]:
        """End any deal."""
        with self._lock:
            self._deals.end(deal_id)
        return _done(True, "is being ended")

    def report_fault(self, wish: FaultWish) -> None:
        """Let it be heard."""
        self._reported.append(
            FaultRecord(
                unit_id=wish.unit_id,
                reporter_id="test",
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

    def _price(self, unit_id: str) -> tuple[float, bool]:
        return self._houses.price(unit_id, self._hour)

    def _step(self, step_s: float) -> Iterator[Record]:
        mode, since_s = self._ordered
        for place, unit_id in enumerate(self._ids, start=1):
            if self._elapsed_s - since_s >= FOLLOW_S * place / len(self._ids):
                self._modes[unit_id] = mode
        # whoever looks first is to see a deal
        is_due = 0.0 <= self._warm_up_s - self._elapsed_s < 600.0
        now_s = self._ros_time_s
        self._deals.begin_by_chance(self._free_ids(), self._price, now_s=now_s, is_wanted=is_due)
        self._deals.step(step_s, now_s, self._effective)
        yield from self._deals.running
        faults, self._reported = self._reported, []
        yield from faults
        is_hot_from_s = self._warm_up_s - 3600.0
        if self._elapsed_s - step_s < is_hot_from_s <= self._elapsed_s:
            yield self._too_hot()
        self._deals.forget_ended()
        currents_a = self._currents_a()
        broken = self._broken.values()
        lost = {w.unit_id for w in broken if w.kind is BreakKind.LOST_COMMUNICATION}
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

    def _free_ids(self) -> list[str]:
        return sorted(
            (
                unit_id
                for unit_id in self._ids
                if self._effective(unit_id) is Mode.RUN
                and unit_id not in self._gone
                and not self._deals.of(unit_id)
            ),
            key=self._houses.soc_ratio.__getitem__,
        )

    def _too_hot(self) -> FaultRecord:
        return FaultRecord(
            unit_id=self._ids[-1],
            reporter_id=self._ids[-1],
            level=FaultLevel.WARN,
            code="converter_temperature_high",
            message="converter at 71 °C, above the warning limit of 70 °C",
            stamp_s=self._ros_time_s,
            category=FaultCategory.HARDWARE,
            extent=FaultExtent.LOCAL,
        )

    def _currents_a(self) -> dict[str, float]:
        currents_a = self._deals.currents_a()
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
        hands = self._hands.items()
        reference = ConverterMode.VOLTAGE_REFERENCE
        return next((unit_id for unit_id, (wish, _) in hands if wish.mode is reference), "")

    def _holder(self) -> str:
        """The bus has one reference: the one held by hand, or that of the oldest deal."""
        return self._hand_holder() or self._deals.reference_id()

    def _unit(self, unit_id: str, current_a: float, step_s: float) -> Iterator[Record]:
        yield self._houses.live(unit_id, self._hour, current_a, step_s)
        mode = ConverterMode.CHARGE if current_a > 0.0 else ConverterMode.DISCHARGE
        if unit_id == self._holder():
            mode = ConverterMode.VOLTAGE_REFERENCE
        elif current_a == 0.0:
            mode = ConverterMode.WAIT
        is_hot = unit_id == self._ids[-1] and abs(self._elapsed_s - self._warm_up_s) < 3600.0
        soc_ratio = self._houses.soc_ratio[unit_id]
        master_id = self._deals.grid_master_id
        effective = self._effective(unit_id)
        yield UnitRecord(
            unit_id=unit_id,
            global_mode=self._modes[unit_id],
            local_mode=self._local[unit_id],
            effective_mode=effective,
            is_grid_master=unit_id == master_id,
            grid_master_id=master_id,
            term=3,
            soc_ratio=soc_ratio,
            remaining_wh=soc_ratio * CAPACITY_WH,
            capacity_wh=CAPACITY_WH,
            battery_band=self._houses.band(unit_id, self._hour),
            committed_wh=self._deals.committed_wh(unit_id),
            policy_hash="3c94d1f0a2b7",
            deal_ids=tuple(deal.deal_id for deal in self._deals.of(unit_id)),
            slot_capacity=2,
            fault_codes=("converter_temperature_high",) if is_hot else (),
            not_dealing_reason="" if effective is Mode.RUN else "the operation mode forbids it",
            converter=self._houses.reading(
                unit_id, mode, current_a, step_s, is_up=bool(self._holder())
            ),
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
            message="converter_temperature_high" if is_hot else effective.name,
            values=(
                ("grid_master", master_id),
                ("term", "3"),
                ("converter_mode", mode.name),
                ("unanswered_calls", "0"),
            ),
        )


def _done(is_done: bool, words: str = "") -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(Outcome(is_done, words))
    return future


def main() -> int:
    """Serve the page on an invented village until it is stopped; give the exit code."""
    parser = argparse.ArgumentParser(
        description="The dashboard on an invented village, for tests."
    )
    parser.add_argument("--units", type=int, default=4, help="houses")
    parser.add_argument("--port", type=int, default=0, help="on loopback; 0 = any free")
    parser.add_argument("--audit", type=Path, help="audit log (default: in memory)")
    parser.add_argument("--access", type=Path, help="file of users (default: nobody logs in)")
    options = parser.parse_args()
    listener = open_port("127.0.0.1", options.port)
    commands = OperatorCommands(FakeGrid(options.units), History(None, ZONE), Audit(options.audit))
    server = make_server(commands, read_users(options.access) if options.access else None)

    def begin() -> None:
        commands.start()
        print("dashboard: http://{}:{}".format(*listener.getsockname()[:2]), flush=True)

    serve(server, listener, ready=begin)
    commands.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
