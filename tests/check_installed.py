"""Checks a wheel and its installation in an environment without any extra (see scripts/test)."""

from __future__ import annotations

import sys
import zipfile
from importlib import metadata
from pathlib import Path

import sentry_segment

wheel = Path(sys.argv[1])
with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()

strange = [
    name
    for name in names
    if not name.startswith(("sentry_segment/", f"sentry_segment-{sentry_segment.__version__}.dist"))
]
assert not strange, f"the wheel holds more than the package: {strange}"
assert "sentry_segment/py.typed" in names
assert not [name for name in names if name.endswith((".pyc", ".so"))]

required = [each for each in metadata.requires("sentry-segment") or [] if "extra ==" not in each]
assert {each.split(">")[0] for each in required} == {"sentry-sdk", "httpx"}, required
assert "site-packages" in str(sentry_segment.__file__)

sentry_segment.SegmentIntegration("write_key")
print(f"{wheel.name}: {len(names)} files, requires {', '.join(required)}")
