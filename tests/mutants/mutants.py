"""Small bugs, each planted at run time: does anything notice?

A mutant is a patch of one function, and runs of the simulator, one of which breaks an invariant
with it and holds them all without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from apis_core.cluster import election
from apis_core.converter import energy_ledger, order_check, order_execution
from apis_core.grid_master import bus_scheduler, grid_master
from apis_core.grid_master.deal import metering, shutdown
from apis_core.model.types import ConverterMode
from apis_core.model.units import NEVER_NS
from apis_core.trading import shared_battery
from apis_core.unit import agent, fault_handler, persisted_state, self_monitor
from apis_emulator import driver, orders
from apis_simulator.run import LEAST_HOURS, Case, Outcome, run

__all__ = ["MUTANTS", "Mutant", "planted"]

_SEEDS = 12  # what one seed shows depends on every detail of the code
Patch = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug.

    Attributes:
        name: In words.
        patches: Owner, attribute and what stands there instead.
        case: The first of the runs; the next ones have the next seeds.
    """

    name: str
    patches: tuple[Patch, ...]
    case: Case

    def run(self) -> Outcome:
        """The first run with the bug in place that notices it, or the last of them."""
        with planted(self):
            for seed in range(self.case.seed, self.case.seed + _SEEDS):
                outcome = run(replace(self.case, seed=seed))
                if outcome.rule:
                    break
        return outcome


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The bug is there."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in mutant.patches]
    try:
        for owner, name, value in mutant.patches:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _original(owner: Any, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = owner.__dict__[name]
    return function


_abort = _original(shutdown.Shutdown, "abort")
_take_counts = _original(metering.Metering, "take_counts")
_persisted_state_add = _original(persisted_state.PersistedState, "add")
_change_mode = orders._change_mode
_reference_order = order_execution.reference_order
_share_out = energy_ledger._share_out


def _without_droop(*args: Any) -> Any:
    return replace(_reference_order(*args), droop_ratio=0.0)


def _without_a_word(self: Any, reason: str, now_ns: int, *, scram: bool = False) -> Any:
    return _abort(self, "", now_ns, scram=scram)


def _counts_go_back(self: Any, side: Any, sample: Any) -> None:
    _take_counts(self, side, sample)
    progress = self._progress
    moved_wh = sample.metered_wh(progress.deal.meter)
    if side is progress.meter and moved_wh is not None:
        progress.deal = replace(progress.deal, moved_wh=moved_wh * 0.999)


def _forget_votes(self: Any, entry: Any) -> None:
    if type(entry).__name__ != "LeaseGranted":
        _persisted_state_add(self, entry)


def _wait_goes_unheard(plant: Any, unit_id: str, unit: Any, order: Any, **kind: Any) -> None:
    if order.mode is not ConverterMode.WAIT:
        _change_mode(plant, unit_id, unit, order, **kind)


def _wrong_sign(running: Any, grid_wh: float, battery_wh: float) -> None:
    for account in running:
        account.grid_moved_wh -= grid_wh
        account.battery_moved_wh -= battery_wh


def _twice(running: Any, grid_wh: float, battery_wh: float) -> None:
    _share_out(running, grid_wh, battery_wh)
    _share_out(running, grid_wh, battery_wh)


def _mutant(
    name: str, *patches: Patch, seed: int, profile: str, units: int = 4, hours: float = LEAST_HOURS
) -> Mutant:
    return Mutant(name, patches, Case(seed, units, hours, profile))


MUTANTS = (
    _mutant(
        "the driver has no dead man",
        (driver.Driver, "watch", lambda *_: None),
        seed=7,
        profile="crash",
    ),
    _mutant(
        "the bus is handed over without droop",
        (order_execution, "reference_order", _without_droop),
        (orders, "_must_be_free", lambda *_: None),
        seed=4,
        profile="calm",
    ),
    _mutant(
        "energy is counted with the wrong sign",
        (energy_ledger, "_share_out", _wrong_sign),
        seed=2,
        profile="calm",
    ),
    _mutant(
        "energy is booked twice, on both sides",
        (energy_ledger, "_share_out", _twice),
        seed=0,
        profile="calm",
    ),
    _mutant(
        "a converter that does not do what it is told is trusted",
        (self_monitor, "dynamic_violation", lambda *_, **__: None),
        seed=31,
        profile="hardware",
        units=8,
        hours=0.9,
    ),
    _mutant(
        "a member gives two votes in a term",
        (election.Election, "_why_not", lambda *_: ""),
        seed=5,
        profile="partition",
        units=5,
        hours=0.65,
    ),
    _mutant(
        "a restarted unit has forgotten its votes",
        (persisted_state.PersistedState, "add", _forget_votes),
        seed=0,
        profile="crash",
    ),
    _mutant(
        "the limit of the bus is ignored",
        (bus_scheduler, "why_not_activate", lambda *_: ""),
        (grid_master, "why_not_activate", lambda *_: ""),
        seed=8,
        profile="crash",
    ),
    _mutant(
        "a deal is aborted without a reason",
        (shutdown.Shutdown, "abort", _without_a_word),
        seed=1,
        profile="mixed",
    ),
    _mutant(
        "the counted energy may decrease",
        (metering.Metering, "take_counts", _counts_go_back),
        seed=1,
        profile="calm",
    ),
    _mutant(
        "nobody looks whether the bus is free",
        (order_check, "bus_in_the_way", lambda *_: ""),
        (orders, "_must_be_free", lambda *_: None),
        seed=18,
        profile="partition",
        units=8,
        hours=0.9,
    ),
    _mutant(
        "a slot is given back only once",
        (shutdown.Shutdown, "release_rest", lambda *_: []),
        seed=2,
        profile="calm",
    ),
    _mutant(
        "a converter that is told WAIT goes on",
        (orders, "_change_mode", _wait_goes_unheard),
        seed=2,
        profile="calm",
    ),
    _mutant(
        "a unit never asks for its wake-up",
        (agent.Agent, "next_wakeup_ns", lambda *_: NEVER_NS),
        seed=0,
        profile="calm",
    ),
    _mutant(
        "a unit leaves a scram to the grid master",
        (fault_handler.FaultHandler, "_stop_with_all", lambda *_: []),
        seed=4,
        profile="scram",
    ),
    _mutant(
        "the other unit of a battery is not asked",
        (shared_battery.SharedBattery, "_direction_of", lambda *_: None),
        seed=0,
        profile="gateway",
    ),
    _mutant(
        "a direction of a battery is never given back",
        (shared_battery.SharedBattery, "give_back", lambda *_: []),
        seed=0,
        profile="gateway",
    ),
)
