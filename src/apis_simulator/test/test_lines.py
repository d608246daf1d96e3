"""The protocol on a bus with lines: deals complete, and what the lines lose is on the books."""

from __future__ import annotations

import pytest

from apis_emulator.physics.plant import Plant
from apis_simulator import scenario_setup
from apis_simulator.run import Case, run


@pytest.mark.parametrize("resistance_ohm", [0.2, 1.0])
def test_deals_complete_over_a_chain_of_lines(monkeypatch, resistance_ohm):
    """Six units in a row; at 2 A the far end is up to 10 V off."""
    plants: list[Plant] = []

    class Wired(Plant):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            ends = range(len(self.units) - 1)
            self.native.set_lines([(end, end + 1, resistance_ohm) for end in ends])
            plants.append(self)

    monkeypatch.setattr(scenario_setup, "Plant", Wired)
    outcome = run(Case(3, 6, 0.5, "calm"), None)
    assert (outcome.rule, outcome.reason) == (0, "")  # every invariant held
    assert outcome.completed == outcome.deals >= 5
    assert outcome.trips == 0
    assert plants[0].native.line_loss_wh > 0.1
