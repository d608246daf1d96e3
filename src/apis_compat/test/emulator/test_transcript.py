"""The recorded conversation with the original, and that a difference would be seen.

``rest_transcript.json`` was recorded from apis-emulator 25f11d1; its ``meta`` says how.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from apis_compat.emulator.__main__ import main
from apis_compat.emulator.transcript import Transcript, differences, play, read_transcript

RECORDING = Path(__file__).with_name("rest_transcript.json")


@pytest.fixture(scope="module")
def recording() -> Transcript:
    return read_transcript(RECORDING)


def test_the_recording_matches(recording, tmp_path):
    compared = 0
    for session in recording.sessions:
        played = play(session, recording.meta, tmp_path / "state.json")
        assert played.differing == []
        compared += played.compared
    assert compared == 61


def changed(tmp_path, change) -> str:
    """The first session, changed, in a file."""
    content = json.loads(RECORDING.read_text())
    content["sessions"] = [copy.deepcopy(content["sessions"][0])]
    change(content["sessions"][0]["calls"])
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(content))
    return str(file)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda calls: calls[1]["body"]["emu"].update(rsoc=49.9700021),
            "main 2 GET /get/unit/E001 HTTP/1.1: emu.rsoc is 49.97, recorded was 49.9700021",
        ),
        (
            lambda calls: calls[1]["body"]["emu"].pop("rsoc"),
            "main 2 GET /get/unit/E001 HTTP/1.1: emu.rsoc is 49.97, recorded was absent",
        ),
        (
            lambda calls: calls[1].update(status=404),
            "main 2 GET /get/unit/E001 HTTP/1.1: status is 200, recorded was 404",
        ),
        (
            lambda calls: calls[0].update(content_type="application/json"),
            "main 1 GET /get/acc HTTP/1.1: content type is text/html; charset=UTF-8, recorded "
            "was application/json",
        ),
        (
            lambda calls: calls[6].update(sim_time_after="2020/01/01-00:00:30"),
            "main: time is 2020/01/01-00:00:20, recorded was 2020/01/01-00:00:30",
        ),
    ],
)
def test_a_difference_is_told(tmp_path, capsys, change, line):
    assert main(["check", changed(tmp_path, change)]) == 1
    assert line in capsys.readouterr().out.splitlines()


def test_what_is_not_to_be_compared_is_not(tmp_path, capsys):
    def change(calls):
        calls[1]["body"]["emu"]["rsoc"] = 1.0
        calls[1]["compare"] = ["emu.rsoc"]
        calls[2]["body"] = {}
        calls[2]["compare"] = False

    assert main(["check", changed(tmp_path, change)]) == 0
    assert "39 compared: matches" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it must be JSON"),
        ("{}", "sessions"),
        (
            '{"sessions": [{"id": "a", "calls": [{"request": "get /"}]}]}',
            'request is "get /", must be a request such as GET /get/acc',
        ),
        ('{"sessions": [{"id": "a", "compare": true, "calls": []}]}', "compare"),
    ],
)
def test_a_file_that_is_no_recording(tmp_path, capsys, content, message):
    file = tmp_path / "bad.json"
    file.write_text(content)
    assert main(["check", str(file)]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys):
    assert main(["check", "nowhere.json"]) == 2
    assert "nowhere.json: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ours", "theirs", "paths"),
    [
        (1, 1.0 + 1e-7, []),
        (True, 1, [""]),
        (0.0, -0.0, []),
        ("1", 1, [""]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ["a[1].b"]),
        ([1], [1, 2], [""]),
        ({"a": 1}, {"b": 1}, ["b", "a"]),
        (float("nan"), float("nan"), [""]),
    ],
)
def test_what_a_difference_is(ours, theirs, paths):
    assert [path for path, _, _ in differences(ours, theirs)] == paths
