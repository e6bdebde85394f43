"""Patches from mails: what a reviewer is told, and where."""

from __future__ import annotations

import difflib
import html
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from quick import sampled

from tlbcheck.cli import cli
from tlbcheck.lang.harness import Reading
from tlbcheck.patch.tree import Tree
from tlbcheck.review import Review, read_reviews

NAME = "xen/arch/x86/flushtlb.c"
RIGHT = """\
#include <asm/flushtlb.h>

static int counter;

void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, now;

    /* Also called from interrupt handlers. */
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

int count(void)
{
    return counter++;
}
"""
WRONG = RIGHT.replace("    if ( now != cr4 )\n        write_cr4(cr4);\n", "    /* CR4 is right. */\n")
SEED = Path(__file__).resolve().parents[2] / "shared" / "reference" / "xen-pcid-v5-review.txt"


def diff(old: str, new: str, context: int = 3) -> str:
    made = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{NAME}", f"b/{NAME}", n=context)
    return f"diff --git a/{NAME} b/{NAME}\n" + "".join(made)


def mailed(text: str) -> str:
    return "From: Ann Author <ann@example.org>\nSubject: [PATCH] x86: tidy the switch\nDate: Mon, 2 Nov 2026 10:00:00 +0000\n\nIt is simpler this way.\n\n---\n" + text + "-- \n2.47.0\n"


def quoted(mail: str) -> str:
    body = mail.partition("\n\n")[2]
    answer = "From: Rita Reviewer <rita@example.org>\nSubject: Re: [PATCH] x86: tidy the switch\n\nOn Monday Ann Author wrote:\n"
    lines = []
    for line in body.splitlines():
        lines.append(f"> {line}".rstrip())
        if line.startswith("+"):
            lines += ["", "Why is this needed?", ""]
    return answer + "\n".join(lines) + "\n"


def read_review(text: str, file: str, reading: Reading, tree: Tree | None = None) -> Review:
    """The only review of a mail."""
    [made] = read_reviews(text, file, reading, tree).reviews
    return made


def run(*words: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(words), input=text, catch_exceptions=False)


QUICKLY = ("--engine", "explicit", "-U", "CONFIG_PV")
"""Few contexts to visit: for what does not hang on how many there are."""


def review(tmp_path: Path, text: str, *words: str) -> tuple[dict[str, Any], int]:
    file = tmp_path / "mail.txt"
    file.write_text(text)
    result = run("review", str(file), "--json", *QUICKLY, *words)
    assert result.exit_code in (0, 1, 3), result.output
    return json.loads(result.stdout), result.exit_code


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / NAME).parent.mkdir(parents=True)
    (root / NAME).write_text(RIGHT)
    return root


@pytest.mark.parametrize("shape", sampled([mailed, lambda d: quoted(mailed(d)), str], keep=1), ids=["mail", "reply", "diff"])
def test_a_fault_is_told_at_its_line_of_the_mail(tmp_path: Path, shape: Callable[[str], str]) -> None:
    """However the patch is sent: the fault is introduced, its line is the mail's, and the fix was tried."""
    text = shape(diff(RIGHT, WRONG, 40))
    made, status = review(tmp_path, text)
    assert status == 1
    findings = made["findings"]
    assert len(findings) == 1
    assert findings[0]["introduced"] is True
    assert findings[0]["properties"] == ["switch-lands"]
    assert "write_cr3(cr3);" in text.split("\n")[findings[0]["line"] - 1]
    assert made["together"] is True
    assert [e["property"] for e in made["introduces"]] == ["switch-lands"]
    assert made["fixes"] == [] and made["leaves"] == []


def test_what_the_patch_fixes(tmp_path: Path) -> None:
    made, status = review(tmp_path, diff(WRONG, RIGHT, 40))
    assert status == 0
    assert [e["property"] for e in made["fixes"]] == ["switch-lands"]
    assert made["findings"] == []


@pytest.mark.long
def test_what_the_patch_leaves(tmp_path: Path) -> None:
    made, status = review(tmp_path, diff(WRONG, WRONG.replace("is right", "is fine"), 40))
    assert status == 1
    assert [e["property"] for e in made["leaves"]] == ["switch-lands"]
    assert made["introduces"] == [] and made["findings"][0]["introduced"] is False


@pytest.mark.long
def test_a_tree_shows_what_the_mail_does_not(tmp_path: Path, tree: Path) -> None:
    """With little context the function's head is not in the mail; applied to the tree nothing is unseen."""
    text = mailed(diff(RIGHT, WRONG, 1))
    made, status = review(tmp_path, text, "--tree", str(tree))
    assert status == 1
    assert made["rebuilt"] is False and made["unseen"] == []
    place = made["findings"][0]
    assert Path(place["file"]).name == "mail.txt" or "write_cr3(cr3);" in RIGHT.split("\n")[place["line"] - 1]


@pytest.mark.parametrize("revision", [pytest.param((), id="folder"), pytest.param(("--rev", "HEAD"), id="commit", marks=pytest.mark.long)])
def test_places_in_a_tree_are_those_of_the_patched_file_in_every_form(tmp_path: Path, tree: Path, revision: tuple[str, ...]) -> None:
    """A hunk that fits at an offset, below one that adds lines: neither the mail's nor the old file's numbers, nor those that the patch announces."""
    new = WRONG.replace("static int counter;", "static int counter;\nstatic int other;\nstatic int third;")
    patch = mailed(diff(RIGHT, new, 3))
    (tree / NAME).write_text("/* Two lines\n * that the patch does not know. */\n" + RIGHT)
    for words in (("init", "--quiet"), ("add", "."), ("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "one")):
        subprocess.run(["git", "-C", str(tree), *words], check=True, capture_output=True)
    file = tmp_path / "mail.txt"
    file.write_text(patch)
    line = 2 + new.split("\n").index("    write_cr3(cr3);") + 1
    mailed_at = patch.split("\n").index("     write_cr3(cr3);") + 1
    outputs = {e: tmp_path / f"out.{e}" for e in ("json", "html", "sarif", "md")}
    asked = ("review", str(file), "--tree", str(tree), *revision, *QUICKLY)
    text = run(*asked, *[x for o in outputs.values() for x in ("-o", str(o))]).stdout
    mail = run(*asked, "--format", "mail").stdout
    made = json.loads(outputs["json"].read_text())
    [finding] = made["findings"]
    assert (finding["file"], finding["line"], finding["mail_line"]) == (NAME, line, mailed_at)
    assert {at["file"] for s in finding["violation"]["steps"] for at in s["source"] if at["file"].endswith(".c")} == {NAME}
    assert f"line {line} of switch_cr3_cr4" in finding["summary"]
    said = f"ines are those of {NAME} with the patch applied."
    for form in (text, " ".join(mail.split()), outputs["html"].read_text(), outputs["md"].read_text()):
        assert f"{NAME}:{line}" in form and said in form and "HEAD:" not in form
    assert "\n>      write_cr3(cr3);\n" in mail
    [result] = json.loads(outputs["sarif"].read_text())["runs"][0]["results"]
    at = result["locations"][0]["physicalLocation"]
    assert (at["artifactLocation"]["uri"], at["region"]["startLine"]) == (NAME, line)
    assert f'href="#line-{mailed_at}">{NAME}:{line}</a>' in outputs["html"].read_text()


@pytest.mark.long
def test_what_is_assumed_before_the_patch_alone_is_told(tmp_path: Path) -> None:
    """A switch that takes no CR4 before the patch and takes it after: what is assumed of the former stands under its verdicts."""
    old = RIGHT.replace("(unsigned long cr3, unsigned long cr4)", "(unsigned long cr3)").replace("now;", "now, cr4 = read_cr4();")
    file = tmp_path / "mail.txt"
    file.write_text(diff(old, RIGHT, 40))
    outputs = {e: tmp_path / f"out.{e}" for e in ("json", "html", "md")}
    asked = ("review", str(file), *QUICKLY)
    text = run(*asked, *[x for o in outputs.values() for x in ("-o", str(o))]).stdout
    made = json.loads(outputs["json"].read_text())
    [assumed] = [a for a in made["assumed_before"] if "takes no CR4" in a]
    assert assumed not in made["assumptions"]
    assert text.index("property ") < text.index(f"assumed before the patch alone: {assumed}") < text.index("Nothing is wrong")
    assert assumed in outputs["md"].read_text().replace("\\", "") and assumed in html.unescape(outputs["html"].read_text())
    assert assumed in " ".join(run(*asked, "--format", "mail").stdout.split())


@pytest.mark.long
def test_a_commit_of_a_tree(tmp_path: Path, tree: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.org", *words], check=True, capture_output=True)

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    (tree / NAME).write_text("something else\n")
    made, status = review(tmp_path, diff(RIGHT, WRONG, 1), "--tree", str(tree), "--rev", "HEAD")
    assert status == 1 and made["rebuilt"] is False
    whole = subprocess.run(["git", "-C", str(tree), "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    texts = [Tree(tree, revision).read(NAME) for revision in (whole, whole[:10], "HEAD")]
    assert [text.text if text else "" for text in texts] == [RIGHT] * 3, "the first digits of a commit's name will do"
    file = tmp_path / "mail.txt"
    refused = run("review", str(file), "--tree", str(tree), "--rev", "--upload-pack=x")
    assert refused.exit_code == 2 and "has no commit" in refused.stderr


@pytest.mark.long
def test_a_patch_that_does_not_fit_is_rebuilt_and_said_to_be(tmp_path: Path, tree: Path) -> None:
    (tree / NAME).write_text(RIGHT.replace("write_cr3(cr3);", "write_cr3( cr3 );"))
    made, status = review(tmp_path, diff(RIGHT, WRONG, 40), "--tree", str(tree))
    assert status == 1
    assert any("rebuilt from the hunks" in u["text"] for u in made["unseen"])


def test_what_the_code_base_knew_it_still_knows() -> None:
    """A patch that takes all mention of PCIDs away does not take them out of the environment that it is judged in."""
    old = RIGHT.replace("    post_flush(0);\n", "    if ( cr4 & X86_CR4_PCIDE )\n        invpcid_flush_all_nonglobals();\n\n    post_flush(0);\n")
    made = read_review(diff(old, RIGHT, 40), "some.diff", Reading())
    assert made.after.model is not None and any("knows PCIDs" in a for a in made.after.model.assumptions)
    made = read_review(diff(RIGHT, WRONG, 40), "some.diff", Reading())
    assert made.after.model is not None and any("knows no PCIDs" in a for a in made.after.model.assumptions)


def test_names_that_other_files_have_anyway_show_no_pcids() -> None:
    """A header that defines bits and helpers of PCIDs, of which guests know as well, does not say that the switch meets them."""
    header = "#define X86_CR4_PCIDE 0x00020000\nstatic inline unsigned long cr3_pcid(unsigned long cr3) { return cr3 & X86_CR3_PCID_MASK; }\n"
    other = diff(header, header + "#define OTHER 1\n").replace(NAME, "xen/include/asm-x86/processor.h")
    made = read_review(other + diff(RIGHT, WRONG, 40), "some.diff", Reading())
    assert made.after.model is not None and any("knows no PCIDs" in a for a in made.after.model.assumptions)
    domain = diff("int a;\n", "#define PCID_PV_PRIV 0\n").replace(NAME, "xen/include/asm-x86/pv/domain.h")
    made = read_review(domain + diff(RIGHT, WRONG, 40), "some.diff", Reading())
    assert made.after.model is not None and any("code base knows PCIDs" in a for a in made.after.model.assumptions)


@pytest.mark.long
def test_a_switch_that_takes_no_cr4(tmp_path: Path) -> None:
    """Its callers ask for none: it is judged where CR4 is to stay as it is, which is said, and a CR4 that it changes is its fault."""
    old = RIGHT.replace("(unsigned long cr3, unsigned long cr4)", "(unsigned long cr3)").replace("now;", "now, cr4 = read_cr4();").replace("switch_cr3_cr4", "switch_cr3")
    made, status = review(tmp_path, diff(old, old.replace("now != cr4", "now == cr4"), 40))
    assert status == 1 and {e["verdict"] for e in made["verdicts"]["before"]} == {"proved"}
    assert [(e["property"], e["clause"]) for e in made["introduces"]] == [("switch-lands", "CR4")]
    assert any("switch_cr3 takes no CR4" in a for a in made["assumptions"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    pre_flush();", "    pre_flush(), 0;", "writes no CR3, and lines of it are missing"),
        ("    write_cr3(cr3);", "    write_cr3(cr3 + 0);", "does not turn interrupts off, and lines of it are missing"),
        ("        write_cr4(now);", "        write_cr4(now + 0);", "is indented by 8 columns where 4 were expected"),
        ("int count(void)", "int number(void)", "shows no function of role 'switch'"),
    ],
)
def test_too_little_of_the_switch_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    """The hunk shows a switch without what every switch does, a line that stands somewhere unknown, or nothing of the switch."""
    file = tmp_path / "mail.txt"
    heading = "int count(void)" if "count" in old else "void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)"
    file.write_text(diff(RIGHT, RIGHT.replace(old, new), 1).replace(" @@\n", f" @@ {heading}\n"))
    result = run("review", str(file))
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and said in result.stderr


@pytest.mark.long
def test_a_series_is_judged_at_its_end(tmp_path: Path) -> None:
    """A later patch that renames the file is followed; one that goes on from what the mail does not show is refused."""
    first = RIGHT.replace("Also called", "Sometimes called")
    renamed = diff(first, WRONG, 40).replace(f"b/{NAME}", "b/xen/arch/x86/tlbflush.c")
    made, status = review(tmp_path, diff(RIGHT, first, 40) + renamed)
    assert status == 1 and [e["property"] for e in made["introduces"]] == ["switch-lands"]
    file = tmp_path / "mail.txt"
    file.write_text(diff(RIGHT, WRONG, 3) + diff(WRONG, WRONG.replace("return counter++;", "return ++counter;"), 3))
    result = run("review", str(file))
    assert result.exit_code == 2 and result.stderr.count("\n") == 1


@pytest.mark.long
def test_the_code_after_a_patch_is_judged_alone_where_that_before_it_cannot_be_read(tmp_path: Path, tree: Path) -> None:
    """The reason is said; which faults the patch introduces is not. Where the code after it cannot be read, nothing is judged."""
    strange = RIGHT.replace("    pre_flush();", "    frobnicate(cr3);\n    pre_flush();")
    made, status = review(tmp_path, diff(strange, WRONG, 40))
    assert status == 1 and made["verdicts"]["before"] is None
    assert [f["introduced"] for f in made["findings"]] == [None]
    assert made["introduces"] == made["fixes"] == made["leaves"] == []
    [said] = [u for u in made["unseen"] if "the code before the patch cannot be read" in u["text"]]
    assert "'frobnicate' is not known" in said["text"]
    broken = "#endif\n" + RIGHT
    (tree / NAME).write_text(broken)
    sides = read_review(diff(broken, WRONG, 3), "some.diff", Reading(), Tree(tree))
    assert sides.before.model is None and sides.after.model is not None
    gone = strange[: strange.index("void switch_cr3_cr4")] + strange[strange.index("int count(void)") :]
    file = tmp_path / "mail.txt"
    for text in (diff(RIGHT, strange, 40), diff(strange, gone, 40)):
        file.write_text(text)
        result = run("review", str(file))
        assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "frobnicate" in result.stderr


def test_a_function_that_is_gone_is_undecided(tmp_path: Path) -> None:
    gone = RIGHT[: RIGHT.index("void switch_cr3_cr4")] + RIGHT[RIGHT.index("int count(void)") :]
    made, status = review(tmp_path, diff(RIGHT, gone, 40))
    assert status == 3 and made["verdicts"]["after"] is None


def test_the_switch_is_found_by_rank_not_by_order(tmp_path: Path) -> None:
    """A helper of an older name in another file, or in the same one after a rename, is not taken for the switch."""
    other = 'void write_cr3(unsigned long cr3)\n{\n    asm volatile ( "mov %0, %%cr3" : : "r" (cr3) : "memory" );\n}\n'
    text = diff(other, other.replace("cr3)\n{", "cr3)\n{\n")).replace(NAME, "xen/arch/x86/aaa.c") + diff(RIGHT, WRONG, 40)
    one = read_review(text, "mail.txt", Reading())
    assert one.after.model is not None and one.source == NAME and one.after.function == "switch_cr3_cr4"
    file = tmp_path / "mail.txt"
    file.write_text(diff(other + RIGHT, other + RIGHT.replace("switch_cr3_cr4", "set_cr3"), 60))
    result = run("review", str(file))
    assert result.exit_code == 2 and "two functions" in result.stderr


@pytest.mark.long
def test_the_mail_format(tmp_path: Path) -> None:
    """A reply in 72 columns (quoted lines apart), each fault under its line."""
    result = run("review", "-", "--format", "mail", *QUICKLY, text=mailed(diff(RIGHT, WRONG, 40)))
    assert result.exit_code == 1
    lines = result.stdout.rstrip().split("\n")
    assert lines[0] == "Subject: Re: [PATCH] x86: tidy the switch"
    assert all(len(line) <= 72 for line in lines if not line.startswith(">"))
    at = lines.index(">      write_cr3(cr3);")
    assert lines[at + 2].startswith("This needs")


@pytest.mark.long
def test_a_review_replays(tmp_path: Path) -> None:
    file = tmp_path / "mail.txt"
    file.write_text(mailed(diff(RIGHT, WRONG, 40)))
    out = tmp_path / "review.json"
    assert run("review", str(file), *QUICKLY, "-o", str(out)).exit_code == 1
    again = run("replay", str(out))
    assert again.exit_code == 1, again.output
    assert "confirmed" in again.output
    file.write_text(mailed(diff(RIGHT, RIGHT.replace("post_flush(0)", "post_flush(1)"), 40)))
    assert run("replay", str(out)).exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello,\n\nlooks good to me.\n", ""),
        ("", ""),
        (diff("int a;\n", "int b;\n"), "--function"),
        (diff(RIGHT, WRONG, 40).replace("+    /* CR4 is right. */", "+    frobnicate(cr3);"), "frobnicate"),
    ],
    ids=["no-patch", "empty", "no-switch", "unknown-call"],
)
def test_what_cannot_be_reviewed_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mail.txt"
    file.write_text(text)
    result = run("review", str(file))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and said in result.stderr


@pytest.mark.skipif(not SEED.exists(), reason="the seed mail is not beside the checkout (../shared)")
def test_the_seed_mail() -> None:
    """xen.md 1.4: the four faults of write_cr3_cr4, at the lines of the mail that hold them, all introduced by the patch."""
    lines = SEED.read_text().split("\n")
    result = run("review", str(SEED), "--json", "--engine", "explicit")
    assert result.exit_code == 1
    made = json.loads(result.stdout)
    assert made["function"] == "write_cr3_cr4"
    assert sorted((f["kind"], lines[f["line"] - 1].lstrip("> +")) for f in made["findings"]) == [
        ("amended", 'asm volatile ( "mov %0, %%cr3" : : "r" (cr3) : "memory" );'),
        ("misplaced", "unsigned long old_pcid = read_cr3() & X86_CR3_PCID_MASK;"),
        ("missing", 'asm volatile ( "mov %0, %%cr3" : : "r" (cr3) : "memory" );'),
        ("skipped", "invpcid_flush_single_context(old_pcid);"),
    ]
    assert made["together"] is True and all(f["introduced"] for f in made["findings"])
    assert {f["line"]: f["only_open"] for f in made["findings"]}[201] is True, "harmless with the callers in the tree"
    assert any("the end of write_cr3_cr4" in a and "assumed free of TLB effects" in a for a in made["assumptions"])
    assert any("1 line between two hunks of write_cr3_cr4" in a for a in made["assumptions"])
    assert {e["verdict"] for e in made["verdicts"]["before"]} == {"proved"}
