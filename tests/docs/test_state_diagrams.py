"""docs/state-diagrams.md shows what the machines do now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)  # it runs the machines; on a busy machine that takes a while
ROOT = Path(__file__).resolve().parents[2]


def test_the_state_diagrams_are_up_to_date():
    script = runpy.run_path(str(ROOT / "tools" / "state_diagrams.py"))
    assert script["text"]() == script["TARGET"].read_text(), "run tools/state_diagrams.py"


@pytest.mark.parametrize(
    "transition",
    [
        "ACQUIRING --> RUNNING: adopt",  # an earlier grid master made it flow
        "STARTING --> RUNNING: answer",  # one current only, taken as exact: nothing to compensate
        "OFF --> UP: adopt",
        "ENDING --> OFF: answer, time",  # whoever does not answer is stopped by its dead man
    ],
)
def test_what_a_simple_unit_does_not_bring_about_is_drawn_too(transition):
    page = (ROOT / "docs" / "state-diagrams.md").read_text()
    assert f"    {transition}\n" in page
