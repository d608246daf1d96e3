"""Scenario files: everything that is wrong is told at once, and nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from apis_core.model.errors import ConfigError
from apis_core.model.types import ConverterMode, OperationMode
from apis_simulator.scenario.__main__ import main, samples_folder
from apis_simulator.scenario.director import Director
from apis_simulator.scenario.events import EVENTS
from apis_simulator.scenario.expectations import EXPECTATIONS
from apis_simulator.scenario.judge import _Court
from apis_simulator.scenario.story import read_story

RIGHT = """
schema: apis-scenario/1
title: a story
units: 3
run_s: 100
deals:
  - {at_s: 1, from: E001, to: E002, energy_wh: 50}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "story.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read_story(write(folder, text), samples_folder())
    return [str(problem).split("story.yaml: ")[-1] for problem in error.value.problems]


def test_what_a_file_leaves_open(tmp_path):
    story = read_story(write(tmp_path, RIGHT + "expect: [{slots: 0}]\n"), samples_folder())

    assert story.units == ("E001", "E002", "E003")
    assert story.policy.member_unit_ids == story.units
    assert (story.seed, story.is_plain, story.loss) == (1, True, 0.0)
    assert story.delay_ms == (0.5, 20.0)
    assert set(story.soc.values()) == {0.6}
    assert story.policy.availability is False
    assert story.lines == ()


def test_keys_of_policy_and_hardware(tmp_path):
    text = (
        RIGHT
        + """
policy: {gridMaster.deal.resetLimit: 2}
hardware: {all: {droopRatio: 0.02}, E002: {gridCurrentAllowanceA: 0.5}}
availability: true
soc: {E003: 0.3}
expect: [{slots: 0}]
"""
    )
    story = read_story(write(tmp_path, text), samples_folder())

    assert story.policy.deal_reset_limit == 2
    assert story.policy.availability is True
    assert story.hardware["E001"].droop_ratio == story.hardware["E002"].droop_ratio == 0.02
    assert story.hardware["E002"].grid_current_allowance_a == 0.5
    assert story.soc == {"E001": 0.6, "E002": 0.6, "E003": 0.3}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("expect: []", "expect is [], must expect something"),
        ("", "expect: required: a list of at least one expectation"),
        ("expect: [{slot: 0}]", "expect[0].slot is 0, unknown key; did you mean slots?"),
        ("expect: [{deal: 2, state: COMPLETED}]", "expect[0].deal is 2, there are 1 deals"),
        ("expect: [{deal: 1}]", "expect[0]: must say what is true"),
        ("expect: [{deal: 1, state: DONE}]", 'expect[0].state is "DONE", must be one of QUEUED'),
        ("expect: [{off: [E009]}]", 'expect[0].off[0] is "E009", must be one of E001'),
        ("expect: [{bus_v: {}}]", "expect[0].bus_v is {}, must have min, max or both"),
        (
            "expect: [{slots: many}]",
            'expect[0].slots is "many", must be a whole number, or a range',
        ),
        ("expect: [{soc: {E9: {min: 1}}}]", 'expect[0].soc.E9 is "E9", must be one of E001'),
        ("expect: [{slots: 0}]\nseeds: 2", "seeds is 2, unknown key; did you mean seed?"),
        ("expect: [{slots: 0}]\nconverters: nice", 'converters is "nice", must be one of plain'),
        ("expect: [{slots: 0}]\npolicy: {operationMod: x}", 'policy.operationMod is "x", unknown'),
        ("expect: [{slots: 0}]\nhardware: {E7: {}}", "hardware.E7 is {}, unknown key"),
        ("expect: [{slots: 0}]\nscenario: none.json", "none.json: no such file"),
        ("expect: [{slots: 0}]\nevents: [{at_s: 5}]", "events[0]: must name exactly one of cut"),
        ("expect: [{slots: 0}]\nevents: [{kill: E001}]", "events[0].at_s: required: a number"),
        (
            "expect: [{slots: 0}]\nevents: [{at_s: 5, kil: E001}]",
            'events[0].kil is "E001", unknown key; did you mean kill?',
        ),
        (
            "expect: [{slots: 0}]\nevents: [{at_s: 500, kill: E001}]",
            "events[0].at_s is 500.0, must not be after the end, run_s: 100",
        ),
        (
            "expect: [{slots: 0}]\nevents: [{at_s: 5, trip: E001, for_s: 3}]",
            "events[0].for_s is 3, does not belong here: this event does not end",
        ),
        (
            "expect: [{slots: 0}]\nevents: [{at_s: 5, cut_off: E001, until_s: 4}]",
            "events[0].until_s is 4.0, must be greater than 5",
        ),
        (
            "expect: [{slots: 0}]\nevents: [{at_s: 5, leak: {at: E001, current_a: -1}}]",
            "events[0].leak.current_a is -1, must be a number",
        ),
        (
            "expect: [{slots: 0}]\nevents: [{at_s: 5, meter: {unit: E001}}]",
            "must have exactly one of gain, jump_wh, frozen",
        ),
        (
            "expect: [{slots: 0}]\nevents: [{at_s: 5, line_break: [E001, E003]}]",
            "there is no line between them; there are [E001, E002], [E002, E003]",
        ),
        (
            "expect: [{slots: 0}]\nevents: [{at_s: 5, policy_file: {set: {versoin: 3}}}]",
            "events[0].policy_file.set.versoin is 3, unknown key; did you mean version?",
        ),
    ],
)
def test_what_is_wrong(tmp_path, more, told):
    assert any(told in problem for problem in problems(tmp_path, RIGHT + more))


def test_what_is_wrong_with_a_deal(tmp_path):
    text = RIGHT.replace("to: E002, energy_wh: 50", "to: E02, energy_wh: -5, curent_a: 1")

    found = problems(tmp_path, text + "expect: [{slots: 0}]\n")

    assert 'deals[0].to is "E02", must be one of E001, E002, E003; did you mean E002?' in found
    assert "deals[0].energy_wh is -5, must be a number greater than 0" in found
    assert "deals[0].curent_a is 1, unknown key; did you mean current_a?" in found


def test_an_amount_that_units_must_refuse_is_no_mistake_of_the_file(tmp_path):
    for text in (".inf", "1e12", ".nan"):
        content = RIGHT.replace("energy_wh: 50", f"energy_wh: {text}") + "expect: [{slots: 0}]\n"
        assert read_story(write(tmp_path, content), samples_folder()).deals


def test_all_problems_at_once(tmp_path):
    text = "schema: apis-scenario/2\nunits: 1\nrun_s: -1\nexpect: [{slots: x}]\n"

    found = problems(tmp_path, text)

    for key in ("schema", "title", "units", "run_s", "expect[0].slots"):
        assert any(problem.startswith(key) for problem in found), key


def test_every_event_and_expectation_has_somebody_who_knows_it():
    assert all(hasattr(Director, f"_{kind}") for kind in EVENTS)
    assert all(hasattr(_Court, f"look_{kind}") for kind in EXPECTATIONS)


def test_off_without_quotes_and_modes_in_any_spelling(tmp_path):
    text = (
        RIGHT
        + """
events: [{at_s: 5, mode: {value: soft stop}}, {at_s: 6, mode: {value: autonomous}}]
expect:
  - off: [E001]
  - mode: {value: run}
  - mode: {value: voltage_reference, unit: E001}
"""
    )
    story = read_story(write(tmp_path, text), samples_folder())

    assert [each.kind for each in story.expect] == ["off", "mode", "mode"]
    assert story.events[0].value.value is OperationMode.SOFT_STOP
    assert story.events[1].value.value is OperationMode.RUN
    assert story.expect[2].value.value == ConverterMode.VOLTAGE_REFERENCE.name


def test_exit_codes(tmp_path, capsys):
    right = write(tmp_path, RIGHT.replace("run_s: 100", "run_s: 5") + "expect: [{slots: 7}]\n")
    assert main([str(right), "--json", str(tmp_path / "out.json")]) == 1
    assert "NOT OK" in capsys.readouterr().out

    right.write_text(right.read_text().replace("slots: 7", "slots: {min: 0}"))
    assert main([str(right)]) == 0

    assert main([str(right), str(tmp_path / "none.yaml")]) == 2
    said = capsys.readouterr()
    assert "none.yaml: no such file" in said.err
