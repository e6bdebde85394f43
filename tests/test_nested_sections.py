"""A helper's own section with interrupts off, inside the switch's: interrupts stay off, and nothing begins or ends there."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tlbcheck.cli import cli

SWITCH = """\
static void set_cr4(unsigned long value)
{
    SAVE
    write_cr4(value);
    RESTORE
}

void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, now;

    local_irq_save(flags);

    now = read_cr4();
    if ( now & X86_CR4_PGE )
        set_cr4(cr4 & ~X86_CR4_PGE);

    write_cr3(cr3);

    if ( now & X86_CR4_PGE || now != cr4 )
        set_cr4(cr4);

    local_irq_restore(flags);
}
"""
NESTED = SWITCH.replace("SAVE", "unsigned long flags;\n\n    local_irq_save(flags);").replace("RESTORE", "local_irq_restore(flags);")
PLAIN = SWITCH.replace("    SAVE\n", "").replace("    RESTORE\n", "")
FAULTY = NESTED.replace("set_cr4(cr4 & ~X86_CR4_PGE)", "set_cr4(cr4)")  # writes CR4 as it is: global entries stay


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert result.exit_code in (0, 1), result.output
    return result.exit_code, result.stdout


def test_every_row_is_as_without_the_section(tmp_path: Path) -> None:
    rows = []
    for name, text in (("nested", NESTED), ("plain", PLAIN)):
        file = tmp_path / f"{name}.c"
        file.write_text(text)
        code, said = run("matrix", str(file), "--json")
        assert code == 0
        rows.append(json.loads(said)["rows"])
    assert rows[0] == rows[1] and len(rows[0]) > 4


@pytest.mark.long
def test_a_fault_is_told_and_replays(tmp_path: Path) -> None:
    file = tmp_path / "faulty.c"
    file.write_text(FAULTY)
    code, said = run("verify", str(file), "--engine", "explicit", "-p", "stale-translation", "--json")
    [entry] = json.loads(said)["results"]
    assert code == 1 and entry["verdict"] == "violated" and entry["violations"][0]["steps"]


@pytest.mark.long
def test_review_and_verify_agree_about_a_fault(tmp_path: Path) -> None:
    """The patch that brings it in is told to."""
    before, after = (text.splitlines(keepends=True) for text in (NESTED, FAULTY))
    mail, file = tmp_path / "a.diff", tmp_path / "faulty.c"
    mail.write_text("".join(difflib.unified_diff(before, after, "a/xen/arch/x86/flushtlb.c", "b/xen/arch/x86/flushtlb.c", n=60)))
    file.write_text(FAULTY)
    code, said = run("review", str(mail), "--engine", "explicit", "--json")
    reviewed = json.loads(said)
    assert code == 1 and {e["verdict"] for e in reviewed["verdicts"]["before"]} == {"proved"}
    code, said = run("verify", str(file), "--engine", "explicit", "--json")
    assert code == 1
    assert {e["property"]: e["verdict"] for e in reviewed["verdicts"]["after"]} == {e["property"]: e["verdict"] for e in json.loads(said)["results"]}


def test_interrupts_that_a_helper_turns_on_again_end_the_section(tmp_path: Path) -> None:
    """The helper enables them instead of restoring: then the switch is seen half done, and that is told."""
    file = tmp_path / "on.c"
    file.write_text(NESTED.replace("    local_irq_restore(flags);\n}\n\nvoid", "    local_irq_enable();\n}\n\nvoid"))
    code, said = run("verify", str(file), "--engine", "explicit", "--json")
    assert code == 1 and any(e["verdict"] == "violated" for e in json.loads(said)["results"])
