"""The view model: records in, a frozen picture of the grid out. No ROS, clock or threads.

Two times pass through here and never mix. ``now_s`` is a monotonic clock of this process and
serves for ages only ("silent for 20 s"). ``ros_time_s`` is the graph's time, simulated in a
simulation, and serves for dates and durations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from apis_core.config.timing import ORDER_PATIENCE_S, SILENT_AFTER_S
from apis_dashboard.records import (
    BusRecord,
    ConverterMode,
    ConverterRecord,
    DealRecord,
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

__all__ = ["BusView", "Event", "GridModel", "GridView", "HouseEnergy", "ModeView", "UnitView"]

LONGEST_GAP_S = 900.0  # what flowed in a longer silence is not known
PAST_DEALS = 50
EVENTS = 100


@dataclass(frozen=True, kw_only=True)
class HouseEnergy:
    """A house's powers, integrated from reading to reading. They only grow. [Wh]"""

    solar_wh: float = 0.0
    available_wh: float = 0.0
    load_wh: float = 0.0
    mains_wh: float = 0.0
    unserved_wh: float = 0.0

    def until(self, last: HouseRecord, new: HouseRecord) -> HouseEnergy:
        """What it is at a new reading; what flowed in a long silence is not known."""
        seconds = (new.stamp_s or 0.0) - (last.stamp_s or 0.0)
        if not last.stamp_s or not 0.0 < seconds <= LONGEST_GAP_S:
            return self
        grown = {}
        for name, quantity in _HOUSE_POWERS.items():
            before_w, now_w = getattr(last, quantity), getattr(new, quantity)
            if before_w is not None and now_w is not None:
                more_wh = (before_w + now_w) / 2.0 * seconds / 3600.0
                grown[name] = getattr(self, name) + more_wh
        return replace(self, **grown)


_HOUSE_POWERS = {
    "solar_wh": "solar_w",
    "available_wh": "solar_available_w",
    "load_wh": "load_w",
    "mains_wh": "mains_w",
    "unserved_wh": "unserved_w",
}


@dataclass(frozen=True, kw_only=True)
class UnitView:
    """One unit: its last words, or nothing yet."""

    unit_id: str
    status: UnitRecord | None = None
    converter: ConverterRecord | None = None
    house: HouseRecord | None = None
    house_wh: HouseEnergy | None = None  # what its powers made since they were first heard of
    diagnostics: DiagnosticRecord | None = None
    asked: PriceRecord | None = None  # what it asked last for energy that it would give
    offered: PriceRecord | None = None  # and offered for energy that it would take
    status_age_s: float | None = None  # [s] since its last status came; None = never
    converter_age_s: float | None = None  # [s] since its converter was read
    house_age_s: float | None = None  # [s] since its house was read
    silent_s: float | None = (
        None  # [s] age of its last status if that is too old; None = speaks, or never spoke
    )

    @property
    def is_present(self) -> bool:
        """It has spoken, and lately."""
        return self.status is not None and self.silent_s is None


@dataclass(frozen=True, kw_only=True)
class BusView:
    """The bus: told by the emulator, or put together from the converters' own readings."""

    voltage_v: float | None
    transported_w: float | None
    line_loss_w: float | None
    voltage_reference_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ModeView:
    """The global mode as the units report it, and what they have been told and not done yet."""

    reported: Mode | None  # what all present units report; None = they differ, or there are none
    wanted: Mode | None  # an order that some present unit has not taken up yet
    waiting_for: tuple[str, ...] = ()  # those units
    is_overdue: bool = False  # they had time enough
    silent: tuple[str, ...] = ()  # units of which nobody knows the mode


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the list of events."""

    text: str
    unit_id: str = ""
    level: FaultLevel | None = None  # None = nothing wrong, just worth knowing
    code: str = ""
    is_present: bool = False  # the unit still reports this fault
    stamp_s: float | None = None
    category: FaultCategory = FaultCategory.UNKNOWN
    extent: FaultExtent = FaultExtent.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class GridView:
    """The whole grid at one moment. Deals and events: the newest first."""

    units: tuple[UnitView, ...]
    bus: BusView
    mode: ModeView
    running: tuple[DealRecord, ...]
    past: tuple[DealRecord, ...]
    events: tuple[Event, ...]
    grid_master_id: str | None
    term: int
    speed: float | None
    ros_time_s: float | None
    emulator_silent_s: float | None = None  # [s] if it has spoken, and not for too long


class GridModel:
    """Takes records as they arrive and can be looked at any time. Not thread-safe."""

    def __init__(self, unit_ids: Iterable[str]) -> None:
        """Start with the units that the grid description names, none of which has spoken yet."""
        self._units = {unit_id: UnitView(unit_id=unit_id) for unit_id in unit_ids}
        self._heard_s: dict[tuple[type, str], float] = {}
        self._read_itself: set[str] = set()  # units whose hardware tells its readings itself
        self._deals: dict[str, DealRecord] = {}
        self._bus: BusRecord | None = None
        self._order: tuple[Mode, float] | None = None
        self._processes: dict[str, list[str]] = {}  # that have spoken for a unit
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._grid_master: tuple[int, str] = (0, "")  # newest term, and whose it is

    def take(self, record: Record, *, now_s: float, ros_time_s: float | None = None) -> None:
        """Take in one record that arrived now; one of a unit that the grid lacks is dropped."""
        match record:
            case UnitRecord(unit_id=unit_id) if unit_id in self._units:
                self._take_status(record, now_s, ros_time_s)
            case ConverterRecord(unit_id=unit_id) if unit_id in self._units:
                self._units[unit_id] = replace(self._units[unit_id], converter=record)
                self._read_itself.add(unit_id)
                self._heard_s[ConverterRecord, unit_id] = now_s
            case HouseRecord(unit_id=unit_id) if unit_id in self._units:
                self._take_house(record, ros_time_s)
                self._heard_s[HouseRecord, unit_id] = now_s
            case DiagnosticRecord(unit_id=unit_id) if unit_id in self._units:
                self._units[unit_id] = replace(self._units[unit_id], diagnostics=record)
            case PriceRecord(unit_id=unit_id) if unit_id in self._units:
                side = "asked" if record.is_asked else "offered"
                self._units[unit_id] = replace(self._units[unit_id], **{side: record})  # type: ignore[arg-type]
            case DealRecord():
                self._take_deal(record)
            case FaultRecord():
                self._events.appendleft(
                    Event(
                        text=record.message or record.code,
                        unit_id=record.unit_id,
                        level=record.level,
                        code=record.code,
                        stamp_s=record.stamp_s,
                        category=record.category,
                        extent=record.extent,
                    )
                )
            case BusRecord():
                self._bus = record
                self._heard_s[BusRecord, ""] = now_s
            case ModeOrder(unit_id="", mode=mode) if mode is not Mode.UNSET:
                self._order = (mode, now_s)

    def view(self, *, now_s: float, ros_time_s: float | None) -> GridView:
        """Give the picture of this moment."""
        units = tuple(self._aged(unit, now_s) for unit in self._units.values())
        deals = sorted(self._deals.values(), key=lambda deal: deal.created_at_s or 0.0)[::-1]
        term, grid_master_id = self._grid_master
        silent_s = now_s - self._heard_s.get((BusRecord, ""), now_s)
        is_silent = silent_s > SILENT_AFTER_S
        return GridView(
            units=units,
            bus=self._bus_view(units, None if is_silent else self._bus),
            mode=self._mode_view(units, now_s),
            running=tuple(deal for deal in deals if not deal.state.is_over),
            past=tuple(deal for deal in deals if deal.state.is_over)[:PAST_DEALS],
            events=tuple(self._with_presence(event) for event in self._events),
            grid_master_id=grid_master_id or None,
            term=term,
            speed=self._bus.speed if self._bus else None,
            ros_time_s=ros_time_s,
            emulator_silent_s=silent_s if is_silent else None,
        )

    def _take_house(self, house: HouseRecord, ros_time_s: float | None) -> None:
        unit = self._units[house.unit_id]
        if house.stamp_s is None:
            house = replace(house, stamp_s=ros_time_s)
        energy = unit.house_wh or HouseEnergy()
        if unit.house is not None:
            energy = energy.until(unit.house, house)
        self._units[house.unit_id] = replace(unit, house=house, house_wh=energy)

    def _take_status(self, status: UnitRecord, now_s: float, ros_time_s: float | None) -> None:
        self._heard_s[UnitRecord, status.unit_id] = now_s
        unit = self._units[status.unit_id]
        # by its own time: whoever looks may not have heard the clock yet
        at_s = ros_time_s if status.stamp_s is None else status.stamp_s
        processes = self._processes.setdefault(status.unit_id, [status.instance_id])
        if status.instance_id not in processes:
            processes.append(status.instance_id)
            text = "was started again"  # somebody may have stopped it, or its process has died
            self._events.appendleft(Event(text=text, unit_id=status.unit_id, stamp_s=at_s))
        converter = unit.converter
        # A status repeats what its unit read a while ago: counters would go back and forth.
        if status.converter is not None and status.unit_id not in self._read_itself:
            converter = status.converter
            self._heard_s[ConverterRecord, status.unit_id] = now_s
        self._units[status.unit_id] = replace(unit, status=status, converter=converter)
        spoken = [unit.status.global_mode for unit in self._units.values() if unit.status]
        if self._order and all(mode is self._order[0] for mode in spoken):
            self._order = None  # done; whoever changes the mode next says so on its own
        term, grid_master_id = self._grid_master
        if status.is_grid_master and status.term >= term:
            self._grid_master = (status.term, status.unit_id)
            if grid_master_id != status.unit_id:
                text = f"is the grid master, term {status.term}"
                self._events.appendleft(Event(text=text, unit_id=status.unit_id, stamp_s=at_s))
        elif status.unit_id == grid_master_id and not status.is_grid_master:
            self._grid_master = (max(term, status.term), "")

    def _take_deal(self, deal: DealRecord) -> None:
        known = self._deals.get(deal.deal_id)
        if known is not None and (known.term, known.sequence) > (deal.term, deal.sequence):
            return  # a late record of an older state
        steps = known.steps if known else ()
        if deal.stamp_s is not None and (not steps or steps[-1][0] is not deal.state):
            steps = (*steps, (deal.state, deal.stamp_s))
        self._deals[deal.deal_id] = replace(deal, steps=steps)
        over = [known.deal_id for known in self._deals.values() if known.state.is_over]
        for deal_id in over[: -2 * PAST_DEALS]:  # insertion order: the oldest first
            del self._deals[deal_id]

    def _aged(self, unit: UnitView, now_s: float) -> UnitView:
        ages_s = {
            kind: now_s - self._heard_s[kind, unit.unit_id]
            for kind in (UnitRecord, ConverterRecord, HouseRecord)
            if (kind, unit.unit_id) in self._heard_s
        }
        # Slower than real time, the units' periods take longer on our clock too.
        speed = self._bus.speed if self._bus else 1.0
        patience_s = SILENT_AFTER_S / min(max(speed, 0.01), 1.0)
        age_s = ages_s.get(UnitRecord)
        return replace(
            unit,
            status_age_s=age_s,
            converter_age_s=ages_s.get(ConverterRecord),
            house_age_s=ages_s.get(HouseRecord),
            silent_s=age_s if age_s is not None and age_s > patience_s else None,
        )

    def _bus_view(self, units: tuple[UnitView, ...], told: BusRecord | None) -> BusView:
        if told is not None:
            return BusView(
                voltage_v=told.voltage_v,
                transported_w=told.transported_power_w,
                line_loss_w=told.line_loss_w,
                voltage_reference_ids=told.voltage_reference_ids,
            )
        readings = [unit.converter for unit in units if unit.is_present and unit.converter]
        holding = [c for c in readings if c.mode is ConverterMode.VOLTAGE_REFERENCE]
        seen_v = [c.grid_voltage_v for c in holding or readings if c.grid_voltage_v is not None]
        powers_w = [c.grid_power_w for c in readings if c.grid_power_w is not None]
        return BusView(
            voltage_v=max(seen_v, default=None),
            transported_w=sum(max(-power_w, 0.0) for power_w in powers_w) if powers_w else None,
            line_loss_w=None,
            voltage_reference_ids=tuple(c.unit_id for c in holding),
        )

    def _mode_view(self, units: tuple[UnitView, ...], now_s: float) -> ModeView:
        present = {u.unit_id: u.status.global_mode for u in units if u.is_present and u.status}
        modes = set(present.values())
        wanted, since_s = self._order or (None, 0.0)
        waiting_for = tuple(u for u, mode in present.items() if wanted and mode is not wanted)
        return ModeView(
            reported=modes.pop() if len(modes) == 1 else None,
            wanted=wanted if waiting_for else None,
            waiting_for=waiting_for,
            is_overdue=bool(waiting_for) and now_s - since_s > ORDER_PATIENCE_S,
            silent=tuple(unit.unit_id for unit in units if not unit.is_present),
        )

    def _with_presence(self, event: Event) -> Event:
        unit = self._units.get(event.unit_id)
        present = bool(
            event.code and unit and unit.status and event.code in unit.status.fault_codes
        )
        return replace(event, is_present=present) if present else event
