"""What the tunnel answers by itself."""

from __future__ import annotations

from sentry_segment.tunnel.forward import Answer


class RefusalError(Exception):
    """A request that is not passed on: the status of the answer, and why, in words."""

    def __init__(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers

    @property
    def answer(self) -> Answer:
        headers = [("content-type", "text/plain; charset=utf-8"), *self.headers]
        return Answer(self.status, headers, f"{self}\n".encode())


def too_long() -> RefusalError:
    return RefusalError(413, "The body is too long")


def cut_off() -> RefusalError:
    return RefusalError(400, "The body is cut off")
