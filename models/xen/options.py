"""``pcid=`` and ``xpti=``: which kinds of domain exist, and which of them can meet on one CPU.

Source: xen/arch/x86/pv/domain.c at 5c81d260c2 (parse_pcid, pv_domain_initialise); the seed mail
of 6 April 2018 has the same parser.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from dataclasses import dataclass


class OptPcid(enum.Enum):
    """``opt_pcid``; the default is XPTI."""

    OFF = "pcid=0"
    ALL = "pcid=1"
    XPTI = "pcid=xpti"
    NOXPTI = "pcid=no-xpti"


class DomainType(enum.Enum):
    PV64 = "64-bit PV"
    PV32 = "32-bit PV"
    HVM = "HVM or PVH"
    IDLE = "idle"


_TRUE = ("1", "yes", "on", "true", "enable")
_FALSE = ("0", "no", "off", "false", "disable")


def parse_bool(text: str) -> bool | None:
    """Xen's parse_bool on a whole word; None where it is neither."""
    return True if text in _TRUE else False if text in _FALSE else None


def parse_boolean(name: str, text: str) -> bool | None:
    """Xen's parse_boolean: ``name``, ``no-name`` or ``name=BOOL``; None for anything else."""
    negated = text.startswith("no-")
    rest = text.removeprefix("no-")
    if not rest.startswith(name):
        return None
    match rest[len(name) :]:
        case "":
            return not negated
        case tail if tail.startswith("=") and not negated:
            return parse_bool(tail[1:])
        case _:
            return None


def parse_pcid(argument: str) -> OptPcid | None:
    """The value of ``pcid=`` on the command line; None is -EINVAL, which leaves the default.

    ``argument`` is the whole option, for example ``pcid=no-xpti`` or ``no-pcid`` (which the
    generic parser turns into the value ``no``).
    """
    if argument == "no-pcid":
        argument = "pcid=no"
    name, _, value = argument.partition("=")
    if name != "pcid":
        return None
    whole = parse_bool(value)
    if whole is not None:
        return OptPcid.ALL if whole else OptPcid.OFF
    xpti = parse_boolean("xpti", value)
    if xpti is not None:
        return OptPcid.XPTI if xpti else OptPcid.NOXPTI
    return None


def domain_xpti(domain: DomainType, xpti: bool) -> bool:
    """``d->arch.pv.xpti``: only 64-bit PV domains, as ``xpti=`` says for dom0 or domU."""
    return domain is DomainType.PV64 and xpti


def domain_pcid(opt: OptPcid, domain: DomainType, xpti: bool, *, use_invpcid: bool = True, cpu_has_pcid: bool = True) -> bool:
    """``d->arch.pv.pcid``: whether a domain created under ``opt`` runs with PCIDs (xen.md 3.2)."""
    if domain is not DomainType.PV64 or not use_invpcid or not cpu_has_pcid:
        return False
    match opt:
        case OptPcid.OFF:
            return False
        case OptPcid.ALL:
            return True
        case OptPcid.XPTI:
            return xpti
        case OptPcid.NOXPTI:
            return not xpti


@dataclass(frozen=True)
class Options:
    """A boot: the command line as it matters here, runtime change of ``pcid=``, the hardware."""

    pcid: frozenset[OptPcid]
    xpti_dom0: bool
    xpti_domu: bool
    use_invpcid: bool
    cpu_has_pcid: bool

    def domains(self) -> Iterator[tuple[DomainType, bool, bool]]:
        """Every (type, xpti, pcid) of a domain that can exist: dom0 and domU, created at any time."""
        for domain in DomainType:
            for xpti in {self.xpti_dom0, self.xpti_domu}:
                for opt in self.pcid:
                    mine = domain_xpti(domain, xpti)
                    yield domain, mine, domain_pcid(opt, domain, mine, use_invpcid=self.use_invpcid, cpu_has_pcid=self.cpu_has_pcid)

    def describe(self) -> dict[str, str]:
        names = [o.value.removeprefix("pcid=") for o in OptPcid if o in self.pcid]
        xpti = {(True, True): "1", (False, False): "0", (True, False): "no-domu", (False, True): "no-dom0"}
        return {
            "pcid": " then ".join(names),
            "xpti": xpti[self.xpti_dom0, self.xpti_domu],
            "invpcid": "1" if self.use_invpcid else "0",
            "cpu_has_pcid": "1" if self.cpu_has_pcid else "0",
        }


def every_option() -> Iterator[Options]:
    """All boots: one value of ``pcid=``, or a change from one to another at run time."""
    changes = [frozenset({a, b}) for a, b in itertools.combinations_with_replacement(OptPcid, 2)]
    for pcid, dom0, domu, invpcid, cpu in itertools.product(changes, (True, False), (True, False), (True, False), (True, False)):
        yield Options(pcid, dom0, domu, invpcid, cpu)


def context_of(xpti: bool, pcid: bool) -> tuple[str, ...]:
    """The contexts (design.md 5) that a vCPU of such a domain can be in (xen.md 3.4)."""
    return ("kernel", "user") if pcid else ("nopcid",) if xpti else ("global",)


def contexts_under(options: Options) -> set[str]:
    """Which contexts can meet on a CPU under ``options``."""
    return {c for _, xpti, pcid in options.domains() for c in context_of(xpti, pcid)}
