"""Whether a socket's descriptor is still its own.

A program that becomes a daemon, or starts another, may close every descriptor that it finds. The
number is then given to the next file or socket, a stranger's: what is written to it, read from it
or closed would be theirs.
"""

from __future__ import annotations

import os
import socket

Identity = tuple[int, int]
"""Device and inode, which no other open socket or file has."""


def identity(connection: socket.socket) -> Identity | None:
    """What the socket's descriptor stands for now; `None` where that can't be told.

    On Windows it never can: sockets are not among its descriptors.
    """
    try:
        status = os.fstat(connection.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_own(connection: socket.socket, connected: Identity | None) -> bool:
    """Whether the descriptor is what it was when it was connected."""
    return connected is None or identity(connection) == connected


def close(connection: socket.socket, connected: Identity | None) -> None:
    """Close a socket, unless its descriptor is a stranger's. Never raises, never waits."""
    try:
        if is_own(connection, connected):
            connection.close()
        else:
            connection.detach()  # so that nobody closes the number
    except Exception:  # noqa: BLE001, S110 - there is nothing left to be done with it
        pass
