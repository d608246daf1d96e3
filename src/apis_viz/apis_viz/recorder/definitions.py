"""The text of a message type with all that it is made of, as MCAP's schema encoding `ros2msg`."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from rosidl_adapter.parser import parse_message_string

__all__ = ["definition"]

SEPARATOR = "=" * 80


def definition(type_name: str) -> str:
    """The definitions of a type such as ``apis_interfaces/msg/Deal`` and of the types in it.

    Raises:
        LookupError: It is no name of a message type; the package, or its message file, is not
            installed.
    """
    words = type_name.split("/")
    if len(words) != 3:
        raise LookupError(f"{type_name} is no name of a message type")
    package, _, name = words
    parts, known = [_text(package, name)], {(package, name)}
    waiting = _parts_of(package, name, parts[0])
    while waiting:
        package, name = waiting.pop(0)
        if (package, name) in known:
            continue
        known.add((package, name))
        text = _text(package, name)
        parts.append(f"{SEPARATOR}\nMSG: {package}/{name}\n{text}")
        waiting += _parts_of(package, name, text)
    return "\n".join(parts)


def _parts_of(package: str, name: str, text: str) -> list[tuple[str, str]]:
    fields = parse_message_string(package, name, text).fields
    return [(f.type.pkg_name, f.type.type) for f in fields if f.type.pkg_name]


def _text(package: str, name: str) -> str:
    file = Path(get_package_share_directory(package)) / "msg" / f"{name}.msg"
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise LookupError(f"{package}/msg/{name}: {file.name} is not installed") from error
