"""The demo that is served: somebody clicks. The other, with visits, `scripts/test` runs itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sqlite_spools import wait_until

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "demo", "--serve"], cwd=EXAMPLES, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def url_after(demo: subprocess.Popen[str], words: str) -> str:
    """The URL at the end of the next line, which begins with these words."""
    assert demo.stdout is not None
    line = demo.stdout.readline()
    assert line.startswith(words), line
    return line.split()[-1]


def records(inspector: str, number: int) -> list[dict[str, Any]]:
    """What has arrived, once there is so much of it."""

    def found() -> list[dict[str, Any]]:
        answer: dict[str, Any] = httpx.get(f"{inspector}/inspector/records").json()
        return list(answer["records"])

    wait_until(lambda: len(found()) >= number)
    return found()


def test_the_shop_does_not_outlive_a_demo_that_is_killed(demo: subprocess.Popen[str]) -> None:
    shop = url_after(demo, "The shop")
    with httpx.Client(base_url=shop) as browser:
        assert browser.get("/").status_code == 200
    demo.kill()
    demo.wait(timeout=30)
    wait_until(lambda: not answers(shop))


def answers(url: str) -> bool:
    try:
        httpx.get(url)
    except httpx.TransportError:
        return False
    return True


def test_whoever_clicks_in_the_shop_sees_it_in_the_inspector(demo: subprocess.Popen[str]) -> None:
    shop = url_after(demo, "The shop")
    inspector = url_after(demo, "Sentry and Segment, played locally")
    with httpx.Client(base_url=shop, follow_redirects=True) as browser:
        assert browser.get("/products/lamp?currency=BTC").status_code == 500
        [guest] = records(inspector, 1)
        assert browser.post("/login", data={"user": "grace"}).status_code == 200
        assert browser.get("/products/lamp?currency=BTC").status_code == 500
    arrived = records(inspector, 3)[1:]
    assert guest["summary"]["why_not"] == "no user id"
    assert {each["side"] for each in arrived} == {"sentry", "segment"}
    assert {each["summary"]["user"] for each in arrived} == {"1906"}
    assert len({each["id"] for each in arrived}) == 1
    assert "text/html" in httpx.get(inspector).headers["Content-Type"]
    demo.send_signal(signal.SIGINT)
    assert demo.wait(timeout=30) == 0
