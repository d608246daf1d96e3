"""``python -m apis_study``, which ``apisctl study`` becomes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from apis_core.model.errors import ConfigError
from apis_study.result_files import summary, write
from apis_study.study import Results, Study

__all__ = ["main"]

INTERRUPTED = 130  # as a shell says it of Ctrl-C


def main(arguments: list[str] | None = None) -> int:
    """0 after a study, 1 if a file cannot be written, 2 if the configuration is wrong, 130 after
    Ctrl-C: what was done until then is written.
    """
    options = _parser().parse_args(arguments)
    results = Results()
    kept: Path = options.out / "cases"
    exit_code = 0
    began_s = time.monotonic()
    try:
        study = Study.read(options.grid)
        if not options.resume:
            _forget(kept)
        progress = _Progress()
        try:
            study.run_into(results, progress.tell, kept)
        except KeyboardInterrupt:
            exit_code = INTERRUPTED
        finally:
            progress.end()
        files = write(results, options.out) if results.kpis else []
    except ConfigError as error:
        for problem in error.problems:
            print(f"apisctl: {problem}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"apisctl: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    houses, days = len(study.village.houses), study.settings.days
    took_s = time.monotonic() - began_s
    print(f"{houses} houses, {days:g} days, steps of {study.settings.step_s:g} s, {took_s:.1f} s")
    if results.kpis:
        print(summary(results))
        print("files: " + ", ".join(str(file) for file in files))
    if exit_code:
        left = ", ".join(case.name for case in study.cases if case.name not in results.kpis)
        print(f"apisctl: interrupted; not done: {left}; --resume goes on", file=sys.stderr)
    return exit_code


class _Progress:
    """A line that says how far a study is, where somebody looks on."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._shown_s = 0.0
        self._is_shown = sys.stderr.isatty()

    def tell(self, case: str, done_ratio: float) -> None:
        """A case goes on."""
        now_s = time.monotonic()
        if not self._is_shown or now_s < self._shown_s + 0.2:
            return
        self._shown_s = now_s
        took_s = now_s - self._began_s
        left_s = took_s / max(done_ratio, 1e-9) * (1.0 - done_ratio)
        bar = "#" * round(30 * done_ratio)
        text = f"[{bar:<30}] {done_ratio:4.0%}  {case}, {left_s:.0f} s left"
        print(f"\r{text:<79}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Nothing more is shown."""
        if self._is_shown:
            print(f"\r{'':<79}\r", end="", file=sys.stderr, flush=True)


def _forget(folder: Path) -> None:
    for file in folder.glob("*.json"):
        file.unlink()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m apis_study")
    parser.add_argument("grid", type=Path, help="the resolved grid description (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--resume", action="store_true", help="go on with what was interrupted")
    return parser


if __name__ == "__main__":
    sys.exit(main())
