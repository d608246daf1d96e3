"""Options that several commands of ``apisctl`` have, and how they print records."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

__all__ = [
    "RECORDING_NAME",
    "AsJson",
    "Cluster",
    "CompatHttp",
    "Compose",
    "Config",
    "Device",
    "Faults",
    "KeepJournal",
    "KeyFolder",
    "Markers",
    "MetricsPort",
    "Overwrite",
    "Port",
    "Seed",
    "Speed",
    "StudyConfig",
    "Units",
    "finite",
    "read_faults",
    "show",
]


def finite(value: float | None) -> float | None:
    """The same number; NaN and infinity, which every range lets through, are none."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number that makes sense here")
    return value


Units = Annotated[int | None, typer.Option(min=1, max=999, help="Number of units.")]
Speed = Annotated[
    float | None,
    typer.Option(min=0.01, max=10_000.0, callback=finite, help="Simulated seconds per second."),
]
Config = Annotated[Path | None, typer.Option(help="Grid file; default config/sim_grid.yaml.")]
StudyConfig = Annotated[
    Path | None,
    typer.Option("--config", "--grid", help="Grid file; default config/sim_grid.yaml."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the emulated world.")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the dashboard.")]
Compose = Annotated[
    Literal["separate", "shared", "auto"] | None,
    typer.Option(help="Unit nodes: a process each, one for all, or as their number asks."),
]
Device = Annotated[
    Literal["native", "serial", "http"] | None,
    typer.Option(help="How every unit reaches its converter; default as the grid file has it."),
]
Faults = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What breaks when (YAML); see docs/emulator.md."),
]
KeepJournal = Annotated[
    bool, typer.Option("--keep-journal", help="Units remember what they did in the last run.")
]
KeyFolder = Annotated[
    Path | None,
    typer.Option("--keys", metavar="DIR", help="Keys of the grid: only signed words count."),
]
Cluster = Annotated[
    str | None, typer.Option(help="Cluster; default the one that runs here, else village.")
]
Markers = Annotated[
    bool, typer.Option("--markers", help="Draw the grid for RViz (topic markers, TF).")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Serve metrics for Prometheus on this port."),
]
CompatHttp = Annotated[
    bool,
    typer.Option(
        "--compat-http", help="Serve the original's HTTP interfaces (43830, 43900, 9999)."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def read_faults(file: Path | None) -> list[Any] | None:
    """The faults in a file; None if no file is meant.

    Raises:
        ConfigError: It cannot be read, or has no list.
    """
    if file is None:
        return None
    from apis_bringup.emulated_world import read_faults

    return read_faults(file)


RECORDING_NAME = "MCAP file, or without a suffix a folder as ros2 bag makes it; must not be there."
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a recording of that name.")]


def show(records: list[dict[str, Any]], as_json: bool, table: Callable[..., None]) -> None:
    """Print records as a table, or as JSON."""
    if as_json:
        print(json.dumps(records, indent=1))
    else:
        table(records)
