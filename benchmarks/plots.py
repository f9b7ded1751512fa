"""The plots of the docs, as SVG: in colours that are read on light and on dark ground."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from benchmarks.figures import Figure, Line, Target
from benchmarks.spread import short

_GREY, _BLUE, _ORANGE = "#808890", "#3c8dd0", "#e08a1e"

mpl.rcParams.update(
    {
        "svg.fonttype": "none",  # texts stay texts, in a font that the reader has
        "svg.hashsalt": "benchmarks",  # the same ids each time
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.edgecolor": _GREY,
        "axes.labelcolor": _GREY,
        "axes.titlecolor": _GREY,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": _GREY,
        "xtick.color": _GREY,
        "ytick.color": _GREY,
        "grid.color": _GREY,
        "grid.alpha": 0.3,
        "legend.frameon": False,
    }
)


def draw(folder: Path, figures: Sequence[Figure]) -> list[tuple[str, str]]:
    """Write what there is to be drawn. File names and descriptions."""
    drawn = []
    targets = [t for each in figures for t in each.targets if t.label]
    if targets:
        name = "benchmarks-ratios.svg"
        _save(_ratios(targets), folder / name)
        drawn.append((name, "How many times better than the best peer, and what is wanted"))
    lines = [line for each in figures for line in each.lines]
    if lines:
        name = "benchmarks-scaling.svg"
        _save(_panels(lines), folder / name)
        drawn.append((name, "What a message costs, against how much there is of something"))
    return drawn


def _ratios(targets: Sequence[Target]) -> Canvas:
    """Bars: how many times better than the best peer, with a mark at what is wanted."""
    canvas = Canvas(figsize=(8, 0.5 * len(targets) + 1))
    axes = canvas.subplots()
    for place, target in enumerate(reversed(targets)):
        value, wanted = target.ratio.median, target.at_least
        if wanted is None:  # a share, of which less is better
            assert target.at_most is not None
            value, wanted = 1 / max(value, 1e-6), 1 / target.at_most
        axes.barh(place, value - 1, left=1, height=0.6, color=_BLUE if target.reached else _ORANGE)
        axes.plot([wanted, wanted], [place - 0.4, place + 0.4], color=_GREY, linewidth=2)
        axes.annotate(
            f" {short(value)} x" + ("" if target.reached else f" of {short(wanted)} x"),
            (max(value, wanted, 1), place),
            va="center",
            xytext=(4, 0),
            textcoords="offset points",
        )
    axes.set_yticks(range(len(targets)), [target.label for target in reversed(targets)])
    axes.set_xscale("log")
    axes.axvline(1, color=_GREY, linewidth=1)
    axes.margins(x=0.15)
    axes.set_xlabel("times better than the best peer; grey mark: the target")
    return canvas


def _panels(lines: Sequence[Line]) -> Canvas:
    rows = (len(lines) + 1) // 2
    canvas = Canvas(figsize=(8, 2.6 * rows))
    panels = canvas.subplots(rows, 2, squeeze=False).flatten()
    for panel, line in zip(panels, lines, strict=False):
        for colour, (name, points) in zip((_BLUE, _ORANGE), line.points.items(), strict=False):
            x, y = zip(*points, strict=True)
            panel.plot(x, y, marker="o", markersize=4, color=colour, label=name)
        panel.set_xscale("symlog" if min(x) == 0 else "log")
        panel.set_yscale("log")
        panel.set_ylim(1, 2 * max(cost for points in line.points.values() for _, cost in points))
        panel.set_title(line.title)
        panel.set_ylabel("microseconds")
        panel.grid(axis="y")
        if len(line.points) > 1:
            panel.legend()
    for panel in panels[len(lines) :]:
        panel.set_visible(False)
    return canvas


def _save(canvas: Canvas, path: Path) -> None:
    canvas.tight_layout()
    canvas.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    # Lines that end in blanks would be changed by many an editor.
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n")
