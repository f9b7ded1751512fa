"""Orders articles, each with two jobs: python -m arq_redis.order 1906=teapot =unicorn

Before the = is the user's id; a visitor has none.
"""

from __future__ import annotations

import asyncio
import sys

from arq.connections import create_pool

from arq_redis.tasks import Worker


async def main() -> None:
    queue = await create_pool(Worker.redis_settings)
    for order in sys.argv[1:]:
        user_id, _, article = order.partition("=")
        await queue.enqueue_job("recommend", article, user_id=user_id or None)
        await queue.enqueue_job("charge", article, user_id=user_id or None)
    await queue.aclose()


if __name__ == "__main__":
    asyncio.run(main())
