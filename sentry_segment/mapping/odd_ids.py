"""User ids that can't join: of an object that was shown as Python shows it."""

from __future__ import annotations

import re

_REPR = r"([A-Za-z_][A-Za-z0-9_.]*)\((?:[^\"\\]|\\.)*\)|<([A-Za-z_][A-Za-z0-9_.]*)(?:[^\"\\]|\\.)*>"
_ODD_ID = re.compile(rf'(?:{_REPR})"'.encode())
_USER_ID = b'"userId":"'


def type_shown(body: bytes) -> str | None:
    """The type whose `repr` is the user id of an encoded message: `UUID` of `UUID('…')`, or `User`
    of `<User …>`.

    Sentry's SDK puts that in the place of an id that is no text or number. Segment knows no user by
    it, who was identified by the id alone.
    """
    start = body.find(_USER_ID) + len(_USER_ID)
    if body[body.find(b'"', start) - 1] not in b")>\\":  # which most are not: it takes a third
        return None
    match = _ODD_ID.match(body, start)
    return match and (match[1] or match[2]).decode()
