"""Reviewing a patch: what the function of a role does before and after it, and which faults it has then.

The patch is put onto a tree if one is given and fits; otherwise the functions are rebuilt from its
hunks, and what the mail does not show is said. The patches of a mailbox count as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlbcheck.c import load_profile
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.errors import InputError, Place
from tlbcheck.faults import Faults, faults
from tlbcheck.fit import Around, facts_of, fit, fit_file, harness_for, unit_of
from tlbcheck.lang.harness import Reading
from tlbcheck.lang.model import Model
from tlbcheck.lang.source import Source, read_text
from tlbcheck.library import CODE
from tlbcheck.patch.apply import apply, numbered
from tlbcheck.patch.diff import FilePatch, Patch
from tlbcheck.patch.read import read_patches
from tlbcheck.patch.rebuild import rebuild
from tlbcheck.patch.tree import Tree, remember

STDIN = "<stdin>"
Key = tuple[str, str, tuple[tuple[str, int], ...]]


@dataclass(frozen=True)
class Unseen:
    """What was not seen, and what is assumed of it."""

    text: str
    place: Place


@dataclass
class Side:
    """The code before or after the patch: the file with the function, and everything that was seen of it."""

    source: Source | None = None
    function: str = ""
    seen: list[Source] = field(default_factory=list)
    model: Model | None = None
    result: ModelEvidence | None = None

    def violations(self) -> set[Key]:
        if self.result is None or self.result.explicit is None:
            return set()
        return {(v.property, v.clause, v.case) for v in self.result.explicit.violations}


@dataclass
class Review:
    """``faults``: those of the code after the patch."""

    patches: list[Patch]
    file: str
    before: Side
    after: Side
    unseen: list[Unseen]
    faults: Faults | None = None


Check = Callable[[Model], ModelEvidence]


def review(text: str, file: str, reading: Reading, check: Check, tree: Tree | None = None) -> Review:
    """Read the patches in ``text`` (from ``file``) and check the function before and after them with ``check``.

    Raises ``InputError`` if there is no patch, no function of the role in it, or for what cannot be read of the code after it.
    """
    made = read_review(text, file, reading, tree)

    def judge(side: Side) -> None:
        if side.model is not None:
            side.result = check(side.model)

    judge(made.after)
    if (unread := _unless_unread(lambda: judge(made.before))) is not None:
        if made.after.result is None:
            raise unread
        made.unseen.append(_not_told(unread, file))
    if made.after.result is not None:
        made.faults = faults(made.after.result)
    return made


def read_review(text: str, file: str, reading: Reading, tree: Tree | None = None) -> Review:
    """The models before and after the patches, not yet checked; the same errors."""
    remember(file, text)
    patches = read_patches(text, file)
    if tree is not None:
        tree.check()
    before, after, unseen = _sides(patches, tree)
    _find(after, reading)
    unread = _unless_unread(lambda: _find(before, reading))
    if after.source is None and before.source is None:
        raise unread or _nothing(patches, file, reading, unseen, tree)
    _same_function(before, after, reading)
    # What the code base knew before, it knows afterwards, even where the patch takes all mention of it away.
    known = facts_of(before.source, before.seen, reading)

    def fitted(side: Side, name: str, facts: frozenset[str]) -> None:
        if side.source is not None:
            origin = {"kind": "review", "file": file, "side": name, "tree": str(tree.path) if tree else "", "revision": tree.revision if tree else "", "reading": reading.as_json()}
            around = Around(tree, side.source.name, str(tree.path)) if tree else None
            side.model = fit(side.source, replace(reading, function=side.function), name=f"{side.source.name} {name} the patch", evidence=side.seen, facts=facts, origin=origin, around=around)

    fitted(after, "after", known)
    unread = unread or _unless_unread(lambda: fitted(before, "before", frozenset()))
    if unread is not None and after.model is None:
        raise unread
    if unread is not None:
        unseen.append(_not_told(unread, file))
    return Review(patches, file, before, after, unseen)


def _unless_unread(read: Callable[[], None]) -> InputError | None:
    """Why the code before the patch cannot be read, if it cannot: what the patch makes of it can be judged all the same."""
    try:
        read()
    except InputError as error:
        return error
    return None


def _not_told(unread: InputError, file: str) -> Unseen:
    return Unseen(f"the code before the patch cannot be read, so what the patch introduces is not told: {unread.message}", unread.place or Place(file))


def model_again(origin: Mapping[str, Any]) -> Model:
    """The model that a result's ``origin`` describes. Raises ``InputError`` if it cannot be made again."""
    reading = Reading.from_json(origin["reading"])
    if origin["kind"] == "file":
        return fit_file(Path(origin["file"]), reading)
    if origin["file"] == STDIN:
        raise InputError("the patch came from standard input, so it cannot be read again", hint="review it as a file")
    tree = Tree(Path(origin["tree"]), origin["revision"]) if origin["tree"] else None
    made = read_review(read_text(Path(origin["file"])), origin["file"], reading, tree)
    side = made.before if origin["side"] == "before" else made.after
    if side.model is None:
        raise InputError(f"no longer shows the function {origin['side']} the patch", place=Place(origin["file"]), hint="review it again")
    return side.model


def _sides(patches: Sequence[Patch], tree: Tree | None) -> tuple[Side, Side, list[Unseen]]:
    """Every C file that the patches touch, as it was before the first and is after the last of them.

    Raises ``InputError`` where a later patch of a series goes on from what the mail does not show.
    """
    first: dict[str, Source | None] = {}
    last: dict[str, Source | None] = {}
    whole: set[str] = set()
    unseen = [Unseen(r.text, r.place) for p in patches for r in p.remarks]
    for part in (part for patch in patches for part in patch.files):
        old_name = part.old_name or part.name
        if not part.name.endswith(CODE) and not old_name.endswith(CODE):
            continue
        unseen += [Unseen(d.text, d.place) for h in part.hunks for d in h.doubts]
        if old_name in last:
            current = last[old_name]
            if current is None or any(0 < g.before < len(current.lines) for g in current.gaps):
                raise InputError(
                    f"{old_name} is patched more than once, and its text in between is not in the mail",
                    place=part.place,
                    hint="give the tree (--tree DIR), or review the patches one by one",
                )
            new: Source | None = _applied(part, current)
        else:
            first[old_name], new, applied, said = _versions(part, tree)
            unseen += said
            if applied:
                whole.add(old_name)
        if part.new_name != old_name and not part.copied:
            last[old_name] = None
        last[part.name] = new if part.new_name is not None else None
        if old_name in whole:
            whole.add(part.name)
    after = [_at_its_own_lines(s) if name in whole else s for name, s in last.items() if s]
    return Side(seen=[s for s in first.values() if s]), Side(seen=after), unseen


def _at_its_own_lines(source: Source) -> Source:
    """A file of the tree with the patches applied, whose lines can be quoted."""
    made = numbered(source)
    remember(made.name, made.text)
    return made


def _applied(part: FilePatch, current: Source) -> Source:
    """A later patch of a series on what the ones before it left; what was not seen around it stays unseen."""
    made = apply(part, current)
    return replace(made, gaps=tuple(replace(g, before=len(made.lines) if g.before else 0) for g in current.gaps))


def _versions(part: FilePatch, tree: Tree | None) -> tuple[Source | None, Source | None, bool, list[Unseen]]:
    """A file before and after the first patch that touches it, and whether that was put onto the tree's."""
    said = []
    old = tree.read(part.old_name) if tree and part.old_name else None
    if old is not None:
        try:
            return old, apply(part, old) if part.new_name is not None else None, True, []
        except InputError as error:
            said.append(Unseen(f"{error.message}; its functions are rebuilt from the hunks", error.place or part.place))
    elif tree is not None and part.old_name is not None:
        said.append(Unseen(f"the tree has no {part.old_name}; its functions are rebuilt from the hunks", part.place))
    made = rebuild(part)
    said += [Unseen(p.error.message, p.error.place or part.place) for p in made.problems]
    return made.before, made.after, False, said


def _find(side: Side, reading: Reading) -> None:
    """The function of the role on one side: of all files, under the name that comes first in the profile."""
    harness = harness_for(reading.role)
    units = [unit_of(s, harness, reading) for s in side.seen if s.name.endswith(".c")]
    names = [reading.function] if reading.function else list(units[0].profile.roles[harness.role].functions) if units else []
    found = next(((u.source, n) for n in names for u in units if n in u.functions), None)
    if found is not None:
        side.source, side.function = found


def _same_function(before: Side, after: Side, reading: Reading) -> None:
    """Raises ``InputError`` if the sides' functions are two, not one under a new name."""
    if before.source is not None and after.source is not None and _two_functions(before, after, reading):
        raise InputError(
            f"before the patch the {reading.role} is {before.function} in {before.source.name}, after it {after.function} in {after.source.name}: these are two functions",
            place=Place(after.source.name),
            hint="say which one is meant: --function NAME",
        )


def _two_functions(before: Side, after: Side, reading: Reading) -> bool:
    """Whether the sides' functions are two that the code after the patch, or before it, has at once."""
    if before.function == after.function:
        return False
    harness = harness_for(reading.role)
    return any(name in unit_of(source, harness, reading).functions for side, name in ((before, after.function), (after, before.function)) for source in side.seen if source.name.endswith(".c"))


def _nothing(patches: Sequence[Patch], file: str, reading: Reading, unseen: Sequence[Unseen], tree: Tree | None) -> InputError:
    """Why there is nothing to judge: the hunks show too little of the function, or the patch is not about it."""
    harness = harness_for(reading.role)
    wanted = reading.function or f"function of role '{reading.role}'"
    other = "" if tree is not None else ", or give the tree with --tree DIR"
    for u in unseen:
        for name in [reading.function] if reading.function else load_profile([harness.profile, *reading.profiles], harness.vocabulary).roles[harness.role].functions:
            if u.text.startswith(f"{name} "):
                return InputError(u.text, place=u.place, hint=f"give the tree with --tree DIR{' as it was before the patch' if tree is not None else ''}")
    count = sum(len(p.files) for p in patches)
    return InputError(f"shows no {wanted} in the {count} file(s) that it patches", place=Place(file), hint=f"name it with --function NAME{other}")
