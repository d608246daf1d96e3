"""Every ``*.txt`` of this folder comes out as it is written. The README says how to read one."""

from __future__ import annotations

from pathlib import Path

import pytest
from transcript import replay

PATHS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_transcript(path: Path, is_rewriting: bool):
    before, after = replay(path)
    if is_rewriting:
        path.write_text(after)
        return
    assert after.splitlines() == before.splitlines(), "if this is right: pytest --rewrite"


def test_there_are_transcripts():
    assert len(PATHS) >= 10
