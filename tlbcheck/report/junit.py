"""JUnit XML in pytest's dialect (xunit2): a suite for each model, a test for each property.

What is undecided is an error, never skipped: a skipped test shows green.
"""

from __future__ import annotations

import xml.etree.ElementTree as tree
from collections.abc import Mapping, Sequence
from typing import Any

from tlbcheck.reliance import assumption
from tlbcheck.report.escape import xml_text
from tlbcheck.report.judge import OK, UNDECIDED, reproduce, status, told
from tlbcheck.report.story import render


def build(document: Mapping[str, Any]) -> str:
    """The result as one XML document."""
    root = tree.Element("testsuites", name="tlbcheck")
    match document["command"]:
        case "verify":
            names = dict.fromkeys([*(e["model"] for e in document["results"]), *(e["model"] for e in document.get("errors", []))])
            for name in names:
                entries = [e for e in document["results"] if e["model"] == name]
                _suite(root, name, [_case(e, document.get("expect", False)) for e in entries] + [_error(e) for e in document.get("errors", []) if e["model"] == name])
        case "matrix":
            _suite(root, document["model"], [_row(document["model"], r) for r in document["rows"]])
        case "review":
            after = document["verdicts"]["after"] or []
            _suite(root, document["patch"]["subject"] or document["patch"]["shown"], [*map(_finding, document["findings"]), *(_case(e, expect=False) for e in after)])
    for kind in ("tests", "failures", "errors", "skipped"):
        root.set(kind, str(sum(int(s.get(kind, "0")) for s in root)))
    tree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tree.tostring(root, encoding="unicode") + "\n"


def _suite(root: tree.Element, name: str, cases: Sequence[tree.Element]) -> None:
    counts = {kind: str(sum(c.find(tag) is not None for c in cases)) for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))}
    time = sum(float(c.get("time", "0")) for c in cases)
    suite = tree.SubElement(root, "testsuite", {"name": xml_text(name), "tests": str(len(cases)), **counts, "time": f"{time:.3f}"})
    suite.extend(cases)


def _test(classname: str, name: str, **more: str) -> tree.Element:
    return tree.Element("testcase", {"classname": xml_text(classname), "name": xml_text(name), "time": "0", **more})


def _said(case: tree.Element, kind: str, message: str, type_: str = "", text: str = "") -> None:
    said = tree.SubElement(case, kind, {"message": xml_text(message)} | ({"type": xml_text(type_)} if type_ else {}))
    said.text = xml_text(text) or None


def _case(entry: Mapping[str, Any], expect: bool) -> tree.Element:
    seconds = sum(e.get("seconds") or 0 for e in entry["engines"].values())
    case = _test(entry["model"], entry["property"], time=f"{seconds:.3f}")
    facts = {f"{engine}.{k}": v for engine, said in entry["engines"].items() for k, v in said.items() if k in ("verdict", "depth", "states") and v is not None}
    properties = tree.SubElement(case, "properties")
    for n, value in {"verdict": entry["verdict"], **facts}.items():
        tree.SubElement(properties, "property", name=n, value=xml_text(str(value)))
    for r in entry.get("relies", ()):
        tree.SubElement(properties, "property", name="relies", value=xml_text(assumption(r)))
    found = status(entry, expect)
    story = "\n\n".join(render(entry["model"], entry["property"], v) for v in told(entry))
    if found == UNDECIDED:
        vacuous = ", vacuously: what it speaks of never happens" if entry["vacuous"] else ""
        _said(case, "error", f"undecided: {entry['verdict']}{vacuous}: {entry['reason']}", "undecided", story)
    elif found != OK:
        what = f"{entry['verdict']}, but declared {entry['expected']}" if expect else told(entry)[0]["summary"] if told(entry) else entry["reason"]
        _said(case, "failure", what, entry["verdict"], f"{story}\n\nTo reproduce: {reproduce([entry])}".strip())
    elif entry["verdict"] == "not-applicable":
        _said(case, "skipped", f"not applicable, as the model declares: {entry['reason']}")
    return case


def _error(error: Mapping[str, Any]) -> tree.Element:
    case = _test(error["model"], "check")
    _said(case, "error", error["message"], "error")
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
