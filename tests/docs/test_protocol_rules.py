"""Every numbered section of the protocol that says what is to be done has a test named after it.

A test of section 7.3 is called ``test_7_3_...``. The titles say what each section is about.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SECTIONS = {
    "2.1": "what a unit says of itself",
    "2.2": "requests and accepts",
    "2.3": "the record of a deal",
    "3.1": "the policy",
    "3.2": "the hwConfig",
    "3.3": "the scenario",
    "3.4": "what is read once, at the start",
    "3.5": "files that change, and the same policy for all",
    "4.1": "section and band",
    "4.2": "what a unit asks for",
    "4.3": "what a unit answers",
    "4.4": "the amount of a deal",
    "4.5": "the choice of an accept",
    "5.1": "what must hold to ask, accept and choose",
    "5.2": "the course of a negotiation",
    "5.3": "how a deal comes about",
    "5.4": "slots",
    "6": "operation modes",
    "7.1": "the order in which deals are looked at",
    "7.2": "when a deal may begin",
    "7.3": "ramp-up, proof, and the start of currents",
    "7.4": "counting and the stop",
    "7.5": "compensation of currents",
    "7.6": "the end of a deal while others go on",
    "7.6.1": "the steps of a hand-over",
    "7.7": "giving everything back",
    "7.8": "abort, reset, scram",
    "8.1": "the converter's driver",
    "8.2": "whether a converter does what it was told",
    "8.3": "steps of current and voltage",
    "8.4": "orders to a converter",
    "8.5": "when the bus may be brought up",
    "8.6": "proof that nobody else holds the bus",
    "9.1": "who should be grid master",
    "9.2": "a grid master that is gone is noticed",
    "9.3": "there is always one, and only one",
    "9.4": "two of the same name",
    "9.5": "the grid master's rhythm",
    "9.6": "what the grid master knows of the units",
    "10.1": "the bus as a whole",
    "10.2": "what the lines can carry",
    "10.3": "what a unit's meters may show",
    "10.4": "a converter against its orders",
    "11.1": "who keeps which faults",
    "11.2": "what follows from a fault",
    "11.3": "how that is done",
    "11.4": "who raises what",
    "12": "where the bus is best held",
    "13": "two units on one battery",
}


@cache
def named_by_section() -> dict[str, list[str]]:
    """Names of the tests that name a section, by section."""
    found: dict[str, list[str]] = {}
    for folder in (ROOT / "src", ROOT / "tests"):
        for path in folder.rglob("test_*.py"):
            for name in re.findall(r"def (test_\w+)", path.read_text()):
                numbers = re.match(r"test_((?:\d+_)+)", name)
                if numbers:
                    section = numbers[1].strip("_").replace("_", ".")
                    found.setdefault(section, []).append(name)
    return found


def test_the_document_of_the_protocol_has_every_section():
    text = (ROOT / "docs" / "protocol.md").read_text()
    headings = {number.rstrip(".") for number in re.findall(r"^#+ ([\d.]+) ", text, re.MULTILINE)}
    assert not set(SECTIONS) - headings


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_of_the_protocol_has_a_test(section):
    assert named_by_section().get(section), f"{section}, {SECTIONS[section]}: no test_... of it"


def test_no_test_names_a_section_that_there_is_not():
    beyond = {"7", "9", "10", "11", "15"}  # of a whole chapter, or of the times in its appendix
    strange = set(named_by_section()) - set(SECTIONS) - beyond
    assert not {s for s in strange if not s.startswith("17.")}, strange
