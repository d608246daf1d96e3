"""Hands a command over to a package that this one must not import."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

__all__ = ["exec_module"]


def exec_module(module: str, *words: str) -> NoReturn:
    """Replace this process by a module of another package, so that signals go where they belong.

    The packages in the middle do not import each other, so this one only knows the command.
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *words])
