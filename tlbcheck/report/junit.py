"""JUnit XML in pytest's dialect (xunit2): a suite for each model, a test for each property.

What is undecided is an error, never skipped: a skipped test shows green.
"""

from __future__ import annotations

import xml.etree.ElementTree as tree
from collections.abc import Mapping, Sequence
from typing import Any

from tlbcheck.report.escape import xml_text
from tlbcheck.report.judge import each, reproduce
from tlbcheck.report.schema import property_of, run_of
from tlbcheck.report.story import render
from tlbcheck.result import Failure, PropertyResult, Status, Verdict


def build(document: Mapping[str, Any]) -> str:
    """The result as one XML document."""
    root = tree.Element("testsuites", name="tlbcheck")
    match document["command"]:
        case "verify":
            run = run_of(document)
            for m in run.models:
                _suite(
                    root,
                    m.name,
                    [_error(m.name, m.failure)] if m.failure is not None else [_case(r, run.expect) for r in m],
                )
        case "matrix":
            _suite(root, document["model"], [_row(document["model"], r) for r in document["rows"]])
        case "review":
            for one in each(document):
                after = map(property_of, one["verdicts"]["after"] or [])
                _suite(
                    root,
                    one["patch"]["subject"] or one["patch"]["shown"],
                    [*map(_finding, one["findings"]), *(_case(r, expect=False) for r in after)],
                )
            for p in document.get("passed", ()):
                if p["refused"]:
                    _suite(root, p["patch"], [_refused(p["text"])])
    for kind in ("tests", "failures", "errors", "skipped"):
        root.set(kind, str(sum(int(s.get(kind, "0")) for s in root)))
    tree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tree.tostring(root, encoding="unicode") + "\n"


def _suite(root: tree.Element, name: str, cases: Sequence[tree.Element]) -> None:
    counts = {
        kind: str(sum(c.find(tag) is not None for c in cases))
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    time = sum(float(c.get("time", "0")) for c in cases)
    suite = tree.SubElement(
        root, "testsuite", {"name": xml_text(name), "tests": str(len(cases)), **counts, "time": f"{time:.3f}"}
    )
    suite.extend(cases)


def _test(classname: str, name: str, **more: str) -> tree.Element:
    return tree.Element("testcase", {"classname": xml_text(classname), "name": xml_text(name), "time": "0", **more})


def _said(case: tree.Element, kind: str, message: str, type_: str = "", text: str = "") -> None:
    said = tree.SubElement(case, kind, {"message": xml_text(message)} | ({"type": xml_text(type_)} if type_ else {}))
    said.text = xml_text(text) or None


def _case(r: PropertyResult, expect: bool) -> tree.Element:
    case = _test(r.model, r.name, time=f"{sum(a.seconds for a in r.engines.values()):.3f}")
    facts = {
        f"{engine}.{k}": value
        for engine, a in r.engines.items()
        for k, value in (("verdict", a.verdict), ("depth", a.depth), ("states", a.states))
        if value is not None
    }
    properties = tree.SubElement(case, "properties")
    for n, value in {"verdict": r.verdict, **facts}.items():
        tree.SubElement(properties, "property", name=n, value=xml_text(str(value)))
    for x in r.relies:
        tree.SubElement(properties, "property", name="relies", value=xml_text(x.assumption))
    for note in r.beside:
        tree.SubElement(properties, "property", name="note", value=xml_text(note))
    story = "\n\n".join(render(r.model, r.name, v.told) for v in r.told)
    match r.status(expect):
        case Status.UNDECIDED:
            vacuous = ", vacuously: what it speaks of never happens" if r.vacuous else ""
            _said(case, "error", f"undecided: {r.verdict}{vacuous}: {r.reason}", "undecided", story)
        case Status.HOLDS:
            if r.verdict is Verdict.NOT_APPLICABLE:
                _said(case, "skipped", f"not applicable, as the model declares: {r.reason}")
        case _:
            message = f"{r.verdict}, {_unlike(r)}" if expect else r.told[0].summary if r.told else r.reason
            _said(case, "failure", message, r.verdict, f"{story}\n\nTo reproduce: {reproduce([r])}".strip())
    return case


def _unlike(r: PropertyResult) -> str:
    return "not declared" if r.expectation.verdict is None else f"but declared {r.expectation.verdict}"


def _error(model: str, failure: Failure) -> tree.Element:
    case = _test(model, "check")
    _said(case, "error", failure.message, "error")
    return case


def _refused(message: str) -> tree.Element:
    case = _test("review", "read")
    _said(case, "error", message, "error")
    return case


def _row(model: str, row: Mapping[str, Any]) -> tree.Element:
    case = _test(model, f"{row['old']} -> {row['new']}, other CR4 bits {row['other_cr4']}")
    if row["verdict"] != "clean":
        _said(case, "failure", f"{row['verdict']}: {row['detail']}", row["verdict"], " ".join(row["steps"]))
    return case


def _finding(finding: Mapping[str, Any]) -> tree.Element:
    case = _test("review", f"{finding['file']}:{finding['line']} {finding['property']}")
    story = render(finding["file"], finding["property"], finding["violation"])
    _said(case, "failure", finding["summary"], finding["property"], f"Fix: {finding['fix']}\n\n{story}")
    return case
