"""A change of state that is not in a machine's table is refused."""

from __future__ import annotations

from enum import Enum, auto

import pytest

from apis_core.model.errors import ProtocolMisuse
from apis_core.model.transitions import Transitions, check


class Lamp(Enum):
    OFF = auto()
    ON = auto()
    BROKEN = auto()


TABLE: Transitions[Lamp] = {
    Lamp.OFF: {Lamp.ON: "switch"},
    Lamp.ON: {Lamp.OFF: "switch", Lamp.BROKEN: "time"},
    Lamp.BROKEN: {},
}


@pytest.mark.parametrize(
    ("before", "after"), [(Lamp.OFF, Lamp.ON), (Lamp.ON, Lamp.OFF), (Lamp.ON, Lamp.BROKEN)]
)
def test_a_change_in_the_table_is_made(before, after):
    check(TABLE, before, after)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (Lamp.OFF, Lamp.BROKEN, "Lamp goes from OFF to BROKEN; its table allows ON"),
        (Lamp.ON, Lamp.ON, "Lamp goes from ON to ON; its table allows OFF, BROKEN"),
        (Lamp.BROKEN, Lamp.ON, "Lamp goes from BROKEN to ON; its table allows nothing"),
    ],
)
def test_any_other_change_is_refused(before, after, message):
    with pytest.raises(ProtocolMisuse, match=message):
        check(TABLE, before, after)
