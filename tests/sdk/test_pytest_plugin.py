"""The fixture `segment_messages`, as pytest finds it in a project that has the package."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pages import BLOCKS, Block
from scripts import LEAN
from support import MEASURED

SET_UP = f"""{textwrap.dedent(LEAN)}
import sentry_sdk
from sentry_segment import SegmentIntegration

sentry_sdk.init(integrations=[SegmentIntegration()], auto_enabling_integrations=False)

def fail(user_id):
    sentry_sdk.set_user({{"id": user_id}})
    sentry_sdk.capture_exception(KeyError("address"))
"""

# What else is installed beside it, and takes long to be imported.
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:anyio", "-p", "no:hypothesispytest")


def run(folder: Path, test: str, *arguments: str, measured: bool = False) -> str:
    """Run pytest in a project of its own, in a file with this text too; what it prints."""
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *WITHOUT, *arguments],
        cwd=folder,
        env={**os.environ, **(MEASURED if measured else {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_test_has_its_own_messages_without_an_import(tmp_path: Path) -> None:
    test = f"""{SET_UP}
def test_first(segment_messages):
    fail("1")
    assert [message["userId"] for message in segment_messages] == ["1"]

def test_second(segment_messages):
    assert segment_messages == []
    fail("2")
    fail("3")
    assert [message["userId"] for message in segment_messages] == ["2", "3"]
"""
    assert "2 passed" in run(tmp_path, test, measured=True)
    assert "2 passed" in run(tmp_path, test, "-n", "2")


def test_no_user_of_another_test_is_known(tmp_path: Path) -> None:
    test = (
        SET_UP
        + """
def test_before():
    fail("1")

def test_first(segment_messages):
    sentry_sdk.capture_exception(KeyError("address"))
    assert segment_messages == []
    fail("2")
    sentry_sdk.Scope.get_current_scope().set_user({"id": "3"})
    assert [message["userId"] for message in segment_messages] == ["2"]

def test_second(segment_messages):
    sentry_sdk.capture_exception(KeyError("address"))
    assert segment_messages == []
"""
    )
    assert "3 passed" in run(tmp_path, test)


def test_no_user_of_another_test_is_known_in_an_isolated_asyncio_test_case(tmp_path: Path) -> None:
    """Its object has made its context before any fixture, from Python 3.11 on."""
    test = (
        SET_UP
        + """
import unittest
import pytest

def test_before():
    fail("1")

class TestIt(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def collect(self, segment_messages):
        self.messages = segment_messages

    def setUp(self):
        sentry_sdk.capture_exception(KeyError("in setUp"))

    async def test_first(self):
        sentry_sdk.capture_exception(KeyError("address"))
        assert self.messages == []
        fail("2")
        sentry_sdk.Scope.get_current_scope().set_user({"id": "3"})
        assert [message["userId"] for message in self.messages] == ["2"]

    async def test_second(self):
        sentry_sdk.capture_exception(KeyError("address"))
        assert self.messages == []

@pytest.fixture
def a_user():
    with sentry_sdk.isolation_scope() as scope:
        scope.set_user({"id": "4"})
        yield

@pytest.mark.usefixtures("a_user", "segment_messages")
class TestWithAUser(unittest.IsolatedAsyncioTestCase):
    async def test_third(self):
        assert sentry_sdk.Scope.get_isolation_scope()._user is None

def test_after():
    assert sentry_sdk.Scope.get_isolation_scope()._user == {"id": "1"}
    assert sentry_sdk.Scope.get_current_scope()._user is None
"""
    )
    assert "5 passed" in run(tmp_path, test, measured=True)


def test_what_later_fixtures_set_is_known_in_an_isolated_asyncio_test_case(tmp_path: Path) -> None:
    test = (
        SET_UP
        + """
import unittest
import pytest

class TestIt(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def log_in(self, segment_messages):
        self.messages = segment_messages
        sentry_sdk.set_user({"id": "1"})

    async def test_it(self):
        sentry_sdk.capture_exception(KeyError("address"))
        assert [message["userId"] for message in self.messages] == ["1"]
"""
    )
    assert "1 passed" in run(tmp_path, test)


def test_a_client_of_a_scope_is_known(tmp_path: Path) -> None:
    test = (
        SET_UP
        + """
import pytest

@pytest.fixture(params=["get_isolation_scope", "get_current_scope"])
def own_client(request):
    client = sentry_sdk.Client(integrations=[SegmentIntegration()])
    with sentry_sdk.isolation_scope():
        getattr(sentry_sdk.Scope, request.param)().set_client(client)
        yield client

def test_it(own_client, segment_messages):
    assert sentry_sdk.Scope.get_client() is own_client
    fail("1")
    assert len(segment_messages) == 1
"""
    )
    assert "2 passed" in run(tmp_path, test)


def test_a_run_that_does_not_use_it_imports_nothing_for_it(tmp_path: Path) -> None:
    test = """
import sys

def test_imports():
    wanted = {"sentry_sdk", "sentry_segment", "httpx"}
    assert not wanted & set(sys.modules)
    assert "_sentry_segment_pytest" in sys.modules
"""
    assert "1 passed" in run(tmp_path, test)


def test_it_is_listed_with_its_description(tmp_path: Path) -> None:
    listed = run(tmp_path, "", "--fixtures")
    assert "segment_messages" in listed
    assert "The messages for Segment of this test, collected instead of sent." in listed


# The page


SHOP = """
from flask import Flask
import sentry_sdk
from sentry_segment import SegmentIntegration

sentry_sdk.init(integrations=[SegmentIntegration()])
app = Flask(__name__)

@app.post("/checkout")
def checkout():
    sentry_sdk.set_user({"id": "1906"})
    raise KeyError("address")
"""
FASTAPI_SHOP = """
from fastapi import FastAPI
import sentry_sdk
from sentry_segment import SegmentIntegration

sentry_sdk.init(integrations=[SegmentIntegration()])
app = FastAPI()

@app.post("/checkout")
async def checkout():
    sentry_sdk.set_user({"id": "1906"})
    raise KeyError("address")
"""
DJANGO_SHOP = """
import django
from django.conf import settings
from django.urls import path
import pytest
import sentry_sdk
from sentry_segment import SegmentIntegration

def checkout(request):
    sentry_sdk.set_user({"id": "1906"})
    raise KeyError("address")

def recommend(request):
    raise KeyError("article")

urlpatterns = [path("checkout", checkout), path("recommend", recommend)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"])
django.setup()
sentry_sdk.init(integrations=[SegmentIntegration()])

@pytest.fixture
def client():
    from django.test import Client
    return Client(raise_request_exception=False)
"""
PARTS = {
    "In a test": ("shop.py", SHOP),
    "Flask": ("shop.py", SHOP),
    "FastAPI": ("shop.py", FASTAPI_SHOP),
    "Django": ("conftest.py", DJANGO_SHOP),
    "Without pytest": ("shop.py", SHOP),
}
EXAMPLES = [
    pytest.param(block, id=block.name)
    for block in BLOCKS
    if block.page.name == "testing.md" and block.language == "python"
]


@pytest.mark.parametrize("block", EXAMPLES)
def test_every_example_of_the_page_is_a_test_that_passes(block: Block, tmp_path: Path) -> None:
    name, text = PARTS[block.heading]
    (tmp_path / name).write_text(text)
    broken = block.text.replace("1906", "1907")
    assert broken != block.text
    (tmp_path / "test_broken.py").write_text(broken)
    printed = run(tmp_path, block.text)
    assert "1 failed, 1 passed" in printed, printed
    assert "FAILED test_broken.py" in printed


def test_each_part_of_the_page_has_an_example() -> None:
    assert {example.values[0].heading for example in EXAMPLES} == set(PARTS)  # type: ignore[union-attr]
