"""From procedures to the transition system, by symbolic execution between two steps.

A location is a place at which an activation waits: before an operation, an access to shared state
or a free choice. A step runs from one location over exactly one operation to the next: what only
touches locals costs nothing and cannot be interrupted by anything that it could notice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from tlbcheck.errors import InputError, Place
from tlbcheck.lang import program as p
from tlbcheck.lang.declared import asked_names, check_declared
from tlbcheck.lang.expr import FALSE, TRUE, Expr, and_, conjuncts, const, eq, ite, not_, or_, substitute, var, variables
from tlbcheck.lang.model import Interrupt, Model, Property
from tlbcheck.lang.types import BOOL, IntType, Type
from tlbcheck.system.confirm import confirm
from tlbcheck.system.control import Activation, Draft, Frame, Path, Position, Shared
from tlbcheck.system.execution import CHOICE, HALTED, Execution
from tlbcheck.system.slots import in_slot, mentions, of_entry
from tlbcheck.system.start import Start
from tlbcheck.system.transition_system import Bad, Fill, Parameter, ReturnTo, Step, TransitionSystem, Variable

Live = dict[int, dict[str, set[frozenset[tuple[str, int]]]]]
"""For each location the locals that are read after it, each with the callers (of shared procedures) for which it is."""


class _Lowering(Execution):
    """Compiles each activation, keeps the locals that are still read, and assembles the system."""

    # -- activations

    def activation(self, cpu: int, level: str) -> Activation:
        return self.activations.setdefault((cpu, level), Activation(f"cpu{cpu}.{level}"))

    def compile_activation(self, cpu: int, level: str) -> None:
        activation = self.activation(cpu, level)
        done = 0
        while done < len(activation.waiting):
            here = activation.waiting[done]
            done += 1
            if here.kind == "stuck":
                continue
            source = activation.numbers[here.key()]
            run = Path(cpu, level, here, source=source)
            if source == 1 and level == "task" and here.frame.procedure.role:
                self.enter(run, here.frame)
            for ended, where in self.execute(run):
                if where is not None and activation.location(where) == source and is_idle(ended):
                    continue
                if not ended.performed:
                    place = here.statements[here.position].place if here.position < len(here.statements) else here.frame.procedure.place
                    raise InputError(f"{activation.name} can end without a step", place=place, hint="add an operation")
                self.close(ended, where, level)
                activation.drafts.append(Draft(ended, ended.source, activation.location(where)))

    def close(self, run: Path, where: Position | None, level: str) -> None:
        """The end of an interrupt handler: IRET restores the flag of the interrupt, which was set (INT-5)."""
        if where is None and level != "task" and not run.exception and run.error is None:
            assert run.ended is not None
            interrupt = run.ended.interrupt
            if interrupt is not None and interrupt.flag is not None:
                run.store[self.variable(interrupt.flag, run.cpu)] = TRUE

    def enter(self, run: Path, frame: Frame) -> None:
        """A procedure that nobody calls begins (CALL-5)."""
        run.frame = frame
        self.roles.add(frame.procedure.role)
        self.raise_event(run, "enter", frame.procedure.role, {}, frame.roles())

    def start(self, cpu: int, level: str, procedure: p.Procedure, interrupt: Interrupt | None = None) -> Position:
        procedure = self.model.resolve(procedure)
        path = f"cpu{cpu}.{level}:{procedure.name}"
        if interrupt is not None:
            # Whose handler it is has to be known at its return where flags differ.
            same = [i for i in self.model.interrupts if i.level == level and self.model.resolve(i.handler) is procedure]
            flags = list(dict.fromkeys(i.flag for i in same))
            path += f"%{flags.index(interrupt.flag)}" if len(flags) > 1 else ""
        frame = Frame(procedure, path, None, None, None, interrupt=interrupt)
        if procedure.role:
            self.roles.add(procedure.role)
            if level == "task":
                # It is entered once, whatever loop it begins with.
                return Position((), 0, frame, "block", Position(procedure.body, 0, frame, "body", None))
        here = Position(procedure.body, 0, frame, "body", None)
        # An endless loop is entered without a step: waiting before it is waiting at its first statement.
        while here.position < len(here.statements) and isinstance(s := here.statements[here.position], p.While) and s.condition is TRUE:
            here = Position(s.body, 0, frame, "block", here)
        return here

    def deliver(self, cpu: int, interrupt: Interrupt) -> None:
        level = interrupt.level
        activation = self.activation(cpu, level)
        run = Path(cpu, level, self.start(cpu, level, interrupt.handler, interrupt), performed=True)
        run.guard.append(self.resolve(interrupt.when, cpu, level))
        if interrupt.flag is not None:
            flag = self.variable(interrupt.flag, cpu)
            run.guard.append(var(flag, BOOL))
            run.store[flag] = FALSE
        run.fair, run.delivers = (f"cpu{cpu} {self.delivery(interrupt)}" if interrupt.flag is not None else ""), True
        run.action, run.text = self.delivery(interrupt), f"interrupt: {interrupt.handler.name} starts"
        assert run.here is not None
        run.frame = run.here.frame
        if run.frame.procedure.role:
            self.enter(run, run.frame)
        for ended, where in self.execute(run):
            self.close(ended, where, level)
            activation.drafts.append(Draft(ended, ended.source, activation.location(where)))

    def delivery(self, interrupt: Interrupt) -> str:
        """What the step is called: interrupts with one handler are told apart by number (INT-6)."""
        named = [i for i in self.model.interrupts if i.handler.name == interrupt.handler.name]
        return f"interrupt {interrupt.handler.name}" + (f" #{named.index(interrupt) + 1}" if len(named) > 1 else "")

    def live_locals(self, activation: Activation) -> Live:
        """The locals that something after each location still reads.

        Whoever called a shared procedure is known at run time only, and a local of one caller is of no use
        to the others: so each stands with the callers under which it is read.
        """
        prefix = activation.name

        def own(names: Iterable[str]) -> set[str]:
            return {n for n in names if n.startswith(prefix) and ":" in n}

        used = []
        for d in activation.drafts:
            r = d.run
            reads: dict[str, Expr] = {}
            for e in (*r.guard, *(() if r.error is not None else (*r.store.values(), *(b.when for b in r.bads), *r.operands.values()))):
                variables(e, reads)
            passed = {name: own(variables(e)) for name, e in r.locals.items()}
            here = frozenset(r.returned.items())
            # Which caller it was is what the guard asks first.
            needed = {n: {frozenset() if n in r.returned else here} for n in own(reads)}
            used.append((d, needed, passed, here))
        live: Live = {}
        changed = True
        while changed:
            changed = False
            for d, needed, passed, here in reversed(used):
                mine = live.setdefault(d.source, {})
                wanted = {n: set(callers) for n, callers in needed.items()}
                for name, callers in () if d.run.exception or d.run.error else live.get(d.target, {}).items():
                    before = {c | here for c in map(d.run.callers_before, callers) if c is not None}
                    for n in passed.get(name, {name}) if before else ():
                        wanted.setdefault(n, set()).update(before)
                for n, callers in wanted.items():
                    if not callers <= mine.setdefault(n, set()):
                        mine[n] |= callers
                        changed = True
        return live

    # -- assembly

    def run(self) -> TransitionSystem:
        model = self.model
        confirm(model, self.properties)
        self.types[HALTED] = BOOL
        self.declare()
        self.refuse_uncalled()
        if model.task is not None:
            self.count_calls("task", model.resolve(model.task))
        for interrupt in model.interrupts:
            self.count_calls(interrupt.level, model.resolve(interrupt.handler))
        for cpu in range(model.cpus):
            if model.task is not None:
                task = self.activation(cpu, "task")
                task.location(self.start(cpu, "task", model.task))
                self.compile_activation(cpu, "task")
            for interrupt in model.interrupts:
                self.deliver(cpu, interrupt)
            for level in model.levels[1:]:
                self.compile_activation(cpu, level)
        steps: list[Step] = []
        for (_, level), activation in self.activations.items():
            self.types[activation.pc] = IntType(0, len(activation.numbers))
            self.initials[activation.pc] = 1 if level == "task" else 0
            # A local may be reset, in one step, before another step that gives it its type is looked at.
            for d in activation.drafts:
                for name, e in d.run.locals.items():
                    if e.type is not None:
                        self.types.setdefault(name, e.type)
        for (cpu, level), activation in self.activations.items():
            live = self.live_locals(activation)
            above = model.levels[model.levels.index(level) + 1 :]
            suspended = [self.at(self.activations[cpu, other], 0) for other in above]
            for d in activation.drafts:
                steps.append(self.finish_step(len(steps), d, activation, live, suspended))
        for action in model.actions:
            for run in self.atomically(action, None, "environment"):
                steps.append(self.make_step(len(steps), run, {}, [not_(var(HALTED, BOOL)), *run.guard]))
        return self.system(steps)

    def refuse_uncalled(self) -> None:
        """What no procedure calls has nobody who could owe it anything."""
        model = self.model
        for procedure in (model.init, *([model.task] if model.task else []), *(i.handler for i in model.interrupts), *model.actions):
            for owner, required in model.requirements(procedure):
                raise InputError(f"{owner.name}() has a precondition, and no procedure calls it", place=required.place, hint="let the model call it: tlbcheck.most_general_caller() makes a caller")

    def at(self, activation: Activation, location: int) -> Expr:
        """The activation waits at ``location``; only once all its locations are known."""
        type_ = self.types[activation.pc]
        return eq(var(activation.pc, type_), const(location, type_))

    def finish_step(self, index: int, d: Draft, activation: Activation, live: Live, suspended: list[Expr]) -> Step:
        r = d.run
        if r.error is not None:
            return self.make_step(index, r, {}, [self.at(activation, d.source), *suspended, not_(var(HALTED, BOOL)), *r.guard])
        before, after = set(live.get(d.source, ())), set()
        if not r.exception:  # after a fault nothing runs any more
            after = {name for name, callers in live.get(d.target, {}).items() if any(r.callers_before(c) is not None for c in callers)}
        updates: dict[str, Expr] = {}
        for name in sorted(before | after):
            if name in after and name in r.locals:
                updates[name] = r.locals[name]
                self.types.setdefault(name, _storable(r.locals[name].type, name))
            elif name not in after:
                updates[name] = const(0, self.types.get(name, BOOL))
        if not r.exception and d.target != d.source:
            updates[activation.pc] = const(d.target, self.types[activation.pc])
        pc = self.at(activation, d.source)
        guard = [pc, *suspended, not_(var(HALTED, BOOL)), *r.guard]
        return self.make_step(index, r, updates, guard)

    def make_step(self, index: int, r: Path, local_updates: dict[str, Expr], guard: list[Expr]) -> Step:
        entry_names = {v.name for v in self.entry_variables()}
        store = {n: e for n, e in r.store.items() if not (e.op == "var" and e.value == n)} if r.error is None else {}
        condition = and_(*guard)
        parameters = list(r.parameters)
        domains = {q.name: q.domain for q in parameters}
        fixed: dict[str, Expr] = {}
        for part in conjuncts(condition):
            if part.op == "eq" and part.args[0].op == "var" and part.args[1].op == "const" and part.args[0].value in domains:
                if part.args[1].value in domains[part.args[0].value]:
                    fixed[part.args[0].value] = part.args[1]
                else:
                    condition = FALSE  # nothing outside of its domain is chosen (NUM-4)
        memo: dict[Expr, Expr] = {}

        def fix(e: Expr) -> Expr:
            return substitute(e, fixed, memo) if fixed else e

        control = {n: fix(e) for n, e in {**store, **local_updates}.items() if n not in entry_names}
        entries = {n: fix(e) for n, e in store.items() if n in entry_names}
        frames: list[Frame] = []
        frame = r.frame
        while frame is not None:
            frames.append(frame)
            frame = frame.parent
        places = [r.place.place] if r.place else [frames[0].procedure.place] if r.level == "environment" and frames else []
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
            bads=tuple(replace(b, when=fix(b.when)) for b in r.bads if b.when is not FALSE and b.property != getattr(self.model.case, "name", None)) if r.error is None else (),
            events=tuple(r.events) if r.error is None else (),
            operands={n: fix(e) for n, e in r.operands.items()},
            choices=tuple((q.label or q.name, q.type, fix(var(q.name, q.type))) for q in parameters),
            checks=(r.error,) if r.error is not None else (),
            roles=frames[0].roles() if frames else (),
            exception=r.exception,
            returns=returns,
            used=tuple(fix(e) for e in r.used),
            fair=r.fair if r.fair is not None else f"cpu{r.cpu}" if r.cpu is not None else "",
            delivers=r.delivers,
        )

    def atomically(self, procedure: p.Procedure, cpu: int | None, level: str) -> list[Path]:
        """Every path of a procedure as one step: an action, or the start."""
        procedure = self.model.resolve(procedure)
        frame = Frame(procedure, f"{level}:{procedure.name}", None, None, None)
        run = Path(cpu, level, Position(procedure.body, 0, frame, "body", None), atomic=1)
        if level == "init":  # nothing is cached during it, and nothing marked (CACHE-2)
            run.store |= {v.name: const(v.initial, v.type) for v in self.entry_variables()}
        run.action, run.text, run.frame = procedure.name, procedure.doc.split("\n")[0] or procedure.name, frame
        for q in procedure.parameters:
            name = f"{CHOICE}{len(run.parameters)}"
            run.parameters.append(Parameter(name, q.type, q.type.values(), q.name))
            self.assign(run, frame, q.name, var(name, q.type), q.type)
        if procedure.role:
            self.enter(run, frame)
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
                    made += [Variable(name, g.type, g.initial) for name in self.ghost_names(g, cpu)]
        return made

    def fills(self) -> tuple[Fill, ...]:
        cache = self.model.cache
        if cache is None:
            return ()
        made = []
        for cpu in range(self.model.cpus):
            when = self.resolve(cache.fill, cpu, "task")
            run = Path(cpu, "task", None)
            run.store[self.cached_name(cpu)] = TRUE
            self.raise_event(run, "fill", "", {}, ())
            if others := [n for n in run.store if not of_entry(n)]:
                raise InputError(f"what an entry that comes in changes is no mark of that entry ({others[0]})", hint="give the ghost per_entry=True")
            self.filling += [self.bad_at_a_fill(b, when, cpu) for b in run.bads]
            made.append(Fill(cpu, when, run.store, frozenset(variables(when))))
        return tuple(made)

    def bad_at_a_fill(self, b: Bad, when: Expr, cpu: int) -> Bad:
        """What is bad when an entry comes in (CACHE-7), as what is bad wherever a walk may cache one.

        An entry that is cached may have gone just before, and its marks on that CPU with it (GHOST-2): what it needs
        to come in is then another entry, or its own absence.
        """
        assert self.model.cache is not None
        cached = self.cached_name(cpu)
        bad = b.when
        if mentions(when, 2):
            same = and_(*(eq(var(f"entry.{n}", t), var(f"entry2.{n}", t)) for n, t, _ in self.model.cache.fields))
            when = or_(and_(not_(same), when), substitute(in_slot(when, 1, 1), {cached: FALSE}))
        marks = {v.name: const(v.initial, v.type) for v in self.entry_variables() if v.name.startswith(f"cpu{cpu}.") and v.name != cached}
        if not marks.keys().isdisjoint(variables(bad)):
            bad = ite(var(cached, BOOL), substitute(bad, marks), bad)
        return replace(b, when=and_(when, bad))

    def unjudged(self, q: Property) -> dict[str, str]:
        """The clauses of ``q`` that attach to no step, each with what no step does."""
        always = {clause for clause, _ in (*q.invariants, *q.liveness)}
        events: dict[str, list[str]] = {}
        for r in q.rules:
            for clause, _ in r.bad:
                if clause not in always and (q.name, clause) not in self.attached:
                    events.setdefault(clause, []).append(str(r.event))
        return {clause: " or ".join(dict.fromkeys(does)) for clause, does in events.items()}

    def unchanged(self, q: Property, bads: Sequence[Bad], updates: Mapping[str, Collection[Expr]]) -> dict[str, str]:
        """The clauses of ``q`` that wait for ghosts which keep their initial values, each with what no step does to change them."""
        named = {n: g for g in q.ghosts for cpu in range(self.model.cpus) for n in self.ghost_names(g, cpu)}
        kept = {n: const(g.initial, g.type) for n, g in named.items()}
        before = -1
        while kept and before != len(kept):
            before = len(kept)
            kept = {n: e for n, e in kept.items() if all(_is_same(substitute(new, kept), e) for new in updates.get(n, ()))}
        found = {}
        for clause in dict.fromkeys(b.clause for b in bads if b.property == q.name) if kept else ():
            whens = [b.when for b in bads if (b.property, b.clause) == (q.name, clause)]
            asked = {named[n].name for when in whens for n in variables(when) if n in kept}
            if asked and all(substitute(when, kept) is FALSE for when in whens):
                events = [str(r.event) for r in q.rules if any(g.name in asked for g, _ in r.updates)]
                found[clause] = " or ".join(dict.fromkeys(events or [f"sets {n.removeprefix('ghost.')}" for n in sorted(asked)]))
        return found

    def looked_at_by(self, q: Property) -> tuple[str, ...]:
        """The operations in which ``q`` looks at cached entries, if these are the task's own steps and nothing else does."""
        if any(self.looks(e) for _, e in q.invariants):
            return ()
        names: dict[str, None] = {}
        for r in q.rules:
            for clause, bad in r.bad:
                if self.looks(bad):
                    if r.every_cpu or r.event.kind != "operation":
                        return ()
                    at = self.attached.get((q.name, clause), set())
                    if any(level != "task" for _, level in at):
                        return ()
                    names |= dict.fromkeys(sorted(e.name for e, _ in at))
        return tuple(names)

    def looks(self, e: Expr) -> bool:
        """Whether ``e`` speaks of a cached entry."""
        return self.model.cache is not None and any(of_entry(n) or n.startswith("used.") for n in variables(self.resolve(e, 0, "task")))

    def system(self, steps: list[Step]) -> TransitionSystem:
        model, cache = self.model, self.model.cache
        starts = self.atomically(model.init, 0, "init")
        initial = tuple(self.make_step(i, r, {}, r.guard) for i, r in enumerate(starts))
        self.filling: list[Bad] = []
        fills = self.fills()
        missing = {q.name: [n for n in q.needs if n not in self.roles] for q in self.properties}
        model_names = model.names()
        not_applicable = {name: f"the model has no procedure of role {', '.join(lacking)}" for name, lacking in missing.items() if lacking}
        for q in self.properties:
            lacking = [n for n in asked_names(q) if n not in model_names]
            if q.name not in not_applicable and cache is None and any(n.startswith("entry.") for n in asked_names(q)):
                not_applicable[q.name] = "the model has no cache"
            elif q.trigger is not None and q.trigger.kind == "requires" and not self.judges_calls:
                not_applicable[q.name] = "the model calls no procedure that has a precondition"
            elif q.name not in not_applicable and any("." not in n for n in lacking):
                not_applicable[q.name] = f"the model has no {', '.join(n for n in lacking if '.' not in n)}"
        judged = [q for q in self.properties if q.name not in not_applicable]
        invariants = [Bad(q.name, clause, e) for q in judged for clause, bad in q.invariants for e in self.everywhere(bad)]
        invariants += [b for b in self.filling if b.property not in not_applicable]
        liveness = [Bad(q.name, clause, e) for q in judged for clause, pending in q.liveness for e in self.everywhere(pending)]
        steps = [replace(s, bads=tuple(b for b in s.bads if b.property not in not_applicable)) for s in steps]
        entry_variables = self.entry_variables()
        start = Start(initial, {n: self.initials.get(n, 0) for n in self.types}, {q.name for q in judged}, entry_variables, model)
        initial, entry_marked = start.steps, start.marked()
        invariants += start.invariants
        steps += [replace(s, index=len(steps) + i) for i, s in enumerate(start.errors)]
        self.types |= dict.fromkeys(start.flags, BOOL)
        fields = tuple(Variable(f"entry.{n}", t, 0, d) for n, t, d in cache.fields) if cache else ()
        reads: dict[str, Expr] = {}
        for s in (*steps, *initial):
            for e in (s.guard, *s.updates.values(), *s.entry_updates.values(), *(b.when for b in s.bads), *s.operands.values()):
                variables(e, reads)
        for e in entry_marked.values():
            variables(e, reads)
        for f in fills:
            for e in (f.when, *f.updates.values()):
                variables(e, reads)
        for b in (*invariants, *liveness):
            variables(b.when, reads)
        for b in liveness:
            if any(of_entry(n) for n in variables(b.when)):
                raise InputError(f"{b.property}: what must not hold for ever speaks of cached entries", hint="an entry may go at any time: speak of registers and memory", judging=b.property)
        entry_initial = {self.cached_name(c): self.resolve(cache.initial, c, "task") for c in range(model.cpus)} if cache else {}
        for e in entry_initial.values():
            variables(e, reads)
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
        names = {n for n in set(reads) | written | set(case_names.values()) if not of_entry(n)}
        cases = {f"case.{c.name}": c for c in model.cases}
        control = []
        for name in sorted(names, key=_natural):
            if name.startswith(CHOICE):
                continue
            if name in cases:
                control.append(Variable(name, cases[name].type, 0, cases[name].domain))
            elif name.startswith("case."):
                raise InputError(f"{model.name} uses the case variable {name} but does not list it", hint="add it to cases=(...)")
            else:
                type_ = self.types.get(name) or reads[name].type
                assert type_ is not None, name
                control.append(Variable(name, type_, self.initials.get(name, type_.nearest_to_zero if isinstance(type_, IntType) else 0)))
        _check_entry_independence(steps, fills, {v.name for v in entry_variables})
        bads = [*(b for s in (*steps, *initial) for b in s.bads), *invariants, *liveness]
        updates: dict[str, dict[Expr, None]] = {}
        for changes in (*(c for s in (*steps, *initial) for c in (s.updates, s.entry_updates)), *(f.updates for f in fills), entry_marked):
            for n, e in changes.items():
                updates.setdefault(n, {})[e] = None
        unjudged = {q.name: self.unjudged(q) | self.unchanged(q, bads, updates) for q in judged}
        return TransitionSystem(
            model=model,
            properties=self.properties,
            control=tuple(control),
            rigid=tuple(n for n in cases if n in names),
            entry_fields=fields,
            entry_variables=tuple(entry_variables),
            initial=initial,
            entry_initial=entry_initial,
            entry_marked=entry_marked,
            steps=tuple(steps),
            fills=fills,
            invariants=tuple(invariants),
            liveness=tuple(liveness),
            case_variables=case_names,
            case_frames={level: names_ for level, names_ in frames.items() if set(names_.values()) <= names},
            not_applicable=not_applicable,
            cached={c: self.cached_name(c) for c in range(model.cpus)} if cache else {},
            meanings={n: self.resolve(e, 0, "task") for n, e in model.meanings.items()} if cache else {},
            opened=dict(self.opened),
            unjudged={name: clauses for name, clauses in unjudged.items() if clauses},
            looked_at_by={q.name: by for q in self.properties if q.name not in not_applicable and (by := self.looked_at_by(q))},
            meeting=any(s.used for s in steps) or any(of_entry(n, 2) for n in reads),
        )


def _is_same(e: Expr, constant: Expr) -> bool:
    return e.op == "const" and e.value == constant.value


def is_idle(run: Path) -> bool:
    """A wait that came to nothing: what was read was not what a ``require`` asks for, and nothing else happened."""
    return run.waits and not run.bads and all(e.op == "var" and e.value == n for n, e in run.store.items())


def _caller(shared: Shared, k: int) -> tuple[tuple[Place, ...], tuple[str, ...], ReturnTo | None]:
    """The frames above call site ``k``."""
    site = shared.sites[k]
    places, names = [site.place], []
    frame: Frame | None = site.after.frame
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


def _check_entry_independence(steps: Sequence[Step], fills: Sequence[Fill], entries: set[str]) -> None:
    """Control reads no entry, an entry's variables only itself, a fill what else is cached (``entry2``) at most."""
    for s in steps:
        for e in (s.guard, *s.updates.values()):
            touched = [n for n in variables(e) if of_entry(n)]
            if touched:
                raise InputError(f"control depends on cached entries ({touched[0]})", place=s.places[0] if s.places else None, hint="let an operation go through the cache (Operation.uses)")
        for e in s.entry_updates.values():
            touched = [n for n in variables(e) if of_entry(n, 2)]
            if touched:
                raise InputError(f"what happens to an entry depends on another ({touched[0]})", place=s.places[0] if s.places else None, hint="only fills and what is bad may name entry2")
    for f in fills:
        if entries & set(variables(f.when)):
            raise InputError("a fill depends on whether the entry itself is cached already", hint="leave that out: a fill of a cached entry changes nothing")


def lower(model: Model, properties: Sequence[Property]) -> TransitionSystem:
    """The transition system of ``model`` with the monitors of ``properties`` built in.

    Raises ``InputError`` with the place of what cannot be compiled, or is declared nowhere.
    """
    check_declared(model, properties)
    return _Lowering(model, properties).run()
