"""Customers and visitors of a shop on the web, all at once; and what is to be mirrored of them."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from collector import Collector
from sentry_segment import __version__
from stacks.arrivals import Mirrored, exception, mirrored, texts_of
from stacks.processes import PATIENCE

PAGES = {"order": "POST", "recommend": "GET"}
"""What all shops have, with an article at the end of the path. Each has an error, unhandled in the
one and logged in the other, where there is no such article."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Visit:
    """One request. By its number all that is sent of it differs from every other's."""

    number: int
    customer: str | None
    """The user's id; `None` for a visitor."""
    page: str
    article: str

    @property
    def is_wrong(self) -> bool:
        return self.article.startswith("unicorn")

    @property
    def text(self) -> str:
        """Of its error."""
        return f"'{self.article}'"

    @property
    def headers(self) -> dict[str, str]:
        return {
            "User-Agent": f"Browser/{self.number}",
            "Referer": f"https://shop.example/{self.number}",
            "X-Forwarded-For": self.address,
        }

    @property
    def address(self) -> str:
        """The browser's, as a proxy before the shop would say it."""
        return f"198.51.{self.number // 256}.{self.number % 256}"


@dataclass(frozen=True)
class Shop:
    """What the tests have to know of one shop."""

    enter: Callable[[httpx.Client, str | None], object]
    """Has a browser logged in as the customer with this id, or ready to be a visitor's."""
    transaction: str
    """Its name in Sentry, with a place for the page's."""
    customers: Sequence[str]
    sends_ip: bool = True

    @property
    def people(self) -> list[str | None]:
        """The customers, and as many visitors."""
        return [*self.customers, *(None for _ in self.customers)]


def browse(shop: Shop, url: str, together: bool = True) -> list[Visit]:
    """Have all people make some visits at once, each in a thread with a browser.

    Where the server can have so many requests under way, in one process, they are: each order is
    begun, and goes on only when everybody has begun one.
    """
    people = shop.people
    begun = threading.Barrier(len(people) if together else 1, timeout=PATIENCE)

    def visits_of(person: str | None) -> list[Visit]:
        try:
            # A connection for each request: one that is kept open may be closed by a server that
            # restarts, just as it is used again.
            with httpx.Client(
                base_url=url, timeout=PATIENCE, trust_env=False, headers={"Connection": "close"}
            ) as browser:
                shop.enter(browser, person)
                assert browser.get("/account").is_success == (person is not None)
                return list(_visits(browser, person, begun))
        except BaseException:
            begun.abort()
            raise

    with ThreadPoolExecutor(len(people)) as pool:
        made = [pool.submit(visits_of, person) for person in people]
    failed = [error for each in made if (error := each.exception())]
    for error in sorted(failed, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error  # the one that broke the barrier first
    return [visit for each in made for visit in each.result()]


def browse_and(
    act: Callable[[], object], shop: Shop, url: str, collector: Collector, together: bool = True
) -> list[Visit]:
    """`browse`, and do something in its midst: when the next error has arrived at the collector."""
    begun = threading.Event()
    collector.on_arrival = lambda kind, what: begun.set()
    with ThreadPoolExecutor(1) as pool:
        visits = pool.submit(browse, shop, url, together)
        assert begun.wait(PATIENCE)
        act()
        return visits.result()


def errors_in(visits: Sequence[Visit]) -> int:
    """How many Sentry gets."""
    return sum(visit.is_wrong for visit in visits)


def _visits(browser: httpx.Client, person: str | None, begun: threading.Barrier) -> Iterator[Visit]:
    for page, is_wrong in itertools.product(PAGES, (True, False, True)):
        number = next(_numbers)
        visit = Visit(number, person, page, f"unicorn-{number}" if is_wrong else "cup")
        body = b'{"pieces": 2}' if page == "order" else b""

        def in_two_parts(body: bytes = body) -> Iterator[bytes]:
            yield body[:5]
            if body:
                begun.wait()
            yield body[5:]

        response = browser.request(
            PAGES[page],
            f"/{page}/{visit.article}?visit={number}",
            content=in_two_parts(),
            headers={
                **visit.headers,
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "X-CSRFToken": browser.cookies.get("csrftoken") or "",
            },
        )
        assert response.is_server_error == (visit.is_wrong and page == "order"), response.text
        yield visit


class Arrived(NamedTuple):
    """All that there is of some visits."""

    events: Counter[str]
    """How often each error is in Sentry, by its text."""
    mirrored: list[Mirrored]
    contexts: dict[str, dict[str, Any]]
    """What each message says of the request, by the text of its error."""


def expected(shop: Shop, url: str, visits: Sequence[Visit]) -> Arrived:
    """Each error once, with what belongs to its own request; the visitors' in Sentry alone."""
    wrong = [visit for visit in visits if visit.is_wrong]
    customers = [visit for visit in wrong if visit.customer is not None]
    errors = (
        Mirrored(str(each.customer), "KeyError", each.text, shop.transaction.format(each.page))
        for each in customers
    )
    return Arrived(
        Counter(visit.text for visit in wrong),
        sorted(errors, key=str),
        {each.text: _context(shop, url, each) for each in customers},
    )


def arrived(collector: Collector) -> Arrived:
    return Arrived(texts_of(collector.events), mirrored(collector), _contexts(collector))


def _contexts(collector: Collector) -> dict[str, dict[str, Any]]:
    texts = {event["event_id"]: exception(event)["value"] for event in collector.events}
    return {texts[message["messageId"]]: message["context"] for message in collector.messages}


def _context(shop: Shop, url: str, visit: Visit) -> dict[str, Any]:
    ip = {"ip": visit.address} if shop.sends_ip else {}
    return {
        "library": {"name": "sentry", "version": __version__},
        "userAgent": visit.headers["User-Agent"],
        "page": {
            "url": f"{url}/{visit.page}/{visit.article}",
            "method": PAGES[visit.page],
            "search": f"visit={visit.number}",
            "referrer": visit.headers["Referer"],
        },
        **ip,
    }
