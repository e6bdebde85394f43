"""The pytest plugin: models are checked as tests, and what fails shows its trace and nothing else.

A marker makes one test for each model and property::

    import pytest

    @pytest.mark.tlbcheck(model=["xen/gp-fix", "xen/flush-once"])
    def test_the_switch(): ...

    @pytest.mark.tlbcheck(model="xen/pcid-v5", properties=["no-fault"], expect="violated")
    def test_v5_can_crash(tlbcheck_result):
        assert tlbcheck_result.violations[0].clause == "#GP"

``model``: an object, a name, a path, or a list of these. ``properties``: objects or names; left out, all of the
library. ``expect``: ``"holds"`` (the default: proved, neither vacuous nor not applicable, and what it relies on by
contracts shown by the models that are to show it), ``"violated"``, or ``"declared"`` for what the model's
``expected`` says of each property. What is expected is asserted before the body runs, so that the body may be empty;
it can ask for the fixtures ``tlbcheck_model``, ``tlbcheck_property`` and ``tlbcheck_result``.

Every marker is judged: those of a class and a module and several on one function, one that comes with
``pytest.param`` or by a hook, and one on a ``unittest.TestCase``. A marker on what is no test is an error.

``assert_holds`` and ``assert_violated`` (from ``tlbcheck.testing``) do the same in ordinary tests. Each model is
explored once for all its properties; with pytest-xdist, ``--dist loadgroup`` keeps its tests on one worker, so that
this stays true. ``--tlbcheck-engines=explicit,bmc`` holds the engines against each other (slower; the default is
``explicit``, which is complete). ``--tlbcheck-html DIR`` writes the page of each failing assertion there. Loading the
plugin imports no engine.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tlbcheck import __version__
from tlbcheck.errors import InputError, TlbcheckError
from tlbcheck.lang.model import Model, Property
from tlbcheck.testing import (
    DEFAULT_ENGINES,
    SESSION,
    ModelFailure,
    assert_holds,
    assert_violated,
    examine,
    examine_model,
    find_model,
    find_property,
    why_not_held,
    why_not_violated,
)

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet

    from tlbcheck.result import PropertyResult

EXPECTATIONS = ("holds", "violated", "declared")
_NAME = "tlbcheck"
_JUDGED = pytest.StashKey[Sequence[pytest.Mark]]()
"""Of a test that has run, the markers that were judged."""
_MARKER = "tlbcheck(model, properties=None, expect='holds'): check each property (default: all) of each model; see tlbcheck.pytest_plugin"


@dataclass(frozen=True, eq=False)
class Case:
    """One test of a marked function; ``marks`` are all the markers that its tests are made of."""

    model: Model
    property: Property
    expect: str
    marks: tuple[pytest.Mark, ...] = ()


# -- the session


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tlbcheck")
    group.addoption(
        "--tlbcheck-engines",
        metavar="NAMES",
        default=",".join(DEFAULT_ENGINES),
        help="engines that check models, with commas: explicit, bmc (default: %(default)s)",
    )
    group.addoption(
        "--tlbcheck-html",
        metavar="DIR",
        type=Path,
        help="folder for the HTML page of each failing assertion about a model",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    names = [n.strip() for n in config.getoption("--tlbcheck-engines").split(",")]
    try:
        SESSION.start([n for n in names if n], drawn=config.getoption("--tlbcheck-html") is not None)
    except InputError as error:
        raise pytest.UsageError(f"--tlbcheck-engines: {error}") from None


def pytest_unconfigure() -> None:
    SESSION.start()


def pytest_report_header() -> str:
    try:
        z3 = importlib.metadata.version("z3-solver")
    except importlib.metadata.PackageNotFoundError:
        z3 = "not installed"
    return f"tlbcheck: {__version__}, z3-solver: {z3}"


# -- marked functions


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> Generator[None, object, object]:
    """Marked functions use the fixture that carries their case, whether they name it or not; what is marked and no
    test is an error.
    """
    own = _is_marked(obj)
    if inspect.isroutine(obj) and collector.funcnamefilter(name) and (own or collector.get_closest_marker(_NAME)):
        pytest.mark.usefixtures("tlbcheck_case")(obj)
    collected = yield
    if collected is None and _judges_nothing(collector, name, obj):
        raise pytest.Collector.CollectError(
            f"{name}: marked with {_NAME}, and no test: nothing would be judged; give it a name that pytest collects"
        )
    return collected


def _judges_nothing(collector: pytest.Module | pytest.Class, name: str, obj: object) -> bool:
    """Whether an object that is no test has a marker, or a class that is none a member with one."""
    if isinstance(obj, pytest.MarkDecorator):
        # What a marker cannot mark, such as a lambda, it takes for an argument.
        return obj.name == _NAME and collector.funcnamefilter(name)
    if getattr(obj, "__module__", None) != collector.module.__name__:
        return False
    if inspect.isclass(obj) and obj.__subclasses__():
        return False  # its tests are those of the classes below it
    return _is_marked(obj) or _has_marked(obj)


def _is_marked(obj: object) -> bool:
    """Whether a function, method or class has the marker itself."""
    marks = getattr(getattr(obj, "__func__", obj), "pytestmark", [])
    return any(getattr(m, "name", "") == _NAME for m in (marks if isinstance(marks, list | tuple) else [marks]))


def _has_marked(obj: object) -> bool:
    """Whether a class has members with the marker, inherited ones and those of inner classes among them."""
    members = (x for c in obj.__mro__ for x in vars(c).values()) if inspect.isclass(obj) else ()
    return any(_is_marked(x) or (inspect.isclass(x) and x is not obj and _has_marked(x)) for x in members)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A marked class or module without any test is an error: nothing would be judged. So is a class whose tests pytest
    leaves out, and a package whose marker it gives to none of them.
    """
    report = yield
    if not report.passed or not isinstance(collector, pytest.Module | pytest.Class):
        return report
    why = ""
    if not report.result and (collector.get_closest_marker(_NAME) or _has_marked(collector.obj)):
        why = f"{collector.nodeid}: marked with {_NAME}, and without a test"
    elif isinstance(collector, pytest.Module) and _is_marked(package := sys.modules.get(collector.obj.__package__)):
        why = f"{collector.nodeid}: {package.__file__ if package else ''} is marked with {_NAME}, and no test has the markers of a package"
    if why:
        report.outcome, report.longrepr = "failed", f"{why}: nothing would be judged"
    return report


def pytest_plugin_registered(plugin: object) -> None:
    """A marker of a ``conftest.py`` is an error: no test has it."""
    if inspect.ismodule(plugin) and _is_marked(plugin):
        raise pytest.UsageError(
            f"{plugin.__file__}: marked with {_NAME}, and no test has the markers of such a file: nothing would be judged; mark modules, classes or functions"
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each case of each marker that a function, its class and its module have."""
    marks = tuple(metafunc.definition.iter_markers(_NAME))
    if not marks:
        return
    try:
        cases = [case for m in marks for case in _cases_of(m)]
    except InputError as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.name}: {error}") from None
    together = metafunc.config.pluginmanager.hasplugin("xdist")

    def parameter(c: Case) -> ParameterSet:
        group = [pytest.mark.xdist_group(f"tlbcheck {c.model.name}")] if together else []
        return pytest.param(replace(c, marks=marks), id=f"{c.model.name}-{c.property.name}", marks=group)

    metafunc.parametrize("tlbcheck_case", list(map(parameter, cases)), indirect=True)


def _cases_of(mark: pytest.Mark) -> list[Case]:
    """What a marker means. Raises ``InputError`` for what is unknown."""
    try:
        return _cases(*mark.args, **mark.kwargs)
    except TypeError as error:
        raise InputError(str(error).replace("_cases()", f"the marker {_NAME}")) from None


def _cases(
    model: Model | str | Sequence[Model | str],
    properties: Sequence[Property | str] | Property | str | None = None,
    expect: str = "holds",
) -> list[Case]:
    """What a marker means. Raises ``InputError`` for what is unknown."""
    if expect not in EXPECTATIONS:
        raise InputError(f"unknown expectation '{expect}'", hint=f"expect is one of {', '.join(EXPECTATIONS)}")
    models = [model] if isinstance(model, Model | str) else list(model)
    from tlbcheck.library import find_properties

    given = [properties] if isinstance(properties, Property | str) else properties
    cases = [
        Case(m, q, expect)
        for m in map(find_model, models)
        for q in (find_properties(None, m) if given is None else map(find_property, given))
    ]
    if not cases:
        raise InputError("nothing to check", hint="give at least one model and one property")
    return cases


@pytest.fixture
def tlbcheck_case(request: pytest.FixtureRequest) -> Case:
    """The model, property and expectation of this test of a marked function."""
    case = getattr(request, "param", None)
    if not isinstance(case, Case):
        raise pytest.UsageError("the fixtures of tlbcheck are for tests marked with @pytest.mark.tlbcheck(model=...)")
    return case


@pytest.fixture
def tlbcheck_model(tlbcheck_case: Case) -> Model:
    """The model of this test."""
    return tlbcheck_case.model


@pytest.fixture
def tlbcheck_property(tlbcheck_case: Case) -> Property:
    """The property of this test."""
    return tlbcheck_case.property


@pytest.fixture
def tlbcheck_result(tlbcheck_case: Case) -> PropertyResult:
    """The verdict on the property of this test, with its violations."""
    return examine(tlbcheck_case.model, tlbcheck_case.property)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A marked test runs once what it expects of its models is true.

    A marker that made no tests of its own, since it came with a parameter, by a hook or on a ``unittest.TestCase``, is
    judged in the test that has it; one that comes while the test runs or is torn down, after that.
    """
    try:
        judged = _judge_all(item, ())
        outcome = yield
        item.stash[_JUDGED] = _judge_all(item, judged)
    finally:
        if SESSION.beside:
            item.add_report_section("call", _NAME, "\n".join(dict.fromkeys(SESSION.beside)))
        SESSION.beside.clear()
    return outcome


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """A marker that comes when a test is torn down is judged too."""
    yield
    if _JUDGED in item.stash:
        _judge_all(item, item.stash[_JUDGED])


def _judge_all(item: pytest.Item, before: Sequence[pytest.Mark]) -> tuple[pytest.Mark, ...]:
    """Judge what the markers of ``item`` expect, but for those judged ``before``; gives all that are judged now."""
    made = (
        item.callspec.params.get("tlbcheck_case")
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else None
    )
    case = made if isinstance(made, Case) else None
    if case is not None and not before:
        _judge(case)
    known = (*before, *(case.marks if case is not None else ()))
    others = [m for m in item.iter_markers(_NAME) if not any(m is k for k in known)]
    for other in (c for m in others for c in _cases_of(m)):
        _judge(other)
    return (*known, *others)


def _judge(case: Case) -> None:
    """Raises ``ModelFailure`` unless the model is as expected."""
    found = examine_model(case.model, case.property)
    result = found[case.property.name]
    match case.expect:
        case "holds":
            wrong = why_not_held(result)
        case "violated":
            wrong = why_not_violated(result, case.property)
        case _:
            wrong = _not_as_declared(result)
    if wrong:
        raise ModelFailure(wrong, found, result.name)


def _not_as_declared(result: PropertyResult) -> str:
    """Why a verdict is not what the model declares; empty if it is."""
    declared = result.expectation.verdict
    name = f"{result.model}: {result.name}"
    if declared is None:
        return f"{name} is {result.verdict}, and the model declares nothing of it"
    if declared == "proved":
        return why_not_held(result)
    return "" if declared is result.verdict else f"{name} is {result.verdict}, but declared {declared}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What stands beside the verdicts of this session, each sentence once, whether tests passed or failed."""
    section = f"Captured {_NAME} call"
    reports = [r for some in terminalreporter.stats.values() for r in some if isinstance(r, pytest.TestReport)]
    notes = sorted({line for r in reports for name, text in r.sections if name == section for line in text.splitlines()})
    if notes:
        terminalreporter.section("tlbcheck: beside the verdicts")
        for note in notes:
            terminalreporter.line(note)


# -- what a failure shows


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A trace speaks for itself: no Python traceback around it, only where it was asserted."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, ModelFailure | TlbcheckError):
        error = call.excinfo.value
        kind = "" if isinstance(error, ModelFailure) else f"{type(error).__name__}: "
        page = _page(item, error) if isinstance(error, ModelFailure) else ""
        report.longrepr = f"{kind}{error}\n\n{page}{_asserted_at(item, call.excinfo)}"
    return report


def _page(item: pytest.Item, failure: ModelFailure) -> str:
    """Write the page of a failure if that was asked for; gives a line that says where it is."""
    folder: Path | None = item.config.getoption("--tlbcheck-html")
    if folder is None:
        return ""
    from tlbcheck.report.outputs import write
    from tlbcheck.report.schema import run_json
    from tlbcheck.result import RunResult

    found = failure.found
    failed = replace(found, results=(found[failure.property_name],))
    mark = hashlib.sha256(item.nodeid.encode()).hexdigest()[:8]
    path = folder / f"{re.sub(r'[^A-Za-z0-9_.]+', '-', item.nodeid)[:100]}-{mark}.html"
    folder.mkdir(parents=True, exist_ok=True)
    write(run_json(RunResult((failed,))), [path])
    return f"page: {path}\n"


def _asserted_at(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """The line of the test in which the failure arose; the test itself where it is a marked function."""
    lines = [e for e in excinfo.traceback if e.path == item.path]
    if lines:
        return f"{item.location[0]}:{lines[-1].lineno + 1}: {item.name}"
    path, line, _ = item.location
    return f"{path}:{(line or 0) + 1}: {item.name}"


__all__ = ["Case", "assert_holds", "assert_violated"]
