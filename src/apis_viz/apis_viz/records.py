"""What the graph says, as plain values: one frozen record per message, unknown is ``None``.

:mod:`apis_viz.translate` makes them out of ROS messages, the demo invents them,
:mod:`apis_viz.model` takes them in. Quantities carry their unit in the name. Sign: positive
flows from the bus into the unit (charging). Stamps (``*_at_s``, ``stamp_s``) are seconds of
ROS time since the epoch: simulated time in a simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = [
    "BusRecord",
    "ConverterMode",
    "ConverterRecord",
    "DealRecord",
    "DealState",
    "FaultLevel",
    "FaultRecord",
    "HouseRecord",
    "Mode",
    "ModeOrder",
    "Record",
    "UnitRecord",
]


class Mode(Enum):
    """Operation mode; the values are those of ``OperationMode.msg``, a test says so."""

    UNSET = 0
    RUN = 1
    SOFT_STOP = 2
    FORCE_STOP = 3
    MANUAL = 4


class ConverterMode(Enum):
    """What a converter does; the values are those of ``ConverterState.msg``."""

    UNKNOWN = 0
    WAIT = 1
    VOLTAGE_REFERENCE = 2
    DISCHARGE = 3
    CHARGE = 4


class DealState(Enum):
    """How far a deal is; the values are those of ``Deal.msg``."""

    UNKNOWN = 0
    QUEUED = 1
    ACTIVATING = 2
    RAMPING_UP = 3
    STARTING = 4
    RUNNING = 5
    STOPPING = 6
    RELEASING = 7
    COMPLETED = 10
    ABORTED = 11
    SCRAMMED = 12

    @property
    def is_over(self) -> bool:
        """Nothing more will happen to a deal in this state."""
        return self in (DealState.COMPLETED, DealState.ABORTED, DealState.SCRAMMED)


class FaultLevel(Enum):
    """How bad it is; the values are those of ``Fault.msg``."""

    UNKNOWN = 0
    WARN = 1
    ERROR = 2
    FATAL = 3


@dataclass(frozen=True, kw_only=True)
class ConverterRecord:
    """A reading of one converter."""

    unit_id: str
    mode: ConverterMode = ConverterMode.UNKNOWN
    grid_voltage_v: float | None = None
    grid_current_a: float | None = None
    grid_power_w: float | None = None


@dataclass(frozen=True, kw_only=True)
class HouseRecord:
    """A reading of the house behind a converter. All powers are >= 0."""

    unit_id: str
    solar_w: float | None = None
    load_w: float | None = None
    mains_w: float | None = None


@dataclass(frozen=True, kw_only=True)
class UnitRecord:
    """What a unit says of itself."""

    unit_id: str
    global_mode: Mode = Mode.UNSET
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
    converter: ConverterRecord | None = None


@dataclass(frozen=True, kw_only=True)
class DealRecord:
    """One deal as the grid master tells it."""

    deal_id: str
    term: int
    sequence: int
    state: DealState
    discharge_unit_id: str
    charge_unit_id: str
    energy_wh: float
    current_a: float
    price_point_per_wh: float | None = None
    reason: str = ""
    voltage_reference_id: str = ""
    moved_wh: float = 0.0
    sent_wh: float | None = None
    received_wh: float | None = None
    created_at_s: float | None = None
    started_at_s: float | None = None
    stopped_at_s: float | None = None
    ended_at_s: float | None = None


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


@dataclass(frozen=True, kw_only=True)
class BusRecord:
    """The bus as the emulator computes it; a real grid has no such record."""

    voltage_v: float
    transported_power_w: float
    line_loss_w: float
    voltage_reference_ids: tuple[str, ...]
    speed: float  # simulated seconds per wall second


@dataclass(frozen=True, kw_only=True)
class ModeOrder:
    """An operator's word, ours or somebody else's. An empty unit_id means the whole cluster."""

    mode: Mode
    unit_id: str = ""
    issuer: str = ""


Record = (
    UnitRecord | ConverterRecord | HouseRecord | DealRecord | FaultRecord | BusRecord | ModeOrder
)
