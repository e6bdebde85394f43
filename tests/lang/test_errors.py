"""Bad input: every mistake gives one line with file, line and column, what is wrong and what to do.

Each bad model is a file, read the way the command line reads it.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tlbcheck import InputError
from tlbcheck.check import explore
from tlbcheck.library import find_models, find_properties, models_in, properties_in
from tlbcheck.options import Limits

_HEAD = """\
from __future__ import annotations
import enum
from tlbcheck import Event, Model, Property, Range, Table, atomic, choose, marker, procedure, require, shared, u64
from tlbcheck.machine.x86 import CR3, INVLPG, MOV_FROM_CR3, MOV_TO_CR3


class A(enum.Enum):
    x = enum.auto()
    y = enum.auto()


class B(enum.Enum):
    x = enum.auto()
    y = enum.auto()


n = shared("n", Range(0, 3))
a = shared("a", A)
flags = shared("flags", bool, index=A)
STEP = marker("step", "a step")


@procedure
def init() -> None:
    n.set(0)


"""
_TAIL = """

MODEL = Model(name="bad", title="bad", init=init, task=task)
"""


def refused(file: Path) -> str:
    """The message for a file whose model is loaded and explored; without its folder."""
    with pytest.raises(InputError) as caught:
        for model in find_models(str(file)):
            explore(model, ["no-fault"], engines=("explicit",), limits=Limits(states=1000))
    return str(caught.value).replace(f"{file.parent}/", "")


def task(tmp_path: Path, body: str, *, before: str = "") -> tuple[str, int]:
    """The message for a model whose task has ``body``, and the line on which ``body`` begins."""
    text = f"{_HEAD}{before}@procedure\ndef task() -> None:\n"
    file = tmp_path / "bad.py"
    file.write_text(text + textwrap.indent(body, "    ") + _TAIL)
    return refused(file), text.count("\n") + 1


def one_line(message: str, line: int, column: int, what: str) -> None:
    """``bad.py:LINE:COLUMN: what; hint`` and nothing else."""
    found = re.fullmatch(r"bad\.py:(\d+):(\d+): ([^\n]+?); ([^\n]+)", message)
    assert found is not None, message
    assert (int(found[1]), int(found[2])) == (line, column), message
    assert re.search(what, found[3]), message
    assert found[4].strip()


# What is written in a task: the line (from 1) and column that are named, and the complaint.
BAD: dict[str, tuple[str, int, int, str]] = {
    "for loop": ("for i in (1, 2):\n    STEP()", 1, 1, "unsupported statement 'for'"),
    "break": ("while True:\n    break", 2, 5, "unsupported statement 'break'"),
    "try": ("try:\n    STEP()\nfinally:\n    STEP()", 1, 1, "unsupported statement 'try'"),
    "nested function": ("def f() -> None:\n    pass", 1, 1, "unsupported statement 'functiondef'"),
    "tuple assignment": ("x, y = 1, 2", 1, 1, "unsupported statement 'assign'"),
    "else of a loop": ("while True:\n    STEP()\nelse:\n    STEP()", 1, 1, "unsupported statement 'while'"),
    "keyword of choose": ("x = choose(domain=A)", 1, 5, "keyword arguments"),
    "keyword of set": ("n.set(value=1)", 1, 1, "keyword arguments"),
    "keyword that is none": ("MOV_TO_CR3(values=1)", 1, 1, "no parameter 'values'"),
    "list": ("x = [1, 2]", 1, 5, "unsupported expression"),
    "dictionary": ("x = {}", 1, 5, "unsupported expression"),
    "lambda": ("f = lambda: 1", 1, 5, "unsupported expression"),
    "f-string": ("x = f'{1}'", 1, 5, "unsupported expression"),
    "subscript": ("x: bool = flags[A.x]", 1, 11, "unsupported expression"),
    "starred argument": ("MOV_TO_CR3(*[1])", 1, 12, "unsupported expression"),
    "multiplication": ("x: u64 = 3\ny = x * 2", 2, 5, "unsupported operator 'Mult'"),
    "unknown function": ("nowhere()", 1, 1, "'nowhere' is not defined"),
    "Python's own function": ("print(1)", 1, 1, "call of 'print'"),
    "unknown name": ("a.set(zzz)", 1, 7, "'zzz' is not defined"),
    "unknown member": ("a.set(A.z)", 1, 7, "'A.z' is not defined"),
    "unknown method": ("n.increment()", 1, 1, "'n.increment' with 0 argument"),
    "too few arguments": ("MOV_TO_CR3()", 1, 1, "takes 1 argument.s., 0 given"),
    "too many arguments": ("MOV_TO_CR3(1, 2)", 1, 1, "takes 1 argument.s., 2 given"),
    "argument for a procedure that has none": ("init(1)", 1, 1, "takes 0 argument"),
    "value of a procedure that has none": ("x: u64 = init()", 1, 10, "gives no value"),
    "value of an operation that has none": ("x: u64 = STEP()", 1, 10, "gives no value"),
    "condition of require is missing": ("require()", 1, 1, "require"),
    "constant out of range": ("n.set(4)", 1, 1, "4 is out of range"),
    "constant wider than its word": ("x: u64 = 0x10000000000000000", 1, 10, "is out of range for a u64"),
    "constant out of range of a local": ("k: Range(0, 3) = 7\nSTEP()", 1, 1, "7 is out of range"),
    "counter out of range": ("while True:\n    n.set(n.get() + 1)", 2, 5, "leaves its range 0..3"),
    "counter below its range": ("while True:\n    n.set(n.get() - 1)", 2, 5, "leaves its range 0..3"),
    "local counter out of range": ("k: Range(0, 3) = 0\nwhile True:\n    STEP()\n    k = k + 1\n    n.set(k)", 4, 5, "leaves its range 0..3"),
    "enum takes another enum": ("a.set(B.x)", 1, 1, "a A and cannot take a B"),
    "enum takes a boolean": ("a.set(True)", 1, 1, "a A and cannot take a bool"),
    "enum takes a number": ("a.set(1)", 1, 1, "a A and cannot take"),
    "local of an enum takes another enum": ("k: A = B.x\nSTEP()", 1, 1, "a A and cannot take a B"),
    "integer takes a word": ("n.set(MOV_FROM_CR3())", 1, 1, "cannot take a u64"),
    "word takes an integer": ("MOV_TO_CR3(n.get())", 1, 1, "cannot take a int 0..3"),
    "float": ("x: u64 = 1.5", 1, 10, "not a value of the language"),
    "string": ("a.set('x')", 1, 7, "not a value of the language"),
    "two enums compared": ("if a.get() == B.x:\n    STEP()", 1, 4, "comparison of a A with a B"),
    "two enums compared for membership": ("if a.get() in (B.x,):\n    STEP()", 1, 4, "comparison of a A with a B"),
    "enum compared with a number": ("if a.get() == 1:\n    STEP()", 1, 4, "comparison of a A with"),
    "boolean compared with an enum": ("if flags.at(A.x).get() == a.get():\n    STEP()", 1, 4, "comparison of a bool with a A"),
    "integer compared with an enum": ("if n.get() < B.x:\n    STEP()", 1, 4, "comparison of a int 0..3 with a B"),
    "membership in a class": ("if a.get() in A:\n    STEP()", 1, 4, "membership"),
    "enum as a condition": ("if a.get():\n    STEP()", 1, 4, "used as a condition"),
    "two types of a conditional": ("x = n.get() if True == flags.at(A.x).get() else a.get()\nSTEP()", 1, 5, "differ in type"),
    "choice from a word": ("x = choose(u64)", 1, 5, "choose.. over a u64"),
    "choice from two domains": ("x = choose(A, B)", 1, 5, "takes one domain"),
    "choice from nothing": ("x = choose(())", 1, 5, "needs constants"),
    "array without an index": ("flags.set(True)", 1, 1, "flags is an array"),
    "index of another enum": ("flags.at(B.x).set(True)", 1, 1, "cannot take a B"),
    "index where there is no array": ("a.at(A.x).set(A.x)", 1, 1, "a is no array"),
    "register written outside init": ("CR3.set(0)", 1, 1, "register of the machine"),
    "loop without a step": ("while True:\n    pass", 1, 1, "loop without a step"),
    "counting loop without a step": ("k: u64 = 0\nSTEP()\nwhile True:\n    k = k + 1", 3, 1, "loop without a step"),
    "conditional loop without a step": ("STEP()\nk = n.get()\nwhile k == 0:\n    pass\nSTEP()", 3, 1, "loop without a step"),
    "loop that reads shared state": ("while n.get() == 0:\n    STEP()", 1, 1, "while condition that reads shared state"),
    "recursion": ("STEP()\ntask()", 2, 1, "calls itself"),
    "local without a type": ("x = 5\nSTEP()", 1, 1, "type of 'x' is not known"),
    "local of an unknown type": ("x: nothing = 1", 1, 1, "type of x cannot be read"),
    "local of a Python type": ("x: int = 1", 1, 1, "not a type of the language"),
    "value returned where none is declared": ("return 1", 1, 1, "return of a value"),
    "local that is set on one path only": ("if a.get() == A.x:\n    k: u64 = 1\nMOV_TO_CR3(k)", 3, 12, "'k' is not"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_task(name: str, tmp_path: Path) -> None:
    """A mistake in a procedure: one line with its file, line and column, the complaint and a hint."""
    body, line, column, what = BAD[name]
    message, first = task(tmp_path, body)
    one_line(message, first + line - 1, column + 4, what)


def test_task_without_a_step(tmp_path: Path) -> None:
    """A task that does nothing is refused, at the procedure."""
    message, first = task(tmp_path, "pass")
    one_line(message, first - 1, 1, "without a step")


def test_parameter_without_a_type(tmp_path: Path) -> None:
    """A parameter without a type is refused when the file is read."""
    message, first = task(tmp_path, "f(1)", before="@procedure\ndef f(x) -> None:\n    STEP()\n\n\n")
    one_line(message, first - 6, 7, "x has no type")


def test_parameter_of_an_unsupported_kind(tmp_path: Path) -> None:
    """Defaults, ``*args`` and keyword-only parameters are refused when the file is read."""
    for parameters in ("x: u64 = 1", "*args: u64", "*, x: u64", "**more: u64"):
        folder = tmp_path / parameters.replace(" ", "")
        folder.mkdir()
        message, first = task(folder, "STEP()", before=f"@procedure\ndef f({parameters}) -> None:\n    STEP()\n\n\n")
        one_line(message, first - 6, 1, "unsupported kind")


def test_result_missing_on_a_path(tmp_path: Path) -> None:
    """A procedure with a result type must return a value on every path."""
    message, first = task(tmp_path, "MOV_TO_CR3(f())", before="@procedure\ndef f() -> u64:\n    if n.get() == 0:\n        return 1\n\n\n")
    one_line(message, first - 7, 1, "can end without returning")


def test_mutual_recursion(tmp_path: Path) -> None:
    """Recursion through another procedure is refused at the call."""
    before = "@procedure\ndef f() -> None:\n    STEP()\n    g()\n\n\n@procedure\ndef g() -> None:\n    f()\n\n\n"
    message, first = task(tmp_path, "f()", before=before)
    one_line(message, first - 5, 5, "f calls itself")


def test_procedure_called_as_python(tmp_path: Path) -> None:
    """Calling a procedure or an operation from ordinary Python is refused, with the line."""
    file = tmp_path / "bad.py"
    file.write_text(_HEAD + "init()\n")
    message = refused(file)
    assert "\n" not in message and "cannot be called from ordinary Python" in message and "@procedure" in message
    assert message.startswith(f"bad.py:{_HEAD.count(chr(10)) + 1}:")


def test_syntax_error(tmp_path: Path) -> None:
    """A file with a syntax error: its line and column, in one line."""
    file = tmp_path / "bad.py"
    file.write_text("x = 1\ndef task(:\n    pass\n")
    one_line(refused(file), 2, 10, "syntax error")


def test_error_while_a_file_is_read(tmp_path: Path) -> None:
    """An exception in a model's file becomes one line that names it and its line."""
    file = tmp_path / "bad.py"
    file.write_text("x = 1\n\ny = x / 0\n")
    message = refused(file)
    assert re.fullmatch(r"bad\.py:3: ZeroDivisionError: division by zero; [^\n]+", message)


def test_the_file_can_be_mended(tmp_path: Path) -> None:
    """A file that failed is read anew: an error leaves nothing behind."""
    file = tmp_path / "bad.py"
    file.write_text("x = 1 +\n")
    assert "syntax error" in refused(file)
    file.write_text(f"{_HEAD}@procedure\ndef task() -> None:\n    STEP()\n{_TAIL}")
    assert list(models_in(file)) == ["bad"]


def test_unknown_model() -> None:
    """An unknown model: one line that proposes a near name, or says how to list them."""
    with pytest.raises(InputError, match=r"unknown model 'xen/pcid-v6'; did you mean xen/pcid-v[45]\?") as caught:
        find_models("xen/pcid-v6")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="unknown model '§'; 'tlbcheck list' names all"):
        find_models("§")


def test_unknown_variant() -> None:
    """An unknown variant of a model: the message names those that there are."""
    with pytest.raises(InputError, match="xen/pcid-v5 has no variant 'none'; it has: all-repaired, "):
        find_models("xen/pcid-v5@none")


def test_unknown_property() -> None:
    """An unknown property: the message names those that there are."""
    with pytest.raises(InputError, match=r"unknown property 'missing'; there are: missing-flush, "):
        find_properties(["no-fault", "missing"])
    with pytest.raises(InputError, match="unknown property"):
        explore("xen/before-pcid", ["missing"], engines=("explicit",))


def test_unknown_engine() -> None:
    """An unknown engine, or none: the message names both."""
    for engines in (("explicit", "magic"), ()):
        with pytest.raises(InputError, match=r"engine .*; engines are explicit, bmc, pdr, abc, full, sets and reference"):
            explore("xen/before-pcid", ["no-fault"], engines=engines)


def test_file_without_a_model(tmp_path: Path) -> None:
    """A file that defines no model says so."""
    file = tmp_path / "empty.py"
    file.write_text("x = 1\n")
    with pytest.raises(InputError, match=r"empty\.py defines no model; "):
        find_models(str(file))


@pytest.mark.parametrize(
    ("field", "name", "kind"),
    [
        ("task=set", "set", "Procedure"),
        ("actions=(len,)", "len", "Procedure"),
        ("flags={'on': True}", "on", "Flag; give the Flag itself"),
        ("resized=3", "3", "function"),
        ("cpus=True", "True", "int"),
        ("cpus='2'", "'2'", "int"),
        ("cache=INVLPG", "INVLPG", "CacheKind"),
        ("settings={'smep': 1}", "1", "Expr"),
    ],
)
def test_a_field_that_holds_another_kind_of_thing(tmp_path: Path, field: str, name: str, kind: str) -> None:
    path = tmp_path / "m.py"
    text = "from tlbcheck import Interrupt, Model, procedure\nfrom tlbcheck.machine.x86 import INVLPG\n\n\n"
    text += "@procedure\ndef start() -> None:\n    pass\n\n\n"
    path.write_text(text + f"model = Model(name='m', title='m', init=start, {field})\n")
    with pytest.raises(InputError, match=rf"m\.py:10:\d+: '{field.partition('=')[0]}' of m holds .*{name}.*, which is no {kind}"):
        models_in(path)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("Interrupt(set, None)", "'handler' of an interrupt holds set, which is no Procedure"),
        ("Interrupt(start, INVLPG)", "'flag' of an interrupt holds INVLPG, which is no StateVar"),
        ("Variant('a', {'on': True})", "'flags' of a variant holds 'on', which is no Flag"),
        ("Event('operation', INVLPG)", "'name' of an event holds INVLPG, which is no str"),
        ("Property('q', 'a', 'b', ghosts=[3])", "'ghosts' of property q holds 3, which is no Ghost"),
        ("Property('q', 'a', 'b').on('enter')", "'event' of a rule holds 'enter', which is no Event; write enter"),
    ],
)
def test_a_part_that_holds_another_kind_of_thing(tmp_path: Path, call: str, said: str) -> None:
    path = tmp_path / "m.py"
    text = "from tlbcheck import Event, Interrupt, Property, Variant, procedure\nfrom tlbcheck.machine.x86 import INVLPG\n\n\n"
    path.write_text(text + f"@procedure\ndef start() -> None:\n    pass\n\n\nx = {call}\n")
    with pytest.raises(InputError, match=rf"m\.py:10:\d+: {said}".replace("(", r"\(")):
        models_in(path)


def test_two_models_of_one_name(tmp_path: Path) -> None:
    """Two models of one name in one folder are refused."""
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(f"{_HEAD}@procedure\ndef task() -> None:\n    STEP()\n{_TAIL}")
    with pytest.raises(InputError, match=r"two\.py: two models are called bad; rename one"):
        models_in(tmp_path)


def test_property_with_an_unknown_clause(tmp_path: Path) -> None:
    """A property that names a clause which it does not explain is refused."""
    file = tmp_path / "bad.py"
    file.write_text(f"{_HEAD}PROPERTY = Property('p', 'p', source='p', trigger=Event('operation'))\nPROPERTY.on(Event('assert'), bad={{'what': n.expr == 0}})\n")
    with pytest.raises(InputError, match=r"property p has no clause 'what'; explain it in clauses="):
        properties_in(file)
