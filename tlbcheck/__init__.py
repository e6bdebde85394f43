"""tlbcheck: a model checker for TLB coherence.

What a model or property file needs is here, and what runs checks from Python (``verify``, ``verify_all``);
``tlbcheck.machine.x86`` has the processor's operations. Importing it loads no engine.
"""

from tlbcheck.check import verify, verify_all
from tlbcheck.errors import InputError, InternalError, Place, TlbcheckError
from tlbcheck.lang.contract import Contract, most_general_caller
from tlbcheck.lang.expr import Expr, implies, ite, var
from tlbcheck.lang.model import CACHED, Amendment, CacheKind, Event, Interrupt, Model, Property, Repair, Variant, enter, leave, operation
from tlbcheck.lang.program import Flag, Operation, Procedure, Table, atomic, case_variable, choose, cpus, marker, per_cpu, require, requires, shared, this_cpu
from tlbcheck.lang.python_front import procedure
from tlbcheck.lang.types import Range, u32, u64
from tlbcheck.options import Limits
from tlbcheck.result import ModelResult, PropertyResult, RunResult, Status, Verdict

__version__ = "0.1.0"

__all__ = [
    "CACHED", "Amendment", "CacheKind", "Contract", "Event", "Expr", "Flag", "InputError", "InternalError", "Interrupt", "Limits", "Model", "ModelResult", "Operation",
    "Place", "Procedure", "Property", "PropertyResult", "Range", "Repair", "RunResult", "Status", "Table", "TlbcheckError", "Variant", "Verdict", "__version__", "atomic",
    "case_variable", "choose", "cpus", "enter", "implies", "ite", "leave", "marker", "most_general_caller", "operation", "per_cpu", "procedure",
    "require", "requires", "shared", "this_cpu", "u32", "u64", "var", "verify", "verify_all",
]  # fmt: skip
