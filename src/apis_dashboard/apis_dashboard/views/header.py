"""What stands on top of every page: the clock, the mode, an emergency stop."""

from __future__ import annotations

from datetime import tzinfo

from apis_dashboard import formatting
from apis_dashboard.model import GridView, ModeView
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.records import ConverterMode, Mode
from apis_dashboard.views.common import State, name_list, unit_note

__all__ = ["header_state", "stop_state"]


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
        word, late = formatting.MODE_WORDS[mode.wanted], name_list(mode.waiting_for)
        note = f"changing to {word}… {verb}: {late}"
    elif mode.reported is None:
        present = "the units report different modes"
        note = "waiting for the units…" if mode.silent else present
    elif mode.silent:
        note = f"not known of {name_list(mode.silent)}"
    return {
        "reported": mode.reported.name
        if mode.reported and mode.reported is not Mode.UNSET
        else "",
        "wanted": mode.wanted.name if mode.wanted else "",
        "overdue": mode.is_overdue,
        "note": note,
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
                    else unit_note(unit) or "unit still to follow"
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
