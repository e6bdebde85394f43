"""The pytest plugin and ``tlbcheck.testing``, on models that take a moment."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

TINY = '''
"""Two writes and a switch; it lands."""

import enum

from tlbcheck import Flag, Model, Property, Variant, choose, enter, leave, marker, per_cpu, procedure, require, var
from tlbcheck.lang.expr import and_, eq, not_
from tlbcheck.lang.types import BOOL

BROKEN = Flag("BROKEN", False)
ABSENT = Flag("ABSENT", False)
left, right = per_cpu("left", bool), per_cpu("right", bool)
beat = marker("beat", "beats")


@procedure(role="pair")
def both(value: bool) -> None:
    left.set(value)
    if not BROKEN:
        right.set(value)
    beat()


@procedure
def run() -> None:
    while True:
        value = choose(bool)
        if ABSENT:
            beat()
        else:
            both(value)


@procedure
def start() -> None:
    left.set(False)
    right.set(False)


tiny = Model(
    name="tiny",
    title="two variables that go together",
    init=start,
    task=run,
    flags={BROKEN: False, ABSENT: False},
    variants={
        "broken": Variant(doc="the second write is left out", flags={BROKEN: True}, expected={"paired": "violated"}),
        "absent": Variant(doc="nothing is ever written", flags={ABSENT: True}),
    },
    expected={"paired": "proved", "no-fault": "proved"},
)

paired = Property("paired", "left and right agree", "here", needs=("pair",), trigger=leave("pair"), clauses={"differ": "they differ", "other": "right alone is set"})
paired.on(leave("pair"), bad={"differ": not_(eq(left.expr, right.expr)), "other": and_(not_(left.expr), right.expr)})
anywhere = Property("anywhere", "the same, where it may be vacuous", "here", trigger=leave("pair"), clauses={"differ": "they differ"})
anywhere.on(leave("pair"), bad={"differ": not_(eq(left.expr, right.expr))})
'''

INSTALLED = any(e.name == "tlbcheck" for e in importlib.metadata.entry_points(group="pytest11"))
LOAD = () if INSTALLED else ("-p", "tlbcheck.pytest_plugin")
HEAD = """
import pytest
from tiny import anywhere, paired, tiny
from tlbcheck.testing import assert_holds, assert_violated
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's folder with a model; tlbcheck is on the path."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(pytester.path))))
    pytester.syspathinsert(ROOT)
    pytester.syspathinsert()
    pytester.makepyfile(tiny=TINY)
    return pytester


def run(suite: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    suite.makepyfile(test_it=HEAD + tests)
    return suite.runpytest_inprocess(*LOAD, "-p", "no:cacheprovider", "--strict-markers", *options)


def test_what_holds_passes(suite: pytest.Pytester) -> None:
    found = run(suite, "def test(): assert_holds(tiny, paired); assert_holds('tiny.py', 'no-fault')")
    found.assert_outcomes(passed=1)


def test_a_failure_is_the_trace_and_nothing_else(suite: pytest.Pytester) -> None:
    found = run(suite, "\ndef test_it():\n    assert_holds(tiny.variant('broken'), paired)\n")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["tiny@broken: paired (differ) is violated after 2 steps", "*left := *", "test_it.py:6: test_it"])
    found.stdout.no_fnmatch_line("*Traceback*")
    found.stdout.no_fnmatch_line("*>*assert_holds*")
    found.stdout.no_fnmatch_line("E  *")


@pytest.mark.long
def test_a_trace_is_the_message_of_the_exception(suite: pytest.Pytester) -> None:
    found = run(
        suite,
        """
def test():
    with pytest.raises(AssertionError) as caught:
        assert_holds(tiny.variant('broken'), paired)
    assert str(caught.value).startswith('tiny@broken: paired (differ) is violated after 2 steps')
""",
    )
    found.assert_outcomes(passed=1)


SAYS = {
    "assert_holds(tiny.variant('absent'), paired)": "tiny@absent: paired is not-applicable, not proved (the model has no procedure of role pair)",
    "assert_holds(tiny.variant('absent'), anywhere)": "tiny@absent: anywhere is vacuous: what it speaks of never happens in this model",
    "assert_violated(tiny, paired)": "tiny: paired is proved, not violated (all * reachable states visited)",
    "assert_violated(tiny.variant('broken'), paired, depth=5)": "tiny@broken: paired is violated after 2 steps, not 5",
    "assert_violated(tiny.variant('broken'), paired, depth=5, clause='differ')": "tiny@broken: paired (differ) is violated after 2 steps, not 5",
    "assert_violated(tiny.variant('broken'), paired, clause='other')": "tiny@broken: paired is violated, but not its clause other",
    "assert_violated(tiny.variant('broken'), paired, clause='nonsense')": "InputError: property paired has no clause 'nonsense'; it has: differ, other",
    "assert_holds('no/such', paired)": "InputError: unknown model 'no/such'*",
    "assert_holds('tiny.py', 'no-such')": "InputError: unknown property 'no-such'*",
}


@pytest.mark.long
def test_a_failure_says_what_is_wrong(suite: pytest.Pytester) -> None:
    found = run(suite, "".join(f"def test_{i}(): {call}\n" for i, call in enumerate(SAYS)))
    found.assert_outcomes(failed=len(SAYS))
    for i, says in enumerate(SAYS.values()):
        found.stdout.fnmatch_lines([says, f"test_it.py:{i + 4}: test_{i}"])


def test_what_is_violated_passes_by_depth_and_clause(suite: pytest.Pytester) -> None:
    run(suite, "def test(): assert_violated(tiny.variant('broken'), paired, depth=2, clause='differ')").assert_outcomes(passed=1)


def test_bounded_is_not_proved(suite: pytest.Pytester) -> None:
    found = run(suite, "def test(): assert_holds(tiny, paired)", "--tlbcheck-engines=bmc")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["tiny: paired is bounded, not proved (z3: none up to depth *)"])


def test_a_file_with_several_models_needs_a_name(suite: pytest.Pytester) -> None:
    suite.makepyfile(two=TINY + "\nfrom dataclasses import replace\nsecond = replace(tiny, name='second')\n")
    found = run(suite, "def test(): assert_holds('two.py', 'no-fault')")
    found.stdout.fnmatch_lines(["InputError: two.py defines 2 models; name one of them: tiny, second"])


def test_the_marker_makes_a_test_for_each_model_and_property(suite: pytest.Pytester) -> None:
    found = run(suite, "@pytest.mark.tlbcheck(model=[tiny, tiny.variant('broken')], properties=[paired, 'no-fault'])\ndef test(): ...\n", "-v")
    found.assert_outcomes(passed=3, failed=1)
    found.stdout.fnmatch_lines(["*::test?tiny-paired? PASSED*", "*::test?tiny-no-fault? PASSED*", "*::test?tiny@broken-paired? FAILED*", "*::test?tiny@broken-no-fault? PASSED*"])
    found.stdout.fnmatch_lines(["tiny@broken: paired (differ) is violated after 2 steps", "test_it.py:4: test?tiny@broken-paired?"])


@pytest.mark.long
def test_the_body_of_a_marked_test_sees_its_result(suite: pytest.Pytester) -> None:
    found = run(
        suite,
        """
@pytest.mark.tlbcheck(model='tiny.py@broken', properties=paired, expect='violated')
def test_fixtures(tlbcheck_model, tlbcheck_property, tlbcheck_result):
    assert (tlbcheck_model.name, tlbcheck_property, tlbcheck_result.verdict) == ('tiny@broken', paired, 'violated')

@pytest.mark.tlbcheck(tiny, [paired])
def test_body():
    assert 1 + 1 == 3

@pytest.mark.tlbcheck(tiny, [paired])
class TestMethods:
    def test(self): ...

@pytest.mark.parametrize('n', [1, 2])
@pytest.mark.tlbcheck(tiny, [paired])
def test_with_other_parameters(n): ...
""",
    )
    found.assert_outcomes(passed=4, failed=1)
    found.stdout.fnmatch_lines(["*assert (1 + 1) == 3*"])


def test_a_whole_module_can_be_marked(suite: pytest.Pytester) -> None:
    run(suite, "pytestmark = pytest.mark.tlbcheck(tiny, [paired, anywhere])\ndef test(): ...\n").assert_outcomes(passed=2)


def test_models_are_held_against_what_they_declare(suite: pytest.Pytester) -> None:
    found = run(suite, "@pytest.mark.tlbcheck([tiny, tiny.variant('broken'), tiny.variant('absent')], [paired, 'no-fault'], expect='declared')\ndef test(): ...\n")
    found.assert_outcomes(passed=3, failed=3)
    found.stdout.fnmatch_lines(["tiny@broken: no-fault is proved, and the model declares nothing of it"])


@pytest.mark.long
def test_a_wrong_declaration_is_told(suite: pytest.Pytester) -> None:
    suite.makepyfile(wrong=TINY.replace('expected={"paired": "proved", "no', 'expected={"paired": "violated", "no').replace('expected={"paired": "violated"}', 'expected={"paired": "proved"}'))
    found = run(suite, "from wrong import paired as p, tiny as t\n@pytest.mark.tlbcheck([t, t.variant('broken')], [p], expect='declared')\ndef test(): ...\n")
    found.assert_outcomes(failed=2)
    found.stdout.fnmatch_lines(["tiny: paired is proved, but declared violated", "tiny@broken: paired (differ) is violated after 2 steps"])


WRONG_MARKERS = {
    "model='no/such'": "*test: unknown model 'no/such'*",
    "model=tiny, expect='fine'": "*test: unknown expectation 'fine'; expect is one of holds, violated, declared*",
    "model=[]": "*test: nothing to check; give at least one model and one property*",
    "": "*test: the marker tlbcheck missing 1 required positional argument: 'model'*",
}


def test_a_wrong_marker_is_an_error_of_one_line(suite: pytest.Pytester) -> None:
    for i, mark in enumerate(WRONG_MARKERS):
        suite.makepyfile(**{f"test_wrong{i}": f"{HEAD}@pytest.mark.tlbcheck({mark})\ndef test(): ...\n"})
    found = run(suite, "")
    found.assert_outcomes(errors=len(WRONG_MARKERS))
    found.stdout.fnmatch_lines(list(WRONG_MARKERS.values()))
    found.stdout.no_fnmatch_line("*Traceback*")


BROKEN = "pytest.mark.tlbcheck(tiny.variant('broken'), [paired])"
EVERYWHERE = {
    "stacked above one that holds": f"@{BROKEN}\n@pytest.mark.tlbcheck(tiny, [paired])\ndef test(): ...\n",
    "stacked below one that holds": f"@pytest.mark.tlbcheck(tiny, [paired])\n@{BROKEN}\ndef test(): ...\n",
    "on a class whose test has one that holds": f"@{BROKEN}\nclass TestIt:\n    @pytest.mark.tlbcheck(tiny, [paired])\n    def test(self): ...\n",
    "on the module of a test that has one": f"pytestmark = {BROKEN}\n@pytest.mark.tlbcheck(tiny, [paired])\ndef test(): ...\n",
    "with a parameter": f"@pytest.mark.parametrize('n', [pytest.param(1, marks={BROKEN}), 2])\ndef test(n): ...\n",
    "with a parameter, beside one that holds": (
        f"@pytest.mark.tlbcheck(tiny, [paired])\n@pytest.mark.parametrize('n', [pytest.param(1, marks={BROKEN})])\ndef test(n): ...\n"
    ),
    "on a method of a TestCase": f"import unittest\nclass It(unittest.TestCase):\n    @{BROKEN}\n    def test(self): ...\n",
    "on a TestCase": f"import unittest\n@{BROKEN}\nclass It(unittest.TestCase):\n    def test(self): ...\n",
    "on the module of a TestCase": f"import unittest\npytestmark = {BROKEN}\nclass It(unittest.TestCase):\n    def test(self): ...\n",
    "on a base class": f"@{BROKEN}\nclass Base: ...\nclass TestIt(Base):\n    def test(self): ...\n",
    "by a fixture": f"@pytest.fixture(autouse=True)\ndef marked(request): request.node.add_marker({BROKEN})\ndef test(): ...\n",
    "by the test itself": f"def test(request): request.node.add_marker({BROKEN})\n",
    "when it is torn down": f"@pytest.fixture\ndef late(request):\n    yield\n    request.node.add_marker({BROKEN})\ndef test(late): ...\n",
    "on a static method": f"class TestIt:\n    @{BROKEN}\n    @staticmethod\n    def test(): ...\n",
    "on a class method": f"class TestIt:\n    @{BROKEN}\n    @classmethod\n    def test(cls): ...\n",
    "with a parameter of a fixture": f"@pytest.fixture(params=[pytest.param(1, marks={BROKEN})])\ndef n(request): ...\ndef test(n): ...\n",
    "with a parameter of a class": f"@pytest.mark.parametrize('n', [pytest.param(1, marks={BROKEN})])\nclass TestIt:\n    def test(self, n): ...\n",
    "beside a failure that is expected of another kind": f"@{BROKEN}\n@pytest.mark.xfail(raises=ZeroDivisionError)\ndef test(): ...\n",
    "on a coroutine": f"@{BROKEN}\nasync def test(): ...\n",
}


@pytest.mark.long
def test_every_marker_is_judged(suite: pytest.Pytester) -> None:
    """Wherever it stands and however it came: a violated model fails one test, with its run; a file for each way."""
    names = {how: f"test_{how.replace(' ', '_').replace(',', '')}" for how in EVERYWHERE}
    suite.makepyfile(**{names[how]: HEAD + tests for how, tests in EVERYWHERE.items()})
    found = run(suite, "")
    failed = [line for line in found.outlines if line.startswith(("FAILED ", "ERROR "))]
    assert sorted(line.split()[1].partition(".py::")[0] for line in failed) == sorted(names.values())
    assert found.outlines.count("tiny@broken: paired (differ) is violated after 2 steps") == len(EVERYWHERE)


@pytest.mark.long
def test_a_marker_that_a_hook_adds_is_judged(suite: pytest.Pytester) -> None:
    suite.makeconftest(
        "import pytest\nfrom tiny import paired, tiny\n"
        f"def pytest_collection_modifyitems(items):\n    for item in items: item.add_marker({BROKEN})\n"
    )
    found = run(suite, "def test_one(): ...\n@pytest.mark.tlbcheck(tiny, [paired])\ndef test_two(): ...\n")
    found.assert_outcomes(failed=2)


def test_a_wrong_marker_that_came_late_fails_in_one_line(suite: pytest.Pytester) -> None:
    found = run(suite, "@pytest.mark.parametrize('n', [pytest.param(1, marks=pytest.mark.tlbcheck('no/such'))])\ndef test(n): ...\n")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["InputError: unknown model 'no/such'*"])
    found.stdout.no_fnmatch_line("*Traceback*")


NOWHERE = {
    "a function of another name": f"@{BROKEN}\ndef check(): ...\n",
    "a class of another name": f"@{BROKEN}\nclass Checks:\n    def test(self): ...\n",
    "a class without tests": f"@{BROKEN}\nclass TestNothing:\n    def check(self): ...\n",
    "a TestCase without tests": f"import unittest\n@{BROKEN}\nclass It(unittest.TestCase):\n    def check(self): ...\n",
    "a method of another name": f"class TestIt:\n    @{BROKEN}\n    def check(self): ...\n    def test(self): ...\n",
    "a module without tests": f"pytestmark = {BROKEN}\n",
    "a module of a class without tests": f"pytestmark = {BROKEN}\nclass TestNothing:\n    def check(self): ...\n",
    "a static method of another name": f"class TestIt:\n    @{BROKEN}\n    @staticmethod\n    def check(): ...\n    def test(self): ...\n",
    "a lambda": f"test_it = {BROKEN}(lambda: None)\n",
    "an object that can be called": f"class It:\n    def __call__(self): ...\ntest_it = {BROKEN}(It())\n",
    "a method of a class of another name": f"class Checks:\n    @{BROKEN}\n    def test(self): ...\n",
    "a class in a class of another name": f"class Checks:\n    @{BROKEN}\n    class TestIt:\n        def test(self): ...\n",
    "a method of a class that is made with arguments": f"class TestIt:\n    def __init__(self): ...\n    @{BROKEN}\n    def test(self): ...\n",
}


def test_a_marker_that_judges_nothing_is_an_error(suite: pytest.Pytester) -> None:
    names = {where: f"test_{where.replace(' ', '_')}" for where in NOWHERE}
    suite.makepyfile(**{names[where]: HEAD + tests for where, tests in NOWHERE.items()})
    found = run(suite, "", "-W", "ignore::pytest.PytestCollectionWarning")
    assert found.ret != pytest.ExitCode.OK
    found.assert_outcomes(errors=len(NOWHERE))
    told = [line for line in found.outlines if "marked with tlbcheck, and " in line and "nothing would be judged" in line]
    assert len(told) >= len(NOWHERE)


@pytest.mark.parametrize("name", ["__init__.py", "conftest.py"])
def test_a_marker_of_a_file_whose_markers_no_test_has_is_an_error(suite: pytest.Pytester, name: str) -> None:
    folder = suite.mkdir("below")
    (folder / name).write_text(f"{HEAD}pytestmark = {BROKEN}\n")
    (folder / "test_below.py").write_text("def test(): ...\n")
    found = run(suite, "")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines([f"*{name}*marked with tlbcheck*nothing would be judged*"])


def test_fixtures_need_the_marker(suite: pytest.Pytester) -> None:
    found = run(suite, "def test(tlbcheck_result): ...\n")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*the fixtures of tlbcheck are for tests marked with*"])


def test_one_exploration_serves_all_tests_of_a_model(suite: pytest.Pytester) -> None:
    found = run(
        suite,
        """
import tlbcheck.session

@pytest.fixture(scope='module')
def count():
    calls, original = [], tlbcheck.session.judged
    tlbcheck.session.judged = lambda *args, **more: calls.append(args) or original(*args, **more)
    yield calls
    tlbcheck.session.judged = original

@pytest.mark.tlbcheck('tiny.py', ['no-fault'])
def test_one(count): ...

def test_two(count):
    assert_holds('tiny.py', 'no-fault')
    with pytest.raises(AssertionError, match='switch-lands is not-applicable'):
        assert_holds('tiny.py', 'switch-lands')
    assert len(count) == 1
""",
    )
    found.assert_outcomes(passed=2)


@pytest.mark.long
def test_a_property_that_a_model_cannot_answer_does_not_spoil_the_others(suite: pytest.Pytester) -> None:
    """missing-flush needs to know what entries mean, once a model has a switch and a cache."""
    plain = """
from tlbcheck import Model, procedure
from tlbcheck.lang.expr import TRUE
from tlbcheck.machine import x86

@procedure(role="switch")
def reload(cr3: int) -> None:
    x86.MOV_TO_CR3(x86.MOV_FROM_CR3())

@procedure
def run() -> None:
    while True:
        reload(0)

@procedure
def start() -> None:
    x86.CR0.set(x86.X86_CR0_PG)

plain = Model(name="plain", title="no meanings", init=start, task=run, settings=x86.SETTINGS,
    cache=x86.tlb(tags=(0,), fields=(), walk=TRUE, leaf_global=TRUE, describe=str))
""".replace("cr3: int", "cr3: u64").replace("import Model, procedure", "import Model, procedure, u64")
    suite.makepyfile(plain=plain)
    found = run(suite, "def test_one(): assert_holds('plain.py', 'no-fault')\ndef test_two(): assert_holds('plain.py', 'missing-flush')\n")
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["InputError: *: plain does not say what * means*"])


def test_the_header_names_versions(suite: pytest.Pytester) -> None:
    run(suite, "def test(): ...").stdout.fnmatch_lines([f"tlbcheck: *, z3-solver: {importlib.metadata.version('z3-solver')}"])


@pytest.mark.parametrize("engines", ["", "explicit,spin"])
def test_engines_must_exist(suite: pytest.Pytester, engines: str) -> None:
    found = run(suite, "def test(): ...", f"--tlbcheck-engines={engines}")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines(["*--tlbcheck-engines: *engine*engines are explicit, bmc, pdr,*"])


@pytest.mark.long
def test_both_engines_can_be_asked(suite: pytest.Pytester) -> None:
    run(suite, "def test(): assert_violated(tiny.variant('broken'), paired, depth=2)", "--tlbcheck-engines=explicit,bmc").assert_outcomes(passed=1)


def test_loading_the_plugin_imports_no_engine() -> None:
    code = "import sys, tlbcheck.pytest_plugin; print([m for m in ('z3', 'networkx', 'numba', 'tlbcheck.engines') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout.strip() == "[]"


@pytest.mark.long
def test_workers_of_xdist_share_the_tests(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_it=HEAD + "@pytest.mark.tlbcheck(model=[tiny, tiny.variant('broken')], properties=[paired, anywhere])\ndef test(): ...\n")
    found = suite.runpytest_subprocess(*LOAD, "-p", "no:cacheprovider", "--strict-markers", "-n", "2", "--dist", "loadgroup")
    found.assert_outcomes(passed=2, failed=2)
    found.stdout.fnmatch_lines(["tiny@broken: paired (differ) is violated after 2 steps"])
