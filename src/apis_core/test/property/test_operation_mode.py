from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apis_core.cluster.operation_mode import OperationModes
from apis_core.model.messages import OperationModeOrder
from apis_core.model.types import NOBODY, OperationMode

orders = st.lists(
    st.builds(
        OperationModeOrder,
        unit_id=st.just(NOBODY),
        mode=st.sampled_from(OperationMode),
        version=st.integers(1, 4),
    ),
    max_size=8,
)


@given(orders, st.data())
def test_units_agree_whatever_the_order_in_which_they_hear(heard, data):
    """Late and double messages are part of it."""
    others = data.draw(st.permutations(heard)) + data.draw(st.permutations(heard))
    units = []
    for messages in (heard, others):
        unit = OperationModes("E001", OperationMode.RUN)
        for message in messages:
            unit.hear_order(message)
        units.append(unit)
    assert units[0] == units[1]


@given(orders)
def test_every_change_is_recorded_and_nothing_else(heard):
    unit = OperationModes("E001", OperationMode.RUN)
    for message in heard:
        before = (unit.global_mode, unit.version)
        effects = unit.hear_order(message)
        after = (unit.global_mode, unit.version)
        assert [(e.entry.mode, e.entry.version) for e in effects] == [after] * (after != before)
        assert unit.version >= before[1]
        assert unit.global_mode is not OperationMode.UNSET
