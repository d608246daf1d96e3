"""What the pages need of the grid: to see it, and to give it orders.

:class:`~apis_viz.dashboard.link.GraphLink` does both on a ROS graph, the demo on invented data.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from apis_viz.dashboard.site import Site
from apis_viz.model import GridView
from apis_viz.records import (
    ConverterMode,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    Mode,
)

__all__ = ["ConverterWish", "DealWish", "FaultWish", "Outcome", "Progress", "Source"]


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

    def shut_down(self, unit_id: str) -> Future[Outcome]:
        """End a unit's program. Units obey in Manual only."""

    def set_log_level(self, unit_id: str, level: str) -> Future[Outcome]:
        """Choose how much a unit's program writes: debug, info, warn, error."""

    def flush(self) -> None:
        """Forget what was heard and ask for all of it again."""
