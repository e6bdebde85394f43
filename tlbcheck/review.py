"""Reviewing patches: what the function of a role does before and after each of them, and which faults it has then.

A patch is put onto a tree if one is given and fits; otherwise the functions are rebuilt from its hunks,
and what the mail does not show is said. Each patch of a mailbox is judged as what it is: by itself, or on
top of those that come before it in its series; and each file of it that defines the function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlbcheck.c import CUnit
from tlbcheck.c.elsewhere import Elsewhere, defined_anew
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.run import ModelEvidence
from tlbcheck.errors import InputError, Place
from tlbcheck.faults import Faults, faults
from tlbcheck.fit import Around, facts_of, fit, fit_file, function_in, harness_for, harness_profile, roles_functions, unit_of, usual_headers
from tlbcheck.hidden import may_be_mended
from tlbcheck.lang.harness import Harness, Reading
from tlbcheck.lang.model import Model
from tlbcheck.lang.source import Source, read_text
from tlbcheck.patch.code_base import CodeBase, Put
from tlbcheck.patch.diff import Patch
from tlbcheck.patch.read import read_patches
from tlbcheck.patch.sent import Sent, sent
from tlbcheck.patch.tree import Tree, remember
from tlbcheck.system.lower import lower

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
    """One file of one patch. ``faults``: those of the code after it.

    ``unchanged`` says that the patch leaves the function as it was, if it does; ``untouched``: and all that it uses.
    """

    sent: Sent
    file: str
    before: Side
    after: Side
    unseen: list[Unseen]
    unchanged: str = ""
    untouched: bool = False
    faults: Faults | None = None

    @property
    def patch(self) -> Patch:
        return self.sent.patch

    @property
    def source(self) -> str:
        """The name of the judged file."""
        found = self.after.source or self.before.source
        return found.name if found is not None else ""


@dataclass(frozen=True)
class Passed:
    """A patch that is not judged, and why: it leaves the function as it was, or cannot be read (``error``)."""

    sent: Sent
    text: str
    place: Place
    error: InputError | None = None

    @property
    def refused(self) -> bool:
        return self.error is not None and not isinstance(self.error, NotAboutIt)


class NotAboutIt(InputError):
    """A patch shows nothing of the function."""


@dataclass
class Reviewed:
    """Everything that a mail holds."""

    reviews: list[Review]
    passed: list[Passed]


Check = Callable[[Model], ModelEvidence]


def review(text: str, file: str, reading: Reading, check: Check, tree: Tree | None = None) -> Reviewed:
    """Read the patches in ``text`` (from ``file``) and check the function before and after each of them with ``check``.

    Raises ``InputError`` if there is no patch, none with a function of the role, or for what cannot be read of the code after it.
    """
    made = read_reviews(text, file, reading, tree)
    judged = []
    for one in made.reviews:
        try:
            _judge(one, reading, check)
            judged.append(one)
        except InputError as error:
            made.passed.append(Passed(one.sent, error.message, error.place or Place(file), error))
    made.reviews = judged
    return _or_refused(made)


def _judge(one: Review, reading: Reading, check: Check) -> None:
    def judge(side: Side) -> None:
        if side.model is not None:
            side.result = check(side.model)

    judge(one.after)
    if one.after.result is not None:
        found, model, properties = one.after.violations(), one.after.result.model, one.after.result.system.properties
        wrong = [q for q in properties if any(q.name == name for name, _, _ in found)]

        def again(mended: Model) -> set[Key]:
            try:
                return {(v.property, v.clause, v.case) for v in Tracked(lower(mended, wrong)).run().violations}
            except InputError:  # a line that makes it a wrong model mends nothing
                return set(found)

        one.unseen += [Unseen(text, place) for text, place in may_be_mended(model, found, again, one.after.source, one.after.function, harness_for(reading.role), reading)]
    if (unread := _unless_unread(lambda: judge(one.before))) is not None:
        if one.after.result is None:
            raise unread
        one.unseen.append(_not_told(unread, one.file))
    if one.after.result is not None:
        one.faults = faults(one.after.result)


def read_reviews(text: str, file: str, reading: Reading, tree: Tree | None = None) -> Reviewed:
    """The models before and after each patch, not yet checked; the same errors."""
    remember(file, text)
    patches = read_patches(text, file)
    if tree is not None:
        tree.check()
    code = _Series(tree)
    found, left_out = sent(patches, code.fits)
    if not found:
        raise InputError(left_out[0].text, place=left_out[0].place, hint="give the patch with the '--- a/FILE' and '+++ b/FILE' above its hunks")
    made = Reviewed([], [])
    for one in found:
        try:
            made.reviews += _reviews(one, code, file, reading)
        except InputError as error:
            made.passed.append(Passed(one, error.message, error.place or Place(file), error))
    for remark in left_out:
        for r in made.reviews[:1]:
            r.unseen.append(Unseen(remark.text, remark.place))
    _pass_unchanged(made, file)
    return _or_refused(made)


def _or_refused(made: Reviewed) -> Reviewed:
    """Raises the first refusal if nothing else is left."""
    refused = [p.error for p in made.passed if p.error is not None]
    if not made.reviews and refused:
        raise refused[0]
    return made


def _pass_unchanged(made: Reviewed, file: str) -> None:
    """What no patch changes is judged once, and only if nothing else is; that it is left as it was is said of every patch."""
    changed = [r for r in made.reviews if not r.untouched]
    kept = changed or made.reviews[-1:]
    for r in made.reviews:
        if not any(r is k for k in kept):
            made.passed.append(Passed(r.sent, r.unchanged, r.patch.files[0].place))
    made.reviews = kept


class _Series:
    """The code base after any sequence of patches, each put onto it once."""

    def __init__(self, tree: Tree | None) -> None:
        self.tree = tree
        self.known: dict[tuple[int, ...], CodeBase] = {(): CodeBase(tree)}

    def after(self, patches: Sequence[Patch]) -> CodeBase:
        """Raises ``InputError`` as ``CodeBase.put`` does."""
        for n in range(1, len(patches) + 1):
            key = tuple(id(p) for p in patches[:n])
            if key not in self.known:
                made = self.known[key[:-1]].copy()
                made.put(patches[n - 1])
                self.known[key] = made
        return self.known[tuple(id(p) for p in patches)]

    def put(self, one: Sent) -> tuple[CodeBase, Put, CodeBase]:
        """The code base before and after a patch, and what it does."""
        before = self.after(one.base)
        after = before.copy()
        return before, after.put(one.patch), after

    def fits(self, patch: Patch, base: Sequence[Patch]) -> bool:
        if self.tree is None:
            return True
        try:
            return not self.after([*base, patch]).misfits
        except InputError:
            return False


Anew = Callable[[str, str], frozenset[str]]
"""``_anew`` of one patch, by file and function."""


def _reviews(one: Sent, code: _Series, file: str, reading: Reading) -> list[Review]:
    """A review of every file of the patch that defines the function, before it or after it.

    Raises ``InputError`` if there is none, or none that can be read.
    """
    harness = harness_for(reading.role)
    before, put, after = code.put(one)
    old_names = {part.name: part.old_name or part.name for part in one.patch.files}
    sides = {"before": dict(put.before), "after": dict(put.after)}
    # Where the function usually stands it is looked at even if the patch leaves that file alone: it may change what the function uses.
    usual = harness.files[0]
    if not any(usual in s for s in sides.values()) and (there := after.read(usual)) is not None:
        sides["before"][usual] = sides["after"][usual] = there

    @functools.cache
    def anew(source: str, function: str) -> frozenset[str]:
        return _anew(put, source, function, harness, reading)

    old_units, old_unread = _units(sides["before"], harness, reading)
    units, unread = _units(sides["after"], harness, reading)
    made = []
    for old_name, name in _pairs(old_units, units, old_names):
        if name not in units and name in unread:
            raise _with_misfit(unread[name], put)
        made.append(_paired(old_units.get(old_name), units.get(name), one, put, file, harness, reading, anew))
        if old_name in old_unread:
            made[-1].unseen.append(_not_told(old_unread[old_name], file))
    made = _of_the_best_rank(made, roles_functions(harness, reading))
    if not made:
        raise _nothing(one.patch, put, file, harness, reading, code.tree, [*unread.values(), *old_unread.values()])
    for p in put.problems:
        if not p.function and p.error.place is not None and _file_of(one.patch, p.error.place) in harness.helpers:
            raise p.error
    for r in made:
        try:
            _fit(r, before, after, harness, reading, code.tree, anew)
        except InputError as error:
            raise _with_misfit(_with_tree(error, units.get(r.source), r.after.function, code.tree), put) from None
        r.unseen[:0] = [Unseen(m.text, m.place) for m in put.remarks]
    return made


def _file_of(patch: Patch, place: Place) -> str:
    """The file that the mail's line at ``place`` is about."""
    return next((f.name for f in reversed(patch.files) if f.place.line <= place.line), "")


def _units(sources: Mapping[str, Source], harness: Harness, reading: Reading) -> tuple[dict[str, CUnit], dict[str, InputError]]:
    """The files that define the function, and why others cannot be taken apart."""
    made, unread = {}, {}
    functions = roles_functions(harness, reading)
    for name, source in sources.items():
        if not _may_define(source, functions):
            continue
        try:
            unit = unit_of(source, harness, reading)
        except InputError as error:
            unread[name] = error
            continue
        if function_in(unit, harness, reading) is not None:
            made[name] = unit
        elif unit.damage is not None and any(word in line.text for line in source.lines for word in functions):
            unread[name] = unit.damage
    return made, unread


def _may_define(source: Source, functions: Sequence[str]) -> bool:
    """Whether a file can define one of some functions: a name that it does not have has to be pasted together. Of hunks nobody knows."""
    if source.gaps:
        return True
    text = source.text.replace("\\\n", "")
    return "##" in text or any(name in text for name in functions)


def _pairs(before: Mapping[str, CUnit], after: Mapping[str, CUnit], old_names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The file's name before and after the patch, of each file that defines the function on either side; also where it moves from one to another."""
    pairs = [(old_names.get(name, name), name) for name in after]
    gone = [name for name in before if name not in {old for old, _ in pairs}]
    fresh = [pair for pair in pairs if pair[0] not in before]
    for old, name in pairs:
        if (old, name) in fresh and len(gone) == len(fresh) == 1:
            yield gone[0], name
        else:
            yield old, name
    if not (len(gone) == len(fresh) == 1):
        yield from ((name, name) for name in gone)


def _paired(before: CUnit | None, after: CUnit | None, one: Sent, put: Put, file: str, harness: Harness, reading: Reading, anew: Anew) -> Review:
    """Raises ``InputError`` if the sides' functions are two, not one under a new name."""
    sides = []
    for unit, seen in ((before, put.before), (after, put.after)):
        function = function_in(unit, harness, reading) if unit is not None else None
        sides.append(Side(unit.source if unit is not None else None, function or "", list(seen.values())))
    names = (sides[0].function, sides[1].function)
    if before is not None and after is not None and names[0] != names[1] and (names[1] in before.functions or names[0] in after.functions):
        raise InputError(
            f"before the patch the {reading.role} is {names[0]} in {before.source.name}, after it {names[1]} in {after.source.name}: these are two functions",
            place=Place(after.source.name),
            hint="say which one is meant: --function NAME",
        )
    made = Review(one, file, sides[0], sides[1], [])
    if before is not None and after is not None and names[0] == names[1]:
        made.unchanged, made.untouched = _unchanged(before, after, names[0], anew(after.source.name, names[0]))
    return made


def _anew(put: Put, source: str, function: str, harness: Harness, reading: Reading) -> frozenset[str]:
    """The names that the patch defines anew in other files than ``source``, or whose new definition it does not show whole."""
    before, after = ({n: s for n, s in side.items() if n != source} for side in (put.before, put.after))
    return defined_anew(before, after, harness_profile(harness, reading), {**harness.defines, **reading.defines}) | {p.function for p in put.problems if p.function not in ("", function)}


def _unchanged(before: CUnit, after: CUnit, function: str, anew: frozenset[str]) -> tuple[str, bool]:
    """What is to be said of a function that the patch leaves as it was (empty if it does not), and whether all that it uses is left, too."""
    if before.words(function) != after.words(function):
        return "", False
    old, new = before.closure_words(function), after.closure_words(function)
    used = {word for words in new.values() for word in words}
    others = sorted(anew & used) or sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n) and n in used and n != function)
    if others:
        return f"the patch does not change {function} in {after.source.name} itself, but {', '.join(others)}, which it uses", False
    if old != new:
        return f"the patch does not change {function} in {after.source.name} itself, but what it uses", False
    if before.lines(function) != after.lines(function):
        return f"the patch changes no code of {function} in {after.source.name}, only comments or white space", True
    return f"the patch does not change {function} in {after.source.name}", True


def _of_the_best_rank(reviews: Sequence[Review], names: Sequence[str]) -> list[Review]:
    """Without functions of an older name that the patch leaves as they were beside the real one."""

    def rank(r: Review) -> int:
        return min(names.index(s.function) for s in (r.before, r.after) if s.function)

    best = min(map(rank, reviews), default=0)
    return [r for r in reviews if rank(r) == best or not r.untouched]


def _fit(r: Review, before: CodeBase, after: CodeBase, harness: Harness, reading: Reading, tree: Tree | None, anew: Anew) -> None:
    """The models of both sides."""
    # What the code base knew before, it knows afterwards, even where the patch takes all mention of it away.
    changed = anew(r.source, r.after.function or r.before.function)
    known = facts_of(r.before.source, _evidence(before, r.before.seen, harness), reading)
    origin = {
        "kind": "review",
        "file": r.file,
        "patch": r.patch.files[0].place.line,
        "source": r.source,
        "tree": str(tree.path) if tree else "",
        "revision": tree.revision if tree else "",
        "reading": reading.as_json(),
    }

    def fitted(side: Side, name: str, base: CodeBase, facts: frozenset[str]) -> None:
        if side.source is not None:
            side.model = fit(
                side.source,
                replace(reading, function=side.function),
                name=f"{side.source.name} {name} the patch",
                evidence=_evidence(base, side.seen, harness),
                facts=facts,
                origin={**origin, "side": name},
                around=Around(base, side.source.name, str(tree.path)) if tree else None,
                elsewhere=Elsewhere([*usual_headers(base, harness), *(s for s in side.seen if s.name.endswith(".h"))], changed),
            )

    fitted(r.after, "after", after, known)
    unread = _unless_unread(lambda: fitted(r.before, "before", before, frozenset()))
    if unread is not None and r.after.model is None:
        raise unread
    if unread is not None:
        r.unseen.append(_not_told(unread, r.file))


def _evidence(base: CodeBase, seen: Sequence[Source], harness: Harness) -> list[Source]:
    """What shows facts about the code base: its own files for that, and everything that patches have shown of it."""
    usual = [s for f in harness.files[1:] if (s := base.read(f)) is not None]
    return [*usual, *seen, *(s for s in base.whole.values() if s is not None), *base.seen.values()]


def _with_tree(error: InputError, unit: CUnit | None, function: str, tree: Tree | None) -> InputError:
    """What cannot be read of a function of which lines are missing from the mail, a tree may show."""
    if tree is not None or unit is None or function not in unit.segments or not unit.missing(unit.segments[function]) or "--tree" in error.hint:
        return error
    return InputError(f"{error.message}, and lines of {function} are not in the mail", place=error.place, hint="give the tree (--tree DIR)")


def _with_misfit(error: InputError, put: Put) -> InputError:
    """What cannot be read of a function that was rebuilt because its patch does not fit: that is the reason to tell."""
    if not put.misfits:
        return error
    misfit = put.misfits[0]
    return InputError(f"{misfit.message}; and what the hunks alone show cannot be judged: {error.message}", place=misfit.place, hint=misfit.hint)


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
    made = read_reviews(read_text(Path(origin["file"])), origin["file"], reading, tree)
    for r in made.reviews:
        side = r.before if origin["side"] == "before" else r.after
        if (r.patch.files[0].place.line, r.source) == (origin["patch"], origin["source"]) and side.model is not None:
            return side.model
    raise InputError(f"no longer shows the function {origin['side']} the patch", place=Place(origin["file"]), hint="review it again")


def _nothing(patch: Patch, put: Put, file: str, harness: Harness, reading: Reading, tree: Tree | None, unread: Sequence[InputError]) -> InputError:
    """Why there is nothing to judge: a file cannot be read, the hunks show too little of the function, or the patch is not about it."""
    if unread:
        return _with_misfit(unread[0], put)
    names = roles_functions(harness, reading)
    why = [(p.error.message, p.error.place) for p in put.problems if p.function in names]
    why += [(d.text, d.place) for p in patch.files for h in p.hunks if (d := h.damage) is not None]
    for text, place in why:
        return _with_misfit(InputError(text, place=place, hint=f"give the tree with --tree DIR{' as it was before the patch' if tree is not None else ''}"), put)
    wanted = reading.function or f"function of role '{reading.role}'"
    other = "" if tree is not None else ", or give the tree with --tree DIR"
    what = f"the patch does not change {reading.function or names[0]} as far as can be seen: it shows no {wanted} in the {len(patch.files)} file(s) that it patches"
    if put.misfits:
        return _with_misfit(InputError(what), put)
    return NotAboutIt(what, place=Place(file), hint=f"name it with --function NAME{other}")
