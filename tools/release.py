#!/usr/bin/env python3
"""Make a release: one version everywhere, and the news fragments in CHANGELOG.md.

    python3 tools/release.py 0.3.0      (`make release VERSION=0.3.0`)

It writes the version into every src/*/package.xml and into CITATION.cff; setup.py, CMake and
`apisctl --version` read it from package.xml. It moves the list items of changelog.d/*.md below
the version's heading in CHANGELOG.md. It commits nothing: look at the diff first.
"""

import argparse
import datetime
import re
import sys
from pathlib import Path

VERSION = re.compile(r"\d+\.\d+\.\d+")
HEADING = re.compile(r"^## (\d+\.\d+\.\d+)(.*)$", re.MULTILINE)


class ReleaseError(Exception):
    """What is in the way of the release; its text is the whole message."""


def replaced_once(path, pattern, text):
    """The file's content with the one place that the pattern finds replaced by the text."""
    content, count = re.subn(pattern, text, path.read_text(), flags=re.MULTILINE)
    if count != 1:
        raise ReleaseError("{}: {} places match {}, must be 1".format(path, count, pattern))
    return content


def news_fragments(root):
    """The files of changelog.d that hold news, in the order of their names."""
    return sorted(p for p in (root / "changelog.d").glob("*.md") if p.name != "README.md")


def changelog_with(text, version, day, news):
    """CHANGELOG.md with the news below the heading of the version, which is the newest one.

    A heading of this version that is there already gets the day, and the news below its own.
    """
    newest = HEADING.search(text)
    start = newest.start() if newest else len(text)
    before, items, after = text[:start], "", text[start:]
    if newest and newest.group(1) == version:
        following = HEADING.search(text, newest.end())
        end = following.start() if following else len(text)
        items, after = text[newest.end() : end].strip(), text[end:]
    items = "\n".join(part.strip() for part in (items, news) if part)
    section = "## {} ({})\n\n{}\n".format(version, day, items)
    return "\n".join(part for part in (before + section, after) if part)


def release(root, version, day):
    """Write the version and the news; returns the files that changed."""
    if not VERSION.fullmatch(version):
        raise ReleaseError("{!r} is no version; right would be 0.3.0".format(version))
    fragments = news_fragments(root)
    for path in fragments:
        if not path.read_text().startswith("- "):
            raise ReleaseError("{} must begin with a list item, '- '".format(path))
    changed = {
        path: replaced_once(
            path, r"<version>.*</version>", "<version>{}</version>".format(version)
        )
        for path in sorted(root.glob("src/*/package.xml"))
    }
    citation, changelog = root / "CITATION.cff", root / "CHANGELOG.md"
    changed[citation] = replaced_once(citation, r"^version: .*$", "version: " + version)
    news = "\n".join(path.read_text().strip() for path in fragments)
    changed[changelog] = changelog_with(changelog.read_text(), version, day, news)
    for path, content in changed.items():  # all is known to be right: nothing is half written
        path.write_text(content)
    for path in fragments:
        path.unlink()
    return [*changed, *fragments]


def main():
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make a release of APIS for ROS 2.")
    parser.add_argument("version", help="such as 0.3.0")
    root = Path(__file__).resolve().parent.parent
    version = parser.parse_args().version
    try:
        changed = release(root, version, datetime.date.today().isoformat())
    except ReleaseError as error:
        print("release: {}".format(error), file=sys.stderr)
        return 2
    print("{} files changed; look at `git diff`, then:".format(len(changed)))
    print("  make test && git commit -am 'release: {0}' && git tag v{0}".format(version))
    return 0


if __name__ == "__main__":
    sys.exit(main())
