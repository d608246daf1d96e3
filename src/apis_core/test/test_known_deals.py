"""A unit keeps the newest record of every deal that it has heard of."""

from dataclasses import replace

import pytest
from converter_bench import CHARGE, deal

from apis_core.model.types import DealState
from apis_core.trading.interlock import Interlock
from apis_core.unit.known_deals import KnownDeals

RUNNING = replace(deal(), state=DealState.RUNNING, term=3, sequence=5)


@pytest.fixture
def interlock():
    return Interlock(1)


@pytest.fixture
def known(interlock):
    return KnownDeals(interlock)


@pytest.mark.parametrize(
    ("term", "sequence", "is_news"),
    [(3, 6, True), (4, 0, True), (3, 5, False), (3, 4, False), (2, 9, False)],
)
def test_only_a_newer_record_counts(known, term, sequence, is_news):
    assert known.hear(RUNNING)
    later = replace(RUNNING, term=term, sequence=sequence, moved_wh=1.0)
    assert known.hear(later) is is_news
    assert known.open == {"d": later if is_news else RUNNING}


def test_a_late_record_does_not_revive_a_deal_that_is_over(known):
    assert known.hear(replace(RUNNING, sequence=6, state=DealState.COMPLETED))
    assert not known.hear(replace(RUNNING, term=4))
    assert known.open == {}


def test_the_slot_knows_what_is_still_to_move(known, interlock):
    interlock.acquire(RUNNING, CHARGE, until_ns=1)
    known.hear(replace(RUNNING, moved_wh=20.0))
    assert interlock.committed_wh == 30.0


def test_it_forgets_the_oldest(known):
    for number in range(300):
        known.hear(replace(RUNNING, deal_id=f"d{number}"))
        known.hear(replace(RUNNING, deal_id=f"over{number}", state=DealState.ABORTED))
    assert list(known.open) == [f"d{number}" for number in range(100, 300)]


def test_w18_a_unit_that_was_not_chosen_is_free_as_soon_as_the_deal_is_published(known, interlock):
    interlock.reserve(RUNNING.deal_id, CHARGE, 50.0, until_ns=17)
    known.hear(RUNNING)
    assert interlock.slots_left == 1
    interlock.acquire(RUNNING, CHARGE, until_ns=17)
    known.hear(replace(RUNNING, sequence=6))
    assert interlock.slots_left == 0
