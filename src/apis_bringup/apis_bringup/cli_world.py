"""``apisctl world``: what can be done to the emulated world of a running grid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from apis_bringup.cli_options import Cluster, finite

__all__ = ["world_app"]

world_app = typer.Typer(
    help="What can be done to the emulated world of a running grid; see docs/emulator.md.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@world_app.command("show")
def world_show(cluster: Cluster = None) -> None:
    """Show units, simulated time, speed, and what is broken."""
    _world("READ", cluster)


@world_app.command("speed")
def world_speed(
    speed: Annotated[
        float,
        typer.Argument(
            min=0.1, max=10_000.0, callback=finite, help="Simulated seconds per second."
        ),
    ],
    cluster: Cluster = None,
) -> None:
    """Let simulated time go faster or slower."""
    _world("SPEED", cluster, speed=speed)


@world_app.command("save")
def world_save(file: Path, cluster: Cluster = None) -> None:
    """Save the state of all emulated hardware."""
    _world("SAVE", cluster, file=str(file.resolve()))


@world_app.command("load")
def world_load(file: Path, cluster: Cluster = None) -> None:
    """Load a state; every converter must be in WAIT."""
    _world("LOAD", cluster, file=str(file.resolve()))


@world_app.command("reset")
def world_reset(cluster: Cluster = None) -> None:
    """Go back to the state at the start; every converter must be in WAIT."""
    _world("RESET", cluster)


@world_app.command("summary")
def world_summary(
    file: Annotated[Path, typer.Argument(help="Ends in .csv or .parquet.")],
    cluster: Cluster = None,
) -> None:
    """Write the energies by day and unit."""
    _world("SUMMARY", cluster, file=str(file.resolve()))


@world_app.command("add")
def world_add(
    file: Annotated[Path, typer.Argument(help="A unit (YAML), as in the grid file's units.")],
    cluster: Cluster = None,
) -> None:
    """Put up the hardware of one more unit."""
    from apis_bringup import emulated_world, queries

    _say(
        emulated_world.said(
            emulated_world.add_unit(queries.GridSession(cluster, orders=True), file)
        )
    )


@world_app.command("remove")
def world_remove(unit: str, cluster: Cluster = None) -> None:
    """Take the hardware of a unit away; its converter must be in WAIT."""
    _world("REMOVE_UNIT", cluster, unit_id=unit)


@world_app.command("break")
def world_break(
    kind: Annotated[
        Literal[
            "sensor-offset",
            "stuck-converter",
            "lost-communication",
            "battery-permit",
            "line-break",
        ],
        typer.Argument(help="What goes wrong."),
    ],
    unit: Annotated[str, typer.Argument(help="Where.")],
    to: Annotated[str, typer.Option(help="line-break: the other end of the line.")] = "",
    quantity: Annotated[
        str, typer.Option(help="sensor-offset: grid_voltage_v, grid_current_a, ...")
    ] = "",
    value: Annotated[
        float | None,
        typer.Option(callback=finite, help="sensor-offset: how much too high it reads."),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--for",
            metavar="SECONDS",
            min=0.001,
            callback=finite,
            help="Simulated; default: for good.",
        ),
    ] = None,
    cluster: Cluster = None,
) -> None:
    """Break something of the emulated hardware."""
    from apis_bringup import emulated_world, queries

    fields: dict[str, Any] = {"unit_id": unit, "other_unit_id": to, "quantity": quantity}
    fields |= {} if value is None else {"value": value}
    fields |= {} if duration is None else {"duration_s": duration}
    _say(
        emulated_world.said(
            emulated_world.inject(queries.GridSession(cluster, orders=True), kind, **fields)
        )
    )


@world_app.command("repair")
def world_repair(
    fault: Annotated[str, typer.Argument(help="Its id, such as F1, or all.")] = "all",
    cluster: Cluster = None,
) -> None:
    """Repair what is broken."""
    from apis_bringup import emulated_world, queries

    grid = queries.GridSession(cluster, orders=True)
    _say(emulated_world.said(emulated_world.repair(grid, "" if fault == "all" else fault)))


def _world(operation: str, cluster: str | None, **fields: Any) -> None:
    """Do it, and say what came of it."""
    from apis_bringup import emulated_world, queries
    from apis_interfaces.srv import EmulatorControl

    number = getattr(EmulatorControl.Request, f"OPERATION_{operation}")
    _say(
        emulated_world.said(
            emulated_world.control(queries.GridSession(cluster, orders=True), number, **fields)
        )
    )


def _say(lines: list[str]) -> None:
    print("\n".join(lines))
