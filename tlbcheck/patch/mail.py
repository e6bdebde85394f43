"""Mails, mboxes and attachments, down to plain text lines that know where in the file they stand."""

from __future__ import annotations

import binascii
import codecs
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from email import message_from_string
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message as Mail
from itertools import accumulate

from tlbcheck.errors import InputError
from tlbcheck.lang.source import SourceLine

_POSTMARK = re.compile(r"From \S.*\d\d:\d\d.*\d{4}")
_FIELD = re.compile(r"([!-9;-~]+):|[ \t]+\S|>?From ")
_WELL_KNOWN = frozenset({"from", "to", "subject", "date", "message-id", "received", "return-path", "mime-version", "content-type", "delivered-to"})
_NESTING = 8
_BOUNDARIES = 32
"""The email package asks every enclosing multipart about every line: more would take minutes to read."""
_FIELD_LENGTH = 2000
"""Characters of a header field that are read."""
_CHARSETS = ("utf", "iso8859", "cp", "koi8", "ascii", "gb", "big5", "euc", "iso2022", "shift", "mac")


@dataclass(frozen=True, slots=True)
class Message:
    """The lines of one text: a mail's body, an attachment, or a file that is no mail."""

    lines: tuple[SourceLine, ...]
    subject: str = ""
    author: str = ""
    date: str = ""
    message_id: str = ""


def messages(lines: Sequence[SourceLine]) -> Iterator[Message]:
    """The texts of a file: those of each mail of an mbox, of each part of a mail, or the file itself.

    Raises ``InputError`` for a mail whose parts are nested beyond reason.
    """
    yield from _split(lines, Message(()), 0)


def _split(lines: Sequence[SourceLine], outer: Message, nesting: int) -> Iterator[Message]:
    starts = [i for i, line in enumerate(lines) if line.text.startswith("From ") and _POSTMARK.match(line.text) and (i == 0 or not lines[i - 1].text.strip())]
    for start, end in zip([0, *starts], [*starts, len(lines)], strict=True):
        if start < end:
            yield from _one(lines[start:end], outer, nesting)


def _one(lines: Sequence[SourceLine], outer: Message, nesting: int) -> Iterator[Message]:
    first = next((i for i, line in enumerate(lines) if line.text.strip() and not _POSTMARK.match(line.text)), len(lines))
    if nesting >= _NESTING or not _is_mail(lines, first):
        yield replace(outer, lines=tuple(lines))
        return
    lines = lines[first:]
    text = "\n".join(line.text for line in lines)
    if text.lower().count("boundary=") > _BOUNDARIES:
        raise InputError(f"is a mail of more than {_BOUNDARIES} multipart bodies", place=lines[0].place, hint="give the part that holds the patch")
    try:
        mail = message_from_string(text)
        leaves = list(_leaves(mail, outer))
    except RecursionError:
        raise InputError("is a mail whose parts are nested too deep", place=lines[0].place, hint="give the part that holds the patch") from None
    offsets = [0, *accumulate(len(line.text) + 1 for line in lines)]
    cursor = 0
    for part, about in leaves:
        payload = part.get_payload(decode=False)
        if not isinstance(payload, str) or not payload:
            continue
        at = text.find("\n\n" + payload, cursor)
        if at < 0:  # a body without an empty line before it: the headers are broken there
            at = text.find("\n" + payload, cursor) - 1
        if at < -1:
            raise InputError("is a mail of which a part cannot be found again", place=lines[0].place, hint="give the part that holds the patch")
        cursor = at + 2 + len(payload)
        begin = bisect_right(offsets, at + 2) - 1
        body = lines[begin : bisect_right(offsets, cursor - 1)]
        if _wanted(part):
            yield from _split(_decoded(part, body), about, nesting + 1)


def _is_mail(lines: Sequence[SourceLine], first: int) -> bool:
    known = False
    for line in lines[first:]:
        if not line.text.strip():
            return known
        field = _FIELD.match(line.text)
        if not field:
            return False
        known = known or (field[1] or "").lower() in _WELL_KNOWN
    return False


def _leaves(mail: Mail, outer: Message) -> Iterator[tuple[Mail, Message]]:
    """The parts that are no containers, each with the header fields that hold for it."""
    subject, author, date, identity = (_field(mail, name) for name in ("Subject", "From", "Date", "Message-ID"))
    about = Message((), subject or outer.subject, author or outer.author, date or outer.date, identity or outer.message_id)
    if not mail.is_multipart():
        yield mail, about
        return
    for part in mail.get_payload():
        if isinstance(part, Mail):
            yield from _leaves(part, about)


def _field(mail: Mail, name: str) -> str:
    raw = str(mail.get(name, ""))[:_FIELD_LENGTH]
    try:
        value = str(make_header(decode_header(raw)))
    except (MessageError, LookupError, ValueError):
        value = raw
    return " ".join(value.split())


def _wanted(part: Mail) -> bool:
    """Text that may hold a patch: not the HTML twin of the text, no picture, no signature."""
    kind = part.get_content_type()
    name = str(part.get_filename() or "").lower()
    if name.endswith((".patch", ".diff")) or "patch" in kind or "diff" in kind:
        return True
    return kind.startswith(("text/", "multipart/")) and kind != "text/html"


def _decoded(part: Mail, body: Sequence[SourceLine]) -> Sequence[SourceLine]:
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    charset = _charset(part)
    if encoding == "quoted-printable":
        return list(_quoted_printable(body, charset))
    if encoding == "base64":
        return list(_base64(body, charset))
    if str(part.get_param("format", "")).lower() == "flowed":
        # RFC 3676, 4.4: a line that begins with a space was given one more.
        return [SourceLine(line.text[1:], replace(line.place, column=line.place.column + 1)) if line.text.startswith(" ") else line for line in body]
    return body


def _charset(part: Mail) -> str:
    try:
        name = codecs.lookup(str(part.get_param("charset", "utf-8"))).name
    except (LookupError, ValueError):
        return "utf-8"
    return name if name.replace("-", "").replace("_", "").startswith(_CHARSETS) else "utf-8"


def _quoted_printable(body: Sequence[SourceLine], charset: str) -> Iterator[SourceLine]:
    data = bytearray()
    start: SourceLine | None = None
    for line in body:
        start = start or line
        raw = line.text.rstrip()
        soft = raw.endswith("=")
        data += binascii.a2b_qp((raw[:-1] if soft else raw).encode())
        if not soft:
            yield SourceLine(_text(bytes(data), charset), start.place)
            data, start = bytearray(), None
    if start is not None:
        yield SourceLine(_text(bytes(data), charset), start.place)


def _base64(body: Sequence[SourceLine], charset: str) -> Iterator[SourceLine]:
    """A line's place is the encoded line that holds its first byte."""
    digits = [re.sub(r"[^A-Za-z0-9+/]", "", line.text) for line in body]
    joined = "".join(digits)
    joined = joined[: len(joined) - (len(joined) % 4 == 1)]
    data = binascii.a2b_base64(joined + "=" * (-len(joined) % 4))
    ends = list(accumulate(len(part) for part in digits))
    offset = 0
    for raw in data.split(b"\n"):
        held = min(bisect_right(ends, offset * 4 // 3), len(body) - 1)
        yield SourceLine(_text(raw, charset), body[held].place)
        offset += len(raw) + 1


def _text(data: bytes, charset: str) -> str:
    return data.decode(charset, errors="replace").removesuffix("\r").replace("\n", " ")
