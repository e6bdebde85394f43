"""Files that a command writes: whole, or not at all.

A file is written beside its place and renamed, so that one that is there already is kept when the
disk is full or the command is stopped. A FIFO or a device is written to as it is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlbcheck.errors import InputError, OutputError

_NO_FAULT_OF_THE_USER = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what is to stand in ``path``; it does so when the block has ended without an error.

    Raises ``OutputError`` where the disk is full or broken, ``InputError`` where ``path`` cannot be written at all.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            yield path
            return
        beside = target.with_name(f".{os.getpid()}.{target.name[-100:]}")
        try:
            yield beside
            if target.exists():
                beside.chmod(stat.S_IMODE(target.stat().st_mode))
            beside.replace(target)
        finally:
            with suppress(OSError):
                beside.unlink()
    except OSError as error:
        wrong = OutputError if error.errno in _NO_FAULT_OF_THE_USER else InputError
        raise wrong(f"cannot write {path}: {error.strerror or error}", hint="name a file that can be written") from None


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; see ``replacing``."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 with Unix line ends; characters that have no encoding become question marks."""
    write_bytes(path, text.encode("utf-8", errors="replace"))
