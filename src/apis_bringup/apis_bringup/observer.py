"""Gathers what a grid says of itself: units, converters, deals, faults, the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sized
from dataclasses import dataclass, replace

from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock

from apis_bringup.graph import Graph
from apis_interfaces.msg import ConverterState, Deal, OperationMode, UnitStatus
from apis_ros import qos, topics
from apis_ros.grid_listener import GridListener

__all__ = ["GridObserver", "Step"]

LOOK_FOR_UNITS_PERIOD_S = 0.2
CLOCK_STANDS_AFTER_S = 1.0  # wall
ACTIVE_STATES = range(Deal.STATE_QUEUED, Deal.STATE_RELEASING + 1)


@dataclass(frozen=True, slots=True)
class Step:
    """A deal came into a state, or under another grid master.

    Attributes:
        state: `Deal.STATE_*`.
        term: Of the grid master that said so.
        grid_master_id: The grid master of that term.
        at: ROS time of that grid master.
    """

    state: int
    term: int
    grid_master_id: str
    at: Time


class GridObserver(GridListener):
    """The newest of everything, and how it came to that; callbacks of `graph` fill it in.

    Attributes:
        steps: What each deal went through, by deal id.
        terms: Who led in which term, as far as units said that they lead.
        now_s: Simulated time; None until it was heard. [s]
    """

    UNIT_TOPICS = (topics.STATUS, topics.CONVERTER_STATE, topics.HOUSE_STATE)
    CLUSTER_TOPICS = (
        topics.DEALS,
        topics.FAULTS,
        topics.BUS_STATE,
        replace(topics.CLOCK, qos=qos.CLOCK_HEARD),
    )
    PAST_DEALS = None
    PAST_FAULTS = None

    def __init__(self, graph: Graph) -> None:
        """Listen to the grid that `graph` has joined; units are found as they appear."""
        self.steps: dict[str, list[Step]] = {}
        self.terms: dict[int, UnitStatus] = {}
        self.now_s: float | None = None
        self._clock_from: tuple[float, float] | None = None  # first heard: when, and what
        self._clock_moved_at: float | None = None  # by our own steady clock
        self._graph = graph
        super().__init__(
            graph.node,
            namespace=graph.namespace,
            authenticator=graph.authenticator,
            lock=graph.changed,
        )
        self._mode = topics.OPERATION_MODE.publisher(graph.node)
        graph.every(LOOK_FOR_UNITS_PERIOD_S, self.discover)

    @property
    def line_loss_wh(self) -> float | None:
        """Lost in the lines since the start; None until it was heard. [Wh]"""
        return None if self.bus is None else self.bus.line_loss_wh

    @property
    def clock_moves(self) -> bool:
        """Whether /clock has been heard to go on within the last second or so."""
        moved_at = self._clock_moved_at
        return moved_at is not None and time.monotonic() - moved_at < CLOCK_STANDS_AFTER_S

    @property
    def clock_rate(self) -> float:
        """Simulated seconds per second, as far as /clock was heard; 1 = nothing is known."""
        if self._clock_from is None or self._clock_moved_at is None or self.now_s is None:
            return 1.0
        began_at, began_s = self._clock_from
        elapsed_s = self._clock_moved_at - began_at
        return (self.now_s - began_s) / elapsed_s if elapsed_s > 0.1 else 1.0

    def wait_for(self, condition: Callable[[], bool], *, within_s: float) -> bool:
        """Wait until a condition over this observer holds; False if it does not in time."""
        return self._graph.wait_for(condition, within_s=within_s)

    def wait_for_all(self, heard: Sized, *, settles_within_s: float) -> None:
        """Wait until nothing more arrives of what several nodes tell of, each by itself."""
        count = -1
        while count != len(heard):
            count = len(heard)
            self.wait_for(
                lambda count=count: len(heard) != count,  # type: ignore[misc]
                within_s=settles_within_s,
            )

    def is_listened_to(self) -> bool:
        """Whether as many listen for modes as units were heard; units are not told again."""
        count: int = self._mode.get_subscription_count()
        return count >= len(self.statuses)

    def set_mode(self, mode: int, *, unit_id: str = "") -> None:
        """Order an operation mode, of the whole cluster or of one unit.

        A global order is numbered above all that the units know: one that they number themselves
        could, if one of them hears it late, look newer than a later one.
        """
        version = 0 if unit_id else self.next_mode_version()
        order = OperationMode(unit_id=unit_id, mode=mode, version=version, issuer="apisctl")
        self._mode.publish(self.authenticator.sign(order, self._mode.topic_name))

    def active_deals(self) -> list[Deal]:
        """Deals that are agreed and not over."""
        return [deal for deal in self.deals.values() if deal.state in ACTIVE_STATES]

    def converters_on(self) -> list[str]:
        """Units whose converter was not in WAIT when it was last heard of."""
        return sorted(
            unit_id
            for unit_id, state in self.converters.items()
            if state.mode != ConverterState.MODE_WAIT
        )

    def take(self, message: object, unit_id: str) -> None:
        """Keep what was heard, and what it tells of the way there."""
        match message:
            case Deal() if self.is_news(message):
                self._add_step(message)
            case UnitStatus(is_grid_master=True):
                self.terms.setdefault(message.term, message)
            case Clock():
                self._take_clock(message)
        super().take(message, unit_id)

    def _add_step(self, deal: Deal) -> None:
        steps = self.steps.setdefault(deal.deal_id, [])
        if not steps or (steps[-1].state, steps[-1].term) != (deal.state, deal.term):
            steps.append(Step(deal.state, deal.term, deal.grid_master_id, deal.stamp))

    def _take_clock(self, clock: Clock) -> None:
        now_s = clock.clock.sec + clock.clock.nanosec * 1e-9
        if self._clock_from is None:
            self._clock_from = (time.monotonic(), now_s)
        elif now_s != self.now_s:
            self._clock_moved_at = time.monotonic()
        self.now_s = now_s
