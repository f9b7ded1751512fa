"""The shop. What uvicorn serves: uvicorn fastapi_uvicorn.shop:app"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import sentry_sdk
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from starlette.routing import Route

from sentry_segment import SegmentIntegration, anonymous_id_from, set_anonymous_id
from sentry_segment.tunnel import SentryTunnel

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    integrations=[
        SegmentIntegration(anonymous=True, spool=os.environ.get("SEGMENT_SPOOL")),
    ],
)

logger = logging.getLogger(__name__)
login = HTTPBasic(auto_error=False)
ASK_FOR_LOGIN = {"WWW-Authenticate": "Basic"}

PASSWORDS = {"7": "seven", "8": "eight", "9": "nine"}  # in the place of a table of hashes
PRICES = {"cup": 8, "teapot": 40}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    # All requests are done. uvicorn ends by the signal that it was sent, without exit handlers.
    sentry_sdk.flush()


def customer(
    request: Request, credentials: Annotated[HTTPBasicCredentials | None, Depends(login)]
) -> str | None:
    """Tells Sentry who sends the request, as far as that is known, and Segment which visitor."""
    set_anonymous_id(anonymous_id_from(request.cookies))
    if credentials is None:
        return None
    password, given = PASSWORDS.get(credentials.username), credentials.password
    if not password or not secrets.compare_digest(password.encode(), given.encode()):
        raise HTTPException(401, headers=ASK_FOR_LOGIN)
    sentry_sdk.set_user({"id": credentials.username})
    return credentials.username


app = FastAPI(lifespan=lifespan, dependencies=[Depends(customer)])
# The errors of the browser's: Sentry.init({dsn: "...", tunnel: "/tunnel"})
app.routes.append(Route("/tunnel", SentryTunnel()))


@app.get("/account")
async def account(name: Annotated[str | None, Depends(customer)]) -> dict[str, str]:
    if name is None:
        raise HTTPException(401, headers=ASK_FOR_LOGIN)
    return {"customer": name}


@app.post("/order/{article}")
async def order(article: str, request: Request) -> dict[str, int]:
    """Fails where there is no such article."""
    pieces = (await request.json())["pieces"]
    return {"price": pieces * PRICES[article]}


@app.get("/recommend/{article}")
def recommend(article: str) -> dict[str, list[str]]:
    """Can do without the article, but somebody should know."""
    try:
        limit = PRICES[article]
    except KeyError:
        logger.exception("Nothing to recommend")
        return {"articles": []}
    return {"articles": [name for name, price in PRICES.items() if price <= limit]}


@app.post("/remind/{article}", status_code=202)
async def remind(article: str, tasks: BackgroundTasks) -> None:
    """Answers at once; what fails afterwards is still the error of whoever asked."""
    tasks.add_task(send_reminder, article)


def send_reminder(article: str) -> None:
    logger.info("%s for %s", article, PRICES[article])
