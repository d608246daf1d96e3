"""Everything that is worth a curve or an alarm, read from a watch when Prometheus asks.

Names begin with ``apis_`` and end with the unit. Positive flows from the bus into the unit. What
is not known has no sample: a gap in a curve, not a zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apis_core.config.timing import SILENT_AFTER_S
from apis_interfaces.msg import ConverterState, Deal, Fault, OperationMode
from apis_ros.grid_listener import OVER, GridListener

__all__ = ["GridCollector"]

REMEMBERED_DEALS = 5000  # whose energy is counted; beyond, the oldest are forgotten

MODES = {
    OperationMode.MODE_UNSET: "unset",
    OperationMode.MODE_RUN: "run",
    OperationMode.MODE_SOFT_STOP: "soft_stop",
    OperationMode.MODE_FORCE_STOP: "force_stop",
    OperationMode.MODE_MANUAL: "manual",
}
ENDS = {
    Deal.STATE_COMPLETED: "completed",
    Deal.STATE_ABORTED: "aborted",
    Deal.STATE_SCRAMMED: "scrammed",
}
LEVELS = {Fault.LEVEL_WARN: "warn", Fault.LEVEL_ERROR: "error", Fault.LEVEL_FATAL: "fatal"}

# name, help, field of the message
CONVERTER_GAUGES = (
    ("grid_voltage_volts", "At the bus terminal.", "grid_voltage_v"),
    ("grid_current_amperes", "From the bus into the unit.", "grid_current_a"),
    ("grid_power_watts", "From the bus into the unit.", "grid_power_w"),
    ("battery_power_watts", "Into the battery.", "battery_power_w"),
    ("temperature_celsius", "Inside the converter.", "converter_temp_degc"),
)
CONVERTER_COUNTERS = (
    ("grid", "in", "grid_charged_wh"),
    ("grid", "out", "grid_discharged_wh"),
    ("battery", "in", "battery_charged_wh"),
    ("battery", "out", "battery_discharged_wh"),
)
HOUSE_GAUGES = (
    ("solar_watts", "Produced by the panels.", "solar_power_w"),
    ("load_watts", "Taken by the house.", "load_power_w"),
    ("mains_watts", "Bought from the mains.", "mains_power_w"),
    ("unserved_watts", "Load that could not be fed.", "unserved_load_w"),
)


class GridCollector(Collector):
    """Reads a watch; counts what ends or fails as it is told of it."""

    def __init__(self, watch: GridListener, cluster: str) -> None:
        self._watch = watch
        self._cluster = cluster
        self._ended: Counter[str] = Counter(dict.fromkeys(ENDS.values(), 0))
        self._faults: Counter[tuple[str, str, str]] = Counter()
        self._moved_wh: Counter[tuple[str, str]] = Counter()
        self._counted: dict[str, tuple[float, bool]] = {}  # deal id -> [Wh] counted, is over
        watch.after_each(self._count)

    def describe(self) -> Iterable[Metric]:
        """Nothing yet: what there is depends on the grid, and is collected when asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All samples of this moment."""
        with self._watch.lock:
            yield from [
                *self._units(), *self._converters(), *self._houses(),
                *self._deals(), *self._bus(), *self._diagnostics(),
            ]  # fmt: skip

    def _count(self, message: object) -> None:
        if isinstance(message, Fault):
            level = LEVELS.get(message.level, "unknown")
            self._faults[message.unit_id, message.code, level] += 1
        elif isinstance(message, Deal):
            # The watch's record: a late one of an older state is not in it.
            deal = self._watch.deals.get(message.deal_id, message)
            counted_wh, was_over = self._counted.get(deal.deal_id, (0.0, False))
            gained_wh = max(deal.moved_wh - counted_wh, 0.0)
            self._moved_wh[deal.discharge_unit_id, deal.charge_unit_id] += gained_wh
            if deal.state in OVER and not was_over:
                self._ended[ENDS[deal.state]] += 1
            self._counted[deal.deal_id] = (counted_wh + gained_wh, was_over or deal.state in OVER)
            if len(self._counted) > REMEMBERED_DEALS:
                del self._counted[next(iter(self._counted))]

    def _units(self) -> list[Metric]:
        watch, gauge = self._watch, self._gauge
        present = gauge("unit_present", "1 if the unit has spoken lately.", "unit")
        soc = gauge("unit_soc_ratio", "State of charge, 0 to 1.", "unit")
        stored = gauge("unit_stored_wh", "Energy in the battery.", "unit")
        capacity = gauge("unit_capacity_wh", "Capacity of the battery.", "unit")
        deals = gauge("unit_deals", "Deals that hold a slot.", "unit")
        faults = gauge("unit_faults", "Faults that are not over.", "unit")
        quarantine = gauge("unit_in_quarantine", "1 = makes no new deals.", "unit")
        mode = gauge("unit_mode", "1 for the mode that it goes by.", "unit", "mode")
        master = gauge("unit_is_grid_master", "1 = says it is the grid master.", "unit")
        term = gauge("grid_master_term", "Highest term seen.")
        for unit_id in watch.unit_ids:
            status, age_s = watch.statuses.get(unit_id), watch.age_s(unit_id)
            present.add(age_s is not None and age_s <= SILENT_AFTER_S, unit_id)
            if status is None:
                continue
            soc.add(status.soc_ratio, unit_id)
            stored.add(status.remaining_wh, unit_id)
            capacity.add(status.capacity_wh, unit_id)
            deals.add(len(status.deal_ids), unit_id)
            faults.add(len(status.fault_codes), unit_id)
            quarantine.add(status.in_quarantine, unit_id)
            master.add(status.is_grid_master, unit_id)
            for value, word in MODES.items():
                mode.add(status.effective_mode == value, unit_id, word)
        if watch.statuses:
            term.add(max(status.term for status in watch.statuses.values()))
        families = (
            present, soc, stored, capacity, deals, faults, quarantine, mode, master, term,
        )  # fmt: skip
        return [family.metric for family in families]

    def _converters(self) -> list[Metric]:
        readings = {u: r for u in self._watch.unit_ids if (r := self._watch.converter(u))}
        families = []
        for name, text, field in CONVERTER_GAUGES:
            family = self._gauge(f"converter_{name}", text, "unit")
            for unit_id, reading in readings.items():
                family.add(getattr(reading, field), unit_id)
            families.append(family)
        active = self._gauge("converter_active", "1 = not in WAIT.", "unit")
        holds = self._gauge("converter_holds_voltage", "1 = holds the bus voltage.", "unit")
        energy = self._counter("converter_energy_wh", "By the converter.", "unit", "side", "flow")
        for unit_id, reading in readings.items():
            active.add(reading.mode > ConverterState.MODE_WAIT, unit_id)
            holds.add(reading.mode == ConverterState.MODE_VOLTAGE_REFERENCE, unit_id)
            for side, flow, field in CONVERTER_COUNTERS:
                energy.add(getattr(reading, field), unit_id, side, flow)
        return [family.metric for family in (*families, active, holds, energy)]

    def _houses(self) -> list[Metric]:
        families = []
        for name, text, field in HOUSE_GAUGES:
            family = self._gauge(f"house_{name}", text, "unit")
            for unit_id, house in self._watch.houses.items():
                family.add(getattr(house, field), unit_id)
            families.append(family.metric)
        return families

    def _deals(self) -> list[Metric]:
        running = self._watch.running_deals()
        under_way = self._gauge("deals_under_way", "Deals that are agreed and not over.")
        flowing = self._gauge("deals_flowing", "Deals whose energy flows now.")
        under_way.add(len(running))
        flowing.add(sum(deal.state == Deal.STATE_RUNNING for deal in running))
        ended = self._counter("deals_ended", "Since this process started.", "end")
        for word, count in self._ended.items():
            ended.add(count, word)
        moved = self._counter("deal_energy_wh", "Delivered by deals.", "giver", "taker")
        for pair, energy_wh in self._moved_wh.items():
            moved.add(energy_wh, *pair)
        faults = self._counter("faults", "Reported.", "unit", "code", "level")
        for key, count in self._faults.items():
            faults.add(count, *key)
        return [family.metric for family in (under_way, flowing, ended, moved, faults)]

    def _bus(self) -> list[Metric]:
        bus = self._watch.bus
        voltage = self._gauge("bus_voltage_volts", "As the emulator has it.")
        transported = self._gauge("bus_transported_watts", "Put on the bus.")
        loss = self._gauge("bus_line_loss_watts", "Lost in the lines.")
        speed = self._gauge("simulation_speed_ratio", "Simulated seconds per second.")
        if bus is not None:
            voltage.add(bus.voltage_v)
            transported.add(bus.transported_power_w)
            loss.add(bus.line_loss_w)
            speed.add(bus.speed)
        return [family.metric for family in (voltage, transported, loss, speed)]

    def _diagnostics(self) -> list[Metric]:
        """Also the jitter of control loops, which drivers tell under a name of their own."""
        level = self._gauge("diagnostic_level", "0 = ok, 1 = warn, 2 = error, 3 = stale.", "name")
        value = self._gauge("diagnostic_value", "Numbers among the values.", "name", "key")
        for name, status in self._watch.diagnostics.items():
            level.add(int.from_bytes(status.level, "little"), name)
            for pair in status.values:
                try:
                    value.add(float(pair.value), name, pair.key)
                except ValueError:
                    continue
        return [level.metric, value.metric]

    def _gauge(self, name: str, text: str, *labels: str) -> _Family:
        names = ["cluster", *labels]
        return _Family(GaugeMetricFamily(f"apis_{name}", text, labels=names), self._cluster)

    def _counter(self, name: str, text: str, *labels: str) -> _Family:
        names = ["cluster", *labels]
        return _Family(CounterMetricFamily(f"apis_{name}", text, labels=names), self._cluster)


class _Family:
    """A metric to which only known values are added."""

    def __init__(self, metric: Any, cluster: str) -> None:
        self.metric = metric
        self._cluster = cluster

    def add(self, value: float, *labels: str) -> None:
        if math.isfinite(value):
            self.metric.add_metric([self._cluster, *labels], float(value))
