"""No class is several machines in one, and no module a whole package; or it says why."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
MODULE_LINES, CLASS_LINES, CLASS_ATTRIBUTES = 400, 350, 20
REASON = "Size: "  # how the reason begins, in a paragraph of the module's docstring


def attributes(node: ast.ClassDef) -> set[str]:
    """Names that methods of a class set on their object."""
    methods = (m for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef))
    return {
        target.attr
        for method in methods
        for target in ast.walk(method)
        if isinstance(target, ast.Attribute)
        and isinstance(target.ctx, ast.Store)
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
    }


def too_large(source: str) -> list[str]:
    """What is over a limit in a module."""
    tree, found = ast.parse(source), []
    lines = len(source.splitlines())
    if lines > MODULE_LINES:
        found.append(f"{lines} lines, at most {MODULE_LINES}")
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > CLASS_LINES:
            found.append(f"{node.name}: {lines} lines, at most {CLASS_LINES}")
        if (count := len(attributes(node))) > CLASS_ATTRIBUTES:
            found.append(f"{node.name}: {count} attributes, at most {CLASS_ATTRIBUTES}")
    return found


def has_reason(source: str) -> bool:
    """Whether the module says why it is larger than others."""
    text = ast.get_docstring(ast.parse(source)) or ""
    return any(paragraph.startswith(REASON) for paragraph in text.split("\n\n"))


def modules() -> list[Path]:
    """Sources of all packages, tests left out."""
    return sorted(
        path
        for package in SRC.iterdir()
        if package.is_dir()
        for path in package.rglob("*.py")
        if "test" not in path.relative_to(package).parts
    )


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_what_is_large_says_why(path):
    source = path.read_text(encoding="utf-8")
    found = too_large(source)
    if has_reason(source):
        assert found, f"it is no longer large: take the paragraph '{REASON}' away"
    else:
        assert not found, f"cut it, or say why not in a paragraph '{REASON}...' at its top"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("x = 1\n" * 400, 0),
        ("x = 1\n" * 401, 1),
        (
            "class A:\n    def f(self):\n"
            + "".join(f"        self.a{i} = 0\n" for i in range(20)),
            0,
        ),
        (
            "class A:\n    def f(self):\n"
            + "".join(f"        self.a{i} = 0\n" for i in range(21)),
            1,
        ),
        ("class A:\n" + "    x = 1\n" * 350, 1),
    ],
)
def test_the_limits(source, count):
    assert len(too_large(source)) == count
