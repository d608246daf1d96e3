"""The table of a deal's phases: whole, and the only way from one phase to another."""

from __future__ import annotations

import pytest
from deal_run import Run

from apis_core.grid_master.deal.transitions import ENDING, TRANSITIONS, Phase
from apis_core.model.errors import ProtocolMisuse


def reachable(phase: Phase) -> set[Phase]:
    found: set[Phase] = set()
    new = {phase}
    while new:
        found |= new
        new = {after for before in new for after in TRANSITIONS[before]} - found
    return found


def test_every_phase_has_a_row_and_is_reached():
    assert list(TRANSITIONS) == list(Phase)
    assert reachable(Phase.ACQUIRING) == {*Phase}


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_can_end(phase):
    assert Phase.OVER in reachable(phase)


@pytest.mark.parametrize("phase", ENDING)
def test_a_deal_that_ends_does_not_begin_again(phase):
    assert reachable(phase) <= {*ENDING}


@pytest.mark.parametrize(
    ("phase", "following"),
    [(before, after) for before in Phase for after in Phase if after not in TRANSITIONS[before]],
    ids=lambda phase: phase.name,
)
def test_what_is_not_in_the_table_is_refused(policy, phase, following):
    progress = Run(policy).machine._progress
    progress.phase = phase
    with pytest.raises(ProtocolMisuse, match=f"from {phase.name} to {following.name};"):
        progress.enter(following, 1)
    assert progress.phase is phase


def test_a_deal_that_runs_is_not_started_again(policy):
    run = Run(policy).to(Phase.RUNNING)
    with pytest.raises(ProtocolMisuse):
        run.begin()
