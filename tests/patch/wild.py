"""Patches as they are met in the wild, each held against the file after it.

    python tests/patch/wild.py [--seed N] [--count N] [--minutes M] [--state FILE]

Switch functions are changed at random, the change is mailed in one of many forms, and what ``review`` reads
out of the mail is judged as ``matrix`` judges, with and without a tree. Without a tree the mail may be
refused; but what is judged is never clean where the file after the patch is not, and never wrong where
that is clean. Exit status 1 and the mail itself where that fails. Judgements are remembered by the text
of the function, so that thousands of mails need some dozens of searches. ``--state`` goes on where an
earlier run ended.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import json
import quopri
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlbcheck.errors import InputError
from tlbcheck.fit import fit, harness_for
from tlbcheck.hidden import may_be_mended
from tlbcheck.lang.harness import Reading
from tlbcheck.lang.model import Model
from tlbcheck.lang.source import source_of
from tlbcheck.library import find_properties
from tlbcheck.matrix import matrix
from tlbcheck.patch.tree import Tree
from tlbcheck.review import Review, read_reviews

NAME = "xen/arch/x86/flushtlb.c"
HEADER = "xen/include/asm-x86/flushtlb.h"
READING = Reading(facts={"pcid": False})
HEAD = """\
#include <asm/flushtlb.h>

static unsigned int ticks;

/* Asked for by name elsewhere. */
unsigned int count_ticks(void)
{
    return ticks++;
}

"""
TAIL = """
void other_flush(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, now;

    local_irq_save(flags);

    now = read_cr4();
    write_cr3(cr3);

    if ( now != cr4 )
        write_cr4(cr4);

    local_irq_restore(flags);
}
"""
TICKING = """\
void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, now;

    /* Interrupt handlers call this, too. */
    local_irq_save(flags);

    pre_flush();

    now = read_cr4();
    if ( now & X86_CR4_PGE )
    {
        now = cr4 & ~X86_CR4_PGE;
        write_cr4(now);
    }

    write_cr3(cr3);

    if ( now != cr4 )
        write_cr4(cr4);

    post_flush(0);

    local_irq_restore(flags);
}
"""
PLAIN = """\
static void set_cr4(unsigned long value)
{
    if ( read_cr4() != value )
        write_cr4(value);
}

void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags;
    bool global;

    local_irq_save(flags);

    global = read_cr4() & X86_CR4_PGE;
    if ( global )
        set_cr4(cr4 & ~X86_CR4_PGE);

    barrier();

    asm volatile ( "mov %0, %%cr3" : : "r" (cr3) : "memory" );

    barrier();
    ASSERT(cr3 != 0 || cr4 != 0);

    set_cr4(cr4);

    local_irq_restore(flags);
}
"""
GAPPED = """\
void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, now;

    local_irq_save(flags);

    now = read_cr4();
    barrier();
    barrier();
    barrier();
    barrier();
    barrier();
    barrier();
    HIDDEN;
    barrier();
    barrier();
    barrier();
    barrier();
    barrier();
    barrier();
    if ( now & X86_CR4_PGE )
        write_cr4(cr4 & ~X86_CR4_PGE);

    write_cr3(cr3);
    write_cr4(cr4);

    local_irq_restore(flags);
}
"""
HIDDEN = {"emptied": "    now = 0;\n", "exchanged": "    now = cr4;\n"}
"""Assignments between the hunks of a mail. What is taken for free of them is judged so, and has to say that it was."""
SWITCHES = {"ticking": TICKING, "plain": PLAIN} | {name: GAPPED.replace("    HIDDEN;\n", line) for name, line in HIDDEN.items()}
_GAPPED_EDITS = [
    ("unsigned long flags, now;", "unsigned long now, flags;"),
    ("    write_cr3(cr3);\n    write_cr4(cr4);\n", "    write_cr3(cr3);\n    barrier();\n    write_cr4(cr4);\n"),
    ("    if ( now & X86_CR4_PGE )\n", "    if ( X86_CR4_PGE & now )\n"),
    ("    write_cr3(cr3);\n", ""),
]
EDITS: dict[str, list[tuple[str, str]]] = {
    "ticking": [
        ("    write_cr3(cr3);\n", ""),
        ("    if ( now != cr4 )\n        write_cr4(cr4);\n", ""),
        ("    if ( now & X86_CR4_PGE )\n", "    if ( !(now & X86_CR4_PGE) )\n"),
        ("        write_cr4(now);\n", ""),
        ("        now = cr4 & ~X86_CR4_PGE;\n", "        now = cr4;\n"),
        ("    if ( now != cr4 )\n", "    if ( now == cr4 )\n"),
        ("    pre_flush();\n\n", ""),
        ("    write_cr3(cr3);\n", "    write_cr3(read_cr3());\n"),
        ("    write_cr3(cr3);\n", "    write_cr3(cr3);\n    barrier();\n"),
        ("    now = read_cr4();\n", "    now = read_cr4();\n    if ( now == cr4 )\n    {\n        local_irq_restore(flags);\n        return;\n    }\n"),
        ("    post_flush(0);\n", "    post_flush(0);\n    invpcid_flush_all();\n"),
        ("    write_cr3(cr3);\n", "    invpcid_flush_all();\n    write_cr3(cr3);\n"),
        ("Interrupt handlers call", "Handlers of interrupts call"),
        ("unsigned long flags, now;", "unsigned long now, flags;"),
        ("    pre_flush();\n", "#if 0\n    pre_flush();\n#endif\n"),
        ("    write_cr3(cr3);\n\n    if ( now != cr4 )\n        write_cr4(cr4);\n", "    if ( now != cr4 )\n        write_cr4(cr4);\n\n    write_cr3(cr3);\n"),
    ],
    "plain": [
        ("        set_cr4(cr4 & ~X86_CR4_PGE);\n", "        set_cr4(cr4);\n"),
        ("    if ( global )\n", "    if ( global && cr3 )\n"),
        ("    set_cr4(cr4);\n", ""),
        ("    if ( read_cr4() != value )\n        write_cr4(value);\n", "    write_cr4(value);\n"),
        ("    if ( read_cr4() != value )\n", "    if ( read_cr4() == value )\n"),
        ("    if ( global )\n        set_cr4(cr4 & ~X86_CR4_PGE);\n", ""),
        ("    bool global;\n", "    bool global = false;\n"),
        ('    asm volatile ( "mov %0, %%cr3" : : "r" (cr3) : "memory" );\n', "    write_cr3(cr3);\n"),
        ("    global = read_cr4() & X86_CR4_PGE;\n", "    global = cr4 & X86_CR4_PGE;\n"),
        ("    set_cr4(cr4);\n", "    set_cr4(cr4);\n    invpcid_flush_all();\n"),
        ("    ASSERT(cr3 != 0 || cr4 != 0);\n", ""),
    ],
} | dict.fromkeys(HIDDEN, _GAPPED_EDITS)
ELSEWHERE = [("return ticks++;", "return ++ticks;"), ("    now = read_cr4();\n    write_cr3(cr3);\n", "    write_cr3(cr3);\n    now = read_cr4();\n")]


# -- the mails


@dataclass(frozen=True)
class Case:
    """A mail, the tree that it is reviewed with (none: without one), and the file before and after each patch of it, by its subject's number."""

    text: str
    tree: dict[str, str] | None
    versions: dict[str, tuple[str, str]]
    about: str
    hidden: str = ""
    """A statement of the file that the mail does not show."""


def diff(old: str, new: str, context: int, name: str = NAME, *, headings: bool = True) -> str:
    """As git writes it: with the line at the margin above each hunk behind its numbers."""
    before = old.split("\n")[:-1]
    made = list(difflib.unified_diff(before, new.split("\n")[:-1], f"a/{name}", f"b/{name}", lineterm="", n=context))
    for i, line in enumerate(made):
        found = re.match(r"@@ -(\d+)(?:,(\d+))?", line)
        if found and headings:
            first = int(found[1]) - (found[2] != "0")
            heading = next((text for text in reversed(before[:first]) if re.match(r"[A-Za-z_$]", text)), "")
            made[i] = f"{line} {heading[:80]}".rstrip()
    return f"diff --git a/{name} b/{name}\n" + "\n".join(made) + "\n" if made else ""


def mail(subject: str, text: str) -> str:
    return f"From: Ann Author <ann@example.org>\nSubject: {subject}\nDate: Mon, 2 Nov 2026 10:00:00 +0000\n\nIt is simpler so.\n\n---\n{text}-- \n2.47.0\n"


def encoded(text: str, encoding: str, more: str = "") -> str:
    body = base64.encodebytes(text.encode()).decode() if encoding == "base64" else quopri.encodestring(text.encode()).decode() if encoding == "quoted-printable" else text
    return f"From: Ann Author <ann@example.org>\nSubject: [PATCH] change 1\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8{more}\nContent-Transfer-Encoding: {encoding}\n\n{body}"


def quoted(text: str, mark: str = "> ", every: int = 0) -> str:
    """A reply; below every so many lines stands a comment."""
    lines = ["From: Rita <rita@example.org>", "Subject: Re: [PATCH] change 1", "", "On 02.11.26 11:00, Ann Author wrote:"]
    for i, line in enumerate(text.split("\n")[:-1], 1):
        lines.append(f"{mark}{line}".rstrip() if not line.startswith(" ") else f"{mark}{line}")
        if every and i > 4 and i % every == 0:
            lines += ["", "Is this right?", ""]
    return "\n".join(lines) + "\n"


def attached(text: str, *, inline: bool) -> str:
    head = 'From: Ann Author <ann@example.org>\nSubject: [PATCH] change 1\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n'
    parts = [f"--b\nContent-Type: text/plain\n\n{text if inline else 'See below.'}\n"]
    coded = base64.encodebytes(text.encode()).decode()
    parts.append(f'--b\nContent-Type: text/x-patch; name="a.patch"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename="a.patch"\n\n{coded}')
    return head + "".join(parts) + "--b--\n"


def renumbered(text: str, by: int) -> str:
    return re.sub(r"^@@ -(\d+)((?:,\d+)?) \+(\d+)((?:,\d+)?) @@", lambda m: f"@@ -{int(m[1]) + by}{m[2]} +{int(m[3]) + by}{m[4]} @@", text, flags=re.MULTILINE)


def mbox(*mails: str) -> str:
    return "".join(f"From ann Mon Nov  2 10:00:00 2026\n{m}\n" for m in mails)


Mailed = tuple[str, dict[str, str], dict[str, tuple[str, str]]]
"""The mail, what else the tree has or has otherwise, and the file before and after each patch."""
Form = Callable[[random.Random, str, str, int], Mailed]
"""From the file before and after, and the lines of context."""


def _one(write: Callable[[random.Random, str], str]) -> Form:
    return lambda rng, old, new, context: (write(rng, diff(old, new, context)), {}, {"1": (old, new)})


def _log(rng: random.Random, old: str, new: str, context: int) -> Mailed:
    last = new.replace(*ELSEWHERE[0])
    texts = [diff(old, new, context), diff(new, last, context)]
    commits = [f"commit {'ab'[i] * 40}\nAuthor: Ann Author <ann@example.org>\nDate:   Mon Nov 2 10:00:00 2026 +0100\n\n    change {i + 1}\n\n{t}" for i, t in enumerate(texts)]
    return "\n".join(commits[::-1] if rng.random() < 0.7 else commits), {}, {"1": (old, new), "2": (new, last)}


def _series(rng: random.Random, old: str, new: str, context: int) -> Mailed:
    last = new.replace(*rng.choice(ELSEWHERE))
    mails = [mail("[PATCH v2 1/2] change 1", diff(old, new, context)), mail("[PATCH v2 2/2] change 2", diff(new, last, context))]
    return mbox(*(mails if rng.random() < 0.5 else mails[::-1])), {}, {"1": (old, new), "2": (new, last)}


def _versions(rng: random.Random, old: str, new: str, context: int) -> Mailed:
    name = next(n for n, s in SWITCHES.items() if s in old)
    second = changed(rng, old, name)
    return mbox(mail("[PATCH] change 1", diff(old, new, context)), mail("[PATCH v2] change 2", diff(old, second, context))), {}, {"1": (old, new), "2": (old, second)}


def _thread(rng: random.Random, old: str, new: str, context: int) -> Mailed:
    first = mail("[PATCH] change 1", diff(old, new, context))
    return mbox(first, quoted(diff(old, new, context), every=7)), {}, {"1": (old, new)}


def _two_files(rng: random.Random, old: str, new: str, context: int) -> Mailed:
    header = "#ifndef FLUSH_H\n#define FLUSH_H\n\nvoid other_flush(unsigned long cr3, unsigned long cr4);\n\n#endif\n"
    return mail("[PATCH] change 1", diff(header, header.replace("#endif", "unsigned int count_ticks(void);\n\n#endif"), 3, HEADER) + diff(old, new, context)), {HEADER: header}, {"1": (old, new)}


def _squashed(rng: random.Random, old: str, new: str, context: int) -> Mailed:
    new = new.replace(*rng.choice(ELSEWHERE))
    return mail("[PATCH] change 1", diff(old, new, context)), {}, {"1": (old, new)}


def _moved(rng: random.Random, old: str, new: str, context: int) -> Mailed:
    """The tree has lines more than the mail's sender had."""
    more = "".join(f"int more_{i};\n" for i in range(rng.choice([1, 2, 13, 40])))
    return mail("[PATCH] change 1", diff(old, new, context)), {NAME: more + old}, {"1": (more + old, more + new)}


def _fuzz(rng: random.Random, old: str, new: str, context: int) -> Mailed:
    """A line of context is not what the tree has: nothing may be put there."""
    return mail("[PATCH] change 1", diff(old, new, context)), {NAME: old.replace("    local_irq_restore(flags);", "    local_irq_restore( flags );")}, {"1": (old, new)}


FORMS: dict[str, Form] = {
    "diff": _one(lambda rng, d: d),
    "mail": _one(lambda rng, d: mail("[PATCH] change 1", d)),
    "CRLF": _one(lambda rng, d: mail("[PATCH] change 1", d).replace("\n", "\r\n")),
    "quoted": _one(lambda rng, d: quoted(d, rng.choice(["> ", ">", ">> "]))),
    "commented": _one(lambda rng, d: quoted(d, every=rng.randint(1, 9))),
    "flowed": _one(lambda rng, d: encoded("".join(f" {line}" if line.startswith((" ", ">", "From ")) else line for line in d.splitlines(keepends=True)), "8bit", "; format=flowed")),
    "base64": _one(lambda rng, d: encoded(d, "base64")),
    "quoted-printable": _one(lambda rng, d: encoded(d, "quoted-printable")),
    "attached": _one(lambda rng, d: attached(d, inline=False)),
    "inline and attached": _one(lambda rng, d: attached(d, inline=True)),
    "wrong numbers": _one(lambda rng, d: mail("[PATCH] change 1", renumbered(d, rng.choice([1, 3, 13, 30])))),
    "no headings": _one(lambda rng, d: re.sub(r"(?m)^(@@ [^@]* @@).*$", r"\1", d)),
    "stripped": _one(lambda rng, d: re.sub(r"(?m)[ \t]+$", "", mail("[PATCH] change 1", d))),
    "log": _log,
    "series": _series,
    "versions": _versions,
    "thread": _thread,
    "two files": _two_files,
    "squashed": _squashed,
    "moved": _moved,
    "fuzz": _fuzz,
}  # fmt: skip


def changed(rng: random.Random, text: str, name: str) -> str:
    """``text`` with one or two of its switch's edits."""
    for old, new in rng.sample(EDITS[name], min(rng.choice([1, 1, 1, 2]), len(EDITS[name]))):
        if old in text:
            text = text.replace(old, new, 1)
    return text


def case(seed: int) -> Case:
    """The case of a seed: the same one whenever it is asked for."""
    rng = random.Random(seed)
    name = rng.choice([*SWITCHES, "ticking", "plain"])
    old = HEAD + SWITCHES[name] + TAIL
    new = old.replace(*rng.choice(ELSEWHERE)) if rng.random() < 0.1 else HEAD + changed(rng, SWITCHES[name], name) + TAIL
    form, context = rng.choice(list(FORMS)), rng.choice([0, 1, 2, 3, 3, 3, 6, 10, 60])
    text, more, versions = FORMS[form](rng, old, new, context)
    tree = {NAME: old, **more} if rng.random() < 0.5 else None
    return Case(text, tree, versions, f"seed {seed}: {name}, {form}, -U{context}, {'with' if tree else 'without'} a tree", HIDDEN.get(name, ""))


# -- the judge


@dataclass
class Judge:
    """What is wrong with functions, remembered by their text and what is assumed of them."""

    known: dict[str, frozenset[str] | str] = field(default_factory=dict)

    def file(self, text: str) -> frozenset[str] | str:
        """The rows that are wrong in a whole file; a text why it cannot be read."""
        key = "\n".join(line.rstrip() for line in text.split("\n"))
        if key not in self.known:
            try:
                self.known[key] = self.model(fit(source_of(text, NAME), READING))
            except InputError as error:
                self.known[key] = error.message
        return self.known[key]

    def model(self, model: Model) -> frozenset[str]:
        key = repr([self._words(model), *(a for a in model.assumptions if "PCID" in a)])
        if key not in self.known:
            rows = matrix(model, find_properties(["missing-flush"])[0])
            self.known[key] = frozenset(f"{r.old} -> {r.new}, {r.other_cr4}: {r.verdict}" for r in rows if r.verdict != "clean")
        found = self.known[key]
        assert not isinstance(found, str)
        return found

    @staticmethod
    def _words(model: Model) -> str:
        """Everything that the procedures of the role do, without where it stands."""
        from tlbcheck.mutate import procedures_in_role

        return re.sub(r"place=Place\([^)]*\)|0x[0-9a-f]+", "", "; ".join(repr(s) for q in procedures_in_role(model, "switch") for s in q.body))


def outcomes(one: Case, judge: Judge, folder: Path) -> list[str]:
    """What came of each patch of a case; what must not be begins with WRONG."""
    tree = None
    if one.tree is not None:
        for name, text in one.tree.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        tree = Tree(folder)
    try:
        found = read_reviews(one.text, "wild.mail", READING, tree)
    except InputError as error:
        return [f"refused: {reason(error.message)}"]
    made = []
    for p in found.passed:
        before, after = one.versions[_number(p.sent.title)]
        if p.refused:
            made.append(f"refused: {reason(p.text)}")
        elif _switch(before) != _switch(after):
            made.append(f"WRONG: passed as unchanged: {p.text}")
        else:
            made.append("unchanged")
    for r in found.reviews:
        truth = judge.file(one.versions[_number(r.sent.title)][1])
        if r.after.model is None:
            made.append("gone")
            continue
        if isinstance(truth, str):
            made.append(f"WRONG: read, where the file after it cannot be: {truth}")
            continue
        wrong = judge.model(r.after.model)
        try:
            list(may_be_mended(r.after.model, wrong, judge.model, r.after.source, r.after.function, harness_for("switch"), READING))
        except InputError as error:
            made.append(f"refused: {reason(error.message)}")
            continue
        if truth and not wrong and _assumed_away(one, r, judge):
            made.append("clean, as said to be assumed of its gaps")
        elif truth and not wrong:
            made.append("WRONG: clean, where the file after it is not")
        elif wrong and not truth:
            made.append("WRONG: a false alarm")
        elif tree is not None and wrong != truth and not (r.after.source and r.after.source.gaps):
            made.append("WRONG: other rows than those of the file after it")
        else:
            made.append("wrong, as the file is" if wrong else "clean, as the file is")
    return made


def _assumed_away(one: Case, r: Review, judge: Judge) -> bool:
    """Whether the file is clean but for an assignment that the mail does not show, and the review says that it assumes none there."""
    if not one.hidden or one.tree is not None or one.hidden.strip() in one.text:
        return False
    file = one.versions[_number(r.sent.title)][1]
    return not judge.file(file.replace(one.hidden, "")) and r.after.model is not None and any("no variable that the shown lines use gets a value" in a for a in r.after.model.assumptions)


def _switch(text: str) -> str:
    """The code of the switch and what stands above it, without comments."""
    return re.sub(r"/\*.*?\*/|\s+", "", text[text.index("ticks++" if "ticks++" in text else "++ticks") + 7 : text.index("void other_flush")], flags=re.DOTALL)


def _number(title: str) -> str:
    found = re.search(r"change (\d)", title)
    return found[1] if found else "1"


def reason(message: str) -> str:
    """A refusal without its particulars."""
    return re.sub(r"`[^`]*`|'[^']*'|@@.*?@@|[\w/.<>-]+\.[ch]\b|\d+", "_", message.partition(";")[0])[:110]


def run(seeds: Sequence[int], judge: Judge, until: float = float("inf")) -> tuple[Counter[str], list[str], int]:
    """The outcomes of the cases of ``seeds``, those that must not be, and how many cases ran before the time ``until``."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    ran = 0
    for seed in seeds:
        if time.monotonic() > until:
            break
        one = case(seed)
        ran += 1
        with tempfile.TemporaryDirectory() as folder:
            for outcome in outcomes(one, judge, Path(folder)) if one.text.strip() else ():
                counts[outcome] += 1
                if outcome.startswith("WRONG"):
                    wrong.append(f"{one.about}: {outcome}")
    return counts, wrong, ran


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="the first case")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--state", type=Path, help="go on from this file, and keep the counts in it")
    parser.add_argument("--show", action="store_true", help="print the mail of the first case")
    asked = parser.parse_args(words)
    if asked.show:
        print(case(asked.seed).text)
        return 0
    state = json.loads(asked.state.read_text()) if asked.state and asked.state.exists() else {"next": asked.seed, "counts": {}, "wrong": []}
    judge, until = Judge(), time.monotonic() + asked.minutes * 60
    last = asked.seed + asked.count
    while state["next"] < last and time.monotonic() < until:
        counts, wrong, ran = run(range(state["next"], min(state["next"] + 50, last)), judge, until)
        state = {"next": state["next"] + ran, "counts": dict(Counter(state["counts"]) + counts), "wrong": state["wrong"] + wrong}
        if asked.state:
            asked.state.write_text(json.dumps(state))
        for text in wrong:
            print(text, flush=True)
    print(f"{state['next'] - asked.seed} mails, {sum(state['counts'].values())} patches in them, {len(state['wrong'])} wrong")
    for outcome, n in sorted(state["counts"].items(), key=lambda item: -item[1]):
        print(f"{n:6} {outcome}")
    return int(bool(state["wrong"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
