from dataclasses import replace

import pytest

from apis_core.config.timing import Timing, network_floor_ns, stop_limit_wall_s
from apis_core.model.units import SECOND_NS as S


def test_15_the_times_of_the_sample_policy(policy):
    timing = Timing.of(policy)
    assert timing.status_ns == 5 * S
    assert timing.housekeeping_ns == 5 * S
    assert timing.window_ns == 2 * S
    assert timing.submit_ns == 15 * S  # two units are locked meanwhile, 5 s each
    assert timing.reservation_ns == 17 * S
    assert timing.silent_ns == 15 * S
    assert timing.retry_ns == 1 * S
    assert timing.leave_ns == 2 * S
    assert timing.stop_ns == 14 * S  # the reference goes 5 s after the currents, in another 5
    assert timing.force_stop_ns == 60 * S
    assert (timing.election.heartbeat_ns, timing.election.lease_ns) == (1 * S, 4 * S)
    assert (timing.deal.poll_ns, timing.deal.quick_poll_ns) == (5 * S, 1 * S)
    assert (timing.deal.fresh_poll_ns, timing.deal.dwell_ns) == (S // 20, 220_000_000)
    assert timing.deal.answer_ns == 5 * S
    assert timing.deal.hold_ns == 25 * S  # three polls and two answers


@pytest.mark.parametrize(
    ("field", "part", "seconds"),
    [
        ("data_acquisition_period_ns", "status_ns", 7),
        ("housekeeping_period_ns", "housekeeping_ns", 7),
        ("negotiation_timeout_ns", "window_ns", 7),
        ("request_timeout_ns", "submit_ns", 21),
        ("stop_me_timeout_ns", "force_stop_ns", 7),
        ("scram_reference_delay_ns", "stop_ns", 16),
    ],
)
def test_a_time_follows_its_key_of_the_policy(policy, field, part, seconds):
    assert getattr(Timing.of(replace(policy, **{field: 7 * S})), part) == seconds * S


@pytest.mark.parametrize(
    ("heartbeat_s", "expected_s"),
    [(0.2, 0.2), (1.0, 1.0), (5.0, 1.0)],  # slower than one second is not needed
)
def test_9_2_a_grid_master_that_is_gone_is_replaced_within_seconds(
    policy, heartbeat_s, expected_s
):
    changed = replace(policy, grid_master_heartbeat_ns=round(heartbeat_s * S))
    assert Timing.of(changed).election.heartbeat_ns == round(expected_s * S)


@pytest.mark.parametrize("floor_s", [0, 0.05, 1, 3, 20, 600])
@pytest.mark.parametrize("loop_s", [0.1, 5, 60])
def test_nothing_waits_for_less_than_an_answer_may_take(policy, floor_s, loop_s):
    """What must hold between the times under any acceleration."""
    floor_ns = round(floor_s * S)
    changed = replace(policy, main_loop_period_ns=round(loop_s * S))
    timing = Timing.of(changed, floor_ns)
    deal, election = timing.deal, timing.election
    round_trip_ns = 2 * floor_ns
    assert deal.answer_ns >= round_trip_ns
    assert timing.window_ns >= round_trip_ns
    assert timing.submit_ns >= 2 * deal.answer_ns  # it locks two units
    assert timing.reservation_ns >= timing.window_ns + timing.submit_ns
    assert deal.hold_ns >= 2 * deal.poll_ns + deal.answer_ns  # one lost poll does no harm
    assert election.lease_ns >= 3 * election.heartbeat_ns
    assert election.lease_ns - election.heartbeat_ns >= round_trip_ns
    assert election.lease_ns >= 10 * floor_ns  # a process may get no turn for a while
    assert deal.hold_ns >= 2 * election.lease_ns  # a deal outlives its grid master
    assert timing.silent_ns >= max(2 * timing.status_ns + floor_ns, 8 * floor_ns)
    assert timing.suspect_ns >= 5 * floor_ns
    assert timing.stop_ns > policy.scram_reference_delay_ns
    assert timing.force_stop_ns >= deal.answer_ns
    assert timing.housekeeping_ns >= floor_ns
    assert election.heartbeat_ns >= floor_ns
    for pace_ns in (timing.status_ns, timing.retry_ns, deal.poll_ns, deal.fresh_poll_ns):
        assert pace_ns >= max(floor_ns // 4, 1)  # nobody is asked much faster than it can answer


def test_a_stop_lasts_as_long_as_the_bus_takes_to_go_down(policy):
    """What is slower than that leaves a converter on when the process has ended."""
    quick, slow = (Timing.of(policy, 0, seconds * S) for seconds in (5, 12))

    assert slow.stop_ns == quick.stop_ns + 7 * S
    assert stop_limit_wall_s(policy, 1.0, 12.0) == pytest.approx(21.0)
    # faster than real time the ramps are short, and the network's answers are not
    assert 3.2 < stop_limit_wall_s(policy, 100.0, 12.0) < 4.0
    assert (network_floor_ns(1.0), network_floor_ns(20.0)) == (0, 8 * S)
