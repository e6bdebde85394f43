"""The committed versions, from before the PCID series to today's."""

from __future__ import annotations

from tlbcheck import Variant

from . import callers, switch
from .environment import CLEAN, switch_model

before_pcid = switch_model(
    "xen/before-pcid",
    "switch_cr3_cr4 before PCIDs",
    switch.switch_cr3_cr4_before_pcid,
    source="xen d543fa4093",
    depth=17,
    flags={callers.PCID_EXISTS: False},
    vacuous=("no-fault/#UD", "no-fault/assert"),
    variants={
        "cr4-not-restored": Variant(
            doc="the second CR4 write is left out",
            flags={switch.CR4_NOT_RESTORED: True},
            expected={**CLEAN, "switch-lands": "violated"},
        ),
    },
)

pcid_committed = switch_model(
    "xen/pcid-committed",
    "switch_cr3_cr4 as committed with the PCID series",
    switch.switch_cr3_cr4_committed,
    source="xen 5c81d260c2",
    expected={"missing-flush": "violated", "stale-translation": "violated", "no-fault": "violated"},
)

xsa_292 = switch_model(
    "xen/xsa-292",
    "switch_cr3_cr4 with the fix of XSA-292",
    switch.switch_cr3_cr4_xsa_292,
    source="xen 6e5f22ba43",
    expected={"no-fault": "violated"},
)

gp_fix = switch_model(
    "xen/gp-fix",
    "switch_cr3_cr4 with the fix of the #GP",
    switch.switch_cr3_cr4_xsa_292,
    source="xen fdc2056767",
    depth=21,
    flags={switch.PCIDE_SET_BEFORE_CR3: True},
)

flush_once = switch_model(
    "xen/flush-once",
    "switch_cr3_cr4 that flushes once; in substance today's",
    switch.switch_cr3_cr4_flush_once,
    source="xen edc426665f",
    depth=19,
    procedures={callers.host_cr4: callers.mmu_cr4_features},
    about=(*CLEAN, "requires"),
    expected={"requires": "proved"},
    variants={
        "no-pv": Variant(doc="without PV guests (CONFIG_PV not set)", flags={callers.PV_EXISTS: False}, expected={**CLEAN, "requires": "proved"}, source="xen dffb6c488a"),
        "pge-kept": Variant(
            doc="PCID domains keep CR4.PGE",
            flags={callers.PGE_KEPT: True},
            expected={**CLEAN, **dict.fromkeys(("pge-with-pcide", "no-fault", "missing-flush", "stale-translation", "requires"), "violated")},
        ),
    },
)
