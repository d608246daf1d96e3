"""What the first page shows: the numbers of the whole grid, and its picture."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo

from apis_dashboard import formatting
from apis_dashboard.model import BusView, GridView, UnitView
from apis_dashboard.records import ConverterMode, DealRecord, DealState
from apis_dashboard.views.common import State, name_list, rounded, tile, unit_note
from apis_dashboard.views.deals import progress_ratio
from apis_site.plan import GridPlan

__all__ = ["grid_frame", "plan_state", "summary_state"]


BUS_UP_V = 100.0  # well below any working voltage, well above what is left of a dead bus
FLAG_REFERENCE, FLAG_MASTER, FLAG_FAULT = 1, 2, 4


def summary_state(view: GridView) -> State:
    """The numbers of the whole grid in one row."""
    present = [unit for unit in view.units if unit.is_present]
    statuses = [unit.status for unit in present if unit.status]
    houses = [unit.house for unit in present if unit.house]
    stored_wh = _total(status.remaining_wh for status in statuses)
    capacity_wh = _total(status.capacity_wh for status in statuses)
    share = stored_wh / capacity_wh if stored_wh is not None and capacity_wh else None
    loss = view.bus.line_loss_w
    flowing = sum(deal.state is DealState.RUNNING for deal in view.running)
    tiles = [
        tile("Bus voltage", formatting.amount(view.bus.voltage_v, "V", 1), _held(view.bus)),
        tile(
            "Over the bus",
            formatting.power(view.bus.transported_w),
            f"{formatting.power(loss)} lost in the lines" if loss is not None else "",
        ),
        tile(
            "Deals",
            str(len(view.running)),
            f"{flowing} flowing" if view.running else "none running",
        ),
        tile(
            "Stored",
            formatting.energy(stored_wh),
            f"{formatting.percent(share)} of all batteries" if share is not None else "",
        ),
        tile("Sun", formatting.power(_total(h.solar_w for h in houses)), "all roofs"),
        tile("Load", formatting.power(_total(h.load_w for h in houses)), "all houses"),
        tile(
            "Grid master",
            view.grid_master_id or "nobody",
            f"term {view.term}" if view.grid_master_id else "none elected",
        ),
        tile(
            "Units",
            f"{len(present)} of {len(view.units)}",
            "present" if present else "waiting…",
        ),
    ]
    return {"tiles": tiles}


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _held(bus: BusView) -> str:
    if bus.voltage_reference_ids:
        return f"held by {name_list(bus.voltage_reference_ids)}"
    return "nobody holds it" if bus.voltage_v is not None else "not known yet"


def plan_state(plan: GridPlan) -> State:
    """What of the picture never changes."""
    return {
        "units": [
            {"id": place.unit_id, "x": place.east_m, "y": place.north_m} for place in plan.places
        ],
        "lines": [
            {
                "id": line.id,
                "from": line.from_id,
                "to": line.to_id,
                "capacity_a": line.capacity_a,
            }
            for line in plan.lines
        ],
        "order": list(plan.order),
    }


def grid_frame(view: GridView, plan: GridPlan, zone: tzinfo) -> State:
    """What of the picture changes, in few bytes: rounded as it is shown, so that little differs.

    A unit is a list: present, state of charge in %, band, W and V on the bus, W of sun, load and
    mains, flags, remarks, what the converter does. A line is A, W (both positive from its first to
    its second house), and the voltage between its ends, in V.
    """
    units = {unit.unit_id: _frame_unit(unit, view) for unit in view.units}
    readings = {u.unit_id: u.converter for u in view.units if u.is_present and u.converter}
    amps = {unit_id: reading.grid_current_a for unit_id, reading in readings.items()}
    powers = {unit_id: reading.grid_power_w for unit_id, reading in readings.items()}
    volts = {unit_id: reading.grid_voltage_v for unit_id, reading in readings.items()}
    is_up = (view.bus.voltage_v or 0.0) > BUS_UP_V
    lines = []
    for line in plan.lines:
        near_v, far_v = volts.get(line.from_id), volts.get(line.to_id)
        drop_v = near_v - far_v if is_up and near_v is not None and far_v is not None else None
        lines.append([rounded(line.net(amps), 2), rounded(line.net(powers)), rounded(drop_v, 2)])
    return {
        "units": units,
        "lines": lines,
        "deals": [_frame_deal(deal) for deal in view.running],
        "bus": {
            "voltage": formatting.amount(view.bus.voltage_v, "V", 1),
            "up": is_up,
            "held": _held(view.bus),
        },
    }


def _frame_unit(unit: UnitView, view: GridView) -> list[object]:
    status, converter, house = unit.status, unit.converter, unit.house
    flags = 0
    if converter and converter.mode is ConverterMode.VOLTAGE_REFERENCE:
        flags |= FLAG_REFERENCE
    if unit.unit_id == view.grid_master_id:
        flags |= FLAG_MASTER
    if status and status.fault_codes:
        flags |= FLAG_FAULT
    soc = status.soc_ratio if status else None
    return [
        int(unit.is_present),
        rounded(None if soc is None else 100.0 * soc),
        status.battery_band if status else "",
        rounded(converter.grid_power_w if converter else None),
        rounded(converter.grid_voltage_v if converter else None, 1),
        rounded(house.solar_w if house else None),
        rounded(house.load_w if house else None),
        rounded(house.mains_w if house else None),
        flags,
        unit_note(unit),
        formatting.CONVERTER_WORDS[converter.mode] if converter else formatting.UNKNOWN,
    ]


def _frame_deal(deal: DealRecord) -> State:
    return {
        "id": deal.deal_id,
        "giver": deal.discharge_unit_id,
        "taker": deal.charge_unit_id,
        "flowing": deal.state is DealState.RUNNING,
        "ratio": round(progress_ratio(deal), 3),
        "progress": f"{deal.moved_wh:.0f} / {deal.energy_wh:.0f} Wh",
        "state": formatting.DEAL_WORDS[deal.state],
    }
