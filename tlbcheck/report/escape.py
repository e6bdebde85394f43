"""Text that somebody else wrote, made safe for a terminal, for XML and for Markdown. (HTML is escaped by its templates.)"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&@$]|:(?=//)|^[-+=]|(?<=^\d)[.)]|(?<=^\d\d)[.)])")


def visible(text: str) -> str:
    """``text`` without what would steer a terminal or reorder a line: such characters are spelled out."""
    return _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{ord(m[0]):04x}", text)


def xml_text(text: str) -> str:
    """``text`` with only characters that XML 1.0 allows; markup is for the XML library to escape."""
    return _NOT_XML.sub("\ufffd", visible(text))


def markdown(text: str) -> str:
    """``text`` as plain words on one line of Markdown."""
    return _MARKDOWN.sub(r"\\\1", " ".join(visible(text).split()))


def code(text: str) -> str:
    """``text`` as a code span of Markdown, also within a table."""
    text = " ".join(visible(text).split()).replace("|", "¦")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""


def fenced(text: str) -> str:
    """``text`` as a block of code in Markdown."""
    text = visible(text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
