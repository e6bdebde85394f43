"""The tree that a patch is put onto: a folder, or one commit of a repository, of which nothing is run.

A repository may come from a stranger, and git runs programs that a repository's configuration names:
hooks, filters, text conversions, pagers, a file system monitor, and the transports by which a partial
clone fetches what it lacks. So git is not asked. Objects and references are read with dulwich, in
Python, and the configuration is not read at all.
"""

from __future__ import annotations

import itertools
import linecache
import os
import re
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.source import LARGEST, Source, decoded, read_source, source_of

from .bounded import bounded

if TYPE_CHECKING:
    from dulwich.objects import ObjectID, ShaFile
    from dulwich.objects import Tree as TreeObject
    from dulwich.repo import BaseRepo

_LINK = 0o120000
_INFLATED = 1 << 30
"""Bytes that reading one file of a commit, or its list of files, may take."""
_ENTRIES = 500_000
"""Files and folders of a commit: a few trees that name each other can stand for any number."""


@dataclass(frozen=True)
class Tree:
    """A checkout at ``path``, or with ``revision`` a commit of the repository there."""

    path: Path
    revision: str = ""

    def check(self) -> None:
        """Raises ``InputError`` if there is no such folder or commit."""
        if not self.path.is_dir():
            raise InputError("is no folder", place=Place(str(self.path)), hint="give a checkout of the project: --tree DIR")
        if self.revision:
            self._root  # noqa: B018 (it is read, and kept, or refused)

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
            return self._headers_of_commit()
        found: list[str] = []
        for folder, folders, files in os.walk(self.path):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            inside = Path(folder).relative_to(self.path)
            found += [(inside / f).as_posix() for f in sorted(files) if f.endswith(".h") and not (Path(folder) / f).is_symlink()]
        return found

    def _headers_of_commit(self) -> list[str]:
        from dulwich.object_store import iter_tree_contents

        try:
            with bounded(_INFLATED):
                entries = iter_tree_contents(self._repository.object_store, self._root.id, include_trees=True)
                listed = list(itertools.islice(entries, _ENTRIES))
        except Exception as error:
            raise self._unreadable(error) from None
        if len(listed) == _ENTRIES:
            raise InputError(f"'{self.revision}' has {_ENTRIES:,} files and folders or more", place=Place(str(self.path)), hint=_CHECK_OUT)
        return [os.fsdecode(e.path) for e in listed if e.path is not None and e.path.endswith(b".h") and e.mode != _LINK]

    def _of_commit(self, name: str) -> Source | None:
        from dulwich.errors import NotTreeError
        from dulwich.objects import Blob

        try:
            with bounded(_INFLATED):
                mode, sha = self._root.lookup_path(self._object, name.encode())
                found = self._object(sha)
        except (KeyError, NotTreeError):
            return None
        except InputError:
            raise
        except Exception as error:
            raise self._unreadable(error) from None
        if not isinstance(found, Blob) or mode == _LINK:
            return None
        shown = f"{self.revision}:{name}"
        text = decoded(found.data[: LARGEST + 1], shown)
        remember(shown, text)
        return source_of(text, shown, name)

    def _object(self, sha: ObjectID) -> ShaFile:
        """An object of the repository. Raises ``InputError`` if that lacks it, as a partial clone may."""
        try:
            return self._repository.object_store[sha]
        except KeyError:
            raise InputError(
                f"lacks the object {sha.decode(errors='replace')[:12]} of '{self.revision}'",
                place=Place(str(self.path)),
                hint=f"nothing is fetched from elsewhere; complete the clone, or {_CHECK_OUT}",
            ) from None

    @cached_property
    def _repository(self) -> BaseRepo:
        """The repository that ``path`` is in, without its configuration."""
        from dulwich.object_store import DiskObjectStore
        from dulwich.refs import DiskRefsContainer
        from dulwich.repo import BaseRepo

        own, common = _folders_of(self.path)
        if (common / "reftable").is_dir():
            raise InputError("keeps its references in a form that is not read", place=Place(str(self.path)), hint=_CHECK_OUT)
        store = DiskObjectStore(str(common / "objects"))
        weakref.finalize(self, store.close)
        return BaseRepo(store, DiskRefsContainer(str(common), str(own)))

    @cached_property
    def _root(self) -> TreeObject:
        from dulwich.objects import Commit, Tag
        from dulwich.objects import Tree as Tree_
        from dulwich.objectspec import AmbiguousShortId, parse_object, scan_for_short_id

        none = InputError(f"has no commit '{self.revision}'", place=Place(str(self.path)), hint="name a commit of the repository in --tree")
        if ":" in self.revision or "@{" in self.revision:
            raise none
        try:
            # dulwich knows NAME^{} alone; NAME^{commit} says the same of what ends in a commit.
            with bounded(_INFLATED):
                try:
                    found = parse_object(self._repository, self.revision.replace("^{commit}", "^{}"))  # type: ignore[arg-type] # asks for no more than a BaseRepo has
                except (KeyError, ValueError):
                    if not _SHORT.fullmatch(self.revision):
                        raise
                    found = scan_for_short_id(self._repository.object_store, self.revision.encode(), Commit)
                while isinstance(found, Tag):
                    found = self._object(found.object[1])
                root = self._object(found.tree) if isinstance(found, Commit) else None
        except InputError:
            raise
        except AmbiguousShortId:
            raise InputError(f"has more than one commit '{self.revision}...'", place=Place(str(self.path)), hint="give more digits of its name") from None
        except (KeyError, ValueError):
            raise none from None
        except Exception as error:
            raise self._unreadable(error) from None
        if not isinstance(root, Tree_):
            raise none
        return root

    def _unreadable(self, error: Exception) -> InputError:
        """What is said of a damaged object: dulwich fails in many ways on one."""
        if isinstance(error, MemoryError):
            return InputError(f"'{self.revision}' has an object that takes more than {_INFLATED >> 20:,} MiB to read", place=Place(str(self.path)), hint=_CHECK_OUT)
        return InputError(f"'{self.revision}' cannot be read ({type(error).__name__})", place=Place(str(self.path)), hint=f"the repository is damaged; {_CHECK_OUT}")


_SHORT = re.compile(r"[0-9a-f]{7,39}")
_CHECK_OUT = "check the commit out and leave --rev away"


def _folders_of(path: Path) -> tuple[Path, Path]:
    """A checkout's git folder, and the one that it shares with others: objects and most references are there.

    Raises ``InputError`` if ``path`` is in no repository.
    """
    for folder in (path.resolve(), *path.resolve().parents):
        for own in (folder / ".git", folder):
            if own.is_file() and own.name == ".git":
                own = folder / _line(own).removeprefix("gitdir: ")
            if (own / "HEAD").is_file():
                common = own / _line(own / "commondir") if (own / "commondir").is_file() else own
                if (common / "objects").is_dir():
                    return own, common
    raise InputError("is in no git repository, so it has no commits", place=Place(str(path)), hint="leave --rev away")


def _line(file: Path) -> str:
    with file.open("rb") as stream:
        return stream.read(4096).decode(errors="replace").strip()


def remember(file: str, text: str) -> None:
    """Let quotations of source lines find text that is in no file."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
