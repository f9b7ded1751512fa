"""A browser for the tests of the inspector's page: one for each file of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sentry_segment.inspector.server import Inspector

if TYPE_CHECKING:  # the other tests need no Playwright
    from playwright.sync_api import Browser

    from stacks.browsers import Open


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from stacks.browsers import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def open_page(browser: Browser, inspector: Inspector) -> Iterator[Open]:
    from stacks.browsers import pages

    with pages(browser, inspector.url) as opened:
        yield opened
