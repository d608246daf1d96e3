"""What stands in the tables: rows of text from what a watch has heard. No Qt here."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

from apis_core.config.timing import ORDER_PATIENCE_S, SILENT_AFTER_S
from apis_interfaces.msg import ConverterState, Deal, Fault, OperationMode, UnitStatus
from apis_ros.grid_listener import GridListener

__all__ = [
    "DEALS",
    "FAULTS",
    "FOLLOW",
    "MODES",
    "UNITS",
    "deal_rows",
    "fault_rows",
    "mode_text",
    "order_text",
    "unit_rows",
]

UNITS = ("Unit", "Charge", "Mode", "Converter", "V", "A", "W", "Deals", "Remarks")
DEALS = ("From", "To", "State", "A", "Moved Wh", "Agreed Wh", "Reason")
FAULTS = ("At", "Unit", "Level", "Code", "Message")

MODES = {
    OperationMode.MODE_RUN: "Run",
    OperationMode.MODE_SOFT_STOP: "Soft stop",
    OperationMode.MODE_FORCE_STOP: "Force stop",
    OperationMode.MODE_MANUAL: "Manual",
}
FOLLOW = "Follow cluster"  # MODE_UNSET of a unit
NAMED = 4  # units in one line


def unit_rows(watch: GridListener) -> list[tuple[str, ...]]:
    """One row a unit, in the order of their ids."""
    return [_unit(watch, watch.statuses[unit_id]) for unit_id in sorted(watch.statuses)]


def deal_rows(watch: GridListener) -> list[tuple[str, ...]]:
    """One row a deal, the newest first."""
    deals = sorted(watch.deals.values(), key=lambda deal: _seconds(deal.created_at), reverse=True)
    return [
        (
            deal.discharge_unit_id,
            deal.charge_unit_id,
            _word(Deal, "STATE_", deal.state),
            _number(deal.current_a, 1),
            _number(deal.moved_wh, 1),
            _number(deal.energy_wh, 0),
            deal.reason,
        )
        for deal in deals
    ]


def fault_rows(watch: GridListener) -> list[tuple[str, ...]]:
    """One row a fault, the newest first."""
    return [
        (
            datetime.fromtimestamp(_seconds(fault.stamp), timezone.utc).strftime("%H:%M:%S UTC"),
            fault.unit_id,
            _word(Fault, "LEVEL_", fault.level),
            fault.code,
            fault.message,
        )
        for fault in reversed(watch.faults)
    ]


def mode_text(watch: GridListener) -> str:
    """The cluster's mode in one line."""
    if not watch.statuses:
        return "no unit heard yet"
    master = watch.grid_master()
    who = f"grid master {master.unit_id}, term {master.term}" if master else "no grid master"
    return f"{MODES.get(watch.global_mode(), 'no mode')} · {who}"


def order_text(watch: GridListener, order: OperationMode, age_s: float) -> str:
    """Who has not followed an order, in one line; empty = nobody is left.

    Args:
        watch: Of the cluster.
        order: As it was sent.
        age_s: How long ago, wall time. [s]
    """
    late = [unit_id for unit_id in sorted(watch.statuses) if _is_behind(watch, unit_id, order)]
    if not late:
        return ""
    more = f" and {len(late) - NAMED} more" if len(late) > NAMED else ""
    yet = "" if age_s > ORDER_PATIENCE_S else "yet "
    name = MODES.get(order.mode, FOLLOW)
    return f"{name} not {yet}followed by {', '.join(late[:NAMED])}{more}"


def _is_behind(watch: GridListener, unit_id: str, order: OperationMode) -> bool:
    status = watch.statuses[unit_id]
    if order.unit_id:
        return bool(order.unit_id == unit_id and status.local_mode != order.mode)
    if status.global_mode_version != order.version:  # a newer one is of somebody else, and counts
        return bool(status.global_mode_version < order.version)
    return bool(status.global_mode != order.mode)


def _unit(watch: GridListener, status: UnitStatus) -> tuple[str, ...]:
    reading = watch.converter(status.unit_id) or status.converter
    age_s = watch.age_s(status.unit_id) or 0.0
    remarks = [
        "silent" if age_s > SILENT_AFTER_S else "",
        "grid master" if status.is_grid_master else "",
        *status.fault_codes,
        status.not_dealing_reason,
    ]
    return (
        status.unit_id,
        _number(100.0 * status.soc_ratio, 0, " %"),
        MODES.get(status.effective_mode, ""),
        _word(ConverterState, "MODE_", reading.mode),
        _number(reading.grid_voltage_v, 1),
        _number(reading.grid_current_a, 2),
        _number(reading.grid_power_w, 0),
        str(len(status.deal_ids) or ""),
        ", ".join(filter(None, remarks)),
    )


def _number(value: float, digits: int, suffix: str = "") -> str:
    if not math.isfinite(value):
        return ""
    return f"{round(value, digits) + 0.0:.{digits}f}{suffix}"  # + 0.0: no minus before a zero


def _word(kind: Any, prefix: str, value: int) -> str:
    names = (n for n in dir(kind) if n.startswith(prefix) and getattr(kind, n) == value)
    return next(names, f"{prefix}{value}").removeprefix(prefix).lower().replace("_", " ")


def _seconds(stamp: Any) -> float:
    return float(stamp.sec + stamp.nanosec * 1e-9)
