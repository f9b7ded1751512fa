"""Orders articles, each with a job: python -m rq_worker.order 1906=teapot 7=unicorn =unicorn

Before the = is the user's id; a visitor has none.
"""

from __future__ import annotations

import os
import sys

from redis import Redis
from rq import Queue

from rq_worker.jobs import charge, recommend


def main() -> None:
    redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    queue = Queue("shop", connection=redis)
    for order in sys.argv[1:]:
        user_id, _, article = order.partition("=")
        queue.enqueue(recommend, article, user_id=user_id or None)
        queue.enqueue(charge, article, user_id=user_id or None)


if __name__ == "__main__":
    main()
