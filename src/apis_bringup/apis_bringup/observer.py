"""Gathers what a grid says of itself: units, converters, deals, faults, the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sized
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock

from apis_bringup.graph import CLOCK, LATCHED, STATE, Graph
from apis_interfaces.msg import (
    BusState,
    ConverterState,
    Deal,
    Fault,
    HouseState,
    OperationMode,
    UnitStatus,
)

__all__ = ["GridObserver", "Step"]

LOOK_FOR_UNITS_PERIOD_S = 0.2
CLOCK_STANDS_AFTER_S = 1.0  # wall
TOPICS = ("status", "converter_state", "house_state")  # of every unit
ACTIVE_STATES = range(Deal.STATE_QUEUED, Deal.STATE_RELEASING + 1)


@dataclass(frozen=True, slots=True)
class Step:
    """A deal came into a state, or under another grid master.

    Attributes:
        state: `Deal.STATE_*`.
        term: Of the grid master that said so.
        grid_master_id: The unit in office in it.
        at: ROS time of that grid master.
    """

    state: int
    term: int
    grid_master_id: str
    at: Time


class GridObserver:
    """The newest of everything; callbacks of `graph` fill it in.

    Attributes:
        statuses: Last status by unit id.
        converters: Last reading of each converter by unit id, from the hardware itself.
        houses: Last reading of each house by unit id, where somebody measures it.
        deals: Present record by deal id, in the order in which they were first heard of.
        steps: What each deal went through, by deal id.
        terms: Who led in which term, as far as units said that they lead.
        faults: All that were reported.
        now_s: Simulated time; None until it was heard. [s]
        line_loss_wh: Lost in the lines since the start; None until it was heard. [Wh]
    """

    def __init__(self, graph: Graph) -> None:
        """Listen to the grid that `graph` has joined; units are found as they appear."""
        self.statuses: dict[str, UnitStatus] = {}
        self.converters: dict[str, ConverterState] = {}
        self.houses: dict[str, HouseState] = {}
        self.deals: dict[str, Deal] = {}
        self.steps: dict[str, list[Step]] = {}
        self.terms: dict[int, UnitStatus] = {}
        self.faults: list[Fault] = []
        self.now_s: float | None = None
        self._clock_from: tuple[float, float] | None = None  # first heard: when, and what
        self._clock_moved_at: float | None = None  # by our own steady clock
        self.changed = graph.changed  # held by the callbacks
        self.line_loss_wh: float | None = None
        self._graph = graph
        self._subscribed: set[str] = set()
        self._mode = graph.node.create_publisher(OperationMode, "operation_mode", LATCHED)
        graph.subscribe(Deal, "deals", self._on_deal, LATCHED)
        graph.subscribe(Fault, "faults", self.faults.append, LATCHED)
        graph.subscribe(BusState, "bus_state", self._on_bus, STATE)
        graph.subscribe(Clock, "/clock", self._on_clock, CLOCK)
        graph.every(LOOK_FOR_UNITS_PERIOD_S, self._subscribe_to_units)

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
        return self._mode.get_subscription_count() >= len(self.statuses)

    def set_mode(self, mode: int, *, unit_id: str = "") -> None:
        """Order an operation mode, of the whole cluster or of one unit.

        A global order is numbered above all that the units know: one that they number themselves
        could, if one of them hears it late, look newer than a later one.
        """
        known = (status.global_mode_version for status in self.statuses.values())
        version = 0 if unit_id else max(known, default=0) + 1
        order = OperationMode(unit_id=unit_id, mode=mode, version=version, issuer="apisctl")
        self._mode.publish(self._graph.authenticator.sign(order, self._mode.topic_name))

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

    def _subscribe_to_units(self) -> None:
        prefix = f"{self._graph.namespace}/"
        for topic in self._graph.topics():
            rest = topic.removeprefix(prefix).partition("/")[2]
            is_ours = topic.startswith(prefix) and rest in TOPICS
            if is_ours and topic not in self._subscribed:
                self._subscribed.add(topic)
                if rest == "status":
                    self._graph.subscribe(UnitStatus, topic, self._on_status, LATCHED)
                elif rest == "house_state":
                    self._graph.subscribe(HouseState, topic, self._on_house, STATE)
                else:
                    self._graph.subscribe(ConverterState, topic, self._on_converter, STATE)

    def _on_status(self, status: UnitStatus) -> None:
        self.statuses[status.unit_id] = status
        if status.is_grid_master:
            self.terms.setdefault(status.term, status)

    def _on_converter(self, state: ConverterState) -> None:
        self.converters[state.unit_id] = state

    def _on_house(self, house: HouseState) -> None:
        self.houses[house.unit_id] = house

    def _on_deal(self, deal: Deal) -> None:
        known = self.deals.get(deal.deal_id)
        if known is None or (deal.term, deal.sequence) >= (known.term, known.sequence):
            self.deals[deal.deal_id] = deal
            steps = self.steps.setdefault(deal.deal_id, [])
            if not steps or (steps[-1].state, steps[-1].term) != (deal.state, deal.term):
                steps.append(Step(deal.state, deal.term, deal.grid_master_id, deal.stamp))

    def _on_bus(self, bus: BusState) -> None:
        self.line_loss_wh = bus.line_loss_wh

    def _on_clock(self, clock: Clock) -> None:
        now_s = clock.clock.sec + clock.clock.nanosec * 1e-9
        if self._clock_from is None:
            self._clock_from = (time.monotonic(), now_s)
        elif now_s != self.now_s:
            self._clock_moved_at = time.monotonic()
        self.now_s = now_s
