"""The pages of the documentation, their code blocks and their tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


class Block(NamedTuple):
    """A fenced code block."""

    page: Path
    line: int
    heading: str
    """Of the section it stands in."""
    language: str
    text: str

    @property
    def name(self) -> str:
        """Page and line, to name a test."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks(page: Path) -> list[Block]:
    found = []
    text = page.read_text()
    # Also those that are indented, as in a list or a tab.
    for match in re.finditer(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", text, re.MULTILINE):
        indent, language, code = match.groups()
        before = text[: match.start()]
        headings = re.findall(r"^#+ (.*)$", before, re.MULTILINE)
        lines = (line.removeprefix(indent) for line in code.splitlines(keepends=True))
        found.append(
            Block(
                page,
                before.count("\n") + 1,
                headings[-1] if headings else "",
                language.split("{")[0].split()[0] if language.strip() else "",
                "".join(lines),
            )
        )
    return found


BLOCKS = [block for page in PAGES for block in _blocks(page)]


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the table whose first row begins with `heading`."""
    text = (ROOT / page).read_text()
    match = re.search(
        rf"^\| {re.escape(heading)} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE
    )
    assert match, f"no such table in {page}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in match[1].splitlines()]
