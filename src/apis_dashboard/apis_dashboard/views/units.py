"""What the table of units shows."""

from __future__ import annotations

from apis_dashboard import formatting
from apis_dashboard.model import GridView, UnitView
from apis_dashboard.records import ConverterMode, Mode
from apis_dashboard.views.common import State, rounded, stored, unit_note

__all__ = ["unit_state"]


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
        "soc_ratio": rounded(status.soc_ratio if status else None, 3),
        "solar_w": rounded(house.solar_w if house else None),
        "load_w": rounded(house.load_w if house else None),
        "mains_w": rounded(house.mains_w if house else None),
        "power_w": rounded(power_w),
        "current_a": rounded(converter.grid_current_a if converter else None, 2),
        "voltage_v": rounded(converter.grid_voltage_v if converter else None, 1),
        "deals": len(status.deal_ids) if status else 0,
        "soc": formatting.percent(status.soc_ratio) if status else formatting.UNKNOWN,
        "stored": stored(unit),
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
        "note": unit_note(unit),
    }
    if status and status.local_mode is not Mode.UNSET:
        state["local_mode"] = formatting.MODE_WORDS[status.local_mode]
    return state
