"""Mails that a program on their way damaged are told as damaged, and what they lack is no reproach to the code."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tlbcheck.cli import cli
from tlbcheck.patch.read import read_patches

NAME = "xen/arch/x86/flushtlb.c"
MAIL = f"""From: Ann Author <ann@example.org>
Subject: [PATCH] x86: flush
Date: Mon, 2 Nov 2026 10:00:00 +0000
Content-Type: text/plain; charset=utf-8

Flush where it is needed.

---
diff --git a/{NAME} b/{NAME}
--- a/{NAME}
+++ b/{NAME}
@@ -1,9 +1,10 @@
 void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
 {{
     unsigned long flags, old_cr4 = read_cr4(); /* what is in the register before anything happens to it */
 
     local_irq_save(flags);
     write_cr3(cr3 & ~X86_CR3_NOFLUSH);
     write_cr4(cr4 & ~X86_CR4_PGE);
+    write_cr4(cr4);
     local_irq_restore(flags); /* and nothing of what was cached before is left, whatever it was tagged with */
 }}
-- 
2.47.0
"""


def wrapped(mail: str) -> str:
    """Broken at 40 columns, as no program joins again."""
    return "\n".join(part for line in mail.split("\n") for part in (textwrap.wrap(line, 40, drop_whitespace=False) if len(line) > 60 else [line]))


def no_break(mail: str) -> str:
    return re.sub(r"(?m)^([ +-])( +)(?=\S)", lambda m: m[1] + "\u00a0" * len(m[2]), mail)


def no_break_everywhere(mail: str) -> str:
    return re.sub(r"(?m)^ +(?=\S)", lambda m: "\u00a0" * len(m[0]), mail)


def as_html(mail: str) -> str:
    head, _, body = mail.partition("\n\n")
    escaped = body.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>\n")
    return head.replace("text/plain", "text/html") + f"\n\n<html><body><pre>\n{escaped}</pre></body></html>\n"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (wrapped, "is damaged: a mail program broke its lines"),
        (no_break, "is damaged: a mail program put no-break spaces"),
        (no_break_everywhere, "is damaged: a mail program put no-break spaces"),
        (as_html, "holds a patch as HTML alone"),
    ],
)
def test_the_damage_is_named(tmp_path: Path, damage: Callable[[str], str], said: str) -> None:
    """And not the code, nor that the patch shows no switch."""
    file = tmp_path / "mail.eml"
    file.write_text(damage(MAIL))
    refused = CliRunner().invoke(cli, ["review", str(file)])
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1
    assert said in refused.stderr
    if damage is not as_html:
        [patch] = read_patches(damage(MAIL), "mail.eml")
        assert any(h.damage for f in patch.files for h in f.hunks)
    [patch] = read_patches(MAIL, "mail.eml")
    assert not any(h.damage for f in patch.files for h in f.hunks), "undamaged, it is none"


def test_a_no_break_space_in_a_comment_is_no_damage() -> None:
    [patch] = read_patches(MAIL.replace("what is in", "what\u00a0is in"), "mail.eml")
    assert not any(h.damage for f in patch.files for h in f.hunks)


def test_a_value_that_missing_lines_may_give_is_no_reproach(tmp_path: Path) -> None:
    """As in Xen's 622c9a5ba9: the line between two hunks that sets a local is not in the mail."""
    text = f"""diff --git a/{NAME} b/{NAME}
--- a/{NAME}
+++ b/{NAME}
@@ -1,6 +1,7 @@
 void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
 {{
     unsigned long flags, old_cr4;
+    u32 t;
 
     local_irq_save(flags);
     write_cr3(cr3 & ~X86_CR3_NOFLUSH);
@@ -8,5 +9,6 @@ void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
     write_cr4(cr4 & ~X86_CR4_PGE);
     if ( old_cr4 & X86_CR4_PGE )
         write_cr4(cr4);
+    post_flush(0);
     local_irq_restore(flags);
 }}
"""
    file = tmp_path / "mail.patch"
    file.write_text(text)
    refused = CliRunner().invoke(cli, ["review", str(file)])
    assert refused.exit_code == 2
    assert "may be given in lines that are not in the mail" in refused.stderr and "--tree DIR" in refused.stderr
    assert "may not have been set" not in refused.stderr
