"""Functions that a C file uses and another file of its code base defines: they are read there, whatever a profile says of their name.

Each file is taken apart by itself, so that its macros are its own. What is not changed by a patch and
cannot be read may still mean what the profile says, which is then told; what a patch changes may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tlbcheck.c.preprocess import Preprocessor
from tlbcheck.c.profile import Profile
from tlbcheck.c.syntax import Segment, segments
from tlbcheck.c.text import Text, Token, tokens_of
from tlbcheck.c.touched import touched
from tlbcheck.errors import InputError
from tlbcheck.lang.source import Source


@dataclass(frozen=True)
class Elsewhere:
    """``sources`` are other files of the code base, the nearest last; ``changed`` are names that a patch defines anew in them."""

    sources: Sequence[Source] = ()
    changed: frozenset[str] = field(default_factory=frozenset)


NOWHERE = Elsewhere()


def functions_elsewhere(elsewhere: Elsewhere, profile: Profile, preprocessor: Preprocessor) -> dict[str, Segment]:
    """The functions of the other files that count more than the profile: those that it does not know, that act, or that were changed.

    ``preprocessor`` is as it was before the C file. Its macros and the file's own are expanded in the bodies.
    """
    found: dict[str, Segment] = {}
    for source in elsewhere.sources:
        alone = Preprocessor(preprocessor.given, preprocessor.undefined, preprocessor.hypotheses, preprocessor.settled)
        for header in profile.headers:
            alone.add(header)
        before = len(alone.tokens)
        try:
            alone.add(Text(source))
        except InputError:
            continue  # of what it changes nothing is found then, so that its use is refused
        for segment in segments(alone.tokens[before:], True):
            entry = profile.calls.get(segment.name)
            if not segment.name or segment.damage is not None or (entry is not None and (entry.meaning is None or entry.instead_of_definition) and segment.name not in elsewhere.changed):
                continue
            try:
                tokens, _ = alone.expanded(segment.tokens)
            except InputError:
                continue
            for t in tokens:
                t.when = preprocessor.when
            found[segment.name] = Segment(tokens, segment.name)
    return found


def defined_anew(before: Mapping[str, Source], after: Mapping[str, Source], profile: Profile, defines: Mapping[str, str]) -> frozenset[str]:
    """The functions and macros that files define differently on the two sides of a patch, static functions of C files apart.

    Of functions only what is compiled with ``defines`` counts, if that can be told.
    """
    both = {name: touched(before[name], after[name]) for name in before.keys() & after.keys() if before[name].text != after[name].text}
    alone = before.keys() ^ after.keys()
    sides = [{n: s for n, s in side.items() if n in alone} | {n: pair[i] for n, pair in both.items()} for i, side in enumerate((before, after))]
    old, new = (_definitions(side, profile, defines) for side in sides)
    return frozenset(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _compiled(source: Source, profile: Profile, defines: Mapping[str, str]) -> list[Token]:
    alone = Preprocessor(dict(defines))
    for header in profile.headers:
        alone.add(header)
    before = len(alone.tokens)
    try:
        alone.add(Text(source))
    except InputError:
        return [t for line in tokens_of(Text(source)) if line[0].text != "#" for t in line]
    return alone.tokens[before:]


def _definitions(sources: Mapping[str, Source], profile: Profile, defines: Mapping[str, str]) -> dict[str, list[tuple[str, ...]]]:
    made: dict[str, list[tuple[str, ...]]] = {}
    for source in sources.values():
        lines = tokens_of(Text(source))
        for segment in segments(_compiled(source, profile, defines), True):
            words = tuple(t.text for t in segment.tokens)
            if segment.name and not (source.name.endswith(".c") and "static" in words):
                made.setdefault(segment.name, []).append(words)
        for line in lines:
            words = tuple(t.text for t in line)
            if words[:2] == ("#", "define") and len(words) > 2:
                made.setdefault(words[2], []).append(words)
    return made
