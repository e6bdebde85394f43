"""SMT-LIB constrained Horn clauses (logic HORN): satisfiable exactly if the property holds."""

from __future__ import annotations

from collections.abc import Sequence

from tlbcheck.engines.obligations import SystemText, quoted
from tlbcheck.system.transition_system import TransitionSystem


def horn_clauses(system: TransitionSystem, property_name: str, caveats: Sequence[str] = ()) -> str:
    """``reached`` holds of every reachable state; no state of it is bad, nor a step from one. ``caveats`` head the file."""
    text = SystemText(system, property_name)
    e = text.encoding
    fields = [e.fields[v.name] for v in text.fields]
    now = [*(e.now[v.name] for v in text.state), *fields]
    after = [*(e.next[v.name] for v in text.state), *fields]
    choices = [e.act, *e.parameters.values(), *e.contents.values()]

    def applied(vector: Sequence[object]) -> str:
        return f"(reached {' '.join(quoted(x.decl().name()) for x in vector)})" if vector else "reached"  # type: ignore[attr-defined]  # z3 types no decl()

    def clause(body: Sequence[str], head: str) -> str:
        bound = " ".join(f"({quoted(x.decl().name())} {x.sort().sexpr()})" for x in (*now, *(e.next[v.name] for v in text.state), *choices))
        return f"(assert (forall ({bound}) (=> (and {' '.join(body)}) {head})))"

    formulas = text.formulas
    lines = [
        f"; {system.model.name}, {property_name}: sat means that the property holds",
        *(f"; {x}" for x in caveats),
        "(set-logic HORN)",
        f"(declare-fun reached ({' '.join(x.sort().sexpr() for x in now)}) Bool)",
        clause([formulas["init"]], applied(now)),
        clause([applied(now), formulas["step"]], applied(after)),
        clause([applied(now), formulas["bad-state"]], "false"),
        clause([applied(now), formulas["step"], formulas["bad-step"]], "false"),
        "(check-sat)",
    ]
    return "\n".join(lines) + "\n"
