"""The page's contents as JSON: words and numbers ready to show, and what the drawing needs.

The page's components only lay out what stands here, so that what a user reads can be tested
without a browser.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from apis_viz.dashboard import text
from apis_viz.model import BusView, GridView, ModeView, UnitView
from apis_viz.records import ConverterMode, DealRecord, DealState, Mode

__all__ = ["page_state"]

State = dict[str, Any]


def page_state(view: GridView, zone: tzinfo) -> State:
    """Turn a view of the grid into the state of the page.

    Args:
        view: The grid at this moment.
        zone: Timezone of the place where the grid stands.
    """
    units = [_unit(unit, view) for unit in view.units]
    deals = [_deal(deal, view, zone) for deal in view.running]
    return {
        "header": {
            "time": text.date_time(view.ros_time_s, zone)
            if view.ros_time_s
            else "waiting for a clock…",
            "speed": "" if view.speed is None else f"{view.speed:g} × real time",
            "mode": _mode(view.mode),
        },
        "summary": _summary(view),
        "grid": {"units": units, "deals": deals, "bus": _bus(view.bus)},
        "units": {"units": units},
        "deals": {"running": deals, "past": [_deal(deal, view, zone) for deal in view.past]},
        "events": {
            "events": [
                {
                    "level": text.LEVEL_WORDS[event.level],
                    "time": text.clock_time(event.stamp_s, zone),
                    "unit": event.unit_id,
                    "text": event.text,
                    "code": event.code,
                    "present": event.is_present,
                }
                for event in view.events
            ]
        },
    }


def _mode(mode: ModeView) -> State:
    note = ""
    if mode.wanted is not None:
        verb = "did not follow" if mode.is_overdue else "still to follow"
        note = f"changing to {text.MODE_WORDS[mode.wanted]}… {verb}: {_names(mode.waiting_for)}"
    elif mode.reported is None:
        present = "the units report different modes"
        note = "waiting for the units…" if mode.silent else present
    elif mode.silent:
        note = f"not known of {_names(mode.silent)}"
    return {
        "reported": mode.reported.name
        if mode.reported and mode.reported is not Mode.UNSET
        else "",
        "wanted": mode.wanted.name if mode.wanted else "",
        "overdue": mode.is_overdue,
        "note": note,
    }


def _names(unit_ids: tuple[str, ...]) -> str:
    """List units, but not a screenful of them."""
    more = f" and {len(unit_ids) - 4} more" if len(unit_ids) > 4 else ""
    return ", ".join(unit_ids[:4]) + more


def _total(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _summary(view: GridView) -> State:
    present = [unit for unit in view.units if unit.is_present]
    statuses = [unit.status for unit in present if unit.status]
    houses = [unit.house for unit in present if unit.house]
    stored_wh = _total([status.remaining_wh for status in statuses])
    capacity_wh = _total([status.capacity_wh for status in statuses])
    share = stored_wh / capacity_wh if stored_wh is not None and capacity_wh else None
    loss = view.bus.line_loss_w
    flowing = sum(deal.state is DealState.RUNNING for deal in view.running)
    tiles = [
        {
            "name": "Bus voltage",
            "value": text.amount(view.bus.voltage_v, "V", 1),
            "note": _held(view.bus),
        },
        {
            "name": "Over the bus",
            "value": text.power(view.bus.transported_w),
            "note": f"{text.power(loss)} lost in the lines" if loss is not None else "",
        },
        {
            "name": "Deals",
            "value": str(len(view.running)),
            "note": f"{flowing} flowing" if view.running else "none running",
        },
        {
            "name": "Stored",
            "value": text.energy(stored_wh),
            "note": f"{text.percent(share)} of all batteries" if share is not None else "",
        },
        {
            "name": "Sun",
            "value": text.power(_total([h.solar_w for h in houses])),
            "note": "all roofs",
        },
        {
            "name": "Load",
            "value": text.power(_total([h.load_w for h in houses])),
            "note": "all houses",
        },
        {
            "name": "Grid master",
            "value": view.grid_master_id or "nobody",
            "note": f"term {view.term}" if view.grid_master_id else "none elected",
        },
        {
            "name": "Units",
            "value": f"{len(present)} of {len(view.units)}",
            "note": "present" if present else "waiting…",
        },
    ]
    return {"tiles": tiles}


def _held(bus: BusView) -> str:
    if bus.voltage_reference_ids:
        return f"held by {_names(bus.voltage_reference_ids)}"
    return "nobody holds it" if bus.voltage_v is not None else "not known yet"


def _bus(bus: BusView) -> State:
    voltage_v = bus.voltage_v or 0.0
    return {
        "voltage": text.amount(bus.voltage_v, "V", 1),
        "is_up": voltage_v
        > 100.0,  # well below any working voltage, well above what is left of a dead bus
        "held": _held(bus),
    }


def _unit(unit: UnitView, view: GridView) -> State:
    status, converter, house = unit.status, unit.converter, unit.house
    current_a = converter.grid_current_a if converter else None
    power_w = converter.grid_power_w if converter else None
    state: State = {
        "id": unit.unit_id,
        "present": unit.is_present,
        "reference": bool(converter and converter.mode is ConverterMode.VOLTAGE_REFERENCE),
        "master": unit.unit_id == view.grid_master_id,
        "soc_ratio": status.soc_ratio if status else None,
        "soc": text.percent(status.soc_ratio) if status else text.UNKNOWN,
        "stored": _stored(unit),
        "band": status.battery_band if status else "",
        "solar_w": house.solar_w if house else None,
        "solar": text.power(house.solar_w if house else None),
        "load": text.power(house.load_w if house else None),
        "load_w": house.load_w if house else None,
        "mains": text.power(house.mains_w if house else None),
        "mains_w": house.mains_w if house else None,
        "mode": text.MODE_WORDS[status.effective_mode] if status else text.UNKNOWN,
        "local_mode": "",
        "converter": text.CONVERTER_WORDS[converter.mode] if converter else text.UNKNOWN,
        "grid_w": power_w,
        "power": text.power(power_w),
        "flow": text.power(abs(power_w)) if power_w is not None else "",
        "current": text.amount(current_a, "A", 2),
        "voltage": text.amount(converter.grid_voltage_v if converter else None, "V", 1),
        "faults": list(status.fault_codes) if status else [],
        "note": _unit_note(unit),
    }
    if status and status.local_mode is not Mode.UNSET:
        state["local_mode"] = text.MODE_WORDS[status.local_mode]
    return state


def _stored(unit: UnitView) -> str:
    if unit.status is None or unit.status.remaining_wh is None:
        return text.UNKNOWN
    whole = unit.status.capacity_wh
    left = text.amount(unit.status.remaining_wh, "Wh")
    return f"{left} of {text.amount(whole, 'Wh')}" if whole else left


def _unit_note(unit: UnitView) -> str:
    if unit.status is None:
        return "not heard of yet"
    if unit.silent_s is not None:
        return f"silent for {text.duration(unit.silent_s)}"
    quarantine = "in quarantine" if unit.status.in_quarantine else ""
    return "; ".join(part for part in (quarantine, unit.status.not_dealing_reason) if part)


def _deal(deal: DealRecord, view: GridView, zone: tzinfo) -> State:
    end_s = deal.stopped_at_s or deal.ended_at_s or view.ros_time_s
    ran_s = end_s - deal.started_at_s if deal.started_at_s and end_s else None
    ratio = deal.moved_wh / deal.energy_wh if deal.energy_wh > 0.0 else 0.0
    price = deal.price_point_per_wh
    return {
        "id": deal.deal_id,
        "giver": deal.discharge_unit_id,
        "taker": deal.charge_unit_id,
        "flowing": deal.state is DealState.RUNNING,
        "completed": deal.state is DealState.COMPLETED,
        "ratio": min(max(ratio, 0.0), 1.0),
        "percent": text.percent(min(max(ratio, 0.0), 1.0)),
        "agreed": text.energy(deal.energy_wh),
        "moved": text.energy(deal.moved_wh, 1),
        "progress": f"{deal.moved_wh:.0f} / {deal.energy_wh:.0f} Wh",
        "sent": text.energy(deal.sent_wh, 1),
        "received": text.energy(deal.received_wh, 1),
        "current": text.amount(deal.current_a, "A", 1),
        "price": text.amount(price, "pt/Wh", 1),
        "state": text.DEAL_WORDS[deal.state],
        "reason": deal.reason,
        "reference": deal.voltage_reference_id,
        "ran": text.duration(ran_s),
        "began": text.clock_time(deal.started_at_s or deal.created_at_s, zone),
    }
