"""A run from its first fault to its quiet end, and what came of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from apis_core.model.types import NOBODY, DealState, OperationMode
from apis_core.model.units import SECOND_NS
from apis_simulator.faults import PROFILES, plan
from apis_simulator.invariants import Violation
from apis_simulator.scenario_setup import CAPACITY_WH
from apis_simulator.trace import Trace
from apis_simulator.world import World

__all__ = ["LEAST_HOURS", "Case", "Outcome", "run"]

LIVENESS_S = 900.0  # faults over: a pair that fits has a deal by then
QUIET_S = 600.0  # in Soft stop: everything is off and given back by then
SETTLE_S = 90.0  # after the last fault what is on belongs to a deal
LEAST_HOURS = (LIVENESS_S + QUIET_S + 300.0) / 3600.0
SHORT_RATIO, EXCESS_RATIO, CONTENT_RATIO = 0.50, 0.93, 0.80


@dataclass(frozen=True, slots=True)
class Case:
    """What decides a run, wholly."""

    seed: int
    units: int = 8
    hours: float = 1.0
    profile: str = "mixed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        case: It.
        digest: Of its trace.
        events: How many there were.
        deals: How many were published.
        completed: How many of them moved all that was agreed.
        trips: How often a converter switched itself off to save itself.
        rule: The invariant that was broken, 0 = none, 99 = the code fell over.
        reason: What was seen, with the time.
        tail: Last lines of the trace, if something was wrong.
    """

    case: Case
    digest: str
    events: int
    deals: int
    completed: int
    trips: int
    rule: int = 0
    reason: str = ""
    tail: tuple[str, ...] = ()


def run(case: Case, sink: Callable[[str], None] | None = None) -> Outcome:
    """Run a case to its end or to the first broken invariant."""
    trace = Trace(sink)
    world = World(case.seed, case.units, PROFILES[case.profile], trace)
    rule, reason = 0, ""
    try:
        _play(case, world)
    except Violation as violation:
        rule, reason = violation.rule, f"{world.now_s:.3f} s: {violation}"
    except Exception:  # whatever falls over in a core that must not is a finding, too
        rule, reason = 99, f"{world.now_s:.3f} s: {traceback.format_exc()}"
    deals = world.invariants.deals.values()
    completed = sum(deal.state is DealState.COMPLETED for deal in deals)
    stored = [f"{unit.battery.stored_wh!r}" for unit in world.plant.units.values()]
    trace.add(world.now_ns, "*", f"{world.events} events; batteries {' '.join(stored)}")
    tail = tuple(trace.tail) if rule else ()
    return Outcome(
        case=case,
        digest=trace.digest,
        events=world.events,
        deals=len(deals),
        completed=completed,
        trips=world.machines.trips,
        rule=rule,
        reason=reason,
        tail=tail,
    )


def _play(case: Case, world: World) -> None:
    end_s = case.hours * 3600.0 - LIVENESS_S - QUIET_S
    for fault in plan(PROFILES[case.profile], world.ids, end_s, Random(f"{case.seed}/faults")):
        world.at(round(fault.time_s * SECOND_NS), world.strike, fault)
    world.operator.is_attentive = True
    world.run_until(round(end_s * SECOND_NS))
    world.calm_down()
    world.invariants.settled_s = end_s + SETTLE_S
    _must_deal(world)
    _must_rest(world, is_calm=case.profile == "calm")


def _must_deal(world: World) -> None:
    """One unit is short and one has plenty: energy must flow."""
    for unit_id in world.ids:
        world.operator.order_mode(unit_id, OperationMode.UNSET)
    world.operator.order_mode(NOBODY, OperationMode.RUN)
    for index, unit in enumerate(world.plant.units.values()):
        ratio = (SHORT_RATIO, EXCESS_RATIO)[index] if index < 2 else CONTENT_RATIO
        unit.battery.stored_wh = CAPACITY_WH * ratio
    world.say("*", f"batteries: {world.ids[0]} is short, {world.ids[1]} has excess")
    # one that was agreed before may bind the unit that is short, the wrong way, until it is done
    over = {key for key, deal in world.invariants.deals.items() if deal.state.is_over}
    for _ in range(round(LIVENESS_S)):
        world.run_until(world.now_ns + SECOND_NS)
    is_done = any(
        deal.state is DealState.COMPLETED
        for deal_id, deal in world.invariants.deals.items()
        if deal_id not in over
    )
    if not is_done:
        raise Violation(7, f"no deal was completed within {LIVENESS_S:g} s of peace")


def _must_rest(world: World, *, is_calm: bool) -> None:
    """In Soft stop all deals come to their end, and nothing is held.

    Some had waited for their turn on the bus, and take a deal's time more.
    """
    deals = world.invariants.deals
    running = {key for key, deal in deals.items() if deal.state is DealState.RUNNING}
    world.operator.order_mode(NOBODY, OperationMode.SOFT_STOP)
    world.run_until(world.now_ns + round(QUIET_S * SECOND_NS))
    limit_ns = world.now_ns + round(QUIET_S * SECOND_NS)
    while world.now_ns < limit_ns and any(
        key not in running and deal.state is DealState.RUNNING for key, deal in deals.items()
    ):
        world.run_until(world.now_ns + SECOND_NS)
    on = [unit_id for unit_id, unit in world.plant.units.items() if unit.converter.is_active]
    if on:
        raise Violation(2, f"{', '.join(on)} on after {QUIET_S:g} s of Soft stop")
    for unit_id in world.ids:
        status = world.statuses[unit_id]
        if status.deal_ids or abs(status.committed_wh) > 1e-9:
            held = ", ".join(status.deal_ids) or f"{status.committed_wh:g} Wh"
            raise Violation(6, f"{unit_id} holds {held} after {QUIET_S:g} s of Soft stop")
    if world.batteries is not None:
        for unit_id in world.ids:
            if claimed := world.batteries.ours(unit_id):
                names = " and ".join(sorted(direction.name.lower() for direction in claimed))
                raise Violation(6, f"{unit_id} still claims its battery, to {names}")
    world.invariants.check_books(undisturbed=is_calm)
    world.invariants.check_policies(world.statuses.values())
    open_ids = [deal.deal_id for deal in world.invariants.deals.values() if not deal.state.is_over]
    if open_ids:
        raise Violation(6, f"deals were never closed: {', '.join(open_ids)}")
