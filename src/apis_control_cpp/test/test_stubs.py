"""What the stubs say of the compiled modules is what these have."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import apis_control
from apis_control import _apis_control, _port_guard

MODULES = [_apis_control, _port_guard]
FOLDER = Path(apis_control.__file__).parent
Definition = ast.FunctionDef | ast.AsyncFunctionDef


def stub_of(module) -> dict[str, ast.ClassDef]:
    text = (FOLDER / f"{module.__name__.rpartition('.')[2]}.pyi").read_text()
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}


def classes_of(module) -> dict[str, type]:
    return {name: item for name, item in vars(module).items() if isinstance(item, type)}


def declared(stub: ast.ClassDef) -> dict[str, ast.stmt]:
    """Members by name."""
    functions = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    variables = {
        node.target.id: node
        for node in stub.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return {**functions, **variables}


def is_property(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) or any(
        isinstance(mark, ast.Name) and mark.id == "property"
        for mark in getattr(node, "decorator_list", [])
    )


def public(names) -> set[str]:
    return {name for name in names if not name.startswith("_")}


CLASSES = [
    pytest.param(stub_of(module).get(name), item, id=name)
    for module in MODULES
    for name, item in classes_of(module).items()
]


def test_every_class_is_in_its_stub_and_no_other():
    for module in MODULES:
        assert stub_of(module).keys() == classes_of(module).keys()


def test_the_package_offers_what_the_modules_have():
    assert set(apis_control.__all__) == {n for m in MODULES for n in classes_of(m)}


@pytest.mark.parametrize(("stub", "item"), CLASSES)
def test_members_are_the_same(stub, item):
    members = declared(stub)
    has = public(vars(item))
    said = public(members)
    if "__getattr__" in members:  # the columns of a plant are too many to be told one by one
        has &= said
    assert said == has
    assert [base.id for base in stub.bases] == [
        base.__name__ for base in item.__bases__ if base.__name__ != "pybind11_object"
    ]
    for name in said:
        assert is_property(members[name]) == isinstance(vars(item)[name], property), name


@pytest.mark.parametrize(("stub", "item"), CLASSES)
def test_arguments_have_the_same_names_in_the_same_order(stub, item):
    for name, node in declared(stub).items():
        if is_property(node) or name not in vars(item) or name == "__exit__":
            continue
        found = signature(getattr(item, name).__doc__ or "")
        if found is not None:
            assert arguments(node) == found, f"{stub.name}.{name}"


def arguments(node: Definition) -> list[str]:
    """Names; positional ones that have none, and what stands for any others, are left out."""
    named = [argument.arg for argument in node.args.args if argument.arg not in ("self", "cls")]
    marker = ["*"] if node.args.kwonlyargs else []
    return [*named, *marker, *(argument.arg for argument in node.args.kwonlyargs)]


def signature(doc: str) -> list[str] | None:
    """The names in pybind11's first line; None if there is none, or more than one."""
    if "Overloaded" in doc or not (found := re.match(r"\w+\((.*)\) -> ", doc)):
        return None
    names = [part.partition(":")[0].strip() for part in split(found.group(1))]
    return [
        name
        for name in names
        if name not in ("self", "") and not re.match(r"arg\d+$|\*+\w+|/$", name)
    ]


def split(text: str) -> list[str]:
    """At the commas that stand in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[({") - (letter in "])}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
