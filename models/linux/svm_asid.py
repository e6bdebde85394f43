"""SVM: a vCPU migrates and keeps an ASID that another vCPU filled there (Linux 4b656b120249).

KVM hands out ASIDs on each processor, in generations: a vCPU whose generation is the
processor's keeps its ASID. Generations of two processors may be equal by chance.
"""

from __future__ import annotations

import enum

from tlbcheck import Flag, Model, Table, Variant, atomic, choose, cpus, per_cpu, procedure, require, shared, this_cpu, u32
from tlbcheck.lang.expr import FALSE, eq, not_, var
from tlbcheck.lang.model import Notation
from tlbcheck.lang.types import CPU, U32, IntType, enum_type
from tlbcheck.machine import svm


class Vcpu(enum.Enum):
    none = enum.auto()
    A = enum.auto()
    B = enum.auto()


MIGRATION_KEEPS_GENERATION = Flag("MIGRATION_KEEPS_GENERATION", False)
"""Fault: svm_vcpu_load() leaves the vCPU's generation as it is."""
MAX_ASID = 2
GENERATION_LAST = 2
GENERATION = IntType(0, GENERATION_LAST)
"""Generation 0 is nobody's; processors count from 1, and stop at the last: a longer run only repeats what came before."""
NEXT = IntType(0, MAX_ASID + 1)
asid_of = Table("asid_of", NEXT, tuple(NEXT.values()), U32)

asid_generation = per_cpu("asid_generation", GENERATION)
next_asid = per_cpu("next_asid", NEXT)
loaded = per_cpu("loaded", Vcpu)
"""The vCPU that runs on this processor, host side included."""
vcpu_generation = shared("vcpu_generation", GENERATION, index=Vcpu)
vcpu_asid = shared("vcpu_asid", NEXT, index=Vcpu)
vcpu_cpu = shared("vcpu_cpu", CPU, index=Vcpu)


@procedure
def svm_vcpu_load(vcpu: Vcpu) -> None:
    with atomic("svm_vcpu_load(): the vCPU comes to this processor"):
        for cpu in cpus():
            require(loaded.at(cpu).get() != vcpu)
        loaded.set(vcpu)
        if vcpu_cpu.at(vcpu).get() != this_cpu() and not MIGRATION_KEEPS_GENERATION:
            vcpu_generation.at(vcpu).set(0)
        vcpu_cpu.at(vcpu).set(this_cpu())


@procedure
def new_asid(vcpu: Vcpu) -> u32:
    """The next ASID of this processor; with the last one used up, a new generation and a flush of all."""
    tlb_control: u32 = svm.TLB_CONTROL_DO_NOTHING
    with atomic("new_asid(): the generations differ, the vCPU gets the processor's next ASID"):
        generation = asid_generation.get()
        asid = next_asid.get()
        if asid > MAX_ASID:
            require(generation < GENERATION_LAST)
            generation = generation + 1
            asid = 1
            tlb_control = svm.TLB_CONTROL_FLUSH_ALL_ASID
        asid_generation.set(generation)
        vcpu_generation.at(vcpu).set(generation)
        vcpu_asid.at(vcpu).set(asid)
        next_asid.set(asid + 1)
    return tlb_control


@procedure(role="run")
def svm_vcpu_run(vcpu: Vcpu) -> None:
    """pre_svm_run() and VMRUN: guest code runs until the next #VMEXIT."""
    tlb_control: u32 = svm.TLB_CONTROL_DO_NOTHING
    with atomic("pre_svm_run(): compares the vCPU's generation with the processor's"):
        stale = vcpu_generation.at(vcpu).get() != asid_generation.get()
    if stale:
        tlb_control = new_asid(vcpu)
    svm.VMRUN(asid_of(vcpu_asid.at(vcpu).get()), tlb_control)


@procedure
def vcpu_put() -> None:
    with atomic("vcpu_put(): the vCPU leaves this processor"):
        loaded.set(Vcpu.none)


@procedure
def run_cpu() -> None:
    """Load a vCPU, run it, put it, for ever."""
    while True:
        vcpu = choose((Vcpu.A, Vcpu.B))
        svm_vcpu_load(vcpu)
        svm_vcpu_run(vcpu)
        svm.VMEXIT()
        vcpu_put()


@procedure
def start() -> None:
    """svm_hardware_enable(): generation 1, and all ASIDs count as used up, so that the first one flushes."""
    for cpu in cpus():
        asid_generation.at(cpu).set(1)
        next_asid.at(cpu).set(MAX_ASID + 1)


_OWNER = var("entry.vcpu", enum_type(Vcpu))


def _model(cpus: int) -> Model:
    return Model(
        name="linux/svm-asid",
        title="KVM on SVM: ASIDs by generation, and vCPUs that migrate",
        source="Linux 4b656b120249, arch/x86/kvm/svm.c",
        cpus=cpus,
        init=start,
        task=run_cpu,
        cache=svm.tlb(
            asids=tuple(range(1, MAX_ASID + 1)),
            fields=(("vcpu", enum_type(Vcpu), (1, 2)),),
            walk=eq(_OWNER, loaded.expr),
            initial=FALSE,
            describe=lambda entry: f"an entry walked from vCPU {list(Vcpu)[entry['entry.vcpu']].name}'s tables under ASID {entry['entry.asid']}",
        ),
        meanings={"usable": svm.USABLE, "runs": not_(eq(svm.GUEST_ASID.expr, 0)), "not_its_own": not_(eq(_OWNER, loaded.expr))},
        flags={MIGRATION_KEEPS_GENERATION: False},
        notation=Notation(
            values={"guest_asid": str, "VMRUN.asid": str, "VMRUN.tlb_control": lambda value: "do nothing" if value == svm.TLB_CONTROL_DO_NOTHING else "flush all ASIDs"},
            walks=lambda registers: f"from the tables of vCPU {registers['loaded']} under ASID {registers['guest_asid']}",
        ),
        profile="amd",
        variants={
            "migration-keeps-generation": Variant(
                "a vCPU keeps its generation when it comes to another processor",
                {MIGRATION_KEEPS_GENERATION: True},
                expected={"frame-isolation": "violated", "no-fault": "proved"},
                source="Linux before 4b656b120249",
            )
        },
        expected={"frame-isolation": "proved", "no-fault": "proved"},
        vacuous=("no-fault/#GP", "no-fault/#UD", "no-fault/assert"),
        about=("frame-isolation", "no-fault"),
        assumptions=(
            "two vCPUs, two ASIDs, two generations: a violation needs two vCPUs with one equal pair (generation, ASID) only; that more of them add nothing is not proved",
            "processors stop where the last generation is used up: what a later one does, an earlier one has done",
            "the two guests share no frame; each guest's own flushes are its own",
        ),
        scope={"vcpus": 2, "asids": MAX_ASID, "generations": GENERATION.high},
        depth=17,
        numbers={"cpus": cpus},
        resized=_model,
    )


model = _model(cpus=2)
