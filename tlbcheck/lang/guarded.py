"""Functions that a model brings along, such as words for its entries: an error in one is an error of the model's file."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tlbcheck.errors import InputError, TlbcheckError
from tlbcheck.lang.spelling import meant
from tlbcheck.lang.where import in_code

_P = ParamSpec("_P")
_R = TypeVar("_R")


def names_are_known(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> None:
    """Try a guarded function: raise its ``InputError`` if it names what there is not. A value that it does not take is no error."""
    try:
        inspect.unwrap(function)(*args, **kwargs)
    except (NameError, AttributeError):
        function(*args, **kwargs)
    except Exception:
        return


def guarded(function: Callable[_P, _R], what: str) -> Callable[_P, _R]:
    """``function``, which raises ``InputError`` with its place for whatever goes wrong in it; ``what`` it is for."""
    if hasattr(function, "__guarded__"):
        return function

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except TlbcheckError:
            raise
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = in_code(trace.tb_frame.f_code, trace.tb_lasti, trace.tb_lineno) if trace is not None else None
            raise InputError(
                f"{what}: {type(error).__name__}: {error}", place=place, hint=meant(error) or "mend the function"
            ) from None

    call.__guarded__ = True  # type: ignore[attr-defined]  # replace() of what holds it wraps it once
    return call
