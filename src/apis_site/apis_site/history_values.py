"""What the operator's history keeps, as plain values. Stamps are seconds of ROS time."""

from __future__ import annotations

from dataclasses import dataclass, fields

from apis_core.model.types import DealState, FaultCategory, FaultExtent, FaultLevel

__all__ = [
    "BUS",
    "ENERGIES",
    "QUANTITIES",
    "DealRecord",
    "Energy",
    "EventRecord",
    "Schedule",
    "Series",
]

BUS = ""  # the unit id under which the bus itself is kept

# Of a unit: charge, powers [W], voltage [V], and prices [pt/Wh] for energy given and taken. Of the
# bus: its voltage, the power that is transported, and the one that is lost in the lines.
QUANTITIES = (
    *("soc_ratio", "solar_w", "load_w", "mains_w", "grid_w", "grid_v", "battery_w"),
    *("loss_w", "asked_pt", "offered_pt"),
)


@dataclass
class Energy:
    """What one unit, or all, made of a day or of several. [Wh], >= 0; prices in points."""

    solar_wh: float = 0.0
    available_wh: float = 0.0  # what the panels could have given
    load_wh: float = 0.0
    mains_wh: float = 0.0
    unserved_wh: float = 0.0
    charged_wh: float = 0.0  # taken from the bus
    discharged_wh: float = 0.0  # given to the bus
    converter_loss_wh: float = 0.0
    earned_pt: float = 0.0
    paid_pt: float = 0.0

    def add(self, other: Energy) -> None:
        """Add another one to this one."""
        for name in ENERGIES:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def own_sun_ratio(self) -> float | None:
        """Part of the sun's energy that stayed in its house, 0..1; None = there was none."""
        if self.solar_wh <= 0.0:
            return None
        return _ratio(1.0 - self.discharged_wh / self.solar_wh)

    @property
    def self_sufficiency_ratio(self) -> float | None:
        """Part of the load that did not come from the mains, what came over the bus included."""
        return _ratio(1.0 - self.mains_wh / self.load_wh) if self.load_wh > 0.0 else None

    @property
    def alone_ratio(self) -> float | None:
        """The same as if what came over the bus had come from the mains."""
        if self.load_wh <= 0.0:
            return None
        return _ratio(1.0 - (self.mains_wh + self.charged_wh) / self.load_wh)


ENERGIES = tuple(field.name for field in fields(Energy))  # in their order, as they are stored


def _ratio(value: float) -> float:
    return min(max(value, 0.0), 1.0)


@dataclass(frozen=True)
class Series:
    """Values over time; None where nothing is known."""

    t: tuple[float, ...]
    values: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True, kw_only=True)
class DealRecord:
    """One deal as the grid master told it. Energies in Wh, stamps in seconds; None = not known.

    Attributes:
        stamp_s: When it was told.
        steps: The states that were heard of, and since when.
    """

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
    request_unit_id: str = ""
    accept_unit_id: str = ""
    grid_master_id: str = ""
    stamp_s: float | None = None
    steps: tuple[tuple[DealState, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class EventRecord:
    """A fault, or something else worth knowing.

    Attributes:
        level: None = no fault.
    """

    stamp_s: float
    unit_id: str
    text: str
    level: FaultLevel | None = None
    code: str = ""
    category: FaultCategory = FaultCategory.UNKNOWN
    extent: FaultExtent = FaultExtent.UNKNOWN


@dataclass(frozen=True)
class Schedule:
    """A Soft stop that somebody ordered for later; an empty unit means the whole cluster."""

    unit_id: str
    due_s: float
    who: str
