"""A bound on what a stranger's repository may make of a few bytes: an object of some kilobytes can inflate to gigabytes."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from tlbcheck.engines.memory import mapped


@contextmanager
def bounded(memory: int) -> Iterator[None]:
    """Let what is done within map ``memory`` bytes more than the process has, and no more: it raises ``MemoryError`` then.

    Without effect where the system does not tell what a process has.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [mapped() + memory, *(x for x in (soft, hard) if x != resource.RLIM_INFINITY)]
    if mapped():
        resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
