"""What the command line itself refuses, and what it prints where there is no terminal."""

from __future__ import annotations

import os
import sys

import pytest

from apis_bringup import cli, tables


def refused(monkeypatch, capsys, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["apisctl", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("deal", "E003", "E004", "--energy-wh", "1e308"),
            "--energy-wh': Input should be less than or equal to 100000",
        ),
        (
            ("deal", "E003", "E004", "--energy-wh", "inf"),
            "--energy-wh': Input should be less than or equal to 100000",
        ),
        (
            ("deal", "E003", "E004", "--energy-wh", "1", "--current-a", "1e9"),
            "--current-a': Input should be less than or equal to 1000",
        ),
        (("sim", "--for", "nan"), "for"),
        (("sim", "--for", "inf"), "no number"),
        (("run", "--speed", "nan"), "speed"),
        (("study", "--days", "nan"), "days"),
        (("study", "--config", "nowhere.yaml"), "nowhere.yaml: no such file (the grid file)"),
        (("study", "--grid", "nowhere.yaml"), "nowhere.yaml: no such file (the grid file)"),
        (("world", "speed", "nan"), "speed"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_anything_starts(
    monkeypatch, capsys, words, told
):
    assert told in refused(monkeypatch, capsys, *words)


def unit(unit_id: str) -> dict[str, object]:
    return {"unit_id": unit_id}  # one that is silent


def test_a_pipe_gets_a_table_at_each_change(capfd):
    with tables.live() as show:
        for units in ([unit("E001")], [unit("E001")], [unit("E002")]):
            show(units, [], "12:00")
    text = capfd.readouterr().out
    assert (text.count("E001"), text.count("E002"), text.count("12:00")) == (1, 1, 2)


def test_a_live_table_ends_when_nobody_reads_it(monkeypatch):
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with tables.live() as show:
            show([unit("E001")], [], "12:00")
            show([unit("E001")], [], "12:01")
            os.close(reader)
            with pytest.raises(BrokenPipeError):
                show([unit("E001")], [], "12:02")


def test_what_stands_in_brackets_is_no_markup(capsys):
    fault = {"at": "2025-06-21T08:00:00", "unit_id": "E001", "extent": "local", "level": "warn"}
    tables.faults([{**fault, "code": "x", "message": "[/red] [a]", "is_present": True}])
    assert "[/red] [a]" in capsys.readouterr().out
