"""The contract of the graph: numbers as in the core, every field explained, every file listed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from apis_core.model import messages, types

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "apis_interfaces"
FILES = sorted(
    path for kind in ("msg", "srv", "action") for path in (PACKAGE / kind).glob(f"*.{kind}")
)

CONSTANT = re.compile(r"^(\w+)\s+([A-Z][A-Z0-9_]*)\s*=\s*(\d+)")
FIELD = re.compile(r"^[\w/]+(?:\[\d*\])?\s+[a-z]\w*\s*(#\s*\S.*)?$")


class Same(NamedTuple):
    """An enumeration of the core and the constants with a prefix that should equal it."""

    enum: type
    file: str
    prefix: str
    only_core: frozenset[str] = frozenset()  # what never travels
    only_ros: frozenset[str] = frozenset()  # what is None in the core


NO_ANSWER = frozenset({"NO_ANSWER"})  # silence has no message
SAME = (
    Same(types.ConverterMode, "msg/ConverterState.msg", "MODE_"),
    Same(types.Alarm, "msg/ConverterState.msg", "ALARM_"),
    Same(types.StopCause, "msg/ConverterState.msg", "STOP_"),
    Same(types.DealState, "msg/Deal.msg", "STATE_"),
    Same(types.Meter, "msg/Deal.msg", "METER_"),
    Same(types.FaultCategory, "msg/Fault.msg", "CATEGORY_"),
    Same(types.FaultExtent, "msg/Fault.msg", "EXTENT_"),
    Same(types.FaultLevel, "msg/Fault.msg", "LEVEL_"),
    Same(messages.ClaimKind, "msg/GridMasterClaim.msg", "KIND_"),
    Same(messages.OfferKind, "msg/PolicyOffer.msg", "KIND_"),
    Same(types.Direction, "msg/InterchangeRequest.msg", "TYPE_"),
    Same(types.Direction, "msg/InterchangeAccept.msg", "TYPE_", only_ros=frozenset({"DECLINE"})),
    Same(types.OperationMode, "msg/OperationMode.msg", "MODE_"),
    Same(messages.ConverterOperation, "srv/ConverterCommand.srv", "OPERATION_"),
    Same(types.ConverterError, "srv/ConverterCommand.srv", "ERROR_", NO_ANSWER),
    Same(types.SubmitError, "srv/SubmitDeal.srv", "ERROR_", NO_ANSWER),
    Same(types.ControlOperation, "srv/UnitControl.srv", "OPERATION_"),
    Same(types.ControlError, "srv/UnitControl.srv", "ERROR_", NO_ANSWER),
    Same(types.Direction, "action/Interchange.action", "TYPE_"),
)


def lines_of(path: Path) -> list[str]:
    """Lines with something in them, comments of their own left out."""
    lines = (line.rstrip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith(("#", "---"))]


def constants_of(path: Path) -> dict[str, int]:
    found = (CONSTANT.match(line) for line in lines_of(path))
    return {match[2]: int(match[3]) for match in found if match}


def name_of(path: Path) -> str:
    """Such as msg/Deal."""
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("same", SAME, ids=lambda same: f"{same.enum.__name__} {same.file}")
def test_enumerations_have_the_names_and_numbers_of_the_definitions(same):
    members = {m.name: m.value for m in same.enum if m.name not in same.only_core}
    constants = {
        name.removeprefix(same.prefix): number
        for name, number in constants_of(PACKAGE / same.file).items()
        if name.startswith(same.prefix)
    }
    assert {n: v for n, v in constants.items() if n not in same.only_ros} == members
    assert same.only_ros <= constants.keys()
    assert {constants[name] for name in same.only_ros} <= {0}  # which translates to None


def test_every_constant_belongs_to_an_enumeration():
    """What is not the protocol's, such as a deal by hand, exists on the ROS side only."""
    known = {(same.file, same.prefix) for same in SAME} | {
        ("action/Interchange.action", "ERROR_"),
        ("srv/UnitMaintenance.srv", "ERROR_"),
        ("srv/UnitMaintenance.srv", "OPERATION_"),
        ("srv/EmulatorControl.srv", "ERROR_"),
        ("srv/EmulatorControl.srv", "OPERATION_"),
        ("srv/InjectFault.srv", "ERROR_"),
        ("srv/InjectFault.srv", "KIND_"),
    }
    for path in FILES:
        file = f"{path.parent.name}/{path.name}"
        for name in constants_of(path):
            assert any(file == f and name.startswith(prefix) for f, prefix in known), name


@pytest.mark.ros
@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_built_package_has_these_constants(path):
    """A package that was not built again after an edit is noticed here."""
    package = pytest.importorskip(f"apis_interfaces.{path.parent.name}")
    built = getattr(package, path.stem)
    parts = {
        "msg": (built,),
        "srv": [getattr(built, part, None) for part in ("Request", "Response")],
        "action": [getattr(built, part, None) for part in ("Goal", "Result", "Feedback")],
    }[path.parent.name]
    for name, number in constants_of(path).items():
        assert number in [getattr(part, name, None) for part in parts], name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_field_is_explained(path):
    fields = [line for line in lines_of(path) if not CONSTANT.match(line)]
    assert fields
    assert [line for line in fields if not FIELD.match(line)] == []  # else not understood
    # the energy counters of ConverterState share the explanation above them, and have their own
    assert [line for line in fields if "#" not in line] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_quantity_names_its_unit(path):
    """A suffix of the README, and the same unit in brackets where there is room for doubt."""
    suffixes = ("_a", "_v", "_w", "_wh", "_s", "_degc", "_ratio", "price_point_per_wh", "speed")
    for line in lines_of(path):
        match = re.match(r"^float(?:32|64)\s+(\w+)", line)
        if match and match[1] != "value":  # of whichever quantity; its unit is that one's
            assert match[1].endswith(suffixes), line


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_definition_begins_with_what_it_is_for(path):
    assert re.match(r"# \S.{20,}", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_file_is_listed(path):
    assert f"| {name_of(path)} |" in (PACKAGE / "README.md").read_text()
    cmake = (PACKAGE / "CMakeLists.txt").read_text()
    assert f'"{path.parent.name}/{path.name}"' in cmake


def test_nothing_is_listed_that_is_not_there():
    there = {f"{path.parent.name}/{path.name}" for path in FILES}
    cmake = (PACKAGE / "CMakeLists.txt").read_text()
    assert set(re.findall(r'"((?:msg|srv|action)/[^"]+)"', cmake)) == there
    readme = (PACKAGE / "README.md").read_text()
    listed = set(re.findall(r"\| ((?:msg|srv|action)/\w+) \|", readme))
    assert listed == {name_of(path) for path in FILES}


def test_error_codes_stay_in_the_ranges_of_the_readme():
    readme = (PACKAGE / "README.md").read_text()
    ranges = re.findall(r"^\| (\d+)\.\.(\d+) \| `(\w+)`", readme, flags=re.MULTILINE)
    assert {name for _, _, name in ranges} == {
        path.stem for path in FILES if path.parent.name != "msg"
    }
    for low, high, name in ranges:
        (path,) = (path for path in FILES if path.stem == name)
        codes = [c for n, c in constants_of(path).items() if n.startswith("ERROR_") and c]
        assert codes
        assert all(int(low) <= code <= int(high) for code in codes), name
        assert len(set(codes)) == len(codes)
