"""The results: on the terminal, as JSON, and in the page of the docs."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Table, Target
from benchmarks.subjects import PEERS

_BEGIN, _END = "<!-- begin figures -->", "<!-- end figures -->"
_PACKAGES = ("sentry-segment", "sentry-sdk", "httpx", *PEERS)


def circumstances() -> dict[str, Any]:
    """Where, when and with what it was measured."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def targets_table(targets: Sequence[Target]) -> Table:
    return Table(
        "Targets",
        ["ratio", "wanted", "measured: median (quartiles)", ""],
        [
            [each.name, each.wanted, each.ratio.text(), "reached" if each.reached else "missed"]
            for each in targets
        ],
    )


def plain(table: Table) -> str:
    """A table for the terminal."""
    rows = [table.columns, *table.rows]
    widths = [max(len(row[n]) for row in rows) for n in range(len(table.columns))]
    lines = [f"\n{table.title}"]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines + ([f"  {table.note}"] if table.note else []))


def write_json(path: Path, figures: Sequence[Figure]) -> None:
    content = {
        **circumstances(),
        "targets": [
            dataclasses.asdict(target) | {"reached": target.reached}
            for figure in figures
            for target in figure.targets
        ],
        "figures": {
            each.name: {"tables": [dataclasses.asdict(t) for t in each.tables], "raw": each.raw}
            for each in figures
        },
    }
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")


def write_page(path: Path, figures: Sequence[Figure], plots: Sequence[tuple[str, str]]) -> None:
    """Put the tables and the plots (file and description) between the page's markers."""
    before, _, rest = path.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    content = "\n".join(_page(figures, plots))
    path.write_text(f"{before}{_BEGIN}\n\n{content}\n{_END}{after}")


def _page(figures: Sequence[Figure], plots: Sequence[tuple[str, str]]) -> Iterator[str]:
    where = circumstances()
    yield (
        f"Measured on {where['date']}: {where['processor']}, {where['cores']} cores, "
        f"{where['system']}, Python {where['python']}."
    )
    versions = (f"{name} {version}" for name, version in where["versions"].items())
    yield f"Versions: {', '.join(versions)}.\n"
    yield from _markdown(targets_table([t for each in figures for t in each.targets]))
    for file, description in plots:
        yield f"![{description}]({file})\n"
    for figure in figures:
        for table in figure.tables:
            yield from _markdown(table)


def _markdown(table: Table) -> Iterator[str]:
    yield f"### {table.title}\n"
    yield _line(table.columns)
    yield _line(["---"] * len(table.columns))
    yield from map(_line, table.rows)
    yield f"\n{table.note}\n" if table.note else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
