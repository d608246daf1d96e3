"""The commands of ``apisctl`` that look at a running grid, or steer it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from apis_bringup.cli_options import RECORDING_NAME, AsJson, Cluster, Overwrite, finite, show
from apis_bringup.errors import CommandError

__all__ = ["query_app"]

query_app = typer.Typer(rich_markup_mode=None)

Wh = Annotated[float, typer.Option("--energy-wh", min=0.001, max=100_000.0, help="How much. [Wh]")]


def _unit_ids() -> list[str]:
    """Unit ids of the grid that runs here, for the shell's completion."""
    from apis_bringup import run_lock

    running = run_lock.find()
    return list(running.units) if running else []


UnitId = Annotated[str, typer.Argument(metavar="UNIT", autocompletion=_unit_ids)]


@query_app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    cluster: Cluster = None,
    as_json: AsJson = False,
) -> None:
    """Show how every unit is."""
    from apis_bringup import queries, tables

    grid = queries.GridSession(cluster)
    if watch:
        queries.watch(grid, as_json=as_json)
    else:
        show(queries.status(grid), as_json, tables.units)
        if not as_json:
            print(grid.authenticator)


@query_app.command()
def units(
    unit: Annotated[
        str | None,
        typer.Argument(metavar="UNIT", autocompletion=_unit_ids, help="Only this one."),
    ] = None,
    cluster: Cluster = None,
    as_json: AsJson = False,
) -> None:
    """Show every unit's battery, house and converter."""
    from apis_bringup import queries, tables

    show(queries.units(queries.GridSession(cluster), unit), as_json, tables.unit_details)


@query_app.command()
def deals(
    unit: Annotated[
        str | None,
        typer.Option(help="Only deals of this unit.", autocompletion=_unit_ids),
    ] = None,
    state: Annotated[
        Literal["queued", "running", "completed", "aborted", "scrammed"] | None,
        typer.Option(help="Only deals in this state."),
    ] = None,
    days: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=36_500.0,
            callback=finite,
            help="Deals of the last so many days of grid time; 0 = all.",
        ),
    ] = 1.0,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with all fields.")] = False,
    files: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write YEAR/MONTH/DAY/ID files of JSON there."),
    ] = None,
    cluster: Cluster = None,
    as_json: AsJson = False,
) -> None:
    """Show the deals: those under way, and past ones as the dashboard has kept them."""
    from apis_bringup import past_deals, queries, tables

    found = queries.deals(queries.GridSession(cluster), unit_id=unit, state=state, days=days)
    if files is not None:
        try:
            print(f"{past_deals.write_files(found, files)} deals are in {files}")
        except OSError as error:
            raise CommandError(f"--files {files}: {error.strerror}") from error
    elif as_csv:
        print(past_deals.as_csv(found), end="")
    else:
        show(found, as_json, tables.deals)


@query_app.command()
def faults(cluster: Cluster = None, as_json: AsJson = False) -> None:
    """Show the faults that were reported, and which are not over."""
    from apis_bringup import queries, tables

    show(queries.faults(queries.GridSession(cluster)), as_json, tables.faults)


@query_app.command()
def mode(
    mode: Annotated[
        Literal["run", "soft-stop", "force-stop", "manual", "unset"],
        typer.Argument(help="unset: a unit follows the cluster's mode again."),
    ],
    unit: Annotated[
        str | None,
        typer.Option(help="One unit instead of the cluster.", autocompletion=_unit_ids),
    ] = None,
    cluster: Cluster = None,
    as_json: AsJson = False,
) -> None:
    """Order an operation mode, and wait until it is in force."""
    from apis_bringup import queries

    text, modes = queries.set_mode(queries.GridSession(cluster, orders=True), mode, unit)
    print(json.dumps(modes, indent=1) if as_json else text)


@query_app.command()
def deal(
    giver: UnitId,
    taker: UnitId,
    energy_wh: Wh,
    current_a: Annotated[
        float | None, typer.Option(min=0.001, max=1000.0, help="Default: the policy's. [A]")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0.0, max=1e9, help="Default: none. [point/Wh]")
    ] = None,
    cluster: Cluster = None,
    as_json: AsJson = False,
) -> int:
    """Make a deal by hand and show how it goes; Ctrl-C ends it in order."""
    from apis_bringup import manual_deal, queries

    wish = manual_deal.Wish(giver, taker, energy_wh, current_a, price)
    return manual_deal.make_deal(queries.GridSession(cluster, orders=True), wish, as_json=as_json)


@query_app.command()
def schedule(
    at: Annotated[
        str | None,
        typer.Option(help="Stop softly then: 21:09 or 2026-11-22T21:09, at the grid's place."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Do not stop after all.")] = False,
    unit: Annotated[
        str | None,
        typer.Option(help="One unit instead of the cluster.", autocompletion=_unit_ids),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Order a Soft stop for later, or show those that are to come."""
    from apis_bringup import queries, tables
    from apis_bringup import schedule as keeper
    from apis_bringup.errors import usage_error

    if at is not None and clear:
        raise usage_error("--at", at, "and --clear exclude each other")
    grid = queries.GridSession(None)
    if at is not None or clear:
        keeper.set_schedule(grid, unit, at)
    show(keeper.schedules(grid), as_json, tables.schedules)


@query_app.command()
def echo(
    topic: Annotated[str, typer.Argument(help="Such as deals, e001/status or /clock.")],
    once: Annotated[bool, typer.Option("--once", help="One message only.")] = False,
    as_json: AsJson = False,
    cluster: Cluster = None,
) -> None:
    """Print what is said on a topic, until Ctrl-C."""
    from apis_bringup import queries

    queries.echo(queries.GridSession(cluster), topic, once=once, as_json=as_json)


@query_app.command()
def topics(cluster: Cluster = None, as_json: AsJson = False) -> None:
    """List the topics of the graph and their types."""
    from apis_bringup import queries

    found = queries.topics(queries.GridSession(cluster))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for name, type_name in found.items():
            print(f"{name}  [{type_name}]")


@query_app.command()
def scene(
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("docs/images/scene.png"),
    width: Annotated[int, typer.Option(min=320, help="Of the picture. [px]")] = 1440,
    height: Annotated[int, typer.Option(min=240, help="Of the picture. [px]")] = 900,
    flowing: Annotated[
        bool, typer.Option("--flowing", help="Wait until a current flows.")
    ] = False,
    cluster: Cluster = None,
) -> None:
    """Draw what RViz would show of a grid that runs with --markers."""
    from apis_bringup import queries
    from apis_bringup.scene import draw_scene

    draw_scene(queries.GridSession(cluster), out, width=width, height=height, flowing=flowing)
    print(f"picture: {out}")


@query_app.command()
def record(
    file: Annotated[Path, typer.Argument(help=RECORDING_NAME)],
    overwrite: Overwrite = False,
    config: Annotated[
        Path | None, typer.Option(help="Grid file, of a grid that runs elsewhere in real time.")
    ] = None,
) -> None:
    """Record all topics of a grid into a file, until Ctrl-C."""
    from apis_bringup import recording
    from apis_bringup.session import find_executable

    program = find_executable("apis_viz", "recorder")
    recording.record(program, file, config, overwrite=overwrite)
