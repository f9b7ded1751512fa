"""Checks what is in the wheel and the source distribution (see scripts/test)."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def files_in(folder: str) -> set[str]:
    """What the project has there, without what Python and tools leave behind."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not any("cache" in part for part in path.relative_to(ROOT).parts[:-1])
    }


def check_wheel(path: Path) -> None:
    """The package with all its files, the plugin of pytest, and no more; no dead links in it."""
    with zipfile.ZipFile(path) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        fields = message_from_string(archive.read(metadata).decode())
    wanted = {"_sentry_segment_pytest.py", *files_in("sentry_segment")}
    assert names == wanted, names ^ wanted
    assert "sentry_segment/py.typed" in names

    required = [each for each in fields.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert {re.split("[<>=]", each)[0] for each in required} == {"sentry-sdk", "httpx"}, required
    description = str(fields.get_payload())
    assert description.lstrip().startswith("# sentry-segment")
    dead = [
        target
        for target in re.findall(r"\]\(([^)]*)\)", description)
        if not target.startswith("https://")
    ]
    assert not dead, f"links that lead nowhere on a package index: {dead}"
    print(f"{path.name}: {len(names)} files, requires {', '.join(required)}")


def check_sdist(path: Path) -> None:
    """All that it takes to read, test and build the project."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    wanted |= {"pyproject.toml", "mkdocs.yml", "_sentry_segment_pytest.py"}
    for folder in ("sentry_segment", "tests", "docs", "examples", "benchmarks", "scripts"):
        wanted |= files_in(folder)
    assert wanted <= names, f"missing: {wanted - names}"
    more = names - wanted - {"PKG-INFO", ".gitignore"}
    assert not more, f"more than it should hold: {more}"
    print(f"{path.name}: {len(names)} files")


for argument in sys.argv[1:]:
    (check_wheel if argument.endswith(".whl") else check_sdist)(Path(argument))
