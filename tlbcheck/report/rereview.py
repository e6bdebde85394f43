"""A saved review as the review of the same mail, made again: what it says besides its runs is held against that.

Which changes mend what, which cases are new, what was not seen: all of it follows from the mail, the tree and the
options, so it is believed where a new search says the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlbcheck.engines.run import ModelEvidence, check
from tlbcheck.errors import InputError, Place
from tlbcheck.lang.harness import Reading
from tlbcheck.lang.model import Model
from tlbcheck.lang.source import read_text
from tlbcheck.library import find_properties
from tlbcheck.options import Limits
from tlbcheck.patch.tree import Tree
from tlbcheck.report.judge import each
from tlbcheck.report.result import model_result
from tlbcheck.report.retrace import difference
from tlbcheck.report.reverify import believed
from tlbcheck.report.review import reviews_json
from tlbcheck.report.schema import property_of
from tlbcheck.report.subject import Replayed, Subject
from tlbcheck.result import Verdict
from tlbcheck.review import STDIN, Reviewed, review

_DECIDED = (Verdict.PROVED, Verdict.VIOLATED)


def review_again(document: Mapping[str, Any], place: Place) -> Replayed:
    """Hold a document of ``review`` against a new one, and replay its runs. Raises ``InputError``."""
    origin = next((e["origin"] for one in each(document) for side in one["verdicts"].values() for e in side or []), None)
    if origin is None:
        raise InputError("judges nothing, so it does not say what to read again", place=place, hint="review the mail again")
    reviewed, made = _made(origin)
    hold_review(document, made, place)
    subjects = []
    for one, r in zip(each(document), reviewed.reviews, strict=True):
        for side, entries in ((r.before, one["verdicts"]["before"]), (r.after, one["verdicts"]["after"])):
            if side.result is not None:
                subjects.append(Subject(side.result, model_result(side.result).results, [property_of(e) for e in entries], entries, place))
    for s in subjects:
        s.hold()
    results, found = [r for s in subjects for r in s.results], [r for s in subjects for r in s.again]
    return Replayed([x for s in subjects for x in s.confirmed()], believed(results, found), any(r.verdict is Verdict.VIOLATED for r in results))


def again(origin: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a review of what ``origin`` names, by the explicit engine alone. Raises ``InputError`` as ``review`` does."""
    return _made(origin)[1]


def _made(origin: Mapping[str, Any]) -> tuple[Reviewed, dict[str, Any]]:
    if origin["file"] == STDIN:
        raise InputError("the patch came from standard input, so it cannot be read again", hint="review it as a file")
    tree = Tree(Path(origin["tree"]), origin["revision"]) if origin["tree"] else None
    text = read_text(Path(origin["file"]))
    reviewed = review(text, origin["file"], Reading.from_json(origin["reading"]), _check, tree)
    return reviewed, json.loads(json.dumps(reviews_json(reviewed, text)))


def hold_review(document: Mapping[str, Any], made: Mapping[str, Any], place: Place) -> None:
    """Hold a document of ``review`` against one that was ``made`` again. Raises ``InputError``."""
    for new, said in zip(each(made), each(document), strict=False):
        for side, entries in new["verdicts"].items():
            _hold_verdicts(side, entries, said["verdicts"].get(side), place)
    if differing := difference(_without_verdicts(made), _without_verdicts(document)):
        raise _edited(differing, place)


def _check(model: Model) -> ModelEvidence:
    return check(model, find_properties(None, model), engines=("explicit",), limits=Limits(threads=os.cpu_count() or 1))


def _hold_verdicts(side: str, made: list[Any] | None, said: list[Any] | None, place: Place) -> None:
    """The same properties on either side, and no other verdict than that of the search, if it has one."""
    names = [None if entries is None else [e["property"] for e in entries] for entries in (made, said)]
    if names[0] != names[1]:
        raise _edited(f"its verdicts {side} the patch are not on what the mail shows", place)
    for a, s in zip(made or [], said or [], strict=True):
        if a["found"] in _DECIDED and a["found"] != s["found"]:
            raise _edited(f"{a['property']} {side} the patch is {s['found']}, where the search says {a['found']}", place)


def _without_verdicts(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared: not the verdicts, which each engine may reach, nor the versions of tools."""
    others = [_without_verdicts(o) for o in document.get("others", ())]
    return {**{n: x for n, x in document.items() if n not in ("verdicts", "tool")}, "others": others}


def _edited(why: str, place: Place) -> InputError:
    return InputError(f"the review made again says something else: {why}", place=place, hint="the file was edited, or the mail or its tree have changed: review it again")
