"""A name that nothing declares is refused, with its place and the nearest one; so is a word that means nothing.

Each slip is made in the README's own example, and read the way the command line reads it; what would be proved
without the check is the point of each.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tlbcheck import InputError, Property, enter, operation, shared
from tlbcheck.cli import cli
from tlbcheck.lang import where
from tlbcheck.lang.expr import TRUE
from tlbcheck.lang.spelling import nearest, slipped
from tlbcheck.library import find_models, find_properties
from tlbcheck.system.lower import lower

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
MODEL, PROPERTY = "models/remap.py", "properties/fresh_use.py"
USE = 'PROPERTY.on(operation("use")'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the example, as the working directory."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    where._constants.cache_clear()


def edit(project: Path, file: str, *edits: tuple[str, str]) -> None:
    """Make the edits, each of which has to find what it replaces, and load the file anew."""
    path = project / file
    text = path.read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)
    for name in [n for n, m in sys.modules.items() if (getattr(m, "__file__", None) or "").startswith(str(project))]:
        del sys.modules[name]
    where._constants.cache_clear()


def refusal(name: str = "mine/remap@forgotten") -> str:
    """The line for a model that cannot be used; made without a search."""
    with pytest.raises(InputError) as caught:
        (model,) = find_models(name)
        lower(model, find_properties(None, model))
    line = str(caught.value).replace(f"{Path.cwd()}/", "")
    assert "\n" not in line
    return line


def at(project: Path, file: str, text: str) -> str:
    """The place of the first occurrence of ``text``, as messages have it."""
    for number, line in enumerate((project / file).read_text().splitlines(), 1):
        if text in line:
            return f"{file}:{number}:{line.index(text) + 1}: "
    raise AssertionError(text)


# The edit, the text at whose place it is told, the words, and the nearest name or what to do.
SLIPS: dict[str, tuple[str, tuple[tuple[str, str], ...], str, str, str]] = {
    "a rule on an operation that nobody has": (
        PROPERTY,
        ((USE, 'PROPERTY.on(operation("usse")'),),
        '"usse"',
        "no operation or marker is called so",
        "'use'",
    ),
    "within a role that nobody has": (
        PROPERTY,
        ((USE, 'PROPERTY.on(operation("use", within="remapp")'),),
        '"remapp"',
        "no role of a procedure",
        "'remap'",
    ),
    "an event of no kind": (
        PROPERTY,
        ((USE, 'PROPERTY.on(Event("operatoin", "use")'), ("import CACHED", "import CACHED, Event")),
        '"operatoin"',
        "no kind of event",
        "'operation'",
    ),
    "a walk over a variable that nobody has": (
        MODEL,
        (
            ("walk=eq(_FRAME, pte.expr),", 'walk=eq(_FRAME, pte.expr) & var("paging_onn", BOOL),'),
            ("import enum_type", "import BOOL, enum_type"),
        ),
        '"paging_onn"',
        "has no variable 'paging_onn', in the walk of TLB",
        "some procedure has to read or write it",
    ),
    "an initial content over one": (
        MODEL,
        (("initial=eq(_FRAME, pte.expr)", 'initial=eq(_FRAME, var("ptte", enum_type(Frame)))'),),
        '"ptte"',
        "has no variable 'ptte', in the initial content of TLB",
        "'pte'",
    ),
    "a meaning over one": (
        MODEL,
        (('"may": eq(_FRAME, pte.expr)', '"may": eq(_FRAME, var("pt", enum_type(Frame)))'),),
        '"pt"',
        "has no variable 'pt', in the meaning 'may'",
        "'pte'",
    ),
    "a field that the cache does not have": (
        MODEL,
        (('var("entry.frame"', 'var("entry.framee"'),),
        '"entry.framee"',
        "cache has no field 'framee'",
        "'entry.frame'",
    ),
    "a state variable assigned to": (
        MODEL,
        (("pte.set(to)", "pte = to"),),
        "pte = to",
        "'pte' is a variable of the model",
        "write pte.set(to)",
    ),
    "a ghost that was never declared": (
        PROPERTY,
        (('not_(var("meaning.may", BOOL))', 'var("ghost.fresh-use.nope", BOOL)'),),
        '"ghost.fresh-use.nope"',
        "is no variable of the property",
        "there are: none",
    ),
    "a meaning that the model does not say": (
        PROPERTY,
        (('"meaning.usable"', '"meaning.usablle"'),),
        '"meaning.usablle"',
        "no meaning is called so",
        "'usable'",
    ),
    "an operand that the operation does not have": (
        PROPERTY,
        (("CACHED, var", 'CACHED, eq(var("arg.page", None), 0), var'), ("import and_", "import and_, eq")),
        '"arg.page"',
        "is no operand in clause old of fresh-use",
        "there are: none",
    ),
    "a needed role that nobody has": (
        PROPERTY,
        (('needs=("remap",)', 'needs=("remmap",)'),),
        '"remmap"',
        "no role of a procedure",
        "'remap'",
    ),
    "a trigger that nobody has": (
        PROPERTY,
        (('trigger=operation("use")', 'trigger=operation("us")'),),
        '"us"',
        "no operation or marker",
        "'use'",
    ),
    "a clause that is not explained": (
        PROPERTY,
        (('bad={"old"', 'bad={"olld"'),),
        "PROPERTY.on(",
        "has no clause 'olld'",
        "'old'",
    ),
    "a clause that is explained and never judged": (
        PROPERTY,
        (('clauses={"old": ', 'clauses={"olds": "?", "old": '),),
        '"olds"',
        "explains a clause 'olds' that it never judges",
        "'old'",
    ),
    "a property that judges nothing": (
        PROPERTY,
        ((", bad={", ", updates={})  # {"),),
        "Property(",
        "judges nothing",
        "on(..., bad=...)",
    ),
    "an event that is a name": (
        PROPERTY,
        ((USE, 'PROPERTY.on("use"'),),
        "PROPERTY.on(",
        "'event' of a rule holds 'use', which is no Event",
        "operation(name)",
    ),
    "a trigger that is a name": (
        PROPERTY,
        (('trigger=operation("use")', 'trigger="use"'),),
        "Property(",
        "'trigger' of property fresh-use holds 'use', which is no Event",
        "operation(name)",
    ),
    "what is bad is no condition": (
        PROPERTY,
        ((USE, USE + ', bad={"old": var("cr0", U64)})  #'), ("import BOOL", "import BOOL, U64")),
        "PROPERTY.on(",
        "clause old of fresh-use is a u64, not a bool",
        "compare it",
    ),
    "parameters that the procedure does not have": (
        PROPERTY,
        ((USE, 'PROPERTY.on(enter("remap", "to", "from")'), ("import CACHED", "import CACHED, enter")),
        "PROPERTY.on(",
        "remap() of role 'remap' has 1 parameter(s), the rule names 2",
        "they are (to)",
    ),
    "parameters of what has none": (
        PROPERTY,
        ((USE, 'PROPERTY.on(Event("leave", "remap", "", ("to",))'), ("import CACHED", "import CACHED, Event")),
        "PROPERTY.on(",
        "names parameters: to",
        "arg.NAME",
    ),
    "a role of the model misspelt": (MODEL, (('role="remap"', 'role="remp"'),), "", "no role of a procedure", "'remp'"),
    "a marker of the model misspelt": (
        MODEL,
        (('marker("use"', 'marker("uses"'),),
        "",
        "no operation or marker",
        "'uses'",
    ),
    "an expectation of no property": (
        MODEL,
        (('expected={"fresh-use": "violated"}', 'expected={"fresh-usee": "violated"}'),),
        '"fresh-usee"',
        "unknown property 'fresh-usee' in ",
        "'fresh-use'",
    ),
    "an expected word that is no verdict": (
        MODEL,
        (('{"fresh-use": "violated"}', '{"fresh-use": "violatd"}'),),
        '"violatd"',
        "is no verdict",
        "'violated'",
    ),
    "about no property": (
        MODEL,
        (('about=("fresh-use"', 'about=("frsh-use"'),),
        '"frsh-use"',
        "unknown property 'frsh-use' in what it is about",
        "'fresh-use'",
    ),
    "vacuous of no property": (
        MODEL,
        (('    about=("', '    vacuous=("no-fautl",),\n    about=("'),),
        '"no-fautl"',
        "unknown property 'no-fautl' in vacuous",
        "'no-fault'",
    ),
    "vacuous of no clause": (
        MODEL,
        (('    about=("', '    vacuous=("no-fault/#PG",),\n    about=("'),),
        '"no-fault/#PG"',
        "has no clause '#PG'",
        "'#GP'",
    ),
    "a flag by its name": (
        MODEL,
        (("{FLUSH_FORGOTTEN: True}", '{"FLUSH_FORGOTTEN": True}'),),
        "",
        "'flags' of a variant holds 'FLUSH_FORGOTTEN', which is no Flag",
        "give the Flag itself",
    ),
    "a flag that is no truth value": (
        MODEL,
        (("{FLUSH_FORGOTTEN: True}", '{FLUSH_FORGOTTEN: "True"}'),),
        "",
        "'flags' of a variant holds 'True', which is no bool",
        "True or False",
    ),
    "a keyword of Model misspelt": (
        MODEL,
        (("title=", "titel="),),
        "Model(",
        "unexpected keyword argument 'titel'",
        "'title'",
    ),
    "a keyword of Property misspelt": (
        PROPERTY,
        (("needs=", "neads="),),
        "Property(",
        "unexpected keyword argument 'neads'",
        "'needs'",
    ),
    "a keyword of Variant misspelt": (
        MODEL,
        (('expected={"fresh-use": "violated"}', "expect={}"),),
        "Variant(",
        "unexpected keyword argument 'expect'",
        "'expected'",
    ),
    "a processor that there is not": (
        MODEL,
        (("    about=", '    profile="intell",\n    about='),),
        '"intell"',
        "unknown processor 'intell'",
        "'intel'",
    ),
    "a setting that no machine has": (
        MODEL,
        (("    about=", '    settings={"setting.invpcdi": FALSE},\n    about='),),
        '"setting.invpcdi"',
        "nothing asks for",
        "'setting.invpcid'",
    ),
    "a string for a member of an enum": (
        MODEL,
        (("walk=eq(_FRAME, pte.expr)", 'walk=eq(_FRAME, "old")'),),
        'eq(_FRAME, "old")',
        "'old' is no value of the language",
        "",
    ),
    "words for entries that name no field": (
        MODEL,
        (("entry['entry.frame']", "entry['entry.fram']"),),
        "",
        "the words for entries of TLB: KeyError: 'entry.fram'",
        "",
    ),
    "a local that nobody reads": (
        MODEL,
        (("    pte.set(to)", "    too = to\n    pte.set(to)"),),
        "too = to",
        "'too' is assigned in remap and never read",
        "'to'",
    ),
    "a loop over what nobody reads": (
        MODEL,
        (
            (
                "    pte.set(to)",
                "    for cpu in cpus():\n        cpu0.at(cpu).set(True)\n    for cpuu in cpus():\n        cpu0.at(cpu).set(False)",
            ),
            ("use = marker", "cpu0 = per_cpu('seen', bool)\nuse = marker"),
            ("import Flag", "import cpus, per_cpu, Flag"),
        ),
        "for cpuu",
        "'cpuu' is assigned in remap and never read",
        "'cpu'",
    ),
    "a name that Python does not know": (
        MODEL,
        (("task=run_cpu", "task=run_cup"),),
        "run_cup",
        "NameError",
        "'run_cpu'",
    ),
    "a name that the procedure does not know": (
        MODEL,
        (("        use()", "        ues()"),),
        "ues()",
        "'ues' is not defined",
        "'use'",
    ),
    "a variable called as rules call entries": (
        MODEL,
        (('shared("pte"', 'shared("entry"'),),
        'shared("entry"',
        "cannot be called 'entry'",
        "entry_",
    ),
    "a variable with a dot in its name": (
        MODEL,
        (('shared("pte"', 'shared("cpu0.pte"'),),
        'shared("cpu0.pte"',
        "cannot be called 'cpu0.pte'",
        "letters",
    ),
    "a variant's flag that nothing reads": (
        MODEL,
        (
            ("pte = shared", 'OTHER = Flag("FLUSH_FORGOTEN", False)\npte = shared'),
            ("flags={FLUSH_FORGOTTEN: False}", "flags={FLUSH_FORGOTTEN: False, OTHER: False}"),
            ('"without the flush", {FLUSH_FORGOTTEN: True}', '"without the flush", {OTHER: True}'),
        ),
        '"FLUSH_FORGOTEN"',
        "variant 'forgotten' of mine/remap sets FLUSH_FORGOTEN, which nothing in it reads",
        "'FLUSH_FORGOTTEN'",
    ),
    "a meaning that nothing asks for": (
        MODEL,
        (('"may": eq', '"mya": eq'),),
        '"mya"',
        "says what 'mya' means, and nothing asks for it",
        "'may'",
    ),
    "a variable named with another type": (
        PROPERTY,
        (('CACHED, var("meaning.usable", BOOL)', 'CACHED, var("cr0", BOOL), var("meaning.usable", BOOL)'),),
        '"cr0"',
        "'cr0' is a u64, not a bool",
        "own type",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_refused_at_load(slip: str, project: Path) -> None:
    """One line: the place where it is said, what is wrong, and the nearest name or what to do."""
    file, edits, where_, words, mend = SLIPS[slip]
    edit(project, file, *edits)
    line = refusal()
    assert re.match(r"[\w/]+\.py:\d+:", line), line
    if where_:
        assert line.startswith(at(project, file, where_)), line
    assert words in line and mend in line, line


@pytest.mark.parametrize(
    "name", ["arg", "case", "cpu", "cpu1", "entry", "entry2", "ghost", "meaning", "setting", "used"]
)
def test_names_that_rules_use_are_refused_where_they_are_declared(name: str) -> None:
    with pytest.raises(InputError, match=f"cannot be called '{name}': the name is reserved"):
        shared(name, bool)


def test_the_command_line_says_it_in_one_line_with_status_2(project: Path) -> None:
    edit(project, PROPERTY, (USE, 'PROPERTY.on(operation("usse")'))
    done = CliRunner().invoke(cli, ["verify", "mine/remap@forgotten"])
    assert done.exit_code == 2
    told = "property fresh-use speaks of 'usse', and no operation or marker is called so; did you mean 'use'?"
    assert done.output == "tlbcheck: " + at(project, PROPERTY, '"usse"') + told + "\n"


def test_a_property_without_a_trigger_is_judged_like_any_other(project: Path) -> None:
    edit(project, PROPERTY, ('    trigger=operation("use"),\n', ""))
    done = CliRunner().invoke(cli, ["verify", "mine/remap@forgotten", "-p", "fresh-use"])
    assert done.exit_code == 1
    assert "fresh-use (old) is violated after 2 steps" in done.output


def test_what_another_model_has_is_not_applicable_and_no_misspelling(project: Path) -> None:
    """A property of the library asks for roles, operations and variables that this model lacks, and others have."""
    (model,) = find_models("mine/remap")
    everything = find_properties([*(q.name for q in find_properties(None))], model)
    system = lower(model, everything)
    assert {"missing-flush", "toggle", "linear-access", "root-copy"} <= set(system.not_applicable)


def test_an_operation_of_another_model_is_known(project: Path) -> None:
    edit(project, PROPERTY, (USE, 'PROPERTY.on(operation("linear map accessed")'))
    (model,) = find_models("mine/remap")
    system = lower(model, find_properties(["fresh-use"], model))
    assert system.unjudged["fresh-use"] == {"old": "performs 'linear map accessed'"}


def test_a_letter_too_many_too_few_wrong_or_swapped_is_a_slip() -> None:
    assert all(slipped(x, "remap") for x in ("remmap", "remap_", "rmap", "rempa", "renap", "emap"))
    assert not any(slipped(x, "remap") for x in ("remap", "map", "reamps", "unmap", "x"))
    assert nearest("Walk", ["walk", "talk"]) == "walk"


def test_a_rule_says_where_it_is_made() -> None:
    """Properties made in Python are told by their own file and line."""
    q = Property("p", "p", source="p", clauses={"c": "c"})
    q.on(enter("r"), bad={"c": TRUE})
    assert q.place is not None and Path(q.place.file) == Path(__file__)
    rule = q.rules[0].place
    assert rule is not None and (Path(rule.file), rule.line > q.place.line, rule.column) == (Path(__file__), True, 5)
    with pytest.raises(
        InputError, match=r"test_declared\.py:\d+:5: property p has no clause 'd'; did you mean|explain it"
    ):
        q.on(operation("x"), bad={"d": TRUE})
