"""Links lead somewhere; maps of packages and answers of CONTRIBUTING.md fit the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if (ROOT / name).is_file()
]
PYTHON_PACKAGES = sorted(path.parent for path in ROOT.glob("src/*/setup.py"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PATH = re.compile(r"(?:src|tests|docs|tools|config|launch)/[\w./-]+")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    local = {target.partition("#")[0] for target in targets if "://" not in target}
    is_news = page.parent.name == "changelog.d" and page.name != "README.md"
    folder = ROOT if is_news else page.parent  # news will stand in CHANGELOG.md
    missing = [target for target in local if target and not (folder / target).exists()]
    assert not missing


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")]


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


@pytest.mark.parametrize("package", PYTHON_PACKAGES, ids=lambda package: package.name)
def test_the_map_of_a_package_names_every_module(package):
    _, _, map_text = (package / "README.md").read_text().partition("## Map\n")
    named = {name for row in rows(map_text) for name in quoted(row.split("|")[1])}
    modules = package / package.name
    top = {
        path.name
        for path in modules.iterdir()
        if (path.suffix == ".py" or (path.is_dir() and any(path.iterdir())))
        and path.name not in ("__init__.py", "__pycache__")
    }
    below = {path.name for name in top for path in (modules / name).glob("*") if path.is_dir()}
    inner = {path.name for name in top for path in (modules / name).rglob("*.py")}
    assert top <= named, "the map lacks these"
    assert named <= top | below | inner, "the map names what is not there"


def test_every_path_in_contributing_exists():
    _, _, rest = CONTRIBUTING.partition("## The reading order")
    missing = [path for path in PATH.findall(rest) if not (ROOT / path.rstrip(".")).exists()]
    assert not missing


@pytest.mark.parametrize(
    "row",
    rows(CONTRIBUTING.partition("## Where do I change")[2])[1:],
    ids=lambda row: row.split("**")[1],
)
def test_where_do_i_change_names_what_the_files_hold(row):
    words = quoted(row)
    files = {word for word in words if PATH.fullmatch(word)}
    texts = [(ROOT / name).read_text() for name in files if (ROOT / name).is_file()]
    others = {word for word in words - files if re.fullmatch(r"[\w.-]+", word)}
    names = {word.rpartition(".")[2] for word in others - {"setup.py", "apisctl"}}
    missing = {name for name in names if not any(name in text for text in texts)}
    assert not missing
