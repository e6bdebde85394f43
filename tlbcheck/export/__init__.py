"""The transition system and one property of it, in formats that other people's engines read."""

from __future__ import annotations

from pathlib import Path

from tlbcheck.errors import InputError
from tlbcheck.files import write_bytes
from tlbcheck.lang.model import Model, Property

FORMATS = (".smt2", ".aag", ".aig")


def write(model: Model, prop: Property, path: Path) -> str:
    """Write ``model`` with ``prop`` in the format that the name of ``path`` asks for; a line on what was written."""
    if path.suffix not in FORMATS:
        raise InputError(f"no export format is called '{path.suffix}'", hint=f"use one of {', '.join(FORMATS)}")
    from tlbcheck.certificate.file import without_an_end
    from tlbcheck.engines.invariant import system_for
    from tlbcheck.engines.run import how_many_entries
    from tlbcheck.export import aiger, chc
    from tlbcheck.options import Limits
    from tlbcheck.reliance import rests_on
    from tlbcheck.system.lower import lower
    from tlbcheck.system.sufficiency import FULL, represented
    from tlbcheck.worth import worthless

    system = lower(model, [prop])
    if prop.name in system.not_applicable:
        raise InputError(f"{prop.name} does not apply to {model.name}: {system.not_applicable[prop.name]}", hint="'tlbcheck list' shows the properties")
    if endless := without_an_end(system, prop.name):
        raise InputError(f"clause '{endless}' of {prop.name} is about runs that never end, which these formats do not speak of here", hint="'tlbcheck verify' judges it")
    decided = how_many_entries(system, Limits())
    if decided.entries == FULL:
        raise InputError(f"no number of tracked entries is enough for {model.name}", hint="only models whose entries can be tracked are exported")
    caveats = [f"that it holds would say nothing: {why}"] if (why := worthless(system, prop.name)) else []
    caveats += [f"that it holds relies on: {relies}"] if (relies := rests_on(model)) and not why else []
    system = system_for(represented(system, decided), frozenset({prop.name}))
    if path.suffix == ".smt2":
        content = chc.horn_clauses(system, prop.name, caveats).encode()
        said = "Horn clauses: sat means that the property holds"
    else:
        circuit, bad = aiger.exported(system, prop.name)
        content = aiger.ascii_aiger(circuit, bad, caveats) if path.suffix == ".aag" else aiger.binary_aiger(circuit, bad, caveats)
        said = f"{len(circuit.inputs)} inputs, {len(circuit.latches)} latches, {len(circuit.gates)} gates; a violation after d steps is seen in frame d + 1"
    write_bytes(path, content)
    return "; ".join([f"{path}: {model.name}, {prop.name}", said, *caveats])
