"""Macros that nothing defines: what hangs on them is refused by name, looked up in a tree, or shown to be nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tlbcheck.cli import cli
from tlbcheck.errors import InputError
from tlbcheck.fit import fit
from tlbcheck.lang.harness import Reading
from tlbcheck.lang.source import source_of

RIGHT = "write_cr4(cr4 & ~X86_CR4_PGE);\n    write_cr4(cr4);"
FLUSH = f"\n    {RIGHT}\n"


def switch(body: str, before: str = "") -> str:
    return f"""{before}
void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{{
    unsigned long flags;

    local_irq_save(flags);
    write_cr3(cr3 & ~X86_CR3_NOFLUSH);
{body}
    local_irq_restore(flags);
}}
"""


def read(text: str, **more: object) -> None:
    """Raises what reading the switch of ``text`` raises."""
    fit(source_of(text, "switch.c"), Reading(**more))  # type: ignore[arg-type]  # each test names the fields that it needs


DECIDES = {
    "ifdef": (f"#ifdef SOME{FLUSH}#endif", "", "SOME"),
    "ifndef": (f"#ifndef SOME{FLUSH}#endif", "", "SOME"),
    "if-defined": (f"#if defined(SOME){FLUSH}#endif", "", "SOME"),
    "if-value": (f"#if SOME{FLUSH}#endif", "", "SOME"),
    "if-compared": (f"#if SOME > 3{FLUSH}#endif", "", "SOME"),
    "if-compared-with-0": (f"#if SOME >= 0{FLUSH}#endif", "", "SOME"),
    "both-needed": (f"#if defined(ONE) && defined(SOME){FLUSH}#endif", "", "SOME"),
    "elif": (f"#if 0\n#elif defined(SOME){FLUSH}#endif", "", "SOME"),
    "else": (f"#ifdef SOME\n#else{FLUSH}#endif", "", "SOME"),
    "configuration": (f"#ifdef CONFIG_SOME{FLUSH}#endif", "", "CONFIG_SOME"),
    "is-enabled": (f"    if ( IS_ENABLED(CONFIG_SOME) ) {{{FLUSH}}}", "", "CONFIG_SOME"),
    "default": (f"#if SOME{FLUSH}#endif", "#ifndef SOME\n#define SOME 0\n#endif\n", "SOME"),
    "through-a-macro": ("    FLUSH_IT();", f"#ifdef SOME\n#define FLUSH_IT() {' '.join(RIGHT.split())}\n#else\n#define FLUSH_IT() barrier()\n#endif\n", "SOME"),
    "two-macros-deep": (
        f"#if THIS{FLUSH}#endif",
        "#ifdef SOME\n#define THIS 1\n#else\n#define THIS 0\n#endif\n",
        "SOME",
    ),
    "hides-one-another": (
        f"#if THIS && defined(OTHER){FLUSH}#endif",
        "#ifdef SOME\n#define THIS 1\n#else\n#define THIS 0\n#endif\n",
        "OTHER",
    ),
    "helper": ("    helper(cr4);", f"#ifdef SOME\nstatic void helper(unsigned long cr4) {{ {' '.join(RIGHT.split())} }}\n#else\nstatic void helper(unsigned long cr4) {{}}\n#endif\n", "SOME"),
    "helper-instead-of-the-profile-s": (f"    {RIGHT}", "#ifdef SOME\nstatic void write_cr4(unsigned long cr4) {}\n#endif\n", "SOME"),
    "constant": (f"    if ( WANTED ) {{{FLUSH}}}", "#ifdef SOME\nenum { WANTED };\n#else\nenum { WANTED = 1 };\n#endif\n", "SOME"),
    "type": (f"    if ( (t)0x10000 ) {{{FLUSH}}}", "#ifdef SOME\ntypedef unsigned short t;\n#else\ntypedef unsigned int t;\n#endif\n", "SOME"),
    "flag": ("    write_cr4(cr4 & ~MASK);\n    write_cr4(cr4);", "#ifdef SOME\n#define MASK X86_CR4_PGE\n#else\n#define MASK 0\n#endif\n", "SOME"),
    "redefined-flag": (f"    {RIGHT}", "#ifdef SOME\n#undef X86_CR4_PGE\n#define X86_CR4_PGE 0\n#endif\n", "SOME"),
}


@pytest.mark.parametrize("name", DECIDES)
def test_what_decides_and_is_not_known_is_refused_by_name(name: str) -> None:
    """With the two options that settle it; and either of them does settle it."""
    body, before, macro = DECIDES[name]
    text = switch(body, before)
    with pytest.raises(InputError) as refused:
        read(text)
    assert macro in refused.value.message and f"-D {macro}" in refused.value.hint and f"-U {macro}" in refused.value.hint
    read(text, undefines=(macro,))
    if name != "hides-one-another":
        read(text, defines={macro: "1", "ONE": "1"})


@pytest.mark.parametrize(
    ("body", "before"),
    [
        (f"#ifdef SOME\n    {RIGHT}\n#else\n    write_cr4( cr4 & ~(X86_CR4_PGE) ); /* the same */\n    write_cr4(cr4);\n#endif", ""),
        (f"#ifdef SOME\n    perfc_incr(switches);\n#endif\n    {RIGHT}", ""),
        (f"#if SOME > 3 || defined(OTHER)\n#define UNUSED 1\n#endif\n    {RIGHT}", ""),
        (f"    {RIGHT}", "#ifdef SOME\nstatic void other(unsigned long cr4) { write_cr4(cr4); }\n#endif\n#ifdef NDEBUG\n#define WRAP 1\n#else\n#define WRAP 2\n#endif\n"),
        (f"#if defined(__x86_64__) || SOME\n    {RIGHT}\n#endif", ""),
        (f"#if 0 && SOME\n#else\n    {RIGHT}\n#endif", ""),
    ],
    ids=["same-in-other-words", "no-effect", "unused-macro", "elsewhere", "or-known", "and-known"],
)
def test_what_changes_nothing_is_passed(body: str, before: str) -> None:
    """Branches that do the same, and macros that nothing in the function hangs on."""
    read(switch(body, before))


def test_more_unknown_names_than_can_be_tried_are_refused() -> None:
    lines = "".join(f"#ifdef A{i}\n    perfc_incr(x{i});\n#endif\n" for i in range(12))
    with pytest.raises(InputError, match="too many names of which nothing is known"):
        read(switch(lines + f"    {RIGHT}"))


@pytest.mark.parametrize("use", [f"    if ( SOME ) {{{FLUSH}}}", "    write_cr4(cr4 & ~SOME);\n    write_cr4(cr4);", "    write_cr3((cr3 & ~X86_CR3_NOFLUSH) | SOME);\n    " + RIGHT])
def test_a_macro_whose_value_is_not_known_is_refused_by_name(use: str) -> None:
    """As a condition, or as a flag in what is written: neither 0 nor nothing, whatever is assumed of it."""
    with pytest.raises(InputError, match="'SOME' is not known") as refused:
        read(switch(use))
    assert "-D SOME=VALUE" in refused.value.hint
    with pytest.raises(InputError, match=r"SOME|of which nothing is known"):
        read(switch(use), assume_no_tlb_effect=("SOME",))
    read(switch(use), defines={"SOME": "X86_CR4_PGE"})


# -- the tree around a file


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), catch_exceptions=False)


FILE = "xen/arch/x86/flushtlb.c"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree whose switch hangs on GLOBALS, with the working directory in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    put(tmp_path, FILE, switch(f"#ifdef GLOBALS{FLUSH}#endif", '#include <xen/lib.h>\n#include <asm/page.h>\n'))
    put(tmp_path, "xen/include/xen/lib.h", "#ifndef LIB_H\n#define LIB_H\n#endif\n")
    put(tmp_path, "xen/include/asm-x86/page.h", "#ifndef PAGE_H\n#define PAGE_H\n#ifdef __x86_64__\n#include <asm/x86_64/page.h>\n#endif\n#endif\n")
    put(tmp_path, "xen/include/asm-x86/x86_64/page.h", "/* #undef GLOBALS */\n#define GLOBALS\n")
    put(tmp_path, "xen/include/asm-arm/page.h", "#undef GLOBALS\n#define GLOBALS 0\n#error\n")
    return tmp_path


def put(top: Path, name: str, text: str) -> None:
    (top / name).parent.mkdir(parents=True, exist_ok=True)
    (top / name).write_text(text)


@pytest.mark.long
def test_a_header_of_the_tree_around_the_file_settles_it(tree: Path) -> None:
    """The verdict names the header, by its name in the tree; and so it does for --tree, from elsewhere."""
    result = run("verify", FILE, "--engine", "explicit", "--json", "--fact", "pcid=no")
    assert result.exit_code == 0, result.output
    assert "GLOBALS is defined as nothing by xen/include/asm-x86/x86_64/page.h:2" in result.output and str(tree) not in result.output
    (tree / ".git").rmdir()
    refused = run("matrix", FILE)
    assert refused.exit_code == 2 and "GLOBALS" in refused.stderr
    assert run("matrix", FILE, "--tree", ".").exit_code == 0
    (tree / "copy.c").write_text((tree / FILE).read_text())
    assert run("matrix", "copy.c", "--tree", ".").exit_code == 0, "a copy stands where the project has the file"


def test_options_count_more_than_the_tree(tree: Path) -> None:
    assert run("matrix", FILE, "-U", "GLOBALS").exit_code == 1


@pytest.mark.parametrize(
    ("header", "text", "said"),
    [
        ("xen/include/asm-x86/x86_64/page.h", "", "do not define GLOBALS"),
        ("xen/include/asm-x86/x86_64/page.h", "#ifdef OTHER\n#define GLOBALS\n#endif\n", "GLOBALS"),
        ("xen/include/asm-x86/x86_64/page.h", "#ifndef OTHER\n#define GLOBALS\n#endif\n", "depends on OTHER"),
        ("xen/include/asm-x86/x86_64/page.h", "#if strange(x)\n#else\n#define GLOBALS\n#endif\n", "depends on"),
        ("xen/include/asm-x86/x86_64/page.h", "#define GLOBALS\n#undef GLOBALS\n", "GLOBALS"),
        ("xen/include/asm-x86/x86_64/page.h", "/*\n#define GLOBALS\n*/\n", "GLOBALS"),
        ("xen/include/asm-x86/page.h", "", "do not define GLOBALS"),
    ],
    ids=["nowhere", "conditional", "conditional-not", "unreadable-condition", "undefined-again", "comment", "not-included"],
)
def test_a_header_that_does_not_settle_it(tree: Path, header: str, text: str, said: str) -> None:
    """Nothing is taken from it; what it lacks is told, and the two options."""
    put(tree, header, text)
    refused = run("matrix", FILE)
    assert refused.exit_code == 2 and said in refused.stderr and "-D GLOBALS" in refused.stderr and "-U GLOBALS" in refused.stderr


def test_no_link_is_followed_out_of_the_tree(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "page.h").write_text("#define GLOBALS\n")
    (tree / "xen/include/asm-x86/x86_64/page.h").unlink()
    (tree / "xen/include/asm-x86/x86_64/page.h").symlink_to(outside / "page.h")
    assert run("matrix", FILE).exit_code == 2
    (tree / "xen/include/asm-x86/x86_64/page.h").unlink()
    (tree / "xen/include/asm-x86/x86_64").rmdir()
    (tree / "xen/include/asm-x86/x86_64").symlink_to(outside)
    assert run("matrix", FILE).exit_code == 2


def test_a_file_whose_includes_lead_nowhere(tree: Path) -> None:
    """Then all headers of the tree have to agree; one of another architecture has no say."""
    put(tree, FILE, switch(f"#ifdef GLOBALS{FLUSH}#endif", "#include <asm/strange.h>\n"))
    result = run("verify", FILE, "--engine", "explicit", "--json", "--fact", "pcid=no")
    assert result.exit_code == 0 and "do not lead there" in result.output
    put(tree, "xen/include/other.h", "#define GLOBALS 0\n")
    refused = run("matrix", FILE)
    assert refused.exit_code == 2 and "differently" in refused.stderr


def test_a_definition_behind_the_use_does_not_count(tree: Path) -> None:
    put(tree, FILE, switch(f"#ifdef GLOBALS{FLUSH}#endif", "#include <xen/lib.h>\n") + "#include <asm/page.h>\n")
    refused = run("matrix", FILE)
    assert refused.exit_code == 2 and "behind" in refused.stderr


def test_values_come_from_the_tree_too(tree: Path) -> None:
    """A macro in a condition and a flag; what a value is made of is followed."""
    put(tree, FILE, switch("#if GLOBALS > 1\n    if ( WANTED )\n    {\n        write_cr4(cr4 & ~FLAG);\n        write_cr4(cr4);\n    }\n#endif", "#include <asm/page.h>\n"))
    put(tree, "xen/include/asm-x86/page.h", "#define GLOBALS (ONE + 1)\n#define ONE 1\n#define WANTED 1\n#define FLAG (1 << BIT)\n#define BIT 7\n")
    assert run("matrix", FILE).exit_code == 0
    put(tree, "xen/include/asm-x86/page.h", "#define GLOBALS (ONE + 1)\n#define ONE 1\n#define WANTED 1\n#define FLAG (1 << BIT)\n#define BIT 8\n")
    assert run("matrix", FILE).exit_code == 1


def test_a_tree_of_too_many_headers_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlbcheck.c.headers.FILES", 2)
    refused = run("matrix", FILE)
    assert refused.exit_code == 2 and "more than 2 headers" in refused.stderr and "-D GLOBALS" in refused.stderr


def test_nothing_of_the_tree_s_git_is_asked(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.run", never)
    monkeypatch.setattr("subprocess.Popen", never)
    assert run("matrix", FILE).exit_code == 0
