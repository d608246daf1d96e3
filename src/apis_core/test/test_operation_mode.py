import pytest

from apis_core.cluster.operation_mode import OperationModes, effective_mode
from apis_core.events import GlobalModeSet, LocalModeSet, Record
from apis_core.model.messages import OperationModeOrder, UnitStatus
from apis_core.model.types import NOBODY, OperationMode

UNSET, RUN, SOFT_STOP, FORCE_STOP, MANUAL = OperationMode


def modes(global_mode=RUN, version=0, local_mode=UNSET):
    return OperationModes("E001", global_mode, version, local_mode)


def global_order(mode, version=0):
    return OperationModeOrder(unit_id=NOBODY, mode=mode, version=version)


def local_order(mode, unit_id="E001"):
    return OperationModeOrder(unit_id=unit_id, mode=mode)


def status(mode, version):
    return UnitStatus(
        unit_id="E002",
        instance_id="E002#1",
        sequence=1,
        global_mode=mode,
        global_mode_version=version,
        local_mode=UNSET,
        effective_mode=mode,
        capacity_wh=4800.0,
    )


@pytest.mark.parametrize(
    ("global_mode", "with_unset", "with_soft_stop", "with_force_stop"),
    [
        (RUN, RUN, SOFT_STOP, FORCE_STOP),
        (SOFT_STOP, SOFT_STOP, SOFT_STOP, FORCE_STOP),
        (FORCE_STOP, FORCE_STOP, FORCE_STOP, FORCE_STOP),
        (MANUAL, MANUAL, MANUAL, MANUAL),
    ],
)
def test_6_effective_mode(global_mode, with_unset, with_soft_stop, with_force_stop):
    for local_mode, expected in (
        (UNSET, with_unset),
        (SOFT_STOP, with_soft_stop),
        (FORCE_STOP, with_force_stop),
    ):
        assert effective_mode(global_mode, local_mode) is expected
        assert modes(global_mode, 1, local_mode).effective is expected


@pytest.mark.parametrize(
    ("before", "ordered", "after"),
    [
        (UNSET, SOFT_STOP, SOFT_STOP),
        (UNSET, FORCE_STOP, FORCE_STOP),
        (FORCE_STOP, SOFT_STOP, SOFT_STOP),
        (FORCE_STOP, UNSET, UNSET),
        (SOFT_STOP, RUN, UNSET),  # as the cluster does
    ],
)
def test_6_a_local_order_is_kept_on_disk(before, ordered, after):
    unit = modes(local_mode=before)
    assert unit.hear_order(local_order(ordered)) == [Record(LocalModeSet(after))]
    assert unit.local_mode is after
    assert (unit.global_mode, unit.version) == (RUN, 0)


@pytest.mark.parametrize(
    ("before", "order"),
    [
        (UNSET, local_order(MANUAL)),  # for all or nobody
        (SOFT_STOP, local_order(MANUAL)),
        (UNSET, local_order(FORCE_STOP, "E002")),  # not this unit
        (SOFT_STOP, local_order(SOFT_STOP)),  # nothing new
        (UNSET, local_order(RUN)),
        (UNSET, local_order(UNSET)),
    ],
)
def test_6_a_local_order_that_changes_nothing(before, order):
    unit = modes(local_mode=before)
    assert unit.hear_order(order) == []
    assert unit == modes(local_mode=before)


def test_an_operators_order_is_one_above_what_is_known():
    unit = modes(RUN, 7)
    assert unit.hear_order(global_order(SOFT_STOP)) == [Record(GlobalModeSet(SOFT_STOP, 8))]
    assert unit.hear_order(global_order(RUN)) == [Record(GlobalModeSet(RUN, 9))]
    assert (unit.global_mode, unit.version) == (RUN, 9)


@pytest.mark.parametrize(
    ("mode", "version", "is_taken"),
    [
        (RUN, 6, True),  # newer, if less strict
        (FORCE_STOP, 5, True),  # two operators at once: the stricter word
        (SOFT_STOP, 5, False),  # nothing new
        (RUN, 5, False),
        (FORCE_STOP, 4, False),  # late
        (UNSET, 9, False),  # makes no sense for all
    ],
)
def test_the_newest_global_mode_wins_wherever_it_comes_from(mode, version, is_taken):
    for hear, message in (
        (OperationModes.hear_order, global_order(mode, version)),
        (OperationModes.hear_status, status(mode, version)),
    ):
        unit = modes(SOFT_STOP, 5)
        assert hear(unit, message) == [Record(GlobalModeSet(mode, version))] * is_taken
        assert (unit.global_mode, unit.version) == (
            (mode, version) if is_taken else (SOFT_STOP, 5)
        )


def test_a_unit_that_has_heard_no_operator_tells_nobody_anything():
    unit = modes(RUN, 0)
    assert unit.hear_status(status(FORCE_STOP, 0)) == []
    assert unit.global_mode is RUN


def test_a_global_unset_without_a_version_is_ignored():
    unit = modes(SOFT_STOP, 5)
    assert unit.hear_order(global_order(UNSET)) == []
    assert unit == modes(SOFT_STOP, 5)
