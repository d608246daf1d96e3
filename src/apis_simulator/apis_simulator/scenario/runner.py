"""Runs a story, and says what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apis_core.model.units import SECOND_NS
from apis_simulator.scenario.director import Director
from apis_simulator.scenario.facts import Facts
from apis_simulator.scenario.judge import Verdict, judge
from apis_simulator.scenario.story import Story
from apis_simulator.scenario.world import NoGridMaster, StoryWorld
from apis_simulator.trace import Trace

__all__ = ["Result", "run_story"]

_PROBED = ("mode", "slots")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a story.

    Attributes:
        story: It.
        verdicts: Of its expectations, in the order of the file.
        facts: What happened.
        deal_ids: In the order of the file.
        digest: Of the trace.
    """

    story: Story
    verdicts: list[Verdict]
    facts: Facts
    deal_ids: list[str]
    digest: str

    @property
    def holds(self) -> bool:
        """Whether every expectation does."""
        return all(verdict.holds for verdict in self.verdicts)


def run_story(story: Story, sink: Callable[[str], None] | None = None) -> Result:
    """Run a story from its quiet start to its end.

    Args:
        story: What is told.
        sink: Gets every line of the trace.
    """
    trace = Trace(sink)
    world = StoryWorld(story, trace)
    try:
        world.settle()
    except NoGridMaster as error:
        verdicts = [Verdict(each.text, str(error), False) for each in story.expect]
        return Result(story, verdicts, world.facts, [], trace.digest)
    Director(world).plan()
    times_s = {
        each.seconds("at_s", story.length_s) for each in story.expect if each.kind in _PROBED
    }
    for time_s in sorted(times_s):
        world.at_s(time_s, world.probe, time_s)
    world.run_until(world.epoch_ns + round(story.length_s * SECOND_NS))
    world.facts.step(world.now_s)
    for time_s in times_s:  # those of the last instant
        if time_s not in world.facts.probes:
            world.probe(time_s)
    verdicts = judge(story, world.facts, world.deal_ids)
    return Result(story, verdicts, world.facts, world.deal_ids, trace.digest)
