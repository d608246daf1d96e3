"""The pages' contents as JSON: words and numbers ready to show, and what the drawing needs.

The pages' components only lay out what stands here, so that what a user reads can be tested
without a browser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Any

from apis_dashboard import formatting
from apis_dashboard.history import Energy
from apis_dashboard.model import BusView, Event, GridView, ModeView, UnitView
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.records import ConverterMode, DealRecord, DealState, Mode, PriceRecord
from apis_site.plan import GridPlan
from apis_site.site import Site

__all__ = [
    "bands_state",
    "deal_state",
    "deals_total",
    "energy_tiles",
    "event_state",
    "grid_frame",
    "header_state",
    "meters_state",
    "plan_state",
    "steering_state",
    "stop_state",
    "summary_state",
    "unit_state",
]

State = dict[str, Any]
BUS_UP_V = 100.0  # well below any working voltage, well above what is left of a dead bus
FLAG_REFERENCE, FLAG_MASTER, FLAG_FAULT = 1, 2, 4


def header_state(view: GridView, zone: tzinfo) -> State:
    """What stands on top of every page."""
    return {
        "time": formatting.date_time(view.ros_time_s, zone)
        if view.ros_time_s
        else "waiting for a clock…",
        "speed": _pace(view),
        "stale": view.emulator_silent_s is not None,
        "mode": mode_state(view.mode),
    }


def _pace(view: GridView) -> str:
    if view.emulator_silent_s is not None:
        return f"emulator silent for {formatting.duration(view.emulator_silent_s)}"
    return "" if view.speed is None else f"{view.speed:g} × real time"


def mode_state(mode: ModeView) -> State:
    """The global mode as it is, and what is still to come of an order."""
    note = ""
    if mode.wanted is not None:
        verb = "did not follow" if mode.is_overdue else "still to follow"
        note = (
            f"changing to {formatting.MODE_WORDS[mode.wanted]}… {verb}: {_names(mode.waiting_for)}"
        )
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


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


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
        _tile("Bus voltage", formatting.amount(view.bus.voltage_v, "V", 1), _held(view.bus)),
        _tile(
            "Over the bus",
            formatting.power(view.bus.transported_w),
            f"{formatting.power(loss)} lost in the lines" if loss is not None else "",
        ),
        _tile(
            "Deals",
            str(len(view.running)),
            f"{flowing} flowing" if view.running else "none running",
        ),
        _tile(
            "Stored",
            formatting.energy(stored_wh),
            f"{formatting.percent(share)} of all batteries" if share is not None else "",
        ),
        _tile("Sun", formatting.power(_total(h.solar_w for h in houses)), "all roofs"),
        _tile("Load", formatting.power(_total(h.load_w for h in houses)), "all houses"),
        _tile(
            "Grid master",
            view.grid_master_id or "nobody",
            f"term {view.term}" if view.grid_master_id else "none elected",
        ),
        _tile(
            "Units",
            f"{len(present)} of {len(view.units)}",
            "present" if present else "waiting…",
        ),
    ]
    return {"tiles": tiles}


def _tile(name: str, value: str, note: str = "") -> State:
    return {"name": name, "value": value, "note": note}


def _held(bus: BusView) -> str:
    if bus.voltage_reference_ids:
        return f"held by {_names(bus.voltage_reference_ids)}"
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
        lines.append([_r(line.net(amps), 2), _r(line.net(powers)), _r(drop_v, 2)])
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
        _r(None if soc is None else 100.0 * soc),
        status.battery_band if status else "",
        _r(converter.grid_power_w if converter else None),
        _r(converter.grid_voltage_v if converter else None, 1),
        _r(house.solar_w if house else None),
        _r(house.load_w if house else None),
        _r(house.mains_w if house else None),
        flags,
        _unit_note(unit),
        formatting.CONVERTER_WORDS[converter.mode] if converter else formatting.UNKNOWN,
    ]


def _frame_deal(deal: DealRecord) -> State:
    return {
        "id": deal.deal_id,
        "giver": deal.discharge_unit_id,
        "taker": deal.charge_unit_id,
        "flowing": deal.state is DealState.RUNNING,
        "ratio": round(_progress(deal), 3),
        "progress": f"{deal.moved_wh:.0f} / {deal.energy_wh:.0f} Wh",
        "state": formatting.DEAL_WORDS[deal.state],
    }


def _r(value: float | None, digits: int = 0) -> float | None:
    if value is None:
        return None
    rounded = round(value, digits)
    return int(rounded) if digits == 0 else rounded


def unit_state(unit: UnitView, view: GridView) -> State:
    """One row of the table of units."""
    status, converter, house = unit.status, unit.converter, unit.house
    power_w = converter.grid_power_w if converter else None
    state: State = {
        "id": unit.unit_id,
        "present": unit.is_present,
        "reference": bool(converter and converter.mode is ConverterMode.VOLTAGE_REFERENCE),
        "master": unit.unit_id == view.grid_master_id,
        # numbers are for sorting, as coarse as what is shown
        "soc_ratio": _r(status.soc_ratio if status else None, 3),
        "solar_w": _r(house.solar_w if house else None),
        "load_w": _r(house.load_w if house else None),
        "mains_w": _r(house.mains_w if house else None),
        "power_w": _r(power_w),
        "current_a": _r(converter.grid_current_a if converter else None, 2),
        "voltage_v": _r(converter.grid_voltage_v if converter else None, 1),
        "deals": len(status.deal_ids) if status else 0,
        "soc": formatting.percent(status.soc_ratio) if status else formatting.UNKNOWN,
        "stored": _stored(unit),
        "band": status.battery_band if status else "",
        "solar": formatting.power(house.solar_w if house else None),
        "load": formatting.power(house.load_w if house else None),
        "mains": formatting.power(house.mains_w if house else None),
        "mode": formatting.MODE_WORDS[status.effective_mode] if status else formatting.UNKNOWN,
        "local_mode": "",
        "converter": formatting.CONVERTER_WORDS[converter.mode]
        if converter
        else formatting.UNKNOWN,
        "power": formatting.power(power_w),
        "current": formatting.amount(converter.grid_current_a if converter else None, "A", 2),
        "voltage": formatting.amount(converter.grid_voltage_v if converter else None, "V", 1),
        "faults": list(status.fault_codes) if status else [],
        "note": _unit_note(unit),
    }
    if status and status.local_mode is not Mode.UNSET:
        state["local_mode"] = formatting.MODE_WORDS[status.local_mode]
    return state


def _stored(unit: UnitView) -> str:
    if unit.status is None or unit.status.remaining_wh is None:
        return formatting.UNKNOWN
    whole = unit.status.capacity_wh
    left = formatting.amount(unit.status.remaining_wh, "Wh")
    return f"{left} of {formatting.amount(whole, 'Wh')}" if whole else left


def _unit_note(unit: UnitView) -> str:
    if unit.status is None:
        return "not heard of yet"
    if unit.silent_s is not None:
        return f"silent for {formatting.duration(unit.silent_s)}"
    quarantine = "in quarantine" if unit.status.in_quarantine else ""
    return "; ".join(part for part in (quarantine, unit.status.not_dealing_reason) if part)


# --- one unit ------------------------------------------------------------------------------------


def meters_state(unit: UnitView, view: GridView) -> State:
    """Everything that a unit's meters say, with how old it is; orders beside what was read."""
    status, converter, house = unit.status, unit.converter, unit.house
    battery = [
        _tile("Charge", formatting.percent(status.soc_ratio if status else None), _stored(unit)),
        _tile(
            "At the converter",
            formatting.power(converter.battery_power_w if converter else None),
            "into the battery" if converter else "",
        ),
        _tile(
            "Voltage",
            formatting.amount(converter.battery_voltage_v if converter else None, "V", 2),
        ),
        _tile(
            "Current",
            formatting.amount(converter.battery_current_a if converter else None, "A", 2),
        ),
    ]
    trade = [
        _tile(
            "Band",
            (status.battery_band if status else "") or formatting.UNKNOWN,
            "of the scenario",
        ),
        _tile(
            "Still to come",
            formatting.amount(status.committed_wh if status else None, "Wh"),
            "from deals under way",
        ),
        _tile("Asks", *_price(unit.asked, view)),
        _tile("Offers", *_price(unit.offered, view)),
    ]
    available = house.solar_available_w if house else None
    home = [
        _tile(
            "Sun",
            formatting.power(house.solar_w if house else None),
            f"of {formatting.power(available)} to be had" if available is not None else "",
        ),
        _tile("Load", formatting.power(house.load_w if house else None), "taken by the house"),
        _tile("Mains", formatting.power(house.mains_w if house else None), "bought"),
        _tile(
            "Losses",
            formatting.power(house.losses_w if house else None),
            "UPS, converter, standby",
        ),
        _tile("Not served", formatting.power(house.unserved_w if house else None)),
    ]
    return {
        "cards": [
            [
                {"name": "Battery", "age": _age(unit.status_age_s), "tiles": battery},
                {"name": "Trade", "age": _age(unit.status_age_s), "tiles": trade},
            ],
            [{"name": "House", "age": _age(unit.house_age_s), "tiles": home}],
        ],
        "converter": _converter_state(unit),
        "present": unit.is_present,
        "note": _unit_note(unit),
        "faults": list(status.fault_codes) if status else [],
        "master": unit.unit_id == view.grid_master_id,
        "reference": bool(converter and converter.mode is ConverterMode.VOLTAGE_REFERENCE),
        "diagnostics": _diagnostics(unit),
    }


def _price(price: PriceRecord | None, view: GridView) -> tuple[str, str]:
    """The price that a unit named last, and when."""
    value = formatting.amount(price.price_point_per_wh if price else None, "pt/Wh", 1)
    if price is None or price.stamp_s is None or view.ros_time_s is None:
        return value, ""
    return value, f"{formatting.duration(view.ros_time_s - price.stamp_s)} ago"


def _age(seconds: float | None) -> State:
    if seconds is None:
        return {"text": "never heard", "stale": True}
    return {
        "text": "now" if seconds < 2.0 else f"{formatting.duration(seconds)} ago",
        "stale": seconds > 15.0,
    }


def _converter_state(unit: UnitView) -> State:
    converter = unit.converter
    if converter is None:
        return {"word": formatting.UNKNOWN, "age": _age(None), "rows": [], "notes": []}
    mode = converter.mode
    is_reference = mode is ConverterMode.VOLTAGE_REFERENCE
    is_current = mode in (ConverterMode.CHARGE, ConverterMode.DISCHARGE)
    sign = -1.0 if mode is ConverterMode.DISCHARGE else 1.0
    setpoint_a = converter.grid_current_setpoint_a
    rows = [
        {
            "name": "Bus voltage",
            "order": formatting.amount(converter.grid_voltage_setpoint_v, "V", 1)
            if is_reference
            else "",
            "reading": formatting.amount(converter.grid_voltage_v, "V", 1),
        },
        {
            "name": "Current from the bus",
            "order": formatting.amount(sign * setpoint_a, "A", 2)
            if is_current and setpoint_a is not None
            else "",
            "reading": formatting.amount(converter.grid_current_a, "A", 2),
        },
        {
            "name": "Power from the bus",
            "order": "",
            "reading": formatting.power(converter.grid_power_w),
        },
        {
            "name": "Droop",
            "order": "",
            "reading": formatting.amount(
                None if converter.droop_ratio is None else 100.0 * converter.droop_ratio, "%", 1
            ),
        },
        {
            "name": "Temperature",
            "order": "",
            "reading": formatting.amount(converter.temp_degc, "°C", 1),
        },
        {
            "name": "Taken / given so far",
            "order": "",
            "reading": f"{formatting.energy(converter.grid_charged_wh)} / "
            f"{formatting.energy(converter.grid_discharged_wh)}",
        },
    ]
    notes = [formatting.ALARM_WORDS[converter.alarm]]
    if mode.is_active and converter.hold_remaining_s is not None:
        notes.append(f"goes off in {converter.hold_remaining_s:.1f} s unless renewed")
    if converter.stop_detail:
        notes.append(f"stopped by itself: {converter.stop_detail}")
    return {
        "word": formatting.CONVERTER_WORDS[mode],
        "age": _age(unit.converter_age_s),
        "rows": rows,
        "notes": [note for note in notes if note],
    }


def _diagnostics(unit: UnitView) -> State:
    found = unit.diagnostics
    if found is None:
        return {"level": "", "message": "nothing heard on /diagnostics", "rows": []}
    rows = [[name.replace("_", " "), value or formatting.UNKNOWN] for name, value in found.values]
    status = unit.status
    if status is not None:
        rows += [
            ["grants its lease to", status.grid_master_id or "nobody"],
            ["policy", status.policy_hash[:12] or formatting.UNKNOWN],
            ["slots taken", f"{len(status.deal_ids)} of {status.slot_capacity}"],
        ]
    words = {0: "good", 1: "warning", 2: "error", 3: "stale"}
    return {"level": words.get(found.level, "?"), "message": found.message, "rows": rows}


def bands_state(unit: UnitView, site: Site, ros_time_s: float | None) -> State:
    """The scenario's bands over a day, and where the battery is now; for a drawing."""
    known = site.units.get(unit.unit_id)
    scenario = known.scenario if known else None
    status = unit.status
    capacity_wh = (status.capacity_wh if status else None) or 0.0
    if scenario is None or not capacity_wh:
        return {"sections": [], "now": None, "rules": []}
    sections = [
        {
            "from": section.from_s / 86_400.0,
            "to": section.to_s / 86_400.0,
            "bands": [
                {
                    "name": band.name,
                    "low": min((band.lower_wh or 0.0) / capacity_wh, 1.0),
                    "high": min((band.upper_wh or capacity_wh) / capacity_wh, 1.0),
                }
                for band in section.bands
            ],
        }
        for section in scenario.sections
    ]
    now = None
    rules: list[str] = []
    if ros_time_s is not None and status and status.remaining_wh is not None:
        local = datetime.fromtimestamp(ros_time_s, site.zone)
        second = local.hour * 3600 + local.minute * 60 + local.second
        now = {
            "day": second / 86_400.0,
            "soc": status.remaining_wh / capacity_wh,
            "words": f"{status.remaining_wh:,.0f} Wh, {status.battery_band or 'no band'}",
        }
        here = next((s for s in scenario.sections if s.from_s <= second < s.to_s), None)
        band = status.battery_band
        if here is not None and band:
            for title, table in (("asks", here.request), ("answers", here.accept)):
                rule = table.get(band)
                for direction, part in (
                    ("to charge up to", rule.charge if rule else None),
                    ("to give down to", rule.discharge if rule else None),
                ):
                    if part is not None:
                        price = (
                            "at any price"
                            if part.price_point_per_wh is None
                            else f"at {part.price_point_per_wh:g} pt/Wh"
                        )
                        rules.append(f"{title} {direction} {part.limit_wh:,.0f} Wh {price}")
            if not rules:
                rules.append("neither asks nor answers")
    return {"sections": sections, "now": now, "rules": rules}


# --- deals ---------------------------------------------------------------------------------------


def _progress(deal: DealRecord) -> float:
    ratio = deal.moved_wh / deal.energy_wh if deal.energy_wh > 0.0 else 0.0
    return min(max(ratio, 0.0), 1.0)


def deal_state(deal: DealRecord, ros_time_s: float | None, zone: tzinfo) -> State:
    """A deal, running or past, with its receipt and its phases."""
    end_s = deal.stopped_at_s or deal.ended_at_s or ros_time_s
    ran_s = end_s - deal.started_at_s if deal.started_at_s and end_s else None
    lost_wh = (
        deal.sent_wh - deal.received_wh
        if deal.sent_wh is not None and deal.received_wh is not None
        else None
    )
    left_s = None
    if deal.state is DealState.RUNNING and ran_s and deal.moved_wh > 0.0:
        left_s = (deal.energy_wh - deal.moved_wh) / deal.moved_wh * ran_s
    points = None if deal.price_point_per_wh is None else deal.price_point_per_wh * deal.moved_wh
    return {
        "id": deal.deal_id,
        "giver": deal.discharge_unit_id,
        "taker": deal.charge_unit_id,
        "asked": deal.request_unit_id,
        "flowing": deal.state is DealState.RUNNING,
        "over": deal.state.is_over,
        "completed": deal.state is DealState.COMPLETED,
        "ratio": round(_progress(deal), 3),
        "percent": formatting.percent(_progress(deal)),
        "agreed": formatting.energy(deal.energy_wh),
        "moved": formatting.energy(deal.moved_wh, 1),
        "progress": f"{deal.moved_wh:.0f} / {deal.energy_wh:.0f} Wh",
        "sent": formatting.energy(deal.sent_wh, 1),
        "received": formatting.energy(deal.received_wh, 1),
        "lost": formatting.energy(lost_wh, 1),
        "current": formatting.amount(deal.current_a, "A", 1),
        "price": formatting.amount(deal.price_point_per_wh, "pt/Wh", 1),
        "points": formatting.amount(points, "pt"),
        "state": formatting.DEAL_WORDS[deal.state],
        "reason": deal.reason,
        "reference": deal.voltage_reference_id,
        "master": deal.grid_master_id,
        "ran": formatting.duration(ran_s),
        "left": f"about {formatting.duration(left_s)} left" if left_s is not None else "",
        "began": formatting.clock_time(deal.started_at_s or deal.created_at_s, zone),
        "day": formatting.day(deal.created_at_s, zone),
        "phases": _phases(deal, ros_time_s, zone),
    }


def deals_total(deals: Sequence[DealRecord]) -> str:
    """What some deals moved, lost and cost together, for people; empty if there are none."""
    if not deals:
        return ""
    pairs = [
        (d.sent_wh, d.received_wh)
        for d in deals
        if d.sent_wh is not None and d.received_wh is not None
    ]
    lost_wh = sum(sent - received for sent, received in pairs)
    points = sum((d.price_point_per_wh or 0.0) * d.moved_wh for d in deals)
    moved_wh = sum(d.moved_wh for d in deals)
    moved, lost = formatting.energy(moved_wh), formatting.energy(lost_wh)
    return f"{moved} moved, {lost} lost, {formatting.amount(points, 'pt')}"


def _phases(deal: DealRecord, ros_time_s: float | None, zone: tzinfo) -> list[State]:
    """What stretches of time the deal went through, as parts of the whole.

    The states as they were heard of; of a deal that was heard of late, what its stamps say.
    """
    end_s = deal.ended_at_s or (None if deal.state.is_over else ros_time_s)
    steps = [(state, at_s) for state, at_s in deal.steps if not state.is_over]
    words = formatting.DEAL_WORDS
    if len(steps) < 2:
        stamps = (deal.created_at_s, deal.started_at_s, deal.stopped_at_s)
        states = (DealState.STARTING, DealState.RUNNING, DealState.RELEASING)
        words = {**words, DealState.STARTING: "getting ready"}
        steps = [(state, at_s) for state, at_s in zip(states, stamps, strict=True) if at_s]
    if not steps or not end_s:
        return []
    whole_s = max(end_s - steps[0][1], 1.0)
    ends_s = [*(at_s for _, at_s in steps[1:]), end_s]
    return [
        {
            "kind": state.name.lower(),
            "name": words[state],
            "at": formatting.clock_time(at_s, zone),
            "took": formatting.duration(until_s - at_s),
            "part": round(max(until_s - at_s, 0.0) / whole_s, 4),
        }
        for (state, at_s), until_s in zip(steps, ends_s, strict=True)
    ]


def event_state(event: Event, zone: tzinfo) -> State:
    """One line of the list of faults and events."""
    return {
        "level": formatting.LEVEL_WORDS[event.level],
        "time": formatting.clock_time(event.stamp_s, zone),
        "day": formatting.day(event.stamp_s, zone),
        "unit": event.unit_id,
        "text": event.text,
        "code": event.code,
        "present": event.is_present,
        "follows": formatting.follows(event) if event.code else "",
    }


# --- energy --------------------------------------------------------------------------------------


def energy_tiles(whole: Energy) -> State:
    """The figures of all units together."""
    line_loss_wh = max(whole.discharged_wh - whole.charged_wh, 0.0)
    alone, together = whole.alone_ratio, whole.self_sufficiency_ratio
    gain = (
        f"{100.0 * (together - alone):.1f} points more than each alone"
        if alone is not None and together is not None
        else ""
    )
    unused_wh = max(whole.available_wh - whole.solar_wh, 0.0)
    return {
        "tiles": [
            _tile(
                "Sun",
                formatting.energy(whole.solar_wh),
                f"{formatting.energy(unused_wh)} left unused",
            ),
            _tile(
                "Load",
                formatting.energy(whole.load_wh),
                f"{formatting.energy(whole.unserved_wh)} unserved",
            ),
            _tile("Bought", formatting.energy(whole.mains_wh), "from the mains"),
            _tile(
                "Exchanged",
                formatting.energy(whole.charged_wh),
                f"received over the bus, for {formatting.amount(whole.paid_pt, 'pt')}",
            ),
            _tile(
                "Lost",
                formatting.energy(line_loss_wh + whole.converter_loss_wh),
                f"{formatting.energy(line_loss_wh)} in lines, "
                f"{formatting.energy(whole.converter_loss_wh)} in converters",
            ),
            _tile("Own sun used", formatting.percent(whole.own_sun_ratio), "stayed in its house"),
            _tile("Self-sufficiency", formatting.percent(together), gain),
            _tile("Without the bus", formatting.percent(alone), "each house alone"),
        ]
    }


# --- steering ------------------------------------------------------------------------------------


def steering_state(commands: OperatorCommands) -> State:
    """Orders and how far they are, and what is written down."""
    return {
        "orders": [
            {
                "number": order.number,
                "at": order.at,
                "who": order.who,
                "what": order.what,
                "text": order.text or "on its way…",
                "state": "pending"
                if not order.is_over
                else "done"
                if order.is_done
                else "refused",
            }
            for order in commands.orders()[:20]
        ],
        "audit": [
            {"when": entry.when[:19].replace("T", " "), "who": entry.who, "what": entry.what}
            | {"outcome": entry.outcome}
            for entry in commands.audit.entries()[:60]
        ],
    }


def stop_state(commands: OperatorCommands, view: GridView) -> State:
    """An emergency stop: what each unit has made of it."""
    order = commands.stop_order
    if order is None:
        return {"given": False, "units": [], "open": 0, "who": ""}
    rows = []
    for unit in view.units:
        mode = unit.status.effective_mode if unit.status else None
        reading = unit.converter.mode if unit.converter else None
        is_off = reading is ConverterMode.WAIT
        has_followed = mode is Mode.FORCE_STOP and unit.is_present
        does = formatting.CONVERTER_WORDS[reading] if reading else "not read"
        rows.append(
            {
                "id": unit.unit_id,
                "off": is_off,
                "followed": has_followed,
                "words": f"converter {does}; "
                + (
                    "unit has stopped"
                    if has_followed
                    else _unit_note(unit) or "unit still to follow"
                ),
                "reply": order.replies.get(unit.unit_id, ""),
            }
        )
    return {
        "given": True,
        "who": order.who,
        "units": rows,
        "open": sum(not (row["off"] and row["followed"]) for row in rows),
    }
