"""Says in one line which library is too old, before the first import from it fails in its own way.

What a distribution brings may be older than what is written against: pydantic 1.10 on Debian 12
and Ubuntu 24.04, for one.
"""

from __future__ import annotations

import re

__all__ = ["require_library"]


def require_library(name: str, found: str, needed: str) -> None:
    """End the program if a library is too old.

    Args:
        name: As pip knows it.
        found: Version that is installed, such as ``1.10.4``.
        needed: The oldest that will do, such as ``2.5``.

    Raises:
        SystemExit: It is too old; the text is one line for people.
    """
    if _numbers(found) < _numbers(needed):
        raise SystemExit(
            f"{name} {found} is installed here, {needed} or newer is needed: "
            "see 'Build and start' in docs/ros2.md"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Its release numbers; what comes behind them (rc1, .dev0) does not count."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()
