"""The C front end: what each construct computes and does, and how everything else is refused."""

from __future__ import annotations

import enum
from pathlib import Path

import pytest

from tlbcheck import marker
from tlbcheck.c import CUnit, load_profile, read_unit
from tlbcheck.c.profile import Profile
from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import evaluate
from tlbcheck.lang.program import Parameter, case_variable, per_cpu
from tlbcheck.lang.source import Gap, Source, source_of
from tlbcheck.lang.types import U64, enum_type
from tlbcheck.machine import x86

PROFILE = """
name = "test"
header = '''
#define MASK 0x80
#define BIG (1UL << 63)
#define likely(x) (!!(x))
#define TWICE(x) ((x) + (x))
#define __init
typedef unsigned int u32;
typedef unsigned short u16;
static inline unsigned int low(unsigned long x)
{
    return x & 0xfff;
}
'''
[roles.switch]
functions = ["load", "load_old"]
declaration = "void load(unsigned long cr3, unsigned long cr4)"
[calls.out]
declaration = "void out(unsigned long value)"
operation = "MOV to CR3"
[calls.in]
declaration = "unsigned long in(void)"
operation = "MOV from CR3"
[calls.in4]
declaration = "unsigned long in4(void)"
operation = "MOV from CR4"
[calls.save]
declaration = "void save(unsigned long flags)"
operation = "PUSHF; CLI"
assigns = "flags"
[calls.restore]
declaration = "void restore(unsigned long flags)"
operation = "POPF"
[calls.tick]
declaration = "u32 tick(void)"
operation = "tick"
instead_of_definition = true
reason = "the clock is a marker"
[calls.count]
effect = "none"
names = true
reason = "a counter"
[calls.ASSERT]
assert = true
[calls.BUG_ON]
assert = false
[places.option]
model = "option"
[places."this_cpu(seen)"]
model = "seen"
[places.on]
constant = "true"
reason = "it is always on"
[places."info()->cr4"]
read = "in4()"
effect = "none"
reason = "a copy"
[places."info()->copy"]
read = "in4()"
copies = "MOV to CR4"
[places."->arch.cr3"]
effect = "none"
"""


class Page(enum.Enum):
    one = enum.auto()
    two = enum.auto()


OPTION = case_variable("option", bool)
SEEN = per_cpu("seen", U64)
VOCABULARY = {o.name: o for o in (*x86.OPERATIONS, marker("tick", "ticks"))} | {"option": OPTION, "seen": SEEN}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = tmp_path_factory.mktemp("profile") / "test.toml"
    path.write_text(PROFILE)
    return load_profile([path], VOCABULARY)


def unit(profile: Profile, text: str, **defines: str) -> CUnit:
    return read_unit(source_of(text, "test.c"), profile, defines)


class _Returned(Exception):
    def __init__(self, value: int | None) -> None:
        self.value = value


class Run:
    """Runs a procedure's statements on numbers; ``did`` lists operations and their operands."""

    def __init__(self, case: dict[str, int], gives: list[int]) -> None:
        self.case, self.gives = case, list(gives)
        self.did: list[tuple[object, ...]] = []
        self.seen = 0

    def call(self, procedure: p.Procedure, args: list[int]) -> int | None:
        values = self.case | dict(zip((q.name for q in procedure.parameters), args, strict=True))
        try:
            self.block(procedure.body, values)
        except _Returned as returned:
            return returned.value
        return None

    def block(self, statements: list[p.Statement], v: dict[str, int]) -> None:
        for s in statements:
            match s:
                case p.Assign():
                    v[s.target] = evaluate(s.value, v)
                case p.Do():
                    self.did.append((s.operation.name, *(evaluate(a, v) for a in s.args)))
                    if s.target:
                        v[s.target] = self.gives.pop(0) if self.gives else 0
                case p.Read():
                    v[s.target] = self.seen
                case p.Write():
                    self.seen = evaluate(s.value, v)
                    self.did.append((f"{s.variable.name} :=", self.seen))
                case p.If():
                    self.block(s.then if evaluate(s.condition, v) else s.orelse, v)
                case p.While():
                    for _ in range(100):
                        if not evaluate(s.condition, v):
                            break
                        self.block(s.body, v)
                    else:
                        raise AssertionError("a loop that does not end")
                case p.Call():
                    result = self.call(s.procedure, [evaluate(a, v) for a in s.args])
                    if s.target:
                        assert result is not None
                        v[s.target] = result
                case p.Assert():
                    if not evaluate(s.condition, v):
                        self.did.append(("assert", s.text))
                case p.Return():
                    raise _Returned(None if s.value is None else evaluate(s.value, v))
                case _:
                    raise AssertionError(s)


def run(profile: Profile, body: str, a: int = 0, b: int = 0, gives: list[int] | None = None, before: str = "", option: int = 0) -> list[tuple[object, ...]]:
    """What ``body`` does with parameters ``a`` and ``b``."""
    text = f"{before}\nvoid f(unsigned long a, unsigned long b)\n{{\n{body}\n}}\n"
    made = unit(profile, text).procedure("f")
    runs = Run({"case.option": option}, gives or [])
    runs.call(made, [a, b])
    return runs.did


def out(profile: Profile, expression: str, a: int = 0, b: int = 0, before: str = "") -> int:
    """The value of ``expression`` as an unsigned long."""
    did = run(profile, f"out({expression});", a, b, before=before)
    assert len(did) == 1 and did[0][0] == "MOV to CR3"
    value = did[0][1]
    assert isinstance(value, int)
    return value


ALL = (1 << 64) - 1


@pytest.mark.parametrize(
    ("expression", "a", "b", "expected"),
    [
        ("a & ~MASK", 0xFF, 0, 0x7F),
        ("a | BIG", 1, 0, 1 << 63 | 1),
        ("1 << 4 | 1U << 31", 0, 0, 0x80000010),
        ("~0", 0, 0, ALL),  # an int that is extended by its sign
        ("~0U", 0, 0, 0xFFFFFFFF),  # unsigned, hence by 0
        ("(u32)a", 1 << 40 | 5, 0, 5),
        ("(int)a", 0x80000000, 0, ALL - 0x7FFFFFFF),
        ("(u16)-1", 0, 0, 0xFFFF),
        ("(u32)-a * 2", 1, 0, 0xFFFFFFFE),
        ("(unsigned char)a + 1", 0x1FF, 0, 0x100),
        ("(char)a", 0xFF, 0, ALL),
        ("(_Bool)a", 256, 0, 1),
        ("-1 < 1U", 0, 0, 0),  # -1 becomes unsigned
        ("-1 < 1", 0, 0, 1),
        ("-1L < 1U", 0, 0, 1),  # long holds every unsigned int
        ("(a & MASK) < (b & MASK)", 0, 0x80, 1),
        ("(a & MASK) > (b & MASK)", 0, 0x80, 0),
        ("(a == b) + (a <= b) * 2", 3, 3, 3),
        ("!a", 0, 0, 1),
        ("!!a", 12, 0, 1),
        ("a && b", 1, 2, 1),
        ("a || b", 0, 0, 0),
        ("a ? b : 7", 0, 9, 7),
        ("a ?: 5", 0, 0, 5),
        ("a ?: 5", 4, 0, 4),
        ("a ? -1 : 0U", 1, 0, 0xFFFFFFFF),
        ("a >> 4", 0xF0, 0, 0xF),
        ("(int)a >> 4", 0xFFFFFF00, 0, ALL - 0xF),
        ("a << b", 1, 63, 1 << 63),
        ("a - b", 1, 2, ALL),
        ("a ^ b", 6, 3, 5),
        ("a * 8 / 4 % 4", 3, 0, 2),
        ("7 * 3 - -5 % 3", 0, 0, 23),
        ("(a, b)", 1, 2, 2),
        ("TWICE(a)", 4, 0, 8),
        ("(a) & b", 6, 3, 2),  # no cast of an address
        ("(a) - b * 2 + (helper(a)) * 2", 3, 1, 13),
        ("((a & b)) * 2", 6, 3, 4),
        ("likely(a & 6)", 4, 0, 1),
        ("low(a)", 0x12345, 0, 0x345),
        ("helper(a) + 1", 5, 0, 11),
        ("0x10 + 010 + 0b1 + 'a'", 0, 0, 16 + 8 + 1 + 97),
        ("2147483648", 0, 0, 1 << 31),
        ("0xffffffff + 1", 0, 0, 0),  # unsigned int: it wraps
        ("4294967295 + 1", 0, 0, 1 << 32),  # long: it does not
    ],
)
def test_expressions_have_the_values_that_c_gives_them(profile: Profile, expression: str, a: int, b: int, expected: int) -> None:
    assert out(profile, expression, a, b, "static unsigned int helper(unsigned int x) { return x * 2; }") == expected


@pytest.mark.parametrize(
    ("body", "a", "b", "expected"),
    [
        ("unsigned long x = a, y; y = x; y |= 1; y &= ~4; y ^= 2; out(y);", 6, 0, [1]),
        ("u32 x = a; x <<= 4; x >>= 2; x += 3; x -= 1; out(x);", 1, 0, [6]),
        ("u32 x = 0; x--; out(x);", 0, 0, [0xFFFFFFFF]),
        ("unsigned long x = 3; out(x++); out(++x);", 0, 0, [3, 5]),
        ("unsigned long x; if ( (x = a) && x != 2 ) out(x); else out(9);", 2, 0, [9]),
        ("if (a) out(1); else /* why */ if (b) /* because */ out(2); else out(3);", 0, 1, [2]),
        ("if ( a )\n/* comment */\n out(1);\nout(4);", 0, 0, [4]),
        ("if (a) { out(1); return; } out(2);", 1, 0, [1]),
        ("unsigned long x = 1; { unsigned long x = 2; out(x); } out(x);", 0, 0, [2, 1]),
        ("while (a < 3) { out(a); a++; }", 1, 0, [1, 2]),
        ("for (unsigned int i = 0; i < 3; i++) { if (i == 1) continue; out(i); }", 0, 0, [0, 2]),
        ("for (;;) { out(a); if (a == 2) break; a += 1; }", 0, 0, [0, 1, 2]),
        ("while (1) { if (a == 2) break; out(a); a++; } out(9);", 0, 0, [0, 1, 9]),
        ("do { out(a); } while (0);", 5, 0, [5]),
        ("do { out(a); if (a == 1) break; } while (++a < 4); out(7);", 0, 0, [0, 1, 7]),
        ("unsigned long n = 0; while (n++ < 2) out(n); out(n);", 0, 0, [1, 2, 3]),
        ("unsigned i, j; for (i = 0, j = 5; i < j; i++, j--) out(j - i);", 0, 0, [5, 3, 1]),
        ("for (;;) { for (;;) { out(1); break; } out(2); break; }", 0, 0, [1, 2]),
        ("switch (a) { case 1: case 2: out(2); break; case 3: out(3); return; default: out(9); } out(0);", 2, 0, [2, 0]),
        ("switch (a) { case 1: out(1); break; default: if (b) break; out(9); }", 7, 0, [9]),
        ("switch (a) { case 1: out(1); break; default: if (b) break; out(9); }", 7, 1, []),
        ("for (;; a++) { switch (a) { case 0: continue; case 1: break; default: return; } out(a); }", 0, 0, [1]),
        ("out(({ unsigned long x = a; x + 1; }));", 4, 0, [5]),
        ("struct { unsigned long pcid:12, rest:52; unsigned long addr; } d = { .pcid = a, .addr = 3 }; out(d.pcid); out(d.addr); out(d.rest);", 0x1001, 0, [1, 3, 0]),
        ("if (option) out(1); else out(2);", 0, 0, [2]),
        ("if (on) out(1); else out(2);", 0, 0, [1]),
        (";;(void)a; barrier: ;", 0, 0, None),
    ],
)
def test_statements_do_what_c_makes_them_do(profile: Profile, body: str, a: int, b: int, expected: list[int] | None) -> None:
    if expected is None:
        with pytest.raises(InputError, match="a label is not understood"):
            run(profile, body, a, b)
    else:
        assert [d[1] for d in run(profile, body, a, b)] == expected


def test_operations_happen_only_where_c_evaluates_them(profile: Profile) -> None:
    assert run(profile, "if ( a && in() == 3 ) out(1);", 0) == []
    assert run(profile, "if ( a && in() == 3 ) out(1);", 1, gives=[3]) == [("MOV from CR3",), ("MOV to CR3", 1)]
    assert run(profile, "if ( a || in() ) out(1);", 1) == [("MOV to CR3", 1)]
    assert run(profile, "out(a ? in() : in4());", 0, gives=[5]) == [("MOV from CR4",), ("MOV to CR3", 5)]
    assert run(profile, "unsigned long x = 1; a && (x = in()); out(x);", 0) == [("MOV to CR3", 1)]


def test_names_mean_what_the_profile_says(profile: Profile) -> None:
    assert run(profile, "unsigned long flags; save(flags); restore(flags);", gives=[1]) == [("PUSHF; CLI",), ("POPF", 1)]
    assert run(profile, "this_cpu(seen) = a; out(this_cpu(seen) + 1);", 4) == [("seen :=", 4), ("MOV to CR3", 5)]
    assert run(profile, "info()->cr4 = a; out(info()->cr4);", 4, gives=[6]) == [("MOV from CR4",), ("MOV to CR3", 6)]
    assert run(profile, "ASSERT(a == 1); BUG_ON(b);", 2, 1) == [("assert", "a == 1"), ("assert", "not (b)")]
    assert run(profile, "count(in());") == [("MOV from CR3",)]
    assert run(profile, "count(a_name_of_its_own);") == []
    with pytest.raises(InputError, match="'a_name' is not known"):
        run(profile, "count(a_name + 1);")


def test_inline_assembly(profile: Profile) -> None:
    assert run(profile, 'asm volatile ( "mov %0, %%cr3" : : "r" (a) : "memory" );', 7) == [("MOV to CR3", 7)]
    assert run(profile, 'unsigned long x; __asm__ ("mov %%cr4, %[v]" : [v] "=r" (x)); out(x | 1);', gives=[4]) == [("MOV from CR4",), ("MOV to CR3", 5)]
    assert run(profile, 'asm volatile ( "" : : : "memory" );') == []
    invpcid = 'struct { unsigned long pcid; unsigned long addr; } d = { a, 0 }; asm volatile ("invpcid %[d], %q[t]" :: [d] "m" (d), [t] "r" (b) : "memory");'
    assert run(profile, invpcid, 3, 1) == [("INVPCID 1", 3)]
    assert run(profile, invpcid, 3, 3) == [("INVPCID 3",)]
    assert run(profile, invpcid, 3, 0)[0][0] == "assert"  # an address that nobody knows: nothing is dropped, and it shows
    bytes_ = 'struct { unsigned long pcid; unsigned long addr; } d = { a, 0 }; asm volatile (".byte 0x66, 0x0f, 0x38, 0x82\\n" ".byte 0x01\\n" :: "a" (2), "c" (&d) : "memory");'
    assert run(profile, bytes_) == [("INVPCID 2",)]


@pytest.mark.parametrize("text", ['"invlpg %0" : : "m" (*(const char *)va)', '"invlpg (%0)" : : "r" (va)'])
def test_invlpg_takes_the_page_that_callers_pass(profile: Profile, text: str) -> None:
    made = unit(profile, f'void f(const void *va) {{ asm volatile ( {text} : "memory" ); }}')
    procedure = made.procedure("f", parameters=[Parameter("va", enum_type(Page))])
    runs = Run({}, [])
    runs.call(procedure, [1])
    assert runs.did == [("INVLPG", 1, 1)]
    assert any("canonical" in a for a in made.assumptions(procedure))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("unknown(a);", "the call of 'unknown' is not known"),
        ("out(thing);", "'thing' is not known"),
        ("out(v->deep.field);", "'v->deep.field' is not known"),
        ("out(*(unsigned long *)a);", "is not known"),
        ("goto end; end: out(a);", "goto is not understood"),
        ("f(a, b);", "f calls itself"),
        ("unsigned long x; out(x);", "'x', which may not have been set"),
        ("unsigned long x; if (a) x = 1; out(x);", "'x', which may not have been set"),
        ("out(tick());", "the result of tick"),
        ("if (count(a)) out(1);", "the result of count"),
        ("unsigned long flags = a; restore(flags);", "is no bool of the model"),
        ("unsigned long flags; save(flags); out(flags | 1);", "can only be handed back"),
        ("out(a / 3);", "'/' in 'a / 3'"),
        ("out(1 << 32);", "a shift of 32 bits by 32"),
        ("out(a++ + a);", "'a' is changed here"),
        ("static int x; x = 1;", "keeps its value between calls"),
        ("unsigned long x = 1; count(&x); out(x);", "whose address was taken"),
        ('asm volatile ( "mov %0, %%cr0" : : "r" (a) );', "the assembly 'mov %0, %%cr0'"),
        ('asm volatile ( "wbinvd" );', "the assembly 'wbinvd'"),
        ('asm volatile ( "mov %0, %%cr3" : : "r" ((int)a) );', "less than 64 bits"),
        ('asm volatile ( "invlpg (%0)" : : "r" (a) );', "an address that the model does not know"),
        ('asm goto ( "jmp %l0" : : : : end ); end: ;', "asm goto"),
        ("option = 1;", "'option' cannot be assigned"),
        ("out(1, 2);", "out takes 1 argument"),
        ("switch (a) { case 1: out(1); case 2: out(2); }", "a case that the one before it falls into"),
        ("unsigned long x = 1; while (a) { out(x); x = v; a = in(); }", "'v' is not known"),
        ("out(sizeof(struct v));", "depends on 'sizeof"),
        ("out(sizeof(option));", "depends on 'sizeof"),
        ("out(1.5);", "the number '1.5'"),
        ("ASSERT(a = 1);", "an assertion that changes something"),
        ("if (a { out(1); }", "closes nothing|is no C|never closed|do not match"),
        ("out(a) out(b);", "declares no variable"),
    ],
)
def test_what_is_not_understood_is_refused_at_its_place(profile: Profile, body: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run(profile, body)
    assert caught.value.place is not None and caught.value.place.file == "test.c" and caught.value.place.line >= 3
    assert caught.value.hint


def test_constants_of_enumerations(profile: Profile) -> None:
    """Given values, counted ones, and the sizes of integer types; a configuration that decided one is said."""
    text = """
#define THIRD 7 + SECOND
enum { FIRST, SECOND, };
typedef enum kind { NONE = -1, SOME, MANY = THIRD, MORE, /* and */ LAST = MORE | 1UL << 4 } kind_t;
#ifdef CONFIG_X
enum { CHOSEN = 3 };
#else
enum { CHOSEN = 4 };
#endif
"""
    for name, value in {"FIRST": 0, "SECOND": 1, "NONE": (1 << 64) - 1, "SOME": 0, "MANY": 8, "MORE": 9, "LAST": 25, "CHOSEN": 4}.items():
        assert out(profile, name, before=text) == value
    assert out(profile, "sizeof(u16) + sizeof(unsigned long) * sizeof a + sizeof(bool)") == 67
    made = unit(profile, text + "void f(void) { out(CHOSEN); } void g(void) { out(FIRST); }")
    assert any("CONFIG_X is not defined" in a for a in made.assumptions(made.procedure("f")))
    assert made.assumptions(made.procedure("g")) == ()


def test_a_constant_that_a_macro_makes_a_number_of_is_refused(profile: Profile) -> None:
    """Which of the two values counts cannot be told; after #undef it can."""
    with pytest.raises(InputError, match="the constant WIDTH is a macro where it is declared"):
        out(profile, "WIDTH", before="#define WIDTH 2\nenum { WIDTH = 3 };")
    assert out(profile, "WIDTH", before="#define WIDTH 2\n#undef WIDTH\nenum { WIDTH = 3 };") == 3
    assert out(profile, "B", before="#define MORE_OF_THEM A, B\nenum { MORE_OF_THEM };") == 1


@pytest.mark.parametrize(
    ("before", "body", "message"),
    [
        ("enum { A = B };", "out(A);", "'B' is not known"),
        ("enum { A = A };", "out(A);", "made of itself"),
        ("enum { A = B, B = A };", "out(A);", "made of itself"),
        ("enum { A, B = 0x100000000 };", "out(B);", "no int"),
        ("enum { A, B }; enum { B };", "out(B);", "'B', which is declared twice"),
        ("enum { A, unclear(B) = 1, C };", "out(C);", "needs that of 'unclear'"),
        ("enum { A = in() };", "out(A);", "no constant"),
        ("enum { A };", "A = 1;", "an assignment to a constant"),
        ("enum { A };", "enum { A = 2 } x; out(A);", "an enumeration inside a function"),
        ("enum { option };", "out(option);", "gives the constant option a value"),
    ],
)
def test_constants_that_are_refused(profile: Profile, before: str, body: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(profile, body, before=before)


def test_an_enumeration_with_unseen_lines_has_no_constants(profile: Profile) -> None:
    whole = source_of("enum {\n  A,\n  C,\n};\nvoid f(void) { out(C); }\n", "mail")
    with pytest.raises(InputError, match="'C' is not known"):
        read_unit(Source("x.c", whole.lines, (Gap(2, "a line was not seen", Place("mail", 3)),)), profile).procedure("f")
    assert read_unit(Source("x.c", whole.lines), profile).procedure("f").body


def test_a_type_counts_where_it_is_in_force(profile: Profile) -> None:
    """A typedef holds from where it stands, and one that makes it no integer takes back what was known."""
    text = "void g(unsigned long a) { out((u16)a); }\ntypedef unsigned int u16, *p16;\nvoid f(unsigned long a) { out((u16)a); }\n"
    for name, value in (("g", 0x2345), ("f", 0x12345)):
        runs = Run({}, [])
        runs.call(unit(profile, text).procedure(name), [0x12345])
        assert runs.did == [("MOV to CR3", value)]
    for taken in ("typedef struct u { int a; } u16;", "typedef u32 u16[2];", "typedef u32 (*u16)(u32 a);", "typedef u32 *u16;"):
        with pytest.raises(InputError):
            run(profile, "u16 x = a; out(x);", before=taken)
        assert run(profile, "u32 x = a; out(x);", 3, before=taken) == [("MOV to CR3", 3)]


@pytest.mark.parametrize(
    "body",
    [
        "unsigned long u32 = a; out((u32) - 1);",
        "unsigned long x = a, u32 = 1; out(x & u32);",
        "unsigned long (u32) = a; out(u32);",
        "unsigned long *u32; out(a);",
        "struct { unsigned long u32; } x = { a }; out(x.u32);",
        "for (unsigned long i = a, u32 = 1; i; i--) out(u32);",
    ],
)
def test_a_variable_of_a_type_s_name_is_refused(profile: Profile, body: str) -> None:
    with pytest.raises(InputError, match="'u32' is the name of a type, and here of something else"):
        run(profile, body)


def test_a_type_s_name_elsewhere(profile: Profile) -> None:
    """As a parameter's it is refused; as a member's or a tag's it is one of another kind."""
    with pytest.raises(InputError, match="'u32' is the name of a type"):
        unit(profile, "void f(unsigned long u32) { out((u32) - 1); }").procedure("f")
    body = "struct u32 *p; p->arch.cr3 = (u32)a; out((u32) -1);"
    assert run(profile, body, 1, before="struct u32; static u32 g(const u32 x, u32);") == [("MOV to CR3", 0xFFFFFFFF)]


COPY = 'asm volatile ( "mov %0, %%cr4" : : "r" (a) );'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (COPY, r"MOV to CR4 without a write of its copy 'info\(\)->copy'"),
        ("info()->copy = a;", "is written without what it is a copy of"),
        ("info()->copy = b; " + COPY, "without what it is"),
        ("info()->copy = a; out(a); " + COPY, "without what it is"),
        (COPY + " if ( b ) info()->copy = a;", "without a write of its copy"),
        (COPY + " if ( b ) return; info()->copy = a;", "without a write of its copy"),
        (COPY + " b = info()->copy; info()->copy = a;", "without a write of its copy"),
        (COPY + COPY, "without a write of its copy"),
    ],
)
def test_a_register_and_its_copy_are_written_together(profile: Profile, body: str, message: str) -> None:
    """Reading the copy means the register, so that a way on which they differ has to be refused."""
    with pytest.raises(InputError, match=message):
        run(profile, body)


@pytest.mark.parametrize("body", ["info()->copy = a; ASSERT(a); " + COPY, COPY + " info()->copy = a;", "if ( a ) { info()->copy = a; " + COPY + " }"])
def test_both_halves_are_one_write(profile: Profile, body: str) -> None:
    assert run(profile, body, 5) == [("MOV to CR4", 5)]


def test_the_two_ways_out_of_an_unknown_call(profile: Profile, tmp_path: Path) -> None:
    text = "void f(unsigned long a) {\n  strange(a);\n  out(a);\n}\n"
    with pytest.raises(InputError) as caught:
        unit(profile, text).procedure("f")
    assert caught.value.place == Place("test.c", 2, 3)
    assert "[calls.strange]" in caught.value.hint and "--assume-no-tlb-effect" in caught.value.hint
    more = tmp_path / "more.toml"
    more.write_text('[calls.strange]\neffect = "none"\n')
    base = tmp_path / "base.toml"
    base.write_text(PROFILE)
    read_unit(source_of(text, "test.c"), load_profile([base, more], VOCABULARY)).procedure("f")
    assumed = read_unit(source_of(text, "test.c"), profile, {}, ["strange"])
    assert assumed.assumptions(assumed.procedure("f")) == ("strange is assumed to have no effect on the TLB, as was asked for",)
    with pytest.raises(InputError, match="has a meaning in the profile"):
        read_unit(source_of(text, "test.c"), profile, {}, ["strange", "out"]).procedure("f")


def test_the_configuration_that_was_read_is_said(profile: Profile) -> None:
    text = "#ifndef CONFIG_X\n# undef MASK\n# define MASK 0\n#endif\nvoid f(unsigned long a) { out(a & MASK); }\nvoid g(unsigned long a) { out(a); }\n"
    plain, given = unit(profile, text), unit(profile, text, CONFIG_X="")
    runs = [Run({}, []), Run({}, [])]
    for r, u in zip(runs, (plain, given), strict=True):
        r.call(u.procedure("f"), [0xFF])
    assert [r.did[0][1] for r in runs] == [0, 0x80]
    assert "CONFIG_X is not defined" in plain.assumptions(plain.procedure("f"))[0]
    assert "CONFIG_X is defined as nothing" in given.assumptions(given.procedure("f"))[0]
    assert plain.assumptions(plain.procedure("g")) == ()


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("defined(A) && A > 2", 1), ("!defined B", 1), ("B", 0), ("A == 3 ? 1 : 0", 1), ("-1 > 0U", 1), ("(A << 1) == 6", 1), ("IS_ENABLED(A)", 0), ("IS_ENABLED(ONE)", 1), ("TWICE(A) == 6", 1)],
)
def test_conditions(profile: Profile, condition: str, expected: int) -> None:
    text = f"void f(void) {{\n#if {condition}\nout(1);\n#elif 1\nout(0);\n#else\nbroken(((;\n#endif\n}}"
    runs = Run({}, [])
    runs.call(unit(profile, text, A="3", ONE="1").procedure("f"), [])
    assert runs.did == [("MOV to CR3", expected)]


@pytest.mark.parametrize(
    ("definition", "use", "expected"),
    [
        ("#define ADD(x, y) ((x) + (y))", "ADD(ADD(1, 2), 3)", 6),
        ("#define CAT(x, y) x ## y", "CAT(0x, 1F)", 0x1F),
        ("#define SELF SELF2\n#define SELF2 SELF + 1\n#define SELF3 2", "SELF3", 2),
        ("#define FIRST(x, ...) x", "FIRST(4, 5, 6)", 4),
        ("#define LONG \\\n  8", "LONG", 8),
        ("#define A 1 + 2", "A * 3", 7),
        ("#define F(x) x\n#define G F", "G(5)", 5),
    ],
)
def test_macros_are_expanded_as_the_preprocessor_does(profile: Profile, definition: str, use: str, expected: int) -> None:
    assert out(profile, use, before=definition) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#define B(x) x x x x x x x x\nvoid f(void) { out(" + "B(" * 12 + "1" + ")" * 12 + "); }", "too much text"),
        ("#define P(x) x ## x\nvoid f(void) { out(" + "P(" * 3 + "1" + ")" * 3 + "); }", "make no word together"),
        ("void f(void) { out(" + "(" * 200 + "1" + ")" * 200 + "); }", "nested too deeply"),
        ("void f(void) { out(" + "!" * 5000 + "1); }", "too deep"),
        ("void f(void) { " + "if (1) " * 3000 + ";}", "too deep"),
        ("void f(void) { " + "out(1);" * 10000 + "}", "too long"),
        ("#define F(x) x\nvoid f(void) { out(F(1; }", "do not end|never closed|do not match"),
        ("#if\nvoid f(void) { }\n#endif", "cannot be read"),
        ("#if 1\nvoid f(void) { }\n", "a condition that is never closed"),
        ("void f(void) { }\n#endif", "ends a condition that nothing began"),
        ("void f(void) { out(1); } }\n", "closes nothing"),
        ("void f(void) { out(1);\n", "never closed"),
        ("void f(void) { out(1); /* and so on", "never closed|never ends"),
        ("void f(void) { } void f(void) { out(1); }", "two functions 'f'"),
        ("int f;", "no function 'f'"),
        ("void g(void) { f(); } void f(void) { g(); }", "calls itself"),
        ("", "no function 'f'"),
        ("/*" + "x" * (1 << 20), "larger than"),
    ],
)
def test_bounds_and_broken_files(profile: Profile, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        unit(profile, text).procedure("f")


def test_what_stands_in_other_functions_does_not_matter(profile: Profile) -> None:
    text = "DEFINE_PER_CPU(struct vcpu *, current);\nvoid g(void) { ??? $ @ unknown(1, 2 + ); 'x;\n}\nvoid f(unsigned long a) { out(a); }\n"
    assert unit(profile, text).procedure("f").body
    with pytest.raises(InputError):
        unit(profile, text).procedure("g")


def test_lines_that_were_not_seen_are_said(profile: Profile) -> None:
    whole = source_of("void f(unsigned long a)\n{\n  out(a);\n  out(1);\n", "mail")
    gaps = (Gap(3, "two lines were not seen", Place("mail", 4)), Gap(4, "the end was not seen", Place("mail", 5)))
    made = read_unit(Source("x.c", whole.lines, gaps), profile)
    procedure = made.procedure("f")
    assert made.assumptions(procedure) == ("two lines were not seen (mail:4)", "the end was not seen (mail:5)")
    assert [s.place.line for s in procedure.body] == [3, 4]


def test_a_role_finds_its_function_and_its_parameters(profile: Profile) -> None:
    made = unit(profile, "void load(struct vcpu *v, unsigned long cr3, unsigned long cr4) { v->arch.cr3 = cr3; out(cr4); }")
    procedure = made.procedure(role="switch")
    assert procedure.role == "switch" and [q.name for q in procedure.parameters] == ["cr3", "cr4"]
    assert made.functions == {"load": Place("test.c", 1, 6)}
    old = unit(profile, "void load_old(unsigned long root) { out(root); }")
    runs = Run({}, [])
    runs.call(old.procedure(role="switch"), [7, 8])
    assert runs.did == [("MOV to CR3", 7)]
    assert old.assumptions(old.procedure(role="switch")) == ("parameter 'root' of load_old is taken for 'cr3'", "load_old does not take 'cr4', which its callers pass")
    with pytest.raises(InputError, match="parameter 'v' of load, of which nothing is known"):
        unit(profile, "void load(unsigned long *v, unsigned long cr3, unsigned long cr4) { if (v) out(cr3); }").procedure(role="switch")
    with pytest.raises(InputError, match="no function of role 'switch'"):
        unit(profile, "void other(void) { }").procedure(role="switch")


def test_a_definition_of_the_file_counts_unless_the_profile_replaces_it(profile: Profile) -> None:
    text = "static void out(unsigned long x) { in(); }\nstatic unsigned int tick(void) { return mystery; }\nvoid f(unsigned long a) { tick(); out(a); }\n"
    made = unit(profile, text)
    runs = Run({}, [])
    procedure = made.procedure("f")
    runs.call(procedure, [1])
    assert runs.did == [("tick",), ("MOV from CR3",)]
    assert made.assumptions(procedure) == ("tick is not read but taken for 'tick': the clock is a marker",)
    assert "mystery" not in made.uses(procedure) and "in" in made.uses(procedure)


@pytest.mark.parametrize(
    ("toml", "message", "line"),
    [
        ("name = \n", "is no TOML", 1),
        ("x = 1\n", "'x' is no part of a profile", 1),
        ('[calls.f]\noperation = "NOP"\n', "the models have no 'NOP'", 2),
        ('[calls.f]\noperation = "option"\n', "is no operation", 2),
        ('[calls.f]\noperation = "INVPCID 2"\n', "has no declaration", 1),
        ('[calls.f]\neffect = "some"\n', "the effect 'some' is not known", 2),
        ("\n[calls.f]\nbad = 1\n", "has no 'bad'", 3),
        ("[calls.f]\n", "has to say one thing", 1),
        ('[places.f]\nmodel = "INVPCID 2"\n', "is no variable", 2),
        ('[places.f]\nread = "1"\ncopies = "INVPCID 2"\n', "no operation of one operand", 3),
        ('[places.f]\neffect = "none"\ncopies = "MOV to CR4"\n', "a copy is written beside", 3),
        ("[roles.switch]\n", "needs functions and a declaration", 1),
    ],
)
def test_bad_profiles_are_refused_with_their_line(tmp_path: Path, toml: str, message: str, line: int) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(toml)
    with pytest.raises(InputError, match=message) as caught:
        load_profile([path], VOCABULARY)
    assert caught.value.place is not None and caught.value.place.line == line
