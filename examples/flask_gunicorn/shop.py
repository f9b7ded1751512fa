"""The shop. None of its pages says to Sentry who the user is: its Flask integration asks
Flask-Login. What gunicorn serves: gunicorn flask_gunicorn.shop:app"""

from __future__ import annotations

import os
import secrets

import sentry_sdk
from flask import Flask, Response, abort, jsonify, request
from flask_login import LoginManager, UserMixin, login_required, login_user

from sentry_segment import SegmentIntegration, anonymous_id_from, set_anonymous_id

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    send_default_pii=True,  # else Flask-Login's user would not be told to Sentry
    integrations=[
        SegmentIntegration(anonymous=True, spool=os.environ.get("SEGMENT_SPOOL")),
    ],
)

app = Flask(__name__)
app.secret_key = os.environ["SHOP_SECRET_KEY"]  # signs the sessions
login_manager = LoginManager(app)

PASSWORDS = {"7": "seven", "8": "eight", "9": "nine"}  # in the place of a table of hashes
PRICES = {"cup": 8, "teapot": 40}


class Customer(UserMixin):  # type: ignore[misc]
    """Has the id that Sentry, and so Segment, is told."""

    def __init__(self, customer_id: str) -> None:
        self.id = customer_id


@login_manager.user_loader
def customer(customer_id: str) -> Customer | None:
    return Customer(customer_id) if customer_id in PASSWORDS else None


@app.before_request
def who_is_it() -> None:
    """A visitor is known to Segment by its cookie."""
    set_anonymous_id(anonymous_id_from(request.cookies))


@app.post("/login")
def login() -> Response:
    name, given = request.form["username"], request.form["password"]
    password = PASSWORDS.get(name)
    if not password or not secrets.compare_digest(password.encode(), given.encode()):
        abort(401)
    login_user(Customer(name))
    return jsonify(customer=name)


@app.get("/account")
@login_required
def account() -> Response:
    return jsonify(articles=sorted(PRICES))


@app.post("/order/<article>")
def order(article: str) -> Response:
    """Fails where there is no such article."""
    pieces = request.get_json()["pieces"]
    return jsonify(price=pieces * PRICES[article])


@app.get("/recommend/<article>")
def recommend(article: str) -> Response:
    """Can do without the article, but somebody should know."""
    try:
        limit = PRICES[article]
    except KeyError:
        app.logger.exception("Nothing to recommend")
        return jsonify(articles=[])
    return jsonify(articles=[name for name, price in PRICES.items() if price <= limit])
