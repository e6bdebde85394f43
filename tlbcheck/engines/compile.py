"""Guards, effects and entry masks as generated Python: no tree walk while searching.

A mask has one bit for every entry of the universe, so that one run of generated code moves all
entries at once. A term that mixes an entry's fields with control values is looked up by those
values; it is evaluated entry by entry only the first time that they occur.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tlbcheck.lang.expr import FALSE, TRUE, Expr, conjuncts, evaluate, nodes, spell, substitute, var, variables
from tlbcheck.lang.expr import rebuild as rebuild_node
from tlbcheck.lang.types import BOOL, IntType, WordType
from tlbcheck.system.transition_system import Bad, Step, TransitionSystem

State = tuple[int, ...]
Masks = tuple[int, ...]
Successors = Callable[[State, list[tuple[int, tuple[int, ...], State]]], None]

_INFIX = {"band": "&", "bor": "|", "bxor": "^", "eq": "==", "add": "+", "sub": "-", "shl": "<<", "shr": ">>"}


def code(e: Expr, names: Mapping[str, str]) -> str:
    """Python source of an expression over control values."""
    named, text = spell(e, lambda node, texts: _code(node, texts, names))
    return f"[{', '.join([*(f'{name} := {part}' for name, part in named), text])}][-1]" if named else text


def _code(e: Expr, texts: Mapping[Expr, str], names: Mapping[str, str]) -> str:
    match e.op:
        case "const":
            return str(e.value)
        case "var":
            return names[e.value]
        case "not" if e.args[0].op == "eq":
            return f"({texts[e.args[0].args[0]]} != {texts[e.args[0].args[1]]})"
        case "not":
            return f"(not {texts[e.args[0]]})"
        case "and" | "or":
            return "(" + f" {e.op} ".join(texts[a] for a in e.args) + ")"
        case "ite":
            return f"({texts[e.args[1]]} if {texts[e.args[0]]} else {texts[e.args[2]]})"
        case "table":
            index = texts[e.args[0]]
            type_ = e.args[0].type
            if isinstance(type_, IntType) and not IntType(0, len(e.value) - 1).has(type_):
                index = f"min(max({index}, 0), {len(e.value) - 1})"  # beyond its ends is an error of the model
            return f"{e.value!r}[{index}]"
        case "bnot":
            assert isinstance(e.type, WordType)
            return f"({texts[e.args[0]]} ^ {e.type.mask})"
        case "resize":
            assert isinstance(e.type, WordType)
            return f"({texts[e.args[0]]} & {e.type.mask})"
        case "lt" | "le":
            left, right = (texts[a] for a in e.args)
            type_ = e.args[0].type
            if isinstance(type_, WordType) and type_.signed:
                sign = 1 << (type_.width - 1)
                left, right = f"({left} ^ {sign})", f"({right} ^ {sign})"
            return f"({left} {'<' if e.op == 'lt' else '<='} {right})"
    if e.op == "shl" and isinstance(e.type, WordType) and e.args[1].op != "const":
        word, by = (texts[a] for a in e.args)
        return f"(({word} << {by}) & {e.type.mask} if {by} < {e.type.width} else 0)"
    text = f"({texts[e.args[0]]} {_INFIX[e.op]} {texts[e.args[1]]})"
    if e.op in ("add", "sub", "shl") and isinstance(e.type, WordType):
        return f"({text} & {e.type.mask})"
    return text


class Compiled:
    """A transition system as Python functions over tuples of control values and entry masks.

    ``content``: rules may ask for one entry of a cache, by ``content_bit``, and fills are closed
    under what they enable.
    """

    def __init__(self, system: TransitionSystem, *, content: bool = False) -> None:
        self.system = system
        self.content = content
        self.variables = [v.name for v in system.control]
        self.position = {name: i for i, name in enumerate(self.variables)}
        self.entries = list(system.entries()) or [{}]
        self.all = (1 << len(self.entries)) - 1
        self.entry_variables = [v.name for v in system.entry_variables]
        self._entry_names = set(self.entry_variables)
        self._fields = {v.name for v in system.entry_fields}
        self._atoms: dict[str, Any] = {"ALL": self.all}
        self._memo: dict[Expr, str] = {}
        self._touches: dict[Expr, tuple[bool, bool]] = {}
        self._bads: dict[int, list[tuple[Bad, Callable[[State, tuple[int, ...], Masks], int]]]] = {}
        self._dispatch()
        self.fill = self._fill_function()

    # -- control

    def _names(self, step: Step | None, state: str = "s") -> dict[str, str]:
        names = {n: f"{state}[{i}]" for n, i in self.position.items()}
        if step is not None:
            names |= {q.name: f"p[{i}]" for i, q in enumerate(step.parameters)}
        return names

    def _compile(self, source: str, name: str) -> Any:
        scope = self._atoms
        exec(compile(source, f"<{name}>", "exec"), scope)
        return scope[name]

    def _dispatch(self) -> None:
        """Group steps by the program counter that their guards ask for."""
        by_pc: dict[int, dict[int, list[tuple[Step, list[Expr]]]]] = {}
        anywhere: list[tuple[Step, list[Expr]]] = []
        for step in self.system.steps:
            rest, where = [], None
            for part in conjuncts(step.guard):
                if where is None and part.op == "eq" and part.args[0].op == "var" and part.args[1].op == "const" and part.args[0].value.endswith(".pc"):
                    where = (self.position[part.args[0].value], part.args[1].value)
                else:
                    rest.append(part)
            if step.guard.op == "const" and not step.guard.value:
                continue
            if where is None:
                anywhere.append((step, rest))
            else:
                by_pc.setdefault(where[0], {}).setdefault(where[1], []).append((step, rest))
        self.tables: list[tuple[int, dict[int, Successors]]] = [(pc, {at: self._successors(f"at_{pc}_{at}", steps) for at, steps in places.items()}) for pc, places in sorted(by_pc.items())]
        self.actions: Successors | None = self._successors("actions", anywhere) if anywhere else None

    def _successors(self, name: str, steps: list[tuple[Step, list[Expr]]]) -> Successors:
        lines = [f"def {name}(s, out):"]
        for step, guard in steps:
            lines += self._step(step, guard)
        if len(lines) == 1:
            lines.append("    pass")
        made: Successors = self._compile("\n".join(lines), name)
        return made

    def _step(self, step: Step, guard: list[Expr]) -> list[str]:
        """Source lines that append every instance of ``step``; guards stand as far out as they can."""
        names = {n: f"s[{i}]" for n, i in self.position.items()} | {q.name: f"choice{i}" for i, q in enumerate(step.parameters)}
        order = [q.name for q in step.parameters]
        lines, indent, left = [], "    ", list(guard)
        for level in range(len(order) + 1):
            bound = set(order[:level])
            ready = [g for g in left if not any(n in order and n not in bound for n in variables(g))]
            left = [g for g in left if not any(g is r for r in ready)]
            if ready:
                lines.append(f"{indent}if {' and '.join(code(g, names) for g in ready)}:")
                indent += "    "
            if level < len(order):
                lines.append(f"{indent}for choice{level} in {step.parameters[level].domain!r}:")
                indent += "    "
        chosen = "".join(f"choice{i}, " for i in range(len(order)))
        for check in step.checks:
            lines.append(f"{indent}if not {code(check.holds, names)}: raise_check({step.index})")
        lines.append(f"{indent}out.append(({step.index}, ({chosen}), ({self._next(step, names)})))")
        return lines

    def _next(self, step: Step, names: Mapping[str, str]) -> str:
        return "".join((code(step.updates[n], names) if n in step.updates else f"s[{i}]") + ", " for i, n in enumerate(self.variables))

    def initial_states(self) -> list[tuple[int, tuple[int, ...], State]]:
        """Every start, with rigid variables taking each value of their domain."""
        start = [v.initial for v in self.system.control]
        starts = [tuple(start)]
        for i, v in enumerate(self.system.control):
            if v.name in self.system.rigid:
                starts = [(*s[:i], value, *s[i + 1 :]) for s in starts for value in v.domain or v.type.values()]
        lines = ["def initial(s, out):"]
        for step in self.system.initial:
            lines += self._step(step, list(conjuncts(step.guard)))
        run = self._compile("\n".join(lines), "initial")
        out: list[tuple[int, tuple[int, ...], State]] = []
        for s in starts:
            run(s, out)
        return out

    def successors(self, s: State) -> list[tuple[int, tuple[int, ...], State]]:
        out: list[tuple[int, tuple[int, ...], State]] = []
        for pc, places in self.tables:
            run = places.get(s[pc])
            if run is not None:
                run(s, out)
        if self.actions is not None:
            self.actions(s, out)
        return out

    # -- entries

    def touches(self, e: Expr) -> tuple[bool, bool]:
        """Whether ``e`` depends on the entry's fields or variables, and on control."""
        known = self._touches
        if e not in known:
            for node in nodes(e, known):
                if node.op == "var":
                    mine = node.value in self._entry_names or node.value in self._fields
                    known[node] = (mine, not mine)
                else:
                    parts = [known[a] for a in node.args]
                    known[node] = (any(x for x, _ in parts), any(y for _, y in parts))
        return known[e]

    def mask(self, e: Expr, names: Mapping[str, str]) -> str:
        """Python source of the mask of entries for which ``e`` holds."""
        entry, _ = self.touches(e)
        if e.op == "const":
            return "ALL" if e.value else "0"
        if not entry:
            return f"(ALL if {code(e, names)} else 0)"
        match e.op:
            case "var" if e.value in self._entry_names:
                return names[e.value]
            case "and":
                return "(" + " & ".join(self.mask(a, names) for a in sorted(e.args, key=lambda a: self.touches(a)[0])) + ")"
            case "or":
                return "(" + " | ".join(self.mask(a, names) for a in e.args) + ")"
            case "not":
                return f"(ALL ^ {self.mask(e.args[0], names)})"
            case "ite" if e.type == BOOL and not self.touches(e.args[0])[0]:
                return f"({self.mask(e.args[1], names)} if {code(e.args[0], names)} else {self.mask(e.args[2], names)})"
            case "ite" if e.type == BOOL:
                c, a, b = (self.mask(x, names) for x in e.args)
                return f"(({c} & {a}) | ((ALL ^ {c}) & {b}))"
            case "eq" if e.args[0].type == BOOL and e.args[1].type == BOOL:
                return f"(ALL ^ {self.mask(e.args[0], names)} ^ {self.mask(e.args[1], names)})"
        marked = next((v for n, v in variables(e).items() if n in self._entry_names), None)
        if marked is not None:  # a number that depends on what is cached or marked
            yes, no = (self.mask(substitute(e, {marked.value: x}), names) for x in (TRUE, FALSE))
            return f"(({names[marked.value]} & {yes}) | ((ALL ^ {names[marked.value]}) & {no}))"
        return self._atom(e, names)

    def _atom(self, e: Expr, names: Mapping[str, str]) -> str:
        """A lookup of the mask by the values of the control terms inside ``e``."""
        holes: list[Expr] = []
        pattern = self._punch(e, holes)
        key = f"atom{len(self._memo)}"
        if pattern in self._memo:
            key = self._memo[pattern]
        else:
            self._memo[pattern] = key
            self._atoms[key] = _Lookup(pattern, [f"hole{i}" for i in range(len(holes))], self.entries)
        if not holes:
            return str(self._atoms[key][()])
        return f"{key}[{', '.join(code(h, names) for h in holes)},]"

    def _punch(self, e: Expr, holes: list[Expr]) -> Expr:
        if e.op == "const":
            return e
        if not self.touches(e)[0]:
            for i, h in enumerate(holes):
                if h is e:
                    return var(f"hole{i}", e.type)
            holes.append(e)
            return var(f"hole{len(holes) - 1}", e.type)
        if not e.args:
            return e
        return rebuild_node(e, tuple(self._punch(a, holes) for a in e.args))

    def _mask_names(self, step: Step | None, state: str) -> dict[str, str]:
        names = self._names(step, state) | {n: f"m{i}" for i, n in enumerate(self.entry_variables)}
        if self.content:
            names |= {content_bit(n, i): f"(m{j} >> {i} & 1)" for j, n in enumerate(self.entry_variables) for i in range(len(self.entries))}
        return names

    def _unpack(self) -> str:
        return "".join(f"m{i}, " for i in range(len(self.entry_variables)))

    def _fill_function(self) -> Callable[[State, Masks], Masks]:
        """Entries that may appear in state ``s``: the saturated closure."""
        lines = ["def fill_once(s, m):", f"    {self._unpack()} = m" if self.entry_variables else "    pass"]
        for i, fill in enumerate(self.system.fills):
            names = self._mask_names(None, "s")
            lines.append(f"    f{i} = {self.mask(fill.when, names)}")
            lines.append(f"    r{i} = ALL ^ f{i}")
            for name, e in fill.updates.items():
                j = self.entry_variables.index(name)
                lines.append(f"    n{j} = (f{i} & {self.mask(e, names)}) | (r{i} & m{j})")
            for name in fill.updates:
                j = self.entry_variables.index(name)
                lines.append(f"    m{j} = n{j}")
        lines.append(f"    return ({self._unpack()})" if self.entry_variables else "    return ()")
        once: Callable[[State, Masks], Masks] = self._compile("\n".join(lines), "fill_once")
        if not self.content:
            return once

        def closed(s: State, m: Masks) -> Masks:
            while (filled := once(s, m)) != m:
                m = filled
            return m

        return closed

    def fillable(self, cpu_fill: int, s: State, m: Masks) -> int:
        """The mask of entries that a walk may create on one CPU now."""
        key = f"fillable_{cpu_fill}"
        if key not in self._atoms:
            names = self._mask_names(None, "s")
            unpack = f"    {self._unpack()} = m\n" if self.entry_variables else ""
            self._compile(f"def {key}(s, m):\n{unpack}    return {self.mask(self.system.fills[cpu_fill].when, names)}", key)
        made: int = self._atoms[key](s, m)
        return made

    def used(self, step: Step) -> Callable[[State, tuple[int, ...], Masks], int]:
        """Whether the entry that ``step`` goes through is cached; 1 for a step that uses none."""
        key = f"used_{step.index}"
        if key not in self._atoms:
            if not step.used:
                return lambda s, p, m: 1
            assert step.cpu is not None
            fields = [v.name for v in self.system.entry_fields]
            self._atoms["NUMBER"] = {tuple(e[n] for n in fields): i for i, e in enumerate(self.entries)}
            names = self._mask_names(step, "s")
            entry = "".join(f"{code(e, names)}, " for e in step.used)
            self._compile(f"def {key}(s, p, m):\n    {self._unpack()} = m\n    return {names[self.system.cached[step.cpu]]} >> NUMBER[{entry}] & 1", key)
        made: Callable[[State, tuple[int, ...], Masks], int] = self._atoms[key]
        return made

    def moved(self, step: Step) -> Callable[[State, tuple[int, ...], Masks], Masks] | None:
        """The entry masks after a step and before any fill; None where they stay."""
        key = f"moved_{step.index}"
        if key not in self._atoms:
            made: Any = None
            changed = {n: e for n, e in step.entry_updates.items() if n in self._entry_names}
            if changed:
                names = self._mask_names(step, "s")
                after = "".join((self.mask(changed[n], names) if n in changed else f"m{i}") + ", " for i, n in enumerate(self.entry_variables))
                made = self._compile(f"def {key}(s, p, m):\n    {self._unpack()} = m\n    return ({after})", key)
            self._atoms[key] = made
        found: Callable[[State, tuple[int, ...], Masks], Masks] | None = self._atoms[key]
        return found

    def refills(self, step: Step) -> bool:
        """Whether a fill after ``step`` can do what it could not before: it reads or sets what the step changes."""
        touched = {*step.updates, *step.entry_updates}
        return any(touched & (f.reads | set(f.updates) | {n for e in f.updates.values() for n in variables(e)}) for f in self.system.fills)

    def step_bads(self, step: Step) -> list[tuple[Bad, Callable[[State, tuple[int, ...], Masks], int]]]:
        """Per clause, the mask of entries for which the step is a violation (ALL: for none in particular)."""
        if step.index not in self._bads:
            names = self._mask_names(step, "s")
            self._bads[step.index] = [(b, self._bad_function(f"bad_{step.index}_{i}", b.when, names, "s, p, m")) for i, b in enumerate(step.bads)]
        return self._bads[step.index]

    def state_bads(self) -> list[tuple[Bad, Callable[[State, tuple[int, ...], Masks], int]]]:
        """The same for what must hold in every state; parameters are empty."""
        names = self._mask_names(None, "s")
        return [(b, self._bad_function(f"state_bad_{i}", b.when, names, "s, p, m")) for i, b in enumerate(self.system.invariants)]

    def _bad_function(self, name: str, when: Expr, names: Mapping[str, str], arguments: str) -> Callable[[State, tuple[int, ...], Masks], int]:
        unpack = f"    {self._unpack()} = m\n" if self.entry_variables else ""
        made: Callable[[State, tuple[int, ...], Masks], int] = self._compile(f"def {name}({arguments}):\n{unpack}    return {self.mask(when, names)}", name)
        return made

    def initial_content(self, s: State, *, cached: bool = True) -> Masks:
        """The largest content that a run may start with, or none at all; before any fill."""
        key = f"initial_{'content' if cached else 'nothing'}"
        if key not in self._atoms:
            names = self._mask_names(None, "s")
            masks = "".join(f"{self.mask(self.system.entry_start(v, cached=cached), names)}, " for v in self.system.entry_variables)
            self._compile(f"def {key}(s):\n    return ({masks})", key)
        made: Masks = self._atoms[key](s)
        return made

    def on_check(self, handler: Callable[[int], None]) -> None:
        """Called with a step's index when a check of the model fails."""
        self._atoms["raise_check"] = handler


def content_bit(name: str, entry: int) -> str:
    """What a rule calls the entry variable ``name`` of the entry with this number, whichever one it looks at."""
    return f"{name}#{entry}"


class _Lookup(dict[tuple[int, ...], int]):
    """Mask of the entries for which a pattern holds, by the values of its holes."""

    def __init__(self, pattern: Expr, holes: Sequence[str], entries: Sequence[Mapping[str, int]]) -> None:
        super().__init__()
        self.pattern, self.holes, self.entries = pattern, holes, entries

    def __missing__(self, values: tuple[int, ...]) -> int:
        bound = dict(zip(self.holes, values, strict=True))
        mask = 0
        for i, entry in enumerate(self.entries):
            if evaluate(self.pattern, {**entry, **bound}):
                mask |= 1 << i
        self[values] = mask
        return mask
