"""``apisctl``: starts, stops, shows and steers a grid from the command line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

# Everything that takes long to import (ROS, pydantic) is imported by the command that needs it.
from apis_bringup.errors import CommandError
from apis_core.errors import ApisError, ConfigError

__all__ = ["app", "main"]

app = typer.Typer(
    name="apisctl",
    help="Starts, stops, shows and steers a grid of APIS units.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

STOPS_WITHIN_S = 25.0  # wall; what a run allows its processes, and some

Units = Annotated[int | None, typer.Option(min=1, max=999, help="Number of units.")]
Speed = Annotated[
    float | None,
    typer.Option(min=0.01, max=10_000.0, help="Simulated seconds per second."),
]
Config = Annotated[Path | None, typer.Option(help="Grid file; default config/sim_grid.yaml.")]
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
KeepJournal = Annotated[
    bool, typer.Option("--keep-journal", help="Units remember what they did in the last run.")
]
Cluster = Annotated[
    str | None, typer.Option(help="Cluster; default the one that runs here, else village.")
]
MARKERS = typer.Option("--markers", help="Draw the grid for RViz (topic markers, TF).")
METRICS_PORT = typer.Option(
    min=1, max=65535, help="Serve metrics for Prometheus on this port of 127.0.0.1."
)
COMPAT_HTTP = typer.Option(
    "--compat-http", help="Serve the original's HTTP interfaces (43830, 43900, 9999)."
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def run(
    units: Units = None,
    speed: Speed = None,
    config: Config = None,
    port: Port = None,
    no_web: Annotated[bool, typer.Option("--no-web", help="Without the dashboard.")] = False,
    composition: Compose = None,
    seed: Seed = None,
    device: Device = None,
    keep_journal: KeepJournal = False,
    markers: Annotated[bool, MARKERS] = False,
    metrics_port: Annotated[int | None, METRICS_PORT] = None,
    compat_http: Annotated[bool, COMPAT_HTTP] = False,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record all topics into this MCAP file.")
    ] = None,
) -> int:
    """Start a grid with emulated houses, and stop it on Ctrl-C."""
    from apis_bringup.overrides import Overrides
    from apis_bringup.processes import Extras
    from apis_bringup.session import GridOptions, open_session

    overrides = Overrides(units, speed, seed, port, composition, device)
    extras = Extras(markers, metrics_port, compat_http, record.resolve() if record else None)
    options = GridOptions(
        config, overrides, web=not no_web, keep_journal=keep_journal, extras=extras
    )
    with open_session(options) as session:
        grid = session.grid
        session.runner.say(
            f"{len(grid.units)} units, {grid.emulator.speed:g} times as fast as the clock; "
            f"files in {os.path.relpath(session.run.path)}"
        )
        if session.url:
            session.runner.say(f"dashboard: {session.url}", colour="1;36")
        if metrics_port:
            session.runner.say(f"metrics: http://127.0.0.1:{metrics_port}/metrics")
        session.runner.say("Ctrl-C stops deals, puts every converter to WAIT and ends everything")
        return session.runner.run()


@app.command()
def stop() -> None:
    """Stop the grid that runs here."""
    from apis_bringup import run_lock

    grid = run_lock.find()
    if grid is None:
        print(f"nothing is running on ROS_DOMAIN_ID {run_lock.domain_id()}")
    elif run_lock.stop(grid, within_s=STOPS_WITHIN_S):
        print(f"stopped {grid.cluster}")
    else:
        raise CommandError(f"process {grid.pid} still runs after {STOPS_WITHIN_S:g} s")


@app.command()
def status(cluster: Cluster = None, as_json: AsJson = False) -> None:
    """Show how every unit is."""
    from apis_bringup import look, tables

    _show(look.status(look.Grid(cluster)), as_json, tables.units)


@app.command()
def deals(cluster: Cluster = None, as_json: AsJson = False) -> None:
    """Show the deals."""
    from apis_bringup import look, tables

    _show(look.deals(look.Grid(cluster)), as_json, tables.deals)


@app.command()
def mode(
    mode: Annotated[
        Literal["run", "soft-stop", "force-stop", "manual", "unset"],
        typer.Argument(help="unset: a unit follows the cluster's mode again."),
    ],
    unit: Annotated[str | None, typer.Option(help="One unit instead of the cluster.")] = None,
    cluster: Cluster = None,
) -> None:
    """Order an operation mode, and wait until it is in force."""
    from apis_bringup import look

    print(look.set_mode(look.Grid(cluster), mode, unit))


@app.command()
def echo(
    topic: Annotated[str, typer.Argument(help="Such as deals, e001/status or /clock.")],
    once: Annotated[bool, typer.Option("--once", help="One message only.")] = False,
    as_json: AsJson = False,
    cluster: Cluster = None,
) -> None:
    """Print what is said on a topic, until Ctrl-C."""
    from apis_bringup import look

    look.echo(look.Grid(cluster), topic, once=once, as_json=as_json)


@app.command()
def topics(cluster: Cluster = None, as_json: AsJson = False) -> None:
    """List the topics of the graph and their types."""
    from apis_bringup import look

    found = look.topics(look.Grid(cluster))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for name, type_name in found.items():
            print(f"{name}  [{type_name}]")


@app.command()
def check(config: Config = None, units: Units = None) -> None:
    """Read a grid file and everything it refers to, and print all that is wrong."""
    from apis_bringup.grid_file import resolve
    from apis_bringup.overrides import Overrides
    from apis_bringup.session import default_config

    path = config or default_config()
    resolved = resolve(path, Overrides(units=units))
    for warning in resolved.warnings:
        print(f"warning: {warning}")
    print(f"{os.path.relpath(path)} is right: {len(resolved.description.units)} units")


@app.command()
def sim(
    units: Units = None,
    speed: Speed = None,
    duration: Annotated[
        float,
        typer.Option("--for", metavar="SECONDS", min=1.0, help="Simulated seconds to run."),
    ] = 7200.0,
    report: Annotated[Path, typer.Option(metavar="FILE", help="Where the report goes.")] = Path(
        "report.json"
    ),
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
) -> int:
    """Run a grid without a window for some simulated time, and write a report."""
    from apis_bringup import tables
    from apis_bringup.overrides import Overrides
    from apis_bringup.session import GridOptions
    from apis_bringup.sim import run_sim

    overrides = Overrides(units=units, speed=speed, seed=seed, device=device)
    options = GridOptions(config, overrides, web=False, quiet=True)
    code, content = run_sim(options, duration_s=duration, report_file=report)
    tables.summary(content)
    print(f"report: {report}")
    return code


@app.command()
def simtest(
    seeds: Annotated[str, typer.Option(metavar="A:B", help="Seeds A to B - 1.")] = "0:100",
    units: Annotated[int, typer.Option(min=3, max=100, help="Number of units.")] = 8,
    hours: Annotated[float, typer.Option(help="Simulated hours of a run.")] = 1.0,
    profile: Annotated[
        Literal["mixed", "calm", "partition", "crash"], typer.Option(help="What goes wrong.")
    ] = "mixed",
    replay: Annotated[
        int | None, typer.Option(metavar="SEED", help="This seed only, the same to the byte.")
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="With --replay: every line.")] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Keep failing seeds in tests/seeds.")
    ] = False,
) -> int:
    """Hunt for a schedule that breaks the protocol, in virtual time, on all cores."""
    from apis_bringup.simtest import SimtestOptions, run_simtest

    return run_simtest(SimtestOptions(seeds, units, hours, profile, replay, trace, save))


@app.command()
def emulator(
    units: Annotated[int, typer.Option(min=1, max=999, help="Number of units.")] = 4,
    physics: Annotated[
        Literal["compat"], typer.Option(help="compat: the original emulator's formulas.")
    ] = "compat",
    http: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Of its HTTP interface; 0: any.")
    ] = 4390,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    acceleration: Annotated[
        float, typer.Option(min=0.1, max=10_000.0, help="Emulated seconds a step.")
    ] = 10.0,
    period: Annotated[
        float, typer.Option(min=0.001, max=3600.0, metavar="SECONDS", help="Wall time of a step.")
    ] = 1.0,
    solar_csv: Annotated[
        Path | None, typer.Option(help="Sun, in the original's format; default: modelled.")
    ] = None,
    load_csv: Annotated[
        Path | None, typer.Option(help="Load, in the original's format; default: modelled.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is modelled.")] = 1,
    state: Annotated[
        Path, typer.Option(metavar="FILE", help="Where /save writes and /get/last reads.")
    ] = Path("emulator_state.json"),
    summary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Gets the days' energies (CSV) at the end.")
    ] = None,
) -> None:
    """Start the emulator alone, for programs that speak the original's HTTP interface."""
    from apis_bringup.emulator import CompatOptions, run_compat_emulator

    run_compat_emulator(
        CompatOptions(
            units=units,
            host=host,
            port=http,
            acceleration=acceleration,
            period_s=period,
            seed=seed,
            state=state,
            solar_csv=solar_csv,
            load_csv=load_csv,
            summary=summary,
        )
    )


@app.command("check-transcript")
def check_transcript(
    file: Annotated[Path, typer.Argument(help="Requests to the original, and its answers.")],
) -> None:
    """Play a recording of the original emulator's HTTP interface against ours, and compare."""
    from apis_bringup.emulator import check_transcript

    check_transcript(file)


@app.command("check-vectors")
def check_vectors(
    file: Annotated[Path, typer.Argument(help="Test vectors of the format eza2500-vectors/1.")],
) -> None:
    """Run recorded frames of an EZA2500 through the driver's codec, and say what fails."""
    from apis_bringup.become import become

    become("apis_driver.vectors", str(file))


@app.command()
def screenshot(
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("docs/images/dashboard.png"),
    width: Annotated[int, typer.Option(min=320, help="Of the window. [px]")] = 1440,
    height: Annotated[int, typer.Option(min=240, help="Of the window. [px]")] = 900,
    dark: Annotated[bool, typer.Option("--dark", help="In dark colours.")] = False,
    units: Units = None,
    speed: Speed = None,
    config: Config = None,
    seed: Seed = None,
) -> int:
    """Start a grid, wait until energy flows, and take a picture of the dashboard."""
    from apis_bringup.overrides import Overrides
    from apis_bringup.picture import free_port, take_picture
    from apis_bringup.session import GridOptions

    overrides = Overrides(units=units, speed=speed, seed=seed, port=free_port())
    options = GridOptions(config, overrides, quiet=True)
    code = take_picture(options, out, width=width, height=height, dark=dark)
    print(f"picture: {out}")
    return code


@app.command()
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
    from apis_bringup import look
    from apis_bringup.scene import draw_scene

    draw_scene(look.Grid(cluster), out, width=width, height=height, flowing=flowing)
    print(f"picture: {out}")


def _show(records: list[dict[str, Any]], as_json: bool, table: Callable[..., None]) -> None:
    if as_json:
        print(json.dumps(records, indent=1))
    else:
        table(records)


def main() -> None:
    """Run a command; what goes wrong is said in plain lines."""
    usage_error_type = typer.BadParameter.__mro__[1]  # where click has it depends on the version
    try:
        sys.exit(app(prog_name="apisctl", standalone_mode=False) or 0)
    except usage_error_type as error:
        command = error.ctx.command_path if error.ctx else "apisctl"
        _fail(f"{error.format_message().rstrip('.')} (see {command} --help)", 2)
    except ConfigError as error:
        _fail(str(error), 2)
    except ApisError as error:
        _fail(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:  # `apisctl echo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _fail(text: str, code: int) -> None:
    for line in text.splitlines():
        print(f"apisctl: {line}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
