"""ROS messages to records and back; nothing else knows a message. NaN and 0 stamps become None."""

from __future__ import annotations

import math
from enum import Enum
from typing import TypeVar

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from apis_dashboard.records import (
    Alarm,
    BusRecord,
    ConverterMode,
    ConverterRecord,
    DealRecord,
    DealState,
    DiagnosticRecord,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    FaultRecord,
    HouseRecord,
    Mode,
    ModeOrder,
    PriceRecord,
    UnitRecord,
)
from apis_interfaces import msg

__all__ = [
    "bus_record",
    "converter_record",
    "deal_record",
    "diagnostic_record",
    "fault_record",
    "house_record",
    "mode_message",
    "mode_order",
    "price_record",
    "unit_record",
]


_Kind = TypeVar("_Kind", bound=Enum)


def _word(kind: type[_Kind], value: int) -> _Kind:
    """Find the member; a value that we do not know counts as 0, which is "unknown" or "unset"."""
    return next((member for member in kind if member.value == value), kind(0))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _seconds(stamp: Time) -> float | None:
    seconds = stamp.sec + stamp.nanosec * 1e-9
    return seconds if seconds > 0.0 else None


def converter_record(message: msg.ConverterState) -> ConverterRecord:
    """Translate a converter's reading."""
    return ConverterRecord(
        unit_id=message.unit_id,
        mode=_word(ConverterMode, message.mode),
        grid_voltage_v=_known(message.grid_voltage_v),
        grid_current_a=_known(message.grid_current_a),
        grid_power_w=_known(message.grid_power_w),
        alarm=_word(Alarm, message.alarm),
        stop_detail=message.stop_detail,
        battery_voltage_v=_known(message.battery_voltage_v),
        battery_current_a=_known(message.battery_current_a),
        battery_power_w=_known(message.battery_power_w),
        temp_degc=_known(message.converter_temp_degc),
        grid_voltage_setpoint_v=_known(message.grid_voltage_setpoint_v),
        grid_current_setpoint_a=_known(message.grid_current_setpoint_a),
        droop_ratio=_known(message.droop_ratio),
        grid_charged_wh=_known(message.grid_charged_wh),
        grid_discharged_wh=_known(message.grid_discharged_wh),
        battery_charged_wh=_known(message.battery_charged_wh),
        battery_discharged_wh=_known(message.battery_discharged_wh),
        term=message.term,
        deal_id=message.deal_id,
        hold_remaining_s=_known(message.hold_remaining_s),
    )


def house_record(message: msg.HouseState) -> HouseRecord:
    """Translate a house's reading."""
    return HouseRecord(
        unit_id=message.unit_id,
        solar_w=_known(message.solar_power_w),
        load_w=_known(message.load_power_w),
        mains_w=_known(message.mains_power_w),
        solar_available_w=_known(message.solar_available_w),
        losses_w=_known(message.losses_w),
        unserved_w=_known(message.unserved_load_w),
        stamp_s=_seconds(message.stamp),
    )


def unit_record(message: msg.UnitStatus) -> UnitRecord:
    """Translate a unit's status; a converter that it has not read yet is left out."""
    has_converter = message.converter.mode != msg.ConverterState.MODE_UNKNOWN
    return UnitRecord(
        unit_id=message.unit_id,
        instance_id=message.instance_id,
        global_mode=_word(Mode, message.global_mode),
        global_mode_version=message.global_mode_version,
        local_mode=_word(Mode, message.local_mode),
        effective_mode=_word(Mode, message.effective_mode),
        is_grid_master=message.is_grid_master,
        term=message.term,
        soc_ratio=_known(message.soc_ratio),
        remaining_wh=_known(message.remaining_wh),
        capacity_wh=_known(message.capacity_wh) or None,
        battery_band=message.battery_band,
        deal_ids=tuple(message.deal_ids),
        in_quarantine=message.in_quarantine,
        fault_codes=tuple(message.fault_codes),
        not_dealing_reason=message.not_dealing_reason,
        grid_master_id=message.grid_master_id,
        committed_wh=_known(message.committed_wh),
        slot_capacity=message.slot_capacity,
        policy_hash=message.policy_hash,
        converter=converter_record(message.converter) if has_converter else None,
        stamp_s=_seconds(message.stamp),
    )


def deal_record(message: msg.Deal) -> DealRecord:
    """Translate a deal."""
    return DealRecord(
        deal_id=message.deal_id,
        term=message.term,
        sequence=message.sequence,
        state=_word(DealState, message.state),
        reason=message.reason,
        discharge_unit_id=message.discharge_unit_id,
        charge_unit_id=message.charge_unit_id,
        voltage_reference_id=message.voltage_reference_id,
        energy_wh=message.energy_wh,
        current_a=message.current_a,
        price_point_per_wh=_known(message.price_point_per_wh),
        moved_wh=message.moved_wh,
        sent_wh=_known(message.sent_wh),
        received_wh=_known(message.received_wh),
        created_at_s=_seconds(message.created_at),
        started_at_s=_seconds(message.started_at),
        stopped_at_s=_seconds(message.stopped_at),
        ended_at_s=_seconds(message.ended_at),
        request_unit_id=message.request_unit_id,
        accept_unit_id=message.accept_unit_id,
        grid_master_id=message.grid_master_id,
        stamp_s=_seconds(message.stamp),
    )


def fault_record(message: msg.Fault) -> FaultRecord:
    """Translate a fault."""
    return FaultRecord(
        unit_id=message.unit_id,
        reporter_id=message.reporter_id,
        level=_word(FaultLevel, message.level),
        code=message.code,
        message=message.message,
        deal_id=message.deal_id,
        stamp_s=_seconds(message.stamp),
        category=_word(FaultCategory, message.category),
        extent=_word(FaultExtent, message.extent),
    )


def price_record(message: msg.InterchangeRequest | msg.InterchangeAccept) -> PriceRecord | None:
    """Translate the price in a question or an answer; None = it names none."""
    if message.type not in (message.TYPE_CHARGE, message.TYPE_DISCHARGE):
        return None
    price = _known(message.price_point_per_wh)
    if price is None:
        return None
    return PriceRecord(
        unit_id=message.unit_id,
        is_asked=message.type == message.TYPE_DISCHARGE,
        price_point_per_wh=price,
        stamp_s=_seconds(message.stamp),
    )


def diagnostic_record(status: DiagnosticStatus) -> DiagnosticRecord:
    """Translate what a process says of its own health; hardware_id is the unit's id."""
    return DiagnosticRecord(
        unit_id=status.hardware_id,
        level=status.level[0] if isinstance(status.level, bytes) else int(status.level),
        message=status.message,
        values=tuple((value.key, value.value) for value in status.values),
    )


def bus_record(message: msg.BusState) -> BusRecord:
    """Translate the emulator's word on the bus."""
    return BusRecord(
        voltage_v=message.voltage_v,
        transported_power_w=message.transported_power_w,
        line_loss_w=message.line_loss_w,
        voltage_reference_ids=tuple(message.voltage_reference_ids),
        speed=message.speed,
    )


def mode_order(message: msg.OperationMode) -> ModeOrder:
    """Translate an operator's order."""
    return ModeOrder(
        mode=_word(Mode, message.mode), unit_id=message.unit_id, issuer=message.issuer
    )


def mode_message(mode: Mode, *, version: int, issuer: str, unit_id: str = "") -> msg.OperationMode:
    """Make an order.

    Args:
        mode: UNSET only for one unit: it follows the cluster again.
        version: One above what the units report; 0 in an order for one unit.
        issuer: Who orders, for the log.
        unit_id: The unit meant; empty = the whole cluster.
    """
    return msg.OperationMode(unit_id=unit_id, mode=mode.value, version=version, issuer=issuer)
