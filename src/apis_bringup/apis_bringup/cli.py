"""``apisctl``: starts, stops, shows and steers a grid from the command line.

Size: each command is a signature with its options, and a call; cut up, the list of commands would
stand nowhere.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

# Everything that takes long to import (ROS, pydantic) is imported by the command that needs it.
from apis_bringup.cli_keys import keys_app
from apis_bringup.cli_options import (
    RECORDING_NAME,
    CompatHttp,
    Compose,
    Config,
    Device,
    Faults,
    KeepJournal,
    KeyFolder,
    Markers,
    MetricsPort,
    Overwrite,
    Port,
    Seed,
    Speed,
    StudyConfig,
    Units,
    finite,
    read_faults,
)
from apis_bringup.cli_query import query_app
from apis_bringup.cli_world import world_app
from apis_bringup.errors import CommandError
from apis_bringup.signals import obey_signals
from apis_core.model.errors import ApisError, ConfigError

__all__ = ["app", "main"]

app = typer.Typer(
    name="apisctl",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(query_app)
app.add_typer(world_app, name="world")
app.add_typer(keys_app, name="keys")

# Everything else joins the graph.
WITHOUT_ROS: tuple[str, ...] = ("check", "completion", "emulator", "keys", "scenario")
WITHOUT_ROS += ("check-transcript", "check-vectors", "simtest", "study")
STOPS_WITHIN_S = 90.0  # wall; what a run at speed 1 allows its processes, and some


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        print(f"apisctl {version('apis_bringup')}")
        raise typer.Exit


@app.callback()
def _before(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Starts, stops, shows and steers a grid of APIS units."""
    if context.invoked_subcommand not in WITHOUT_ROS:
        from apis_ros.ros_environment import check_ros_environment

        check_ros_environment()


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
    faults: Faults = None,
    keep_journal: KeepJournal = False,
    keys: KeyFolder = None,
    markers: Markers = False,
    metrics_port: MetricsPort = None,
    compat_http: CompatHttp = False,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"Record all topics. {RECORDING_NAME}")
    ] = None,
    overwrite: Overwrite = False,
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast", help="The first process that dies ends all; for tests."),
    ] = False,
) -> int:
    """Start a grid with emulated houses, and stop it on Ctrl-C."""
    from apis_bringup.overrides import Overrides
    from apis_bringup.processes import Extras
    from apis_bringup.recording_file import recording_file
    from apis_bringup.session import GridOptions, open_session

    overrides = Overrides(units, speed, seed, port, composition, device, keys, read_faults(faults))
    file = recording_file(record, overwrite=overwrite) if record else None
    extras = Extras(markers, metrics_port, compat_http, file, overwrite)
    options = GridOptions(
        config,
        overrides,
        web=not no_web,
        keep_journal=keep_journal,
        fail_fast=fail_fast,
        extras=extras,
    )
    with open_session(options) as session:
        grid = session.grid
        session.runner.say(
            f"{len(grid.units)} units, {grid.emulator.speed:g} times as fast as the clock; "
            f"files in {os.path.relpath(session.run.path)}"
        )
        session.runner.say(
            f"signed grid: only words signed with keys in {os.path.relpath(grid.keys)} count"
            if grid.keys
            else "open grid: no keys, every word on this machine counts"
        )
        if session.url:
            session.runner.say(f"dashboard: {session.url}", colour="1;36")
        if metrics_port:
            session.runner.say(f"metrics: http://127.0.0.1:{metrics_port}/metrics")
        session.runner.say("Ctrl-C stops deals, puts every converter to WAIT and ends everything")
        return session.runner.run()


@app.command()
def replay(
    file: Annotated[
        Path, typer.Argument(help="MCAP file, or folder with one, from `apisctl record`.")
    ],
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            callback=finite,
            help="Recorded seconds per second; default as it was recorded.",
        ),
    ] = None,
    start: Annotated[
        float,
        typer.Option(min=0.0, callback=finite, help="Leave out so much of its beginning. [s]"),
    ] = 0.0,
    port: Port = None,
    no_web: Annotated[bool, typer.Option("--no-web", help="Without the dashboard.")] = False,
    markers: Markers = False,
) -> int:
    """Show a recorded day on the dashboard, until Ctrl-C."""
    from apis_bringup.overrides import Overrides
    from apis_bringup.processes import Extras, Replay
    from apis_bringup.recording_file import recorded_file
    from apis_bringup.session import GridOptions, open_session

    options = GridOptions(
        overrides=Overrides(port=port),
        web=not no_web,
        extras=Extras(markers=markers),
        replay=Replay(recorded_file(file), speed or 0.0, start),
    )
    with open_session(options) as session:
        if session.url:
            session.runner.say(f"dashboard: {session.url}", colour="1;36")
        return session.runner.run()


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Your shell.")],
) -> None:
    """Print what makes a shell complete apisctl: source <(./apisctl completion bash)."""
    from typer.completion import (  # type: ignore[attr-defined]
        get_completion_script,
    )

    script = get_completion_script(
        prog_name="apisctl", complete_var="_APISCTL_COMPLETE", shell=shell
    )
    print(script)


@app.command()
def stop() -> None:
    """Stop the grid that runs here."""
    from apis_bringup import run_lock

    grid = run_lock.find()
    if grid is None and (pids := run_lock.leftovers()):
        killed = run_lock.stop_leftovers(pids, within_s=STOPS_WITHIN_S)
        what = f"{len(pids)} processes of a grid whose runner was gone"
        print(f"stopped {what}" + (f"; {len(killed)} of them had to be killed" if killed else ""))
    elif grid is None:
        print(f"nothing is running on ROS_DOMAIN_ID {run_lock.domain_id()}")
    elif run_lock.stop(grid, within_s=STOPS_WITHIN_S):
        print(f"stopped {grid.cluster}")
    else:
        raise CommandError(f"process {grid.pid} still runs after {STOPS_WITHIN_S:g} s")


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
        typer.Option(
            "--for", metavar="SECONDS", min=1.0, callback=finite, help="Simulated seconds to run."
        ),
    ] = 7200.0,
    report: Annotated[Path, typer.Option(metavar="FILE", help="Where the report goes.")] = Path(
        "report.json"
    ),
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    faults: Faults = None,
    keys: KeyFolder = None,
) -> int:
    """Run a grid without a window for some simulated time, and write a report."""
    from apis_bringup import tables
    from apis_bringup.overrides import Overrides
    from apis_bringup.session import GridOptions
    from apis_bringup.sim import run_sim

    overrides = Overrides(
        units=units,
        speed=speed,
        seed=seed,
        device=device,
        keys=keys,
        faults=read_faults(faults),
    )
    options = GridOptions(config, overrides, web=False, quiet=True, fail_fast=True)
    code, content = run_sim(options, duration_s=duration, report_file=report)
    tables.summary(content)
    print(f"report: {report}")
    return code


@app.command()
def simtest(
    seeds: Annotated[str, typer.Option(metavar="A:B", help="Seeds A to B - 1.")] = "0:100",
    units: Annotated[int, typer.Option(min=3, max=100, help="Number of units.")] = 8,
    hours: Annotated[
        float, typer.Option(min=0.001, callback=finite, help="Simulated hours of a run.")
    ] = 1.0,
    profile: Annotated[
        Literal["mixed", "calm", "partition", "crash", "gateway", "hardware"],
        typer.Option(help="What goes wrong."),
    ] = "mixed",
    replay: Annotated[
        int | None, typer.Option(metavar="SEED", help="This seed only, the same to the byte.")
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="With --replay: every line.")] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Keep failing seeds in tests/seeds.")
    ] = False,
    interpreted: Annotated[
        bool, typer.Option("--interpreted", help="Run the sources as they are; slower.")
    ] = False,
) -> None:
    """Hunt for a schedule that breaks the protocol, in virtual time, on all cores."""
    from apis_bringup.simtest import SimtestOptions, run_simtest

    run_simtest(SimtestOptions(seeds, units, hours, profile, replay, trace, save, interpreted))


@app.command()
def scenario(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Scenario files (YAML).")],
    json: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Gets the facts and the verdicts.")
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Every line of what happens.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="P.png", help="Gets bus voltage, currents, modes and deals."),
    ] = None,
) -> None:
    """Tell stories to a simulated grid, in virtual time, and check what must be true of them."""
    from apis_bringup.scenario import run_scenarios

    run_scenarios(files, json=json, trace=trace, plot=plot)


@app.command()
def study(
    file: Annotated[
        Path | None, typer.Argument(help="Grid file with a section study; default: --config.")
    ] = None,
    config: StudyConfig = None,
    days: Annotated[
        float | None,
        typer.Option(min=0.01, max=3650.0, callback=finite, help="Simulated days."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets the results.")] = Path("study"),
    step: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=3600.0, metavar="SECONDS", callback=finite, help="Length of a step."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a study that was interrupted.")
    ] = False,
    units: Units = None,
    seed: Seed = None,
) -> None:
    """Say what exchange brings to a village: with and without it, over a year."""
    from apis_bringup.overrides import Overrides
    from apis_bringup.session import default_config
    from apis_bringup.study import run_study

    overrides = Overrides(units=units, seed=seed)
    run_study(
        file or config or default_config(),
        overrides,
        days=days,
        step_s=step,
        out=out,
        resume=resume,
    )


@app.command()
def emulator(
    units: Annotated[int, typer.Option(min=1, max=999, help="Number of units.")] = 4,
    physics: Annotated[
        Literal["compat", "full"],
        typer.Option(help="compat: the original emulator's formulas. full: ours."),
    ] = "compat",
    http: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Of its HTTP interface; 0: any.")
    ] = 4390,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    acceleration: Annotated[
        float,
        typer.Option(min=0.1, max=10_000.0, callback=finite, help="Emulated seconds a step."),
    ] = 10.0,
    period: Annotated[
        float,
        typer.Option(
            min=0.001, max=3600.0, metavar="SECONDS", callback=finite, help="Wall time of a step."
        ),
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
    from apis_bringup.emulator import EmulatorOptions, run_emulator

    run_emulator(
        EmulatorOptions(
            units=units,
            physics=physics,
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
    from apis_bringup.exec_module import exec_module

    exec_module("apis_driver.vectors", str(file))


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
    options = GridOptions(config, overrides, quiet=True, fail_fast=True)
    code = take_picture(options, out, width=width, height=height, dark=dark)
    print(f"picture: {out}")
    return code


def main() -> None:
    """Run a command; what goes wrong is said in plain lines."""
    obey_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # its encoding may not know every name
            stream.reconfigure(errors="backslashreplace")
    # where click has it depends on the version
    usage_error_type: Any = typer.BadParameter.__mro__[1]
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
