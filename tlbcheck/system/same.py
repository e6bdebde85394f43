"""Which numbers are copied to and compared with each other, so that they name the same things; and what else is asked of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from tlbcheck.lang.expr import Expr, var
from tlbcheck.lang.types import IntType, Type, WordType
from tlbcheck.system.sites import Site
from tlbcheck.system.slots import slot_name
from tlbcheck.system.transition_system import TransitionSystem


def is_number(type_: Type | None) -> bool:
    return isinstance(type_, IntType | WordType)


class Same:
    """Classes of numbers: what is compared for equality, chosen between or copied is in one. Guards are not followed."""

    def __init__(self, system: TransitionSystem, sites: Sequence[Site]) -> None:
        self.sites = sites
        self.types = {v.name: v.type for v in (*system.control, *system.entry_variables)}
        self.above: dict[Expr, Expr] = {}
        both = [(var(v.name, v.type), var(slot_name(v.name, 2), v.type)) for v in system.entry_fields]
        used = [(field, e) for s in system.steps for (field, _), e in zip(both, s.used, strict=False)]
        for a, b in (*both, *used, *(pair for site in sites for pair in self.joined(site))):
            if a.op != "const" and b.op != "const" and self.of(a) is not self.of(b):
                self.above[self.of(a)] = self.of(b)

    def joined(self, site: Site) -> Iterator[tuple[Expr, Expr]]:
        """The pairs of numbers that a site compares for equality, or makes one of the other."""
        for name, e in site.updates.items():
            if is_number(e.type):
                yield var(name, self.types[name]), e
        for e in site.parts:
            if e.op == "eq" and is_number(e.args[0].type):
                yield e.args[0], e.args[1]
            elif e.op == "ite" and is_number(e.type):
                yield from ((e, a) for a in e.args[1:])

    def of(self, e: Expr) -> Expr:
        """The one that stands for the class of ``e``."""
        while e in self.above:
            e = self.above[e]
        return e

    def looks_into(self, seeds: Iterable[Expr], values: Collection[int] | None = None, *, tables: Collection[Expr] = ()) -> str:
        """What asks more of a number in a class of ``seeds`` than whether two are the same; empty if nothing does.

        To look it up in one of ``tables`` is not more, nor is it to compare it with one of ``values`` (None: with any).
        """
        roots = {self.of(e) for e in seeds}

        def held(e: Expr) -> bool:
            return self.of(e) in roots

        for site in self.sites:
            for e in site.parts:
                if e.op not in ("eq", "ite", "var", "const") and e not in tables and (held(e) or any(map(held, e.args))):
                    return site.what
            if values is not None and any(other.op == "const" and other.value not in values and held(one) for a, b in self.joined(site) for one, other in ((a, b), (b, a))):
                return site.what
        return ""
