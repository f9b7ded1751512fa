"""Parts of the inspector's page, and what fills it."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

from inspectors import Poster, message


def rows(page: Page) -> Locator:
    return page.get_by_role("option")


def details(page: Page) -> Locator:
    return page.locator("#details")


def status(page: Page) -> Locator:
    return page.get_by_role("status")


def post(app: Poster, *user_ids: str) -> None:
    app.batch(*(message(messageId=f"id-{user_id}", userId=user_id) for user_id in user_ids))


def users(page: Page) -> list[str]:
    """Those of the rows in sight, from above."""
    return [text.removeprefix("user ") for text in rows(page).locator(".facts").all_inner_texts()]
