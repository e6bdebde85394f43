"""Markdown for a pull request or an issue: the table of verdicts, then each story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlbcheck.report.answers import why
from tlbcheck.report.escape import code, fenced, markdown
from tlbcheck.report.judge import each, reproduce
from tlbcheck.report.schema import run_of
from tlbcheck.report.story import render
from tlbcheck.report.wording import file_and_line, sentence
from tlbcheck.result import Counterexample, PropertyResult, Status, Verdict, grounds


def build(document: Mapping[str, Any]) -> str:
    """The result as one text."""
    made = {"verify": _verify, "matrix": _matrix, "review": _review, "list": _list}[document["command"]](document)
    return "\n\n".join(made) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _verify(document: Mapping[str, Any]) -> list[str]:
    run = run_of(document)
    judged = [m for m in run.models if m.failure is None]
    parts = ["## tlbcheck"]
    if len(judged) == 1:
        parts.append(
            f"{code(judged[0].name)}: {markdown(judged[0].title)}" if judged[0].title else code(judged[0].name)
        )
    if run.results:
        parts.append(
            _table(
                ["model", "property", "verdict", "how"],
                [[code(r.model), code(r.name), _verdict(r, run.expect), markdown(r.reason)] for r in run.results],
            )
        )
    if notes := [f"- {code(r.model)}: {code(r.name)}: {markdown(n)}" for r in run.results for n in r.beside]:
        parts.append("\n".join(notes))
    parts += [
        f"**Error** in {code(m.name)}: {markdown(m.failure.message)}" for m in run.models if m.failure is not None
    ]
    for r in run.results:
        # A run that a model declares is no news; its page has it.
        for v in r.told if not (run.expect and r.status(run.expect) is Status.HOLDS) else ():
            parts += _violation(r, v)
    if run.results and len(judged) == 1:
        for g in grounds(run.results):
            about = markdown(g.about)
            parts.append(
                "\n".join(
                    [
                        f"- Scope{about}: {markdown(str(g.scope))}",
                        *(f"- Assumes{about}: {markdown(a)}" for a in g.assumptions),
                    ]
                )
            )
    return parts


def _verdict(r: PropertyResult, expect: bool) -> str:
    if r.verdict is not Verdict.VIOLATED:
        return markdown(r.words)
    if not expect:
        return f"**{markdown(r.words)}**"
    return "violated, as declared" if not r.surprise else f"**{markdown(r.words)}**, {markdown(r.surprise)}"


def _violation(r: PropertyResult, v: Counterexample) -> list[str]:
    parts = [f"### {code(r.model)}: {code(r.name)} is violated", f"{markdown(sentence(v.summary))}"]
    if text := why(v.told):
        parts.append(f"**Why:** {markdown(text)}.")
    return [*parts, fenced(render(r.model, r.name, v.told)), f"To reproduce: {code(reproduce([r]))}"]


def _matrix(document: Mapping[str, Any]) -> list[str]:
    rows = []
    for r in document["rows"]:
        found = "clean" if r["verdict"] == "clean" else f"**{markdown(r['verdict'])}**"
        rows.append(
            [
                markdown(r["old"]),
                markdown(r["new"]),
                markdown(r["other_cr4"]),
                found,
                code(" ".join(r["steps"])),
                markdown(r["detail"]),
            ]
        )
    note = [markdown(sentence(document["note"]))] if document.get("note") else []
    return [
        f"## {code(document['model'])}: every pair of contexts",
        _table(["old", "new", "other CR4 bits", "verdict", "steps", "detail"], rows),
        *note,
    ]


def _list(document: Mapping[str, Any]) -> list[str]:
    rows = []
    for m in document["models"]:
        rows.append([code(m["model"]), markdown(m["title"]), markdown(m["source"]), _declared(m["expected"])])
        rows += [
            [
                code(f"{m['model']}@{n}"),
                markdown(doc),
                markdown(m["variants_source"][n]),
                _declared(m["variants_expected"][n]),
            ]
            for n, doc in m["variants"].items()
        ]
    properties = []
    for n, about in document["about"].items():
        clauses = [f"{code(c)} {markdown(text)}" for c, text in about["clauses"].items()]
        properties.append([code(n), markdown(about["title"]), markdown(about["source"]), "<br>".join(clauses)])
    return [
        "## The library of tlbcheck",
        _table(["model", "what it is", "source", "violates"], rows),
        _table(["property", "what must hold", "source", "broken if"], properties),
    ]


def _declared(expected: Mapping[str, str]) -> str:
    return ", ".join(code(n) for n, v in expected.items() if v == "violated")


def _review(document: Mapping[str, Any]) -> list[str]:
    passed = [
        f"- {code(file_and_line(p))}: {markdown(p['patch'])}: {'not judged: ' if p['refused'] else ''}{markdown(p['text'])}"
        for p in document.get("passed", ())
    ]
    return [part for one in each(document) for part in _reviewed(one)] + (["\n".join(passed)] if passed else [])


def _reviewed(document: Mapping[str, Any]) -> list[str]:
    """One patch and file."""
    patch = document["patch"]
    parts = [f"## {markdown(patch['title'] if document.get('others') else patch['subject'] or patch['shown'])}"]
    if patch["author"]:
        parts.append(f"by {markdown(patch['author'])}")
    for key, head in (("introduces", "Introduces"), ("fixes", "Fixes"), ("leaves", "Leaves as it was")):
        if document[key]:
            parts.append(
                "\n".join(
                    [f"**{head}:**", "", *(f"- {code(x['property'])}: {markdown(x['summary'])}" for x in document[key])]
                )
            )
    parts += [markdown(sentence(document["unchanged"]))] if document.get("unchanged") else []
    parts += (
        ["\n".join(f"- Assumed before the patch alone: {markdown(a)}" for a in document["assumed_before"])]
        if document.get("assumed_before")
        else []
    )
    if document["findings"] and document.get("places"):
        parts.append(markdown(sentence(document["places"])))
    for f in document["findings"]:
        line = next((x["text"] for x in document["lines"] if x["n"] == f["mail_line"]), "")
        parts += [f"### {code(f['file'] + ':' + str(f['line']))}: {code(f['property'])}", fenced(line)]
        parts += [
            markdown(f"{sentence(f['summary'])} {sentence(f['harm'])}"),
            f"**To mend it:** {markdown(sentence(f['fix']))}",
        ]
        parts.append(fenced(render(f["file"], f["property"], f["violation"])))
    if not document["findings"]:
        parts.append("Nothing found.")
    parts += (
        ["\n".join(f"- Not seen, {code(file_and_line(x))}: {markdown(x['text'])}" for x in document["unseen"])]
        if document["unseen"]
        else []
    )
    parts += (
        ["\n".join(f"- Assumes: {markdown(a)}" for a in document["assumptions"])] if document["assumptions"] else []
    )
    return parts
