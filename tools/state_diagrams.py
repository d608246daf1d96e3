"""Write docs/state-diagrams.md from the machines' tables of transitions.

    python tools/state_diagrams.py            write the file
    python tools/state_diagrams.py --check    say whether it is what it would become

The tables are what the machines obey. That each row is reached, for the cause that it names, is
what `tests/docs/test_state_diagrams.py` finds out by letting the machines run.
"""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Any

from apis_core.cluster import election
from apis_core.converter import stop_sequence
from apis_core.grid_master import bus_state, hand_over
from apis_core.grid_master.deal import transitions as deal
from apis_core.model.transitions import Transitions
from apis_driver import stopping

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "state-diagrams.md"

INTRO = """\
# State diagrams

Written by `tools/state_diagrams.py` from the table of each machine; do not edit. A label says what
brings the change about. A machine refuses every change that is not in its table, and a test lets
the machines run to see that all of them can happen.
"""
DEAL_TEXT = """\
## A deal, as the grid master runs it

`Phase` in [`transitions.py`](../src/apis_core/apis_core/grid_master/deal/transitions.py).
*Answer* is what a unit said to an
order, *time* is that something did not come in time (an answer, or the end of the phase), *abort*
the grid master's wish to end it, *bus* what the grid master did with the bus for it, *reference*
a reading of the unit that holds the bus, *adopt* that a new grid master goes on with it.
"""
BUS_TEXT = """\
## The voltage of the bus, as the grid master steers it

`Stage` in [`bus_state.py`](../src/apis_core/apis_core/grid_master/bus_state.py).
*Deals* is
what the deals ask for: a bus, another unit to hold it, its end. *Answer* is what a unit said to an
order, *time* is that it did not come in time. *Adopt* is that a new grid master goes on with a bus
that is up. A stage that takes too long is a failure; the deals end the bus then.
"""
HAND_OVER_TEXT = """\
## A hand-over of the voltage from one unit to another

`Step` in [`hand_over.py`](../src/apis_core/apis_core/grid_master/hand_over.py).
*Answer* is that the unit obeyed, *refusal* that it did not. A step that is not answered is ordered
again; time alone moves nothing on.
"""
ELECTION_TEXT = """\
## A unit in the election

`Role` in [`election.py`](../src/apis_core/apis_core/cluster/election.py).
*Claim* is a message of one who
leads or wants to, *grant* an answer to our own claim, *time* a wake-up of our own, *fault* that
this unit has one and steps down, *end* the end of the process.
"""
UNIT_STOP_TEXT = """\
## The stop of a converter, in its unit

`StopStep` in [`stop_sequence.py`](../src/apis_core/apis_core/converter/stop_sequence.py).
A unit that has a reason of its own stops its converter so: the current first, the voltage last.
*Stop* is that reason, *current* and *no current* what a reading of a voltage reference shows,
*time* that the policy's scram delay is over, *off* a reading that shows WAIT. In CURRENT a
reference still holds the voltage for others; in VOLTAGE the converter is told WAIT again and
again.
"""
STOP_TEXT = """\
## The stop of a converter, in its driver

`StopStage` in [`stopping.py`](../src/apis_driver/apis_driver/stopping.py).
*Stop* is that it should go to WAIT, *device* that the device took that order, *open* that the
device was opened, which says WAIT, too. *Reading* is that it was read in WAIT, *time* that it was
not after a while.
"""
MACHINES: list[tuple[str, Transitions[Any], tuple[Enum, ...]]] = [
    (DEAL_TEXT, deal.TRANSITIONS, (deal.Phase.OVER,)),
    (BUS_TEXT, bus_state.TRANSITIONS, (bus_state.Stage.OFF,)),
    (
        HAND_OVER_TEXT,
        hand_over.TRANSITIONS,
        (hand_over.Step.DONE, hand_over.Step.REFUSED, hand_over.Step.RESTORED),
    ),
    (ELECTION_TEXT, election.TRANSITIONS, (election.Role.RETIRED,)),
    (UNIT_STOP_TEXT, stop_sequence.TRANSITIONS, (stop_sequence.StopStep.NONE,)),
    (STOP_TEXT, stopping.TRANSITIONS, (stopping.StopStage.NONE,)),
]


def diagram(table: Transitions[Any], ends: tuple[Enum, ...]) -> str:
    """A Mermaid state diagram, in the order of the table; its first state is where it begins."""
    states = list(table)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {states[0].name}"]
    lines += [
        f"    {before.name} --> {after.name}: {table[before][after]}"
        for before in states
        for after in sorted(table[before], key=states.index)
    ]
    lines += [f"    {end.name} --> [*]" for end in ends]
    return "\n".join([*lines, "```", ""])


def text() -> str:
    """The whole document."""
    parts = [f"{words}\n{diagram(table, ends)}" for words, table, ends in MACHINES]
    return "\n".join([INTRO, *parts])


def main() -> int:
    """Write or check."""
    new = text()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text() == new:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is not up to date: run tools/state_diagrams.py")
        return 1
    TARGET.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
