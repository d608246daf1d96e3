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
ABOVE = {"apis_signing"}  # stands on the core, and all but the ground may use it
MIDDLE = {"apis_node", "apis_driver", "apis_emulator", "apis_viz", "apis_bringup"}
# inside a function: the commands that make pictures, so that they need no browser until then, and
# the readers of what only one kind of process reads, for `apisctl check`
ALLOWED_LAZILY = {
    ("apis_bringup", "apis_viz.dashboard.screenshot"),
    ("apis_bringup", "apis_viz.markers.picture"),
    ("apis_bringup", "apis_driver.registry"),
    ("apis_bringup", "apis_emulator.houses"),
    ("apis_bringup", "apis_viz.dashboard.access"),
}

# The emulated devices speak what the drivers speak: one table and one frame for both ends of a
# line, which the driver's tests hold against recorded bytes. Pure values; no driver runs there.
ALLOWED = {
    ("apis_emulator.servers", "apis_driver.codec"),
    ("apis_emulator.servers", "apis_driver.errors"),
    ("apis_emulator.servers", "apis_driver.eza2500_protocol"),
    # an emulated converter takes the same messages as a driver, and answers with the same
    ("apis_emulator.shell", "apis_driver.translate"),
}

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

# Inside the core, a module imports only from its own line and the lines above.
LAYERS = (
    # values; the receipt of the ledger is among them
    ("libraries", "errors", "units", "types", "messages", "ledger"),
    # configuration
    (
        "jsonc",
        "error_messages",
        "validation",
        "branches",
        "policy_rules",
        "policy",
        "policy_file",
        "scenario",
        "hardware",
        "grid",
    ),
    # what happens and what is wanted
    ("events", "faults"),
    # rules: pure functions
    (
        "topology",
        "reference_selection",
        "negotiation",
        "safety",
        "voltage_optimisation",
        "fault_matrix",
    ),
    ("driver_contract",),
    # machines
    (
        "energy_limit",
        "pending_orders",
        "election",
        "timing",
        "bus_watch",
        "deal",
        "voltage_proof",
        "voltage_reference",
        "deal_registry",
        "recovery",
        "converter",
        "snapshot",
        "grid_master",
        "driver_refusals",
        "interlock",
        "gateway",
        "operation_mode",
        "trader",
    ),
    # one unit
    (
        "persisted_state",
        "unit_state",
        "order_handler",
        "roll_out",
        "self_check",
        "status_publisher",
    ),
    ("agent",),
    ("__init__",),
)
LEVEL = {module: level for level, line in enumerate(LAYERS) for module in line}


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
    if found.top not in GROUND | ABOVE | MIDDLE or found.top == package:
        return False
    if package in ABOVE:
        return found.top != "apis_core"
    if package in GROUND:
        return True  # the ground stands on nothing of ours
    return found.top in MIDDLE and not is_allowed_lazily(package, found) and not is_allowed(found)


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
    """Module of the core -> modules of the core that it imports."""
    names = {path.stem for path in modules_of("apis_core")}
    graph: dict[str, set[str]] = {}
    for path in modules_of("apis_core"):
        parts = [i.name.split(".") for i in imports_of(path) if i.top == "apis_core"]
        # `from apis_core import x` of a name that is no module means the package itself
        graph[path.stem] = {
            part[1] if len(part) > 1 and part[1] in names else "__init__" for part in parts
        }
    return graph


# --- the tests -----------------------------------------------------------------------------------


def test_every_package_of_ours_has_a_place():
    packages = {
        path.parent.name
        for path in SRC.glob("*/*/__init__.py")
        if path.parent.name not in ("test", "launch")
    }
    packages |= {path.parent.name for path in SRC.glob("apis_interfaces/package.xml")}
    assert packages == GROUND | ABOVE | MIDDLE


@pytest.mark.parametrize("package", sorted((GROUND | ABOVE | MIDDLE) - {"apis_interfaces"}))
def test_packages_import_in_one_direction(package):
    paths = modules_of(package)
    assert paths
    found = [item for path in paths for item in imports_of(path)]
    assert [f"{i.where} imports {i.name}" for i in found if bad_neighbours(package, i)] == []


@pytest.mark.parametrize("path", modules_of("apis_core"), ids=lambda path: path.stem)
def test_the_core_has_no_ros_clock_chance_thread_log_or_file(path):
    assert list(forbidden_in_core(path)) == []


def test_every_module_of_the_core_has_a_place():
    """A new module: write it into LAYERS, on the line of its kind."""
    assert [name for name in core_imports() if name not in LEVEL] == []


def test_the_core_imports_go_up_the_list_of_layers():
    wrong = [
        f"{module} imports {other}, which stands on a later line"
        for module, others in core_imports().items()
        for other in sorted(others)
        if LEVEL[other] > LEVEL[module]
    ]
    assert wrong == []


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
    assert not loaded & (MIDDLE | {"apis_control", "rclpy_components", "yaml", "sqlite3"})


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
        ("apis_node", "from apis_core import agent", False),
        ("apis_node", "from . import shell", False),
        ("apis_node", "import rclpy", False),
        ("apis_bringup", "def f():\n    from apis_viz.dashboard.screenshot import take", False),
        ("apis_bringup", "from apis_viz.dashboard.screenshot import take", True),
        ("apis_bringup", "def f():\n    from apis_viz.dashboard import server", True),
        ("apis_node", "def f():\n    from apis_viz.dashboard.screenshot import take", True),
        ("apis_emulator", "from apis_driver.codec import Block", True),  # only its servers may
    ],
)
def test_a_wrong_neighbour_is_noticed(package, source, is_bad):
    path = SRC / package / package / "example.py"
    found = list(imports_of(path, source))
    assert found
    assert any(bad_neighbours(package, item) for item in found) is is_bad
