"""Makes thumbnails in a pool of threads: python worker_thread/thumbnails.py 1906=cat.png 7=cat.txt

Before the = is the id of the user whose image it is; a guest has none.
"""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import sentry_sdk

from sentry_segment import SegmentIntegration

logger = logging.getLogger("thumbnails")


def main() -> None:
    sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
        release="shop@1.4.2",
        integrations=[
            SegmentIntegration(
                spool=os.environ.get("SEGMENT_SPOOL"),
            )
        ],
    )
    pool = ThreadPoolExecutor(4)
    for upload in sys.argv[1:]:
        user_id, _, image = upload.partition("=")
        pool.submit(make_thumbnail, image, user_id)
    pool.shutdown(wait=False)


def make_thumbnail(image: str, user_id: str) -> str:
    """An error is kept in the task's future, where Sentry's SDK does not see it: it is logged."""
    # The scope is opened here: whether one of the submitting thread is taken along depends on the
    # version of Sentry's SDK.
    with sentry_sdk.isolation_scope() as scope:
        scope.set_transaction_name("thumbnails")
        if user_id:
            scope.set_user({"id": user_id})
        try:
            return shrink(image)
        except Exception:
            logger.exception("No thumbnail of %s", image)
            raise


def shrink(image: str) -> str:
    name, _, kind = image.rpartition(".")
    if kind != "png":
        raise ValueError(f"no image: {image}")
    return f"{name}.small.{kind}"


if __name__ == "__main__":
    main()
