"""What an address may ask of the table of deals."""

from __future__ import annotations

import pytest

from apis_dashboard.pages.deals import Asked, asked_for
from apis_dashboard.records import DealState

UNITS = ("E001", "E002")


@pytest.mark.parametrize(
    ("parameters", "asked"),
    [
        ([], Asked()),
        ([("unit", ""), ("state", ""), ("days", "")], Asked()),
        ([("unit", "e001")], Asked(unit_id="E001")),
        ([("state", "completed")], Asked(state=DealState.COMPLETED)),
        ([("state", "RUNNING"), ("days", "7")], Asked(state=DealState.RUNNING, days=7)),
        ([("days", "0")], Asked()),
    ],
)
def test_what_is_asked_for(parameters, asked):
    assert asked_for(parameters, UNITS) == asked


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ([("unit", "E999")], "unit is E999, it must be one of E001, E002"),
        ([("state", "NOPE")], "state is NOPE, it must be one of QUEUED, "),
        ([("days", "-1")], "days is -1, it must be a whole number from 0 (all) to 36500"),
        ([("days", "99999999999")], "days is 99999999999, it must be a whole number"),
        ([("days", "1.5")], "days is 1.5, it must be"),
        ([("days", "\u0661")], "it must be a whole number"),
        ([("units", "E001")], "units is no parameter; there are unit, state, days"),
        ([("unit", "E001"), ("unit", "E002")], "unit stands there twice"),
    ],
)
def test_what_is_not_understood_is_told(parameters, told):
    with pytest.raises(ValueError, match=r"\w") as caught:
        asked_for(parameters, UNITS)
    assert told in str(caught.value)
