"""What a run comes down to, in answers to the questions that a reader asks.

Of a violation about a cached entry: what was cached, what made it stale, what should have removed it, who can use it. Of any
other: what was required, which step broke it, which values decided; of one that never ends: who waits for whom, and why that never comes.
Made from the JSON of a violation alone, whose ``account`` replay gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlbcheck.report.caches import points
from tlbcheck.report.events import Life, cpus, lives, name_of, several, told, watched
from tlbcheck.report.wording import for_ever, what, yes_no

_MEND = "What mends it"


@dataclass(frozen=True)
class Answer:
    """``step`` is the one that it is about, 0 for the start, None for none."""

    head: str
    text: str
    step: int | None = None


def answers(v: Mapping[str, Any]) -> list[Answer]:
    """As many as the result tells of."""
    account = v.get("account")
    match account["kind"] if account else None:
        case "entry":
            return [_cached(v), _change(v), _removal(v), *_mend(v), _use(v)]
        case "rule":
            return [*_rule(v), *_mend(v)]
        case "wait":
            return [*_waits(v), *_mend(v)]
    return []


def in_short(v: Mapping[str, Any]) -> list[str]:
    """The answers as lines of text, but for what mends it and how it goes on, which are told anyway."""
    shown = [a for a in answers(v) if a.head != _MEND and a.text != for_ever(v)]
    return [f"{a.head}{f' (step {a.step})' if a.step and f'step {a.step}' not in a.text else ''}: {a.text}" for a in shown]


def in_full(v: Mapping[str, Any]) -> list[str]:
    """All that the run comes down to, for those that do not show it: also how it goes on, and what mends it or was tried."""
    return [*([for_ever(v)] if v["loop"] is not None else []), *in_short(v), *([f"Why: {text}"] if (text := why(v)) else [])]


def why(v: Mapping[str, Any]) -> str:
    """What was tried and mends the run, or what was tried and does not; empty where nobody looked."""
    return str(v["blame"]["text"] if v.get("blame") else v.get("tried", ""))


# -- of a cached entry


def life_of(v: Mapping[str, Any]) -> Life:
    """The life of the entry that the violation is about, on the CPU that it is about, at the end of the run."""
    account = v["account"]
    return next(x for x in reversed(lives(v)) if (x.cpu, x.entry) == (account["cpu"], account["entry"]))


def _on(v: Mapping[str, Any], numbers: Sequence[int]) -> str:
    return f" on {cpus(numbers)}" if several(v) else ""


def _besides(v: Mapping[str, Any]) -> list[Life]:
    """The lives of the other watched entries that the same CPU still holds at the end: they are part of what is wrong."""
    account = v["account"]
    latest = {x.entry: x for x in lives(v) if x.cpu == account["cpu"] and x.entry != account["entry"]}
    return [latest[e] for e in watched(v) if e in latest and latest[e].dropped is None]


def _names(v: Mapping[str, Any]) -> str:
    """What the violation is about: the entry, and those that are wrong together with it."""
    return " and ".join(name_of(v, e) for e in (v["account"]["entry"], *(x.entry for x in _besides(v))))


def _cached(v: Mapping[str, Any]) -> Answer:
    life = life_of(v)
    return Answer("What was cached", "; ".join(_how_cached(v, x) for x in (life, *_besides(v))), life.since)


def _how_cached(v: Mapping[str, Any], life: Life) -> str:
    entry = v["caches"]["entries"][life.entry]["text"]
    if not life.walked:
        return f"{entry}{_on(v, [life.cpu])}, from the start on"
    walk = next(e for e in told(v)[life.since] if (e["cpu"], e["entry"], e["what"]) == (life.cpu, life.entry, "filled"))
    when = f"after step {life.since}" if life.since else "before the first step"
    return f"{entry}{_on(v, [life.cpu])}, {'again ' if life.again else ''}by speculation {when}{', ' + walk['from'] if walk.get('from') else ''}"


def _change(v: Mapping[str, Any]) -> Answer:
    step = v["account"]["change"]
    if not step:
        return Answer("What was so", f"{name_of(v, v['account']['entry'])} is stale from the start", 0)
    return Answer("What changed" if v["account"].get("tables", True) else "Since when it has to go", doing(v, step), step)


def doing(v: Mapping[str, Any], step: int) -> str:
    """What a step does, and on which CPU if that matters."""
    s = v["steps"][step - 1]
    who = "" if not several(v) else "the environment: " if s["cpu"] is None else f"CPU{s['cpu']}: "
    return f"{who}{what(s)}"


def _removal(v: Mapping[str, Any]) -> Answer:
    """What did not remove the entry: what came too early, what did not reach it, and that nothing else does."""
    account, depth = v["account"], v["depth"]
    life, entry = life_of(v), name_of(v, account["entry"])
    first = max(account["change"], life.since)
    # An operation is judged before it does anything; a walk comes as late as the run allows.
    last = depth - 1 if account["judged"]["kind"] == "operation" else depth
    if life.walked and life.since >= max(account["change"], last) > 0:
        when = f"after step {account['change']}"
        text = f"no flush could remove it in time: {when} a walk still makes {entry}{_on(v, [life.cpu])}"
        return Answer("What was missing", "; ".join([text, *_kept(v, last)]))
    said = []
    if account["early"]:
        said.append(f"step {account['early'][-1]} flushes {entry} too early")
    dropped = {(i, e["cpu"]) for i, events in enumerate(told(v)) for e in events if (e["entry"], e["what"]) == (account["entry"], "dropped")}
    said += [f"step {i} {'flushes' if (i, cpu) in dropped else 'would flush'} it on CPU{cpu} only" for i, cpu in account["elsewhere"]]
    said += [f"step {i} does not reach it ({what(v['steps'][i - 1])})" for i in account["missed"]]
    if first + 1 <= depth:
        steps = f"step {depth}" if first + 1 == depth else f"no step from {first + 1} to {depth}"
        said.append(f"{steps} {'does not drop' if first + 1 == depth else 'drops'} {'it' if said else entry}{_on(v, [life.cpu])}")
    else:
        said.append(f"nothing drops {'it' if said else entry}{_on(v, [life.cpu])} with that step")
    text = ", and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
    return Answer("What was missing", "; ".join([text, *_kept(v, last)]))


def _kept(v: Mapping[str, Any], last: int) -> list[str]:
    """That the other entries which the violation is about stay, too; ``last`` is the last step that could drop one."""
    kept = [(name_of(v, x.entry), x.since + 1) for x in _besides(v) if x.since < last]
    return [f"no step from {first} to {last} drops {name}" if first < last else f"step {last} does not drop {name}" for name, first in kept]


def _use(v: Mapping[str, Any]) -> Answer:
    """Who goes by the entry at the end, or could."""
    judged, depth, cpu = v["account"]["judged"], v["depth"], v["account"]["cpu"]
    entry = _names(v)
    last = doing(v, depth) if depth else "the start"
    can = "can still use" if judged["usable"] else "still holds"
    match judged["kind"]:
        case "operation" if judged["usable"] and judged["acting"] == cpu:
            return Answer("The use", f"CPU{cpu} can go by {entry}: {last}", depth)
        case "operation":
            return Answer("Where it counts", f"{last}; CPU{cpu} {can} {entry}", depth)
        case "leave":
            return Answer("The return", f"{judged['name']} returns on CPU{judged['acting']}, and CPU{cpu} {can} {entry}", depth)
        case _:
            return Answer("Who can use it" if judged["usable"] else "Who holds it", f"CPU{cpu} {can} {entry} from here on: {last}", depth)


# -- of anything else


def _rule(v: Mapping[str, Any]) -> Iterator[Answer]:
    account = v["account"]
    faults = account["judged"]["kind"] == "fault"
    yield Answer("What was required", f"no fault by {account['required']}" if faults else account["required"])
    step = account["step"]
    said = v["assertion"] or v["call"]
    broken = f"{said['text']} ({said['file']}:{said['line']})" if said else doing(v, step) if step else "the start"
    if account["judged"]["kind"] == "leave" and v.get("since") == 0 and step:
        broken = f"{account['judged']['name']} returns, and nothing before makes it so: {broken}"
    yield Answer("The fault" if faults else "What broke it", broken, step)
    for x in account.get("went_by", ()):
        since = next((c.stale_since for c in points(v["caches"], v["depth"])[x["step"] - 1] if (c.cpu, c.entry) == (x["cpu"], x["entry"])), None)
        stale = "" if since is None else ", which is stale from the start on" if not since else f", which is stale since step {since}"
        yield Answer("What it went by", f"step {x['step']} goes through {v['caches']['entries'][x['entry']]['text']}{_on(v, [x['cpu']])}{stale}", x["step"])
    values = [f"{x['name']} = {yes_no(x['shown'])}{_since(x)}" for x in account["values"]]
    if values:
        yield Answer("What decided", ", ".join(values))


def _since(known: Mapping[str, Any]) -> str:
    if "read" in known:
        return f" (read in step {known['read']})" if known["read"] else " (read at the start)"
    step, again = known["since"], f", written again in step {known['again']}" if "again" in known else ""
    return "" if step is None else f" (since step {step}{again})" if step else f" (from the start on{again})"


def _mend(v: Mapping[str, Any]) -> list[Answer]:
    return [Answer(_MEND, text)] if (text := why(v)) else []


# -- of a run that never ends


def _waits(v: Mapping[str, Any]) -> Iterator[Answer]:
    yield Answer("What was required", v["account"]["required"])
    stays = v["account"].get("stays", ())
    if stays:
        yield Answer("What stays so", ", ".join(f"{x['name']} = {yes_no(x['shown'])}{_since(x)}" for x in stays), max(x["since"] for x in stays))
    for w in v["account"]["waits"]:
        yield Answer("Who waits", _who(w), w.get("taken") or w["masked"] or w["since"])
    yield Answer("What never ends", for_ever(v), v["depth"])


def _who(w: Mapping[str, Any]) -> str:
    name, shown = w["variable"], yes_no(w["shown"])
    if w["awaited"] is None:
        return f"CPU{w['cpu']} waits for {name} to change from {shown}, and nobody changes it"
    whom = "itself" if w["awaited"] == w["cpu"] else f"CPU{w['awaited']}"
    if w.get("taken") is not None:
        return f"CPU{w['cpu']} waits for {whom}: whenever {name} changes from {shown}, {whom} makes it so again before CPU{w['cpu']} goes on (step {w['taken']})"
    if w["masked"] is not None:
        off = f"since step {w['masked']}" if w["masked"] else "from the start on"
        return f"CPU{w['cpu']} waits for {whom}, whose interrupts are off {off}: {name} stays {shown}"
    return f"CPU{w['cpu']} waits for {whom}: {name} stays {shown}{_since(w)}"
