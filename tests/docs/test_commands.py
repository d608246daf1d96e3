"""Every `make` target and every `apisctl` command of the documents exists, with its options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from apis_bringup.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("src/*/README.md")]
PAGES += [*ROOT.glob("changelog.d/*.md"), *ROOT.glob("tests/*/README.md")]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
CLI = typer.main.get_command(app)


def lines_of(program: str) -> list[tuple[str, list[str]]]:
    """Page and words of every call, in a block of code or as a whole `in a line`."""
    found = []
    for page in PAGES:
        text = page.read_text()
        calls = re.findall(rf"^ {{4}}(?:\$ )?(?:\w+=\w+ )?({program} .*)$", text, re.M)
        calls += re.findall(rf"`({program} [^`\n]*)`", text)
        for call in calls:
            words = shlex.split(re.split(r"\s+#|\s[;|&>]|\s\(", call)[0])
            found.append((str(page.relative_to(ROOT)), words[1:]))
    return found


MAKE = [(page, words) for page, words in lines_of("make") if words[:1] != ["..."]]
APISCTL = lines_of(r"(?:\./)?apisctl")


def test_there_are_commands_to_check():
    assert len(MAKE) > 20
    assert len(APISCTL) > 40


@pytest.mark.parametrize(("page", "words"), MAKE, ids=str)
def test_the_target_exists(page, words):
    assert words[0] in TARGETS, page


@pytest.mark.parametrize(("page", "words"), APISCTL, ids=str)
def test_the_command_has_these_options(page, words):
    command, rest = CLI, list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    left_out = not rest or rest[0] == "..." or rest[0].startswith("-")
    assert left_out or not getattr(command, "commands", {}), f"{page}: no command {rest[0]}"
    options = {option for param in command.params for option in param.opts} | {"--help"}
    used = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert used <= options, page
