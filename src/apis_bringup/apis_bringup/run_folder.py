"""Where the files of a run stand."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from apis_bringup.run_lock import domain_id
from apis_site.grid import GridDescription

__all__ = ["RunFolder", "run_folder"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where the files of one run stand."""

    path: Path

    @property
    def grid_file(self) -> Path:
        """The resolved grid description."""
        return self.path / "grid.json"

    @property
    def policy_file(self) -> Path:
        """The policy that all units of this run share."""
        return self.path / "policy.json"

    @property
    def params_file(self) -> Path:
        """ROS parameters of all nodes."""
        return self.path / "params.yaml"

    @property
    def log_folder(self) -> Path:
        """Output of every process."""
        return self.path / "log"

    def tty(self, unit_id: str, device: str) -> Path:
        """A serial line of the emulator; ``device`` is ``dcdc`` or ``battery``."""
        return self.path / "tty" / f"{unit_id.lower()}-{device}"

    def journal_file(self, unit_id: str) -> Path:
        """What a unit must not forget."""
        return self.path / "journal" / f"{unit_id.lower()}.sqlite"


def run_folder(grid: GridDescription, purpose: str = "") -> RunFolder:
    """Where the files of a run stand: in the source tree's build, else among temporary files.

    A later run of the same cluster on the same domain replaces them.

    Args:
        grid: The grid.
        purpose: What else than running it the folder is for, such as ``-replay``.
    """
    build = Path(__file__).resolve().parents[3] / "build"
    is_source_tree = build.is_dir() and os.access(build, os.W_OK)
    parent = build if is_source_tree else Path(tempfile.gettempdir()) / f"apis-{os.getuid()}"
    return RunFolder(parent / "run" / f"{grid.cluster}-{domain_id()}{purpose}")
