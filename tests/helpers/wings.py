"""The package's layout: which wing may import which, and its picture in the docs.

python tests/helpers/wings.py    draws docs/wings.svg anew
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "sentry_segment"
PICTURE = ROOT / "docs" / "wings.svg"

# Each wing, or module above them, with what it may import besides its own modules. `spool.contract`
# is what all spools have in common.
MAY_IMPORT = {
    "_version": "",
    "guest": "",
    "mapping": "guest _version",
    "stats": "",
    "oauth_options": "",
    "spool_options": "",
    "options": "mapping oauth_options spool_options",
    "wire": "guest options _version",
    "spool": "guest wire",
    "delivery": "guest mapping stats options wire.verdict wire.bodies spool.contract",
    "sdk": "guest mapping stats options delivery",
    "assembly": "guest mapping options spool_options wire spool delivery",
    "integration": "guest mapping stats options oauth_options wire spool delivery sdk assembly",
    "__init__": "integration mapping sdk stats wire _version",
    "testing": "guest mapping wire delivery sdk integration",
    "tunnel": "guest mapping options wire integration",
    "arguments": "options oauth_options",
    "check": "arguments guest mapping options oauth_options wire __init__ _version",
    "spool_command": "arguments guest delivery options wire spool.contract integration assembly",
    "inspector": "guest mapping options wire tunnel",
    "__main__": "check inspector spool_command _version",
}
WINGS = ("sdk", "mapping", "delivery", "spool", "wire")
"""Those that an event goes through, in this order."""

THREADS = {"in the thread that captures": ("sdk", "mapping"), "in the background thread": WINGS[2:]}


def name(path: Path) -> str:
    """`wire.api`; `wire` for its `__init__`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def wing(module: str) -> str:
    """The first part of a module's name."""
    return module.partition(".")[0]


# The picture

_WIDTH, _GAP, _LINE, _LEFT, _TOP = 136, 40, 18, 20, 96
_STYLE = """
    text { font: 14px system-ui, sans-serif; fill: #1f2937; text-anchor: middle; }
    .name { font-weight: 600; }
    .small { font-size: 12px; fill: #4b5563; }
    .box { fill: #e0e7ff; stroke: #4f46e5; stroke-width: 1.5; }
    .base { fill: #f3f4f6; stroke: #d1d5db; }
    .arrow { fill: none; stroke: #374151; stroke-width: 1.5; marker-end: url(#head); }
    #head path { fill: #374151; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e5e7eb; }
      .small { fill: #c3c8d0; }
      .box { fill: #353a72; stroke: #a5b4fc; }
      .base { fill: #262b36; stroke: #454c5a; }
      .arrow { stroke: #d1d5db; }
      #head path { fill: #d1d5db; }
    }
"""


def draw() -> str:
    """The wings as they are: the modules in each, and the way of an event."""
    files = {each: _files(each) for each in (*WINGS, "guest")}
    height = 44 + _LINE * max(len(files[each]) for each in WINGS)
    bottom = _TOP + height + 30
    lines = [
        _text(_LEFT + _WIDTH // 2, 28, "the SDK's envelope", "small"),
        _arrow(_LEFT + _WIDTH // 2, 36, _LEFT + _WIDTH // 2, _TOP - 4),
    ]
    for number, each in enumerate(WINGS):
        left = _left(number)
        lines.append(_box(left, _TOP, _WIDTH, height, "box"))
        lines.append(_text(left + _WIDTH // 2, _TOP + 24, each, "name"))
        for line, file in enumerate(files[each]):
            lines.append(_text(left + _WIDTH // 2, _TOP + 50 + line * _LINE, file, "small"))
        if each != WINGS[-1]:
            y = _TOP + 24
            lines.append(_arrow(left + _WIDTH, y, left + _WIDTH + _GAP - 4, y))
    last = _left(len(WINGS) - 1) + _WIDTH // 2
    lines.append(_arrow(last, _TOP, last, 40))
    lines.append(_text(last, 28, "Segment", "small"))
    for thread, wings in THREADS.items():
        middle = sum(_left(WINGS.index(each)) + _WIDTH // 2 for each in wings) // len(wings)
        lines.append(_text(middle, _TOP - 16, thread, "small"))
    width = _left(len(WINGS) - 1) + _WIDTH - _LEFT
    lines.append(_box(_LEFT, bottom, width, 58, "base"))
    lines.append(_text(_LEFT + width // 2, bottom + 24, "guest, which all may use", "name"))
    lines.append(_text(_LEFT + width // 2, bottom + 44, ", ".join(files["guest"]), "small"))
    body = "\n  ".join(lines)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 40} {bottom + 78}" \
role="img" aria-labelledby="title desc">
  <title id="title">The wings of the package</title>
  <desc id="desc">An event goes from the wing sdk through mapping and delivery, past the spool where
    there is one, to wire. The wing guest lies below all of them.</desc>
  <style>{_STYLE}  </style>
  <defs>
    <marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" \
orient="auto"><path d="M0 0L10 5L0 10z"/></marker>
  </defs>
  {body}
</svg>
"""


def _files(wing: str) -> list[str]:
    return [f"{each.partition('.')[2]}.py" for each in MODULES if each.startswith(f"{wing}.")]


def _left(number: int) -> int:
    return _LEFT + number * (_WIDTH + _GAP)


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{text}</text>'


def _box(x: int, y: int, width: int, height: int, kind: str) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'


def _arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<path class="arrow" d="M{x1} {y1}L{x2} {y2}"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw())
