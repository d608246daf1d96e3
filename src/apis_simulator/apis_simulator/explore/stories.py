"""Where explorations begin: three units, at the moment from which on anything may go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apis_core import events as ev
from apis_core.model.types import ControlOperation, DealState, Direction, UnitId
from apis_core.model.units import SECOND_NS
from apis_simulator.explore.moves import DELIVER, TIME, Moves
from apis_simulator.explore.rules import Rules
from apis_simulator.explore.settings import Settings
from apis_simulator.explore.state import Budget, State
from apis_simulator.explore.units import Units

__all__ = ["STORIES", "Place", "Story", "begin"]

_SETTLED_S = 9.0
_GIVES_UP_S = 60.0


@dataclass(frozen=True, slots=True)
class Story:
    """What is explored.

    Attributes:
        name: Of it.
        title: For people.
        lasts_s: How far it goes from where it begins. [s]
        large_unit_ids: Units that should hold the bus.
        deals: Giver, taker, energy [Wh] and current [A] of deals by hand, each when the one before
            runs.
        until: What is about to arrive when it begins; None = it begins with the units.
    """

    name: str
    title: str
    lasts_s: float
    large_unit_ids: tuple[UnitId, ...] = ()
    deals: tuple[tuple[int, int, float, float], ...] = ()
    until: Callable[[object], bool] | None = None


def _is_submission(event: object) -> bool:
    return isinstance(event, ev.DealWanted)


def _is_order(event: object, operation: ControlOperation) -> bool:
    if not isinstance(event, ev.RequestReceived):
        return False
    return getattr(event.request, "operation", None) is operation


STORIES = (
    Story("election", "three units start, and elect", lasts_s=14.0),
    Story(
        "deal",
        "a deal is wanted, runs and ends",
        lasts_s=14.0,
        deals=((0, 1, 1.0, 2.0),),
        until=_is_submission,
    ),
    Story(
        "hand_over",
        "a large unit takes the bus over while deals run",
        lasts_s=14.0,
        large_unit_ids=("E003",),
        deals=((0, 1, 2.0, 1.0), (0, 2, 1.0, 1.0)),
        until=lambda event: _is_order(event, ControlOperation.WILL_HAND_OVER),
    ),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A story, at its beginning.

    Attributes:
        name: Of the story.
        moves: What can happen.
        state: The first.
        horizon_ns: How far it goes.
    """

    name: str
    moves: Moves
    state: State
    horizon_ns: int

    def key(self, state: State) -> int:
        """What tells states apart: all but when it is."""
        return hash(state[:-1])


def begin(story: Story, budget: Budget) -> Place:
    """Play a story, without faults, to where its exploration begins."""
    units = Units(Settings(story.large_unit_ids))
    moves = Moves(units, Rules(units))
    state = moves.begin(budget._replace(faults=0))
    waiting = list(story.deals)
    while story.until is not None:
        if state.queue and story.until(units.events[state.queue[0].event]):
            break
        if (
            waiting
            and not state.queue
            and _may_deal(units, state, len(story.deals) - len(waiting))
        ):
            giver, taker, energy_wh, current_a = waiting.pop(0)
            number = len(story.deals) - len(waiting)
            state = moves.add(state, giver, _wanted(number, taker, energy_wh, current_a))
            continue
        state = moves.after(state, DELIVER if state.queue else TIME)
        if state.elapsed_ns > _GIVES_UP_S * SECOND_NS:
            raise RuntimeError(f"{story.name} does not come to where it is to begin")
    state = state._replace(budget=budget, elapsed_ns=0)
    return Place(story.name, moves, state, round(story.lasts_s * SECOND_NS))


def _may_deal(units: Units, state: State, running: int) -> bool:
    """Whether units have settled, and so many deals run."""
    if not state.leaders or state.elapsed_ns < _SETTLED_S * SECOND_NS:
        return False
    agent, now_ns = units.agent(state.units[state.leaders[-1][1]])
    office = agent.grid_master
    if office is None or agent.snapshot(now_ns).why_not_dealing:
        return False
    states = [each.deal.state for each in office.deals.values()]
    return states.count(DealState.RUNNING) == len(states) == running


def _wanted(number: int, taker: int, energy_wh: float, current_a: float) -> ev.DealWanted:
    return ev.DealWanted(
        deal_id=f"D{number}",
        peer_unit_id=f"E{taker + 1:03}",
        type=Direction.DISCHARGE,
        energy_wh=energy_wh,
        current_a=current_a,
    )
