"""``python -m apis_compat.emulator serve|check``: what ``apisctl emulator`` and ``apisctl
check-transcript`` start.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from apis_core.model.errors import ConfigError, Problem

__all__ = ["main"]

PLAIN = "the original's formulas"


def main(arguments: list[str] | None = None) -> int:
    """0 if all is well, 1 if a recording differs or the port is busy, 2 if a file is wrong."""
    options = _parser().parse_args(arguments)
    try:
        return _check(options.file) if options.command == "check" else _serve(options)
    except ConfigError as error:
        for problem in error.problems:
            print(f"apisctl: {problem}", file=sys.stderr)
        return 2


def _check(file: Path) -> int:
    from apis_compat.emulator.transcript import play, read_transcript

    transcript = read_transcript(file)
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        for session in transcript.sessions:
            meta = transcript.meta
            played = play(session, meta, Path(folder) / f"{len(session.id)}.json")
            differing += len(played.differing)
            for line in played.differing:
                print(line)
            calls = sum(step.request is not None for step in session.calls)
            acceleration = session.acceleration(meta.settings.acc)
            verdict = f"{len(played.differing)} fields differ" if played.differing else "matches"
            if not played.compared:
                verdict = "nothing to be matched"
            print(
                f"{session.id}: acceleration {acceleration:g}, {calls} calls, "
                f"{played.compared} compared: {verdict}"
            )
    return int(differing > 0)


def _serve(options: argparse.Namespace) -> int:
    from apis_compat.emulator.full import FullEmulation
    from apis_compat.emulator.interface import Interface
    from apis_compat.emulator.model import Emulation, whole_if_it_is
    from apis_compat.emulator.server import Server
    from apis_compat.emulator.sources import inputs_of

    inputs = inputs_of(options.solar_csv, options.load_csv, options.seed)
    if options.units > inputs.houses:
        right = f"there is a load for {inputs.houses} units only"
        raise ConfigError([Problem("command line", "--units", str(options.units), right)])
    is_full = options.physics == "full"
    emulation = (FullEmulation if is_full else Emulation)(
        inputs, whole_if_it_is(options.acceleration)
    )
    for _ in range(options.units):
        emulation.add_unit()
    try:
        server = Server(
            emulation,
            Interface(emulation, options.state),
            host=options.host,
            port=options.http,
            period_s=options.period,
        )
    except OSError as error:
        print(
            f"apisctl: --http {options.http} is not free on {options.host} ({error.strerror})",
            file=sys.stderr,
        )
        return 1

    def end(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    print(
        f"{options.units} units with {'the full physics' if is_full else PLAIN} on "
        f"http://{options.host}:{server.port}; Ctrl-C ends it",
        flush=True,
    )
    server.run()
    if options.summary is not None:
        emulation.accounts.write_csv(options.summary)
        print(f"{len(emulation.accounts.days)} days are in {options.summary}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m apis_compat.emulator")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="play a recording")
    check.add_argument("file", type=Path)
    serve = commands.add_parser("serve", help="emulate, and answer on a port")
    serve.add_argument("--units", type=int, default=4)
    serve.add_argument("--physics", choices=("compat", "full"), default="compat")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--http", type=int, default=4390)
    serve.add_argument("--acceleration", type=float, default=10)
    serve.add_argument("--period", type=float, default=1.0, help="wall time of a step [s]")
    serve.add_argument("--solar-csv", type=Path)
    serve.add_argument("--load-csv", type=Path)
    serve.add_argument("--seed", type=int, default=1)
    serve.add_argument("--state", type=Path, default=Path("last_save.json"))
    serve.add_argument("--summary", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
