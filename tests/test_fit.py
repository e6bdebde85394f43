"""C files on the command line: the switch is found, put among its callers, and told about at the file's own lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from quick import sampled

from tlbcheck.cli import cli
from tlbcheck.library import _home, load_file

SWITCH = """\
#ifdef CONFIG_PV
#define WITH_PV 1
#endif

static void load(unsigned long cr3)
{
    asm volatile ( "mov %0, %%cr3" : : "r" (cr3) : "memory" );
}

void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags, now = read_cr4();

    local_irq_save(flags);
    pre_flush();
    if ( now & X86_CR4_PGE )
        write_cr4(now = cr4 & ~X86_CR4_PGE);
    load(cr3);
    if ( now != cr4 )
        write_cr4(cr4);
    post_flush(0);
    local_irq_restore(flags);
}
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words), catch_exceptions=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flushtlb.c"
    path.write_text(SWITCH)
    return path


@pytest.mark.long
def test_verify_tells_the_file_s_own_lines(file: Path) -> None:
    """CR4 is read before interrupts go off (as in xen.md's W0): with a state sync in between, the old value is acted upon."""
    result = run("verify", str(file), "--json", "--engine", "explicit", "--fact", "pcid=no")
    made = {e["property"]: e for e in json.loads(result.stdout)["results"]}
    assert result.exit_code == 1
    assert made["missing-flush"]["verdict"] == "violated"
    places = {(s["source"][0]["file"], s["source"][0]["line"]) for v in made["missing-flush"]["violations"] for s in v["steps"] if s["actor"] in ("switch_cr3_cr4", "load")}
    lines = SWITCH.split("\n")
    assert {Path(f).name for f, _ in places} <= {"flushtlb.c", "xen.toml"}
    assert any(Path(f).name == "flushtlb.c" and "read_cr4()" in lines[n - 1] for f, n in places)
    assert any(Path(f).name == "flushtlb.c" and "%%cr3" in lines[n - 1] for f, n in places), "helpers of the file are followed"


@pytest.mark.long
def test_a_verdict_about_c_replays(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    assert run("verify", str(file), "--engine", "explicit", "--fact", "pcid=no", "-p", "missing-flush", "-o", str(out)).exit_code == 1
    assert run("replay", str(out)).exit_code == 1
    file.write_text(SWITCH.replace("now != cr4", "now == cr4"))
    assert run("replay", str(out)).exit_code == 2


def test_the_matrix_of_a_c_file(file: Path) -> None:
    result = run("matrix", str(file), "--json")
    rows = json.loads(result.stdout)["rows"]
    assert {tuple(r["steps"]) for r in rows if r["old"] == "global" and r["new"] == "global"} == {("W4[N]", "W3[0f]", "W4[G]")}
    assert all(r["old"] not in ("kernel", "user") for r in rows), "nothing mentions PCIDs, so that no vCPU has one"


@pytest.mark.long
def test_what_the_code_base_is_taken_for_is_said(file: Path) -> None:
    def assumed(*words: str) -> list[str]:
        result = run("verify", str(file), "--json", "--engine", "explicit", "-p", "no-fault", *words)
        return list(json.loads(result.stdout)["results"][0]["assumptions"])

    assert any("knows no PCIDs" in a for a in assumed())
    assert any("code base knows PCIDs" in a for a in assumed("--fact", "pcid=yes"))
    assert any("PV guests are built in" in a for a in assumed())
    assert any("PV guests are not built in" in a for a in assumed("-U", "CONFIG_PV"))


def test_a_function_of_another_name(file: Path, tmp_path: Path) -> None:
    file.write_text(SWITCH.replace("void switch_cr3_cr4", "void go_there"))
    refused = run("matrix", str(file))
    assert refused.exit_code == 2 and "--function" in refused.stderr
    assert run("matrix", str(file), "--function", "go_there").exit_code in (0, 1)
    missing = run("matrix", str(file), "--function", "nowhere")
    assert missing.exit_code == 2 and "nowhere" in missing.stderr


def test_the_two_ways_out_of_an_unknown_call(file: Path, tmp_path: Path) -> None:
    """A call that nothing explains is refused; a profile entry or an assumption, which the verdict repeats, lets it pass."""
    file.write_text(SWITCH.replace("    pre_flush();", "    pre_flush();\n    trace_switch(cr3);"))
    refused = run("matrix", str(file))
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1 and "trace_switch" in refused.stderr and "--assume-no-tlb-effect" in refused.stderr
    result = run("verify", str(file), "--json", "--engine", "explicit", "-p", "no-fault", "--assume-no-tlb-effect", "trace_switch")
    assert any("trace_switch" in a for a in json.loads(result.stdout)["results"][0]["assumptions"])
    profile = tmp_path / "mine.toml"
    profile.write_text('[calls.trace_switch]\neffect = "none"\nreason = "tracing"\n')
    assert run("matrix", str(file), "--profile", str(profile)).exit_code in (0, 1)
    profile.write_text('[calls.trace_switch]\neffect = "some"\n')
    broken = run("matrix", str(file), "--profile", str(profile))
    assert broken.exit_code == 2 and "mine.toml" in broken.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("static void load", "static void post_flush(u32 t)\n{\n    write_cr4(0);\n}\nstatic void load", "names write_cr4"),
        ("static void load", "static const bool use_invpcid = false;\nstatic void load", ""),
        ("    post_flush(0);", '    asm volatile ( "" : : "r" (cr4 &= ~X86_CR4_PGE) );\n    post_flush(0);', "operand of asm"),
    ],
    ids=["marker-that-acts", "value-that-nothing-reads", "asm-that-acts"],
)
def test_nothing_that_acts_is_left_unread(file: Path, old: str, new: str, said: str) -> None:
    """What is taken for something else, or not named by an instruction, must not hide an effect."""
    file.write_text(SWITCH.replace(old, new, 1))
    result = run("matrix", str(file))
    assert (result.exit_code == 2 and said in result.stderr) if said else result.exit_code in (0, 1)
    if not said:
        file.write_text(file.read_text().replace("    load(cr3);", "    if ( use_invpcid )\n        invpcid_flush_all();\n    load(cr3);"))
        refused = run("matrix", str(file))
        assert refused.exit_code == 2 and "gives the constant use_invpcid a value" in refused.stderr


def test_each_bit_of_an_address_is_set_for_some_root_and_clear_for_another() -> None:
    """Among kernel roots already, as a build without PV guests has no others: a bit that is lost or set is an address of another root or of none."""
    contexts = load_file(_home("models") / "xen" / "contexts.py")
    for roots in (list(contexts.Root), [r for r in contexts.Root if "user" not in r.name]):
        addresses = [contexts.address(r) for r in roots]
        assert len(set(addresses)) == len(roots)
        for n in range(64):
            assert {a >> n & 1 for a in addresses} == ({0, 1} if 12 <= n < 52 else {0})


@pytest.mark.parametrize(
    ("new", "said"),
    sampled(
        [
            ("    load(cr3 & ~(1UL << 51));\n    load(cr3);", {"assert"}),
            ("    load(cr3 & (X86_CR3_ADDR_MASK | X86_CR3_PCID_MASK));", set()),
            ("    unsigned int root = cr3;\n    load(root);", {"CR3", "assert"}),
            ("    load(cr3 << 13 >> 13);", {"CR3", "assert"}),
        ],
        keep=2,
    ),
)
def test_code_that_loses_a_bit_of_the_root_s_address_is_caught(file: Path, new: str, said: set[str]) -> None:
    """At the return, and where it is lost only for a moment, at the load."""
    right = SWITCH.replace("flags, now = read_cr4();\n\n    local_irq_save(flags);", "flags, now;\n\n    local_irq_save(flags);\n    now = read_cr4();")
    file.write_text(right.replace("    load(cr3);", new))
    result = run("verify", str(file), "--json", "--engine", "explicit", "--fact", "pcid=no", "-U", "CONFIG_PV", "-p", "switch-lands", "-p", "no-fault")
    found = [v for e in json.loads(result.stdout)["results"] for v in e["violations"]]
    assert {v["clause"] for v in found} == said
    # The file's own functions are what is judged: that the environment has others in their place mends nothing.
    assert "variant" not in {(v.get("blame") or {}).get("kind") for v in found}


@pytest.mark.parametrize("words", [("--fact", "pcid"), ("--fact", "colour=yes"), ("--role", "nothing")])
def test_options_that_cannot_be_used(file: Path, words: tuple[str, str]) -> None:
    refused = run("matrix", str(file), *words)
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1
