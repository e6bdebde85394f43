"""The files of a code base as patches leave them: a tree's, or what hunks alone show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tlbcheck.errors import InputError
from tlbcheck.lang.source import Source
from tlbcheck.library import CODE

from .apply import applied, numbered
from .diff import FilePatch, Patch, Remark
from .rebuild import Problem, rebuild
from .tree import Tree, remember


@dataclass
class Put:
    """What one patch does to the C files that it touches; a side has no file that does not exist there.

    ``misfits``: why a file of the tree could not be patched, so that it was rebuilt from hunks.
    """

    before: dict[str, Source] = field(default_factory=dict)
    after: dict[str, Source] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    misfits: list[InputError] = field(default_factory=list)


@dataclass
class CodeBase:
    """``whole`` are the files that patches have changed or made and of which every line is known; None for one that is gone.

    ``seen`` is what hunks alone have shown of other files, as the last patch left it; ``misfits`` says of
    which patches a file of the tree could not take the hunks.
    """

    tree: Tree | None
    whole: dict[str, Source | None] = field(default_factory=dict)
    seen: dict[str, Source] = field(default_factory=dict)
    misfits: tuple[InputError, ...] = ()

    def copy(self) -> CodeBase:
        return replace(self, whole=dict(self.whole), seen=dict(self.seen))

    def read(self, name: str) -> Source | None:
        """A whole file, None if there is none of that name or only its hunks were seen. Raises ``InputError`` if it is no text."""
        if name in self.whole:
            return self.whole[name]
        return self.tree.read(name) if self.tree is not None and name not in self.seen else None

    def headers(self) -> Sequence[str]:
        """The names of all headers."""
        listed = [n for n in self.tree.headers() if self.whole.get(n, self) is not None] if self.tree is not None else []
        return [*listed, *(n for n, s in self.whole.items() if s is not None and n.endswith(".h") and n not in listed)]

    def put(self, patch: Patch) -> Put:
        """Put ``patch`` onto the files. Raises ``InputError`` where it goes on, within itself, from lines that nobody saw."""
        made = Put(remarks=list(patch.remarks))
        touched: dict[str, Source | None] = {}
        for part in patch.files:
            old_name = part.old_name or part.name
            if not part.name.endswith(CODE) and not old_name.endswith(CODE):
                continue
            made.remarks += [d for h in part.hunks for d in h.doubts]
            if old_name in touched:
                new: Source | None = _again(part, touched[old_name])
                whole = old_name in self.whole
            else:
                old, new, whole = self._versions(part, made)
                if old is not None:
                    made.before[old_name] = old
            if part.new_name != old_name and not part.copied:
                self._keep(old_name, None, whole=whole)
                touched[old_name] = None
                made.after.pop(old_name, None)
            if part.new_name is not None:
                kept = self._keep(part.name, new, whole=whole)
                touched[part.name] = kept
                if kept is not None:
                    made.after[part.name] = kept
        return made

    def _keep(self, name: str, source: Source | None, *, whole: bool) -> Source | None:
        self.seen.pop(name, None)
        if whole:
            self.whole[name] = source = _at_its_own_lines(source) if source is not None else None
        elif source is not None:
            self.seen[name] = source
        return source

    def _versions(self, part: FilePatch, made: Put) -> tuple[Source | None, Source | None, bool]:
        """A file before and after its patch, and whether every line of it is known."""
        old = self.read(part.old_name) if part.old_name is not None else None
        if old is not None or (part.old_name is None and self.tree is None):
            try:
                new, remarks = applied(part, old if old is not None else Source(part.name, ()))
                made.remarks += remarks
                return old, new if part.new_name is not None else None, True
            except InputError as error:
                made.misfits.append(error)
                self.misfits += (error,)
                made.remarks.append(Remark(f"{error.message}; its functions are rebuilt from the hunks", error.place or part.place))
        elif self.tree is not None and part.old_name is not None:
            made.remarks.append(Remark(f"the tree has no {part.old_name}; its functions are rebuilt from the hunks", part.place))
        rebuilt = rebuild(part)
        made.problems += rebuilt.problems
        made.remarks += [Remark(p.error.message, p.error.place or part.place) for p in rebuilt.problems]
        return rebuilt.before, rebuilt.after, part.old_name is None


def _at_its_own_lines(source: Source) -> Source:
    """A file with patches applied, whose lines can be quoted."""
    made = numbered(source)
    remember(made.name, made.text)
    return made


def _again(part: FilePatch, current: Source | None) -> Source:
    """The file when a patch comes to it once more: what was not seen around its lines stays unseen."""
    if current is None or any(0 < g.before < len(current.lines) for g in current.gaps):
        raise InputError(
            f"{part.old_name or part.name} is patched more than once, and its text in between is not in the mail",
            place=part.place,
            hint="give the tree (--tree DIR), or review the patches one by one",
        )
    new, _ = applied(part, current)
    return replace(new, gaps=tuple(replace(g, before=len(new.lines) if g.before else 0) for g in current.gaps))
