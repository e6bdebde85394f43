"""What the profile of Xen's C may name: the operations and case variables of these models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlbcheck.machine import x86

from .contexts import use_invpcid
from .primitives import post_flush, pre_flush

if TYPE_CHECKING:
    from tlbcheck.c.profile import Vocabulary

VOCABULARY: Vocabulary = {o.name: o for o in (*x86.OPERATIONS, pre_flush, post_flush)} | {"use_invpcid": use_invpcid}
