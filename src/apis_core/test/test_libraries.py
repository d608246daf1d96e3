"""A library that is too old is named in one line, by every program."""

from __future__ import annotations

import subprocess
import sys

import pytest

from apis_core.model.libraries import require_library


@pytest.mark.parametrize("found", ["2.5", "2.5.1", "2.10.0b1", "3"])
def test_what_is_new_enough_is_taken(found):
    require_library("pydantic", found, "2.5")


@pytest.mark.parametrize("found", ["1.10.4", "2.4.9", "2", "unknown"])
def test_what_is_too_old_ends_the_program_with_one_line(found):
    with pytest.raises(SystemExit, match=f"^pydantic {found} is installed here, 2.5 or newer"):
        require_library("pydantic", found, "2.5")


def test_an_old_pydantic_is_told_before_anything_is_imported_from_it(tmp_path):
    (tmp_path / "pydantic.py").write_text("VERSION = '1.10.4'\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import apis_core.model.errors"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("pydantic 1.10.4 is installed here, 2.5 or newer is needed")
    assert done.stderr.count("\n") == 1
