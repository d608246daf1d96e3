"""There is one version: of every package, the changelog, the citation and the command line."""

from __future__ import annotations

import datetime
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RELEASE = runpy.run_path(str(ROOT / "tools" / "release.py"))
TODAY = datetime.date.today().isoformat()


def version_of(package_xml: Path) -> str:
    found = re.search("<version>(.*)</version>", package_xml.read_text())
    assert found, package_xml
    return found.group(1)


VERSION = version_of(ROOT / "src" / "apis_bringup" / "package.xml")


def test_the_packages_the_changelog_and_the_citation_agree():
    packages = {path: version_of(path) for path in ROOT.glob("src/*/package.xml")}
    assert len(packages) > 8
    assert set(packages.values()) == {VERSION}, packages
    assert RELEASE["HEADING"].search((ROOT / "CHANGELOG.md").read_text()).group(1) == VERSION
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


@pytest.mark.parametrize("name", ["setup.py", "setup.cfg", "CMakeLists.txt"])
def test_no_build_description_repeats_the_version(name):
    for path in ROOT.glob(f"src/*/{name}"):
        assert VERSION not in path.read_text(), path


def test_apisctl_says_the_version():
    command = [sys.executable, "-m", "apis_bringup.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, f"apisctl {VERSION}\n"), done.stderr


@pytest.fixture
def project(tmp_path):
    """A project with one package, one version and one piece of news."""
    for name, text in {
        "src/a/package.xml": "<package>\n  <version>0.1.0</version>\n</package>\n",
        "CITATION.cff": "title: A\nversion: 0.1.0\n",
        "CHANGELOG.md": "# Changelog\n\n## 0.1.0\n\nThe first.\n",
        "changelog.d/README.md": "# News fragments\n",
        "changelog.d/b.md": "- B is new.\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_release_writes_the_version_and_gathers_the_news(project):
    RELEASE["release"](project, "0.2.0", TODAY)
    assert version_of(project / "src/a/package.xml") == "0.2.0"
    assert (project / "CITATION.cff").read_text() == "title: A\nversion: 0.2.0\n"
    assert (project / "CHANGELOG.md").read_text() == (
        f"# Changelog\n\n## 0.2.0 ({TODAY})\n\n- B is new.\n\n## 0.1.0\n\nThe first.\n"
    )
    assert [path.name for path in project.glob("changelog.d/*")] == ["README.md"]


@pytest.mark.parametrize(
    ("section", "items"),
    [("## 0.2.0 (in preparation)\n\n", ""), ("## 0.2.0 (2026-01-01)\n\n- A.\n\n", "- A.\n")],
)
def test_news_of_a_version_that_has_a_heading_goes_below_its_own(project, section, items):
    changelog = project / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## 0.1.0", section + "## 0.1.0"))
    RELEASE["release"](project, "0.2.0", TODAY)
    assert changelog.read_text() == (
        f"# Changelog\n\n## 0.2.0 ({TODAY})\n\n{items}- B is new.\n\n## 0.1.0\n\nThe first.\n"
    )


@pytest.mark.parametrize(
    ("version", "file", "text", "told"),
    [
        ("0.2", "changelog.d/b.md", "- B.\n", "'0.2' is no version; right would be 0.3.0"),
        ("0.2.0", "changelog.d/b.md", "B.\n", "b.md must begin with a list item"),
        ("0.2.0", "CITATION.cff", "title: A\n", "CITATION.cff: 0 places match"),
    ],
)
def test_what_is_in_the_way_of_a_release_is_said_and_nothing_is_written(
    project, version, file, text, told
):
    (project / file).write_text(text)
    before = {path: path.read_text() for path in project.rglob("*.*") if path.is_file()}
    with pytest.raises(RELEASE["ReleaseError"]) as caught:
        RELEASE["release"](project, version, TODAY)
    assert told in str(caught.value)
    assert before == {path: path.read_text() for path in before}


def test_every_news_fragment_is_ready_for_a_release():
    fragments = RELEASE["news_fragments"](ROOT)
    assert all(path.read_text().startswith("- ") for path in fragments)
