"""Who does what in the shop, and what must come of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from demo.shop import USERS


@dataclass(frozen=True)
class Visitor:
    name: str
    ip: str
    """As a proxy in front of the shop would tell it; from the addresses meant for documentation."""
    user_agent: str


@dataclass(frozen=True)
class Visit:
    """One request, its answer, and what Sentry and Segment must have of it."""

    visitor: Visitor
    method: str
    target: str
    transaction: str
    status: int
    form: Mapping[str, str] = field(default_factory=dict)
    logged_in: bool = True
    exceptions: tuple[str, ...] = ()
    """The types of the event's exceptions, the cause first, as Sentry orders them."""
    message: str | None = None
    """The text of an event without an exception."""

    @property
    def user_id(self) -> int | None:
        return USERS[self.visitor.name].id if self.logged_in else None

    @property
    def has_event(self) -> bool:
        return bool(self.exceptions) or self.message is not None

    @property
    def is_mirrored(self) -> bool:
        """Whether it is an error of somebody known."""
        return bool(self.exceptions) and self.user_id is not None


@dataclass(frozen=True)
class Visited:
    """A visit that has been made."""

    visit: Visit
    request_id: str
    """Sent as the header `X-Request-Id`, by which its events are found again."""
    url: httpx.URL
    referrer: str
    status: int


ADA = Visitor("ada", "203.0.113.15", "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Firefox/132.0")
GRACE = Visitor("grace", "198.51.100.6", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)")
ALAN = Visitor("alan", "2001:db8::1912", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Edg/131.0")

VISITS = [
    Visit(ADA, "GET", "/", "home", 200, logged_in=False),
    Visit(
        ADA,
        "GET",
        "/products/lamp?currency=BTC",
        "product",
        500,
        logged_in=False,
        exceptions=("KeyError",),
    ),
    Visit(ADA, "POST", "/login", "login", 302, form={"user": "ada"}, logged_in=False),
    Visit(ADA, "GET", "/products/lamp?currency=USD", "product", 200),
    Visit(ADA, "POST", "/cart/lamp", "add_to_cart", 302),
    Visit(ADA, "GET", "/cart", "cart", 200, exceptions=("ZeroDivisionError",)),
    Visit(ADA, "POST", "/coupon", "coupon", 200, message="An old coupon was used"),
    Visit(ADA, "POST", "/checkout", "checkout", 200),
    Visit(GRACE, "POST", "/login", "login", 302, form={"user": "grace"}, logged_in=False),
    Visit(
        GRACE,
        "GET",
        "/products/chair?currency=GBP&utm_source=spring+mail",
        "product",
        500,
        exceptions=("KeyError",),
    ),
    Visit(
        GRACE,
        "POST",
        "/checkout?express=1",
        "checkout",
        500,
        exceptions=("TimeoutError", "PaymentError"),
    ),
    Visit(ALAN, "POST", "/login", "login", 302, form={"user": "alan"}, logged_in=False),
    Visit(ALAN, "POST", "/checkout", "checkout", 500, exceptions=("AttributeError",)),
    Visit(ALAN, "POST", "/logout", "logout", 302),
    Visit(
        ALAN,
        "POST",
        "/checkout",
        "checkout",
        500,
        logged_in=False,
        exceptions=("KeyError",),
    ),
    Visit(ADA, "GET", "/products/sofa", "product", 500, exceptions=("KeyError",)),
]


class Browsers:
    """Makes visits, with the cookies and the referrer of each visitor."""

    def __init__(self, shop_url: str) -> None:
        self._shop_url = shop_url
        self._clients: dict[str, httpx.Client] = {}
        self._referrers: dict[str, str] = {}

    def make(self, visit: Visit) -> Visited:
        """The real HTTP request."""
        visitor = visit.visitor
        client = self._clients.get(visitor.name)
        if client is None:
            client = self._clients[visitor.name] = httpx.Client(
                base_url=self._shop_url,
                headers={"User-Agent": visitor.user_agent, "X-Forwarded-For": visitor.ip},
                trust_env=False,  # a proxy in the environment cannot reach 127.0.0.1
            )
        request_id = uuid.uuid4().hex
        referrer = self._referrers.get(visitor.name, "https://search.example/?q=shop")
        response = client.request(
            visit.method,
            visit.target,
            headers={"X-Request-Id": request_id, "Referer": referrer},
            data=visit.form or None,
        )
        self._referrers[visitor.name] = str(response.url)
        return Visited(visit, request_id, response.url, referrer, response.status_code)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
