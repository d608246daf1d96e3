"""Checks what the environment says to ROS 2, before ROS 2 does: each with one clear line.

Every program calls it before it imports rclpy.

ROS itself ends the process at the import of rclpy when its middleware is missing, waits for ever
where discovery is off, and fails with the text of some library for the rest.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from apis_core.model.errors import ApisError

__all__ = [
    "RosEnvironmentError",
    "check_ros_environment",
    "domain_id",
    "is_ros_usable",
    "log_folder_of_ours",
]

LAST_DOMAIN = 101  # the ports of a higher one are among those that the kernel gives to anybody
RANGES = ("SUBNET", "LOCALHOST", "SYSTEM_DEFAULT")


class RosEnvironmentError(ApisError):
    """ROS 2 could not work with the environment as it is; the message is one line for people."""


def is_ros_usable(program: str) -> bool:
    """Check the environment before a program imports rclpy; what is wrong is said as its line.

    Args:
        program: Name of the program, for that line.
    """
    try:
        check_ros_environment()
    except RosEnvironmentError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return False
    return True


def domain_id() -> int:
    """The ROS domain that this process uses.

    Raises:
        RosEnvironmentError: The variable says something else than a domain.
    """
    text = os.environ.get("ROS_DOMAIN_ID", "") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) <= LAST_DOMAIN):
        right = f"must be a whole number from 0 to {LAST_DOMAIN}"
        why = "the ports of higher domains are also given to other programs"
        raise RosEnvironmentError(f"ROS_DOMAIN_ID is {text!r}, {right}; {why}")
    return int(text)


def check_ros_environment() -> None:
    """Check the variables that ROS 2 reads; the log files get a place if there is none.

    Raises:
        RosEnvironmentError: Names the variable and what would be right.
    """
    domain_id()
    _check_discovery()
    _check_middleware()
    _make_log_folder()


def log_folder_of_ours() -> Path:
    """Where ROS writes its logs if the environment names no folder that can be written."""
    return Path(tempfile.gettempdir()) / f"apis-{os.getuid()}" / "log"


def _check_discovery() -> None:
    name = "ROS_AUTOMATIC_DISCOVERY_RANGE"
    value = os.environ.get(name, "")
    if value == "OFF":
        raise RosEnvironmentError(
            f"{name} is OFF: the nodes of a grid could not find each other; "
            "set it to LOCALHOST, or to SUBNET for units on several computers"
        )
    if value and value not in RANGES:
        raise RosEnvironmentError(f"{name} is {value!r}, must be one of {', '.join(RANGES)}")


def _check_middleware() -> None:
    name = "RMW_IMPLEMENTATION"
    value = os.environ.get(name, "")
    there = _middlewares()
    if value and there and value not in there:
        raise RosEnvironmentError(
            f"{name} is {value!r}, which is not installed; here is {', '.join(sorted(there))}"
        )


def _middlewares() -> set[str]:
    """The middlewares that are installed, as the ament index knows them."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(":")
    folders = [
        Path(prefix) / "share" / "ament_index" / "resource_index" / "rmw_typesupport"
        for prefix in prefixes
        if prefix
    ]
    found = {file.name for folder in folders if folder.is_dir() for file in folder.iterdir()}
    return found - {"rmw_implementation"}  # which only loads one of the others


def _make_log_folder() -> None:
    named = os.environ.get("ROS_LOG_DIR", "")
    home = os.environ.get("ROS_HOME") or (
        os.path.join(os.environ["HOME"], ".ros") if os.environ.get("HOME") else ""
    )
    folder = named or (os.path.join(home, "log") if home else "")
    if folder and _can_be_written(Path(folder).expanduser()):
        return
    if named:
        raise RosEnvironmentError(
            f"ROS_LOG_DIR is {named!r}, which cannot be written; name another folder, or unset it"
        )
    ours = log_folder_of_ours()
    if not _can_be_written(ours):
        raise RosEnvironmentError(f"{ours} cannot be written; set ROS_LOG_DIR or HOME to what can")
    os.environ["ROS_LOG_DIR"] = str(ours)


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
