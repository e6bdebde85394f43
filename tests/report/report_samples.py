"""JSON results made by hand, for what no model of the library shows yet: many CPUs, a review, hostile names."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from tlbcheck.report.result import document

Json = dict[str, Any]

PAGES = ("data", "text")
TAGS = (0, 1)


def step(cpu: int | None, actor: str, text: str, line: int, *, file: str = "kernel/tlb.c", after: Mapping[str, list[Any]] | None = None, **more: Any) -> Json:
    """One step; ``after`` gives the variables that it changes, raw and for people."""
    return {
        "cpu": cpu,
        "level": "task",
        "actor": actor,
        "action": text.partition(" ")[0],
        "text": text,
        "procedures": [actor, "run_cpu"],
        "source": [{"file": file, "line": line, "column": 3}, {"file": file, "line": 40, "column": 5}],
        "choices": {},
        "changes": {n: [0, raw] for n, (raw, _) in (after or {}).items()},
        "after": dict(after or {}),
        "exception": None,
        "chosen": [],
        **more,
    }


def entry(model: str, name: str, verdict: str = "proved", violations: Sequence[Json] = (), **more: Any) -> Json:
    """One entry of ``results``."""
    return {
        "model": model,
        "model_digest": "0",
        "property": name,
        "verdict": verdict,
        "vacuous": False,
        "vacuous_declared": False,
        "scope": {"cpus": 4, "pages": "any", "profile": "common"},
        "assumptions": ["every CPU takes IPIs in the end"],
        "unreached": [],
        "engines": {"explicit": {"verdict": verdict, "depth": None, "seconds": 0.5, "states": 1234, "transitions": 5678}},
        "expected": None,
        "expected_source": "",
        "reason": "all 1,234 reachable states visited" if verdict == "proved" else f"{verdict} after all",
        "callers": [],
        "cases": 1,
        "violations": list(violations),
        **more,
    }


def violation(steps: Sequence[Json], *, shown: Mapping[str, str], caches: Json | None = None, blame: Json | None = None, summary: str = "a stale entry is used") -> Json:
    """A violation by ``steps`` of a model whose variables start as ``shown``."""
    return {
        "depth": len(steps),
        "clause": "old",
        "case": {},
        "summary": summary,
        "blame": blame,
        "initial": {
            "choices": {},
            "chosen": [],
            "variables": dict.fromkeys(shown, 0),
            "shown": dict(shown),
            "cached": False,
            "cached_on": [],
            "on": {},
        },
        "tracked": None,
        "caches": caches,
        "since": None,
        "rests_on": [],
        "loop": None,
        "steps": list(steps),
    }


def procedure(name: str, first: int, lines: Sequence[str], file: str = "kernel/tlb.c") -> Json:
    numbers = list(range(first + 1, first + len(lines)))
    return {"procedure": name, "file": file, "line": first, "text": list(lines), "steps": numbers, "executed": numbers}


def facts(**more: Any) -> Json:
    """Facts of a model with a shared page table and four registers a CPU."""
    clauses = {"old": "the CPU still uses the frame from before"}
    return {
        "title": "a TLB shootdown",
        "source": "made by hand",
        "cpus": 4,
        "properties": {"shootdown": {"title": "after a shootdown nobody uses the old frame", "source": "Intel SDM vol. 3A, 4.10.5", "clauses": clauses}},
        "variables": {"pte": {"kind": "memory", "type": "enum"}, "mask": {"kind": "memory", "type": "int"}},
        "cache": {"name": "TLB", "fields": {"tag": list(TAGS), "global": [False, True], "page": list(PAGES), "frame": ["old", "new"]}},
        "procedures": [
            procedure("flush_range", 10, ["void flush_range(void)", "{", "    set_pte();", "    send_ipis();", "    wait_for_acks();", "}"]),
            procedure("flush_ipi", 20, ["void flush_ipi(void)", "{", "    invlpg();", "    ack();", "}"]),
        ],
        "graph": None,
        **more,
    }


def many_cpus(cpus: int = 4, length: int = 200) -> Json:
    """A long run on several CPUs with what their TLBs hold at each step; the entry of tag 0 and the first page is watched."""
    chance = random.Random(4)
    entries = [(t, p) for t in TAGS for p in PAGES]
    held: dict[tuple[int, int], bool] = {}
    frame = "old"
    steps, changes = [], []
    for i in range(1, length + 1):
        cpu = chance.randrange(cpus)
        after: dict[str, list[Any]] = {}
        now = held
        match chance.randrange(5):
            case 0:
                frame = "new" if i % 2 else "old"
                after["pte"] = [i % 2, frame]
                text, line, actor = f"writes pte := {frame}", 12, "flush_range"
                now = dict.fromkeys(held, frame == "new")
            case 1:
                text, line, actor = "INVLPG data", 22, "flush_ipi"
                now = {k: stale for k, stale in held.items() if k[0] != cpu}
            case 2:
                after[f"cpu{cpu}.cr3"] = [4096 * i, f"root {i}, PCID {i % 2}"]
                text, line, actor = f"writes CR3 := root {i}, PCID {i % 2}", 14, "flush_range"
            case 3:
                now = {(cpu, chance.randrange(len(entries))): frame == "new", **held}
                text, line, actor = "reads the page", 23, "flush_ipi"
            case _:
                after[f"cpu{cpu}.if"] = [i % 2, str(bool(i % 2))]
                text, line, actor = f"restores IF := {'yes' if i % 2 else 'no'}", 13, "flush_range"
        made: list[list[Any]] = [[*k, "dropped"] for k in held if k not in now] + [[*k, "filled"] for k in now if k not in held]
        made += [[*k, "stale" if stale else "valid"] for k, stale in now.items() if stale is not held.get(k, False)]
        changes.append(made)
        held = now
        events = [{"cpu": c, "entry": e, "what": what, **({"by": "memory"} if what == "stale" else {})} for c, e, what in made if not e]
        steps.append(step(cpu, actor, text, line, after=after, level="irq" if actor == "flush_ipi" else "task", events=events))
    told = [{"text": f"page {p} by tag {t} at its old frame", "shown": {"tag": t, "global": t == 1, "page": p, "frame": "old"}} for t, p in entries]
    shown = {"pte": "old", "mask": "0", **{f"cpu{c}.{r}": x for c in range(cpus) for r, x in (("cr3", "root 0, PCID 0"), ("cr4", "PCIDE|SMEP"), ("if", "True"))}}
    found = violation(
        steps,
        shown=shown,
        caches={"entries": told, "about": [0], "start": [], "steps": changes},
        blame={
            "kind": "missing",
            "operation": "INVLPG",
            "place": {"file": "kernel/tlb.c", "line": 13, "column": 5},
            "text": "an INVLPG is missing after line 13 of flush_range: with it, this case holds",
        },
    )
    found["watched"] = [{"entry": 0, "fields": {}}]
    return document("verify", models={"made/shootdown": facts()}, results=[entry("made/shootdown", "shootdown", "violated", [found])], errors=[])


_MAIL = """\
From: A Developer <dev@example.org>
Subject: [PATCH 1/2] x86: flush less

The CPU that runs the switch has flushed already.

--- a/kernel/tlb.c
+++ b/kernel/tlb.c
@@ -10,6 +10,5 @@ void flush_range(void)
 {
     set_pte();
-    invlpg();
     send_ipis();
+    /* acks come later */
     wait_for_acks();
 }
"""


def review(lines: str = _MAIL) -> Json:
    """The review of a patch that takes a local flush away."""
    kinds = {"-": "remove", "+": "add", " ": "context"}
    body = False
    numbered = []
    for n, text in enumerate(lines.splitlines(), 1):
        body = body or text.startswith("@@")
        numbered.append({"n": n, "text": text, "kind": "other" if not body or text.startswith("@@") else kinds.get(text[:1], "comment")})
    watched = {"text": "the data page at its old frame", "shown": {"tag": 0, "global": False, "page": "data", "frame": "old"}}
    file = "0001-flush-less.patch"
    steps = [
        step(0, "flush_range", "writes pte := new", 10, file=file, after={"pte": [1, "new"]}),
        step(0, "flush_range", "sends IPIs to the other CPUs", 12, file=file),
        step(0, "flush_range", "reads the page", 14, file=file),
    ]
    caches = {"entries": [watched], "about": [0], "start": [[0, 0, "filled"]], "steps": [[[0, 0, "stale"]], [], []]}
    found = violation(steps, shown={"pte": "old", "cpu0.cr3": "root 0, PCID 0"}, caches=caches)
    known = facts(cpus=1, procedures=[procedure("flush_range", 9, lines.splitlines()[8:15], file)])
    return document(
        "review",
        patch={"subject": "[PATCH 1/2] x86: flush less", "author": "A Developer", "date": "", "file": f"/elsewhere/{file}", "shown": file},
        lines=numbered,
        verdicts={"before": [entry(file, "shootdown")], "after": [entry(file, "shootdown", "violated", [found])]},
        introduces=[{"property": "shootdown", "clause": "old", "summary": "the local entry survives the shootdown", "cases": 1}],
        fixes=[],
        leaves=[],
        unseen=[{"line": 15, "file": file, "text": "the rest of flush_range"}],
        findings=[
            {
                "file": file,
                "line": 11,
                "column": 6,
                "mail_line": 11,
                "kind": "missing",
                "property": "shootdown",
                "properties": ["shootdown"],
                "clause": "old",
                "summary": "line 11 of flush_range (invlpg();) was the only invalidation on the CPU that changes the entry",
                "fault": "was the only invalidation on the CPU that changes the entry",
                "harm": "a stale entry is used",
                "fix": "keep invlpg() before send_ipis()",
                "introduced": True,
                "cases": 1,
                "callers": [],
                "only_open": False,
                "violation": found,
            }
        ],
        assumptions=["functions outside of the patch do what their names say"],
        models={"before": known, "after": known},
        together=True,
        unexplained=[],
        function="flush_range",
        rebuilt=True,
    )


HOSTILE = "<script>alert(1)</script>\"'&]]>|`x`[a](b)**b**\x1b[31m\x00\u202e</code>"
"""A name that would do harm in each of the formats if it were not escaped."""


def hostile() -> tuple[Json, Json, Json]:
    """A verify, a matrix and a review result with that name wherever a model, C or a mail can put text."""
    h = HOSTILE
    steps = [
        {
            **step(0, h, h, 11, file="k.c", after={h: [1, h]}),
            "source": [{"file": h, "line": 11, "column": 1}],
            "procedures": [h],
            "choices": {h: h},
        }
    ]
    caches = {"entries": [{"text": h, "shown": {"tag": h, "page": h}}], "about": [0], "start": [], "steps": [[[0, 0, "filled"], [0, 0, "stale"]]]}
    found = violation(steps, shown={h: h}, caches=caches, summary=h, blame={"kind": "missing", "operation": h, "place": {"file": h, "line": 11, "column": 1}, "text": h})
    graph = {
        "kind": "states",
        "states": 2,
        "nodes": [{"label": h, "detail": h, "start": True, "violates": [h]}, {"label": "b", "detail": "", "start": False, "violates": []}],
        "edges": [[0, 1, h]],
        "paths": {h: [[[0, 1]]]},
    }
    known = {
        h: facts(
            title=h,
            source=h,
            properties={h: {"title": h, "source": h, "clauses": {"old": h}}},
            variables={h: {"kind": "memory", "type": "enum"}},
            cache={"name": h, "fields": {"tag": [h], "page": [h]}},
            procedures=[{"procedure": h, "file": h, "line": 10, "text": [h, h], "steps": [11], "executed": [11]}],
            graph=graph,
        )
    }
    results = [entry(h, h, "violated", [found], assumptions=[h], unreached=[h], reason=h, scope={h: h}), entry(h, h + "2", invariant=[h])]
    verified = document("verify", models=known, results=results, errors=[{"model": h, "status": 2, "message": h}])
    matrix = document("matrix", model=h, title=h, rows=[{"old": h, "new": h, "other_cr4": h, "steps": [h], "verdict": "fault", "detail": h}], note=h)
    reviewed = {
        **review(h),
        "patch": {"subject": h, "author": h, "date": h, "file": h, "shown": h},
        "findings": [
            {
                "file": h,
                "line": 1,
                "column": 0,
                "mail_line": 1,
                "kind": h,
                "property": h,
                "properties": [h],
                "clause": h,
                "summary": h,
                "fault": h,
                "harm": h,
                "fix": h,
                "introduced": False,
                "cases": 1,
                "callers": [h],
                "only_open": True,
                "violation": found,
            }
        ],
        "models": {"after": known[h]},
        "unseen": [{"line": 1, "file": h, "text": h}],
        "introduces": [{"property": h, "clause": h, "summary": h, "cases": 2}],
        "assumptions": [h],
    }
    return verified, matrix, reviewed
