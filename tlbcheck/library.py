"""Finding models and properties: the library's, and those in a user's own folders.

A model's file is loaded under a private package name, so that families can use relative imports
wherever their folder stands, and nothing called ``models`` appears among a user's packages.

Loading a file runs it. So whoever reads C or mails, which somebody else may have sent together with
the folder around them, does it under ``searching(None)``: then nothing but the library is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tlbcheck.errors import InputError, Place
from tlbcheck.lang.harness import Harness
from tlbcheck.lang.model import Model, Property

if TYPE_CHECKING:
    from tlbcheck.lang.harness import Reading

CODE = (".c", ".h")
"""Endings of C files."""


def _home(kind: str) -> Path:
    """The folder of the library's models or properties: inside the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind


_searched: list[Path | None] = []
"""The innermost ``searching``; without one it is the working directory."""


@contextmanager
def searching(folder: Path | None) -> Iterator[None]:
    """Meanwhile a user's own models and properties are those in ``folder``/models and ``folder``/properties.

    None: there are none, and no Python file is loaded but the library's own, and those that are named by a path.
    Raises ``InputError`` if ``folder`` has neither.
    """
    if folder is not None and not any((folder / kind).is_dir() for kind in ("models", "properties")):
        raise InputError(
            "has no folder models and none called properties",
            place=Place(str(folder)),
            hint="give the folder that holds them: --models DIR",
        )
    _searched.append(folder)
    try:
        yield
    finally:
        _searched.pop()


def is_code(name: str) -> bool:
    """Whether ``name`` is a C file that exists, not a model's name."""
    return Path(name).suffix in CODE and Path(name).is_file()


def _own(kind: str) -> Path | None:
    """The folder of the user's own models or properties, None if there is none or none may be loaded."""
    folder = _searched[-1] if _searched else Path.cwd()
    own = folder / kind if folder is not None else None
    return own if own is not None and own.is_dir() and own.resolve() != _home(kind) else None


def _guarded() -> AbstractContextManager[None]:
    """What reads C does not load the working directory's files, unless ``searching`` said which to load."""
    return nullcontext() if _searched else searching(None)


def _not_loaded(kind: str) -> str:
    """Advice where a name may be meant that stands in files which are not loaded."""
    here = _searched and _searched[-1] is None and (Path.cwd() / kind).is_dir()
    return f"; {kind}/ of this folder is not loaded where C or mails are read, --models . does that" if here else ""


def _package(folder: Path) -> str:
    """A private package name for a folder, made importable."""
    name = f"_tlbcheck_{hashlib.sha1(str(folder).encode(), usedforsecurity=False).hexdigest()[:10]}"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name


def load_file(path: Path) -> types.ModuleType:
    """Import a model or property file. Raises ``InputError`` with its place if it cannot be."""
    path = path.resolve()
    root = path.parent
    while (root / "__init__.py").exists() and root.parent != root:
        root = root.parent
    parts = path.relative_to(root).with_suffix("").parts
    name = ".".join((_package(root), *parts))
    if name in sys.modules:
        return sys.modules[name]
    for i in range(1, len(parts)):
        _import(".".join((_package(root), *parts[:i])), root.joinpath(*parts[:i]) / "__init__.py")
    return _import(name, path)


def _import(name: str, path: Path) -> types.ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    search = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=search)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be read as a Python file", hint="models and properties are .py files")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except InputError as error:
        del sys.modules[name]
        if error.place is not None:
            raise
        raise InputError(error.message, place=Place(str(path), _line(error, path)), hint=error.hint) from None
    except SyntaxError as error:
        del sys.modules[name]
        raise InputError(f"syntax error: {error.msg}", place=Place(error.filename or str(path), error.lineno or 0, error.offset or 0), hint="mend the file") from None
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"{type(error).__name__}: {error}", place=Place(str(path), _line(error, path)), hint="mend the file") from None
    return module


def _line(error: BaseException, path: Path) -> int:
    """The line of ``path`` that ``error`` came through, the innermost; 0 if none."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        if path.name != "__init__.py" and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
            yield path


def models_in(path: Path) -> dict[str, Model]:
    """The models that a file, or the files of a folder, define, by name."""
    files = [path] if path.is_file() else list(_files(path))
    found: dict[str, Model] = {}
    for file in files:
        for value in list(vars(load_file(file)).values()):
            if isinstance(value, Model) and found.setdefault(value.name, value) is not value:
                raise InputError(f"two models are called {value.name}", place=Place(str(file)), hint="rename one")
    return found


def harnesses() -> list[Harness]:
    """The environments of the library, and of the user's own models, that a C function can be put into."""
    own = _own("models")
    folders = [_home("models"), *([own] if own is not None else [])]
    found = {id(value): value for folder in folders for file in _files(folder) for value in vars(load_file(file)).values() if isinstance(value, Harness)}
    return list(found.values())


def properties_in(path: Path) -> dict[str, Property]:
    """The properties that a file, or the files of a folder, define, by name."""
    files = [path] if path.is_file() else list(_files(path))
    found: dict[str, Property] = {}
    for file in files:
        for value in list(vars(load_file(file)).values()):
            if isinstance(value, Property) and value.trigger is not None and found.setdefault(value.name, value) is not value:
                raise InputError(f"two properties are called {value.name}", place=Place(str(file)), hint="rename one")
    return found


def models() -> dict[str, Model]:
    """All models of the library and of the user's own folder."""
    found = models_in(_home("models"))
    if (own := _own("models")) is not None:
        found |= models_in(own)
    return found


def properties() -> dict[str, Property]:
    """All properties of the library and of the user's own folder, in the order in which they are reported."""
    found = properties_in(_home("properties"))
    if (own := _own("properties")) is not None:
        found |= properties_in(own)
    order = ["missing-flush", "stale-translation", "switch-lands", "pge-with-pcide", "no-fault"]
    return dict(sorted(found.items(), key=lambda x: (order.index(x[0]) if x[0] in order else len(order), x[0])))


def find_models(name: str, reading: Reading | None = None) -> list[Model]:
    """The models that ``name`` means: what ``named`` takes, or a file or folder that exists.

    A C file is read as ``reading`` says. Raises ``InputError`` naming what there is.
    """
    if is_code(name):
        from tlbcheck.fit import fit_file
        from tlbcheck.lang.harness import Reading

        with _guarded():
            return [fit_file(Path(name), reading or Reading())]
    sized, _, variant = name.partition("@")
    base, numbers = split_name(sized)
    path = Path(base)
    if not path.exists():
        return [named(name)]
    found = list(models_in(path).values())
    if not found:
        raise InputError(f"{base} defines no model", place=Place(base), hint="give a module-level variable a tlbcheck.Model")
    chosen = [m for m in found if not variant or variant in m.variants]
    if not chosen:
        raise InputError(f"{base} has no variant '{variant}'", place=Place(base))
    return [_member(m, numbers, variant) for m in chosen]


def named(name: str) -> Model:
    """The model called ``MODEL``, ``MODEL@VARIANT`` or ``MODEL:NUMBER=N@VARIANT``; never a file of that path.

    Raises ``InputError`` naming what there is.
    """
    sized, _, variant = name.partition("@")
    base, numbers = split_name(sized)
    known = _among(base)
    if base not in known:
        import difflib

        near = difflib.get_close_matches(base, known, n=1, cutoff=0.4)
        advice = f"did you mean {near[0]}? 'tlbcheck list' names all" if near else "'tlbcheck list' names all; a path to a file works too"
        raise InputError(f"unknown model '{base}'", hint=advice + _not_loaded("models"))
    return _member(known[base], numbers, variant)


def find_model(model: Model | str, reading: Reading | None = None) -> Model:
    """The one model that is meant: an object, or what ``find_models`` takes. Raises ``InputError`` if there is none, or several."""
    if isinstance(model, Model):
        return model
    found = find_models(model, reading)
    if len(found) > 1:
        raise InputError(f"{model} defines {len(found)} models", hint=f"name one of them: {', '.join(m.name for m in found)}")
    return found[0]


def _among(name: str) -> dict[str, Model]:
    """All models, or as few as the name needs to be looked up: those of the working directory, and of the library's family."""
    own, home = _own("models"), _home("models")
    family = home / name.partition("/")[0]
    for folder in ([own] if own is not None else []) + ([family] if family.is_dir() and family != home else []):
        found = models_in(folder)
        if name in found:
            return found
    return models()


def split_name(name: str) -> tuple[str, dict[str, int]]:
    """``NAME:cpus=3,pages=2`` as a name and its numbers; a path that exists is a name."""
    if Path(name).exists():
        return name, {}
    base, colon, given = name.partition(":")
    if not colon or "=" not in given:
        return name, {}
    numbers = {}
    for part in given.split(","):
        key, _, value = part.partition("=")
        if not value.isdecimal():
            raise InputError(f"'{part}' in '{name}' is no number", hint="write MODEL:NAME=NUMBER,NAME=NUMBER")
        numbers[key] = int(value)
    return base, numbers


def _member(model: Model, numbers: Mapping[str, int], variant: str) -> Model:
    made = model.with_numbers(numbers) if numbers else model
    return made.variant(variant) if variant else made


def find_properties(names: Sequence[str] | None, model: Model | None = None) -> list[Property]:
    """The properties of these names; without names those that ``model`` is about, or all.

    Raises ``InputError`` for an unknown one, here or in what a procedure of ``model`` ensures.
    """
    with _guarded() if model is not None and model.origin else nullcontext():
        known = properties()
    for procedure in (*model.reachable(), *model.procedures, *(c.procedure for c in model.contracts)) if model is not None else ():
        for n in procedure.ensures:
            if n not in known:
                raise InputError(f"{procedure.name}() ensures an unknown property '{n}'", place=procedure.place, hint=f"there are: {', '.join(known)}")
    names = names or (model.about if model is not None else ())
    if not names:
        return list(known.values())
    for n in names:
        if n not in known:
            raise InputError(f"unknown property '{n}'", hint=f"there are: {', '.join(known)}{_not_loaded('properties')}")
    return [known[n] for n in known if n in names]
