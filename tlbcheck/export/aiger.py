"""AIGER 1.9: the circuit of ``engines.circuit`` with one bad output, and with the names of inputs and latches."""

from __future__ import annotations

from collections.abc import Sequence

from tlbcheck.engines.circuit import RANGE, Circuit, SystemCircuit
from tlbcheck.system.transition_system import TransitionSystem


def exported(system: TransitionSystem, property_name: str) -> tuple[Circuit, int]:
    """The circuit, and the literal that is 1 where the property or a condition on the model itself is broken."""
    circuit = SystemCircuit(system).circuit
    return circuit, circuit.any(circuit.bads[g] for g in (property_name, RANGE) if g in circuit.bads)


def _head(kind: str, c: Circuit) -> str:
    # One bad property and no output, as AIGER 1.9 has it.
    return f"{kind} {c.first_gate - 1 + len(c.gates)} {len(c.inputs)} {len(c.latches)} 0 {len(c.gates)} 1\n"


def _symbols(c: Circuit, comments: Sequence[str]) -> str:
    lines = [f"i{i} {n}" for i, n in enumerate(c.inputs)] + [f"l{i} {n}" for i, n in enumerate(c.latches)] + ["b0 violated"]
    lines += ["c", *comments] if comments else []
    return "\n".join(lines) + "\n"


def ascii_aiger(c: Circuit, bad: int, comments: Sequence[str] = ()) -> bytes:
    """The format ``aag``, with ``comments`` at its end."""
    lines = [str(c.input(i)) for i in range(len(c.inputs))]
    lines += [f"{c.latch(i)} {after}" for i, after in enumerate(c.following)]
    lines.append(str(bad))
    lines += [f"{2 * (c.first_gate + i)} {max(g)} {min(g)}" for i, g in enumerate(c.gates)]
    return (_head("aag", c) + "\n".join(lines) + "\n" + _symbols(c, comments)).encode()


def binary_aiger(c: Circuit, bad: int, comments: Sequence[str] = ()) -> bytes:
    """The format ``aig``, the same: gates as differences of literals, seven bits to a byte."""
    made = bytearray((_head("aig", c) + "".join(f"{after}\n" for after in c.following) + f"{bad}\n").encode())
    for i, (a, b) in enumerate(c.gates):
        own, high, low = 2 * (c.first_gate + i), max(a, b), min(a, b)
        for difference in (own - high, high - low):
            while difference >= 0x80:
                made.append(difference & 0x7F | 0x80)
                difference >>= 7
            made.append(difference)
    return bytes(made) + _symbols(c, comments).encode()
