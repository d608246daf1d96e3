"""What the graph says, as plain values: one frozen record per message, unknown is ``None``.

They are not the core's messages, which leave out what only people want to see (houses, the bus,
diagnostics, when a thing was said), and need what a page does not (leases, versions of policies).
:mod:`apis_dashboard.record_messages` makes them out of ROS messages, a fake of the tests invents
them, :mod:`apis_dashboard.model` takes them in. Quantities carry their unit in the name. Sign:
positive flows from the bus into the unit (charging). Stamps (``*_at_s``, ``stamp_s``) are seconds
of ROS time since the epoch: simulated time in a simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

from apis_core.model.types import (
    Alarm,
    ConverterMode,
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
)
from apis_core.model.types import OperationMode as Mode
from apis_site.history_values import DealRecord

__all__ = [
    "Alarm",
    "BusRecord",
    "ConverterMode",
    "ConverterRecord",
    "DealRecord",
    "DealState",
    "DiagnosticRecord",
    "FaultCategory",
    "FaultExtent",
    "FaultLevel",
    "FaultRecord",
    "HouseRecord",
    "Mode",
    "ModeOrder",
    "PriceRecord",
    "Record",
    "UnitRecord",
]


@dataclass(frozen=True, kw_only=True)
class ConverterRecord:
    """A reading of one converter."""

    unit_id: str
    mode: ConverterMode = ConverterMode.UNKNOWN
    grid_voltage_v: float | None = None
    grid_current_a: float | None = None
    grid_power_w: float | None = None
    alarm: Alarm = Alarm.UNKNOWN
    stop_detail: str = ""  # why it stopped by itself; empty = it did not
    battery_voltage_v: float | None = None
    battery_current_a: float | None = None
    battery_power_w: float | None = None
    temp_degc: float | None = None
    grid_voltage_setpoint_v: float | None = None
    grid_current_setpoint_a: float | None = None  # >= 0: the mode gives the direction
    droop_ratio: float | None = None
    grid_charged_wh: float | None = None  # the counters only ever grow
    grid_discharged_wh: float | None = None
    battery_charged_wh: float | None = None
    battery_discharged_wh: float | None = None
    term: int = 0
    deal_id: str = ""
    hold_remaining_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class HouseRecord:
    """A reading of the house behind a converter. All powers are >= 0."""

    unit_id: str
    solar_w: float | None = None
    load_w: float | None = None
    mains_w: float | None = None
    solar_available_w: float | None = None  # what the panels could give
    losses_w: float | None = None  # UPS, converter and standby
    unserved_w: float | None = None  # load that could not be fed
    stamp_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class UnitRecord:
    """What a unit says of itself; `instance_id` is of its process, new at every start."""

    unit_id: str
    instance_id: str = ""
    global_mode: Mode = Mode.UNSET
    global_mode_version: int = 0
    local_mode: Mode = Mode.UNSET
    effective_mode: Mode = Mode.UNSET
    is_grid_master: bool = False
    term: int = 0
    soc_ratio: float | None = None
    remaining_wh: float | None = None
    capacity_wh: float | None = None
    battery_band: str = ""
    deal_ids: tuple[str, ...] = ()
    in_quarantine: bool = False
    fault_codes: tuple[str, ...] = ()
    not_dealing_reason: str = ""
    grid_master_id: str = ""  # to whom it granted its lease
    committed_wh: float | None = None  # still to come (+) or to go (-) in deals under way
    slot_capacity: int = 0
    policy_hash: str = ""
    converter: ConverterRecord | None = None
    stamp_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class FaultRecord:
    """Something went wrong."""

    unit_id: str
    level: FaultLevel
    code: str
    message: str
    reporter_id: str = ""
    deal_id: str = ""
    stamp_s: float | None = None
    category: FaultCategory = FaultCategory.UNKNOWN
    extent: FaultExtent = FaultExtent.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class DiagnosticRecord:
    """What a process says of its own health."""

    unit_id: str
    level: int  # 0 fine, 1 warning, 2 error, 3 stale
    message: str
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class BusRecord:
    """The bus as the emulator computes it; a real grid has no such record."""

    voltage_v: float
    transported_power_w: float
    line_loss_w: float
    voltage_reference_ids: tuple[str, ...]
    speed: float  # simulated seconds per wall second


@dataclass(frozen=True, kw_only=True)
class PriceRecord:
    """What a unit asks for energy that it would give, or offers for energy that it would take."""

    unit_id: str
    is_asked: bool  # it would give; else it would take
    price_point_per_wh: float  # the least that it takes, or the most that it pays
    stamp_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModeOrder:
    """An operator's word, ours or somebody else's. An empty unit_id means the whole cluster."""

    mode: Mode
    unit_id: str = ""
    issuer: str = ""


Record = (
    UnitRecord
    | ConverterRecord
    | HouseRecord
    | DealRecord
    | FaultRecord
    | BusRecord
    | ModeOrder
    | DiagnosticRecord
    | PriceRecord
)
