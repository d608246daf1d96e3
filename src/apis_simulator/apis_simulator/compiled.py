"""The same core and the same simulator as machine code: seeds run two to three times as fast.

mypyc compiles a copy of the sources, once for each state of them. Nothing else uses the copy:
nodes and tests run the sources as they are, and a seed gives the same trace either way, to the
byte.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import apis_core
import apis_emulator
import apis_simulator

__all__ = ["CannotCompile", "compiled_folder", "environment", "is_compiled"]

KEPT_FOLDERS = 3
_UNFINISHED = ".part"  # of a folder that somebody is compiling
# Configuration is read once, and by pydantic: nothing to gain. Cases and outcomes pass between
# processes, which compiled values cannot.
_COMPILED = (
    "apis_core/events.py",
    "apis_core/config/timing.py",
    "apis_core/config/policy_text.py",
    *(
        f"apis_core/{folder}/*.py"
        for folder in (
            "model",
            "cluster",
            "trading",
            "converter",
            "grid_master",
            "grid_master/deal",
            "unit",
        )
    ),
    "apis_emulator/driver.py",
    "apis_emulator/orders.py",
    "apis_simulator/*.py",
)
_LEFT_OUT = {"compiled", "run", "__init__", "__main__"}
_PACKAGES = (apis_core, apis_emulator, apis_simulator)
_SETTINGS = "[mypy]\nignore_missing_imports = True\nfollow_imports = silent\n"


class CannotCompile(Exception):
    """There is no compiler, no mypyc, or it does not understand the sources; the text says so."""


def is_compiled() -> bool:
    """Whether this process runs machine code."""
    spec = find_spec("apis_core.unit.agent")
    return spec is not None and not str(spec.origin).endswith(".py")


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process that is to run the machine code."""
    before = os.environ.get("PYTHONPATH", "")
    return os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{before}" if before else str(folder)}


def compiled_folder(*, make: bool) -> Path | None:
    """Where the compiled packages are.

    Args:
        make: Compile them if there are none of the present sources; takes about a minute.

    Raises:
        CannotCompile: They were to be made, and that failed.
    """
    folder = _cache() / _state()
    if folder.is_dir():
        os.utime(folder)
        return folder
    if not make:
        return None
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, suffix=_UNFINISHED))
    try:
        _compile(unfinished)
        # somebody else may have been quicker; then theirs is as good
        if not folder.is_dir():
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    finished = [old for old in _by_age(folder.parent) if old.suffix != _UNFINISHED]
    for old in finished[KEPT_FOLDERS:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _compile(folder: Path) -> None:
    for package in (Path(str(package.__file__)).parent for package in _PACKAGES):
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(package, folder / package.name, ignore=ignored)
    (folder / "mypy.ini").write_text(_SETTINGS, encoding="utf-8")
    modules = _modules(folder)
    for module in modules:
        # nobody writes to them, as the sources' own runs see, and they are made much faster
        text = (folder / module).read_text(encoding="utf-8")
        text = text.replace("@dataclass(frozen=True", "@dataclass(unsafe_hash=True")
        (folder / module).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypyc", *modules]
    # 3 would take twice the time to compile, for seeds that are 4 % quicker
    levels = {"MYPYC_OPT_LEVEL": "1", "MYPYC_DEBUG_LEVEL": "0"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | levels, capture_output=True, text=True
        )
    except OSError as error:
        raise CannotCompile(str(error)) from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise CannotCompile(said[-1] if said else f"mypyc ended with {done.returncode}")
    shutil.rmtree(folder / "build", ignore_errors=True)


def _modules(folder: Path) -> list[str]:
    files = [file for pattern in _COMPILED for file in sorted(folder.glob(pattern))]
    return [str(file.relative_to(folder)) for file in files if file.stem not in _LEFT_OUT]


def _state() -> str:
    """Hash of all that the machine code depends on."""
    digest = hashlib.sha256(repr((sys.version, _version("mypy"))).encode())
    for package in _PACKAGES:
        root = Path(str(package.__file__)).parent
        for file in sorted(root.rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:32]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _by_age(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda old: old.stat().st_mtime, reverse=True)


def _cache() -> Path:
    """Where caches go by the XDG base directory specification."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "apis" / "simulator"
