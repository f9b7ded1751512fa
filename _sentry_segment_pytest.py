"""The pytest plugin: the fixture `segment_messages`.

pytest imports it in every run, in projects that never use it. So it stands outside the package,
which would bring Sentry's SDK and httpx, and imports that when the fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sentry_segment import TrackMessage


@pytest.fixture
def segment_messages(request: pytest.FixtureRequest) -> Iterator[list[TrackMessage]]:
    """The messages for Segment of this test, collected instead of sent.

    See `sentry_segment.testing.capture_messages`. No user that another test has told Sentry is
    known in this one: it has Sentry scopes of its own.
    """
    from sentry_segment.testing import capture_messages, scopes_of_its_own

    with scopes_of_its_own(request.instance), capture_messages() as messages:
        yield messages
