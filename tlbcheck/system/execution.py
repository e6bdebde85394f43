"""Symbolic execution of procedures from one location to the next.

What only touches locals is folded into the step before it. A procedure that is long and called from
several places is compiled once per level, with a local that remembers where to return.
"""

from __future__ import annotations

from collections.abc import Sequence

from tlbcheck.errors import InputError, InternalError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, const, eq, ite, nodes, not_, or_, range_of, substitute, var, variables
from tlbcheck.lang.model import Event
from tlbcheck.lang.types import BOOL, CPU, IntType, Type
from tlbcheck.system.control import Frame, Path, Position, Shared, Site
from tlbcheck.system.naming import Naming
from tlbcheck.system.transition_system import Parameter

_ROUNDS = 1_000
"""Times round loops in one step, after which it is taken for endless."""
_SITES = 64
HALTED = "%halted"
CHOICE = "%choice"
"""How the names of choices begin. No name of a model has a percent sign."""
HINT = "widen the type, or guard the assignment"


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

    def assign(self, run: Path, frame: Frame, target: str, value: Expr, type_: Type | None = None) -> None:
        name = f"{frame.path}:{target}"
        run.locals[name] = value
        if type_ is not None:
            self.types.setdefault(name, type_)

    def set_local(self, run: Path, frame: Frame, s: p.Assign) -> None:
        self.defined(run, frame, s.value, s.place)
        value = self.local(run, frame, s.value)
        if s.type is not None:
            self.in_range(run, value, s.type, s.place, s.target)
        self.assign(run, frame, s.target, value, s.type)

    def defined(self, run: Path, frame: Frame, e: Expr, place: Place) -> None:
        """No index that ``e`` looks up is outside of its table (NUM-5)."""
        holds = inside_tables(e)
        if holds is not TRUE:
            self.fail(run, self.local(run, frame, holds), place, "the index of a table is outside of it")

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
                if here.position >= len(here.statements) and here.kind == "require":
                    self.require(r, here, done)
                    if r.here is None:
                        break
                    continue
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
                        self.defined(r, frame, s.condition, s.place)
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
                        self.defined(r, frame, s.condition, s.place)
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
                        if r.performed and not r.atomic and self.is_judged_apart(r, s):
                            done.append((r, here))
                            break
                        if not self.call(r, here, s):
                            break
                    case p.Return():
                        if not self.return_(r, here, s):
                            break
                    case p.Assert():
                        self.defined(r, frame, s.condition, s.place)
                        failed = not_(self.local(r, frame, s.condition))
                        # One that cannot fail is executed too.
                        self.raise_event(r, "assert", s.text, {}, frame.roles(), failed, place=s.place, text=f"{frame.procedure.name}() asserts {s.text}")
                        r.here = here.at(here.position + 1)
                    case p.Require():
                        r.awaited = False
                        r.here = Position(s.before, 0, frame, "require", here)
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
        done += [(r, r.here) for r in (*self.waiting, *self.failed)]
        self.waiting, self.failed = [], []
        return done

    def require(self, run: Path, here: Position, done: list[tuple[Path, Position | None]]) -> None:
        """REQ: the condition has been evaluated. What happened before in this step stays where it does not hold; without anything, the step is not possible."""
        assert here.below is not None
        s = here.below.statements[here.below.position]
        assert isinstance(s, p.Require)
        self.defined(run, here.frame, s.condition, s.place)
        condition = self.local(run, here.frame, s.condition)
        accesses = self.stops(s.before)
        if condition is not TRUE and run.performed and not run.atomic and not run.awaited:
            waiting = run.fork(not_(condition))
            waiting.here, waiting.waits = here.below if accesses else stuck(here.frame), True
            done.append((waiting, waiting.here))
        if condition is FALSE:
            run.here = None
        else:
            run.guard.append(condition)
            run.here = here.below.at(here.below.position + 1)

    def is_awaited(self, here: Position, s: p.Read) -> bool:
        """A CPU waits at this access for what a ``require`` asks for: it has no other (REQ-2)."""
        at: Position | None = here
        while at is not None and at.kind not in ("require", "body"):
            at = at.below
        return at is not None and at.kind == "require" and self.stops(at.statements) == [s]

    def stops(self, statements: Sequence[p.Statement]) -> list[p.Statement]:
        """Everything in ``statements``, and in what they call, at which an activation could wait."""
        found: list[p.Statement] = []
        for s in p.walk(list(statements)):
            if isinstance(s, p.Read | p.Write | p.Do | p.AtomicBlock | p.Choose):
                found.append(s)
            elif isinstance(s, p.Call):
                found += self.stops(self.model.resolve(s.procedure).body)
        return found

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
        for a in s.args:
            self.defined(run, here.frame, a, s.place)
        args = tuple(self.local(run, here.frame, a) for a in s.args)
        for q in self.model.resolution(s.procedure):
            if len(args) != len(q.parameters):
                raise InputError(f"{q.name} takes {len(q.parameters)} argument(s), {len(args)} given", place=s.place)
            for parameter, value in zip(q.parameters, args, strict=True):
                self.in_range(run, value, parameter.type, s.place, f"parameter '{parameter.name}' of {q.name}()")
        if callee.role:
            self.roles.add(callee.role)
        apart = not run.atomic and self.is_judged_apart(run, s)
        if not self.required(run, here, s, args):
            return False
        if apart:
            run.performed, run.place, run.frame = True, s, here.frame
            self.describe(run, f"call {callee.name}", f"calls {callee.name}()", {})
        after = here.at(here.position + 1)
        shared = None if run.atomic or run.level == "init" else self.sharing(run, callee, here.frame)
        if shared is None:
            inner = Frame(callee, f"{here.frame.path}/{callee.name}@{s.place.line}.{s.place.column}", s.place, here.frame, s.target)
            run.here = Position(callee.body, 0, inner, "body", after)
        else:
            inner = Frame(callee, shared.path, None, None, None, shared, tuple(r for r in here.frame.roles() if r in self.roles_asked))
            run.here = Position(callee.body, 0, inner, "body", None)
            self.enter_shared(run, shared, Site(after, s.target, s.place))
        for parameter, value in zip(callee.parameters, args, strict=True):
            self.assign(run, inner, parameter.name, value, parameter.type)
        if not callee.role and callee.result is not None and self.is_pure(callee.body):
            result = self.compute(run, inner, callee.body)
            if result is None:
                raise InputError(f"{callee.name} can end without returning a value", place=callee.place, hint="return a value on every path")
            if s.target is not None:
                self.assign(run, here.frame, s.target, result, callee.result)
            run.here = here.at(here.position + 1)
            return True
        if callee.role:
            named = {f"arg.{q.name}": a for q, a in zip(callee.parameters, args, strict=True)}
            self.raise_event(run, "enter", callee.role, named, inner.roles(), positional=args)
        return True

    def required(self, run: Path, here: Position, s: p.Call, args: tuple[Expr, ...]) -> bool:
        """What the callee requires: judged, or of the most general caller assumed; false if it cannot hold then (CALL-1 to CALL-3)."""
        frame = here.frame
        assumed = []
        for owner, requirement in self.model.requirements(s.procedure):
            met = self.met(run, frame, s, owner, requirement, args)
            if s.general:
                assumed.append(met)
            else:
                self.judges_calls = True
                self.raise_event(run, "requires", owner.name, {}, frame.roles(), not_(met), place=s.place, text=f"{frame.procedure.name}() calls {owner.name}(), which requires {requirement.text}")
        if not s.general:
            return True
        self.opened[s.procedure] = s.general
        fits = and_(*assumed)
        if fits is not TRUE and run.performed and not run.atomic:
            waiting = run.fork(not_(fits))
            waiting.here = stuck(frame)
            self.waiting.append(waiting)
        if fits is FALSE:
            return False
        run.guard.append(fits)
        run.events.append(Event("opened", s.procedure.name))
        return True

    def is_judged_apart(self, run: Path, s: p.Call) -> bool:
        """CALL-4: somebody else may change what a precondition of the call reads."""
        if run.cpu is None or run.level == "init":
            return False
        reads = [t for _, required in self.model.requirements(s.procedure) for t in p.walk(required.before) if isinstance(t, p.Read)]
        return any(self.others_write(run.level, t) for t in reads)

    def others_write(self, level: str, read: p.Read) -> bool:
        """Whether something else than the activation that reads may write the variable."""
        model, v = self.model, read.variable
        own = v.per_cpu and read.at is None
        above = model.levels[model.levels.index(level) + 1 :]
        handlers = [(i.handler, i.flag) for i in model.interrupts]
        higher = [h for i, h in zip(model.interrupts, handlers, strict=True) if i.level in above]
        if any(flag is not v and v in self.written(h) for h, flag in higher) or any(v in self.written(a) for a in model.actions):
            return True
        elsewhere = [h for h, _ in handlers] + ([model.task] if model.task is not None else [])
        return model.cpus > 1 and any(v in (self.written_elsewhere(q) if own else self.written(q)) for q in elsewhere)

    def written(self, procedure: p.Procedure) -> set[p.StateVar]:
        """The variables that a procedure writes, with all that it calls."""
        found = self.writes.get(procedure)
        if found is None:
            found = self.writes[procedure] = set()
            for s in self.all_statements(self.model.resolve(procedure)):
                match s:
                    case p.Write():
                        found.add(s.variable)
                    case p.Do():
                        found.update(v for v, _ in s.operation.effects)
        return found

    def written_elsewhere(self, procedure: p.Procedure) -> set[p.StateVar]:
        """The variables of which there is one for each CPU that a procedure writes as those of a CPU that it names."""
        return {s.variable for s in self.all_statements(self.model.resolve(procedure)) if isinstance(s, p.Write) and s.at is not None}

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
            self.assign(run, inner, q.name, a, q.type)
        self.compute(run, inner, requirement.before)
        self.defined(run, inner, requirement.condition, requirement.place)
        met = self.local(run, inner, requirement.condition)
        run.locals = kept
        return met

    def sharing(self, run: Path, callee: p.Procedure, frame: Frame) -> Shared | None:
        """The one copy of ``callee`` on this level, where it is long and called from several places."""
        if self.call_sites.get((run.level, callee), 0) < 2 or not self.is_long(callee):
            return None
        roles = "+".join(r for r in frame.roles() if r in self.roles_asked)
        path = f"cpu{run.cpu}.{run.level}:{callee.name}{'(' + roles + ')' if roles else ''}"
        return self.shared.setdefault(path, Shared(path, callee.result))

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
                    self.assign(run, frame, s.target, self.read(run, frame, s), s.variable.type)
                case p.Return():
                    return None if s.value is None else self.result(run, frame, s.value, s.place)
                case p.Call():
                    callee = self.model.resolve(s.procedure)
                    inner = Frame(callee, f"{frame.path}/{callee.name}@{s.place.line}.{s.place.column}", s.place, frame, s.target)
                    for parameter, a in zip(callee.parameters, s.args, strict=True):
                        self.defined(run, frame, a, s.place)
                        value = self.local(run, frame, a)
                        self.in_range(run, value, parameter.type, s.place, f"parameter '{parameter.name}' of {callee.name}()")
                        self.assign(run, inner, parameter.name, value, parameter.type)
                    returned = self.compute(run, inner, callee.body)
                    if s.target is not None and returned is not None:
                        self.assign(run, frame, s.target, returned, callee.result)
                case p.If():
                    self.defined(run, frame, s.condition, s.place)
                    condition = self.local(run, frame, s.condition)
                    before, under = dict(run.locals), run.under
                    ends = _returns([s])
                    run.under = and_(under, condition)
                    then = self.compute(run, frame, [*s.then, *rest] if ends else s.then)
                    taken, run.locals = run.locals, before
                    run.under = and_(under, not_(condition))
                    other = self.compute(run, frame, [*s.orelse, *rest] if ends else s.orelse)
                    run.under = under
                    for name in {**taken, **run.locals}:
                        # What is not assigned here keeps the value that it had at the location.
                        mine, theirs = taken.get(name), run.locals.get(name)
                        type_ = self.types.get(name) or (mine.type if mine is not None else theirs.type)  # type: ignore[union-attr]  # one of them is there
                        kept = var(name, type_)
                        run.locals[name] = ite(condition, kept if mine is None else mine, kept if theirs is None else theirs)
                    if ends:
                        return None if then is None or other is None else ite(condition, then, other)
                case _:
                    raise InternalError(f"{s.place}: a step was taken for a computation")
        return None

    def return_(self, run: Path, here: Position, s: p.Return) -> bool:
        value = None if s.value is None else self.result(run, here.frame, s.value, s.place)
        body: Position = here
        while body.kind != "body":
            if body.kind == "atomic":
                run.leave_atomic()
            assert body.below is not None
            body = body.below
        return self.finish(run, body, value)

    def result(self, run: Path, frame: Frame, e: Expr, place: Place) -> Expr:
        """The value that a procedure returns."""
        self.defined(run, frame, e, place)
        value = self.local(run, frame, e)
        if frame.procedure.result is not None:
            self.in_range(run, value, frame.procedure.result, place, f"the result of {frame.procedure.name}()")
        return value

    def finish(self, run: Path, body: Position, value: Expr | None) -> bool:
        frame = body.frame
        if frame.procedure.role:
            self.raise_event(run, "leave", frame.procedure.role, {}, frame.roles())
        if frame.parent is not None and frame.target is not None and value is not None:
            self.assign(run, frame.parent, frame.target, value, frame.procedure.result)
        if frame.shared is not None:
            frame.shared.returns.append((run, value))
            for k in range(len(frame.shared.sites)):
                self.return_to(frame.shared, k, run, value)
            return False
        run.here = body.below
        if run.here is None:
            run.ended = frame
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
            self.assign(other, site.after.frame, site.target, value, shared.result)
        other.here = site.after
        self.work.append(other)

    def choose(self, run: Path, frame: Frame, s: p.Choose) -> None:
        name = f"{CHOICE}{len(run.parameters)}"
        run.parameters.append(Parameter(name, s.type, s.domain, s.label))
        self.assign(run, frame, s.target, var(name, s.type), s.type)

    def perform(self, run: Path, here: Position, s: p.Read | p.Write | p.Do) -> list[Path]:
        frame = here.frame
        self.has_cpu(run, s)
        if not run.atomic:
            run.place, run.frame = s, frame
            run.performed = True
            run.awaited = isinstance(s, p.Read) and self.is_awaited(here, s)
        run.here = here.at(here.position + 1)
        match s:
            case p.Read():
                run.events.append(Event("access", s.variable.name))
                self.assign(run, frame, s.target, self.read(run, frame, s), s.variable.type)
                name, at = self.named(run, frame, s)
                self.describe(run, f"read {s.variable.name}", f"reads {name}", at)
                return [run]
            case p.Write():
                run.events.append(Event("access", s.variable.name))
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

    def element(self, run: Path, frame: Frame, s: p.Read | p.Write) -> list[tuple[Expr, str]]:
        """The elements that ``s.at`` may mean, each with when it does (NUM-5)."""
        assert s.at is not None
        v = s.variable
        self.defined(run, frame, s.at, s.place)
        at, names = self.local(run, frame, s.at), self.elements(v)
        indices = range(self.model.cpus) if v.index is None else v.index.values()
        if isinstance(at.type, IntType | None):
            known = range_of(at) if at.type is not None else IntType(at.value, at.value)
            if not IntType(indices[0], indices[-1]).has(known):
                holds = and_(const(indices[0], at.type) <= at, at <= const(indices[-1], at.type))
                whole = f"CPUs {indices[0]}..{indices[-1]}" if v.index is None else str(v.index)
                self.fail(run, holds, s.place, f"the index of {v.name} is outside of {whole}")
        return [(eq(at, const(i, at.type)), name) for i, name in zip(indices, names, strict=True)]

    def read(self, run: Path, frame: Frame, s: p.Read) -> Expr:
        if s.at is None:
            return self.stored(run, self.variable(s.variable, run.cpu))
        *others, (_, last) = self.element(run, frame, s)
        value = self.stored(run, last)
        for mine, name in reversed(others):
            value = ite(mine, self.stored(run, name), value)
        return value

    def write(self, run: Path, frame: Frame, s: p.Write) -> None:
        self.defined(run, frame, s.value, s.place)
        value = self.local(run, frame, s.value)
        elements = [] if s.at is None else self.element(run, frame, s)
        self.in_range(run, value, s.variable.type, s.place, s.variable.name)
        if s.variable.register and run.level != "init":
            raise InputError(f"{s.variable.name} is a register of the machine", place=s.place, hint="write it with an operation of the machine")
        if s.at is None:
            run.store[self.variable(s.variable, run.cpu)] = value
        for mine, name in elements:
            run.store[name] = ite(mine, value, self.stored(run, name))
        named, of = self.named(run, frame, s)
        self.describe(run, f"write {s.variable.name}", f"{named} := {{value}}", {"value": value, **of})

    def named(self, run: Path, frame: Frame, s: p.Read | p.Write) -> tuple[str, dict[str, Expr]]:
        """What a trace calls the variable: of an array the element, of another CPU's the CPU; and the operand ``at`` in that."""
        if s.at is None:
            return s.variable.name, {}
        at = self.local(run, frame, s.at)
        if not s.variable.per_cpu:
            return f"{s.variable.name}[{{at}}]", {"at": at}
        own = at.op == "const" and at.value == run.cpu
        return (s.variable.name, {}) if own else (f"cpu{{at}}.{s.variable.name}", {"at": at})

    def operate(self, run: Path, frame: Frame, s: p.Do) -> list[Path]:
        operation, roles = s.operation, frame.roles()
        for (name, type_), a in zip(operation.operands, s.args, strict=True):
            self.defined(run, frame, a, s.place)
            if type_ is not None:
                self.in_range(run, self.local(run, frame, a), type_, s.place, f"operand '{name}' of {operation.name}")
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
        for v, _ in operation.effects:
            self.in_range(run, effects[self.variable(v, run.cpu)], v.type, s.place, v.name)
        run.store.update(effects)
        if dropped is not FALSE:
            self.drop(run, dropped)
        if s.target is not None and result is not None:
            self.assign(run, frame, s.target, result, operation.result.type if operation.result is not None else None)
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
            q = Parameter(f"{CHOICE}{len(run.parameters)}", type_, domain, f"used.{name}")
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


def stuck(frame: Frame) -> Position:
    """Where an activation waits for ever."""
    return Position((), 0, frame, "stuck", None)


def inside_tables(e: Expr) -> Expr:
    """When every index that is looked up in evaluating ``e`` is inside its table; ``TRUE`` where types say so."""
    if not any(n.op == "table" and _may_leave(n) for n in nodes(e)):
        return TRUE
    match e.op:
        case "table":
            index = e.args[0]
            mine = and_(const(0, index.type) <= index, index <= const(len(e.value) - 1, index.type)) if _may_leave(e) else TRUE
            return and_(inside_tables(index), mine)
        case "ite":
            c, a, b = e.args
            return and_(inside_tables(c), ite(c, inside_tables(a), inside_tables(b)))
        case "and" | "or":
            holds = TRUE
            for x in reversed(e.args):
                holds = and_(inside_tables(x), or_(not_(x) if e.op == "and" else x, holds))
            return holds
    return and_(*(inside_tables(x) for x in e.args))


def _may_leave(table: Expr) -> bool:
    index = table.args[0]
    return isinstance(index.type, IntType) and not IntType(0, len(table.value) - 1).has(range_of(index))


def _returns(statements: Sequence[p.Statement]) -> bool:
    return any(isinstance(s, p.Return) for s in p.walk(list(statements)))
