"""The explorer: its freezer loses nothing, its rules can be broken, and the core breaks none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from apis_core.cluster.election import Election
from apis_core.converter import energy_ledger, order_execution
from apis_core.converter.driver_contract import OrderLease
from apis_core.events import Wake
from apis_core.model.messages import ConverterOperation, ConverterOrder
from apis_core.model.types import ConverterMode
from apis_core.model.units import SECOND_NS
from apis_simulator.explore import converters
from apis_simulator.explore.__main__ import CHECKED, Task, explore, main
from apis_simulator.explore.converters import Converter
from apis_simulator.explore.freezing import EPOCH_NS, Freezer, shifted
from apis_simulator.explore.moves import DELIVER, TIME
from apis_simulator.explore.state import Budget
from apis_simulator.explore.stories import STORIES, begin

_reference_order = order_execution.reference_order
_share_out = energy_ledger._share_out
_take = OrderLease.take
_later = converters._later


def place_of(name: str):
    return begin(next(story for story in STORIES if story.name == name), Budget(0))


def without_faults(place, count: int):
    states = [place.state]
    for _ in range(count):
        states.append(place.moves.after(states[-1], DELIVER if states[-1].queue else TIME))
    return states


# --- the freezer ---------------------------------------------------------------------------------


def test_a_thawed_agent_equals_the_frozen_one_and_goes_on_as_it_would_have():
    place = place_of("deal")
    units = place.moves.units
    for state in without_faults(place, 120)[::10]:
        for number in state.units:
            agent, now_ns = units.agent(number)
            frozen = units.freezer.freeze(agent)
            again = units.freezer.thaw(frozen)
            assert units.freezer.digest(again, now_ns) == units.freezer.digest(agent, now_ns)
            wake_ns = agent.next_wakeup_ns()
            assert agent.handle(Wake(), wake_ns) == again.handle(Wake(), wake_ns)
            assert units.freezer.digest(again, wake_ns) == units.freezer.digest(agent, wake_ns)


def test_a_step_that_is_remembered_is_what_the_core_does_when_asked_again():
    place = place_of("deal")
    units = place.moves.units
    taken = list(units._steps.items())[-40:]
    units._steps.clear()
    for (state, later_ns, given), step in taken:
        unit = int(units.agent(state)[0].status.unit_id[1:]) - 1
        assert units.step(unit, state, later_ns, given) == step


def test_a_digest_counts_time_from_now():
    freezer = Freezer()
    early, late = [EPOCH_NS + 5, 7], [EPOCH_NS + SECOND_NS + 5, 7]
    assert freezer.digest(early, EPOCH_NS) == freezer.digest(late, EPOCH_NS + SECOND_NS)
    assert freezer.digest(early, EPOCH_NS) != freezer.digest(late, EPOCH_NS)
    assert freezer.digest([8, 7], EPOCH_NS) != freezer.digest([8, 7.5], EPOCH_NS)


def test_instants_are_shifted_and_nothing_else():
    value = (EPOCH_NS, 5, ("a", EPOCH_NS + 1))
    assert shifted(value, -10) == (EPOCH_NS - 10, 5, ("a", EPOCH_NS - 9))


# --- converters ----------------------------------------------------------------------------------


def order(mode: ConverterMode, **changes) -> ConverterOrder:
    fields = {"grid_voltage_v": 350.0, "grid_current_a": 1.0, "hold_s": 3.0, "term": 1}
    return ConverterOrder(operation=ConverterOperation.MODE, mode=mode, **{**fields, **changes})


def test_a_bus_carries_what_its_sources_give():
    bus = [Converter(), Converter()]
    bus[0], reply = converters.obey(bus, 0, order(ConverterMode.VOLTAGE_REFERENCE), EPOCH_NS)
    assert not reply.error
    bus[1], reply = converters.obey(bus, 1, order(ConverterMode.DISCHARGE), EPOCH_NS)
    assert reply.reading.grid_voltage_v == 350.0
    assert converters.currents_a(bus) == [1.0, -1.0]
    later = converters.pass_time(bus, SECOND_NS)
    assert later[0].charged_wh == pytest.approx(350.0 / 3600.0)
    assert [each.mode for each in converters.pass_time(later, 2 * SECOND_NS)] == [
        ConverterMode.WAIT
    ] * 2  # nobody renewed


def test_a_driver_obeys_no_older_term():
    bus = [Converter()]
    bus[0], _ = converters.obey(bus, 0, order(ConverterMode.CHARGE, term=2), EPOCH_NS)
    same, reply = converters.obey(bus, 0, order(ConverterMode.CHARGE, term=1), EPOCH_NS)
    assert reply.error
    assert same == bus[0]


# --- the rules -----------------------------------------------------------------------------------


def twice(*args):
    _share_out(*args)
    _share_out(*args)


def for_ever(lease, order, now_s):
    _take(lease, order, now_s)
    lease.deadline_s = 1e4


def undead(converter, grid_w, by_ns):
    return _later(replace(converter, hold_ns=max(converter.hold_ns, by_ns + 1)), grid_w, by_ns)


def without_droop(*args):
    return replace(_reference_order(*args), droop_ratio=0.0)


@pytest.mark.parametrize(
    ("owner", "name", "bug", "task", "rule"),
    [
        (order_execution, "reference_order", without_droop, Task("hand_over", "cuts", 0), 1),
        (OrderLease, "take", for_ever, Task("deal", "cuts", 0), 2),
        (converters, "_later", undead, Task("deal", "deaths"), 3),
        (Election, "_why_not", lambda *_: "", Task("election", "cuts"), 5),
        (energy_ledger, "_share_out", twice, Task("deal", "cuts", 0), 6),
        (Election, "hear_grant", None, Task("election", "cuts", 0), 7),
    ],
    ids=["hand_over", "time_limit", "dead_man", "double_grant", "booked_twice", "falls_over"],
)
@pytest.mark.timeout(180)
def test_a_planted_bug_is_found(monkeypatch, owner, name, bug, task, rule):
    monkeypatch.setattr(owner, name, bug)
    result = explore(replace(task, most_states=20_000))
    assert [finding.rule for finding in result.findings] == [rule]
    assert result.told[-1].startswith(("Violation", "TypeError"))


def test_the_command_writes_what_it_found(tmp_path, capsys):
    path = tmp_path / "explore.json"
    arguments = "--stories election --kinds deaths --faults 1 --states 300 --jobs 1 --json"
    assert main([*arguments.split(), str(path)]) == 0
    said = json.loads(path.read_text())
    assert said["states"] >= 300
    assert said["depth"] > 5
    assert said["violations"] == []
    assert not said["explorations"][0]["is_complete"]
    assert "cut short" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_one_fault_every_schedule_holds_all_rules():
    results = [explore(task) for task in CHECKED]
    for result in results:
        assert not result.findings, "\n".join((*result.told, result.findings[0].text))
        assert result.is_complete
    assert sum(result.states for result in results) >= 100_000
