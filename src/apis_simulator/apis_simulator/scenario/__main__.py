"""``python -m apis_simulator.scenario``: runs scenario files; ``apisctl scenario`` calls it."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from apis_core.model.errors import ConfigError, Problem
from apis_simulator.scenario.report import draw, table, write_json
from apis_simulator.scenario.runner import Result, run_story
from apis_simulator.scenario.story import Story, read_story

__all__ = ["main", "samples_folder"]

HOLDS, FAILS, IS_WRONG = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says.

    Returns:
        0 if every expectation holds, 1 if one does not, 2 if a file is wrong: then nothing runs.
    """
    options = _parser().parse_args(arguments)
    try:
        stories = _read(options.files, options.samples)
        for path in (options.json, options.plot):
            _must_be_writable(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return IS_WRONG
    results = []
    for story in stories:
        if options.trace:
            print(f"{story.source}: {story.title}")
        result = run_story(story, print if options.trace else None)
        print(table(result), flush=True)
        results.append(result)
    try:
        if options.json is not None:
            write_json(results, options.json)
        if options.plot is not None:
            _draw(results, options.plot)
    except OSError as error:
        print(f"{error.filename}: cannot be written: {error.strerror}", file=sys.stderr)
        return IS_WRONG
    except ImportError:
        print("--plot needs matplotlib, which is not installed", file=sys.stderr)
        return IS_WRONG
    held = sum(result.holds for result in results)
    if len(results) > 1:
        print(f"{held} of {len(results)} files hold")
    return HOLDS if held == len(results) else FAILS


def samples_folder() -> Path:
    """Where the sample configuration of the source tree lies."""
    return Path(__file__).resolve().parents[4] / "config"


def _read(files: Sequence[Path], samples: Path) -> list[Story]:
    stories: list[Story] = []
    problems: list[Problem] = []
    for path in files:
        try:
            stories.append(read_story(path, samples))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return stories


def _must_be_writable(path: Path | None) -> None:
    if path is not None and not path.absolute().parent.is_dir():
        right = f"there is no folder {path.parent}"
        raise ConfigError([Problem("command line", "", str(path), right)])


def _draw(results: Sequence[Result], path: Path) -> None:
    """One picture a file; several have the name of their scenario in theirs."""
    for result in results:
        name = f"{path.stem}-{Path(result.story.source).stem}{path.suffix}"
        draw(result, path if len(results) == 1 else path.with_name(name))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="apisctl scenario", allow_abbrev=False)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="OUT", help="facts and verdicts")
    parser.add_argument("--trace", action="store_true", help="every line of what happens")
    parser.add_argument("--plot", type=Path, metavar="P.png", help="a picture of it")
    parser.add_argument("--samples", type=Path, default=samples_folder(), metavar="DIR")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
