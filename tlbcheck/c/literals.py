"""C's integer and character literals."""

from __future__ import annotations

from dataclasses import dataclass

_ESCAPES = {"n": 10, "t": 9, "r": 13, "0": 0, "\\": 92, "'": 39, '"': 34, "a": 7, "b": 8, "f": 12, "v": 11}
_SUFFIXES = {"": (True, 32), "u": (False, 32), "l": (True, 64), "ll": (True, 64), "ul": (False, 64), "lu": (False, 64), "ull": (False, 64), "llu": (False, 64)}


@dataclass(frozen=True)
class Number:
    """A literal: its value, and the type that C gives it (LP64)."""

    value: int
    width: int
    signed: bool


def integer(text: str) -> Number | None:
    """The integer literal ``text``, or None if it is none that fits 64 bits."""
    digits = text.rstrip("uUlL")
    suffix = text[len(digits) :].lower()
    if suffix not in _SUFFIXES:
        return None
    if digits[:2] in ("0x", "0X"):
        base, digits = 16, digits[2:]
    elif digits[:2] in ("0b", "0B"):
        base, digits = 2, digits[2:]
    else:
        base = 8 if digits.startswith("0") and len(digits) > 1 else 10
    if not digits or len(digits) > 66 or "_" in digits:
        return None
    try:
        value = int(digits, base)
    except ValueError:
        return None
    signed, least = _SUFFIXES[suffix]
    # the first of C's list that holds it; a decimal literal without u is never unsigned
    for width in (32, 64):
        if width < least:
            continue
        if signed and value < 1 << (width - 1):
            return Number(value, width, True)
        if (not signed or base != 10) and value < 1 << width:
            return Number(value, width, False)
    return None


def character(text: str) -> int | None:
    """The value of a character literal such as 'a', or None if it is not a plain one."""
    inner = text[1:-1]
    if len(inner) == 1 and ord(inner) < 128:
        return ord(inner)
    if len(inner) == 2 and inner[0] == "\\":
        return _ESCAPES.get(inner[1])
    return None
