"""Orders articles, each with two tasks: python -m ray_tasks.shop 1906=teapot =unicorn

Before the = is the user's id; a visitor has none.
"""

from __future__ import annotations

import sys

import ray
from ray.exceptions import RayTaskError

from ray_tasks.tasks import charge, recommend, watch


def main() -> None:
    ray.init(runtime_env={"worker_process_setup_hook": watch}, include_dashboard=False)
    tasks = []
    for order in sys.argv[1:]:
        user_id, _, article = order.partition("=")
        tasks += [task.remote(article, user_id=user_id or None) for task in (charge, recommend)]
    for task in tasks:
        print(outcome(task), flush=True)


def outcome(task: ray.ObjectRef) -> object:
    try:
        return ray.get(task)
    except RayTaskError as error:
        return f"failed: {error.cause!r}"


if __name__ == "__main__":
    main()
