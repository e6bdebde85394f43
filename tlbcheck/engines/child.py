"""Work in a process of its own, with limits: a solver may take for ever, eat the memory, or crash."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from tlbcheck.engines.memory import mapped
from tlbcheck.errors import TlbcheckError


class Unanswered(Exception):
    """The work came to no result; the message says why."""


class Child:
    """``work`` under way. ``seconds`` of time and ``memory`` in bytes; its result has to be picklable."""

    def __init__(self, work: Callable[[], Any], *, seconds: float, memory: int) -> None:
        context = multiprocessing.get_context("fork")
        self.seconds, self.began = seconds, time.perf_counter()
        self.connection, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_run, args=(theirs, work, memory), daemon=True)
        self.process.start()
        theirs.close()

    def hurry(self, seconds: float) -> None:
        """Give the work at most so many seconds from now."""
        self.seconds = min(self.seconds, time.perf_counter() - self.began + seconds)

    def result(self) -> Any:
        """What ``work`` returned. Raises ``Unanswered``, and the ``TlbcheckError`` that ``work`` raised."""
        left = self.seconds - (time.perf_counter() - self.began)
        try:
            if not self.connection.poll(max(left, 0)):
                raise Unanswered(f"did not finish in {self.seconds:.3g} s")
            fine, answer = self.connection.recv()
        except EOFError:
            self.process.join(5)
            raise Unanswered(f"its process died (exit status {self.process.exitcode})") from None
        finally:
            self.close()
        if isinstance(answer, TlbcheckError):
            raise answer
        if not fine:
            raise Unanswered(answer)
        return answer

    def close(self) -> None:
        """End the work if it still goes on."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.connection.close()


_PR_SET_PDEATHSIG = 1
"""prctl(2)."""


def end_with_parent() -> None:
    """Let this process be killed when the one that made it ends, however that ends. Linux only; elsewhere its limits end it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(connection: Any, work: Callable[[], Any], memory: int) -> None:
    end_with_parent()
    try:
        # The system refuses only what is newly mapped: work that fits into what the parent's work left free would not notice the limit.
        if mapped() > memory:
            raise MemoryError
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        connection.send((True, work()))
    except MemoryError:
        connection.send((False, f"out of memory ({memory >> 20} MiB)"))
    except TlbcheckError as error:
        connection.send((False, error))
    except ImportError as error:
        unmapped = "cannot map" in str(error) or "failed to map" in str(error)  # a library that no longer fits
        connection.send((False, f"out of memory ({memory >> 20} MiB)" if unmapped else f"failed: {error.name or error} cannot be loaded"))
    except Exception as error:  # a solver may fail in any way; the parent says so and goes on
        connection.send((False, f"failed: {type(error).__name__}: {error}"))
    finally:
        connection.close()
        os._exit(0)
