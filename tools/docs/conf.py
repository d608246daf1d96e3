"""The documentation site, made by Sphinx: `make docs` builds it into build/docs/site.

Its pages are the Markdown files where they lie in the project, so that a link leads to the same
place here as on a code host. A source file that a page links to is copied. Nothing in the site
comes from another host.
"""

from __future__ import annotations

import html
import posixpath
import re
import shutil
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
MERMAID = ".venv/lib/python3.*/site-packages/nicegui/elements/mermaid/dist"  # lock.txt pins it

project = "APIS for ROS 2"
author = "APIS for ROS 2 developers"
copyright = author  # Sphinx wants this name
release = re.findall("^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)[0]

PAGES = {
    "": ["docs/README"],
    "Use it": [
        "docs/dashboard",
        "docs/monitoring",
        "docs/configuration",
        "docs/ros2",
        "docs/security",
        "docs/glossary",
    ],
    "Simulate it": ["docs/emulator", "docs/simulator", "docs/study"],
    "Connect hardware": [
        "docs/drivers",
        "docs/adding-a-device",
        "docs/device-simulators",
        "docs/device-protocols",
        "docs/control-loop",
    ],
    "Understand it": [
        "docs/architecture",
        "docs/protocol",
        "docs/trading",
        "docs/state-diagrams",
        "docs/weaknesses",
        "docs/hazards",
        "docs/found-faults",
    ],
    "Packages": [
        f"src/{name}/README"
        for name in (
            "apis_interfaces",
            "apis_core",
            "apis_control_cpp",
            "apis_site",
            "apis_ros",
            "apis_node",
            "apis_driver",
            "apis_emulator",
            "apis_simulator",
            "apis_study",
            "apis_viz",
            "apis_dashboard",
            "apis_compat",
            "apis_bringup",
        )
    ],
    "Change it": [
        "CONTRIBUTING",
        "docs/testing",
        "tests/transcripts/README",
        "changelog.d/README",
        "CHANGELOG",
        "SECURITY",
    ],
}

root_doc = "README"
include_patterns = [
    *("*.md", "docs/*.md", "src/*/README.md", "tests/*/README.md", "changelog.d/README.md"),
]
exclude_patterns = [".*", "build", "install", "log", "**/test", "**/.*", "**/__pycache__"]
extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_fence_as_directive = {"mermaid"}

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["diagrams.js"]
templates_path = ["templates"]
html_additional_pages = {"index": "to_readme.html"}
html_favicon = "../../src/apis_dashboard/apis_dashboard/static/icon.svg"
html_logo = html_favicon
html_copy_source = False
html_show_copyright = False
html_use_index = False
pygments_style = "default"
pygments_dark_style = "native"

LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=\))")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)
FOREIGN = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(?:https?:)?//"""
)


class Diagram(Directive):
    """A diagram in Mermaid's language; static/diagrams.js draws it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The text of the diagram, for the script to find."""
        text = html.escape("\n".join(self.content))
        return [nodes.raw("", f'<pre class="diagram">{text}</pre>', format="html")]


def contents() -> str:
    """The table of contents, as MyST's directives."""
    parts = []
    for caption, pages in PAGES.items():
        options = f":hidden:\n:caption: {caption}\n" if caption else ":hidden:\n"
        parts.append("```{toctree}\n" + options + "\n" + "\n".join(pages) + "\n```\n")
    return "\n".join(parts)


def prepare_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Lets links to folders lead to their README, and gives the first page its contents."""

    def replaced(match: re.Match[str]) -> str:
        folder = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[0]))
        if (ROOT / folder / "README.md").is_file():
            return posixpath.join(match[0], "README.md")
        return match[0]

    def changed(text: str) -> str:
        text = LINK.sub(replaced, text)
        return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", without_folder, text)

    def without_folder(match: re.Match[str]) -> str:
        folder = posixpath.join(posixpath.dirname(name), match[2])
        return match[1] if (ROOT / folder).is_dir() else match[0]

    parts, end = [], 0
    for fence in FENCE.finditer(source[0]):
        parts += [changed(source[0][end : fence.start()]), fence[0]]
        end = fence.end()
    source[0] = "".join([*parts, changed(source[0][end:])])
    if name == root_doc:
        source[0] += "\n" + contents()


def finish(app: Sphinx, error: Exception | None) -> None:
    """Adds Mermaid; fails if a page would load something from another host."""
    if error is not None:
        return
    folders = list(ROOT.glob(MERMAID))
    if not folders:
        raise ExtensionError(f"{MERMAID} is missing, which draws diagrams; run `make setup`")
    out = Path(app.outdir)
    shutil.copytree(folders[0], out / "_static" / "mermaid", dirs_exist_ok=True)
    for page in out.rglob("*.html"):
        if found := FOREIGN.search(page.read_text()):
            raise ExtensionError(f"{page.name} loads from another host: {found[0]}")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_directive("mermaid", Diagram)
    app.connect("source-read", prepare_page)
    app.connect("build-finished", finish)
