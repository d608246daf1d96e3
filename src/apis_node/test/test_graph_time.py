"""Time between two words of ``/clock``."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from apis_node.graph_time import Reckoning

S = 1_000_000_000
BEGIN = 1_000 * S


@pytest.fixture
def reckoning() -> Reckoning:
    """Words every tenth of a second, at the pace of the steady clock; the last at 0.1 s."""
    reckoning = Reckoning()
    reckoning.hear(BEGIN, 0)
    reckoning.hear(BEGIN + S // 10, S // 10)
    return reckoning


def test_there_is_no_time_before_the_first_word() -> None:
    reckoning = Reckoning()
    assert reckoning.now_ns(5 * S) == 0
    assert reckoning.wait_ns(S, 5 * S) is None


def test_one_word_says_no_pace() -> None:
    reckoning = Reckoning()
    reckoning.hear(BEGIN, 5 * S)
    assert reckoning.now_ns(6 * S) == BEGIN
    assert reckoning.wait_ns(BEGIN + 1, 6 * S) is None


def test_time_goes_on_between_words(reckoning: Reckoning) -> None:
    assert reckoning.now_ns(S * 15 // 100) == BEGIN + S * 15 // 100
    assert reckoning.wait_ns(BEGIN + S * 18 // 100, S * 15 // 100) == S * 3 // 100


def test_a_deadline_that_is_over_does_not_wait(reckoning: Reckoning) -> None:
    assert reckoning.wait_ns(BEGIN, S // 10) == 0


def test_a_deadline_behind_the_next_word_waits_for_it(reckoning: Reckoning) -> None:
    assert reckoning.wait_ns(BEGIN + S * 21 // 100, S // 10) is None


def test_time_stands_still_when_the_words_end(reckoning: Reckoning) -> None:
    assert reckoning.now_ns(60 * S) == BEGIN + S * 2 // 10


def test_the_pace_is_that_of_the_last_words(reckoning: Reckoning) -> None:
    reckoning.hear(BEGIN + S * 3 // 10, S * 12 // 100)  # ten times as fast
    assert reckoning.now_ns(S * 13 // 100) == BEGIN + S * 4 // 10
    assert reckoning.wait_ns(BEGIN + S * 5 // 10, S * 13 // 100) == S // 100


def test_time_does_not_run_back_when_a_word_comes_late(reckoning: Reckoning) -> None:
    ahead_ns = reckoning.now_ns(S * 2 // 10)
    reckoning.hear(BEGIN + S * 15 // 100, S * 21 // 100)  # it went at half the pace
    assert reckoning.now_ns(S * 21 // 100) == ahead_ns
    assert reckoning.now_ns(S) == BEGIN + S * 2 // 10


def test_a_clock_that_begins_again_is_believed(reckoning: Reckoning) -> None:
    reckoning.hear(BEGIN - 500 * S, S)
    assert reckoning.now_ns(2 * S) == BEGIN - 500 * S
