"""Certificates: the same for the same proof, accepted by solvers, and refused when anything in them is touched."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from quick import sampled

from tlbcheck.certificate import solvers
from tlbcheck.certificate.check import judge
from tlbcheck.certificate.file import LITERAL, certificate, head, write
from tlbcheck.certificate.read import load
from tlbcheck.certificate.words import sentences
from tlbcheck.cli import cli
from tlbcheck.engines.invariant import Invariant, StateSet
from tlbcheck.engines.obligations import SystemText
from tlbcheck.engines.run import ModelEvidence, check
from tlbcheck.engines.unrolled import unrolled
from tlbcheck.errors import InputError, InternalError
from tlbcheck.lang.expr import FALSE
from tlbcheck.library import find_models, find_properties, models_in, properties_in
from tlbcheck.report.result import covered

MODEL, PROPERTY = "xen/before-pcid", "missing-flush"
LITERAL_MODEL, LITERAL_PROPERTY = "linux/riscv-asid", "frame-isolation"
"""Small enough for its caches to be searched as they are."""


@functools.cache
def proved() -> tuple[ModelEvidence, SystemText, Invariant]:
    model = find_models(MODEL)[0]
    result = check(model, find_properties([PROPERTY], model), engines=("explicit", "pdr"))
    return result, SystemText(result.system, PROPERTY), result.proofs[0].invariants[PROPERTY]


@functools.cache
def text() -> str:
    result, system, invariant = proved()
    return certificate(system, invariant, head(system, covered(result.model, result.decided)))


@functools.cache
def proved_literally() -> tuple[ModelEvidence, SystemText, StateSet]:
    model = find_models(LITERAL_MODEL)[0]
    result = check(model, find_properties([LITERAL_PROPERTY], model), engines=("sets",), certify=True)
    return result, SystemText(unrolled(result.system), LITERAL_PROPERTY), result.literal[0].sets[LITERAL_PROPERTY]


@functools.cache
def literal_text() -> str:
    result, system, states = proved_literally()
    return certificate(system, states, head(system, covered(result.model, result.decided), LITERAL))


def written(folder: Path, content: str) -> Path:
    path = folder / "c.smt2"
    path.write_text(content)
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.long
def test_a_certificate_is_accepted_by_every_solver(tmp_path: Path) -> None:
    """z3 and at least one other solver accept it, and it is this model's own."""
    judged = judge(written(tmp_path, text()), find_models(MODEL)[0])
    assert judged.of_model
    assert judged.accepted == tuple(solvers.installed())
    assert {"z3", "bitwuzla", "cvc5"} <= set(judged.accepted)


def test_a_certificate_of_the_literal_caches_is_accepted_by_every_solver(tmp_path: Path) -> None:
    """The reachable set of engine sets, with fills and evictions free; the head says which kind it is and of which sizes."""
    judged = judge(written(tmp_path, literal_text()), find_models(LITERAL_MODEL)[0])
    assert judged.of_model
    assert judged.accepted == tuple(solvers.installed())
    about = judged.certificate.about
    assert about["tlbcheck-kind"] == "literal caches"
    assert "representation: full" in about["tlbcheck-scope"] and "cpus: 2" in about["tlbcheck-scope"] and "any" not in about["tlbcheck-scope"]


def test_a_certificate_of_the_literal_caches_grows_with_the_diagram(tmp_path: Path) -> None:
    """Each node is written once."""
    _, system, states = proved_literally()
    definition = system.definition(states)
    assert definition.count("(ite ") == len(states.nodes)
    assert len(definition) < 4_000 + 50 * len(states.nodes)


def test_the_text_is_deterministic() -> None:
    result, _, invariant = proved()
    again = SystemText(result.system, PROPERTY)
    assert certificate(again, invariant, head(again, covered(result.model, result.decided))) == text()


@pytest.mark.long
def test_it_is_plain_smt_lib(tmp_path: Path) -> None:
    """The file as it stands, check-sat commands and all, runs through a solver: three times unsat."""
    import cvc5

    solver = cvc5.Solver()
    solver.setOption("incremental", "true")
    solver.setOption("bitblast", "eager")
    parser = cvc5.InputParser(solver)
    parser.setFileInput(cvc5.InputLanguage.SMT_LIB_2_6, str(written(tmp_path, text())))
    said = []
    while not (command := parser.nextCommand()).isNull():
        answer = str(command.invoke(solver, parser.getSymbolManager())).strip()
        if command.getCommandName() == "check-sat":
            said.append(answer)
    assert said == ["unsat"] * 3


def replaced(pattern: str, by: str) -> Callable[[str], str]:
    def edit(content: str) -> str:
        made, count = re.subn(pattern, by, content, count=1, flags=re.DOTALL)
        assert count == 1, pattern
        return made

    return edit


EDITS: dict[str, tuple[Callable[[str], str], str]] = {
    "no start": (replaced(r"\(define-fun init \(\) Bool\n.*?\n\(define-fun step", "(define-fun init () Bool\nfalse)\n(define-fun step"), "initial states"),
    "no step": (replaced(r"\(define-fun step \(\) Bool\n.*?\n\(define-fun bad-state", "(define-fun step () Bool\nfalse)\n(define-fun bad-state"), "transition relation"),
    "a trivial property": (replaced(r"\(define-fun bad-step \(\) Bool\n.*?\n\(define-fun invariant", "(define-fun bad-step () Bool\nfalse)\n(define-fun invariant"), "property"),
    "a weaker guard": (replaced(r"\(define-fun step \(\) Bool\n", "(define-fun step () Bool\n(and (not |now:cpu0.if|) "), r"(transition relation|ends within a command)"),
    "an obligation without the step": (replaced(r"\(assert step\)\n", ""), "expected here"),
    "an obligation left out": (replaced(r"; safe.*?\(pop 1\)\n", ""), "expected here"),
    "an assertion besides": (replaced(r"\(push 1\)\n", "(push 1)\n(assert false)\n"), "expected here"),
    "an assertion at the outset": (replaced(r"\(define-fun init", "(assert false)\n(define-fun init"), "'init' is missing"),
    "a redefinition": (replaced(r"\(define-fun init", "(define-fun and ((a Bool) (b Bool)) Bool false)\n(define-fun init"), "'init' is missing"),
    "an invariant over other constants": (replaced(r"\(and true\n", "(and true (not |now:cpu0.if|)\n"), r"speaks of '\|now:cpu0.if\|'"),
    "an invariant that is false": (replaced(r"\(and true\n", "(and false\n"), "'initial' does not hold"),
    "a clause more": (replaced(r"\(and true\n", "(and true |cpu0.if|\n"), "does not hold"),
    "bits equal that are not": (replaced(r"\(and true\n", "(and true (= ((_ extract 12 12) |cpu0.cr3|) ((_ extract 13 13) |cpu0.cr3|))\n"), "'initial' does not hold"),
    "no clauses": (replaced(r"\(and true\n.*?\n; initial", "true)\n; initial"), "does not hold"),
    "a command that reads files": (replaced(r"\(exit\)", '(include "/etc/passwd")\n(exit)'), "expected here"),
    "something behind the end": (replaced(r"\(exit\)\n", "(exit)\n(check-sat)\n"), "behind the end"),
    "a larger scope": (replaced(r"cpus: 1", "cpus: any"), "tlbcheck-scope"),
    "another model's name": (replaced(r"\|xen/before-pcid\|", "|xen/flush-once|"), "it is of xen/flush-once"),
    "another property's name": (replaced(r"tlbcheck-property \|missing-flush\|", "tlbcheck-property |no-fault|"), "names no property"),
    "another logic": (replaced("QF_BV", "ALL"), "expected here"),
    "half of it": (lambda content: content[: len(content) // 2], "(ends within|missing|expected|no SMT-LIB)"),
    "no SMT-LIB": (lambda content: "hello\n" + content, "outside of a command"),
    "no certificate": (lambda content: "(set-logic QF_BV)\n(check-sat)\n", "no certificate"),
    "nothing": (lambda content: "", "no certificate"),
}


SLOW = ("an invariant that is false", "bits equal that are not", "no clauses")
"""Judged by the solver; one of the kind, "a clause more", is judged each time."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long) if n in SLOW else n for n in EDITS])
def test_an_edited_certificate_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is touched, the file is refused in one line, with exit status 2."""
    monkeypatch.setattr(solvers, "installed", lambda: ["z3"])
    monkeypatch.setattr("tlbcheck.certificate.check.installed", lambda: ["z3"])
    edit, why = EDITS[name]
    with pytest.raises(InputError, match=why) as error:
        judge(written(tmp_path, edit(text())), find_models(MODEL)[0])
    assert "refused" in str(error.value)
    assert "\n" not in str(error.value)


OF_BOTH_KINDS = [
    n
    for n in EDITS
    if n
    not in (
        "a weaker guard",
        "an invariant over other constants",
        "a larger scope",
        "a clause more",
        "bits equal that are not",
        "no clauses",
        "an invariant that is false",
        "another model's name",
        "another property's name",
    )
]
LITERAL_EDITS: dict[str, tuple[Callable[[str], str], str]] = {
    **{name: EDITS[name] for name in OF_BOTH_KINDS},
    "a larger scope": (replaced(r"cpus: 2", "cpus: any"), "tlbcheck-scope"),
    "the other kind": (replaced(r"\|literal caches\|", "|tracked entries|"), "its variables are not those"),
    "no kind": (replaced(r"\(set-info :tlbcheck-kind [^\n]*\n", ""), "does not say whether"),
    "another model's name": (replaced(r"\|linux/riscv-asid\|", "|linux/svm-asid|"), "it is of linux/svm-asid"),
    "a node of other nodes": (replaced(r"\(n5 \(ite (\w+) (\w+) (\w+)\)\)", r"(n5 (ite \1 \3 \2))"), "does not hold"),
    "a bit that is another's": (replaced(r"\(b1 [^\n]*\n", "(b1 b0)\n"), "speaks of 'b0'"),
    "a node without a definition": (replaced(r"\(n5 [^\n]*", ""), "speaks of 'n5'"),
    "a node that is a constant of the file": (replaced(r"\(n5 [^\n]*", "(n5 |now:cpu0.if|)"), r"speaks of '\|now:cpu0.if\|'"),
    "nothing at all": (replaced(r"(\(define-fun invariant [^\n]* Bool\n)\(and true\n", r"\1(and false\n"), "'initial' does not hold"),
    "everything": (replaced(r"(\(define-fun invariant [^\n]* Bool\n)\(and true\n.*?\n; initial", r"\1true)\n; initial"), "'safe' does not hold|'inductive' does not hold"),
    "no step while something is cached": (
        replaced(r"(\(define-fun step \(\) Bool\n)(.*?)\)\n\(define-fun bad-state", r"\1(and (not |now:cpu0.cached[entry]#0|) \2))\n(define-fun bad-state"),
        "transition relation",
    ),
}


@pytest.mark.parametrize("name", LITERAL_EDITS)
def test_an_edited_certificate_of_the_literal_caches_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlbcheck.certificate.check.installed", lambda: ["z3"])
    edit, why = LITERAL_EDITS[name]
    with pytest.raises(InputError, match=why) as error:
        judge(written(tmp_path, edit(literal_text())), find_models(LITERAL_MODEL)[0])
    assert "refused" in str(error.value)


@pytest.mark.long
def test_a_certificate_of_the_literal_caches_is_none_of_another_size(tmp_path: Path) -> None:
    """What is proved for one number of CPUs and PCIDs is not taken for another, even if the name says so."""
    bench = Path(__file__).parents[1] / "bench"
    small = models_in(bench / "models")["bench/cr3race"].variant("flushed")
    large = models_in(bench / "models")["bench/cr3race"].with_numbers({"pcids": 3}).variant("flushed")
    names = list(properties_in(bench / "properties").values())
    result = check(small, names, engines=("sets",), certify=True)
    system = SystemText(unrolled(result.system), "no-foreign")
    content = certificate(system, result.literal[0].sets["no-foreign"], head(system, covered(result.model, result.decided), LITERAL))
    path = written(tmp_path, content.replace(f"|{small.name}|", f"|{large.name}|"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlbcheck.certificate.check.find_properties", lambda *_: names)
        with pytest.raises(InputError, match="its variables are not those"):
            judge(path, large)
        assert judge(written(tmp_path, content), small, solvers=["z3"]).of_model


@pytest.mark.parametrize("other", sampled(["xen/before-pcid@cr4-not-restored", "xen/gp-fix"], keep=1))
def test_a_certificate_of_another_model_or_variant_is_refused(other: str, tmp_path: Path) -> None:
    """By its name; and where the name is changed to fit, by what is in it."""
    with pytest.raises(InputError, match="not of"):
        judge(written(tmp_path, text()), find_models(other)[0])
    with pytest.raises(InputError, match=f"is not (of|that of) {re.escape(other)}|are not those of"):
        judge(written(tmp_path, text().replace(f"|{MODEL}|", f"|{other}|")), find_models(other)[0])


def test_without_a_model_only_the_file_is_judged_and_that_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, literal_text())
    result = run("certify", str(path))
    assert result.exit_code == 3
    assert "was not checked" in result.output
    trivial = replaced(r"\(define-fun bad-state \(\) Bool\n.*?\n\(define-fun bad-step", "(define-fun bad-state () Bool\nfalse)\n(define-fun bad-step")(EDITS["a trivial property"][0](literal_text()))
    for content in (EDITS["no start"][0](literal_text()), EDITS["no step"][0](literal_text()), trivial):
        with pytest.raises(InputError, match="proves nothing"):
            judge(written(tmp_path, content), None, solvers=["z3"])


@pytest.mark.long
def test_the_command_line_tells_who_agreed(tmp_path: Path) -> None:
    """verify --certificates writes what certify accepts; a refused file has exit status 2 and one line."""
    made = run("verify", MODEL, "-p", PROPERTY, "--certificates", str(tmp_path / "proofs"), "--invariant")
    assert made.exit_code == 0, made.output
    assert "no entry with global is yes is cached while cpu0.cr4.PGE is clear" in made.output
    (path,) = (tmp_path / "proofs").iterdir()
    found = run("certify", str(path), "--model", MODEL)
    assert found.exit_code == 0, found.output
    assert f"{MODEL}, {PROPERTY} is proved" in found.output
    assert len(re.findall("accepts", found.output)) == len(solvers.installed())
    path.write_text(EDITS["a clause more"][0](path.read_text()))
    refused = run("certify", str(path), "--model", MODEL)
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1


def test_a_model_with_a_violation_gets_no_certificate_for_it(tmp_path: Path) -> None:
    run("verify", "xen/before-pcid@cr4-not-restored", "-p", "switch-lands", "-p", "no-fault", "--engine", "explicit", "--engine", "pdr", "--certificates", str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["xen-before-pcid@cr4-not-restored.no-fault.smt2"]


@pytest.mark.long
def test_fault_a_solver_that_says_sat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Solvers that contradict each other are an internal error, not a verdict."""
    monkeypatch.setitem(solvers.SOLVERS, "cvc5", lambda *_: "sat")
    with pytest.raises(InternalError, match=r"holds by .* and does not by"):
        judge(written(tmp_path, text()), None, solvers=["z3", "cvc5"])


def test_a_solver_that_dies_accepts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no licence")

    monkeypatch.setitem(solvers.SOLVERS, "cvc5", broken)
    judged = judge(written(tmp_path, text()), None, solvers=["z3", "cvc5"])
    assert judged.accepted == ("z3",)
    assert "no licence" in judged.answers[1].reason


def test_the_reader_takes_only_what_it_recognises(tmp_path: Path) -> None:
    """What solvers are given is put together from recognised parts."""
    found = load(written(tmp_path, "; a comment (exit)\n" + text()))
    assert "comment" not in found.head
    assert set(found.obligations) == {"initial", "inductive", "safe"}
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path / "missing.smt2")


def test_the_invariant_in_words_is_true_of_what_was_visited() -> None:
    """Sentences name registers and points of procedures, and none is empty or said twice."""
    result, _, invariant = proved()
    said = sentences(result.system, invariant)
    assert len(said) == len(set(said)) <= len(invariant.never)
    assert all(len(s) > 10 for s in said)
    assert any("cr4.PGE" in s for s in said)
    assert any(re.search(r"switch_cr3_cr4_before_pcid:\d+", s) for s in said)


@pytest.mark.long
def test_what_is_about_runs_without_an_end_too_gets_none_and_none_is_accepted_for_it(tmp_path: Path) -> None:
    """An invariant shows half of such a property: the half that it shows would be taken for the whole."""
    model, goal = find_models("xen/before-pcid")[0], "no-fault"
    names = find_properties((goal,), model)
    half = check(model, names, engines=("explicit", "pdr"), cases=False, certify=True)
    path, *_ = write(tmp_path, half, goal)
    mixed = replace(names[0], liveness=[("ends", FALSE)])
    assert not write(tmp_path / "mixed", check(model, [mixed], engines=("explicit", "pdr"), cases=False, certify=True), goal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlbcheck.certificate.check.find_properties", lambda *_: [mixed])
        with pytest.raises(InputError, match="'ends' of no-fault is about runs that never end"):
            judge(path, model)
