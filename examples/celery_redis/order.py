"""Orders articles, each with a task: python -m celery_redis.order 1906=teapot 7=unicorn =unicorn

Before the = is the user's id; a visitor has none.
"""

from __future__ import annotations

import sys

from celery_redis.tasks import charge, recommend


def main() -> None:
    for order in sys.argv[1:]:
        user_id, _, article = order.partition("=")
        recommend.delay(article, user_id=user_id or None)
        charge.delay(article, user_id=user_id or None)


if __name__ == "__main__":
    main()
