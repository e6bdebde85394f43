"""The C front end: functions of C files as procedures, under a profile that says what names mean.

``load_profile(paths, vocabulary)`` reads profiles (see ``tlbcheck.c.profile`` for their form),
``read_unit(source, profile, defines, assume_no_tlb_effect)`` a file. Of the unit,
``procedure(name, role, parameters)`` is a function as a procedure, with the helpers of the file
followed, and ``assumptions(procedure)`` is what a verdict about it has to repeat: calls and
variables without effect, lines that were not seen, the configuration that was compiled. ``uses``
tells the names in it. Everything unusable is an ``InputError`` with its place.

Reading runs nothing and follows no ``#include``.
"""

from tlbcheck.c.profile import Profile, Vocabulary, load_profile
from tlbcheck.c.unit import CUnit, read_unit

__all__ = ["CUnit", "Profile", "Vocabulary", "load_profile", "read_unit"]
