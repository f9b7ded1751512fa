"""What Relay's default rules filter in a text: by the words in it, and by the shape of its parts.

Found by asking Relay (`sentry_relay.processing.pii_strip_event`), with which the tests compare all
of it. See also https://docs.sentry.io/security-legal-pii/scrubbing/server-side-scrubbing/.

Time grows with a text's length and no faster: in each expression, what may be repeated without
bound can't be repeated in two ways, and is not searched for again from within a repetition. The
tests look at the expressions for that.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from unicodedata import category

FILTERED = "[Filtered]"

_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Relay's \s, not ours

_KEY = re.compile("(?:api|private)[_-]?key")
_TOKEN = re.compile(f"token([^{_SPACE}]*)")

# Each stands by itself, not within a word. For letters other than Latin ones see `_stands_alone`.
_BEARER = re.compile(rf"(?<![0-9A-Za-z_])[Bb][Ee][Aa][Rr][Ee][Rr][{_SPACE}]+[^{_SPACE}]+")
_CARD = re.compile(
    rf"(?<![0-9A-Za-z_])(?:3[47]\d|4\d\d\d|5[1-5]\d\d|65\d\d|6011)(?:[-{_SPACE}]?\d){{12}}"
    r"(?![0-9A-Za-z_])"
)
_IBAN_COUNTRIES = (
    "A[DELOTZ] B[AEFGHIJRY] C[FGHIMRVYZ] D[EJKOZ] E[EGS] F[IOR] G[ABEILQRTW] H[NRU] I[ELQRST] "
    "J[O] K[MWZ] L[BCITUVY] M[ACDEGKLRTUZ] N[EILO] P[KLST] Q[A] R[OSU] S[ACEIKMNTV] T[DGLNR] "
    "U[A] V[AG] X[K]"
).replace(" ", "|")
_IBAN = re.compile(
    rf"(?<![0-9A-Za-z_])(?:{_IBAN_COUNTRIES})\d\d[0-9A-Za-z]{{11,29}}(?![0-9A-Za-z_])"
)
_SSN = re.compile(r"(?<![0-9A-Za-z_])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![0-9A-Za-z_])")
_PASSWORD = re.compile(
    r"((?:(?<![0-9A-Za-z_])[a-z0-9]+:|(?<=[^\0-/:-@[-^`{-\x7f]))"
    r"//[0-9A-Za-z_%.-]+:)[0-9A-Za-z_%.-]+(?=@)"
)
_PEM_BEGIN = re.compile("-----BEGIN([A-Z ]+)(?=-----)")
_PEM_END = re.compile("-----END([A-Z ]+)(?=-----)")
_KINDS_OF_KEY = ("PRIVATE KEY", "PUBLIC KEY")
_BEFORE_KEY = re.compile(r"[ \t]*\r?\n?")

_RUN_WITH_DIGITS = re.compile(rf"\d\d[-+{_SPACE}0-9A-Za-z\d]{{7}}")
_MANY_DIGITS = re.compile(rf"\d\d\d(?:[-+{_SPACE}]?\d){{6}}")
_LIKE_IBAN = re.compile(r"[A-Z]{2}\d\d[0-9A-Za-z]{11}")


def may_be_in(text: str) -> bool:
    """Whether something may have to be filtered in the text. Cheap: of most texts it is not true.

    A search for each word takes a tenth of the time that one expression with all of them does.
    """
    small = text.lower()
    if (
        "auth" in small
        or "token" in small
        or "secret" in small
        or "passw" in small
        or "api" in small
        or "private" in small
        or "credentials" in small
        or "bearer" in small
        or "otp" in small
        or "mysql_pwd" in small
        or "-----begin" in small
        or ("@" in small and "//" in small)
        or "\u017f" in small  # an s to Relay, wherever case doesn't count
        or "\0" in small  # Relay reads on as if there were none
    ):
        return True
    if text.isascii():
        ascii_text = text.encode()
        digits = len(text) - len(ascii_text.translate(None, b"0123456789"))
        if digits < 9 and (
            digits < 2 or small == text
        ):  # which leaves account numbers: in capitals
            return False
    if not _RUN_WITH_DIGITS.search(text):
        return False
    return bool(_MANY_DIGITS.search(text) or _LIKE_IBAN.search(text))


def is_name(name: str) -> bool:
    """Whether what has this name is filtered."""
    small = _lower(name)
    return "token" in small or _has_word(small)


def value(text: str) -> str:
    """The text without what is filtered in it; `FILTERED` alone where it holds one of the words."""
    if not may_be_in(text):
        return text
    # As in Relay, "\0" stands for what is filtered until all rules are through: so none looks into
    # what another has put there. And as in Relay, those of the text's own hide nothing.
    rest = text.replace("\0", "")
    has_digits = _RUN_WITH_DIGITS.search(rest)
    if "bearer" in rest.lower():
        rest = _without(_BEARER, rest)
    if has_digits:
        rest = _without(_IBAN, _without(_CARD, rest))
    small = _lower(rest)
    if _has_word(small) or ("token" in small and _names_a_token(small)):
        return FILTERED
    rest = _without_pem_keys(rest)
    if "@" in rest:
        rest = _without(_PASSWORD, rest)
    if has_digits:
        rest = _without(_SSN, rest)
    return rest.replace("\0", FILTERED) if "\0" in rest else text


def _lower(text: str) -> str:
    return text.lower().replace("\u017f", "s")  # where case doesn't count, that is an s


def _has_word(small: str) -> bool:
    return (
        "auth" in small
        or "secret" in small
        or "password" in small
        or "passwd" in small
        or "credentials" in small
        or ("key" in small and bool(_KEY.search(small)))
        or "mysql_pwd" in small
        or small == "otp"
    )


def _without(shape: re.Pattern[str], text: str) -> str:
    """The text with `"\0"` for all that has the shape, but for a group that is kept."""
    if text.isascii():
        return shape.sub("\\1\0" if shape.groups else "\0", text)
    kept = []
    start = position = 0
    while match := shape.search(text, position):
        if _stands_alone(match, ends=shape not in (_BEARER, _PASSWORD)):
            kept.append(text[start : match.end(1) if shape.groups else match.start()])
            start = position = match.end()
        else:
            position = match.start() + 1
    kept.append(text[start:])
    return "\0".join(kept)


def _stands_alone(match: re.Match[str], ends: bool) -> bool:
    """Whether a word begins, or has ended, where the match starts; and where it `ends` likewise.

    The expressions themselves see to that for Latin letters alone.
    """
    text, start, end = match.string, match.start(), match.end()
    if _is_of_word(text[start - 1] if start else "") == _is_of_word(text[start]):
        return False
    return not (ends and _is_of_word(text[end : end + 1]))


def _is_of_word(character: str) -> bool:
    """Whether it belongs to words by Unicode's rules for expressions (UTS 18), as in Relay."""
    if not character or character.isascii():
        return character.isalnum() or character == "_"
    kind = category(character)
    return (
        kind[0] in "LM"
        or kind in ("Nd", "Nl", "Pc")
        or character in "\u200c\u200d"
        # Letters in circles and squares.
        or "\u24b6" <= character <= "\u24e9"
        or "\U0001f130" <= character <= "\U0001f149"
        or "\U0001f150" <= character <= "\U0001f169"
        or "\U0001f170" <= character <= "\U0001f189"
    )


def _names_a_token(small: str) -> bool:
    """Whether there is a word with `token` in it, and behind that a `:` or `=`."""
    return any(":" in rest or "=" in rest for rest in _TOKEN.findall(small))


def _without_pem_keys(text: str) -> str:
    """The text without what is between the first and the last line of keys in PEM."""
    if "-----BEGIN" not in text:
        return text
    ends = list(_pem_lines(_PEM_END, text))
    end_starts = [start for start, _ in ends]
    kept = []
    position = 0
    for begin, inside in _pem_lines(_PEM_BEGIN, text):
        if begin < position:
            continue
        spaces = _BEFORE_KEY.match(text, inside)
        start = spaces.end() if spaces else inside
        index = bisect_left(end_starts, start + 1)
        if index == len(ends):
            # What is white space may be the key.
            index = bisect_left(end_starts, inside + 1)
            if index == len(ends):
                break
            start = end_starts[index] - 1
        stop = end_starts[index]
        stop -= stop - 1 > start and text[stop - 1] == "\n"
        stop -= stop - 1 > start and text[stop - 1] == "\r"
        kept.append(text[position:start])
        kept.append("\0" + text[stop : ends[index][1]])
        position = ends[index][1]
    kept.append(text[position:])
    return "".join(kept)


def _pem_lines(line: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Where the lines of this kind, of keys, begin and end."""
    for match in line.finditer(text):
        # There is at least a space between BEGIN and the kind.
        if match[1][1:].endswith(_KINDS_OF_KEY):
            yield match.start(), match.end() + 5
