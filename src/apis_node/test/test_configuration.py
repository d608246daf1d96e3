"""The files of a unit are read again when they change; a wrong one changes nothing (3.5)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apis_core.events import ConfigurationRefused, PolicyRead
from apis_node.configuration import watched_files

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text((CONFIG / "policy.json").read_text())
    watched = watched_files(str(path), "", "")["policy_file"]
    watched.read()
    return watched


def change(file, old, new):
    path = Path(file.path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_3_5_a_file_that_has_not_changed_is_no_news(file):
    assert file.look() is None
    Path(file.path).touch()
    assert file.look() is None


def test_3_5_a_changed_file_is_news_once(file):
    change(file, "{", '{ "version" : 3,')
    event = file.look()
    assert isinstance(event, PolicyRead)
    assert event.policy.version == 3
    assert file.look() is None


def test_3_5_a_wrong_file_is_told_once_with_what_would_be_right(file):
    change(file, "memberUnitIds", "memberUnitIDs")
    event = file.look()
    assert isinstance(event, ConfigurationRefused)
    assert "memberUnitIDs" in event.message
    assert "did you mean memberUnitIds?" in event.message
    assert file.look() is None
    change(file, "memberUnitIDs", "memberUnitIds")
    assert isinstance(file.look(), PolicyRead)


def test_3_5_a_file_that_is_gone_is_told_once(file):
    Path(file.path).unlink()
    event = file.look()
    assert isinstance(event, ConfigurationRefused)
    assert event.message.endswith("what it said before still holds")
    assert file.look() is None


def _deep(path: Path) -> None:
    path.write_text("[" * 100_000)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _huge(path: Path) -> None:
    os.truncate(path, 1 << 34)


def _foreign(path: Path) -> None:
    path.write_bytes("Straße".encode("latin-1"))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_deep, "must not nest deeper"),
        (_pipe, "not a pipe"),
        (_huge, "must not be larger"),
        (_foreign, "must be UTF-8"),
    ],
)
def test_3_5_a_file_that_has_become_something_else_is_told_and_the_old_one_holds(
    file, spoil, told
):
    spoil(Path(file.path))
    event = file.look()
    assert isinstance(event, ConfigurationRefused)
    assert told in event.message
    assert event.message.endswith("what it said before still holds")
    assert file.look() is None
