"""Who may import whom, and what the core must do without."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"

# --- what the packages may import of each other ---

GROUND = {"apis_interfaces", "apis_core", "apis_control"}
# package -> what it may import of ours; each stands above what it names
MAY_IMPORT: dict[str, set[str]] = {
    **{package: set() for package in GROUND},
    "apis_site": {"apis_core"},
    "apis_ros": {"apis_core", "apis_interfaces", "apis_site"},
    **{
        package: GROUND | {"apis_site", "apis_ros"}
        for package in (
            "apis_node",
            "apis_driver",
            "apis_emulator",
            "apis_viz",
            "apis_dashboard",
            "apis_bringup",
        )
    },
    "apis_simulator": {"apis_core", "apis_site", "apis_emulator"},
    "apis_study": {"apis_core", "apis_control", "apis_site", "apis_emulator"},
    "apis_compat": GROUND | {"apis_site", "apis_ros", "apis_emulator"},
}
# inside a function: the commands that make pictures, so that they need no browser until then, and
# the readers of what only one kind of process reads, for `apisctl check`
ALLOWED_LAZILY = {
    ("apis_bringup", "apis_dashboard.screenshot"),
    ("apis_bringup", "apis_viz.markers.picture"),
    ("apis_bringup", "apis_driver.registry"),
    ("apis_bringup", "apis_emulator.houses"),
    ("apis_bringup", "apis_dashboard.access"),
}

# The emulated devices speak what the drivers speak: one table and one frame for both ends of a
# line, which the driver's tests hold against recorded bytes. Pure values; no driver runs there.
ALLOWED = {
    ("apis_emulator.servers", "apis_driver.codec"),
    ("apis_emulator.servers", "apis_driver.errors"),
    ("apis_emulator.servers", "apis_driver.eza2500_protocol"),
}

# --- what lies on a site's disk ---
# Only apis_site opens databases: one schema, one reader and one writer of each.
DATABASES = {"apsw", "dbm", "shelve", "sqlalchemy", "sqlite3"}

# --- what the core may import ---

STDLIB = {
    "__future__",
    "abc",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "inspect",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "types",
    "typing",
}
LIBRARIES = {"annotated_types", "numpy", "pydantic", "typing_extensions"}
# attributes of modules above that read a clock, a file or a source of chance that no seed fixes
FORBIDDEN_ATTRIBUTES = {
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.date.today",
    "numpy.random",
    "numpy.load",
    "numpy.save",
    "numpy.fromfile",
    "numpy.loadtxt",
}
FORBIDDEN_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}

# Folders of the core (and its one module on top): each imports only from those before it.
CORE = (
    "model",
    "config",
    "events",
    "cluster",
    "trading",
    "converter",
    "grid_master",
    "unit",
    "__init__",
)


@dataclass(frozen=True)
class Import:
    """One imported module or name, written in full."""

    where: str
    importer: str
    name: str
    is_lazy: bool  # inside a function

    @property
    def top(self) -> str:
        return self.name.split(".", 1)[0]


def modules_of(package: str) -> list[Path]:
    """Sources of a package, tests and setup files left out."""
    return sorted(path for folder in SRC.glob(f"*/{package}") for path in folder.rglob("*.py"))


def dotted(path: Path) -> str:
    """Name of a module from its file."""
    parts = path.relative_to(SRC).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, source: str | None = None) -> Iterator[Import]:
    """Every import of a module; `from a import b` counts as `a.b`."""
    tree = ast.parse(path.read_text() if source is None else source)
    package = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            yield Import(where, dotted(path), name, id(node) in lazy)


def is_allowed_lazily(package: str, found: Import) -> bool:
    return found.is_lazy and any(
        package == importer and f"{found.name}.".startswith(f"{target}.")
        for importer, target in ALLOWED_LAZILY
    )


def is_allowed(found: Import) -> bool:
    return any(
        f"{found.importer}.".startswith(f"{importer}.")
        and f"{found.name}.".startswith(f"{target}.")
        for importer, target in ALLOWED
    )


def bad_neighbours(package: str, found: Import) -> bool:
    """Whether a package of ours must not import this."""
    if found.top not in MAY_IMPORT or found.top in MAY_IMPORT[package] | {package}:
        return False
    return not is_allowed_lazily(package, found) and not is_allowed(found)


def opens_database(package: str, found: Import) -> bool:
    """Whether this import lets a package open a database that it must leave to apis_site."""
    return package != "apis_site" and found.top in DATABASES


def forbidden_in_core(path: Path, source: str | None = None) -> Iterator[str]:
    """What a module of the core imports or calls and must not."""
    text = path.read_text() if source is None else source
    bound: dict[str, str] = {}  # local name -> what it stands for
    for found in imports_of(path, text):
        if found.top == "random" and found.name not in ("random", "random.Random"):
            yield f"{found.where} imports {found.name}; only random.Random is allowed"
        elif found.top not in STDLIB | LIBRARIES | {"apis_core"}:
            yield f"{found.where} imports {found.name}"
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".", 1)[0]
                bound[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            head, _, tail = name.partition(".")
            full = f"{bound.get(head, head)}.{tail}"
            is_chance = full.startswith("random.") and full.split(".")[1] != "Random"
            if full in FORBIDDEN_ATTRIBUTES or is_chance:
                yield f"{path.relative_to(ROOT)}:{node.lineno} uses {full}"
        elif isinstance(node, ast.Name) and node.id in FORBIDDEN_BUILTINS - bound.keys():
            yield f"{path.relative_to(ROOT)}:{node.lineno} uses {node.id}()"


def core_imports() -> dict[str, set[str]]:
    """Module of the core -> modules of the core that it imports, all by their full names."""
    names = {dotted(path) for path in modules_of("apis_core")}
    graph: dict[str, set[str]] = {}
    for path in modules_of("apis_core"):
        graph[dotted(path)] = {
            next(name for name in prefixes(found.name) if name in names)
            for found in imports_of(path)
            if found.top == "apis_core"
        } - {dotted(path)}
    return graph


def prefixes(name: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def folder_of(module: str) -> str:
    """The place of a module of the core in `CORE`."""
    _, _, rest = module.partition(".")
    return rest.partition(".")[0] or "__init__"


# --- the tests -----------------------------------------------------------------------------------


def test_every_package_of_ours_has_a_place():
    packages = {
        path.parent.name
        for path in SRC.glob("*/*/__init__.py")
        if path.parent.name not in ("test", "launch")
    }
    packages |= {path.parent.name for path in SRC.glob("apis_interfaces/package.xml")}
    assert packages == MAY_IMPORT.keys()


@pytest.mark.parametrize("package", sorted(MAY_IMPORT.keys() - {"apis_interfaces"}))
def test_packages_import_in_one_direction(package):
    paths = modules_of(package)
    assert paths
    found = [item for path in paths for item in imports_of(path)]
    assert [f"{i.where} imports {i.name}" for i in found if bad_neighbours(package, i)] == []


@pytest.mark.parametrize("package", sorted(MAY_IMPORT.keys() - {"apis_interfaces"}))
def test_only_the_sites_package_opens_databases(package):
    found = [item for path in modules_of(package) for item in imports_of(path)]
    assert [f"{i.where} imports {i.name}" for i in found if opens_database(package, i)] == []


@pytest.mark.parametrize("path", modules_of("apis_core"), ids=dotted)
def test_the_core_has_no_ros_clock_chance_thread_log_or_file(path):
    assert list(forbidden_in_core(path)) == []


def test_packages_stand_on_each_other_without_a_circle():
    placed: set[str] = set()
    while free := {name for name, below in MAY_IMPORT.items() if below <= placed} - placed:
        placed |= free
    assert placed == MAY_IMPORT.keys()


def test_every_folder_of_the_core_has_a_place():
    """A new folder: write it into CORE, and into docs/architecture.md."""
    assert {folder_of(module) for module in core_imports()} == {*CORE}


def test_the_folders_of_the_core_import_one_way():
    wrong = [
        f"{module} imports {other}, which stands above it"
        for module, others in core_imports().items()
        for other in sorted(others)
        if CORE.index(folder_of(other)) > CORE.index(folder_of(module))
    ]
    assert wrong == []


def test_the_architecture_page_draws_the_folders_of_the_core():
    page = (ROOT / "docs" / "architecture.md").read_text()
    _, _, drawing = page.partition("```mermaid\n")
    drawing, _, _ = drawing.partition("```")
    drawn = {tuple(line.split()[::2]) for line in drawing.splitlines() if "-->" in line}
    arrows = {
        (folder_of(module), folder_of(other))
        for module, others in core_imports().items()
        for other in others
    }
    assert drawn == {
        (a, b) for a, b in arrows if a != b and "__init__" not in (a, b) and b != "model"
    }


def test_the_core_has_no_import_cycle():
    graph = {module: set(others) for module, others in core_imports().items()}
    while free := {module for module, others in graph.items() if not others & graph.keys()}:
        for module in free:
            del graph[module]
    assert graph == {}


def test_the_core_imports_on_a_machine_without_ros():
    names = sorted(dotted(path) for path in modules_of("apis_core"))
    program = (
        "import importlib, sys\n"
        "for name in ('rclpy', 'apis_interfaces', 'builtin_interfaces', 'rosidl_parser'):\n"
        "    sys.modules[name] = None\n"  # importing it raises ImportError
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SRC / "apis_core")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    loaded = set(ast.literal_eval(done.stdout))
    assert "apis_core" in loaded
    others = {*MAY_IMPORT} - {"apis_core", "apis_interfaces"}
    assert not loaded & (others | {"rclpy_components", "yaml", "sqlite3"})


# --- that these tests can fail -------------------------------------------------------------------

HERE = SRC / "apis_core" / "apis_core" / "example.py"


@pytest.mark.parametrize(
    "source",
    [
        "import rclpy",
        "import time",
        "from time import monotonic",
        "import threading",
        "import logging",
        "import asyncio",
        "import socket",
        "import sqlite3",
        "import uuid",
        "import os",
        "import pathlib",
        "from apis_interfaces.msg import Deal",
        "def f():\n    import time",
        "from random import random",
        "import random\nx = random.random()",
        "import random as chance\nx = chance.choice([1])",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime\nx = datetime.datetime.now()",
        "from datetime import date\nx = date.today",
        "import numpy as np\nx = np.random.default_rng()",
        "x = open('file')",
        "print('x')",
    ],
)
def test_what_the_core_must_not_do_is_noticed(source):
    assert list(forbidden_in_core(HERE, source))


@pytest.mark.parametrize(
    "source",
    [
        "from random import Random\nx = Random(1).random()",
        "import random\nx = random.Random(1)",
        "from datetime import datetime\nx = datetime.fromisoformat('2020-01-01')",
        "from apis_core.model.units import SECOND_NS",
        "class Ledger:\n    def open(self): ...\nLedger().open()",
    ],
)
def test_what_the_core_may_do_is_not(source):
    assert list(forbidden_in_core(HERE, source)) == []


@pytest.mark.parametrize(
    ("package", "source", "is_bad"),
    [
        ("apis_core", "import apis_control", True),
        ("apis_control", "from apis_core.model.units import SECOND_NS", True),
        ("apis_node", "from apis_driver import node", True),
        ("apis_node", "def f():\n    from apis_emulator import node", True),
        ("apis_node", "from apis_core.unit import agent", False),
        ("apis_node", "from . import main", False),
        ("apis_node", "import rclpy", False),
        ("apis_bringup", "def f():\n    from apis_dashboard.screenshot import take", False),
        ("apis_bringup", "from apis_dashboard.screenshot import take", True),
        ("apis_bringup", "def f():\n    from apis_dashboard import server", True),
        ("apis_node", "def f():\n    from apis_dashboard.screenshot import take", True),
        ("apis_emulator", "from apis_driver.codec import Block", True),  # only its servers may
        ("apis_emulator", "from apis_simulator import world", True),
        ("apis_simulator", "from apis_emulator import driver", False),
        ("apis_site", "from apis_ros import qos", True),
    ],
)
def test_a_wrong_neighbour_is_noticed(package, source, is_bad):
    path = SRC / package / package / "example.py"
    found = list(imports_of(path, source))
    assert found
    assert any(bad_neighbours(package, item) for item in found) is is_bad


@pytest.mark.parametrize(
    ("package", "source", "is_bad"),
    [
        ("apis_dashboard", "import sqlite3", True),
        ("apis_bringup", "def f():\n    from sqlite3 import connect", True),
        ("apis_site", "import sqlite3", False),
        ("apis_dashboard", "from apis_site.operator_history import OperatorHistory", False),
    ],
)
def test_a_database_outside_the_sites_package_is_noticed(package, source, is_bad):
    found = list(imports_of(SRC / package / package / "example.py", source))
    assert found
    assert any(opens_database(package, item) for item in found) == is_bad
