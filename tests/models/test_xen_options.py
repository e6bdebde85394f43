"""``pcid=`` and ``xpti=``: how they are spelt, which domains get PCIDs, which contexts can meet; CR4 as the guest sees it.

Ground truth: xen.md 3.1, 3.2 and 3.4 (Xen at 5c81d260c2).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tlbcheck import Model, Procedure
from tlbcheck.library import find_models, load_file
from tlbcheck.machine import x86
from tlbcheck.replay.interpreter import Run

V5 = find_models("xen/pcid-v5")[0]
HOME = Path(V5.init.place.file).parent
options = load_file(HOME / "options.py")
callers = load_file(HOME / "callers.py")
contexts = load_file(HOME / "contexts.py")
OptPcid, DomainType, Options = options.OptPcid, options.DomainType, options.Options
PV64, PV32, HVM, IDLE = DomainType.PV64, DomainType.PV32, DomainType.HVM, DomainType.IDLE

# xen.md 3.2: rows are opt_pcid; columns 64-bit PV with xpti, 64-bit PV without, 32-bit PV, HVM/PVH, idle.
COLUMNS = ((PV64, True), (PV64, False), (PV32, False), (HVM, False), (IDLE, False))
TABLE = {
    OptPcid.OFF: "no  no  no no no",
    OptPcid.ALL: "yes yes no no no",
    OptPcid.XPTI: "yes no  no no no",
    OptPcid.NOXPTI: "no  yes no no no",
}


# -- xen.md 3.1: spellings


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (OptPcid.ALL, "pcid=1 pcid=yes pcid=on pcid=true pcid=enable"),
        (OptPcid.OFF, "no-pcid pcid=0 pcid=no pcid=off pcid=false pcid=disable"),
        (OptPcid.XPTI, "pcid=xpti pcid=xpti=1 pcid=xpti=yes pcid=xpti=on pcid=xpti=true pcid=xpti=enable"),
        (OptPcid.NOXPTI, "pcid=no-xpti pcid=xpti=0 pcid=xpti=no pcid=xpti=off pcid=xpti=false pcid=xpti=disable"),
    ],
)
def test_spellings_that_are_accepted(expected: Any, words: str) -> None:
    """Each spelling of xen.md 3.1 gives the value that the table of 3.2 names."""
    for word in words.split():
        assert options.parse_pcid(word) is expected, word


NOT_ACCEPTED = (
    "pcid", "pcid=", "pcid=2", "pcid=maybe", "pcid=xptis", "pcid=xpti=2", "pcid=no-xpti=1", "pcid=xpti=", "pcid=XPTI", "pcid=no-no-xpti",
    "xpti", "xpti=1", "", "no-pcid=1", "pcid=xpti,1",
)  # fmt: skip


@pytest.mark.parametrize("argument", NOT_ACCEPTED)
def test_spellings_that_are_not_accepted(argument: str) -> None:
    """Anything else is -EINVAL (None), which leaves the default: also bare ``pcid``."""
    assert options.parse_pcid(argument) is None


def test_bare_pcid_leaves_the_default() -> None:
    """Bare ``pcid`` has an empty value, which is neither a boolean nor ``xpti``: -EINVAL."""
    assert options.parse_pcid("pcid") is None


def test_andrew_cooper_documentation_says_noxpti_but_no_xpti_is_recognised() -> None:
    """Andrew Cooper's remark in the seed mail: documented is ``noxpti``, which is rejected; what is recognised is ``no-xpti``."""
    assert options.parse_pcid("pcid=noxpti") is None
    assert options.parse_pcid("pcid=no-xpti") is OptPcid.NOXPTI


def test_parse_bool_knows_whole_words_only() -> None:
    """At HEAD only exact words count; prefixes such as ``n`` and ``of``, which 2018's parser took, are neither."""
    assert [options.parse_bool(w) for w in ("1", "yes", "on", "true", "enable")] == [True] * 5
    assert [options.parse_bool(w) for w in ("0", "no", "off", "false", "disable")] == [False] * 5
    assert [options.parse_bool(w) for w in ("n", "of", "y", "", "Yes", "01", "enabled")] == [None] * 7


def test_every_name_of_an_option_is_a_spelling_of_it() -> None:
    """The values that reports print can be put on the command line as they are."""
    for opt in OptPcid:
        assert options.parse_pcid(opt.value) is opt


# -- xen.md 3.2: who gets PCIDs


def _cells() -> list[tuple[Any, Any, bool, bool]]:
    return [(opt, domain, xpti, word == "yes") for opt, words in TABLE.items() for (domain, xpti), word in zip(COLUMNS, words.split(), strict=True)]


@pytest.mark.parametrize(("opt", "domain", "xpti", "expected"), _cells(), ids=lambda x: x.name if hasattr(x, "name") else str(x))
def test_the_whole_table(opt: Any, domain: Any, xpti: bool, expected: bool) -> None:
    """xen.md 3.2, cell by cell; and without INVPCID or without the processor's PCIDs every cell is "no"."""
    for use_invpcid, cpu_has_pcid in itertools.product((True, False), repeat=2):
        found = options.domain_pcid(opt, domain, xpti, use_invpcid=use_invpcid, cpu_has_pcid=cpu_has_pcid)
        assert found is (expected and use_invpcid and cpu_has_pcid)


def test_the_table_is_complete() -> None:
    """Four values, five kinds of domain: 20 cells, and no value or kind is left out."""
    assert len(_cells()) == 20
    assert set(TABLE) == set(OptPcid) and {d for d, _ in COLUMNS} == set(DomainType)


def test_only_64_bit_pv_domains_have_xpti() -> None:
    """32-bit PV, HVM and idle never have XPTI, whatever ``xpti=`` says: so their PCID cell does not depend on it either."""
    for domain, xpti in itertools.product(DomainType, (True, False)):
        assert options.domain_xpti(domain, xpti) is (domain is PV64 and xpti)
    for opt, domain in itertools.product(OptPcid, (PV32, HVM, IDLE)):
        assert not options.domain_pcid(opt, domain, True)


# -- changes at run time, and which contexts can meet


def boot(*pcid: Any, dom0: bool = True, domu: bool = True, invpcid: bool = True, cpu: bool = True) -> Any:
    return Options(frozenset(pcid), dom0, domu, invpcid, cpu)


def test_a_change_at_run_time_leaves_older_domains_alone() -> None:
    """``pcid=`` changed at run time affects domains created afterwards: domains of both values are there, and no others."""
    for old, new in itertools.product(OptPcid, repeat=2):
        for dom0, domu in itertools.product((True, False), repeat=2):
            changed = set(boot(old, new, dom0=dom0, domu=domu).domains())
            assert changed == set(boot(old, dom0=dom0, domu=domu).domains()) | set(boot(new, dom0=dom0, domu=domu).domains())


def test_every_boot_is_listed_once() -> None:
    """4 values and 6 changes of ``pcid=``, times ``xpti=`` for dom0 and domU, INVPCID and the processor: 160 boots, each described differently."""
    found = list(options.every_option())
    assert len(found) == 10 * 2**4 == len(set(found))
    assert len({tuple(o.describe().items()) for o in found}) == len(found)


@pytest.mark.parametrize(
    ("boot_", "expected"),
    [
        (boot(OptPcid.XPTI), {"global", "kernel", "user"}),
        (boot(OptPcid.XPTI, dom0=False, domu=False), {"global"}),
        (boot(OptPcid.OFF), {"global", "nopcid"}),
        (boot(OptPcid.OFF, dom0=False, domu=False), {"global"}),
        (boot(OptPcid.ALL), {"global", "kernel", "user"}),
        (boot(OptPcid.ALL, dom0=False), {"global", "kernel", "user"}),
        (boot(OptPcid.NOXPTI), {"global", "nopcid"}),
        (boot(OptPcid.NOXPTI, dom0=False, domu=False), {"global", "kernel", "user"}),
        (boot(OptPcid.NOXPTI, dom0=False), {"global", "nopcid", "kernel", "user"}),
        (boot(OptPcid.NOXPTI, domu=False), {"global", "nopcid", "kernel", "user"}),
        (boot(OptPcid.OFF, OptPcid.XPTI), {"global", "nopcid", "kernel", "user"}),
        (boot(OptPcid.OFF, OptPcid.NOXPTI), {"global", "nopcid"}),
    ],
    ids=lambda x: " ".join(f"{k}={v}" for k, v in x.describe().items()) if hasattr(x, "describe") else "",
)
def test_which_contexts_can_meet(boot_: Any, expected: set[str]) -> None:
    """By hand, for typical boots: among others the two under which nopcid and PCIDs meet, as fdc2056767's message says."""
    assert options.contexts_under(boot_) == expected


def test_contexts_can_meet_only_where_the_table_has_them() -> None:
    """For each of the 160 boots the contexts are those that the table of 3.2 gives, worked out anew."""
    for o in options.every_option():
        expected = {"global"}  # idle, HVM and 32-bit PV always exist
        for opt, xpti in itertools.product(o.pcid, (o.xpti_dom0, o.xpti_domu)):
            cell = TABLE[opt].split()[0 if xpti else 1] == "yes" and o.use_invpcid and o.cpu_has_pcid
            expected |= {"kernel", "user"} if cell else {"nopcid"} if xpti else {"global"}
        assert options.contexts_under(o) == expected, o.describe()


def test_pcids_and_xpti_without_pcids_meet_only_by_mixture() -> None:
    """nopcid beside kernel and user: only with ``xpti=`` different for dom0 and domU under no-xpti, or after a change at run time."""
    for o in options.every_option():
        if {"nopcid", "user"} <= options.contexts_under(o):
            assert o.use_invpcid and o.cpu_has_pcid
            assert len(o.pcid) == 2 or (o.pcid == {OptPcid.NOXPTI} and o.xpti_dom0 is not o.xpti_domu)


# -- CR4, in the model's own words, run by the replay interpreter


def call(model: Model, procedure: Procedure, args: Sequence[int]) -> int:
    """What a procedure that touches only its parameters returns."""
    run = Run(model, [], {f"case.{c.name}": c.domain[0] for c in model.cases})
    walk = run._call(model.resolve(procedure), args, 0, "task", {})
    with pytest.raises(StopIteration) as ended:
        next(walk)
    assert isinstance(ended.value.value, int)
    return ended.value.value


def _pv() -> list[tuple[int, str]]:
    kinds = contexts.kind.values
    outside = {list(contexts.Kind).index(k) for k in (contexts.Kind.idle, contexts.Kind.hvm)}
    return [(i, c.name) for i, c in enumerate(contexts.Context) if kinds[i] not in outside]


MODELS = [replace(V5, flags={**V5.flags, callers.PGE_KEPT: kept}) for kept in (False, True)]


@pytest.mark.parametrize(("index", "name"), _pv(), ids=lambda x: x if isinstance(x, str) else "")
def test_the_guest_sees_none_of_the_bits_that_xen_adds(index: int, name: str) -> None:
    """Round trip, for each PV context: the guest's own CR4 comes back from the real one exactly, with and without PGE kept."""
    for model in MODELS:
        real = call(model, callers.pv_guest_cr4_to_real_cr4, [index])
        assert call(model, callers.real_cr4_to_pv_guest_cr4, [real]) == callers.GUEST_CR4
        assert real & callers.GUEST_CR4 == callers.GUEST_CR4


@pytest.mark.parametrize(("index", "name"), _pv(), ids=lambda x: x if isinstance(x, str) else "")
def test_real_cr4_by_context(index: int, name: str) -> None:
    """xen.md 3.4: PGE only without XPTI and PCIDs, PCIDE only with PCIDs, TSD only where it is chosen."""
    real = call(MODELS[0], callers.pv_guest_cr4_to_real_cr4, [index])
    assert bool(real & x86.X86_CR4_PGE) is bool(re.search("_pv_", name))
    assert bool(real & x86.X86_CR4_PCIDE) is bool(re.search("_pcid_", name))
    assert bool(real & x86.X86_CR4_TSD) is name.endswith("_tsd")


def test_exactly_the_added_bits_are_hidden() -> None:
    """Every bit that Xen adds in some context is hidden, and no bit is hidden that Xen adds in none."""
    added = 0
    for (index, _), model in itertools.product(_pv(), MODELS):
        added |= call(model, callers.pv_guest_cr4_to_real_cr4, [index]) & ~callers.GUEST_CR4
    every = (1 << 64) - 1
    assert call(V5, callers.real_cr4_to_pv_guest_cr4, [every]) == every & ~added
