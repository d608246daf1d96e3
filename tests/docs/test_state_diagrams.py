"""docs/state-diagrams.md shows the machines' tables, and the machines do what is in them."""

from __future__ import annotations

import runpy
from pathlib import Path

import machine_runs
import pytest

from apis_core.cluster import election
from apis_core.converter import stop_sequence
from apis_core.grid_master import bus_state, hand_over
from apis_core.grid_master.deal import progress
from apis_core.grid_master.deal import transitions as deal
from apis_driver import stopping

pytestmark = pytest.mark.timeout(240)  # it runs the machines; on a busy machine that takes a while
ROOT = Path(__file__).resolve().parents[2]
MACHINES = {
    "deal": (deal.TRANSITIONS, progress, machine_runs.run_deals),
    "bus": (bus_state.TRANSITIONS, bus_state, machine_runs.run_buses),
    "hand-over": (hand_over.TRANSITIONS, hand_over, machine_runs.run_hand_overs),
    "election": (election.TRANSITIONS, election, machine_runs.run_elections),
    "unit's stop": (
        stop_sequence.TRANSITIONS,
        stop_sequence,
        machine_runs.run_stop_sequences,
    ),
    "driver's stop": (stopping.TRANSITIONS, stopping, machine_runs.run_stops),
}


def test_the_state_diagrams_are_up_to_date():
    script = runpy.run_path(str(ROOT / "tools" / "state_diagrams.py"))
    assert script["text"]() == script["TARGET"].read_text(), "run tools/state_diagrams.py"


@pytest.mark.parametrize("name", MACHINES)
def test_every_state_has_a_row_in_the_table(name):
    table, _, _ = MACHINES[name]
    assert set(table) == set(type(next(iter(table))))


@pytest.mark.parametrize("name", MACHINES)
def test_what_the_table_allows_happens_and_nothing_else(name):
    """A change that the table lacks is refused, and fails this as well."""
    table, module, run = MACHINES[name]
    observer = machine_runs.Observer(table)
    with observer.watching(module):
        run(observer)
    assert sorted(machine_runs.rows(table) - observer.seen) == [], "never happens"
    assert sorted(observer.seen - machine_runs.rows(table)) == [], "has another cause"
