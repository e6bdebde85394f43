"""What happens to the entries that a violation is about, as its JSON tells it: ``events`` of the start and of each step.

Each event names its CPU, the number of its entry in ``caches``, and what happens: ``cached`` (it is there as the run
starts), ``filled`` (a walk caches it after the step, ``from`` where), ``dropped``, ``evicted`` (it goes by itself), ``stale`` (``by`` the start, memory or what is
loaded) or ``valid`` again. ``watched`` lists the entries that events are told of. Replay made them (``replay.history``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_STALE = {
    "start": "from the start: the page tables say something else",
    "memory": "from here on: the page tables say something else",
    "loaded": "from here on: the page tables that are loaded now say something else",
}


@dataclass(frozen=True)
class Life:
    """An entry on a CPU from the point at which it is cached (0: the start) to the step that drops it, None if none does.

    ``walked``: speculation cached it, ``again`` if it was cached before. ``stale`` is the point from which on it is stale.
    """

    cpu: int
    entry: int
    since: int
    walked: bool
    again: bool
    dropped: int | None = None
    stale: int | None = None


def told(v: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """The events of the start and of each step; none where a result tells none."""
    return [list(at.get("events", ())) for at in (v["initial"], *v["steps"])]


def watched(v: Mapping[str, Any]) -> list[int]:
    """The entries that events are told of, the one that is wrong first."""
    return [w["entry"] for w in v.get("watched", ())]


def lives(v: Mapping[str, Any]) -> list[Life]:
    """What becomes of the watched entries, in the order in which they are cached."""
    made: list[dict[str, Any]] = []
    for number, events in enumerate(told(v)):
        for e in events:
            mine = [x for x in made if (x["cpu"], x["entry"]) == (e["cpu"], e["entry"])]
            if e["what"] in ("cached", "filled"):
                made.append({"cpu": e["cpu"], "entry": e["entry"], "since": number, "walked": e["what"] == "filled", "again": bool(mine)})
            elif e["what"] in ("dropped", "evicted"):
                mine[-1]["dropped"] = number
            else:
                mine[-1]["stale"] = number if e["what"] == "stale" else None
    return [Life(**x) for x in made]


def name_of(v: Mapping[str, Any], entry: int) -> str:
    """What an entry is called: where several are watched, by what it is."""
    return "the watched entry" if len(watched(v)) < 2 else str(v["caches"]["entries"][entry]["text"])


def several(v: Mapping[str, Any]) -> bool:
    """Whether it matters on which CPU something happens."""
    return any(n.startswith("cpu1.") for n in v["initial"]["shown"]) or any(s["cpu"] for s in v["steps"])


def cpus(numbers: Sequence[int]) -> str:
    """``CPU0 and CPU2``."""
    return " and ".join(f"CPU{c}" for c in numbers)


def notes(number: int, v: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What happens in step ``number`` (0: at the start): of each event a mark (``+``, ``-`` or ``!``) and a sentence."""
    grouped: dict[tuple[str, str, str], list[int]] = {}
    again = {(x.cpu, x.entry) for x in lives(v) if x.since == number and x.again}
    for e in told(v)[number]:
        name = name_of(v, e["entry"])
        match e["what"]:
            case "filled":
                more = " again" if (e["cpu"], e["entry"]) in again else ""
                words = ("+", f"speculation caches {name}{more}", f", {e['from']}" if e.get("from") else "")
            case "dropped":
                words = ("-", f"{name} is flushed", "")
            case "evicted":
                words = ("-", f"{name} is evicted", "")
            case "stale":
                tail = _STALE[e["by"]] if e.get("since") is None else f"as it is cached: {_before(e['since'])} the page tables say something else"
                words = ("!", f"{name} is stale", f" {tail}")
            case "valid":
                words = ("+", f"{name} is valid again", ": the page tables say what it says")
            case _:
                continue  # what is there as the run starts, "Watch" tells
        grouped.setdefault(words, []).append(e["cpu"])
    return [(mark, f"{head}{_on(v, on)}{tail}") for (mark, head, tail), on in grouped.items()]


def _before(step: int) -> str:
    return f"since step {step}" if step else "from the start on"


def watch(v: Mapping[str, Any]) -> str:
    """The entries that the violation is about, and which of them are there from the start; empty if there are none."""
    return " and ".join(_watched(v, entry) for entry in watched(v))


def _watched(v: Mapping[str, Any], entry: int) -> str:
    at_start = [x for x in lives(v) if x.entry == entry and not x.since and not x.walked]
    kept = [x.cpu for x in at_start if x.dropped is None]
    said = [f"cached at the start{_on(v, kept)}"] if kept else []
    said += [f"cached before the run{_on(v, [x.cpu])}, until step {x.dropped} flushes it" for x in at_start if x.dropped is not None]
    return str(v["caches"]["entries"][entry]["text"]) + (f" ({'; '.join(said)})" if said else "")


def _on(v: Mapping[str, Any], numbers: Sequence[int]) -> str:
    return f" on {cpus(numbers)}" if several(v) else ""
