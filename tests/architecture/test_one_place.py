"""What all nodes share stands in ``apis_ros`` and nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
HOME = SRC / "apis_ros" / "apis_ros"
PREFIX = re.compile(r"/apis/")


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every string of a module but its docstrings."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in documents:
            yield node


def out_of_place(path: Path, source: str | None = None) -> list[str]:
    """What a module does by itself that ``apis_ros`` does for all."""
    tree = ast.parse(path.read_text() if source is None else source)
    is_home = path.parent == HOME
    found = []
    for node in ast.walk(tree):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if name.rpartition(".")[2] == "QoSProfile" and path != HOME / "qos.py":
            found.append(f"{path.name}:{node.lineno} makes a QoS profile; see apis_ros/qos.py")
        if name in ("signal.alarm", "alarm") and not is_home:
            found.append(f"{path.name}:{node.lineno} sets an alarm; see apis_ros/leaving.py")
    if path != HOME / "names.py":
        found += [
            f"{path.name}:{text.lineno} names a topic; see apis_ros/names.py"
            for text in strings(tree)
            if PREFIX.match(text.value)
        ]
    return found


def modules() -> list[Path]:
    """Sources of all packages, tests left out."""
    return sorted(
        path
        for package in SRC.iterdir()
        for path in (package / package.name).rglob("*.py")
        if package.is_dir()
    )


def test_what_nodes_share_stands_in_one_place():
    assert len(modules()) > 100
    assert [line for path in modules() for line in out_of_place(path)] == []


def test_no_module_is_called_translate():
    """Conversions are in ``apis_ros/conversions.py``; what is a package's own has a name."""
    assert [path for path in modules() if path.name == "translate.py"] == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from rclpy.qos import QoSProfile\nLATCHED = QoSProfile(depth=1)", 1),
        ("import rclpy.qos\nx = rclpy.qos.QoSProfile(depth=1)", 1),
        ("from rclpy.qos import QoSProfile\ndef f(x: QoSProfile) -> None: ...", 0),
        ("import signal\nsignal.alarm(3)", 1),
        ("import signal\nsignal.signal(2, f)", 0),
        ("name = f'/apis/{cluster}/deals'", 1),
        ("name = '/apis/village/deals'", 1),
        ("def f():\n    '''Such as /apis/village/deals.'''", 0),
        ("'''/apis/village is a namespace.'''", 0),
    ],
)
def test_that_this_can_fail(source, count):
    assert len(out_of_place(SRC / "apis_node" / "apis_node" / "example.py", source)) == count
