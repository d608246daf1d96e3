"""A grid in the words of the original: unit data and deals as apis-web gives them. Pure."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from typing import Any

from apis_interfaces.msg import ConverterState, Deal, HouseState, OperationMode, UnitStatus
from apis_ros.grid_listener import GridListener

__all__ = ["MODE_NAMES", "converter_data", "deals", "mode_name", "unit_data"]

MODE_NAMES = {
    "autonomous": OperationMode.MODE_RUN,
    "heteronomous": OperationMode.MODE_SOFT_STOP,
    "stop": OperationMode.MODE_FORCE_STOP,
    "manual": OperationMode.MODE_MANUAL,
}
CONVERTER = {
    ConverterState.MODE_WAIT: ("0x0000", "Waiting"),
    ConverterState.MODE_VOLTAGE_REFERENCE: ("0x0014", "Grid Autonomy"),
    ConverterState.MODE_DISCHARGE: ("0x0002", "Heteronomy CV"),
    ConverterState.MODE_CHARGE: ("0x0041", "Heteronomy CV"),
}
ALARMS = {
    ConverterState.ALARM_NONE: "No alarm",
    ConverterState.ALARM_LIGHT: "Light alarm",
    ConverterState.ALARM_HEAVY: "Heavy alarm",
}
UNKNOWN = "unknown"
TIME = "%Y/%m/%d-%H:%M:%S"
CHARGE_AND_DISCHARGE = 3  # battery_operation_status
METER_VOLTAGE_V = 200.0
PANEL_VOLTAGE_V = 240.0  # no message has one; the original's page shows it to nobody


def mode_name(mode: int) -> str | None:
    """The original's name of a mode; None if it is unset."""
    return next((name for name, value in MODE_NAMES.items() if value == mode), None)


def unit_data(watch: GridListener, zone: tzinfo, cluster: str) -> dict[str, Any]:
    """All units that have spoken, by id, as ``43900 /get/log`` has them."""
    return {
        unit_id: _unit(watch, watch.statuses[unit_id], number, zone, cluster)
        for number, unit_id in enumerate(watch.unit_ids, start=1)
        if unit_id in watch.statuses
    }


def deals(watch: GridListener, zone: tzinfo) -> list[dict[str, Any]]:
    """The deals under way with the seven keys of ``43830 /deals``."""
    return [_deal(deal, zone) for deal in watch.running_deals()]


def _deal(deal: Deal, zone: tzinfo) -> dict[str, Any]:
    is_charge = deal.request_unit_id == deal.charge_unit_id
    return {
        "chargingUnit": deal.charge_unit_id,
        "dischargingUnit": deal.discharge_unit_id,
        # In the original the master deal is the one whose unit holds the voltage.
        "isMasterDeal": deal.voltage_reference_id in (deal.charge_unit_id, deal.discharge_unit_id),
        "request": "CHARGE" if is_charge else "DISCHARGE",
        "requester": deal.request_unit_id,
        "responder": deal.accept_unit_id,
        "startTime": _time(deal.created_at, zone),
    }


def _unit(
    watch: GridListener, status: UnitStatus, number: int, zone: tzinfo, cluster: str
) -> dict[str, Any]:
    unit_id = status.unit_id
    effective = mode_name(status.effective_mode)
    soc = _number(100.0 * status.soc_ratio)
    may_operate = not status.in_quarantine
    data: dict[str, Any] = {
        "apis": {
            "version": "3.0.0",
            "remaining_capacity_wh": _whole(status.remaining_wh),
            "deal_interlock_capacity": status.slot_capacity,
            "operation_mode": {
                "global": mode_name(status.global_mode),
                "local": mode_name(status.local_mode),
                "effective": effective,
            },
        },
        "oesunit": {
            "communityId": "apis",
            "clusterId": cluster,
            "id": unit_id,
            "display": unit_id,
            "sn": str(number),
            "budo": "1" if effective == "autonomous" else "0",
            "ip": "127.0.0.1",
            "ipv6_ll": "NA",
            "ipv6_g": "NA",
            "mac": "NA",
        },
        "battery": {
            "rsoc": soc,
            "battery_operation_status": CHARGE_AND_DISCHARGE if may_operate else 0,
        },
        "dcdc": converter_data(watch.converter(unit_id) or status.converter),
        "time": _time(status.stamp, zone),
    }
    if status.is_grid_master:
        data["apis"]["is_grid_master"] = True
    if status.deal_ids:
        data["apis"]["deal_id_list"] = list(status.deal_ids)
    house = watch.houses.get(unit_id)
    if house is not None and _is_whole(house):
        data["emu"] = _emulator(house, watch, unit_id, soc, zone, status)
        data["dcdc"]["powermeter"] = {
            "p1": _number(house.load_power_w),
            "p2": _number(house.mains_power_w),
            "v1": METER_VOLTAGE_V,
            "i1": round(house.load_power_w / METER_VOLTAGE_V, 3),
            "kwh1": 0,
            "kwh2": 0,
        }
    return data


def _is_whole(house: HouseState) -> bool:
    """Whether all is known that the original's page cannot do without."""
    powers = (house.battery_power_w, house.solar_power_w, house.load_power_w, house.mains_power_w)
    return all(math.isfinite(power_w) for power_w in powers)


def converter_data(reading: ConverterState) -> dict[str, Any]:
    """``dcdc`` of a unit, as ``/set/dcdc`` answers it."""
    code, name = CONVERTER.get(reading.mode, (UNKNOWN, UNKNOWN))
    return {
        "status": {
            "status": code,
            "alarmState": ALARMS.get(reading.alarm, UNKNOWN),
            "operationMode": name,
        },
        "meter": {
            "vg": _number(reading.grid_voltage_v),
            "ig": _number(reading.grid_current_a),
            "wg": _number(reading.grid_power_w),
            "vb": _number(reading.battery_voltage_v),
            "ib": _number(reading.battery_current_a),
            "wb": _number(reading.battery_power_w),
            "tmp": _number(reading.converter_temp_degc),
        },
        "vdis": {
            "dvg": _number(reading.grid_voltage_setpoint_v),
            "drg": _number(reading.droop_ratio),
        },
        "param": {"dig": _number(reading.grid_current_setpoint_a)},
    }


def _emulator(
    house: HouseState,
    watch: GridListener,
    unit_id: str,
    soc: float | None,
    zone: tzinfo,
    status: UnitStatus,
) -> dict[str, Any]:
    battery = watch.batteries.get(unit_id)
    solar_w, load_w = house.solar_power_w, house.load_power_w
    now = _datetime(status.stamp, zone)
    return {
        "charge_discharge_power": _number(house.battery_power_w),
        "rsoc": soc,
        "battery_rsoc": soc,
        "battery_voltage": _number(battery.voltage) if battery else None,
        "battery_current": _number(battery.current) if battery else None,
        "pvc_charge_power": _number(solar_w),
        "pvc_charge_voltage": PANEL_VOLTAGE_V,
        "pvc_charge_current": round(solar_w / PANEL_VOLTAGE_V, 3),
        "ups_output_power": _number(load_w),
        "ups_output_voltage": 100.0,
        "ups_output_current": round(load_w / 100.0, 3),
        "ups_output_frequency": 50,
        "ups_input_voltage": 100.0,
        "ups_operation_mode": {"mode": 2, "parameter": 80, "stop_mode": 2},
        "ups_operation_schedule": 1,
        "dischargeable_time": {"hour": 0, "minute": 0},
        "system_time": {
            "year": now.year,
            "month": now.month,
            "day": now.day,
            "hour": now.hour,
            "minute": now.minute,
        },
    }


def _number(value: float) -> float | None:
    """What is not known is null: the key must be there for the original's page."""
    return round(float(value), 3) if math.isfinite(value) else None


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def _datetime(stamp: Any, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(stamp.sec + stamp.nanosec * 1e-9, zone)


def _time(stamp: Any, zone: tzinfo) -> str:
    return _datetime(stamp, zone).strftime(TIME)
