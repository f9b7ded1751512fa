"""What the examples' jobs are asked for: by each user an article that is there and one that is not,
and by visitors one that is not."""

from __future__ import annotations

from stacks.arrivals import Mirrored

USERS = ["7", "8", "9"]
ORDERS = [
    order for user in USERS for order in (f"{user}=unicorn-{user}", f"{user}=cup", f"=ghost-{user}")
]
"""As the examples take them, `USER=ARTICLE`."""


def errors_of(users: list[str], *jobs: str) -> list[Mirrored]:
    """One for each of these users in each of the jobs, which have these names."""
    found = [Mirrored(user, "KeyError", f"'unicorn-{user}'", job) for user in users for job in jobs]
    return sorted(found, key=str)
