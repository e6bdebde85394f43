"""A review as JSON, as text, and as a mail: made of the JSON alone once that is there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tlbcheck.engines.run import confirm
from tlbcheck.engines.trace import Violation
from tlbcheck.errors import Place
from tlbcheck.faults import Fault
from tlbcheck.patch.tree import remember
from tlbcheck.report.facts import model_facts
from tlbcheck.report.judge import each
from tlbcheck.report.result import Teller, case_values, document, model_result, relative
from tlbcheck.report.schema import property_json, property_of
from tlbcheck.report.wording import sentence
from tlbcheck.result import PropertyResult, Verdict
from tlbcheck.review import Key, Review, Reviewed, Side

_WIDTH = 72


def reviews_json(reviewed: Reviewed, text: str) -> dict[str, Any]:
    """The document of ``tlbcheck review --json``; ``text`` is the mail.

    It is about the first patch (and file of it) that was judged; the ``others`` are told in the same form.
    """
    first, *others = [_one(r, text) for r in reviewed.reviews]
    passed = [{**relative(p.place), "patch": p.sent.title, "text": p.text, "refused": p.refused} for p in reviewed.passed]
    return document("review", **first, others=others, passed=passed)


def _one(review: Review, text: str) -> dict[str, Any]:
    """One patch and file. Its lines can be quoted as they are after the patch."""
    if (source := review.after.source) is not None and all(x.place.file == source.name for x in source.lines):
        remember(source.name, source.text)
    first = review.patch
    before, after = review.before.violations(), review.after.violations()
    known = review.before.result is not None and review.after.result is not None
    model = review.after.model or review.before.model
    return {
        "patch": {
            "subject": first.subject,
            "author": first.author,
            "date": first.date,
            "file": review.file,
            "shown": relative(Place(review.file))["file"],
            "title": review.sent.title,
        },
        "function": review.after.function or review.before.function,
        "source": review.source,
        "unchanged": review.unchanged,
        "places": _places(review),
        "rebuilt": any(s.source is not None and s.source.gaps for s in (review.before, review.after)),
        "lines": _lines(review, text),
        "verdicts": {"before": _entries(review.before), "after": _entries(review.after)},
        "models": {name: model_facts(s.result, source=s.source) for name, s in (("before", review.before), ("after", review.after)) if s.result is not None},
        "introduces": _grouped(review.after, after - before) if known else [],
        "fixes": _grouped(review.before, before - after) if known else [],
        "leaves": _grouped(review.after, after & before) if known else [],
        "findings": [_finding(review, f, before) for f in review.faults.found] if review.faults else [],
        "unexplained": _grouped(review.after, {(v.property, v.clause, v.case) for v in review.faults.unexplained}) if review.faults else [],
        "together": review.faults.together if review.faults else None,
        "unseen": [{**relative(u.place), "text": u.text} for u in review.unseen],
        "assumptions": list(model.assumptions) if model is not None else [],
        "assumed_before": [a for a in review.before.model.assumptions if a not in model.assumptions] if model is not None and review.before.model is not None else [],
    }


def _places(review: Review) -> str:
    """Which file's lines the places in the code after the patch are."""
    source = review.after.source
    if source is not None and all(x.place.file == source.name for x in source.lines):
        return f"lines are those of {source.name} with the patch applied"
    return f"lines are those of {relative(Place(review.file))['file']}"


def _in_mail(review: Review, place: Place) -> int | None:
    """The line of the mail that shows a place in the code after the patch; None if none does."""
    if place.file == review.file:
        return place.line
    lines = review.after.source.lines if review.after.source is not None else ()
    return next((x.shown.line for x in lines if x.shown is not None and (x.place.file, x.place.line) == (place.file, place.line)), None)


def _entries(side: Side) -> list[dict[str, Any]] | None:
    return None if side.result is None else [property_json(r) for r in model_result(side.result)]


def results_of(review: Mapping[str, Any], side: str) -> list[PropertyResult] | None:
    """The verdicts on the code ``before`` or ``after`` the patch; None where it was not seen."""
    entries = review["verdicts"][side]
    return None if entries is None else [property_of(e) for e in entries]


def _grouped(side: Side, keys: set[Key]) -> list[dict[str, Any]]:
    """Violating cases by property and clause."""
    if side.result is None:
        return []
    made = []
    for q in side.result.system.properties:
        for clause, words in q.clauses.items():
            cases = [k for k in keys if k[:2] == (q.name, clause)]
            if cases:
                made.append({"property": q.name, "clause": clause, "summary": words, "cases": len(cases)})
    return made


_KINDS = {" ": "context", "+": "add", "-": "remove"}


def _lines(review: Review, text: str) -> list[dict[str, Any]]:
    """Every line of the mail and what it is in the patch; of a hunk's line also its number before and after the patch."""
    known: dict[int, dict[str, Any]] = {}
    for part in review.patch.files:
        for hunk in part.hunks:
            shown = [hunk.place.line, *(x.place.line for x in hunk.lines)]
            known |= {n: {"kind": "comment"} for n in range(min(shown), max(shown) + 1) if n not in known}
            known[hunk.place.line] = {"kind": "context"}
            old, new = hunk.old_start, hunk.new_start
            for x in hunk.lines:
                known[x.place.line] = {"kind": _KINDS[x.sign], "file": part.name, "old": old if x.sign != "+" else None, "new": new if x.sign != "-" else None}
                old, new = old + (x.sign != "+"), new + (x.sign != "-")
    return [{"n": n, "text": line, **known.get(n, {"kind": "other"})} for n, line in enumerate(text.split("\n"), 1)]


def _finding(review: Review, fault: Fault, before: set[Key]) -> dict[str, Any]:
    """A fault with the shortest run that shows it, by a real caller if there is one."""
    result = review.after.result
    assert result is not None and result.search is not None
    real = [v for v in fault.violations if not any(pair in result.model.open_cases for pair in v.case)]
    chosen = (real or fault.violations)[0]
    traced = Violation(chosen.property, chosen.clause, chosen.case, chosen.depth, chosen.trace or result.search.trace(chosen))
    confirm(result.system, traced, "explicit", first=False)
    told = Teller(result.system).violation(traced)
    place = fault.change.place
    return {
        **relative(place),
        "mail_line": _in_mail(review, place),
        "kind": fault.change.kind,
        "property": chosen.property,
        "properties": sorted({v.property for v in fault.violations}),
        "clause": chosen.clause,
        "summary": fault.change.text,
        "fault": fault.change.fault,
        "harm": told["summary"],
        "fix": fault.change.fix,
        "introduced": any((v.property, v.clause, v.case) not in before for v in fault.violations) if review.before.result is not None else None,
        "cases": len({v.case for v in fault.violations}),
        "callers": sorted({str(case_values(result.system, v).get("caller")) for v in fault.violations if v.case}),
        "only_open": not real,
        "violation": told,
    }


# -- as text


def render(review: Mapping[str, Any]) -> str:
    """The review for a terminal: verdicts, each fault with its shortest run, what was not seen."""
    made = [line for one in each(review) for line in (*_told(one), "")]
    return "\n".join([*made, *_passed(review)]).rstrip()


def _told(review: Mapping[str, Any]) -> list[str]:
    """One patch and file."""
    from tlbcheck.report.story import render as story

    made = [_title(review), ""]
    made += [*_table(review), *(f"  assumed before the patch alone: {a}" for a in review.get("assumed_before", ()))]
    made += ["", *_headline(review)]
    if review["findings"] and review.get("places"):
        made.append(sentence(review["places"]))
    for i, f in enumerate(review["findings"], 1):
        made += ["", f"{i}. {f['file']}:{f['line']}:{f['column']}: {f['summary']}"]
        made += [f"   {x}" for x in _about(f)]
        made += ["", textwrap.indent(story(review["function"], f["property"], f["violation"]), "   ")]
    return [*made, "", *_caveats(review)]


def _passed(review: Mapping[str, Any]) -> Iterator[str]:
    """The patches that are not judged."""
    for p in review.get("passed", ()):
        yield f"{p['file']}:{p['line']}: {p['patch']}: {'not judged: ' if p['refused'] else ''}{p['text']}"


def _title(review: Mapping[str, Any]) -> str:
    patch = review["patch"]
    by = f" by {patch['author']}" if patch["author"] else ""
    whose = patch["title"] if review.get("others") or "quoted" in patch.get("title", "") else f"{patch['subject'] or patch['shown']}{by}"
    how = "rebuilt from the hunks" if review["rebuilt"] else "with the patch applied"
    return f"{whose}: {review['function']} of {review['source']}, {how}" if review.get("source") else f"{whose}: {review['function']}, {how}"


def _table(review: Mapping[str, Any]) -> Iterator[str]:
    verdicts = {side: {r.name: r.words for r in results_of(review, side) or ()} for side in ("before", "after")}
    yield f"  {'property':<20} {'before':<16} after"
    for name in dict.fromkeys([*verdicts["before"], *verdicts["after"]]):
        yield f"  {name:<20} {verdicts['before'].get(name, 'not seen'):<16} {verdicts['after'].get(name, 'not seen')}"


def _headline(review: Mapping[str, Any]) -> Iterator[str]:
    findings = review["findings"]
    if review.get("unchanged"):
        yield f"{sentence(review['unchanged'])}"
    if findings:
        new = sum(1 for f in findings if f["introduced"])
        how_many = "all" if new == len(findings) else str(new or "none")
        said = "" if any(f["introduced"] is None for f in findings) else f", {how_many} of them introduced by it"
        yield f"{len(findings)} fault{'s' if len(findings) != 1 else ''} after the patch{said}."
        if review["together"]:
            yield "With all that is proposed below, every property holds: that was checked."
    elif review["verdicts"]["after"] is None:
        yield f"{review['function']} cannot be seen after the patch (it is gone, or the mail does not show it): nothing is decided."
    elif all(r.verdict is Verdict.PROVED and not r.undecided for r in results_of(review, "after") or ()):
        yield "Nothing is wrong with it after the patch." if not review["rebuilt"] else "Nothing is wrong with it after the patch, as far as the mail shows it."
    for what, text in (("fixes", "The patch fixes"), ("unexplained", "No single change was found for")):
        for g in review[what]:
            yield f"{text} {g['property']} ({g['clause']}) in {g['cases']} case{'s' if g['cases'] != 1 else ''}: {g['summary']}."


def _about(f: Mapping[str, Any]) -> Iterator[str]:
    yield f"{', '.join(f['properties'])}: {f['harm']}"
    if f["only_open"]:
        yield "Only a caller more general than those in the tree can meet it."
    yield f"Fix: {f['fix']}."


def _caveats(review: Mapping[str, Any]) -> Iterator[str]:
    for u in review["unseen"]:
        yield f"not seen: {u['file']}:{u['line']}: {u['text']}"
    for a in review["assumptions"]:
        yield f"assumes: {a}"


# -- as a mail


def mail(review: Mapping[str, Any]) -> str:
    """Replies in plain text, 72 columns, one for each patch and file: each fault under the line that it is about."""
    passed = [line for text in _passed(review) for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]
    return "\n".join([*(_reply(one) for one in each(review)), *passed]).rstrip() + "\n"


def _reply(review: Mapping[str, Any]) -> str:
    lines, mailed = {x["n"]: x["text"] for x in review["lines"]}, review["patch"]["shown"]
    made: list[str] = []

    def say(text: str) -> None:
        made.extend(textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""])

    by, subject = review["patch"]["author"], review["patch"]["subject"]
    if subject:
        made += [f"Subject: {subject if subject.lower().startswith('re:') else 'Re: ' + subject}", ""]
    if by:
        made += [f"On {review['patch']['date']}, {by} wrote:" if review["patch"]["date"] else f"{by} wrote:", ""]
    say(f"tlbcheck {review['tool']['tlbcheck']} has searched every interleaving of {review['function']} with this patch.")
    made.append("")
    made += [x[:_WIDTH] for x in _table(review)]
    made.append("")
    for a in review.get("assumed_before", ()):
        say(f"Assumed before the patch alone: {a}")
    for x in _headline(review):
        say(x)
    if review["findings"] and review.get("places"):
        say(sentence(review["places"]))
    for f in sorted(review["findings"], key=lambda f: (f["file"], f["line"])):
        quoted = lines.get(f["mail_line"], "")
        made += ["", f"> {quoted}"[: _WIDTH + 6] if quoted else f"{f['file']}:{f['line']}:", ""]
        say(f"This {f['fault']}." if quoted else f"{f['summary']}.")
        for x in _about(f):
            say(x)
        made.append("")
        say("The shortest run:")
        made += _run(f["violation"], mailed)
    made.append("")
    for x in _caveats(review):
        say(x)
    return "\n".join(made).rstrip() + "\n"


def _run(v: Mapping[str, Any], mailed: str) -> Sequence[str]:
    """The steps of a trace, a line or two each; places that are not of the mail with their file."""
    made = []
    for i, s in enumerate(v["steps"], 1):
        place = s["source"][0] if s["source"] else None
        at = "" if place is None else f" (line {place['line']})" if place["file"] == mailed else f" ({place['file']}:{place['line']})"
        made += textwrap.wrap(f"{s['actor']}: {s['text']}{at}", _WIDTH, initial_indent=f"{i:>3}. ", subsequent_indent="     ", break_long_words=False)
    return made
