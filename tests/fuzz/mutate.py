"""Mutations along the grammar of each kind of input, so that most of what comes out is still read past its parser."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (0, 1, -1, 2, 3, 7, 63, 64, 4095, 4096, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 10**40)


def several(random: Random, text: str, mutation: Callable[[Random, str], str]) -> str:
    """``text`` after one to four mutations, mostly one."""
    for _ in range(random.choice((1, 1, 1, 1, 1, 2, 2, 4))):
        text = mutation(random, text)
    return text


# -- C

_C_TOKEN = re.compile(r'"[^"\n]*"|\w+|[<>=!&|+\-*/^]=|&&|\|\||<<=?|>>=?|\+\+|--|->|[^\w\s]|\s+')
_C_CLASSES: tuple[tuple[str, ...], ...] = (
    ("&", "|", "^", "+", "-", "*", "/", "%", "<<", ">>"),
    ("==", "!=", "<", ">", "<=", ">="),
    ("&&", "||"),
    ("=", "|=", "&=", "^=", "+=", "-=", "<<=", ">>="),
    ("~", "!", "-"),
    ("if", "while", "switch"),
    ("unsigned", "signed", "const"),
    ("long", "int", "char", "bool"),
    ("return", "break", "continue", "goto"),
)
_C_STATEMENT = re.compile(r"^[ \t]+[^{}#/\n]+;[ \t]*$", re.MULTILINE)
_C_WRAPS = (
    "if ( {n} )\n{{ {s} }}",
    "do {{ {s} }} while ( {n}-- );",
    "while ( {n} ) {{ {s} break; }}",
    "for ( {n} = 0; {n} < 3; {n}++ ) {{ {s} }}",
    "switch ( {n} ) {{ case 1: {s} break; default: ; }}",
    "\n#ifdef {N}\n{s}\n#endif\n",
    "\n#if 0\n{s}\n#else\n{s}\n#endif\n",
    "{{ {s} {s} }}",
    "({{ {s} }});",
    "/* {s} */",
)


def c(random: Random, text: str) -> str:
    """One mutation of C: a token for one of its class, a name for a name, a number for another, a statement moved, doubled or wrapped."""
    tokens = _C_TOKEN.findall(text)
    names = [t for t in tokens if re.fullmatch(r"[A-Za-z_]\w*", t)]
    if not names:  # a line of a diff may be a comment or a brace
        return text
    match random.randrange(10):
        case 0 | 1:
            places = [i for i, t in enumerate(tokens) if any(t in k for k in _C_CLASSES)]
            if not places:
                return text
            i = random.choice(places)
            tokens[i] = random.choice(next(k for k in _C_CLASSES if tokens[i] in k))
        case 2:
            i = random.choice([i for i, t in enumerate(tokens) if t in set(names)])
            tokens[i] = random.choice(names)
        case 3:
            places = [i for i, t in enumerate(tokens) if re.fullmatch(r"\d\w*", t)]
            if places:
                tokens[random.choice(places)] = str(abs(random.choice(NUMBERS)))
        case 4:
            i = random.randrange(len(tokens))
            tokens[i] = random.choice((tokens[i] * 2, "", random.choice(tokens)))
        case _:
            return _moved(random, text, names)
    return "".join(tokens)


def _moved(random: Random, text: str, names: list[str]) -> str:
    found = list(_C_STATEMENT.finditer(text))
    if not found:
        return text
    one, other = random.choice(found), random.choice(found)
    statement = one.group()
    match random.randrange(4):
        case 0:
            return text[: one.start()] + text[one.end() :]
        case 1:
            return text[: other.end()] + "\n" + statement + text[other.end() :]
        case 2:
            return text[: one.start()] + other.group() + text[one.end() :]
        case _:
            name = random.choice(names)
            wrapped = random.choice(_C_WRAPS).format(s=statement, n=name, N=name.upper())
            return text[: one.start()] + wrapped + text[one.end() :]


# -- diffs and mails


def mail(random: Random, text: str) -> str:
    """One mutation of a diff or mail: a line of it, or the form in which it is sent."""
    lines = text.split("\n")
    i = random.randrange(len(lines))
    match random.randrange(11):
        case 0:
            del lines[i]
        case 1:
            lines.insert(i, random.choice(lines))
        case 2:
            lines[i] = random.choice("+- ") + lines[i][1:]
        case 3:
            lines[i] = "> " + lines[i]
        case 4:
            heads = [k for k, x in enumerate(lines) if x.startswith("@@")]
            if heads:
                k = random.choice(heads)
                lines[k] = re.sub(r"\d+", lambda m: str(int(m.group()) + random.choice((0, 0, 1, -1, 20))), lines[k], count=random.randrange(1, 5))
        case 5:
            return text.replace("\n", "\r\n")
        case 6:
            return "\n".join("> " + x if x else ">" for x in lines)
        case 7:
            return f"From x Mon Sep 17 00:00:00 2001\n{text}\nFrom x Mon Sep 17 00:00:00 2001\n{text}"
        case 8:
            lines[i:i] = [f"Content-Type: {random.choice(('text/html', 'text/plain; charset=utf-8', 'multipart/mixed; boundary=x'))}"]
        case 9:
            lines[i] = lines[i].replace(" ", random.choice(("\u00a0", "\t", "=20", "  ")))
        case _:
            bodies = [k for k, x in enumerate(lines) if x[:1] in ("+", " ", "-") and len(x) > 3 and not x.startswith(("+++", "---"))]
            if bodies:
                k = random.choice(bodies)
                lines[k] = lines[k][0] + c(random, lines[k][1:] + "\n").replace("\n", "")
    return "\n".join(lines)


# -- trees: JSON and TOML


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for k, x in below for p in _paths(x, (*path, k)))]


def _other(random: Random, value: Any) -> Any:
    """A value like ``value``, or of another kind."""
    if random.random() < 0.6:
        match value:
            case bool():
                return not value
            case int():
                return random.choice((value + 1, value - 1, -value, *NUMBERS))
            case float():
                return random.choice((0.0, -1.5, 1e300))
            case str():
                return random.choice((value + "x", value[:-1], value.swapcase(), "\u202e" + value, value * 50, "<b>" + value))
            case list() if value:
                return random.choice((value[:-1], value[1:], value + value[-1:], value[::-1], random.sample(value, len(value))))
    return random.choice((None, True, 0, -1, 1.5, "", "x", [], {}, [None], {"x": 1}, random.choice(NUMBERS)))


def tree(random: Random, value: Any) -> Any:
    """``value`` with one place changed, left out, doubled, or exchanged with another."""
    changed = copy.deepcopy(value)
    paths = _paths(changed)[1:]
    if not paths:
        return _other(random, changed)

    def parent(path: tuple[Any, ...]) -> Any:
        at = changed
        for k in path[:-1]:
            at = at[k]
        return at

    path, second = random.choice(paths), random.choice(paths)
    here, there = parent(path), parent(second)
    match random.randrange(6):
        case 0:
            del here[path[-1]]
        case 1:
            held = copy.deepcopy(there[second[-1]])
            here[path[-1]] = held
        case 2 if isinstance(here, dict):
            here[str(path[-1]) + "x"] = here.pop(path[-1])
        case _:
            here[path[-1]] = _other(random, here[path[-1]])
    return changed


def leaves(random: Random, value: Any) -> Any:
    """``value`` with one leaf or name exchanged with another of its kind; now and then as ``tree`` does it."""
    if random.random() < 0.1:
        return tree(random, value)
    changed = copy.deepcopy(value)
    found: dict[type, list[tuple[Any, Any]]] = {}
    keys: list[tuple[dict[str, Any], str]] = []
    for path in _paths(changed)[1:]:
        at = changed
        for k in path[:-1]:
            at = at[k]
        if not isinstance(at[path[-1]], dict | list):
            found.setdefault(type(at[path[-1]]), []).append((at, path[-1]))
        if isinstance(at, dict):
            keys.append((at, path[-1]))
    if random.random() < 0.1:
        (a, i), (b, j) = random.choice(keys), random.choice(keys)
        a[i], b[j] = b[j], a[i]
        return changed
    alike = random.choice(list(found.values()))
    (a, i), (b, j) = random.choice(alike), random.choice(alike)
    a[i] = b[j]
    return changed


def json_text(random: Random, text: str) -> str:
    return json.dumps(tree(random, json.loads(text)))


def toml(value: Any, path: tuple[str, ...] = ()) -> str:
    """A tree as TOML; None, which TOML has not, as an empty string."""
    rows = [f"{json.dumps(k)} = {_toml_value(x)}" for k, x in value.items() if not isinstance(x, dict)]
    tables = [toml(x, (*path, k)) for k, x in value.items() if isinstance(x, dict)]
    head = [f"[{'.'.join(json.dumps(p) for p in path)}]"] if path else []
    return "\n".join([*head, *rows, *tables]) + "\n"


def _toml_value(value: Any) -> str:
    match value:
        case None:
            return '""'
        case list():
            return f"[{', '.join(map(_toml_value, value))}]"
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(x)}" for k, x in value.items()) + "}"
        case _:
            return json.dumps(value)


# -- certificates


def certificate(random: Random, text: str) -> str:
    """One token of an SMT-LIB file for another, one parenthesised term left out or doubled, or a line of the head changed."""
    tokens = re.findall(r"\|[^|]*\||[()]|[^\s()|]+|\s+", text)
    words = [i for i, t in enumerate(tokens) if t.strip() and t not in "()"]
    i = random.choice(words)
    match random.randrange(4):
        case 0 | 1:
            tokens[i] = tokens[random.choice(words)]
        case 2:
            start = random.choice([k for k, t in enumerate(tokens) if t == "("])
            depth, end = 0, start
            for end in range(start, len(tokens)):
                depth += {"(": 1, ")": -1}.get(tokens[end], 0)
                if not depth:
                    break
            term = tokens[start : end + 1]
            tokens[start : end + 1] = random.choice(([], term * 2, ["true"]))
        case _:
            heads = [k for k in words if tokens[k].startswith("|") and len(tokens[k]) > 2]
            if heads:
                tokens[random.choice(heads)] = random.choice(("||", "|x|", tokens[random.choice(heads)]))
    return "".join(tokens)


# -- model files


def _place(node: ast.Name | ast.Attribute) -> str:
    """What a name stands for: what is called, an attribute of some name, or a value."""
    if isinstance(node, ast.Attribute):
        return f"of {ast.unparse(node.value)}"
    return "called" if hasattr(node, "called") else "value"


def _alike(nodes: list[ast.AST]) -> dict[str, list[str]]:
    """The names of a file, by what they stand for."""
    for node in nodes:
        if isinstance(node, ast.Call):
            node.func.called = True  # type: ignore[attr-defined]  # a mark of our own
    alike: dict[str, list[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Name | ast.Attribute):
            alike.setdefault(_place(node), []).append(node.id if isinstance(node, ast.Name) else node.attr)
    return alike


def _like(random: Random, alike: dict[str, list[str]], place: str) -> list[str]:
    """Names to choose from: mostly those of the same place."""
    return alike[place] if random.random() < 0.85 else [name for names in alike.values() for name in names]


def model(random: Random, text: str) -> str:
    """One mutation of a Python file's tree: a name, constant or operator for another, a statement or argument left out or doubled."""
    root = ast.parse(text)
    nodes = list(ast.walk(root))
    procedures = [n for f in nodes if isinstance(f, ast.FunctionDef) for n in ast.walk(f)]
    alike = _alike(nodes)
    bodies = [n for n in procedures if isinstance(n, ast.FunctionDef | ast.If | ast.While | ast.For | ast.With)]
    for _ in range(20):
        node = random.choice(bodies if random.random() < 0.4 else procedures if random.random() < 0.8 else nodes)
        match node:
            case ast.Name():
                node.id = random.choice(_like(random, alike, _place(node)))
            case ast.Attribute():
                node.attr = random.choice(_like(random, alike, _place(node)))
            case ast.Constant() if not isinstance(node.value, str):
                node.value = random.choice((True, False, None, "x", "", *NUMBERS[:8], -5))
            case ast.Compare():
                node.ops = [random.choice((ast.Eq, ast.NotEq, ast.Lt, ast.GtE, ast.Is, ast.In))() for _ in node.ops]
            case ast.BinOp():
                node.op = random.choice((ast.Add, ast.Sub, ast.Mult, ast.BitAnd, ast.BitOr, ast.RShift, ast.Mod))()
            case ast.Call() if node.args or node.keywords:
                part: list[Any] = node.keywords if node.keywords and random.random() < 0.7 else node.args
                if part:
                    k = random.randrange(len(part))
                    part[k : k + 1] = [] if random.random() < 0.5 or part is node.keywords else part[k : k + 1] * 2
            case ast.FunctionDef() | ast.If() | ast.While() | ast.For() | ast.With() if len(node.body) > 0:
                k = random.randrange(len(node.body))
                node.body[k : k + 1] = random.choice(([ast.Pass()], node.body[k : k + 1] * 2, node.body[k:][::-1][:2]))
            case _:
                continue
        break
    return ast.unparse(ast.fix_missing_locations(root))
