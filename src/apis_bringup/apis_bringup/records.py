"""Deals, faults and units as the plain records that tables, ``--json`` and reports show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from itertools import pairwise
from typing import Any

from builtin_interfaces.msg import Time

from apis_bringup.observer import Step
from apis_bringup.plain import constant_name, iso_time, to_plain
from apis_core.model.receipt import Receipt
from apis_interfaces.msg import (
    ConverterState,
    Deal,
    Fault,
    HouseState,
    OperationMode,
    UnitStatus,
)

__all__ = [
    "DEAL_FIELDS",
    "converter_mode_name",
    "deal_record",
    "fault_record",
    "house_record",
    "mode_name",
    "phase_records",
    "receipt_records",
    "unit_details",
    "unit_record",
]


DEAL_FIELDS = (
    "deal_id",
    "state",
    "reason",
    "discharge_unit_id",
    "charge_unit_id",
    "voltage_reference_id",
    "grid_master_id",
    "term",
    "current_a",
    "price_point_per_wh",
    "agreed_wh",
    "sent_wh",
    "received_wh",
    "moved_wh",
    "created_at",
    "started_at",
    "stopped_at",
    "ended_at",
    "duration_s",
)  # of a deal's record, in their order


def converter_mode_name(mode: int) -> str:
    """``WAIT``, ``VOLTAGE_REFERENCE``, ``DISCHARGE``, ``CHARGE`` or ``UNKNOWN``."""
    return constant_name(ConverterState, "MODE_", mode)


def mode_name(mode: int) -> str:
    """An operation mode as the command line writes it, such as ``soft-stop``."""
    return constant_name(OperationMode, "MODE_", mode).lower().replace("_", "-")


def deal_record(deal: Deal, zone: tzinfo) -> dict[str, Any]:
    """What was agreed, what flowed, and when. Energies in Wh; None = not known or not yet."""
    return {
        "deal_id": deal.deal_id,
        "state": _state_name(deal.state),
        "reason": deal.reason,
        "discharge_unit_id": deal.discharge_unit_id,
        "charge_unit_id": deal.charge_unit_id,
        "voltage_reference_id": deal.voltage_reference_id,
        "grid_master_id": deal.grid_master_id,
        "term": deal.term,
        "current_a": deal.current_a,
        "price_point_per_wh": to_plain(deal.price_point_per_wh),
        "agreed_wh": deal.energy_wh,
        "sent_wh": to_plain(deal.sent_wh),
        "received_wh": to_plain(deal.received_wh),
        "moved_wh": to_plain(deal.moved_wh),
        "created_at": iso_time(deal.created_at, zone),
        "started_at": iso_time(deal.started_at, zone),
        "stopped_at": iso_time(deal.stopped_at, zone),
        "ended_at": iso_time(deal.ended_at, zone),
        "duration_s": _duration_s(deal),
    }


def phase_records(steps: Sequence[Step], zone: tzinfo) -> list[dict[str, Any]]:
    """What a deal went through: state, since when, for how long, under whom.

    A deal that another grid master goes on with has two phases of the same state. The last one, in
    which it stays, has no length.
    """
    lengths = [
        round(max(_seconds(after.at) - _seconds(step.at), 0.0), 3)
        for step, after in pairwise(steps)
    ]
    return [
        {
            "state": _state_name(step.state),
            "at": iso_time(step.at, zone),
            "seconds": seconds,
            "term": step.term,
            "grid_master_id": step.grid_master_id,
        }
        for step, seconds in zip(steps, [*lengths, None], strict=True)
    ]


def receipt_records(deal: Deal, receipts: Mapping[str, Mapping[str, Receipt]]) -> dict[str, Any]:
    """What each side wrote into its own journal when the deal was over for it.

    Args:
        deal: The deal.
        receipts: By unit id and deal id.

    Returns:
        `discharge` and `charge`: what that side counted, energies in Wh; None = it wrote nothing.
        `apart_ratio`: by how much the two differ on the bus, of the larger; None = one is missing,
        or nothing flowed.
    """
    giver, taker = (
        receipts.get(unit_id, {}).get(deal.deal_id)
        for unit_id in (deal.discharge_unit_id, deal.charge_unit_id)
    )
    apart_ratio = None
    if giver and taker and (giver.grid_moved_wh or taker.grid_moved_wh):
        larger_wh = max(giver.grid_moved_wh, taker.grid_moved_wh)
        apart_ratio = abs(giver.grid_moved_wh - taker.grid_moved_wh) / larger_wh
    return {
        "discharge": _receipt_record(giver),
        "charge": _receipt_record(taker),
        "apart_ratio": apart_ratio,
    }


def fault_record(fault: Fault, zone: tzinfo) -> dict[str, Any]:
    """What went wrong, where and when."""
    return {
        "unit_id": fault.unit_id,
        "reporter_id": fault.reporter_id,
        "category": constant_name(Fault, "CATEGORY_", fault.category).lower(),
        "extent": constant_name(Fault, "EXTENT_", fault.extent).lower(),
        "level": constant_name(Fault, "LEVEL_", fault.level).lower(),
        "code": fault.code,
        "message": fault.message,
        "deal_id": fault.deal_id,
        "at": iso_time(fault.stamp, zone),
    }


def unit_record(status: UnitStatus) -> dict[str, Any]:
    """How one unit is."""
    return {
        "unit_id": status.unit_id,
        "mode": mode_name(status.effective_mode),
        "global_mode": mode_name(status.global_mode),
        "local_mode": mode_name(status.local_mode),
        "soc_ratio": to_plain(status.soc_ratio),
        "battery_band": status.battery_band,
        "converter_mode": converter_mode_name(status.converter.mode),
        "grid_voltage_v": to_plain(status.converter.grid_voltage_v),
        "grid_current_a": to_plain(status.converter.grid_current_a),
        "is_grid_master": status.is_grid_master,
        "holds_reference": status.converter.mode == ConverterState.MODE_VOLTAGE_REFERENCE,
        "deal_ids": list(status.deal_ids),
        "fault_codes": list(status.fault_codes),
        "not_dealing_reason": status.not_dealing_reason,
    }


def unit_details(status: UnitStatus) -> dict[str, Any]:
    """The same, and what its battery and converter measure. Wh, W, V, A; None = not known."""
    converter = status.converter
    return unit_record(status) | {
        "remaining_wh": to_plain(status.remaining_wh),
        "capacity_wh": to_plain(status.capacity_wh),
        "committed_wh": to_plain(status.committed_wh),
        "grid_power_w": to_plain(converter.grid_power_w),
        "battery_power_w": to_plain(converter.battery_power_w),
        "battery_voltage_v": to_plain(converter.battery_voltage_v),
        "converter_temp_degc": to_plain(converter.converter_temp_degc),
        "grid_charged_wh": to_plain(converter.grid_charged_wh),
        "grid_discharged_wh": to_plain(converter.grid_discharged_wh),
        "grid_master_id": status.grid_master_id,
        "term": status.term,
        "in_quarantine": status.in_quarantine,
    }


def house_record(house: HouseState | None) -> dict[str, Any]:
    """What a house's meters say. [W]; None = nobody measures it."""
    fields = ("solar_power_w", "load_power_w", "mains_power_w")
    return {field: to_plain(getattr(house, field)) if house else None for field in fields}


def _receipt_record(receipt: Receipt | None) -> dict[str, Any] | None:
    if receipt is None:
        return None
    return {
        "grid_wh": receipt.grid_moved_wh,
        "battery_wh": receipt.battery_moved_wh,
        "reason": receipt.reason,
    }


def _state_name(state: int) -> str:
    return constant_name(Deal, "STATE_", state).lower()


def _duration_s(deal: Deal) -> float | None:
    """How long energy flowed. [s]"""
    if not deal.started_at.sec or not deal.stopped_at.sec:
        return None
    return round(_seconds(deal.stopped_at) - _seconds(deal.started_at), 3)


def _seconds(stamp: Time) -> float:
    return float(stamp.sec + stamp.nanosec * 1e-9)
