"""The package's wings: which may import which, and that no import goes round in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sentry_segment

PACKAGE = Path(sentry_segment.__file__).parent

# Each wing, or module above them, with what it may import besides its own modules. `spool.contract`
# is what all spools have in common.
MAY_IMPORT = {
    "_version": "",
    "guest": "",
    "mapping": "guest _version",
    "stats": "",
    "options": "mapping",
    "wire": "guest options _version",
    "spool": "guest wire",
    "delivery": "guest mapping stats options wire.verdict wire.bodies spool.contract",
    "sdk": "guest mapping stats options delivery",
    "integration": "guest stats options wire spool delivery sdk",
    "__init__": "integration mapping stats wire _version",
    "testing": "guest mapping wire delivery sdk integration",
    "check": "guest mapping options wire __init__ _version",
    "inspector": "guest mapping options wire",
    "__main__": "check options _version",
}


def name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name(path): path for path in PACKAGE.rglob("*.py")}


def imports(module: str) -> Iterator[str]:
    """The package's modules that this one imports, wherever in it: also for types alone."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import is to say from where"
            if node.module == "sentry_segment":
                for alias in node.names:
                    yield alias.name if alias.name in MODULES else "__init__"
            elif node.module and node.module.startswith("sentry_segment."):
                found = node.module.removeprefix("sentry_segment.")
                for alias in node.names:
                    inner = f"{found}.{alias.name}"
                    yield inner if inner in MODULES else found
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("sentry_segment"):
                    yield alias.name.removeprefix("sentry_segment").removeprefix(".") or "__init__"


def wing(module: str) -> str:
    return module.partition(".")[0]


def test_the_table_has_each_wing_and_no_other() -> None:
    assert {wing(module) for module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_what_its_wing_may(module: str) -> None:
    allowed = MAY_IMPORT[wing(module)].split()
    for imported in imports(module):
        if wing(imported) != wing(module):
            assert wing(imported) in allowed or imported in allowed, f"{module}: {imported}"


def test_a_wing_imports_what_stands_above_it_in_the_table() -> None:
    """So no circle leads through several wings."""
    wings = list(MAY_IMPORT)
    for each, allowed in MAY_IMPORT.items():
        for imported in allowed.split():
            assert wings.index(wing(imported)) < wings.index(each)


@pytest.mark.parametrize("start", sorted(MODULES))
def test_no_import_goes_round_in_a_circle(start: str) -> None:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for imported in set(imports(ahead.pop())) - seen:
            assert imported != start
            seen.add(imported)
            ahead.append(imported)


@pytest.mark.parametrize(
    "package", ["guest", "mapping", "wire", "spool", "delivery", "sdk", "check", "inspector"]
)
def test_a_wing_says_what_it_is_for(package: str) -> None:
    text = ast.get_docstring(ast.parse(MODULES[package].read_text()))
    assert text
    assert len(text.splitlines()) >= 3
