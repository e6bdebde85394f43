"""Finding models and properties: the library's, and those in a user's own folders.

A model's file is loaded under a private package name, so that families can use relative imports
wherever their folder stands, and nothing called ``models`` appears among a user's packages.

Loading a file runs it. So whoever reads C or mails, which somebody else may have sent together with
the folder around them, does it under ``searching(None)``: then nothing but the library is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tlbcheck.errors import InputError, Place, shown_file
from tlbcheck.lang.declared import Declared
from tlbcheck.lang.harness import Harness
from tlbcheck.lang.model import Model, Property
from tlbcheck.lang.spelling import meant, nearest, slipped
from tlbcheck.lang.where import in_code

if TYPE_CHECKING:
    from tlbcheck.lang.harness import Reading

_Named = TypeVar("_Named", Model, Property)
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
        raise InputError(error.message, place=_place(error, path), hint=error.hint) from None
    except SyntaxError as error:
        del sys.modules[name]
        raise InputError(f"syntax error: {error.msg}", place=Place(error.filename or str(path), error.lineno or 0, error.offset or 0), hint="mend the file") from None
    except Exception as error:
        del sys.modules[name]
        named = isinstance(error, NameError | AttributeError | ImportError | TypeError)
        raise InputError(f"{type(error).__name__}: {error}", place=_place(error, path, column=named), hint=meant(error) or "mend the file") from None
    return module


def _place(error: BaseException, path: Path, *, column: bool = True) -> Place:
    """Where in ``path`` ``error`` came through, the innermost; its beginning if it did not."""
    place, trace = Place(str(path)), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            place = in_code(trace.tb_frame.f_code, trace.tb_lasti, trace.tb_lineno)
        trace = trace.tb_next
    return place if column else Place(place.file, place.line)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        if path.name != "__init__.py" and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
            yield path


def _modules(path: Path, broken: list[InputError] | None) -> Iterator[tuple[Path, types.ModuleType]]:
    """A file, or the files of a folder, imported; where ``broken`` takes the errors of those that cannot be, the others come all the same."""
    for file in [path] if path.is_file() else _files(path):
        try:
            module = load_file(file)
        except InputError as error:
            if broken is None:
                raise
            broken.append(error)
            continue
        yield file, module


def _defined(path: Path, kind: type[_Named], broken: list[InputError] | None) -> dict[str, _Named]:
    """What of one kind the modules of a file or folder have, by name; nothing of a name that two have."""
    found: dict[str, _Named] = {}
    twice = set()
    what = "models" if issubclass(kind, Model) else "properties"
    for file, module in _modules(path, broken):
        for value in list(vars(module).values()):
            if isinstance(value, kind) and found.setdefault(value.name, value) is not value:
                error = InputError(f"two {what} are called {value.name}", place=Place(str(file)), hint="rename one")
                if broken is None:
                    raise error
                broken.append(error)
                twice.add(value.name)
    return {name: value for name, value in found.items() if name not in twice}


def models_in(path: Path, broken: list[InputError] | None = None) -> dict[str, Model]:
    """The models that a file, or the files of a folder, define, by name.

    Raises ``InputError`` for a file that cannot be used; or adds the error to ``broken``, and goes on.
    """
    return _defined(path, Model, broken)


def properties_in(path: Path, broken: list[InputError] | None = None) -> dict[str, Property]:
    """The properties that a file, or the files of a folder, define, by name; the same errors."""
    return _defined(path, Property, broken)


def _folders(kind: str) -> list[Path]:
    """The library's folder of models or properties, and the user's own."""
    own = _own(kind)
    return [_home(kind), *([own] if own is not None else [])]


def harnesses() -> list[Harness]:
    """The environments of the library, and of the user's own models, that a C function can be put into.

    A file that cannot be used has none.
    """
    loaded = (module for folder in _folders("models") for _, module in _modules(folder, []))
    return list({id(value): value for module in loaded for value in vars(module).values() if isinstance(value, Harness)}.values())


def modules(model: Model) -> list[types.ModuleType]:
    """All files of models that can be used: the library's and, where those of ``model`` may be loaded, the user's."""
    with _guarded() if model.origin else nullcontext():
        return [module for folder in _folders("models") for _, module in _modules(folder, [])]


def models(broken: list[InputError] | None = None) -> dict[str, Model]:
    """All models of the library and of the user's own folder; errors as for ``models_in``."""
    return {name: m for path in _folders("models") for name, m in models_in(path, broken).items()}


def properties(broken: list[InputError] | None = None) -> dict[str, Property]:
    """All properties of the library and of the user's own folder, in the order in which they are reported; errors as for ``models_in``."""
    found = {name: q for path in _folders("properties") for name, q in properties_in(path, broken).items()}
    order = ["missing-flush", "stale-translation", "switch-lands", "pge-with-pcide", "no-fault"]
    return dict(sorted(found.items(), key=lambda x: (order.index(x[0]) if x[0] in order else len(order), x[0])))


def in_place_of_the_library_s(declared: Model | Property) -> str:
    """In words, that something of a user's own has the name of something of the library, which it so replaces; empty if not."""
    kind, what = ("models", "model") if isinstance(declared, Model) else ("properties", "property")
    file, name = declared.place.file if declared.place is not None else "", re.split("[@:]", declared.name)[0]
    if not file or Path(file).is_relative_to(_home(kind)):
        return ""
    known: Mapping[str, Model | Property] = models_in(_home(kind)) if kind == "models" else properties_in(_home(kind))
    return f"{name} is what {shown_file(file)} says, in the place of the library's {what} of that name" if name in known else ""


def find_models(name: str, reading: Reading | None = None, broken: list[InputError] | None = None) -> list[Model]:
    """The models that ``name`` means: what ``named`` takes, or a file or folder that exists.

    A C file is read as ``reading`` says. Raises ``InputError`` naming what there is. Of a folder, ``broken`` takes the
    errors of files that cannot be used, if it is given and others can.
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
    errors: list[InputError] = []
    found = list(models_in(path, None if path.is_file() else errors).values())
    if errors and (broken is None or not found):
        raise errors[0]
    if broken is not None:
        broken += errors
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
    return _member(_named(base), numbers, variant)


def find_model(model: Model | str, reading: Reading | None = None) -> Model:
    """The one model that is meant: an object, or what ``find_models`` takes. Raises ``InputError`` if there is none, or several."""
    if isinstance(model, Model):
        return model
    found = find_models(model, reading)
    if len(found) > 1:
        raise InputError(f"{model} defines {len(found)} models", hint=f"name one of them: {', '.join(m.name for m in found)}")
    return found[0]


def _named(name: str) -> Model:
    """The model of that name, looked for where it should be first: in the user's own folder, and in the library's family.

    A file that cannot be used is in the way of no other's models; where nobody has the name, it may be there.
    """
    own, home = _own("models"), _home("models")
    family = home / name.partition("/")[0]
    for folder in ([own] if own is not None else []) + ([family] if family.is_dir() and family != home else []):
        found = models_in(folder, [])
        if name in found:
            return found[name]
    broken: list[InputError] = []
    known = models(broken)
    if name in known:
        return known[name]
    near = nearest(name, known)
    if broken and not slipped(name, near):
        raise broken[0]
    advice = f"did you mean {near}? 'tlbcheck list' names all" if near else "'tlbcheck list' names all; a path to a file works too"
    raise InputError(f"unknown model '{name}'", hint=advice + _not_loaded("models"))


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
    if not variant:
        return made
    chosen = made.variant(variant)
    Declared(made).variant(variant)
    return chosen


def find_properties(names: Sequence[str] | None, model: Model | None = None) -> list[Property]:
    """The properties of these names; without names those that ``model`` is about or declares something of, or all.

    Raises ``InputError`` for an unknown one, here or in what ``model`` says of properties, and for what they ask
    of ``model`` and nobody has. A file that cannot be used is in the way where it may be the one that is needed.
    """
    from tlbcheck.vocabulary import check_vocabulary, properties_there, refuse_unknown

    broken: list[InputError] = []
    with _guarded() if model is not None and model.origin else nullcontext():
        known = properties(broken)
    # What a model declares of a property, it is about.
    asked = list(names or ((*model.about, *model.expected) if model is not None and model.about else ()))
    if broken and (not asked or any(n not in known for n in asked)):
        raise broken[0]
    for n in names or ():
        if n not in known:
            raise InputError(f"unknown property '{n}'", hint=properties_there(n, known) + _not_loaded("properties"))
    chosen = [known[n] for n in known if not asked or n in asked]
    if model is not None:
        refuse_unknown(model, known, complete=not broken)
        check_vocabulary(model, chosen)
    return chosen
