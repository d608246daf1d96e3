"""Modelled profiles on disk: making them costs seconds of a start-up, most of it imports.

A file is named after everything that its content depends on, the source of this package included,
so none is ever out of date. Whatever goes wrong with a file, the profile is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Samples", "cached"]

KEPT_FILES = 256  # of 2 MB each, enough for 100 houses; the ones not used for longest go first
_LIBRARIES = ("demandlib", "numpy", "pandas", "pvlib")

Samples = npt.NDArray[np.float32]


def cached(name: str, make: Callable[[], npt.NDArray[np.float64]], *inputs: object) -> Samples:
    """What `make` gives, from disk if it was made before.

    Args:
        name: What it is, such as ``solar``.
        make: Makes it.
        inputs: All that it depends on; their ``repr`` must tell different ones apart.
    """
    key = hashlib.sha256(repr((name, _code(), inputs)).encode()).hexdigest()[:32]
    file = _folder() / f"{name}-{key}.npy"
    with contextlib.suppress(OSError, ValueError):
        samples: Samples = np.load(file, mmap_mode="r")
        os.utime(file)
        return samples
    samples = make().astype(np.float32)
    with contextlib.suppress(OSError):
        _save(file, samples)
    return samples


def _save(file: Path, samples: Samples) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}.part")
    with unfinished.open("wb") as stream:
        np.save(stream, samples)
    unfinished.replace(file)  # at once, since others may start at the same time
    by_age = sorted(file.parent.glob("*.npy"), key=lambda old: old.stat().st_mtime, reverse=True)
    for old in by_age[KEPT_FILES:]:
        old.unlink(missing_ok=True)


def _folder() -> Path:
    """Where caches go by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "apis" / "profiles"


@cache
def _code() -> str:
    """Hash of the code that makes profiles, ours and that of others."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    digest.update(repr([version(library) for library in _LIBRARIES]).encode())
    return digest.hexdigest()
