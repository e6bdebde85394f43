"""The tree that a patch is put onto: a folder, or one commit of a repository, of which nothing is run."""

from __future__ import annotations

import io
import linecache
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.source import Source, read_source, source_of, text_in

_SECONDS = 20


@dataclass(frozen=True)
class Tree:
    """A checkout at ``path``, or with ``revision`` a commit of the repository there."""

    path: Path
    revision: str = ""

    def check(self) -> None:
        """Raises ``InputError`` if there is no such folder or commit."""
        if not self.path.is_dir():
            raise InputError("is no folder", place=Place(str(self.path)), hint="give a checkout of the project: --tree DIR")
        if self.revision and self._git("cat-file", "-e", "--end-of-options", f"{self.revision}^{{commit}}") is None:
            raise InputError(f"has no commit '{self.revision}'", place=Place(str(self.path)), hint="name a commit of the repository in --tree")

    def read(self, name: str) -> Source | None:
        """A file of the tree, None if it has none of that name. Never reads outside the tree.

        Raises ``InputError`` if the file cannot be read as text.
        """
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute():
            return None
        if self.revision:
            return self._of_commit(name)
        file = self.path / name
        if not file.is_file() or not file.resolve().is_relative_to(self.path.resolve()):
            return None
        return read_source(file, name)

    def headers(self) -> list[str]:
        """The names of all C headers. No link is followed."""
        if self.revision:
            listed = self._git("ls-tree", "-r", "-z", "--name-only", "--full-tree", "--end-of-options", self.revision)
            return [n for n in (listed or b"").decode("utf-8", "replace").split("\0") if n.endswith(".h")]
        found: list[str] = []
        for folder, folders, files in os.walk(self.path):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            inside = Path(folder).relative_to(self.path)
            found += [(inside / f).as_posix() for f in sorted(files) if f.endswith(".h") and not (Path(folder) / f).is_symlink()]
        return found

    def _of_commit(self, name: str) -> Source | None:
        shown = f"{self.revision}:{name}"
        data = self._git("cat-file", "blob", "--end-of-options", shown)
        if data is None:
            return None
        text = text_in(io.BytesIO(data), shown)
        remember(shown, text)
        return source_of(text, shown, name)

    def _git(self, *words: str) -> bytes | None:
        try:
            run = subprocess.run(["git", "-C", str(self.path), *words], capture_output=True, timeout=_SECONDS, check=False)
        except FileNotFoundError:
            raise InputError("a commit of a tree is read with git, which is not installed", hint="install git, or check the commit out and leave --rev away") from None
        except subprocess.TimeoutExpired:
            raise InputError(f"git did not answer within {_SECONDS} s", place=Place(str(self.path)), hint="check the commit out and leave --rev away") from None
        return run.stdout if run.returncode == 0 else None


def remember(file: str, text: str) -> None:
    """Let quotations of source lines find text that is in no file."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
