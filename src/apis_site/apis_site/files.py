"""Reads the files of a grid that people write: whole, as text, and never without end.

`check` and every node read with this, so that what one of them takes, all of them take.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from apis_core.model.errors import ConfigError, Problem

__all__ = ["TEXT_LIMIT_BYTES", "read_text"]

TEXT_LIMIT_BYTES = 1 << 20  # the policy of a grid of 999 units has a tenth of it
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_text(
    file: str | Path,
    source: str | None = None,
    *,
    what: str = "",
    limit_bytes: int = TEXT_LIMIT_BYTES,
) -> str:
    """The text of an ordinary file, without waiting for anybody to write it.

    Args:
        file: Which.
        source: Its name as the user gave it; stands in every problem.
        what: What it is for, such as ``the grid file``; stands in every problem, too.
        limit_bytes: A larger file is something else.

    Raises:
        ConfigError: It is not there, cannot be read, is no ordinary file, too large, or not UTF-8.
    """
    source = str(file) if source is None else source
    why = f" ({what})" if what else ""
    try:
        data = _read(file, limit_bytes)
        return data.decode("utf-8-sig")  # some editors put a byte order mark in front
    except FileNotFoundError:
        right = f"no such file{why}"
    except OSError as error:
        right = f"cannot be read{why}: {error.strerror or error}"
    except UnicodeDecodeError as error:
        right = f"must be UTF-8 text{why}: {_not_utf8(error)}"
    except ValueError as error:  # also a name with a zero byte
        right = f"{error}{why}"
    raise ConfigError([Problem(source, "", "", right)])


def _read(file: str | Path, limit_bytes: int) -> bytes:
    # Opened without waiting, for a pipe would wait for somebody at its other end.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"must be an ordinary file, not {_KINDS.get(stat.S_IFMT(mode))}")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            data = stream.read(limit_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit_bytes:
        raise ValueError(f"must not be larger than {limit_bytes:,} bytes")
    return data


def _not_utf8(error: UnicodeDecodeError) -> str:
    data: bytes = error.object
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "this is UTF-16; save it as UTF-8"
    line = data.count(b"\n", 0, error.start) + 1
    return f"byte 0x{data[error.start]:02X} in line {line} is not"
