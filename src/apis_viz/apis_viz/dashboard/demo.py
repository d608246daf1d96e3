"""The dashboard on invented data, without ROS: ``python -m apis_viz.dashboard.demo --help``.

For work on the page and for its tests. The numbers are plausible and add up roughly; nothing
here is physics.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone, tzinfo

from apis_viz.dashboard.server import PortBusy, make_server, open_port, serve
from apis_viz.model import GridModel, GridView
from apis_viz.records import (
    BusRecord,
    ConverterMode,
    ConverterRecord,
    DealRecord,
    DealState,
    FaultLevel,
    FaultRecord,
    HouseRecord,
    Mode,
    ModeOrder,
    Record,
    UnitRecord,
)

__all__ = ["DemoSource", "main"]

ZONE = timezone(timedelta(hours=9), "JST")
START_S = datetime(2025, 6, 21, 11, 30, tzinfo=ZONE).timestamp()
SPEED = 20.0  # simulated seconds per wall second
STEP_S = 5.0  # simulated seconds per step
CAPACITY_WH = 4800.0
BUS_V = 350.0
FOLLOW_S = 40.0  # simulated seconds until the last unit has taken up a new mode
PHASES = (  # what a young deal goes through, and until what age [simulated s]
    (DealState.QUEUED, 10.0),
    (DealState.ACTIVATING, 20.0),
    (DealState.RAMPING_UP, 40.0),
    (DealState.STARTING, 50.0),
)


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
        self._ordered: tuple[Mode, float] = (Mode.RUN, -FOLLOW_S)
        self._deals: list[DealRecord] = []
        self._count = 0
        self._model = GridModel(self._ids)
        self._clock = clock
        self._begin_s = clock()
        self._warm_up_s = warm_up_s
        self._elapsed_s = 0.0

    @property
    def cluster(self) -> str:
        """Name of the invented cluster."""
        return "village"

    @property
    def zone(self) -> tzinfo:
        """Timezone of the invented place."""
        return ZONE

    def view(self) -> GridView:
        """Step to the present and look."""
        due_s = self._warm_up_s + (self._clock() - self._begin_s) * SPEED
        while self._elapsed_s + STEP_S <= due_s:
            self._elapsed_s += STEP_S
            for record in self._step():
                self._model.take(record, now_s=self._clock(), ros_time_s=self._ros_time_s)
        return self._model.view(now_s=self._clock(), ros_time_s=self._ros_time_s)

    def set_mode(self, mode: Mode) -> None:
        """Let the units follow one after the other."""
        self._ordered = (mode, self._elapsed_s)
        self._model.take(ModeOrder(mode=mode, issuer="demo"), now_s=self._clock())

    @property
    def _ros_time_s(self) -> float:
        return START_S - self._warm_up_s + self._elapsed_s

    def _step(self) -> Iterator[Record]:
        mode, since_s = self._ordered
        for place, unit_id in enumerate(self._ids, start=1):
            if self._elapsed_s - since_s >= FOLLOW_S * place / len(self._ids):
                self._modes[unit_id] = mode
        self._begin_deal()
        self._deals = [self._advance(deal) for deal in self._deals]
        yield from self._deals
        if self._elapsed_s == 3600.0:
            yield FaultRecord(
                unit_id=self._ids[-1],
                reporter_id=self._ids[-1],
                level=FaultLevel.WARN,
                code="converter_temperature_high",
                message="converter at 71 °C, above the warning limit of 70 °C",
                stamp_s=self._ros_time_s,
            )
        self._deals = [deal for deal in self._deals if not deal.state.is_over]
        currents_a = self._currents_a()
        for unit_id in self._ids:
            yield from self._unit(unit_id, currents_a[unit_id])
        sent_w = sum(-BUS_V * current_a for current_a in currents_a.values() if current_a < 0.0)
        holder = self._holder()
        yield BusRecord(
            voltage_v=BUS_V + self._random.uniform(-0.4, 0.4)
            if holder
            else self._random.uniform(0.0, 4.0),
            transported_power_w=sent_w,
            line_loss_w=0.006 * sent_w,
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
            (u for u in self._ids if u not in busy and self._modes[u] is Mode.RUN),
            key=self._soc.__getitem__,
        )
        if (
            len(free) < 2
            or len(self._deals) >= max(1, len(self._ids) // 4)
            or self._random.random() > 0.05
        ):
            return
        self._count += 1
        taker, giver = free[0], free[-1]
        self._deals.append(
            DealRecord(
                deal_id=f"demo-{self._count}",
                term=3,
                sequence=1,
                state=DealState.QUEUED,
                discharge_unit_id=giver,
                charge_unit_id=taker,
                voltage_reference_id=giver if self._count % 2 else taker,
                energy_wh=self._random.choice((120.0, 180.0, 240.0)),
                current_a=self._random.choice((1.0, 1.5, 2.0)),
                price_point_per_wh=round(self._random.uniform(8.0, 14.0), 1),
                created_at_s=self._ros_time_s,
            )
        )

    def _advance(self, deal: DealRecord) -> DealRecord:
        age_s = self._ros_time_s - (deal.created_at_s or 0.0)
        deal = replace(deal, sequence=deal.sequence + 1)
        if self._modes[deal.discharge_unit_id] in (Mode.FORCE_STOP, Mode.MANUAL):
            return self._ended(deal, DealState.ABORTED, "the operator stopped the cluster")
        young = next((state for state, until_s in PHASES if age_s < until_s), None)
        if young is not None:
            return replace(deal, state=young)
        if deal.moved_wh >= deal.energy_wh:
            return self._ended(deal, DealState.COMPLETED, "")
        moved_wh = min(deal.moved_wh + BUS_V * deal.current_a * STEP_S / 3600.0, deal.energy_wh)
        return replace(
            deal,
            state=DealState.RUNNING,
            started_at_s=deal.started_at_s or self._ros_time_s,
            moved_wh=moved_wh,
        )

    def _ended(self, deal: DealRecord, state: DealState, reason: str) -> DealRecord:
        now_s = self._ros_time_s
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
        return currents_a

    def _holder(self) -> str:
        """The bus has one reference: that of the oldest deal under way."""
        under_way = (
            deal
            for deal in self._deals
            if deal.state not in (DealState.QUEUED, DealState.ACTIVATING)
        )
        return next((deal.voltage_reference_id for deal in under_way), "")

    def _unit(self, unit_id: str, current_a: float) -> Iterator[Record]:
        hour = (self._ros_time_s + 9 * 3600.0) / 3600.0 % 24.0
        sun = max(0.0, math.sin(math.pi * (hour - 5.0) / 14.0)) if 5.0 < hour < 19.0 else 0.0
        solar_w = self._sun_w[unit_id] * sun * self._random.uniform(0.97, 1.0)
        load_w = self._use_w[unit_id] * self._random.uniform(0.9, 1.1)
        gain_wh = (0.35 * solar_w - 0.8 * load_w + BUS_V * current_a) * STEP_S / 3600.0
        soc = self._soc[unit_id] = min(max(self._soc[unit_id] + gain_wh / CAPACITY_WH, 0.06), 0.97)
        mode = ConverterMode.CHARGE if current_a > 0.0 else ConverterMode.DISCHARGE
        if unit_id == self._holder():
            mode = ConverterMode.VOLTAGE_REFERENCE
        elif current_a == 0.0:
            mode = ConverterMode.WAIT
        yield HouseRecord(
            unit_id=unit_id, solar_w=solar_w, load_w=load_w, mains_w=0.0 if soc > 0.1 else load_w
        )
        is_hot = unit_id == self._ids[-1] and 3600.0 <= self._elapsed_s < 9000.0
        yield UnitRecord(
            unit_id=unit_id,
            global_mode=self._modes[unit_id],
            effective_mode=self._modes[unit_id],
            is_grid_master=unit_id == self._ids[min(1, len(self._ids) - 1)],
            term=3,
            soc_ratio=soc,
            remaining_wh=soc * CAPACITY_WH,
            capacity_wh=CAPACITY_WH,
            battery_band=next(band for limit, band in _BANDS if soc >= limit),
            fault_codes=("converter_temperature_high",) if is_hot else (),
            not_dealing_reason=""
            if self._modes[unit_id] is Mode.RUN
            else "the operation mode forbids it",
            converter=ConverterRecord(
                unit_id=unit_id,
                mode=mode,
                grid_voltage_v=BUS_V + current_a * -0.3 if self._holder() else 2.0,
                grid_current_a=current_a,
                grid_power_w=BUS_V * current_a,
            ),
        )


_BANDS = ((0.8, "excess"), (0.5, "sufficient"), (0.3, "scarce"), (0.0, "short"))


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
    options = parser.parse_args(arguments)
    try:
        listener = open_port(options.host, options.port)
    except PortBusy as busy:
        print(busy, file=sys.stderr)
        return 2
    host, port = listener.getsockname()[:2]
    server = make_server(DemoSource(options.units))
    serve(
        server,
        listener,
        ready=lambda: print(f"dashboard (invented data): http://{host}:{port}", flush=True),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
