"""Numbers and words as people read them. An unknown value is a dash, never a zero."""

from __future__ import annotations

from datetime import datetime, tzinfo

from apis_core.cluster.fault_actions import Action, actions_for
from apis_dashboard.grid_source import BreakKind, BreakWish, FaultWish
from apis_dashboard.model import Event
from apis_dashboard.records import Alarm, ConverterMode, DealState, FaultExtent, FaultLevel, Mode

__all__ = [
    "ALARM_WORDS",
    "BREAK_WORDS",
    "CONVERTER_WORDS",
    "DEAL_WORDS",
    "LEVEL_WORDS",
    "MODE_WORDS",
    "QUANTITY_WORDS",
    "UNKNOWN",
    "amount",
    "break_words",
    "clock_time",
    "date_time",
    "day",
    "duration",
    "energy",
    "follows",
    "harmless",
    "percent",
    "power",
]

UNKNOWN = "–"

MODE_WORDS = {
    Mode.UNSET: "not set",
    Mode.RUN: "Run",
    Mode.SOFT_STOP: "Soft stop",
    Mode.FORCE_STOP: "Force stop",
    Mode.MANUAL: "Manual",
}

CONVERTER_WORDS = {
    ConverterMode.UNKNOWN: "not read",
    ConverterMode.WAIT: "waiting",
    ConverterMode.VOLTAGE_REFERENCE: "holds the voltage",
    ConverterMode.DISCHARGE: "discharging",
    ConverterMode.CHARGE: "charging",
}

ALARM_WORDS = {
    Alarm.UNKNOWN: "",
    Alarm.NONE: "no alarm",
    Alarm.LIGHT: "light alarm: works, asks for attention",
    Alarm.HEAVY: "heavy alarm: must stop",
}

DEAL_WORDS = {
    DealState.UNKNOWN: "unknown",
    DealState.QUEUED: "agreed, waits for its turn",
    DealState.ACTIVATING: "activating",
    DealState.RAMPING_UP: "raising the bus voltage",
    DealState.STARTING: "starting",
    DealState.RUNNING: "energy flows",
    DealState.STOPPING: "stopping",
    DealState.RELEASING: "closing the books",
    DealState.COMPLETED: "completed",
    DealState.ABORTED: "ended early",
    DealState.SCRAMMED: "emergency stop",
}

LEVEL_WORDS = {
    None: "info",
    FaultLevel.UNKNOWN: "fault",
    FaultLevel.WARN: "warning",
    FaultLevel.ERROR: "error",
    FaultLevel.FATAL: "fatal",
}


BREAK_WORDS = {
    BreakKind.SENSOR_OFFSET: "Sensor reads wrong",
    BreakKind.STUCK_CONVERTER: "Converter is stuck",
    BreakKind.LOST_COMMUNICATION: "Communication is lost",
    BreakKind.BATTERY_PERMIT: "Battery forbids exchange",
    BreakKind.LINE_BREAK: "Line breaks",
}

QUANTITY_WORDS = {  # of a sensor, and its unit
    "grid_voltage_v": ("Bus voltage", "V"),
    "grid_current_a": ("Bus current", "A"),
    "battery_voltage_v": ("Battery voltage", "V"),
    "converter_temp_degc": ("Temperature", "°C"),
}


def break_words(wish: BreakWish) -> str:
    """What is to break, where, and for how long."""
    where = wish.unit_id + (f"–{wish.other_unit_id}" if wish.other_unit_id else "")
    name, unit = QUANTITY_WORDS.get(wish.quantity, ("", ""))
    value = f", {name} {amount(wish.value, unit, 2)} too high" if name else ""
    how_long = "" if wish.duration_s is None else f", for {duration(wish.duration_s)}"
    return f"{BREAK_WORDS[wish.kind]}: {where}{value}{how_long}"


ACTION_WORDS = {
    Action.QUARANTINE: "{who} new deals for a while",
    Action.ASK_TO_END: "its deals end",
    Action.STEP_DOWN: "it is grid master no longer",
    Action.MODE_STOP_LOCAL: "it goes to Force stop",
    Action.SCRAM: "all deals end at once",
    Action.MODE_STOP: "the cluster goes to Force stop",
}


def follows(fault: Event | FaultWish) -> str:
    """What the units do about a fault, as the fault matrix says."""
    is_local = fault.extent is FaultExtent.LOCAL
    who = f"{fault.unit_id} makes no" if is_local else "nobody makes"
    words = [ACTION_WORDS[a].format(who=who) for a in actions_for(fault) if a in ACTION_WORDS]  # type: ignore[arg-type]
    return ", ".join(words) or "nothing, it is written down"


def amount(value: float | None, unit: str, digits: int = 0) -> str:
    """Write a quantity with its unit; a true minus sign, and no minus before a zero."""
    if value is None:
        return UNKNOWN
    text = f"{value:,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return f"{text.replace('-', '−')} {unit}"


def power(value_w: float | None) -> str:
    """Write a power: watts below a kilowatt, kilowatts from there. [W]"""
    if value_w is not None and abs(value_w) >= 999.5:
        return amount(value_w / 1000.0, "kW", 2)
    return amount(value_w, "W")


def energy(value_wh: float | None, digits: int = 0) -> str:
    """Write an energy: Wh below ten kilowatt-hours, kWh from there. [Wh]"""
    if value_wh is not None and abs(value_wh) >= 9_999.5:
        return amount(value_wh / 1000.0, "kWh", 1)
    return amount(value_wh, "Wh", digits)


def percent(ratio: float | None) -> str:
    """Write a ratio 0..1 as a whole percentage."""
    return amount(None if ratio is None else 100.0 * ratio, "%")


def duration(seconds: float | None) -> str:
    """Write a time span in its two largest units. [s]"""
    if seconds is None:
        return UNKNOWN
    whole_s = max(round(seconds), 0)
    minutes, rest_s = divmod(whole_s, 60)
    hours, rest_min = divmod(minutes, 60)
    days, rest_h = divmod(hours, 24)
    if days:
        return f"{days} d {rest_h} h"
    if hours:
        return f"{hours} h {rest_min:02d} min"
    return f"{minutes} min {rest_s:02d} s" if minutes else f"{rest_s} s"


def date_time(ros_time_s: float | None, zone: tzinfo) -> str:
    """Write a date and time at the place of the grid, seconds of ROS time in."""
    if not ros_time_s:
        return UNKNOWN
    return f"{datetime.fromtimestamp(ros_time_s, zone):%a %d %b %Y, %H:%M:%S}"


def clock_time(ros_time_s: float | None, zone: tzinfo) -> str:
    """Write the time of day at the place of the grid, seconds of ROS time in."""
    return f"{datetime.fromtimestamp(ros_time_s, zone):%H:%M:%S}" if ros_time_s else UNKNOWN


def day(ros_time_s: float | None, zone: tzinfo) -> str:
    """Write the day at the place of the grid, seconds of ROS time in."""
    return f"{datetime.fromtimestamp(ros_time_s, zone):%d %b}" if ros_time_s else UNKNOWN


def harmless(words: str) -> str:
    """A text as a cell of a spreadsheet, which would take some beginnings for a formula."""
    return f"'{words}" if words[:1] in ("=", "+", "-", "@", "\t", "\r") else words
