"""What is printed and written names files as they were given, or relative: never where they lie on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tlbcheck.cli import cli

FILE = "xen/arch/x86/flushtlb.c"
SWITCH = """\
#include <asm/page.h>

void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags;

    local_irq_save(flags);
    write_cr3(cr3 & ~X86_CR3_NOFLUSH);
#ifdef GLOBALS
    barrier();
#else
    write_cr4(cr4);
#endif
    local_irq_restore(flags);
}
"""
PATCH = f"""\
diff --git a/{FILE} b/{FILE}
--- a/{FILE}
+++ b/{FILE}
@@ -7,3 +7,4 @@ void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
     local_irq_save(flags);
+    barrier();
     write_cr3(cr3 & ~X86_CR3_NOFLUSH);
 #ifdef GLOBALS
"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with a header that decides, a profile and a patch; the working directory is one of its folders."""
    for name, text in {
        FILE: SWITCH,
        "xen/include/asm-x86/page.h": "#define GLOBALS\n",
        "xen/include/asm-x86/pv/domain.h": "#define PCID_PV_PRIV 0\n",
        "xen/my.toml": 'header = "#define UNUSED 1"\n',
        "xen/the.patch": PATCH,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path / "xen")
    return tmp_path


def written(command: str, *words: str, formats: tuple[str, ...], status: int) -> dict[str, str]:
    """What a command prints and writes, by format."""
    outputs = [x for f in formats for x in ("-o", f"out.{f}")]
    result = CliRunner().invoke(cli, [command, *words, *outputs], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return {"printed": result.output, **{f: Path(f"out.{f}").read_text() for f in formats}}


FEW = ("-U", "CONFIG_PV", "--fact", "pcid=no", "--profile", "my.toml")


@pytest.mark.parametrize(
    ("words", "formats"),
    [
        (("verify", "arch/x86/flushtlb.c", *FEW, "--engine", "explicit", "-p", "missing-flush", "--full"), ("json", "html", "md", "sarif", "xml", "itf.json")),
        (("matrix", "arch/x86/flushtlb.c", *FEW), ("json", "html", "md")),
        (("review", "the.patch", "--tree", "..", *FEW, "--engine", "explicit"), ("json", "html", "md", "sarif", "xml")),
        pytest.param(("review", "the.patch", "--tree", "..", *FEW, "--engine", "explicit", "--format", "mail"), (), marks=pytest.mark.long),
    ],
    ids=["verify", "matrix", "review", "mail"],
)
def test_no_local_path_in_any_format(top: Path, words: tuple[str, ...], formats: tuple[str, ...]) -> None:
    for form, text in written(*words, formats=formats, status=1).items():
        assert str(top) not in text and str(ROOT) not in text, form


def test_no_local_path_in_what_is_refused(top: Path) -> None:
    """Neither of the file itself, nor of what was read around it."""
    header = top / "xen/include/asm-x86/pv/domain.h"
    header.write_bytes(b"\0")
    assert str(top) not in written("matrix", "arch/x86/flushtlb.c", *FEW, formats=(), status=2)["printed"]
    header.write_text("")
    (top / "xen/include/asm-x86/page.h").write_bytes(b"\0")
    refused = written("verify", "arch/x86/flushtlb.c", *FEW, formats=(), status=2)["printed"]
    assert "GLOBALS" in refused and str(top) not in refused
