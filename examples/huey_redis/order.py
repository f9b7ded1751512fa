"""Orders articles, each with two tasks: python -m huey_redis.order 1906=teapot =unicorn

Before the = is the user's id; a visitor has none.
"""

from __future__ import annotations

import sys

from huey_redis.tasks import charge, recommend


def main() -> None:
    for order in sys.argv[1:]:
        user_id, _, article = order.partition("=")
        recommend(article, user_id=user_id or None)
        charge(article, user_id=user_id or None)


if __name__ == "__main__":
    main()
