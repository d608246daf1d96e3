"""What passes between units, and between a unit and its converter: frozen values.

``None`` stands for *not known*. Energies in Wh, durations and instants in ns. A positive current
flows from the bus into the unit. The ROS definitions in ``apis_interfaces`` mirror these, field by
field.

Size: as many values as there are messages in ``apis_interfaces``, in one list to compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from apis_core.model.types import (
    NOBODY,
    Alarm,
    ControlError,
    ControlOperation,
    ConverterError,
    ConverterMode,
    DealState,
    Direction,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    Meter,
    OperationMode,
    StopCause,
    SubmitError,
    UnitId,
)

__all__ = [
    "IS_STOPPING",
    "BatteryReading",
    "ClaimKind",
    "ControlReply",
    "ControlRequest",
    "ConverterOperation",
    "ConverterOrder",
    "ConverterReading",
    "ConverterReply",
    "Deal",
    "DealSubmission",
    "Fault",
    "GridMasterClaim",
    "InterchangeAccept",
    "InterchangeRequest",
    "LeaseGrant",
    "Message",
    "OfferKind",
    "OperationModeOrder",
    "PolicyOffer",
    "SubmitReply",
    "UnitStatus",
]

IS_STOPPING = "is stopping"  # a unit's reason for not dealing once its process is to end


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverterReading:
    """One reading of a converter; fields as in ``ConverterState.msg``.

    ``stamp_ns`` is when the driver measured it, on the driver's clock: it orders the readings of
    one converter and is compared with nothing else. 0 = not known.
    """

    stamp_ns: int = 0
    mode: ConverterMode = ConverterMode.UNKNOWN
    alarm: Alarm = Alarm.UNKNOWN
    stop_cause: StopCause = StopCause.NONE
    stop_detail: str = ""
    grid_voltage_v: float | None = None
    grid_current_a: float | None = None
    grid_power_w: float | None = None
    battery_voltage_v: float | None = None
    battery_current_a: float | None = None
    battery_power_w: float | None = None
    converter_temp_degc: float | None = None
    grid_voltage_setpoint_v: float | None = None
    grid_current_setpoint_a: float | None = None
    droop_ratio: float | None = None
    grid_charged_wh: float | None = None
    grid_discharged_wh: float | None = None
    battery_charged_wh: float | None = None
    battery_discharged_wh: float | None = None
    term: int = 0
    deal_id: str = ""
    hold_remaining_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryReading:
    """One reading of a battery.

    Attributes:
        soc_ratio: State of charge, 0..1.
        seconds_of_day: Local time of day at the unit when it was read, 0..86400. The scenario goes
            by it.
    """

    soc_ratio: float | None
    seconds_of_day: float


class ConverterOperation(IntEnum):
    """What an order to a converter changes."""

    READ = 0
    MODE = 1
    CURRENT = 2
    VOLTAGE = 3
    HOLD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverterOrder:
    """An order to the own converter; fields as in ``ConverterCommand.srv``."""

    operation: ConverterOperation
    mode: ConverterMode = ConverterMode.UNKNOWN
    grid_voltage_v: float | None = None
    grid_current_a: float | None = None
    droop_ratio: float = 0.0
    energy_limit_wh: float | None = None
    next_current_a: float | None = None
    hold_s: float | None = None
    term: int = 0
    grid_master_id: UnitId = NOBODY
    deal_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverterReply:
    """What the driver made of an order."""

    error: ConverterError = ConverterError.NONE
    message: str = ""
    reading: ConverterReading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterchangeRequest:
    """A unit asks all others for energy, or offers it.

    ``request_id`` becomes the id of the deal.
    """

    request_id: str
    unit_id: UnitId
    type: Direction
    energy_wh: float
    current_a: float
    price_point_per_wh: float | None = None
    pair_unit_id: UnitId = NOBODY
    efficient_grid_voltage_v: float | None = None
    window_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InterchangeAccept:
    """The answer to a request. ``type is None`` = declined, with a reason."""

    request_id: str
    unit_id: UnitId
    type: Direction | None
    reason: str = ""
    energy_wh: float | None = None
    current_a: float | None = None
    price_point_per_wh: float | None = None
    pair_unit_id: UnitId = NOBODY
    efficient_grid_voltage_v: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """A deal as the grid master keeps it.

    Fields as in ``Deal.msg``. Instants are the grid master's clock, 0 = not yet.
    """

    deal_id: str
    request_unit_id: UnitId
    accept_unit_id: UnitId
    discharge_unit_id: UnitId
    charge_unit_id: UnitId
    energy_wh: float
    current_a: float
    price_point_per_wh: float | None = None
    meter: Meter = Meter.BATTERY
    term: int = 0
    sequence: int = 0
    grid_master_id: UnitId = NOBODY
    state: DealState = DealState.UNKNOWN
    reason: str = ""
    voltage_reference_id: UnitId = NOBODY
    moved_wh: float = 0.0
    sent_wh: float | None = None
    received_wh: float | None = None
    created_ns: int = 0
    started_ns: int = 0
    stopped_ns: int = 0
    ended_ns: int = 0

    @property
    def unit_ids(self) -> tuple[UnitId, UnitId]:
        """Both units, in the order in which locks are taken."""
        low, high = sorted((self.discharge_unit_id, self.charge_unit_id))
        return low, high

    def direction_of(self, unit_id: UnitId) -> Direction | None:
        """The direction of a unit in this deal; None if it has no part in it."""
        if unit_id == self.charge_unit_id:
            return Direction.CHARGE
        if unit_id == self.discharge_unit_id:
            return Direction.DISCHARGE
        return None

    def unit_id_of(self, direction: Direction) -> UnitId:
        """The unit that has a direction in this deal."""
        return self.charge_unit_id if direction is Direction.CHARGE else self.discharge_unit_id


class ClaimKind(IntEnum):
    """What a claim of a candidate or grid master asks for."""

    CANDIDATE = 1
    MASTER = 2
    RESIGN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class GridMasterClaim:
    """Heartbeat of a grid master, or the wish to become it."""

    kind: ClaimKind
    unit_id: UnitId
    instance_id: str
    term: int
    sequence: int
    lease_ns: int
    policy_hash: str = ""
    policy_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGrant:
    """A unit's answer to a claim."""

    unit_id: UnitId
    grid_master_id: UnitId
    term: int
    sequence: int
    granted: bool
    known_term: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationModeOrder:
    """An operator orders a mode, for the cluster or for one unit.

    ``unit_id == NOBODY`` means the whole cluster, ``version == 0`` one above what is known.
    """

    unit_id: UnitId
    mode: OperationMode
    version: int = 0
    issuer: str = ""


class OfferKind(IntEnum):
    """How far a new policy has come."""

    OFFER = 1
    PREPARE = 2
    ADOPT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOffer:
    """A policy on its way through the cluster.

    ``text`` is the policy as a file, ``policy_hash`` that of the policy which it says.
    """

    kind: OfferKind
    unit_id: UnitId
    term: int
    policy_version: int
    policy_hash: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something went wrong; ``code`` is short and stable, ``message`` is for people.

    ``age_ns`` is how long ago it was last seen, when it is told again.
    """

    unit_id: UnitId
    reporter_id: UnitId
    category: FaultCategory
    extent: FaultExtent
    level: FaultLevel
    code: str
    message: str
    deal_id: str = ""
    age_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStatus:
    """What a unit says of itself; fields as in ``UnitStatus.msg``."""

    unit_id: UnitId
    instance_id: str
    sequence: int
    global_mode: OperationMode
    global_mode_version: int
    local_mode: OperationMode
    effective_mode: OperationMode
    grid_master_id: UnitId = NOBODY
    term: int = 0
    is_grid_master: bool = False
    policy_hash: str = ""
    policy_version: int = 0
    coming_policy_hash: str = ""
    soc_ratio: float | None = None
    remaining_wh: float | None = None
    capacity_wh: float
    battery_band: str = ""
    committed_wh: float = 0.0
    efficient_grid_voltage_ratio: float | None = None
    converter: ConverterReading = ConverterReading()
    deal_ids: tuple[str, ...] = ()
    slot_capacity: int = 0
    flowing_deal_ids: tuple[str, ...] = ()
    ending_deal_ids: tuple[str, ...] = ()
    ending_reason: str = ""
    in_quarantine: bool = False
    suspect_unit_ids: tuple[UnitId, ...] = ()
    lost_unit_ids: tuple[UnitId, ...] = ()
    fault_codes: tuple[str, ...] = ()
    not_dealing_reason: str = ""

    @property
    def is_stopping(self) -> bool:
        """Whether the unit's process has said that it is about to end."""
        return self.not_dealing_reason == IS_STOPPING


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """An order of the grid master to a unit; fields as in ``UnitControl.srv``."""

    operation: ControlOperation
    grid_master_id: UnitId
    term: int
    deal_id: str
    deal: Deal | None = None
    grid_voltage_v: float | None = None
    grid_current_a: float | None = None
    energy_limit_wh: float | None = None
    hold_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlReply:
    """A unit's answer to its grid master."""

    error: ControlError = ControlError.NONE
    message: str = ""
    reading: ConverterReading = ConverterReading()
    grid_moved_wh: float | None = None
    battery_moved_wh: float | None = None
    deal_current_a: float = 0.0
    soc_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DealSubmission:
    """A requester hands an agreed deal to the grid master."""

    deal: Deal


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitReply:
    """The grid master's answer to a submission."""

    error: SubmitError = SubmitError.NONE
    message: str = ""
    grid_master_id: UnitId = NOBODY


Message: TypeAlias = (
    InterchangeRequest
    | InterchangeAccept
    | Deal
    | GridMasterClaim
    | LeaseGrant
    | OperationModeOrder
    | Fault
    | PolicyOffer
    | UnitStatus
)
