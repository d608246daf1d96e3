"""What the page of one unit shows: its meters, its converter, and its bands over a day."""

from __future__ import annotations

from datetime import datetime

from apis_dashboard import formatting
from apis_dashboard.model import GridView, UnitView
from apis_dashboard.records import ConverterMode, PriceRecord
from apis_dashboard.views.common import State, stored, tile, unit_note
from apis_site.site import Site

__all__ = ["bands_state", "meters_state"]


def meters_state(unit: UnitView, view: GridView) -> State:
    """Everything that a unit's meters say, with how old it is; orders beside what was read."""
    status, converter, house = unit.status, unit.converter, unit.house
    battery = [
        tile("Charge", formatting.percent(status.soc_ratio if status else None), stored(unit)),
        tile(
            "At the converter",
            formatting.power(converter.battery_power_w if converter else None),
            "into the battery" if converter else "",
        ),
        tile(
            "Voltage",
            formatting.amount(converter.battery_voltage_v if converter else None, "V", 2),
        ),
        tile(
            "Current",
            formatting.amount(converter.battery_current_a if converter else None, "A", 2),
        ),
    ]
    trade = [
        tile(
            "Band",
            (status.battery_band if status else "") or formatting.UNKNOWN,
            "of the scenario",
        ),
        tile(
            "Still to come",
            formatting.amount(status.committed_wh if status else None, "Wh"),
            "from deals under way",
        ),
        tile("Asks", *_price(unit.asked, view)),
        tile("Offers", *_price(unit.offered, view)),
    ]
    available = house.solar_available_w if house else None
    home = [
        tile(
            "Sun",
            formatting.power(house.solar_w if house else None),
            f"of {formatting.power(available)} to be had" if available is not None else "",
        ),
        tile("Load", formatting.power(house.load_w if house else None), "taken by the house"),
        tile("Mains", formatting.power(house.mains_w if house else None), "bought"),
        tile(
            "Losses",
            formatting.power(house.losses_w if house else None),
            "UPS, converter, standby",
        ),
        tile("Not served", formatting.power(house.unserved_w if house else None)),
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
        "note": unit_note(unit),
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
