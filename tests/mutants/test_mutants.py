"""Planted bugs are noticed; ``python tests/mutants/test_mutants.py`` prints by what."""

from __future__ import annotations

import digests
import pytest
from mutants import MUTANTS, Mutant

from apis_simulator.run import run


@pytest.mark.slow
@pytest.mark.timeout(240)  # two runs, interpreted
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_a_planted_bug_is_noticed(mutant: Mutant):
    outcome = mutant.run()
    assert outcome.rule, f"{mutant.name}: every invariant held"
    assert outcome.rule != 99, outcome.reason  # it fell over: nothing has noticed the bug
    if digests.is_on_record(outcome.case):
        return  # without the bug it holds them all: test_seeds_on_record_compiled
    without = run(outcome.case)
    assert not without.rule, without.reason


def main() -> None:
    """The report: which invariant caught which bug."""
    print("| planted bug | run | invariant | what was seen |")
    print("|---|---|---|---|")
    for mutant in MUTANTS:
        outcome = mutant.run()
        case = outcome.case
        seen = outcome.reason.splitlines()[-1] if outcome.rule else "nothing"
        run_ = f"seed {case.seed}, {case.profile}, {case.units} units"
        print(f"| {mutant.name} | {run_} | {outcome.rule or '-'} | {seen} |")


if __name__ == "__main__":
    main()
