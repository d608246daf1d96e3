"""Message types by name."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["message_class"]


def message_class(type_name: str) -> Any:
    """The Python class of a type such as ``apis_interfaces/msg/Deal``.

    Raises:
        ImportError: Its package is not installed.
        AttributeError: The package has no such type.
    """
    package, kind, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)
