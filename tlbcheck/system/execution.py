"""Symbolic execution of procedures from one location to the next.

What only touches locals is folded into the step before it. A procedure that is long and called from
several places is compiled once per level, with a local that remembers where to return.
"""

from __future__ import annotations

from collections.abc import Sequence

from tlbcheck.errors import InputError, InternalError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, const, eq, ite, not_, or_, substitute, var, variables
from tlbcheck.lang.model import Event
from tlbcheck.lang.types import BOOL, CPU, IntType, Type
from tlbcheck.system.control import Frame, Path, Position, Shared, Site
from tlbcheck.system.naming import Naming
from tlbcheck.system.transition_system import Check, Parameter

_ROUNDS = 1_000
"""Times round loops in one step, after which it is taken for endless."""
_SITES = 64
HALTED = "halted"


class Execution(Naming):
    """Runs statements symbolically; a path ends where the next step begins."""

    def local(self, run: Path, frame: Frame, e: Expr) -> Expr:
        """An expression of a procedure, over the locals' present values."""
        values: dict[str, Expr] = {}
        for name, v in variables(e).items():
            if name.startswith("flag."):
                values[name] = self.flag(name)
            elif name == "cpu.self":
                values[name] = self.cpu_number(run)
            elif not name.startswith("case."):
                full = f"{frame.path}:{name}"
                values[name] = run.locals.get(full, var(full, v.type))
        return substitute(e, values)

    def cpu_number(self, run: Path) -> Expr:
        if run.cpu is None:
            raise InputError("an action of the environment runs on no CPU", place=run.place.place if run.place else None, hint="do without this_cpu(), or make it a procedure of a CPU")
        return const(run.cpu, CPU)

    def assign(self, run: Path, frame: Frame, target: str, value: Expr) -> None:
        run.locals[f"{frame.path}:{target}"] = value

    def set_local(self, run: Path, frame: Frame, s: p.Assign) -> None:
        value = self.local(run, frame, s.value)
        if s.type is not None:
            self.in_range(run, value, s.type, s.place, s.target)
        self.assign(run, frame, s.target, value)

    def execute(self, run: Path) -> list[tuple[Path, Position | None]]:
        """Run on to the next location on every path; ``None`` is the end of the activation."""
        done: list[tuple[Path, Position | None]] = []
        work = [run]
        self.work = work
        while work:
            r = work.pop()
            while True:
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
                                paths.append((taken, Position(body, 0, frame, "block", after)))
                        for taken, where in reversed(paths[1:]):
                            other = r.fork(taken)
                            other.here = where
                            work.append(other)
                        if paths[0][0] is not TRUE:
                            r.guard.append(paths[0][0])
                        r.here = paths[0][1]
                    case p.While():
                        r.rounds += 1
                        if r.rounds > _ROUNDS:
                            raise InputError("a loop without a step", place=s.place, hint="every way round a loop needs an operation or an access to shared state")
                        condition = self.local(r, frame, s.condition)
                        if condition is not TRUE and condition is not FALSE:
                            other = r.fork(not_(condition))
                            other.here = here.at(here.position + 1)
                            work.append(other)
                            r.guard.append(condition)
                        r.here = here.at(here.position + 1) if condition is FALSE else Position(s.body, 0, frame, "block", here)
                    case p.ForCpus():
                        r.here = Position(s.unrolled(self.model.cpus), 0, frame, "block", here.at(here.position + 1))
                    case p.Call():
                        if not self.call(r, here, s):
                            break
                    case p.Return():
                        if not self.return_(r, here, s):
                            break
                    case p.Assert():
                        failed = not_(self.local(r, frame, s.condition))
                        if failed is not FALSE:
                            self.raise_event(r, "assert", s.text, {}, frame.roles(), failed, place=s.place, text=f"{frame.procedure.name}() asserts {s.text}")
                        r.here = here.at(here.position + 1)
                    case p.Require():
                        condition = self.local(r, frame, s.condition)
                        if condition is FALSE:
                            break
                        r.guard.append(condition)
                        r.here = here.at(here.position + 1)
                    case p.Choose():
                        if r.performed and not r.atomic:
                            done.append((r, here))
                            break
                        self.choose(r, frame, s)
                        r.here = here.at(here.position + 1)
                    case p.AtomicBlock():
                        if r.performed:
                            done.append((r, here))
                            break
                        if not r.atomic:  # else it is a part of the step around it
                            summary = s.text or frame.procedure.doc.split("\n")[0].rstrip(".") or "one indivisible step"
                            r.action, r.text, r.place, r.frame = "atomic", summary.replace("{", "{{").replace("}", "}}"), s, frame
                        r.atomic += 1
                        r.here = Position(s.body, 0, frame, "atomic", here.at(here.position + 1))
                    case p.Read() | p.Write() | p.Do():
                        if r.performed and not r.atomic:
                            done.append((r, here))
                            break
                        work.extend(self.perform(r, here, s))
                        break
                    case _:
                        raise InputError(f"unsupported statement {type(s).__name__}", place=s.place)
        return done

    def end(self, run: Path, here: Position) -> bool:
        """The end of a statement list; false if the run goes on elsewhere."""
        if here.kind == "atomic":
            run.leave_atomic()
            run.here = here.below
        elif here.kind == "body":
            if here.frame.procedure.result is not None:
                raise InputError(f"{here.frame.procedure.name} can end without returning a value", place=here.frame.procedure.place, hint="return a value on every path")
            return self.finish(run, here, None)
        else:
            run.here = here.below
        return True

    def call(self, run: Path, here: Position, s: p.Call) -> bool:
        """Go on inside the callee; false if no call is possible that keeps to what it requires."""
        callee = self.model.resolve(s.procedure)
        args = tuple(self.local(run, here.frame, a) for a in s.args)
        for q in self.model.resolution(s.procedure):
            if len(args) != len(q.parameters):
                raise InputError(f"{q.name} takes {len(q.parameters)} argument(s), {len(args)} given", place=s.place)
        if not self.required(run, here.frame, s, args):
            return False
        after = here.at(here.position + 1)
        shared = None if run.atomic or run.level == "init" else self.sharing(run, callee, here.frame)
        if shared is None:
            inner = Frame(callee, f"{here.frame.path}/{callee.name}@{s.place.line}.{s.place.column}", s.place, here.frame, s.target)
            run.here = Position(callee.body, 0, inner, "body", after)
        else:
            inner = Frame(callee, shared.path, None, None, None, shared)
            run.here = Position(callee.body, 0, inner, "body", None)
            self.enter_shared(run, shared, Site(after, s.target, s.place))
        for parameter, value in zip(callee.parameters, args, strict=True):
            self.assign(run, inner, parameter.name, value)
        if not callee.role and callee.result is not None and self.is_pure(callee.body):
            result = self.compute(run, inner, callee.body)
            if result is None:
                raise InputError(f"{callee.name} can end without returning a value", place=callee.place, hint="return a value on every path")
            if s.target is not None:
                self.assign(run, here.frame, s.target, result)
            run.here = here.at(here.position + 1)
            return True
        if callee.role:
            self.roles.add(callee.role)
            named = {f"arg.{q.name}": a for q, a in zip(callee.parameters, args, strict=True)}
            self.raise_event(run, "enter", callee.role, named, inner.roles(), positional=args)
        return True

    def required(self, run: Path, frame: Frame, s: p.Call, args: tuple[Expr, ...]) -> bool:
        """What the callee requires: judged, or of the most general caller assumed; false if it cannot hold then."""
        for owner, requirement in self.model.requirements(s.procedure):
            met = self.met(run, frame, s, owner, requirement, args)
            if s.general:
                if met is FALSE:
                    self.opened[s.procedure] = s.general
                    return False
                run.guard.append(met)
            else:
                self.judges_calls = True
                self.raise_event(run, "requires", owner.name, {}, frame.roles(), not_(met), place=s.place, text=f"{frame.procedure.name}() calls {owner.name}(), which requires {requirement.text}")
        if s.general:
            self.opened[s.procedure] = s.general
            run.events.append(Event("opened", s.procedure.name))
        return True

    def met(self, run: Path, frame: Frame, s: p.Call, owner: p.Procedure, requirement: p.Requires, args: tuple[Expr, ...]) -> Expr:
        """A precondition in the state of the call."""
        for t in p.walk(requirement.before):
            if isinstance(t, p.Read):
                self.has_cpu(run, t)
            elif isinstance(t, p.Call) and (self.model.resolve(t.procedure).result is None or not self.is_pure([t])):
                raise InputError(f"what {owner.name} requires calls {t.procedure.name}(), which does more than compute", place=t.place, hint="call only what works on its own locals")
        inner = Frame(owner, f"{frame.path}/{owner.name}@{s.place.line}.{s.place.column}.requires", s.place, frame, None)
        kept, run.locals = run.locals, dict(run.locals)
        for q, a in zip(owner.parameters, args, strict=True):
            self.assign(run, inner, q.name, a)
        self.compute(run, inner, requirement.before)
        met = self.local(run, inner, requirement.condition)
        run.locals = kept
        return met

    def sharing(self, run: Path, callee: p.Procedure, frame: Frame) -> Shared | None:
        """The one copy of ``callee`` on this level, where it is long and called from several places."""
        if self.call_sites.get((run.level, callee), 0) < 2 or not self.is_long(callee):
            return None
        roles = "+".join(r for r in frame.roles() if r in self.roles_asked)
        path = f"cpu{run.cpu}.{run.level}:{callee.name}{'(' + roles + ')' if roles else ''}"
        return self.shared.setdefault(path, Shared(path))

    def enter_shared(self, run: Path, shared: Shared, site: Site) -> None:
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
                return not callee.role and not self.model.requirements(s.procedure) and self.is_pure(callee.body)
            return isinstance(s, p.Assign | p.If | p.Return)

        return all(pure(s) for s in p.walk(list(statements)))

    def compute(self, run: Path, frame: Frame, statements: Sequence[p.Statement]) -> Expr | None:
        """Run statements that change only locals, both sides of a branch at once: no new path, no step.

        The value is what they return; None if they reach their end.
        """
        for i, s in enumerate(statements):
            rest = statements[i + 1 :]
            match s:
                case p.Assign():
                    self.set_local(run, frame, s)
                case p.Read():
                    self.assign(run, frame, s.target, self.read(run, frame, s))
                case p.Return():
                    return None if s.value is None else self.local(run, frame, s.value)
                case p.Call():
                    callee = self.model.resolve(s.procedure)
                    inner = Frame(callee, f"{frame.path}/{callee.name}@{s.place.line}.{s.place.column}", s.place, frame, s.target)
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

    def return_(self, run: Path, here: Position, s: p.Return) -> bool:
        value = None if s.value is None else self.local(run, here.frame, s.value)
        body: Position = here
        while body.kind != "body":
            if body.kind == "atomic":
                run.leave_atomic()
            assert body.below is not None
            body = body.below
        return self.finish(run, body, value)

    def finish(self, run: Path, body: Position, value: Expr | None) -> bool:
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

    def return_to(self, shared: Shared, k: int, run: Path, value: Expr | None) -> None:
        """Go on after call site ``k`` if that is where this activation came from."""
        type_ = IntType(0, _SITES - 1)
        came = run.locals.get(shared.variable, var(shared.variable, type_))
        condition = eq(came, const(k, type_))
        if condition is FALSE:
            return
        other, site = run.fork(condition), shared.sites[k]
        if came.op == "var":
            other.returned[shared.variable] = k
        if site.target is not None and value is not None:
            self.assign(other, site.after.frame, site.target, value)
        other.here = site.after
        self.work.append(other)

    def choose(self, run: Path, frame: Frame, s: p.Choose) -> None:
        name = f"choice{len(run.parameters)}"
        run.parameters.append(Parameter(name, s.type, s.domain, s.label))
        self.assign(run, frame, s.target, var(name, s.type))

    def perform(self, run: Path, here: Position, s: p.Read | p.Write | p.Do) -> list[Path]:
        frame = here.frame
        self.has_cpu(run, s)
        if not run.atomic:
            run.place, run.frame = s, frame
            run.performed = True
        run.here = here.at(here.position + 1)
        match s:
            case p.Read():
                self.assign(run, frame, s.target, self.read(run, frame, s))
                name, at = self.element(run, frame, s)
                self.describe(run, f"read {s.variable.name}", f"reads {name}", at)
                return [run]
            case p.Write():
                self.write(run, frame, s)
                return [run]
        return self.operate(run, frame, s)

    def has_cpu(self, run: Path, s: p.Read | p.Write | p.Do) -> None:
        """An action of the environment runs on no CPU: it has no registers and no operations of a machine."""
        if run.cpu is None and run.level == "environment":
            bare = isinstance(s, p.Do) and not (s.operation.effects or s.operation.drops or s.operation.faults or s.operation.uses is not None or s.operation.result is not None)
            own = not isinstance(s, p.Do) and s.variable.per_cpu and s.at is None
            if own or (isinstance(s, p.Do) and not bare):
                what = s.operation.name if isinstance(s, p.Do) else s.variable.name
                raise InputError(f"an action of the environment runs on no CPU and cannot use {what}", place=s.place, hint="name the CPU with .at(c), or make it a procedure of a CPU")

    def describe(self, run: Path, action: str, text: str, operands: dict[str, Expr]) -> None:
        if not run.atomic:
            run.action, run.text, run.operands = action, text, operands

    def stored(self, run: Path, name: str) -> Expr:
        return run.store.get(name, var(name, self.types[name]))

    def read(self, run: Path, frame: Frame, s: p.Read) -> Expr:
        if s.at is None:
            return self.stored(run, self.variable(s.variable, run.cpu))
        at = self.local(run, frame, s.at)
        names = self.elements(s.variable)
        value = self.stored(run, names[-1])
        for i, name in reversed(list(enumerate(names[:-1]))):
            value = ite(eq(at, i), self.stored(run, name), value)
        return value

    def write(self, run: Path, frame: Frame, s: p.Write) -> None:
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
        name, of = self.element(run, frame, s)
        self.describe(run, f"write {s.variable.name}", f"{name} := {{value}}", {"value": value, **of})

    def element(self, run: Path, frame: Frame, s: p.Read | p.Write) -> tuple[str, dict[str, Expr]]:
        """What a trace calls the variable: of an array the element, of another CPU's the CPU; and the operand ``at`` in that."""
        if s.at is None:
            return s.variable.name, {}
        at = self.local(run, frame, s.at)
        if not s.variable.per_cpu:
            return f"{s.variable.name}[{{at}}]", {"at": at}
        own = at.op == "const" and at.value == run.cpu
        return (s.variable.name, {}) if own else (f"cpu{{at}}.{s.variable.name}", {"at": at})

    def in_range(self, run: Path, value: Expr, type_: Type, place: Place, what: str) -> None:
        if isinstance(type_, IntType) and not (isinstance(value.type, IntType) and value.op in ("var", "const") and type_.low <= value.type.low and value.type.high <= type_.high):
            if value.op == "const" and type_.low <= value.value <= type_.high:
                return
            holds = and_(const(type_.low, value.type) <= value, value <= const(type_.high, value.type))
            run.checks.append(Check(holds, place, f"an assignment to {what} leaves its range {type_.low}..{type_.high}"))

    def operate(self, run: Path, frame: Frame, s: p.Do) -> list[Path]:
        operation, roles = s.operation, frame.roles()
        operands = {f"arg.{name}": self.local(run, frame, a) for (name, _), a in zip(operation.operands, s.args, strict=True)}
        self.describe(run, operation.name, operation.text or operation.name, {n.removeprefix("arg."): e for n, e in operands.items()})
        if operation.uses is not None:
            operands |= self.use(run, s, operation.uses, operands)
        self.raise_event(run, "operation", operation.name, operands, roles)
        values = run.store | operands

        def now(e: Expr) -> Expr:
            return substitute(self.resolve(e, run.cpu, run.level), values)

        made: list[Path] = []
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

    def use(self, run: Path, s: p.Do, uses: Expr, operands: dict[str, Expr]) -> dict[str, Expr]:
        """Choose the cached entry that an operation goes through: its fields, by their names in rules."""
        cache = self.model.cache
        if cache is None:
            raise InputError(f"{s.operation.name} goes through a cache, and {self.model.name} has none", place=s.place, hint="give the model a cache")
        if run.used:
            raise InputError("two operations go through the cache in one indivisible step", place=s.place, hint="make them steps of their own")
        chosen = {}
        for name, type_, domain in cache.fields:
            q = Parameter(f"choice{len(run.parameters)}", type_, domain, f"used.{name}")
            run.parameters.append(q)
            chosen[q.label] = var(q.name, type_)
        run.used = tuple(chosen.values())
        entry = {f"entry.{name}": chosen[f"used.{name}"] for name, _, _ in cache.fields}
        run.guard.append(substitute(self.resolve(cache.possible, run.cpu, run.level), entry))
        run.guard.append(substitute(self.resolve(uses, run.cpu, run.level), run.store | operands | chosen))
        return chosen

    def dropped(self, operation: p.Operation, now: object) -> Expr:
        assert callable(now)
        wanted = {"common": {"intel", "amd"}, "intel": {"intel"}, "amd": {"amd"}}[self.model.profile]
        return or_(*(and_(*map(now, c.parts)) for c in operation.drops if wanted <= c.vendors)) if self.model.cache else FALSE

    def drop(self, run: Path, dropped: Expr) -> None:
        cached = self.cached_name(run.cpu)
        run.store[cached] = and_(run.store.get(cached, var(cached, BOOL)), not_(dropped))
        for g in self.ghosts.values():
            if g.per_entry:
                for name in self.ghost_names(g, run.cpu):
                    run.store[name] = ite(dropped, const(g.initial, g.type), run.store.get(name, var(name, g.type)))


def _returns(statements: Sequence[p.Statement]) -> bool:
    return any(isinstance(s, p.Return) for s in p.walk(list(statements)))
