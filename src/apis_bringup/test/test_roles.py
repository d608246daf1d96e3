"""What follows from what a process is for."""

from __future__ import annotations

from apis_bringup.roles import RESTART_DELAYS_S, SETTLED_S, Restarts, Role


def test_each_puts_its_converters_to_wait_while_what_carries_it_out_is_there():
    turns = [role.stop_turn for role in (Role.UNIT, Role.DRIVER, Role.WORLD, Role.RECORDER)]

    assert turns == sorted(turns)
    assert len(set(turns)) == len(turns)


def test_only_the_world_is_required_and_a_recording_is_not_begun_anew():
    assert [role for role in Role if role.is_required] == [Role.WORLD]
    assert [role for role in Role if not role.is_restarted] == [Role.WORLD, Role.RECORDER]


def test_a_process_that_dies_again_and_again_is_given_up():
    restarts = Restarts()

    delays = [restarts.delay_s(1.0) for _ in RESTART_DELAYS_S]

    assert delays == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert restarts.delay_s(1.0) is None


def test_one_that_has_lived_for_a_while_has_all_tries_again():
    restarts = Restarts()
    for _ in RESTART_DELAYS_S:
        restarts.delay_s(1.0)

    assert restarts.delay_s(SETTLED_S) == 0.0
    assert restarts.delay_s(1.0) == 1.0
