"""The package's wings: which may import which, and that no import goes round in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from wings import MAY_IMPORT, MODULES, PICTURE, ROOT, draw, wing


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
    "package",
    ["guest", "mapping", "wire", "spool", "delivery", "sdk", "check", "spool_command", "inspector"],
)
def test_a_wing_says_what_it_is_for(package: str) -> None:
    text = ast.get_docstring(ast.parse(MODULES[package].read_text()))
    assert text
    assert len(text.splitlines()) >= 3


def test_the_picture_in_the_docs_is_of_the_wings_as_they_are() -> None:
    assert PICTURE.read_text() == draw(), "python tests/helpers/wings.py draws it anew"


TABLES = {"integration.__init__"}
"""Functions that are one: of the options, say."""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_file_a_class_and_a_function_have_one_idea(module: str) -> None:
    """So many lines hold no more."""
    text = MODULES[module].read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        limit = {ast.ClassDef: 200, ast.FunctionDef: 40, ast.AsyncFunctionDef: 40}.get(type(node))
        if limit is None:
            continue
        assert isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        assert isinstance(node.end_lineno, int)
        lines = node.end_lineno - node.lineno + 1
        # A docstring is for those who call it: options take as many lines as there are of them.
        lines -= len((ast.get_docstring(node) or "").splitlines())
        assert lines <= limit or f"{module}.{node.name}" in TABLES, f"{node.name}: {lines}"


@pytest.mark.parametrize(
    "path", sorted(p.relative_to(ROOT) for p in (ROOT / "tests").rglob("*.py"))
)
def test_a_file_of_tests_is_about_one_promise(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= 400
