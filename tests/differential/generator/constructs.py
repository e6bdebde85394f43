"""The constructs that a model's text is searched for, to see that none is missing."""

from __future__ import annotations

import re

TAGS: dict[str, str] = {
    "array": "index=", "array from below 0": r"index=(Range|IntType)\(-", "array from above 0": r"index=Range\([1-9]",
    "array over an enum": r"index=[EF]\b", "array over bool": "index=bool", "table": r"TAB\d?\(",
    "table over a range": r"Table\('\w+', IntType", "table over an enum": r"Table\('\w+', enum_type",
    "range below 0": r"Range\(-", "range above 0": r"Range\([1-9]", "word of 32 bits": r"\bu32\b|U32",
    "word of 64 bits": r"\bu64\b|U64", "shift": "<<|>>", "invert": "~", "sum": r" \+ | - ",
    "conditional expression": " if .+ else ", "chain of comparisons": r"<=? \w+ <", "membership": r" in \(",
    "loop": "while (?!True)", "endless loop": "while True", "loop over CPUs": r"in cpus\(\)", "call": r"\bh\d\(",
    "call for a value": r"= h\d\(|\(h\d\(", "return": "return", "choice": r"choose\(",
    "choice from a tuple": r"choose\(\(", "require": r"require\(",
    "require in atomic": r"with atomic[^@]*?\n        +require\(", "require of a read": r"require\(.*get\(\)",
    "atomic": "with atomic", "assertion": r"\bassert ", "precondition": r"requires\(",
    "precondition that reads": r"requires\(.*get\(\)", "contract": r"Contract\(",
    "most general caller": r"most_general_caller\(", "per-CPU variable": r"per_cpu\(", "access by CPU": r"P\d\.at\(",
    "two CPUs": "cpus=2", "this_cpu": r"this_cpu\(", "interrupt": r"Interrupt\(",
    "interrupt without a flag": r"Interrupt\(\w+, None", "two interrupts": r"Interrupt\(.*Interrupt\(", "nmi": "nmi",
    "action": r"actions=\(a", "action with parameters": r"def a\d\(\w", "ghost": r"\.ghost\(",
    "ghost per entry": "per_entry=True", "ghost per frame": "frame=True", "ghost by CPU": "by_cpu=True",
    "enter": r"enter\(", "leave": r"leave\(", "operation event": r"operation\(", "fill event": r"Event\('fill'",
    "fault event": r"Event\('fault'", "assert event": r"Event\('assert'", "requires event": r"Event\('requires'",
    "within": "within=", "every CPU": "every_cpu=True", "never": r"\.never\(",
    "eventually not": r"\.eventually_not\(", "entry2": "entry2", "case variable": r"case_variable\(",
    "setting": r"setting\.", "flag": r"Flag\(", "fault": "faults=", "effect": "effects=", "drop": "drops=",
    "result": "result=", "uses": "uses=", "meaning": r"meaning\.", "cache": r"CacheKind\(", "no cache": "cache=None",
    "init requires": r"def start[^@]*?\brequire\(", "by name": r"\((p|o)\d=", "augmented assignment": r"\w [+&|]= ",
    "local declared": r"\w: (Range|bool|E|u64|u32)", "role of the task": r"role='\w+'\)\ndef task",
    "property over two entries": r"(never|bad=).*entry2\.cached", "two fields": r"fields=\(\('page'.*'root'",
    "interchangeable pages": r"'page', enum_type\(E\), \(0, 1, 2\)",
    "interchangeable CPUs": r"\A(?![\s\S]*(this_cpu\(|P\d\.at\(\d))[\s\S]*cpus=2", "words of equal bits": r"const\((15|240|255), U",
    "array of words": r"shared\('A\d', u", "two arrays": r"A1 = shared", "two tables": r"TAB1 =", "table over bool": r"Table\('\w+', BOOL",
    "role of a handler": r"role='\w+'\)\ndef i\d", "handler of two": r"Interrupt\((i\d).*Interrupt\(\1",
}  # fmt: skip  # fmt: skip


def tags(text: str) -> set[str]:
    """The constructs that occur in a model's text."""
    return {name for name, pattern in TAGS.items() if re.search(pattern, text)}
