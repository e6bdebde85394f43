"""Properties: ghosts, rules about events, what never holds and what does not hold for ever."""

from __future__ import annotations

from collections.abc import Sequence

from .kinds import BOOL, Kind
from .procedures import Procedures


class Properties(Procedures):
    """Writes properties."""

    def property(self, n: int) -> str:
        r, name = self.r, f"Q{n}"
        entries = bool(self.fields) and self.chance(0.75)
        head = len(self.out)
        ghosts: list[tuple[str, Kind]] = []
        per_entry: list[tuple[str, Kind]] = []
        by_cpu = False
        for i in range(r.choice((0, 1, 1, 2))):
            each = entries and self.chance(0.5)
            kind = BOOL if each or self.chance(0.6) else self.some_range()
            frame, acting = self.chance(0.2), self.chance(0.15) and not self.acts  # ENV-3
            by_cpu = by_cpu or acting
            options = [
                x for x, is_so in (("per_entry=True", each), ("frame=True", frame), ("by_cpu=True", acting)) if is_so
            ]
            initial = self.number(kind) if kind is not BOOL or self.chance(0.2) else 0
            self.emit(f"g{n}_{i} = {name}.ghost('g{i}', {', '.join([kind.note, str(initial), *options])})")
            (per_entry if each else ghosts).append((f"g{n}_{i}", kind))
        several = sum(len(values) for _, _, values in self.fields) > len(self.fields)
        entry2 = entries and self.chance(0.3 if several else 0.05)

        def bad(args: Sequence[tuple[str, Kind]] = (), *, about: bool = True) -> str:
            text = self.rule(
                BOOL,
                2,
                args,
                entry=about and entries,
                entry2=about and entry2,
                ghosts=[*ghosts, *(per_entry if about else [])],
            )
            if about and entry2 and self.chance(0.5):
                parts = ["CACHED", "var('entry2.cached', BOOL)"]
                for n, k, _ in self.fields:
                    same = f"eq(var('entry.{n}', {k.data}), var('entry2.{n}', {k.data}))"
                    parts.append(self.one(same, f"not_({same})"))
                return f"and_({', '.join(parts)}, {text})" if self.chance(0.5) else f"and_({', '.join(parts)})"
            return f"and_(CACHED, {text})" if about and entries and self.chance(0.6) else text

        for _ in range(r.choice((1, 1, 2, 3))):
            event, args = self.event()
            every = self.chance(0.25)
            updates = []
            for g, k in [*ghosts, *per_entry]:
                if self.chance(0.6):
                    mine = (g, k) in per_entry
                    # A ghost of its CPU's own is not changed by what is said of one entry.
                    updates.append(
                        f"{g}: {self.rule(k, 1, args, entry=mine, ghosts=[*ghosts, *(per_entry if mine else [])])}"
                    )
            judged = f", bad={{'c0': {bad(args)}}}" if self.chance(0.6) or not updates else ""
            self.emit(f"{name}.on({event}, {{{', '.join(updates)}}}{judged}{', every_cpu=True' if every else ''})")
        if self.chance(0.4):
            self.emit(f"{name}.never('c1', {bad()})")
        if not any("'c" in line for line in self.out[head:]):
            self.emit(f"{name}.never('c1', {bad()})")
        if self.chance(0.12):
            self.emit(f"{name}.eventually_not('c2', {self.rule(BOOL, 1, ghosts=ghosts)})")
        clauses = ", ".join(f"{c}: {c}" for c in ("'c0'", "'c1'", "'c2'") if any(c in line for line in self.out[head:]))
        self.out.insert(
            head,
            f"{name} = Property('q{n}', 'random', source='here', trigger=Event('operation'), clauses={{{clauses}}})",
        )
        self.emit("", "")
        return name

    def event(self) -> tuple[str, list[tuple[str, Kind]]]:
        within = f", within={self.one('outer', 'inner')!r}" if self.chance(0.2) else ""
        roles = [p.role for p in self.procs if p.role]
        match self.r.choice(
            (
                "operation",
                "operation",
                "operation",
                "any",
                "enter",
                "leave",
                "fill",
                "fault",
                "assert",
                "requires",
                "handler",
            )
        ):
            case "any":
                return f"Event('operation'{within})", []
            case "enter" if roles:
                role = self.r.choice(roles)
                takers = [p for p in self.procs if p.role == role]
                if len(takers) == 1 and takers[0].parameters and self.chance(0.5):
                    return f"enter({role!r}, {', '.join(repr(x) for x, _ in takers[0].parameters)})", [
                        (f"arg.{x}", k) for x, k in takers[0].parameters
                    ]
                return f"enter({role!r})", []
            case "leave" if roles:
                return f"leave({self.r.choice(roles)!r})", []
            case "fill" if self.fields:
                return "Event('fill')", []
            case "fault":
                return f"Event('fault', {self.one('', '#GP', '#UD')!r})", []
            case "assert":
                return f"Event('assert'{within})", []
            case "requires":
                return f"Event('requires'{within})", []
        op = self.r.choice(self.ops)
        return f"operation({op.name!r}{within})", [(f"arg.{x}", k) for x, k in op.operands]
