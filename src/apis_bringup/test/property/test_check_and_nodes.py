"""What `check` accepts, every node reads, with the same values; what it refuses, it explains.

The files are right ones with something odd in them: texts that YAML of one kind or another takes
for something else, numbers without measure, half characters, comments, keys that stand twice.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import rclpy
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rclpy.context import Context
from rclpy.node import Node

from apis_bringup.grid_file import ResolvedGrid, resolve, write_run_folder
from apis_bringup.processes import node_parameters
from apis_bringup.run_folder import RunFolder
from apis_core.config.hardware import parse_hardware
from apis_core.config.policy import parse_policy, policy_text
from apis_core.config.policy_text import policy_file
from apis_core.config.scenario import band_of, parse_scenario
from apis_core.model.errors import ConfigError
from apis_node.configuration import watched_files
from apis_site.grid import GridDescription, parse_grid

DATA = Path(__file__).resolve().parents[3] / "apis_core" / "test" / "data"
FILES = {"policy": parse_policy, "hardware": parse_hardware, "scenario": parse_scenario}

# What YAML 1.1, YAML 1.2, rcl or a shell take for something else than a text, and odd characters.
ODD_TEXTS = (
    *("n", "N", "y", "Y", "no", "Off", "true", "1e5", "5E1", "INF", "NAN", "INFINITY", ".inf"),
    *("~", "null", "0x1F", "0o17", "1_000", "1:30", "2025-06-21", "=", "<<", "#x", "*a", "&a"),
    *("!t", "a: b", "- a", "[a", "{a", "%x", "@x", "`", "'", '"', "\\", "a\nb", "a\tb", " a "),
    *("é", "通り", "\U0001f600", "\x85", "\u2028", "\ufeff", "\x7f", "\x01", "a\0b", "\ud800"),
    *("a__b", "A__B", "a_", "_a", "E_1", "A" * 33, "", "..", "$(env HOME)", "$HOME"),
)
odd_texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=8)
odd_numbers = st.sampled_from(
    (0, -1, 1, 50.0, 5e1, 0.5, -0.0, 1e-300, 1e308, 2**31, 2**63, 10**30, 10**400)
)
odd_values = st.one_of(
    odd_texts,
    odd_numbers,
    st.sampled_from(
        (None, True, False, float("inf"), float("nan"), [], {}, [[]], [1, "a"], {"": 1})
    ),
)
# fmt: off
PLACES = (
    ("cluster",), ("composition",), ("web", "host"), ("web", "port"), ("policy",), ("extra",),
    ("units", 0, "id"), ("units", 0, "battery"), ("units", 0, "scenario"),
    ("units", 0, "position_m"), ("units", 0, "house", "pv_peak_w"),
    ("units", 0, "house", "load_csv"), ("units", 0, "device", "kind"),
    ("units", 0, "device", "http_port"), ("units", 1, "driver", "converter", "port"),
    ("units", 1, "driver", "battery", "parity"), ("units", 1, "driver", "battery", "port"),
    ("units", 1, "driver", "battery", "unit"), ("units", 1, "driver", "rules", "hold_s"),
    ("emulator", "seed"), ("emulator", "speed"), ("emulator", "start"),
    ("emulator", "place", "timezone"), ("emulator", "place", "latitude_deg"),
    ("emulator", "lines"), ("emulator", "bus", "ramp_up_v_per_s"), ("emulator", "faults"),
)
# fmt: on
few = settings(  # each starts five nodes
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def folder_of_files(path: Path) -> Path:
    for name in FILES:
        shutil.copy(DATA / f"{name}.json", path)
    return path


def grid_data(*, has_driver: bool = False) -> dict[str, Any]:
    files = {"hardware": "hardware.json", "scenario": "scenario.json"}
    driver = {
        "converter": {"kind": "eza2500", "port": "/dev/ttyUSB0"},
        "battery": {"kind": "modbus", "port": "/dev/ttyUSB1", "parity": "N"},
    }
    return {
        "cluster": "village",
        "policy": "policy.json",
        "units": [
            {"id": "E001", **files},
            {"id": "E002", **files} | ({"driver": driver} if has_driver else {}),
        ],
        "emulator": {"speed": 1},
    }


def put(data: Any, place: tuple[str | int, ...], value: Any) -> None:
    *way, last = place
    for step in way:
        data = data[step] if isinstance(step, int) else data.setdefault(step, {})
    data[last] = value


def checked(path: Path) -> ResolvedGrid | None:
    """What `check` makes of a grid file; None = it refuses it, in words."""
    try:
        return resolve(path)
    except ConfigError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.source
        assert problem.right
        assert len(str(problem).encode()) < 1000  # for a terminal
    return None


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def as_rcl_reads(params_file: Path, full_name: str) -> dict[str, Any]:
    """Parameters of a node as it finds them when it has started in its namespace."""
    namespace, _, name = full_name.rpartition("/")
    context = Context()
    arguments = ["--ros-args", "--params-file", str(params_file), "-r", f"__ns:={namespace}"]
    rclpy.init(args=arguments, context=context)
    try:
        node = Node(
            name,
            context=context,
            automatically_declare_parameters_from_overrides=True,
            start_parameter_services=False,
            enable_rosout=False,
        )
        try:
            assert node.get_fully_qualified_name() == full_name
            values = {p: node.get_parameter(p).value for p in node._parameters}
        finally:
            node.destroy_node()
    finally:
        context.try_shutdown()
    return values


def assert_nodes_read(resolved: ResolvedGrid, run: RunFolder) -> None:
    write_run_folder(resolved, run)
    grid = resolved.description
    text = run.grid_file.read_text(encoding="utf-8")
    assert parse_grid(json.loads(text), "grid.json") == grid  # the emulator
    assert GridDescription.model_validate_json(text) == grid  # the windows
    wanted = node_parameters(grid, run, Path(grid.policy))
    for name, values in wanted.items():
        found = as_rcl_reads(run.params_file, name)
        expected = dict(flat(values))
        assert {key: found.get(key) for key in expected} == expected
        assert {key: type(found[key]) for key in expected} == {
            key: type(value) for key, value in expected.items()
        }


@pytest.mark.usefixtures("own_ros_domain")
@few
@given(st.lists(st.tuples(st.sampled_from(PLACES), odd_values), max_size=2))
@example([(("units", 1, "driver", "battery", "parity"), "N")])
@example([(("units", 0, "battery"), "1e5"), (("cluster",), "n")])
@example([(("cluster",), "a__b")])
@example([(("emulator", "start"), "2040-06-21 08:00:00")])
def test_a_grid_that_is_right_starts(changes):
    data = grid_data(has_driver=True)
    for place, value in changes:
        try:
            put(data, place, value)
        except (TypeError, AttributeError, IndexError):  # the one before has made it no mapping
            continue
    with TemporaryDirectory() as name:
        folder = folder_of_files(Path(name))
        path = folder / "grid.yaml"
        try:
            text = yaml.safe_dump(data, allow_unicode=True)
            path.write_text(text, encoding="utf-8")
        except UnicodeEncodeError:
            path.write_text(yaml.safe_dump(data), encoding="utf-8")
        if (resolved := checked(path)) is not None:
            assert_nodes_read(resolved, RunFolder(folder / "run"))


@pytest.mark.usefixtures("own_ros_domain")
@few
@given(
    odd_texts.filter(
        lambda text: text and "\0" not in text and len(text.encode("utf-8", "replace")) < 200
    )
)
def test_files_may_have_any_name(name):
    with TemporaryDirectory() as folder_name:
        folder = folder_of_files(Path(folder_name))
        data = grid_data()
        data["units"][0]["scenario"] = name
        path = folder / "grid.yaml"
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        with suppress(
            OSError, UnicodeEncodeError, shutil.SameFileError
        ):  # no file can be named so
            shutil.copy(folder / "scenario.json", folder / name)
        if (resolved := checked(path)) is not None:
            assert_nodes_read(resolved, RunFolder(folder / "run"))


# --- JSON files ----------------------------------------------------------------------------------

# fmt: off
ODD_JSON = (
    "null", "true", "0", "-1", "1", "50.0", "5e1", "50.5", "1e999", "-1e308", "9" * 5000, '"N"',
    '"1e5"', '"\\ud800"', '"a\\u0000b"', '"\\ud83d\\ude00"', "[]", "{}", "[[1]]", '{"": 1}',
    "[" * 40 + "]" * 40, "[" * 3000, '{"#x": 1}', "NaN", "-Infinity", "'a'", "/* a */ 1", "/* a",
    '"// no comment"', '"/* none */"', "1 // one", '["E001"]', '"通り"', "\x00", "\ufeff",
)
# fmt: on
_VALUE = re.compile(r':\s*("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false)')


@st.composite
def changed_texts(draw: Any, text: str) -> bytes:
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.sampled_from(("value", "key", "anywhere", "cut")))
        spots = list(
            re.finditer(r'"\w+"(?=\s*:)', text) if where == "key" else _VALUE.finditer(text)
        )
        at = draw(st.integers(0, len(text)))
        if where == "anywhere":
            text = text[:at] + draw(st.sampled_from(ODD_JSON)) + text[at:]
        elif where == "cut":
            text = text[:at] if draw(st.booleans()) else text
        elif spots:
            spot = draw(st.sampled_from(spots))
            start, end = spot.span() if where == "key" else spot.span(1)
            key = draw(st.sampled_from(('"#"', '"#off"', '"-0"', '"0-10"', '"unknown"', '"E1"')))
            new = key if where == "key" else draw(st.sampled_from(ODD_JSON))
            text = text[:start] + new + text[end:]
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16")))
    return text.encode(encoding, "replace")


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_check_and_the_unit_read_the_same_of_a_file(kind, data):
    content = data.draw(changed_texts((DATA / f"{kind}.json").read_text()))
    with TemporaryDirectory() as name:
        folder = folder_of_files(Path(name))
        path = folder / "grid.yaml"
        path.write_text(yaml.safe_dump(grid_data()), encoding="utf-8")
        (folder / f"{kind}.json").write_bytes(content)
        resolved = checked(path)
        names = [str(folder / f"{each}.json") for each in FILES]
        unit = watched_files(*names)[f"{kind}_file"]
        if resolved is None:
            try:
                read = unit.read()
            except ConfigError:
                return
            # alone it is right, but not with the rest of the grid
            assert kind == "policy"
            assert "E002" not in read.member_unit_ids
            return
        assert_sendable(kind, unit.read())


def assert_sendable(kind: str, read: Any) -> None:
    """What is said of a file on the graph is text that a message can carry."""
    if kind == "policy":
        text = policy_file(read)
        again = parse_policy(text, "of a message")
        assert policy_text(again) == policy_text(read)
        assert "\0" not in text
        text.encode()
    elif kind == "scenario":
        for section in read.sections:
            for remaining_wh in (0.0, 1.0, 2880.0, 1e6):
                name = band_of(section, remaining_wh) or ""
                assert "\0" not in name
                name.encode()
