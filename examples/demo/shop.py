"""The application: a small shop in Flask, with Sentry, and its errors mirrored to Segment.

    SENTRY_DSN=... SEGMENT_WRITE_KEY=... SEGMENT_HOST=... python -m demo.shop

Not as arguments: Sentry keeps those of the process with each event, and the write key is a secret.
The shop writes its own URL as the first line on standard output, and ends orderly on SIGTERM; with
`--until-stdin-ends` also when whoever started it is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass

import sentry_sdk
from flask import Flask, redirect, render_template_string, request, session, url_for
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from sentry_segment import SegmentIntegration
from sentry_segment.tunnel import SentryTunnel, TunnelRequest

RELEASE = "shop@1.4.2"
ENVIRONMENT = "demo"


def init_sentry(dsn: str, write_key: str, segment_host: str) -> None:
    """All that mirroring takes: one integration more."""
    sentry_sdk.init(
        dsn=dsn,
        integrations=[SegmentIntegration(write_key=write_key, host=segment_host)],
        release=RELEASE,
        environment=ENVIRONMENT,
        traces_sample_rate=1.0,
        send_default_pii=True,
    )


class PaymentError(Exception):
    """The customer could not pay."""


@dataclass(frozen=True)
class Address:
    street: str
    country: str


@dataclass(frozen=True)
class User:
    id: int
    name: str
    address: Address | None
    bank_answers: bool = True

    @property
    def email(self) -> str:
        return f"{self.name}@shop.example"


USERS = {
    user.name: user
    for user in (
        User(1815, "ada", Address("12 St James's Square", "GB")),
        User(1906, "grace", Address("5 Navy Yard", "US"), bank_answers=False),
        User(1912, "alan", None),
    )
}
PRICES = {"lamp": 39.0, "chair": 120.0}
RATES = {"EUR": 1.0, "USD": 1.09}

PAGE = """<!doctype html>
<title>The shop</title>
<h1>{{ title }}</h1>
{% for line in lines %}<p>{{ line }}</p>{% endfor %}
<hr>
<p>You are {{ session.get("user", "a guest") }}.</p>
{% for name in users %}
<form method="post" action="{{ url_for('login') }}">
  <button name="user" value="{{ name }}">Log in as {{ name }}</button>
</form>
{% endfor %}
<form method="post" action="{{ url_for('logout') }}"><button>Log out</button></form>
<ul>
  <li><a href="{{ url_for('home') }}">Home</a>: works</li>
  <li><a href="{{ url_for('product', sku='lamp', currency='USD') }}">A lamp in USD</a>: works</li>
  <li><a href="{{ url_for('product', sku='lamp', currency='BTC') }}">A lamp in BTC</a>: fails</li>
  <li><a href="{{ url_for('cart') }}">The cart</a>: works, with a handled error</li>
  <li><a href="{{ url_for('lottery') }}">The lottery</a>: fails in your browser</li>
</ul>
<form method="post" action="{{ url_for('add_to_cart', sku='lamp') }}">
  <button>Put a lamp into the cart</button>: works
</form>
<form method="post" action="{{ url_for('coupon') }}">
  <button>Use an old coupon</button>: works, with a message to Sentry
</form>
<form method="post" action="{{ url_for('checkout') }}">
  <button>Check out</button>: works for ada, fails for everybody else
</form>
"""

# A page of yours has Sentry's SDK, and Sentry.init({dsn: "...", tunnel: "/tunnel"}), in the place
# of the first script, which loads nothing from elsewhere.
LOTTERY = """<!doctype html>
<title>The lottery</title>
<h1>The lottery</h1>
<p><button id="draw">Draw a number</button> <output></output></p>
<p><a href="{{ url_for('home') }}">Home</a></p>
<script>
  addEventListener("error", ({ error }) => {
    const event = {
      event_id: crypto.randomUUID().replaceAll("-", ""), timestamp: Date.now() / 1000,
      platform: "javascript",
      environment: {{ environment | tojson }}, release: {{ release | tojson }},
      exception: { values: [{ type: error.name, value: error.message }] },
      request: { url: location.href, headers: { "User-Agent": navigator.userAgent } },
    }
    const lines = [{ dsn: {{ dsn | tojson }} }, { type: "event" }, event]
    const texts = lines.map((line) => JSON.stringify(line))
    fetch("/tunnel", { method: "POST", body: texts.join("\\n") })
    document.querySelector("output").textContent = "This failed. Sentry knows of it by now."
  })
</script>
<script>
  const tickets = {}
  document.querySelector("#draw").addEventListener("click", () => {
    document.querySelector("output").textContent = tickets.mine.number
  })
</script>
"""

app = Flask(__name__)
app.secret_key = "a demo's secret"


@app.before_request
def tell_sentry_who_it_is() -> None:
    user = USERS.get(session.get("user", ""))
    if user is not None:
        sentry_sdk.set_user({"id": user.id, "email": user.email, "username": user.name})


@app.get("/")
def home() -> str:
    return page("The shop", *PRICES)


@app.post("/login")
def login() -> Response:
    session["user"] = USERS[request.form["user"]].name
    return redirect(url_for("home"))


@app.post("/logout")
def logout() -> Response:
    session.clear()
    return redirect(url_for("home"))


@app.get("/products/<sku>")
def product(sku: str) -> str:
    currency = request.args.get("currency", "EUR")
    return page(sku, f"{PRICES[sku] * RATES[currency]:.2f} {currency}")


@app.get("/cart")
def cart() -> str:
    skus: list[str] = session.get("cart", [])
    try:
        average = mean_rating([])  # nobody has rated anything yet
    except ZeroDivisionError as error:
        sentry_sdk.capture_exception(error)
        return page("Your cart", *skus)
    return page("Your cart", *skus, f"Others like it: {average}")


@app.get("/lottery")
def lottery() -> str:
    dsn = sentry_sdk.get_client().dsn
    return render_template_string(LOTTERY, dsn=dsn, environment=ENVIRONMENT, release=RELEASE)


def who(sent: TunnelRequest) -> int | None:
    """By the session, whatever the browser says."""
    with app.request_context(dict(sent.scope)):
        user = USERS.get(session.get("user", ""))
        return None if user is None else user.id


tunnel = SentryTunnel(user_id=who)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/tunnel": tunnel.wsgi})  # type: ignore[method-assign]


@app.post("/cart/<sku>")
def add_to_cart(sku: str) -> Response:
    session["cart"] = [*session.get("cart", []), sku]
    return redirect(url_for("cart"))


@app.post("/coupon")
def coupon() -> str:
    sentry_sdk.capture_message("An old coupon was used", level="warning")
    return page("Your cart", "This coupon has ended.")


@app.post("/checkout")
def checkout() -> str:
    user = USERS[session["user"]]
    country = user.address.country  # type: ignore[union-attr]  # the bug that alan meets
    charge(user)
    return page("Thank you", f"It is on its way to {country}.")


@app.errorhandler(500)
def failed(error: Exception) -> tuple[str, int]:
    return page("This failed", "As it was to. Sentry knows of it by now."), 500


def charge(user: User) -> None:
    try:
        ask_bank(user)
    except TimeoutError as error:
        raise PaymentError(f"{user.name} could not pay") from error


def ask_bank(user: User) -> None:
    if not user.bank_answers:
        raise TimeoutError("the bank did not answer")


def mean_rating(ratings: list[int]) -> float:
    return sum(ratings) / len(ratings)


def page(title: str, *lines: str) -> str:
    return render_template_string(PAGE, title=title, lines=lines, users=USERS)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    init_sentry(
        dsn=os.environ["SENTRY_DSN"],
        write_key=os.environ["SEGMENT_WRITE_KEY"],
        segment_host=os.environ["SEGMENT_HOST"],
    )
    server = make_server("127.0.0.1", 0, app, threaded=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # sentry_sdk then flushes at exit
    if "--until-stdin-ends" in sys.argv:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def end_with_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
