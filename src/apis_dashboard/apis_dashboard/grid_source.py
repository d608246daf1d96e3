"""What the pages need of the grid: to see it, and to give it orders.

:class:`~apis_dashboard.ros_source.GraphLink` does both on a ROS graph, a fake of the tests
on invented data.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from apis_dashboard.model import GridView
from apis_dashboard.records import ConverterMode, FaultCategory, FaultExtent, FaultLevel, Mode
from apis_site.site import Site

__all__ = [
    "BreakKind",
    "BreakWish",
    "ConverterWish",
    "DealWish",
    "FaultWish",
    "Outcome",
    "Progress",
    "Source",
]


@dataclass(frozen=True)
class Outcome:
    """How an order ended: done, or refused with the words of whoever refused."""

    is_done: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class ConverterWish:
    """An order by hand to one converter.

    Attributes:
        unit_id: Whose.
        mode: What it is to do; None = go on as it does (renew the hold).
        grid_voltage_v: For the voltage reference. [V]
        grid_current_a: For the others, >= 0. [A]
        hold_s: Without a renewal it goes to WAIT after so long. [s]
    """

    unit_id: str
    mode: ConverterMode | None
    grid_voltage_v: float | None = None
    grid_current_a: float | None = None
    hold_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DealWish:
    """A deal by hand. Energy in Wh, > 0; None = the policy's current, no price."""

    giver_id: str
    taker_id: str
    energy_wh: float
    current_a: float | None = None
    price_point_per_wh: float | None = None


@dataclass(frozen=True, kw_only=True)
class FaultWish:
    """A fault that nobody has, to see what follows."""

    unit_id: str
    category: FaultCategory
    extent: FaultExtent
    level: FaultLevel
    message: str
    code: str = "made_by_operator"


class BreakKind(Enum):
    """What can break of emulated hardware; numbers as in ``InjectFault``."""

    SENSOR_OFFSET = 1
    STUCK_CONVERTER = 2
    LOST_COMMUNICATION = 3
    BATTERY_PERMIT = 4
    LINE_BREAK = 5


@dataclass(frozen=True, kw_only=True)
class BreakWish:
    """Something to break of the emulated hardware.

    Attributes:
        kind: What.
        unit_id: Whose.
        other_unit_id: The other end of a line.
        quantity: What a sensor measures, as ``InjectFault`` names it.
        value: By how much it reads too high, in that quantity's unit.
        duration_s: Simulated time until it repairs itself; None = never. [s]
    """

    kind: BreakKind
    unit_id: str
    other_unit_id: str = ""
    quantity: str = ""
    value: float | None = None
    duration_s: float | None = None


Progress = Callable[[str], None]


class Source(Protocol):
    """The grid. Every method may be called from any thread and returns at once."""

    @property
    def site(self) -> Site:
        """What the files say."""

    def view(self) -> GridView:
        """Give the grid as it is now."""

    def set_mode(self, mode: Mode, unit_id: str = "") -> None:
        """Order a mode for the cluster, or for one unit; the view tells when it has followed."""

    def order(self, wish: ConverterWish) -> Future[Outcome]:
        """Order a converter by hand. WAIT is obeyed always, the rest in Manual."""

    def deal(self, wish: DealWish, progress: Progress) -> Future[Outcome]:
        """Make a deal by hand; the future ends with the deal.

        Args:
            wish: What to deal.
            progress: Takes the id of the deal as soon as there is one.
        """

    def end_deal(self, deal_id: str) -> Future[Outcome]:
        """End a deal that was made by hand from here."""

    def report_fault(self, wish: FaultWish) -> None:
        """Tell all of a fault."""

    def break_hardware(self, wish: BreakWish) -> Future[Outcome]:
        """Break something of the emulated hardware; its id stands in the outcome."""

    def repair(self, fault_id: str) -> Future[Outcome]:
        """Repair what :meth:`break_hardware` broke; empty = all of it."""

    def broken(self) -> tuple[str, ...]:
        """What is broken now, as the emulator says it: ``id: kind where``."""

    def shut_down(self, unit_id: str) -> Future[Outcome]:
        """End a unit's program. Units obey in Manual only."""

    def set_log_level(self, unit_id: str, level: str) -> Future[Outcome]:
        """Choose how much a unit's program writes: debug, info, warn, error."""

    def flush(self) -> None:
        """Forget what was heard and ask for all of it again."""
