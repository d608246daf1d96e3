"""What the views of several pages say in the same words."""

from __future__ import annotations

from typing import Any

from apis_dashboard import formatting
from apis_dashboard.model import UnitView

__all__ = ["State", "name_list", "rounded", "stored", "tile", "unit_note"]

State = dict[str, Any]  # as JSON


def tile(name: str, value: str, note: str = "") -> State:
    """Give a figure with its name, and a remark below."""
    return {"name": name, "value": value, "note": note}


def unit_note(unit: UnitView) -> str:
    """Say why a unit is silent or makes no deals; empty if neither."""
    if unit.status is None:
        return "not heard of yet"
    if unit.silent_s is not None:
        return f"silent for {formatting.duration(unit.silent_s)}"
    quarantine = "in quarantine" if unit.status.in_quarantine else ""
    return "; ".join(part for part in (quarantine, unit.status.not_dealing_reason) if part)


def name_list(unit_ids: tuple[str, ...]) -> str:
    """List units, but not a screenful of them."""
    more = f" and {len(unit_ids) - 4} more" if len(unit_ids) > 4 else ""
    return ", ".join(unit_ids[:4]) + more


def stored(unit: UnitView) -> str:
    """Say how much of its battery is full."""
    if unit.status is None or unit.status.remaining_wh is None:
        return formatting.UNKNOWN
    whole = unit.status.capacity_wh
    left = formatting.amount(unit.status.remaining_wh, "Wh")
    return f"{left} of {formatting.amount(whole, 'Wh')}" if whole else left


def rounded(value: float | None, digits: int = 0) -> float | None:
    """Round as it is shown, so that little differs from one look to the next."""
    if value is None:
        return None
    return round(value) if digits == 0 else round(value, digits)
