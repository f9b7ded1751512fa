"""How many steps a backtracking search takes: counted, so that no test depends on the clock.

A small matcher for what `re` has parsed. It goes the way that `re` itself goes, but for the
shortcuts that make that faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from typing import Any

try:
    _parser: Any = import_module("re._parser")
except ImportError:  # Python 3.10
    _parser = import_module("sre_parse")

_SINGLE = ("LITERAL", "NOT_LITERAL", "IN", "ANY")


class Steps:
    """A search through a text for all that an expression finds, and its steps."""

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self.taken = 0
        self._text = text
        self._tree = list(_parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE))
        self._flags = pattern.flags & (re.IGNORECASE | re.ASCII)
        self._classes: dict[int, re.Pattern[str]] = {}
        self._keep: list[Any] = []

    def match(self) -> list[tuple[int, int]]:
        """The match at the start of the text, if there is one."""
        return [(0, end) for end in [next(self._ends(self._tree, 0), None)] if end is not None]

    def search(self, from_next: bool = False) -> list[tuple[int, int]]:
        """Where there are matches; each time going on behind the last one.

        With `from_next` each is taken for a wrong one, and the search goes on one character
        after its start, as is the worst case of a loop that looks at the matches.
        """
        found = []
        position = 0
        while position <= len(self._text):
            self.taken += 1
            end = next(self._ends(self._tree, position), None)
            if end is not None:
                found.append((position, end))
            position = position + 1 if end is None or from_next else max(end, position + 1)
        return found

    def _ends(self, items: list[Any], position: int) -> Iterator[int]:
        """Where a match of the items can end, the preferred end first."""
        self.taken += 1
        if not items:
            yield position
            return
        (code, argument), rest = items[0], items[1:]
        for end in self._ends_of_one(str(code), argument, position):
            yield from self._ends(rest, end)

    def _ends_of_one(self, code: str, argument: Any, position: int) -> Iterator[int]:
        if code in _SINGLE:
            if self._is(code, argument, position):
                yield position + 1
        elif code == "MAX_REPEAT":
            low, high, body = argument
            yield from self._repeated(low, high, list(body), position)
        elif code == "SUBPATTERN":
            yield from self._ends(list(argument[-1]), position)
        elif code == "BRANCH":
            for branch in argument[1]:
                yield from self._ends(list(branch), position)
        elif code in ("ASSERT", "ASSERT_NOT"):
            direction, body = argument
            start = position - len(body) if direction < 0 else position
            holds = start >= 0 and next(self._ends(list(body), start), None) is not None
            if holds == (code == "ASSERT"):
                yield position
        elif code == "AT":
            place = {"AT_BEGINNING_STRING": 0, "AT_BEGINNING": 0, "AT_END_STRING": len(self._text)}
            if position == place[str(argument)]:
                yield position
        else:
            raise NotImplementedError(code)

    def _repeated(self, low: int, high: int, body: list[Any], position: int) -> Iterator[int]:
        if len(body) == 1 and str(body[0][0]) in _SINGLE:
            code, argument = body[0]
            end = position
            while end - position < high and self._is(str(code), argument, end):
                end += 1
            while end - position >= low:
                yield end
                self.taken += 1
                end -= 1
            return
        assert high <= 64, "what is repeated without bound is to be one character"
        if high:
            for end in self._ends(body, position):
                yield from self._repeated(max(low - 1, 0), high - 1, body, end)
        if not low:
            yield position

    def _is(self, code: str, argument: Any, position: int) -> bool:
        self.taken += 1
        if position >= len(self._text):
            return False
        if code == "ANY":
            return self._text[position] != "\n"
        if id(argument) not in self._classes or code == "LITERAL":
            self._classes[id(argument)] = re.compile(_class(code, argument), self._flags)
            self._keep.append(argument)
        return bool(self._classes[id(argument)].match(self._text, position))


_CATEGORIES = {"CATEGORY_DIGIT": r"\d", "CATEGORY_WORD": r"\w", "CATEGORY_SPACE": r"\s"}


def _class(code: str, argument: Any) -> str:
    """What stands for one character, as an expression."""
    if code != "IN":
        return f"[{'^' * (code == 'NOT_LITERAL')}{re.escape(chr(argument))}]"
    parts = []
    for kind, content in argument:
        if str(kind) == "NEGATE":
            parts.append("^")
        elif str(kind) == "LITERAL":
            parts.append(re.escape(chr(content)))
        elif str(kind) == "RANGE":
            parts.append("-".join(re.escape(chr(end)) for end in content))
        else:
            parts.append(_CATEGORIES[str(content)])
    return f"[{''.join(parts)}]"


def growth(steps: list[int]) -> float:
    """By how much the last doublings of a text's length have multiplied the steps, at the most."""
    return max(later / earlier for earlier, later in pairwise(steps))
