"""The model itself: its task, what interrupts it, the environment."""

from __future__ import annotations

from .kinds import BOOL, Scope, indented
from .properties import Properties


class Models(Properties):
    """Writes whole models."""

    def model_parts(self) -> str:
        """The task, what interrupts it, and the environment; returns what the model says of them."""
        r = self.r
        parts = [f"cache={'CACHE' if self.fields else 'None'}"]
        if self.chance(0.12) and self.procs:
            p = r.choice(self.procs)
            domains = {
                n: f"({', '.join(sorted({self.constant(k), self.constant(k)}))},)"
                for n, k in p.parameters
                if k.is_word or self.chance(0.5)
            }
            narrowed = ", ".join(f"{n!r}: {v}" for n, v in domains.items())
            self.emit(
                f"general = most_general_caller({p.name}, domains={{{narrowed}}})",
                "",
                "",
            )
            self.define("task", (), None, ["while True:", "    general()", "    mark()"])
        else:
            s = Scope({})
            lines = self.block(s, r.choice((0, 1, 1, 2)), 2)
            count = r.choice((1, 2, 2, 3)) if self.cpus == 1 else r.choice((1, 1, 2))
            if self.chance(0.6):
                inner = s.copy()
                lines += ["while True:", *indented([*self.block(inner, count, 2), *self.step(inner)])]
            else:
                lines += [*self.block(s, count + 1, 2), *self.step(s)]
            self.define("task", (), None, lines, self.one(*[""] * 8, "outer"))
        if self.chance(0.2) and self.procs:
            p = r.choice(self.procs)
            s = Scope(dict(p.parameters), result=p.result, calls=False)
            lines = self.step(s)
            if p.result is not None:
                lines.append(f"return {self.expr(p.result, s)}")
            self.define("stand_in", p.parameters, p.result, lines, p.role)
            parts.append(
                f"contracts=(Contract({p.name}, stand_in, 'random/other'),)"
                if self.chance(0.5)
                else f"procedures={{{p.name}: stand_in}}"
            )
        flags = [v for v in self.vars if v.place == "cpu" and v.kind is BOOL]
        interrupts = []
        if self.chance(0.3):
            handlers = r.choice((1, 1, 2))
            for n in range(handlers):
                s = Scope({}, calls=self.chance(0.5))
                self.define(
                    f"i{n}",
                    (),
                    None,
                    [*self.block(s, r.choice((0, 1, 1)), 1), *self.step(s)],
                    self.one("", "", "", "inner"),
                )
            for n in range(handlers if self.chance(0.8) else 2):
                flag = r.choice(flags).name if flags and self.chance(0.75) else "None"
                when = f", when={self.rule(BOOL, 1)}" if flag == "None" or self.chance(0.5) else ""
                level = self.one("", "", ", level='nmi'")
                interrupts.append(f"Interrupt(i{n % handlers}, {flag}{when}{level})")
            parts.append(f"interrupts=({', '.join(interrupts)},)")
        if self.chance(0.25):
            self.acts = True
            names = []
            for n in range(r.choice((1, 1, 2))):
                parameters = tuple((f"p{i}", self.some_kind(small=True)) for i in range(r.choice((0, 1))))
                s = Scope(dict(parameters), cpu=False, calls=False, atomic=True)
                lines = self.block(s, r.choice((1, 1, 2)), 1)
                if self.chance(0.4):
                    lines.insert(0, f"require({self.expr(BOOL, s, 0)})")
                self.define(f"a{n}", parameters, None, lines)
                names.append(f"a{n}")
            parts.append(f"actions=({', '.join(names)},)")
        if self.cases:
            parts.append("cases=(CASE,)")
        if self.flags:
            parts.append(f"flags={{FLAG: {self.chance(0.5)}}}")
        if self.fields and self.meanings:
            parts.append(f"meanings={{'m0': {self.rule(BOOL, 1, entry=True, own=False)}}}")
        if self.chance(0.3):
            parts.append(f"profile={self.one('intel', 'amd')!r}")
        return ", ".join(parts)

    def write(self) -> str:
        self.declare_variables()
        self.declare_operations()
        self.emit("", "")
        helpers = self.r.choice((0, 1, 1, 2, 2, 3))
        for n in range(helpers):
            self.helper(n)
        self.start()
        tail = self.model_parts()
        properties = [self.property(n) for n in range(self.r.choice((1, 1, 2, 3)))]
        if not any("setting.s" in line for line in self.out if line.startswith("Q")):
            # A setting that only what is never asked speaks of is refused.
            self.out = [line.replace("var('setting.s', BOOL)", "TRUE") for line in self.out]
            tail = tail.replace("var('setting.s', BOOL)", "TRUE")
        else:
            tail += f", settings={{'setting.s': {self.one('TRUE', 'FALSE')}}}"
        self.emit(
            f"model = Model(name={self.name!r}, title='random', init=start, task=task, cpus={self.cpus}, {tail})",
            f"PROPERTIES = [{', '.join(properties)}]",
        )
        return "\n".join(self.out) + "\n"
