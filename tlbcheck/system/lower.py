"""From procedures to the transition system, by symbolic execution between two steps.

A location is a place at which an activation waits: before an operation, an access to shared state
or a free choice. A step runs from one location over exactly one operation to the next: what only
touches locals costs nothing and cannot be interrupted by anything that it could notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tlbcheck.errors import InputError, InternalError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, conjuncts, const, eq, ite, not_, or_, substitute, var, variables
from tlbcheck.lang.model import CACHED, Event, Ghost, Interrupt, Model, Property
from tlbcheck.lang.types import BOOL, IntType, Type
from tlbcheck.system.transition_system import Bad, Check, Fill, Parameter, ReturnTo, Step, TransitionSystem, Variable

_LOCAL_LIMIT = 2_000
_SITES = 64
HALTED = "halted"


@dataclass(frozen=True, eq=False)
class _Frame:
    """One call on the stack: where it was called, and the prefix of its locals.

    The frame of a shared procedure has no parent: who called is known at run time only.
    """

    procedure: p.Procedure
    path: str
    call_place: Place | None
    parent: _Frame | None
    target: str | None
    shared: _Shared | None = None

    def roles(self) -> tuple[str, ...]:
        above = self.parent.roles() if self.parent else ()
        return (*above, self.procedure.role) if self.procedure.role else above


@dataclass(eq=False)
class _Shared:
    """A procedure called from several places, compiled once: a local remembers where to return."""

    path: str
    sites: list[_Site] = field(default_factory=list)
    returns: list[tuple[_Run, Expr | None]] = field(default_factory=list)

    @property
    def variable(self) -> str:
        return f"{self.path}:%return"


@dataclass(frozen=True, eq=False)
class _Site:
    """Where a shared procedure returns to, and what takes its value."""

    after: _Sequence
    target: str | None
    place: Place


@dataclass(frozen=True, eq=False)
class _Sequence:
    """The rest of a statement list; ``kind`` says what happens at its end."""

    statements: Sequence[p.Statement]
    position: int
    frame: _Frame
    kind: str  # "block", "body" of a procedure, "atomic"
    below: _Sequence | None

    def key(self) -> tuple[object, ...]:
        mine = (id(self.statements), self.position, self.frame.path)
        return mine if self.below is None else (*mine, *self.below.key())

    def at(self, position: int) -> _Sequence:
        return replace(self, position=position)


@dataclass(eq=False)
class _Run:
    """A symbolic execution under way: what one step does so far."""

    cpu: int | None
    level: str
    here: _Sequence | None
    guard: list[Expr] = field(default_factory=list)
    store: dict[str, Expr] = field(default_factory=dict)
    locals: dict[str, Expr] = field(default_factory=dict)
    parameters: list[Parameter] = field(default_factory=list)
    bads: list[Bad] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    performed: bool = False
    in_atomic: bool = False
    action: str = ""
    text: str = ""
    operands: dict[str, Expr] = field(default_factory=dict)
    place: p.Statement | None = None
    frame: _Frame | None = None
    exception: str = ""
    local_steps: int = 0
    source: int = 0
    entered: dict[str, int] = field(default_factory=dict)

    def fork(self, condition: Expr) -> _Run:
        return replace(
            self,
            guard=[*self.guard, condition],
            store=dict(self.store),
            locals=dict(self.locals),
            parameters=list(self.parameters),
            bads=list(self.bads),
            events=list(self.events),
            checks=list(self.checks),
            operands=dict(self.operands),
            entered=dict(self.entered),
        )


@dataclass(eq=False)
class _Draft:
    """A step whose locals are still symbolic; liveness decides which are kept."""

    run: _Run
    source: int
    target: int


@dataclass(eq=False)
class _Activation:
    """The locations of one (CPU, level): 0 is idle or finished."""

    name: str
    numbers: dict[tuple[object, ...], int] = field(default_factory=dict)
    waiting: list[_Sequence] = field(default_factory=list)
    drafts: list[_Draft] = field(default_factory=list)

    @property
    def pc(self) -> str:
        return f"{self.name}.pc"

    def location(self, here: _Sequence | None) -> int:
        if here is None:
            return 0
        key = here.key()
        if key not in self.numbers:
            self.numbers[key] = len(self.numbers) + 1
            self.waiting.append(here)
        return self.numbers[key]


class _Lowering:
    def __init__(self, model: Model, properties: Sequence[Property]) -> None:
        self.model = model
        self.monitors = [*properties, *([model.case] if model.case else [])]
        self.properties = tuple(properties)
        self.types: dict[str, Type] = {}
        self.initials: dict[str, int] = {}
        self.flags: dict[str, Expr] = {}
        self.roles: set[str] = set()
        self.operations: set[str] = set()
        self.activations: dict[tuple[int, str], _Activation] = {}
        self.renamed: dict[tuple[int | None, str], dict[Expr, Expr]] = {}
        self.ghosts = {g.name: g for m in self.monitors for g in m.ghosts}
        self.shared: dict[str, _Shared] = {}
        self.call_sites: dict[tuple[str, p.Procedure], int] = {}
        self.roles_asked = {r.event.within for m in self.monitors for r in m.rules}
        self.work: list[_Run] = []
        self.flag_objects: dict[str, p.Flag] = {f.name: f for f in model.flags}

    # -- names

    def variable(self, v: p.StateVar, cpu: int | None) -> str:
        name = f"cpu{cpu}.{v.name}" if v.per_cpu else v.name
        self.types.setdefault(name, v.type)
        return name

    def declare(self) -> None:
        """Give the types of all shared variables: rules may read them before a step does."""
        seen: set[p.Procedure] = set()
        left = [q for q in (self.model.init, self.model.task, *self.model.actions, *(i.handler for i in self.model.interrupts)) if q is not None]
        while left:
            procedure = self.model.resolve(left.pop())
            if procedure in seen:
                continue
            seen.add(procedure)
            for s in p.walk(procedure.body):
                if isinstance(s, p.Call):
                    left.append(s.procedure)
                elif isinstance(s, p.Read | p.Write) and not s.variable.per_cpu:
                    if s.variable.index is None:
                        self.variable(s.variable, None)
                    else:
                        self.elements(s.variable)

    def elements(self, v: p.StateVar) -> list[str]:
        if v.per_cpu:
            return [self.variable(v, c) for c in range(self.model.cpus)]
        assert v.index is not None
        names = [f"{v.name}[{v.index.show(i)}]" for i in v.index.values()]
        for n in names:
            self.types.setdefault(n, v.type)
        return names

    def ghost_name(self, g: Ghost, cpu: int | None, level: str) -> str:
        base = g.name.removeprefix("ghost.")
        name = f"cpu{cpu}.{base}"
        if g.frame:
            name += f".{level}"
        if g.per_entry:
            name += "[entry]"
        else:
            self.types.setdefault(name, g.type)
            self.initials.setdefault(name, g.initial)
        return name

    def cached_name(self, cpu: int | None) -> str:
        return f"cpu{cpu}.cached[entry]"

    def resolve(self, e: Expr, cpu: int | None, level: str) -> Expr:
        """An expression of a rule over the names of the transition system; ``arg.*`` stay."""
        memo = self.renamed.setdefault((cpu, level), {})
        found = memo.get(e)
        if found is None:
            names: dict[str, Expr] = {}
            for name, v in variables(e).items():
                head, _, rest = name.partition(".")
                if head == "setting":
                    setting = self.model.settings.get(name, TRUE)
                    names[name] = self.resolve(setting, cpu, level)
                elif head == "meaning":
                    if rest not in self.model.meanings:
                        raise InputError(f"{self.model.name} does not say what '{rest}' means", hint=f"add it to meanings={{'{rest}': ...}}")
                    names[name] = self.resolve(self.model.meanings[rest], cpu, level)
                elif head == "ghost":
                    g = self.ghosts[name]
                    names[name] = var(self.ghost_name(g, cpu, level), g.type)
                elif name == "entry.cached":
                    names[name] = var(self.cached_name(cpu), BOOL)
                elif head == "flag":
                    names[name] = self.flag(name)
                elif head in ("entry", "arg", "case"):
                    if head == "entry":
                        names[name] = var(name, self.field_type(name))
                else:
                    names[name] = self.state_variable(name, v, cpu)
            found = substitute(e, names)
            memo[e] = found
        return found

    def flag(self, name: str) -> Expr:
        f = self.flag_objects.get(name.removeprefix("flag."))
        if f is None:
            raise InputError(f"{self.model.name} uses a flag that it does not set: {name}", hint="list it in flags={...}")
        return TRUE if self.model.flags.get(f, f.default) else FALSE

    def field_type(self, name: str) -> Type | None:
        cache = self.model.cache
        for field_name, type_, _ in cache.fields if cache else ():
            if name == f"entry.{field_name}":
                return type_
        raise InputError(f"{self.model.name}'s cache has no field '{name.removeprefix('entry.')}'", hint="add it to the cache's fields")

    def state_variable(self, name: str, v: Expr, cpu: int | None) -> Expr:
        per_cpu = f"cpu{cpu}.{name}"
        if name not in self.types and v.type is not None:
            self.types.setdefault(per_cpu, v.type)
            return var(per_cpu, v.type)
        return var(name, v.type)

    # -- events

    def raise_event(self, run: _Run, kind: str, name: str, args: Mapping[str, Expr], roles: tuple[str, ...], when: Expr = TRUE, positional: tuple[Expr, ...] = ()) -> None:
        """Apply every rule for an event of which ``when`` says if it happens."""
        event = Event(kind, name)
        run.events.append(event)
        for monitor in self.monitors:
            for rule in monitor.rules:
                e = rule.event
                if e.kind != kind or (e.name and e.name != name) or (e.within and e.within not in roles):
                    continue
                operands = dict(args) | {f"arg.{n}": a for n, a in zip(e.parameters, positional, strict=False)}
                values = run.store | operands
                for clause, bad in rule.bad:
                    condition = substitute(self.resolve(bad, run.cpu, run.level), values)
                    run.bads.append(Bad(monitor.name, clause.replace("{}", name), and_(when, condition)))
                made = {}
                for ghost, value in rule.updates:
                    target = self.ghost_name(ghost, run.cpu, run.level)
                    new = substitute(self.resolve(value, run.cpu, run.level), values)
                    made[target] = ite(when, new, run.store.get(target, var(target, ghost.type)))
                run.store.update(made)

    # -- symbolic execution

    def local(self, run: _Run, frame: _Frame, e: Expr) -> Expr:
        """An expression of a procedure, over the locals' present values."""
        values: dict[str, Expr] = {}
        for name, v in variables(e).items():
            head = name.partition(".")[0]
            if head == "flag":
                values[name] = self.flag(name)
            elif head != "case":
                full = f"{frame.path}:{name}"
                values[name] = run.locals.get(full, var(full, v.type))
        return substitute(e, values)

    def assign(self, run: _Run, frame: _Frame, target: str, value: Expr) -> None:
        run.locals[f"{frame.path}:{target}"] = value

    def set_local(self, run: _Run, frame: _Frame, s: p.Assign) -> None:
        value = self.local(run, frame, s.value)
        if s.type is not None:
            self.in_range(run, value, s.type, s.place, s.target)
        self.assign(run, frame, s.target, value)

    def execute(self, run: _Run) -> list[tuple[_Run, _Sequence | None]]:
        """Run on to the next location on every path; ``None`` is the end of the activation."""
        done: list[tuple[_Run, _Sequence | None]] = []
        work = [run]
        self.work = work
        while work:
            r = work.pop()
            while True:
                r.local_steps += 1
                if r.local_steps > _LOCAL_LIMIT:
                    raise InputError("a loop without a step", place=_loop(r.here), hint="every way round a loop needs an operation or an access to shared state")
                here = r.here
                if here is None:
                    done.append((r, None))
                    break
                if here.position >= len(here.statements):
                    if not self.end(r, here):
                        break
                    continue
                s = here.statements[here.position]
                frame = here.frame
                match s:
                    case p.Assign():
                        self.set_local(r, frame, s)
                        r.here = here.at(here.position + 1)
                    case p.If() if self.is_pure([s]) and not _returns([s]):
                        self.compute(r, frame, [s])
                        r.here = here.at(here.position + 1)
                    case p.If():
                        condition = self.local(r, frame, s.condition)
                        after = here.at(here.position + 1)
                        paths = []
                        for taken, body in ((condition, s.then), (not_(condition), s.orelse)):
                            if taken is not FALSE:
                                paths.append((taken, _Sequence(body, 0, frame, "block", after)))
                        for taken, where in reversed(paths[1:]):
                            other = r.fork(taken)
                            other.here = where
                            work.append(other)
                        if paths[0][0] is not TRUE:
                            r.guard.append(paths[0][0])
                        r.here = paths[0][1]
                    case p.While():
                        condition = self.local(r, frame, s.condition)
                        if condition is not TRUE and condition is not FALSE:
                            other = r.fork(not_(condition))
                            other.here = here.at(here.position + 1)
                            work.append(other)
                            r.guard.append(condition)
                        r.here = here.at(here.position + 1) if condition is FALSE else _Sequence(s.body, 0, frame, "block", here)
                    case p.Call():
                        self.call(r, here, s)
                    case p.Return():
                        if not self.return_(r, here, s):
                            break
                    case p.Assert():
                        failed = not_(self.local(r, frame, s.condition))
                        if failed is not FALSE:
                            self.raise_event(r, "assert", s.text, {}, frame.roles(), failed)
                        r.here = here.at(here.position + 1)
                    case p.Require():
                        condition = self.local(r, frame, s.condition)
                        if condition is FALSE:
                            break
                        r.guard.append(condition)
                        r.here = here.at(here.position + 1)
                    case p.Choose():
                        if r.performed and not r.in_atomic:
                            done.append((r, here))
                            break
                        self.choose(r, frame, s)
                        r.here = here.at(here.position + 1)
                    case p.AtomicBlock():
                        if r.performed:
                            done.append((r, here))
                            break
                        r.in_atomic = True
                        summary = frame.procedure.doc.split("\n")[0].rstrip(".") or "one indivisible step"
                        r.action, r.text, r.place, r.frame = "atomic", summary.replace("{", "{{").replace("}", "}}"), s, frame
                        r.here = _Sequence(s.body, 0, frame, "atomic", here.at(here.position + 1))
                    case p.Read() | p.Write() | p.Do():
                        if r.performed and not r.in_atomic:
                            done.append((r, here))
                            break
                        work.extend(self.perform(r, here, s))
                        break
                    case _:
                        raise InputError(f"unsupported statement {type(s).__name__}", place=s.place)
        return done

    def end(self, run: _Run, here: _Sequence) -> bool:
        """The end of a statement list; false if the run goes on elsewhere."""
        if here.kind == "atomic":
            run.in_atomic, run.performed = False, True
            run.here = here.below
        elif here.kind == "body":
            if here.frame.procedure.result is not None:
                raise InputError(f"{here.frame.procedure.name} can end without returning a value", place=here.frame.procedure.place, hint="return a value on every path")
            return self.finish(run, here, None)
        else:
            run.here = here.below
        return True

    def call(self, run: _Run, here: _Sequence, s: p.Call) -> None:
        callee = self.model.resolve(s.procedure)
        args = tuple(self.local(run, here.frame, a) for a in s.args)
        if len(args) != len(callee.parameters):
            raise InputError(f"{callee.name} takes {len(callee.parameters)} argument(s), {len(args)} given", place=s.place)
        after = here.at(here.position + 1)
        shared = None if run.in_atomic or run.level == "init" else self.sharing(run, callee, here.frame)
        if shared is None:
            inner = _Frame(callee, f"{here.frame.path}/{callee.name}@{s.place.line}.{s.place.column}", s.place, here.frame, s.target)
            run.here = _Sequence(callee.body, 0, inner, "body", after)
        else:
            inner = _Frame(callee, shared.path, None, None, None, shared)
            run.here = _Sequence(callee.body, 0, inner, "body", None)
            self.enter_shared(run, shared, _Site(after, s.target, s.place))
        for parameter, value in zip(callee.parameters, args, strict=True):
            self.assign(run, inner, parameter.name, value)
        if not callee.role and callee.result is not None and self.is_pure(callee.body):
            result = self.compute(run, inner, callee.body)
            if result is None:
                raise InputError(f"{callee.name} can end without returning a value", place=callee.place, hint="return a value on every path")
            if s.target is not None:
                self.assign(run, here.frame, s.target, result)
            run.here = here.at(here.position + 1)
            return
        if callee.role:
            self.roles.add(callee.role)
            named = {f"arg.{q.name}": a for q, a in zip(callee.parameters, args, strict=True)}
            self.raise_event(run, "enter", callee.role, named, inner.roles(), positional=args)

    def sharing(self, run: _Run, callee: p.Procedure, frame: _Frame) -> _Shared | None:
        """The one copy of ``callee`` on this level, where it is long and called from several places."""
        if self.call_sites.get((run.level, callee), 0) < 2 or not self.is_long(callee):
            return None
        roles = "+".join(r for r in frame.roles() if r in self.roles_asked)
        path = f"cpu{run.cpu}.{run.level}:{callee.name}{'(' + roles + ')' if roles else ''}"
        return self.shared.setdefault(path, _Shared(path))

    def enter_shared(self, run: _Run, shared: _Shared, site: _Site) -> None:
        keys = [x.after.key() for x in shared.sites]
        if site.after.key() not in keys:
            shared.sites.append(site)
            keys.append(site.after.key())
            if len(keys) > _SITES:
                raise InputError(f"more than {_SITES} calls of one procedure", place=site.place)
            for returned, value in list(shared.returns):
                self.return_to(shared, len(keys) - 1, returned, value)
        k = keys.index(site.after.key())
        run.locals[shared.variable] = const(k, IntType(0, _SITES - 1))
        run.entered[shared.path] = k

    def is_long(self, procedure: p.Procedure) -> bool:
        return sum(isinstance(s, p.Do | p.Read | p.Write) for s in self.all_statements(procedure)) >= 3

    def all_statements(self, procedure: p.Procedure) -> list[p.Statement]:
        made: list[p.Statement] = []
        for s in p.walk(procedure.body):
            made.append(s)
            if isinstance(s, p.Call):
                made += self.all_statements(self.model.resolve(s.procedure))
        return made

    def count_calls(self, level: str, procedure: p.Procedure, stack: tuple[p.Procedure, ...] = ()) -> None:
        """Count call sites by level; refuse recursion."""
        for s in p.walk(procedure.body):
            if isinstance(s, p.Call):
                callee = self.model.resolve(s.procedure)
                if callee in stack or callee is procedure:
                    raise InputError(f"{callee.name} calls itself", place=s.place, hint="recursion is not supported: write a loop")
                self.call_sites[level, callee] = self.call_sites.get((level, callee), 0) + 1
                self.count_calls(level, callee, (*stack, procedure))

    def is_pure(self, statements: Sequence[p.Statement]) -> bool:
        """Nothing but locals, branches and calls of procedures that are as pure."""

        def pure(s: p.Statement) -> bool:
            if isinstance(s, p.Call):
                callee = self.model.resolve(s.procedure)
                return not callee.role and self.is_pure(callee.body)
            return isinstance(s, p.Assign | p.If | p.Return)

        return all(pure(s) for s in p.walk(list(statements)))

    def compute(self, run: _Run, frame: _Frame, statements: Sequence[p.Statement]) -> Expr | None:
        """Run statements that touch only locals, both sides of a branch at once: no new path.

        The value is what they return; None if they reach their end.
        """
        for i, s in enumerate(statements):
            rest = statements[i + 1 :]
            match s:
                case p.Assign():
                    self.set_local(run, frame, s)
                case p.Return():
                    return None if s.value is None else self.local(run, frame, s.value)
                case p.Call():
                    callee = self.model.resolve(s.procedure)
                    inner = _Frame(callee, f"{frame.path}/{callee.name}@{s.place.line}.{s.place.column}", s.place, frame, s.target)
                    for parameter, a in zip(callee.parameters, s.args, strict=True):
                        self.assign(run, inner, parameter.name, self.local(run, frame, a))
                    value = self.compute(run, inner, callee.body)
                    if s.target is not None and value is not None:
                        self.assign(run, frame, s.target, value)
                case p.If():
                    condition = self.local(run, frame, s.condition)
                    before = dict(run.locals)
                    ends = _returns([s])
                    then = self.compute(run, frame, [*s.then, *rest] if ends else s.then)
                    taken, run.locals = run.locals, before
                    other = self.compute(run, frame, [*s.orelse, *rest] if ends else s.orelse)
                    for name in {**taken, **run.locals}:
                        # What is not assigned here keeps the value that it had at the location.
                        mine, theirs = taken.get(name), run.locals.get(name)
                        type_ = mine.type if mine is not None else theirs.type  # type: ignore[union-attr]
                        kept = var(name, type_)
                        run.locals[name] = ite(condition, kept if mine is None else mine, kept if theirs is None else theirs)
                    if ends:
                        return None if then is None or other is None else ite(condition, then, other)
                case _:
                    raise InternalError(f"{s.place}: a step was taken for a computation")
        return None

    def return_(self, run: _Run, here: _Sequence, s: p.Return) -> bool:
        value = None if s.value is None else self.local(run, here.frame, s.value)
        body: _Sequence = here
        while body.kind != "body":
            if body.kind == "atomic":
                run.in_atomic, run.performed = False, True
            assert body.below is not None
            body = body.below
        return self.finish(run, body, value)

    def finish(self, run: _Run, body: _Sequence, value: Expr | None) -> bool:
        frame = body.frame
        if frame.procedure.role:
            self.raise_event(run, "leave", frame.procedure.role, {}, frame.roles())
        if frame.parent is not None and frame.target is not None and value is not None:
            self.assign(run, frame.parent, frame.target, value)
        if frame.shared is not None:
            frame.shared.returns.append((run, value))
            for k in range(len(frame.shared.sites)):
                self.return_to(frame.shared, k, run, value)
            return False
        run.here = body.below
        return True

    def return_to(self, shared: _Shared, k: int, run: _Run, value: Expr | None) -> None:
        """Go on after call site ``k`` if that is where this activation came from."""
        type_ = IntType(0, _SITES - 1)
        came = run.locals.get(shared.variable, var(shared.variable, type_))
        condition = eq(came, const(k, type_))
        if condition is FALSE:
            return
        other, site = run.fork(condition), shared.sites[k]
        if site.target is not None and value is not None:
            self.assign(other, site.after.frame, site.target, value)
        other.here = site.after
        self.work.append(other)

    def choose(self, run: _Run, frame: _Frame, s: p.Choose) -> None:
        name = f"choice{len(run.parameters)}"
        run.parameters.append(Parameter(name, s.type, s.domain, s.label))
        self.assign(run, frame, s.target, var(name, s.type))

    def perform(self, run: _Run, here: _Sequence, s: p.Read | p.Write | p.Do) -> list[_Run]:
        frame = here.frame
        if not run.in_atomic:
            run.place, run.frame = s, frame
            run.performed = True
        run.here = here.at(here.position + 1)
        match s:
            case p.Read():
                self.assign(run, frame, s.target, self.read(run, frame, s))
                self.describe(run, f"read {s.variable.name}", f"reads {s.variable.name}", {})
                return [run]
            case p.Write():
                self.write(run, frame, s)
                return [run]
        return self.operate(run, frame, s)

    def describe(self, run: _Run, action: str, text: str, operands: dict[str, Expr]) -> None:
        if not run.in_atomic:
            run.action, run.text, run.operands = action, text, operands

    def stored(self, run: _Run, name: str) -> Expr:
        return run.store.get(name, var(name, self.types[name]))

    def read(self, run: _Run, frame: _Frame, s: p.Read) -> Expr:
        if s.at is None:
            return self.stored(run, self.variable(s.variable, run.cpu))
        at = self.local(run, frame, s.at)
        names = self.elements(s.variable)
        value = self.stored(run, names[-1])
        for i, name in reversed(list(enumerate(names[:-1]))):
            value = ite(eq(at, i), self.stored(run, name), value)
        return value

    def write(self, run: _Run, frame: _Frame, s: p.Write) -> None:
        value = self.local(run, frame, s.value)
        self.in_range(run, value, s.variable.type, s.place, s.variable.name)
        if s.variable.register and run.level != "init":
            raise InputError(f"{s.variable.name} is a register of the machine", place=s.place, hint="write it with an operation of the machine")
        if s.at is None:
            run.store[self.variable(s.variable, run.cpu)] = value
        else:
            at = self.local(run, frame, s.at)
            for i, name in enumerate(self.elements(s.variable)):
                run.store[name] = ite(eq(at, i), value, self.stored(run, name))
        self.describe(run, f"write {s.variable.name}", f"{s.variable.name} := {{value}}", {"value": value})

    def in_range(self, run: _Run, value: Expr, type_: Type, place: Place, what: str) -> None:
        if isinstance(type_, IntType) and not (isinstance(value.type, IntType) and value.op in ("var", "const") and type_.low <= value.type.low and value.type.high <= type_.high):
            if value.op == "const" and type_.low <= value.value <= type_.high:
                return
            holds = and_(const(type_.low, value.type) <= value, value <= const(type_.high, value.type))
            run.checks.append(Check(holds, place, f"an assignment to {what} leaves its range {type_.low}..{type_.high}"))

    def operate(self, run: _Run, frame: _Frame, s: p.Do) -> list[_Run]:
        operation, roles = s.operation, frame.roles()
        self.operations.add(operation.name)
        operands = {f"arg.{name}": self.local(run, frame, a) for (name, _), a in zip(operation.operands, s.args, strict=True)}
        self.describe(run, operation.name, operation.text or operation.name, {n.removeprefix("arg."): e for n, e in operands.items()})
        self.raise_event(run, "operation", operation.name, operands, roles)
        values = run.store | operands

        def now(e: Expr) -> Expr:
            return substitute(self.resolve(e, run.cpu, run.level), values)

        made: list[_Run] = []
        healthy: list[Expr] = []
        for exception in dict.fromkeys(c.exception for c in operation.faults):
            fault = or_(*(and_(*map(now, c.parts)) for c in operation.faults if c.exception == exception))
            faulting = and_(*healthy, fault)
            if faulting is not FALSE:
                other = run.fork(faulting)
                other.exception, other.here, other.performed = exception, None, True
                self.raise_event(other, "fault", exception, operands, roles)
                other.store[HALTED] = TRUE
                made.append(other)
            healthy.append(not_(fault))
        if and_(*healthy) is FALSE:
            return made
        run.guard.extend(healthy)
        dropped = self.dropped(operation, now)
        result = None if operation.result is None else now(operation.result)
        effects = {self.variable(v, run.cpu): now(e) for v, e in operation.effects}
        run.store.update(effects)
        if dropped is not FALSE:
            self.drop(run, dropped)
        if s.target is not None and result is not None:
            self.assign(run, frame, s.target, result)
        return [run, *made]

    def dropped(self, operation: p.Operation, now: object) -> Expr:
        assert callable(now)
        wanted = {"common": {"intel", "amd"}, "intel": {"intel"}, "amd": {"amd"}}[self.model.profile]
        return or_(*(and_(*map(now, c.parts)) for c in operation.drops if wanted <= c.vendors)) if self.model.cache else FALSE

    def drop(self, run: _Run, dropped: Expr) -> None:
        cached = self.cached_name(run.cpu)
        run.store[cached] = and_(run.store.get(cached, var(cached, BOOL)), not_(dropped))
        for g in self.ghosts.values():
            if g.per_entry:
                for level in ("task", "irq") if g.frame and self.model.interrupts else ("task",):
                    name = self.ghost_name(g, run.cpu, level)
                    run.store[name] = ite(dropped, const(g.initial, g.type), run.store.get(name, var(name, g.type)))

    # -- activations

    def activation(self, cpu: int, level: str) -> _Activation:
        return self.activations.setdefault((cpu, level), _Activation(f"cpu{cpu}.{level}"))

    def compile_activation(self, cpu: int, level: str) -> None:
        activation = self.activation(cpu, level)
        done = 0
        while done < len(activation.waiting):
            here = activation.waiting[done]
            done += 1
            source = activation.numbers[here.key()]
            run = _Run(cpu, level, here, source=source)
            for ended, where in self.execute(run):
                if not ended.performed:
                    place = here.statements[here.position].place if here.position < len(here.statements) else here.frame.procedure.place
                    raise InputError(f"{activation.name} can end without a step", place=place, hint="add an operation")
                self.close(ended, where, level)
                activation.drafts.append(_Draft(ended, ended.source, activation.location(where)))

    def close(self, run: _Run, where: _Sequence | None, level: str) -> None:
        """The end of an interrupt handler: IRET restores IF, which was set (delivery needs it)."""
        if where is None and level == "irq" and not run.exception:
            for interrupt in self.model.interrupts:
                run.store[self.variable(interrupt.flag, run.cpu)] = TRUE

    def start(self, cpu: int, level: str, procedure: p.Procedure) -> _Sequence:
        procedure = self.model.resolve(procedure)
        frame = _Frame(procedure, f"cpu{cpu}.{level}:{procedure.name}", None, None, None)
        if procedure.role:
            self.roles.add(procedure.role)
        return _Sequence(procedure.body, 0, frame, "body", None)

    def deliver(self, cpu: int, interrupt: Interrupt) -> None:
        activation = self.activation(cpu, "irq")
        run = _Run(cpu, "irq", self.start(cpu, "irq", interrupt.handler), performed=True)
        flag = self.variable(interrupt.flag, cpu)
        run.guard.append(self.resolve(interrupt.when, cpu, "irq"))
        run.guard.append(var(flag, BOOL))
        run.store[flag] = FALSE
        run.action, run.text = "interrupt", f"interrupt: {interrupt.handler.name} starts"
        assert run.here is not None
        run.frame = run.here.frame
        if run.frame.procedure.role:
            self.raise_event(run, "enter", run.frame.procedure.role, {}, run.frame.roles())
        for ended, where in self.execute(run):
            self.close(ended, where, "irq")
            activation.drafts.append(_Draft(ended, ended.source, activation.location(where)))

    def live_locals(self, activation: _Activation) -> dict[int, set[str]]:
        """The locals that something after each location still reads."""
        prefix = activation.name
        used: list[tuple[int, int, set[str], dict[str, set[str]]]] = []
        for d in activation.drafts:
            r = d.run
            reads: dict[str, Expr] = {}
            for e in (*r.guard, *r.store.values(), *(b.when for b in r.bads), *r.operands.values(), *(c.holds for c in r.checks)):
                variables(e, reads)
            passed = {name: {n for n in variables(e) if n.startswith(prefix) and ":" in n} for name, e in r.locals.items()}
            used.append((d.source, d.target, {n for n in reads if n.startswith(prefix) and ":" in n}, passed))
        live: dict[int, set[str]] = {}
        changed = True
        while changed:
            changed = False
            for source, target, reads_, passed in reversed(used):
                wanted = set(reads_)
                for name in live.get(target, ()):
                    wanted |= passed.get(name, {name})
                mine = live.setdefault(source, set())
                if not wanted <= mine:
                    mine |= wanted
                    changed = True
        return live

    # -- assembly

    def run(self) -> TransitionSystem:
        model = self.model
        self.types[HALTED] = BOOL
        self.declare()
        if model.task is not None:
            self.count_calls("task", model.resolve(model.task))
        for interrupt in model.interrupts:
            self.count_calls("irq", model.resolve(interrupt.handler))
        for cpu in range(model.cpus):
            if model.task is not None:
                task = self.activation(cpu, "task")
                task.location(self.start(cpu, "task", model.task))
                self.compile_activation(cpu, "task")
            for interrupt in model.interrupts:
                self.deliver(cpu, interrupt)
            if model.interrupts:
                self.compile_activation(cpu, "irq")
        steps: list[Step] = []
        for (_, level), activation in self.activations.items():
            self.types[activation.pc] = IntType(0, len(activation.numbers))
            self.initials[activation.pc] = 1 if level == "task" else 0
        for (cpu, level), activation in self.activations.items():
            live = self.live_locals(activation)
            suspended = [self.at(self.activations[cpu, "irq"], 0)] if level == "task" and (cpu, "irq") in self.activations else []
            for d in activation.drafts:
                steps.append(self.finish_step(len(steps), d, activation, live, suspended))
        for action in model.actions:
            for run in self.atomically(action, None, "environment"):
                steps.append(self.make_step(len(steps), run, {}, run.guard))
        return self.system(steps)

    def at(self, activation: _Activation, location: int) -> Expr:
        """The activation waits at ``location``; only once all its locations are known."""
        type_ = self.types[activation.pc]
        return eq(var(activation.pc, type_), const(location, type_))

    def finish_step(self, index: int, d: _Draft, activation: _Activation, live: dict[int, set[str]], suspended: list[Expr]) -> Step:
        r = d.run
        before, after = live.get(d.source, set()), live.get(d.target, set())
        updates: dict[str, Expr] = {}
        if not r.exception:
            for name in sorted(before | after):
                if name in after and name in r.locals:
                    updates[name] = r.locals[name]
                    self.types.setdefault(name, _storable(r.locals[name].type, name))
                elif name not in after:
                    updates[name] = const(0, self.types.get(name, BOOL))
            if d.target != d.source:
                updates[activation.pc] = const(d.target, self.types[activation.pc])
        pc = self.at(activation, d.source)
        guard = [pc, *suspended, not_(var(HALTED, BOOL)), *r.guard]
        return self.make_step(index, r, updates, guard)

    def make_step(self, index: int, r: _Run, local_updates: dict[str, Expr], guard: list[Expr]) -> Step:
        entry_names = {v.name for v in self.entry_variables()}
        store = {n: e for n, e in r.store.items() if not (e.op == "var" and e.value == n)}
        condition = and_(*guard)
        parameters = list(r.parameters)
        fixed: dict[str, Expr] = {}
        for part in conjuncts(condition):
            if part.op == "eq" and part.args[0].op == "var" and part.args[1].op == "const" and part.args[0].value.startswith("choice"):
                fixed[part.args[0].value] = part.args[1]
        memo: dict[Expr, Expr] = {}

        def fix(e: Expr) -> Expr:
            return substitute(e, fixed, memo) if fixed else e

        control = {n: fix(e) for n, e in {**store, **local_updates}.items() if n not in entry_names}
        entries = {n: fix(e) for n, e in store.items() if n in entry_names}
        frames: list[_Frame] = []
        frame = r.frame
        while frame is not None:
            frames.append(frame)
            frame = frame.parent
        places = [r.place.place] if r.place else []
        places += [f.call_place for f in frames if f.call_place is not None]
        outer = frames[-1].shared if frames else None
        returns = None
        if outer is not None:
            returns = ReturnTo(outer.variable, r.entered.get(outer.path), lambda k: _caller(outer, k))
        named = next((f.procedure.name for f in frames if f.procedure.role), frames[0].procedure.name if frames else r.level)
        return Step(
            index=index,
            action=r.action,
            text=r.text,
            cpu=r.cpu,
            level=r.level,
            actor=named,
            places=tuple(places),
            procedures=tuple(f.procedure.name for f in frames),
            parameters=tuple(q for q in parameters if q.name not in fixed),
            guard=fix(condition),
            updates=control,
            entry_updates=entries,
            bads=tuple(Bad(b.property, b.clause, fix(b.when)) for b in r.bads if b.when is not FALSE and b.property != getattr(self.model.case, "name", None)),
            events=tuple(r.events),
            operands={n: fix(e) for n, e in r.operands.items()},
            choices=tuple((q.label or q.name, q.type, fix(var(q.name, q.type))) for q in parameters),
            checks=tuple(Check(fix(c.holds), c.place, c.message) for c in r.checks),
            roles=frames[0].roles() if frames else (),
            exception=r.exception,
            returns=returns,
        )

    def atomically(self, procedure: p.Procedure, cpu: int | None, level: str) -> list[_Run]:
        """Every path of a procedure as one step: an action, or the start."""
        procedure = self.model.resolve(procedure)
        frame = _Frame(procedure, f"{level}:{procedure.name}", None, None, None)
        run = _Run(cpu, level, _Sequence(procedure.body, 0, frame, "body", None), in_atomic=True)
        run.action, run.text, run.frame = procedure.name, procedure.doc.split("\n")[0] or procedure.name, frame
        for q in procedure.parameters:
            name = f"choice{len(run.parameters)}"
            run.parameters.append(Parameter(name, q.type, q.type.values(), q.name))
            self.assign(run, frame, q.name, var(name, q.type))
        made = []
        for ended, where in self.execute(run):
            assert where is None
            made.append(ended)
        return made

    def entry_variables(self) -> list[Variable]:
        if self.model.cache is None:
            return []
        made = []
        for cpu in range(self.model.cpus):
            made.append(Variable(self.cached_name(cpu), BOOL))
            for g in self.ghosts.values():
                if g.per_entry:
                    for level in ("task", "irq") if g.frame and self.model.interrupts else ("task",):
                        made.append(Variable(self.ghost_name(g, cpu, level), g.type, g.initial))
        return made

    def fills(self) -> tuple[Fill, ...]:
        cache = self.model.cache
        if cache is None:
            return ()
        made = []
        for cpu in range(self.model.cpus):
            when = self.resolve(cache.fill, cpu, "task")
            run = _Run(cpu, "task", None)
            run.store[self.cached_name(cpu)] = TRUE
            self.raise_event(run, "fill", "", {}, ())
            made.append(Fill(cpu, when, run.store, frozenset(variables(when))))
        return tuple(made)

    def system(self, steps: list[Step]) -> TransitionSystem:
        model, cache = self.model, self.model.cache
        initial_runs = self.atomically(model.init, 0, "init")
        initial = tuple(self.make_step(i, r, {}, r.guard) for i, r in enumerate(initial_runs))
        fills = self.fills()
        missing = {q.name: [n for n in q.needs if n not in self.roles] for q in self.properties}
        not_applicable = {name: f"the model has no procedure of role {', '.join(lacking)}" for name, lacking in missing.items() if lacking}
        for q in self.properties:
            lacking = [n for n in _names(q) if n not in model.names()]
            if q.name not in not_applicable and cache is None and any(n.startswith("entry.") for n in _names(q)):
                not_applicable[q.name] = "the model has no cache"
            elif q.name not in not_applicable and any("." not in n for n in lacking):
                not_applicable[q.name] = f"the model has no {', '.join(n for n in lacking if '.' not in n)}"
        invariants = []
        for q in self.properties:
            if q.name in not_applicable:
                continue
            for clause, bad in q.invariants:
                invariants += [Bad(q.name, clause, self.resolve(bad, cpu, "task")) for cpu in range(model.cpus)]
        steps = [replace(s, bads=tuple(b for b in s.bads if b.property not in not_applicable)) for s in steps]
        entry_variables = self.entry_variables()
        entry_names = {v.name for v in entry_variables}
        fields = tuple(Variable(f"entry.{n}", t, 0, d) for n, t, d in cache.fields) if cache else ()
        reads: dict[str, Expr] = {}
        for s in (*steps, *initial):
            for e in (s.guard, *s.updates.values(), *s.entry_updates.values(), *(b.when for b in s.bads), *s.operands.values()):
                variables(e, reads)
        for f in fills:
            variables(f.when, reads)
        for b in invariants:
            variables(b.when, reads)
        case_names: dict[str, str] = {}
        if model.case is not None:
            for g in model.case.ghosts:
                if not g.per_entry and not g.frame:
                    case_names[g.name.rpartition(".")[2]] = self.ghost_name(g, 0, "task")
        frames: dict[str, dict[str, str]] = {}
        if model.case is not None:
            frame_ghosts = {g.name.rpartition(".")[2].removeprefix("this_"): g for g in model.case.ghosts if g.frame}
            if set(case_names) <= set(frame_ghosts):
                frames = {level: {n: self.ghost_name(frame_ghosts[n], 0, level) for n in case_names} for level in ("task", "irq")}
        written = {n for s in (*steps, *initial) for n in s.updates}
        names = (set(reads) | written | set(case_names.values())) - entry_names - {v.name for v in fields}
        cases = {f"case.{c.name}": c for c in model.cases}
        control = []
        for name in sorted(names, key=_natural):
            if name.startswith("choice"):
                continue
            if name in cases:
                control.append(Variable(name, cases[name].type, 0, cases[name].domain))
            elif name.startswith("case."):
                raise InputError(f"{model.name} uses the case variable {name} but does not list it", hint="add it to cases=(...)")
            else:
                type_ = self.types.get(name) or reads[name].type
                assert type_ is not None, name
                low = type_.low if isinstance(type_, IntType) else 0
                control.append(Variable(name, type_, self.initials.get(name, low if low > 0 else 0)))
        _check_entry_independence(steps, fills, entry_names, {v.name for v in fields})
        return TransitionSystem(
            model=model,
            properties=self.properties,
            control=tuple(control),
            rigid=tuple(n for n in cases if n in names),
            entry_fields=fields,
            entry_variables=tuple(entry_variables),
            initial=initial,
            entry_initial={self.cached_name(c): self.resolve(cache.initial, c, "task") for c in range(model.cpus)} if cache else {},
            steps=tuple(steps),
            fills=fills,
            invariants=tuple(invariants),
            case_variables=case_names,
            case_frames={level: names_ for level, names_ in frames.items() if set(names_.values()) <= names},
            not_applicable=not_applicable,
            cached={c: self.cached_name(c) for c in range(model.cpus)} if cache else {},
            meanings={n: self.resolve(e, 0, "task") for n, e in model.meanings.items()} if cache else {},
        )


def _loop(here: _Sequence | None) -> Place | None:
    """The loop that a symbolic execution goes round in."""
    while here is not None:
        if here.position < len(here.statements) and isinstance(here.statements[here.position], p.While):
            return here.statements[here.position].place
        if here.below is None:
            return here.frame.procedure.place
        here = here.below
    return None


def _caller(shared: _Shared, k: int) -> tuple[tuple[Place, ...], tuple[str, ...], ReturnTo | None]:
    """The frames above call site ``k``."""
    site = shared.sites[k]
    places, names = [site.place], []
    frame: _Frame | None = site.after.frame
    outer = None
    while frame is not None:
        names.append(frame.procedure.name)
        if frame.call_place is not None:
            places.append(frame.call_place)
        outer, frame = frame.shared, frame.parent
    above = None if outer is None else ReturnTo(outer.variable, None, lambda j: _caller(outer, j))
    return tuple(places), tuple(names), above


def _natural(name: str) -> tuple[int, str]:
    return (0 if name.startswith("case.") else 1, name)


def _storable(type_: Type | None, name: str) -> Type:
    if type_ is None:
        raise InputError(f"the type of {name.rpartition(':')[2]} is not known", hint="annotate it")
    return type_


def _names(q: Property) -> set[str]:
    """Everything that a property's rules and invariants look at."""
    expressions = [e for _, e in q.invariants] + [e for r in q.rules for _, e in (*r.bad, *r.updates)]
    return {n for e in expressions for n in variables(e)}


def _check_entry_independence(steps: Sequence[Step], fills: Sequence[Fill], entries: set[str], fields: set[str]) -> None:
    """T1 and T3: neither control nor fills depend on what is cached, so one entry is enough."""
    for s in steps:
        for e in (s.guard, *s.updates.values()):
            touched = [n for n in variables(e) if n in entries or n in fields]
            if touched:
                raise InputError(f"control depends on cached entries ({touched[0]})", place=s.places[0] if s.places else None, hint="procedures cannot read the TLB")
    for f in fills:
        touched = [n for n in variables(f.when) if n in entries]
        if touched:
            raise InputError("a fill depends on other cached entries", hint="one tracked entry is not enough for such a cache")


def _returns(statements: Sequence[p.Statement]) -> bool:
    return any(isinstance(s, p.Return) for s in p.walk(list(statements)))


def lower(model: Model, properties: Sequence[Property]) -> TransitionSystem:
    """The transition system of ``model`` with the monitors of ``properties`` built in.

    Raises ``InputError`` with the place of what cannot be compiled.
    """
    return _Lowering(model, properties).run()


__all__ = ["CACHED", "HALTED", "lower"]
