"""The patch as posted (v5 7/7, 6 April 2018), its four faults apart, and v4 before it."""

from __future__ import annotations

from tlbcheck import Variant

from . import switch
from .callers import IDLE_KEEPS_PCIDE
from .environment import CLEAN, switch_model

_REPAIRS = {
    "same-pcid-reload": switch.SAME_PCID_RELOAD_REPAIRED,
    "skipped-old-pcid-flush": switch.SKIPPED_OLD_PCID_FLUSH_REPAIRED,
    "cr3-read-early": switch.CR3_READ_EARLY_REPAIRED,
    "pcide-late": switch.PCIDE_LATE_REPAIRED,
}
_EFFECTS = {
    "same-pcid-reload": {"missing-flush": "violated", "stale-translation": "violated"},
    "skipped-old-pcid-flush": {"missing-flush": "violated", "stale-translation": "violated"},
    "cr3-read-early": {"missing-flush": "violated", "stale-translation": "violated", "no-fault": "violated"},
    "pcide-late": {"no-fault": "violated"},
}


def _only(fault: str) -> Variant:
    return Variant(
        doc=f"only the fault '{fault}': the other three are repaired",
        flags={flag: name != fault for name, flag in _REPAIRS.items()},
        expected={**CLEAN, **_EFFECTS[fault]},
    )


v5 = switch_model(
    "xen/pcid-v5",
    "write_cr3_cr4 as posted in v5 7/7",
    switch.write_cr3_cr4,
    source="xen-devel, 6 April 2018, [PATCH v5 7/7] xen/x86: use PCID feature",
    expected={"missing-flush": "violated", "stale-translation": "violated", "no-fault": "violated"},
    variants={
        **{f"only-{name}": _only(name) for name in _REPAIRS},
        "all-repaired": Variant(doc="all four faults repaired", flags=dict.fromkeys(_REPAIRS.values(), True), expected=CLEAN),
        "idle-keeps-pcide": Variant(
            doc="without the patch's own hunk in write_ptbase",
            flags={IDLE_KEEPS_PCIDE: True},
            expected={**CLEAN, "missing-flush": "violated", "stale-translation": "violated", "no-fault": "violated", "pge-with-pcide": "violated"},
        ),
    },
)

v4 = switch_model(
    "xen/pcid-v4",
    "v5 without the flush of the old PCID that its changelog adds",
    switch.write_cr3_cr4,
    source="the seed's changelog: 'add flushing the TLB from old PCID related entries'",
    flags={switch.OLD_PCID_FLUSHED: False},
    expected={"missing-flush": "violated", "stale-translation": "violated", "no-fault": "violated"},
)
