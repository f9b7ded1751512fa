"""The pages of the docs hold together: links, commands, files and languages."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

import sentry_segment
from pages import BLOCKS, PAGES, ROOT, Block
from sentry_segment.__main__ import parser
from sentry_segment.options import WRITE_KEY_VARIABLE

LANGUAGES = {"python", "json", "sql", "sh", "ini", "text", "yaml", "dockerfile"}
"""Those whose blocks some test runs or checks."""


def name(page: Path | Block) -> str:
    return page.name


def blocks(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


# Links


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_point_at_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if re.match(r"https://", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """Those of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_is_longer_than_one_reads(page: Path) -> None:
    """Code and tables aside, in which one looks something up."""
    code = "".join(block.text for block in BLOCKS if block.page == page)
    lines = [line for line in page.read_text().splitlines() if not line.startswith("|")]
    assert sum(len(line.split()) for line in lines) - len(code.split()) <= 1_500


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        if (ROOT / "docs") in page.parents:
            assert f": {page.relative_to(ROOT / 'docs')}\n" in navigation


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_has_a_place_left_to_be_filled_in(page: Path) -> None:
    assert not re.search(r"^(?!SELECT$)[A-Z]{3,}$|\bTODO\b|\bTBD\b", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_of_the_project_that_is_named_is_there(page: Path) -> None:
    file = r"`(?:scripts/test (?:--all )?)?((?:tests|scripts|docs)/[\w./-]+)`"
    named = re.findall(file, page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    page = (ROOT / "docs/api.md").read_text()
    missing = [each for each in sentry_segment.__all__ if f"sentry_segment.{each}" not in page]
    assert missing == []


# Code blocks


@pytest.mark.parametrize("block", BLOCKS, ids=name)
def test_every_block_is_in_a_language_that_is_checked(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_is_found(page: Path) -> None:
    fences = re.findall(r"^ *```", page.read_text(), re.MULTILINE)
    assert len(fences) == 2 * len([block for block in BLOCKS if block.page == page])


@pytest.mark.parametrize("block", blocks("sh"), ids=name)
def test_every_command_is_one_that_exists(block: Block) -> None:
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if words:
            check(words[0], words[1:])


def check(command: str, arguments: list[str]) -> None:
    if command.startswith("scripts/"):
        assert os.access(ROOT / command, os.X_OK)
        check_arguments(command, arguments)
    elif command == "pip":
        assert arguments[0] == "install"
        check_requirement(arguments[1])
        used = (ROOT / "pyproject.toml").read_text() + (ROOT / "scripts/test").read_text()
        for package in arguments[2:]:  # one that the tests of a stack are run with
            distribution = re.split(r"[\[<]", package)[0]
            assert re.search(rf'"(\S+\[)?{distribution}[\[\]>]', used)
    elif command == "export":
        assert arguments[0].startswith(WRITE_KEY_VARIABLE + "=")
    elif command == "python":
        assert arguments[0] == "-m"
        module = arguments[1].replace(".", "/")
        assert (ROOT / module / "__main__.py").is_file() or is_of_the_examples(module)
        if arguments[1] == "sentry_segment":
            parser().parse_args(arguments[2:])  # exits where it is wrong
    elif command in SERVERS:
        names = [argument.partition(":")[0].replace(".", "/") for argument in arguments]
        assert any(map(is_of_the_examples, [*names, *(name.rpartition("/")[0] for name in names)]))
    elif command == "docker":
        assert arguments == ["compose", "up", "--build"]
        assert (ROOT / "examples" / "containers" / "compose.yaml").is_file()
    elif command == "kubectl":
        assert arguments[:2] == ["create", "job"]
        name = arguments[2].removeprefix("--from=cronjob/")
        manifests = (ROOT / "examples" / "containers" / "kubernetes.yaml").read_text()
        assert f"kind: CronJob\nmetadata:\n  name: {name}\n" in manifests
    elif command.startswith(".venv/test/bin/"):  # the environment of scripts/test
        assert f'"{Path(command).name}>=' in (ROOT / "pyproject.toml").read_text()
    else:
        pytest.fail(f"no test knows {command}: add how it is to be checked")


SERVERS = ("arq", "celery", "dramatiq", "gunicorn", "huey_consumer", "rq", "uvicorn")
"""What is told which module to load, and runs in the folder of the examples."""


def is_of_the_examples(module: str) -> bool:
    return (ROOT / "examples" / f"{module}.py").is_file()


def check_arguments(script: str, arguments: list[str]) -> None:
    """Files are there; options and names are known to what the script runs."""
    main = {"scripts/bench": "benchmarks/__main__.py", "scripts/trial": "tests/helpers/trial.py"}
    known = (ROOT / script).read_text() + (ROOT / main.get(script, script)).read_text()
    for argument in arguments:
        if argument.startswith("tests/"):
            assert (ROOT / argument).is_file(), argument
        elif script != "scripts/test" and not argument.isdigit():  # whose others are pytest's
            assert argument in known, argument


def check_requirement(requirement: str) -> None:
    package, _, extra = requirement.rstrip("]").partition("[")
    assert package in (".", "sentry-segment")
    assert not extra or f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(), extra


STACKS = [page for page in PAGES if page.parent.name == "stacks"]


@pytest.mark.parametrize("page", STACKS, ids=name)
def test_a_page_of_a_stack_shows_the_files_that_its_tests_run(page: Path) -> None:
    """Included while the docs are built. In one line, it would be Python to the formatter."""
    shown = [block.text for block in BLOCKS if block.page == page and "8<" in block.text]
    assert shown
    assert "8 <" not in page.read_text()
    for text in shown:
        match = re.fullmatch(r"--8<--\n(examples/[\w./]+)\n--8<--\n", text)
        assert match, text
        assert (ROOT / match[1]).is_file()


@pytest.mark.parametrize("block", blocks("text"), ids=name)
def test_every_output_shown_has_the_words_of_the_program(block: Block) -> None:
    sources = [*(ROOT / "benchmarks").glob("*.py")]
    sources += [ROOT / "tests" / "helpers" / name for name in ("trial.py", "moods.py")]
    sources += (ROOT / "sentry_segment/check").glob("*.py")  # whose output test_answers.py compares
    sources += (ROOT / "sentry_segment/spool_command").glob("*.py")  # test_spool_command.py
    words = {word for source in sources for word in re.findall(r"[a-z]+", source.read_text())}
    labels = [re.split("  +", line.strip())[0] for line in block.text.splitlines()]
    unknown = [
        word
        for label in labels
        for word in re.findall(r"\b[a-z]{3,}\b", re.sub(r"/\S+", "", label))
        if word not in words
    ]
    assert unknown == []
