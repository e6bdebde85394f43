"""Expressions as data: what rules of machines, caches and properties say."""

from __future__ import annotations

from collections.abc import Sequence

from .kinds import BOOL, Kind, element
from .writer import Writer


class Rules(Writer):
    """Writes rules."""

    def rule(
        self,
        kind: Kind,
        depth: int,
        args: Sequence[tuple[str, Kind]] = (),
        *,
        entry: bool = False,
        entry2: bool = False,
        only_entry: bool = False,
        own: bool = True,
        ghosts: Sequence[tuple[str, Kind]] = (),
    ) -> str:
        """An expression over variables, operands ``args`` and, if allowed, the entry. ``own``: also whether it is
        cached.
        """
        r = self.r
        leaves: list[tuple[str, Kind]] = [(f"var({n!r}, {k.data})", k) for n, k in args]
        if not only_entry:
            for v in self.vars:
                if v.index is None:
                    leaves.append((f"{v.name}.expr", v.kind))
                else:
                    leaves.append((f"var({element(v, self.number(v.index))!r}, {v.kind.data})", v.kind))
            leaves += [(f"{n}.expr", k) for n, k in self.cases]
            leaves += [(f"{n}.expr", BOOL) for n in self.flags]
            leaves += [(f"var({n!r}, BOOL)", BOOL) for n in self.settings]
        leaves += [(f"{n}.expr", k) for n, k in ghosts] * 2
        if entry or only_entry:
            fields = [(f"var('entry.{n}', {k.data})", k) for n, k, _ in self.fields]
            leaves += fields * 2
        if entry and own:
            leaves += [("CACHED", BOOL)] * 3
        if entry and own and self.meanings:
            leaves += [(f"var('meaning.{n}', BOOL)", BOOL) for n in self.meanings]
        if entry2:
            leaves += [(f"var('entry2.{n}', {k.data})", k) for n, k, _ in self.fields] + [
                ("var('entry2.cached', BOOL)", BOOL)
            ] * 2

        def same(k: Kind) -> list[str]:
            return [text for text, other in leaves if other == k]

        def write(k: Kind, d: int) -> str:
            if self.names_only(k) and same(k):
                return r.choice(same(k))
            if k is not BOOL:
                if d > 0 and k.is_word and self.chance(0.5):
                    return f"({write(k, d - 1)} {self.one('&', '|', '+', '^', '-')} {write(k, 0)})"
                if d > 0 and self.chance(0.3):
                    return f"ite({write(BOOL, d - 1)}, {write(k, 0)}, {write(k, 0)})"
                return r.choice([*same(k), self.data(k)]) if self.chance(0.7) and same(k) else self.data(k)
            if d <= 0 or self.chance(0.25):
                found = same(BOOL)
                if found and self.chance(0.75):
                    return r.choice(found)
                others = [(text, other) for text, other in leaves if other is not BOOL]
                if others:
                    text, other = r.choice(others)
                    return compare(text, other, 0)
                return self.one("TRUE", "FALSE", "TRUE")
            match r.choice(("and", "or", "not", "compare", "ite", "and", "or")):
                case "not":
                    return f"not_({write(BOOL, d - 1)})"
                case "compare":
                    others = [(text, other) for text, other in leaves if other is not BOOL]
                    if others:
                        text, other = r.choice(others)
                        return compare(text, other, d - 1)
                    return write(BOOL, d - 1)
                case "ite":
                    return f"ite({write(BOOL, d - 1)}, {write(BOOL, d - 1)}, {write(BOOL, 0)})"
                case junction:
                    return f"{junction}_({write(BOOL, d - 1)}, {write(BOOL, d - 1)})"

        def compare(text: str, k: Kind, d: int) -> str:
            other = write(k, d)
            if k.is_range or k.is_word:
                return self.one(
                    f"eq({text}, {other})", f"({text} < {other})", f"({other} <= {text})", f"not_(eq({text}, {other}))"
                )
            return self.one(f"eq({text}, {other})", f"not_(eq({text}, {other}))")

        return write(kind, depth)
