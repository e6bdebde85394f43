"""What is claimed when a certificate is read back, or a property exported, is no more than was checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pager import PAGER, PROPERTY

from tlbcheck.cli import cli

QUIET = """\
import enum

from tlbcheck import Model, Property, marker, operation, procedure, shared

x = shared("x", bool)
step, never = marker("step", "makes a step"), marker("never", "makes what is never made")


@procedure
def init():
    x.set(False)


@procedure
def task():
    while True:
        step()
        if x.get():
            never()


NEVER = Property("never-made", "the marker is never made", "this test", trigger=operation("never"), clauses={"made": "it is made"})
NEVER.on(operation("never"), bad={"made": x.expr})
QUIET = Model(name="quiet", title="a marker that is never made", init=init, task=task)
"""
C = """\
void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags;

    local_irq_save(flags);
    write_cr3(cr3);
#ifdef WITH_CR4
    write_cr4(cr4);
#endif
    local_irq_restore(flags);
}
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, [str(w) for w in words])


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "properties").mkdir()
    (tmp_path / "models" / "quiet.py").write_text(QUIET.replace("NEVER = ", "_ = ").split("_ = ")[0] + QUIET[QUIET.index("QUIET = Model") :])
    (tmp_path / "properties" / "never_made.py").write_text(QUIET[: QUIET.index("@procedure")] + QUIET[QUIET.index("NEVER = ") : QUIET.index("QUIET = Model")])
    return tmp_path


@pytest.mark.parametrize("limits", [(), ("--engine", "pdr"), ("--max-states", "1"), ("--engine", "bmc", "--engine", "pdr")], ids=" ".join)
def test_a_vacuous_proof_is_undecided_whatever_stopped_the_search_and_has_no_certificate(quiet: Path, limits: tuple[str, ...]) -> None:
    result = run("verify", "quiet", "-p", "never-made", "--certificates", str(quiet / "proofs"), *limits)
    assert result.exit_code == 3, result.output
    assert not list(quiet.glob("proofs/*"))


def test_certify_says_that_a_proof_is_about_nothing(quiet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of a vacuous proof can be written by other means: certify looks again."""
    from tlbcheck import result

    monkeypatch.setattr(result.PropertyResult, "undecided", property(lambda self: False))
    run("verify", "quiet", "-p", "never-made", "--certificates", str(quiet / "proofs"))
    monkeypatch.undo()
    monkeypatch.chdir(quiet)
    (file,) = quiet.glob("proofs/*")
    certified = run("certify", str(file), "--model", "quiet")
    assert certified.exit_code == 3, certified.output
    assert "undecided" in certified.stdout and "vacuous: what never-made speaks of never happens" in certified.stdout


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proofs")
    for processor in ("common", "intel"):
        found = run("verify", "linux/deferred-flush", "-p", "stale-use", "--processor", processor, "--engine", "pdr", "--certificates", str(folder / processor))
        assert found.exit_code == 0, found.output
    return folder


def test_a_certificate_without_a_model_is_no_status_0(proofs: Path) -> None:
    (file,) = (proofs / "common").glob("*")
    result = run("certify", str(file))
    assert result.exit_code == 3
    assert "was not checked, --model does that" in result.stdout


HEADS = {
    "an invented reliance": "(set-info :tlbcheck-relies |all that was shown elsewhere|)\n",
    "an invented line": "(set-info :tlbcheck-bound |any number of CPUs|)\n",
    "a second name": "(set-info :tlbcheck-model |linux/deferred-flush|)\n",
    "a line of more words": "(set-info :status unsat unsat)\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_the_head_of_a_certificate_says_no_more_than_the_model(proofs: Path, tmp_path: Path, name: str) -> None:
    (file,) = (proofs / "common").glob("*")
    (tmp_path / "c.smt2").write_text(file.read_text().replace("(set-logic", HEADS[name] + "(set-logic", 1))
    result = run("certify", str(tmp_path / "c.smt2"), "--model", "linux/deferred-flush")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.output


def test_a_proof_that_relies_on_what_another_model_does_not_show_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise is shown for other flags: verify says unknown and writes nothing, and a certificate written by other means is worth nothing."""
    from tlbcheck import result

    (tmp_path / "models").mkdir()
    (tmp_path / "properties").mkdir()
    (tmp_path / "models" / "pager.py").write_text(PAGER)
    (tmp_path / "properties" / "pager.py").write_text(PROPERTY.format(str(tmp_path / "models" / "pager.py")))
    monkeypatch.chdir(tmp_path)
    words = ("verify", "pager/deep-relying@not-flushed", "-p", "fresh-use", "--engine", "explicit", "--engine", "pdr", "--certificates", "proofs")
    assert run(*words).exit_code == 3
    assert not Path("proofs").exists()
    with monkeypatch.context() as forging:
        forging.setattr(result.PropertyResult, "verdict", property(lambda self: self.found))
        run(*words)
    (file,) = Path("proofs").iterdir()
    certified = run("certify", str(file), "--model", "pager/deep-relying@not-flushed")
    assert certified.exit_code == 3, certified.output
    assert "it relies on move() not shown: NOT_FLUSHED is off in pager/deep-opened" in certified.stdout


def test_options_for_c_are_refused_where_no_c_is_read(tmp_path: Path) -> None:
    """What they ask for would not be judged."""
    for words in (("verify", "linux/deferred-flush"), ("matrix", "xen/flush-once"), ("certify", "no.smt2", "--model", "xen/flush-once"), ("export", "xen/flush-once", "-p", "no-fault", "-o", "x.aag")):
        for option in (("-D", "CONFIG_PV=0"), ("--function", "f"), ("--fact", "pcid=no"), ("--tree", ".")):
            result = run(*words, *option)
            assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
            assert "say how C is read" in result.stderr


@pytest.mark.long
def test_a_proof_for_one_processor_is_none_for_another(proofs: Path) -> None:
    for processor in ("common", "intel"):
        (file,) = (proofs / processor).glob("*")
        for wanted in ("common", "intel"):
            result = run("certify", str(file), "--model", "linux/deferred-flush", "--processor", wanted)
            assert result.exit_code == (0 if wanted == processor else 2), result.output
    (file,) = (proofs / "intel").glob("*")
    refused = run("certify", str(file), "--model", "linux/deferred-flush")
    assert refused.exit_code == 2
    assert "it is for processor 'intel'" in refused.stderr


@pytest.mark.long
def test_a_certificate_of_c_rests_on_the_options_by_which_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("switch.c").write_text(C)
    written = run("verify", "switch.c", "-D", "WITH_CR4", "-p", "switch-lands", "--engine", "explicit", "--engine", "pdr", "--certificates", "proofs")
    files = list(Path("proofs").glob("*"))
    assert files, written.output
    assert run("certify", str(files[0]), "--model", "switch.c", "-D", "WITH_CR4").exit_code == 0
    refused = run("certify", str(files[0]), "--model", "switch.c")
    assert refused.exit_code == 2, refused.output


@pytest.mark.parametrize("ending", ["smt2", "aag", "aig"])
def test_what_is_about_runs_without_an_end_is_not_exported(tmp_path: Path, ending: str) -> None:
    result = run("export", "xen/shootdown@wait-irqs-off", "-p", "shootdown-completes", "-o", str(tmp_path / f"x.{ending}"))
    assert result.exit_code == 2
    assert "about runs that never end" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("declared", "status"), [("proved", 3), ("violated", 3), ("not-applicable", 3), ("violted", 2)], ids=str
)
def test_what_a_model_declares_is_judged_even_if_it_is_about_something_else(quiet: Path, declared: str, status: int) -> None:
    """The proof is vacuous, so it is not what any of these words say."""
    file = quiet / "models" / "quiet.py"
    file.write_text(file.read_text().replace("task=task)", f"task=task, about=('no-fault',), expected={{'never-made': '{declared}', 'no-fault': 'proved'}})"))
    result = run("verify", "quiet", "--expect", "--engine", "explicit")
    assert result.exit_code == status, result.output


@pytest.mark.parametrize("ending", ["smt2", "aag", "aig"])
def test_an_export_says_where_a_proof_of_it_would_say_nothing(quiet: Path, ending: str) -> None:
    """On the screen and in the file; of a property that is met, nothing is said."""
    text = (quiet / "models" / "quiet.py").read_text()
    (quiet / "models" / "loud.py").write_text(text.replace("if x.get():", "if not x.get():").replace('name="quiet"', 'name="loud"').replace("QUIET = Model", "LOUD = Model"))
    written = run("export", "quiet", "-p", "never-made", "-o", f"x.{ending}")
    assert written.exit_code == 0, written.output
    for text in (written.stdout, Path(f"x.{ending}").read_bytes().decode("latin-1")):
        assert "that it holds would say nothing: vacuous: what never-made speaks of never happens" in text
    assert "nothing" not in run("export", "loud", "-p", "never-made", "-o", f"y.{ending}").stdout
