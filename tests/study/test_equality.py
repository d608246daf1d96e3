"""The study comes to what whole agents come to: `make bench ARGS=equality` on fewer seeds."""

from __future__ import annotations

import pytest

from bench.parts import equality

SEEDS = range(1, 4)


@pytest.fixture(scope="module")
def sums() -> equality.Sums:
    return equality.compare(SEEDS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_as_many_deals_as_whole_agents_have(sums):
    assert sums.deals[0] > 30
    assert sums.deals_ratio == pytest.approx(1.0, abs=0.04)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_as_much_energy_in_each_house(sums):
    # with whom a house deals is chance: what it has in the end is not
    assert sums.stored_difference_ratio < 0.005
    assert sums.received_ratio == pytest.approx(1.0, abs=0.02)
