"""Finds the class of a device by its kind, and makes it from its part of the grid file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from apis_core.config.error_messages import problems_from_pydantic, suggestion
from apis_core.model.errors import ConfigError, Problem
from apis_driver.device import BatteryDevice, DcdcDevice
from apis_driver.errors import OutOfRange

__all__ = [
    "BATTERY",
    "DCDC",
    "battery_settings",
    "check_settings",
    "kinds_of",
    "make_battery",
    "make_dcdc",
    "read_settings",
    "with_files_in",
]

Settings = TypeVar("Settings", bound=BaseModel)

DCDC, BATTERY = "apis_driver.dcdc", "apis_driver.battery"  # groups of entry points
_WORDS = {DCDC: "converter", BATTERY: "battery"}


def kinds_of(group: str) -> dict[str, EntryPoint]:
    """Devices that are installed, by their kinds."""
    return {entry.name: entry for entry in entry_points(group=group)}


def make_dcdc(settings: Mapping[str, Any], source: str, key: str = "converter") -> DcdcDevice:
    """A converter, not yet open.

    Args:
        settings: Its part of the grid file: ``kind``, and what that kind asks for.
        source: The file's name; stands in every problem.
        key: Where in the file the settings stand.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    device: DcdcDevice = _make(DCDC, settings, source, key)
    return device


def make_battery(settings: Mapping[str, Any], source: str, key: str = "battery") -> BatteryDevice:
    """A battery, not yet open; see :func:`make_dcdc`."""
    device: BatteryDevice = _make(BATTERY, settings, source, key)
    return device


def battery_settings(driver: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the battery of a unit's driver is made from; None = somebody else reads it.

    A device that stands for the whole unit (``battery_kind`` of its class) has the battery, too,
    and needs no settings of its own.
    """
    if driver.get("battery"):
        settings: Mapping[str, Any] = driver["battery"]
        return settings
    converter = driver.get("converter") or {}
    entry = kinds_of(DCDC).get(str(converter.get("kind")))
    kind = None if entry is None else getattr(entry.load(), "battery_kind", None)
    return None if kind is None else {**converter, "kind": kind}


def check_settings(driver: Mapping[str, Any], source: str, key: str) -> list[Problem]:
    """What is wrong with the settings of a unit's driver, without anything being opened.

    Args:
        driver: ``converter`` and, perhaps, ``battery``, ``rules`` and ``http``.
        source: The file's name; stands in every problem.
        key: Where in the file they stand.
    """
    from apis_driver.http_server import HttpServerSettings
    from apis_driver.rules import GovernorSettings

    problems: list[Problem] = []
    for name, check in (
        ("converter", make_dcdc),
        ("battery", make_battery),
        ("rules", partial(read_settings, GovernorSettings)),
        ("http", partial(read_settings, HttpServerSettings)),
    ):
        if name in driver:
            try:
                check(driver[name], source, f"{key}.{name}")
            except ConfigError as error:
                problems += error.problems
    return problems


def with_files_in(folder: Path, driver: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a unit's driver with file names, relative to a folder, made absolute.

    Args:
        folder: Where the file stands that the settings are from.
        driver: As for :func:`check_settings`; what is wrong in it stays as it is.
    """
    found = dict(driver)
    for name, group in (("converter", DCDC), ("battery", BATTERY)):
        settings = found.get(name) or {}
        entry = kinds_of(group).get(settings.get("kind", ""))
        if entry is not None:
            found[name] = entry.load().Settings.with_files_in(folder, settings)
    return found


def read_settings(
    kind: type[Settings], values: Mapping[str, Any], source: str, key: str
) -> Settings:
    """Settings of a kind.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        schema = kind.model_json_schema()
        raise ConfigError(problems_from_pydantic(error, source, schema, prefix=(key,))) from error


def _make(group: str, settings: Mapping[str, Any], source: str, key: str) -> Any:
    kinds = kinds_of(group)
    kind = settings.get("kind")
    if kind not in kinds:
        right = f"must be the kind of a {_WORDS[group]}: {', '.join(sorted(kinds))}"
        right += suggestion(str(kind), kinds) if kind else ""
        raise ConfigError(
            [Problem(source, f"{key}.kind", "" if kind is None else str(kind), right)]
        )
    try:
        made = kinds[kind].load()
    except ImportError as error:
        right = f"cannot be loaded: {error}"
        raise ConfigError([Problem(source, f"{key}.kind", str(kind), right)]) from error
    rest = {name: value for name, value in settings.items() if name != "kind"}
    settings = read_settings(made.Settings, rest, source, key)
    try:
        return made(settings)
    except OutOfRange as error:
        raise ConfigError([Problem(source, key, "", str(error))]) from error
