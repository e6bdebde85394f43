"""The command line. Exit status: 0 holds, 1 violated, 2 wrong use or input, 3 undecided, 4 internal error."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from tlbcheck import __version__
from tlbcheck.errors import InputError, InternalError, OutputError, unforeseen
from tlbcheck.options import ALL_ENGINES, ENGINES, Limits, known_processor
from tlbcheck.report.escape import visible
from tlbcheck.result import ModelResult, RunResult, Status, worst

if TYPE_CHECKING:
    from tlbcheck.engines.run import ModelEvidence
    from tlbcheck.lang.harness import Reading
    from tlbcheck.lang.model import Model


def _fail(status: Status, message: str) -> NoReturn:
    click.echo(f"tlbcheck: {visible(' '.join(message.split()))}", err=True)
    raise SystemExit(status)


class _ReaderGone(BaseException):
    """A pipe that takes nothing more; click would make exit status 1 of it, which means "violated"."""


class _Group(click.Group):
    """Turns every error into one line and an exit status."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*args, **more)
        except BrokenPipeError:
            raise _ReaderGone from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OutputError as error:
            _fail(Status.INTERNAL, str(error))
        except InputError as error:
            _fail(Status.USAGE, str(error))
        except InternalError as error:
            _fail(Status.INTERNAL, f"internal error: {error}")
        except BrokenPipeError:
            raise _ReaderGone from None
        except KeyboardInterrupt:
            _fail(Status.UNDECIDED, "interrupted")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tlbcheck")
def cli() -> None:
    """A model checker for TLB coherence.

    After this code ran, can any CPU still use a translation that it must not?

    \b
    tlbcheck verify xen/pcid-v5        check a model, or everything
    tlbcheck matrix xen/pcid-v5        every pair of contexts: steps, verdict
    tlbcheck list                      the models and their variants

    \b
    Exit status: 0 all holds (with --expect: is as declared), 1 a property is
    violated (a verdict differs), 2 wrong use or input, 3 undecided, 4 internal error.
    """


_OUTPUTS = click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a report too: .html, .json, .itf.json, .sarif, .xml (JUnit) or .md; repeatable.",
)
_MODELS = click.option(
    "--models",
    "own",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Your own models: in DIR/models, properties in DIR/properties; their Python is run. Default: the working directory, and none where C or a mail is read.",
)


def _look_in(own: Path | None, *, foreign: bool) -> None:
    """For the rest of the command a user's own models and properties are those in ``own``.

    Without it they are the working directory's; but none of somebody else's files is run because its C or mail is read.
    """
    from tlbcheck.library import searching

    if own is not None or foreign:
        click.get_current_context().with_resource(searching(own))


def _read_as_c(reading: Reading, names: Sequence[str | None]) -> None:
    """Raises ``InputError`` if options say how C is read where none is: what they ask for would not be judged."""
    from tlbcheck.lang.harness import Reading
    from tlbcheck.library import is_code

    if reading != Reading() and not any(n is not None and is_code(n) for n in names):
        raise InputError("--function, --role, -D, -U, --profile, --assume-no-tlb-effect, --fact and --tree say how C is read, and there is none", hint="name a C file, or leave them out")


_FULL = click.option("--full", is_flag=True, help="On a terminal, show everything instead of a screenful.")
BRIEFLY = 10.0
"""Seconds in which engines confirm what enumeration has decided, where many models are compared with what they declare."""
_ENGINE = click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="|".join(ALL_ENGINES),
    help="Use only this engine (default: explicit, bmc and pdr); engines that are used must agree. abc needs Berkeley ABC; full and sets search the literal caches: state by state, "
    "or as sets; reference interprets the source of small Python models.",
)

_TREE = click.option(
    "--tree",
    "around",
    type=click.Path(path_type=Path),
    help="C: the project's sources, in whose headers macros are looked up (default: those around the file, under its nearest .git).",
)

_CODE = (
    click.option("--function", metavar="NAME", default="", help="C: the function to check (default: the one that the profile knows)."),
    click.option("--role", default="switch", show_default=True, help="C: what the function is to its callers."),
    click.option("-D", "--define", "defines", multiple=True, metavar="NAME[=VALUE]", help="C: define a name, as a compiler does; repeatable."),
    click.option("-U", "--undefine", "undefines", multiple=True, metavar="NAME", help="C: take a name out of the usual configuration; repeatable."),
    click.option("--profile", "profiles", multiple=True, type=click.Path(path_type=Path, dir_okay=False), help="C: a TOML file that says what more names mean; repeatable."),
    click.option("--assume-no-tlb-effect", "assumed", multiple=True, metavar="NAME", help="C: a call that is taken to have none; the verdict repeats it."),
    click.option("--fact", "facts", multiple=True, metavar="NAME=yes|no", help="C: what the environment takes for true of the code base."),
)


def _code_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how C is read; the command gets them as one ``reading``."""

    @functools.wraps(command)
    def read(
        function: str,
        role: str,
        defines: Sequence[str],
        undefines: tuple[str, ...],
        profiles: tuple[Path, ...],
        assumed: tuple[str, ...],
        facts: Sequence[str],
        around: Path | None = None,
        **more: Any,
    ) -> Any:
        from tlbcheck.lang.harness import Reading

        said = {}
        for fact in facts:
            name, _, value = fact.partition("=")
            if value not in ("yes", "no"):
                raise InputError(f"--fact {fact} says neither yes nor no", hint="write --fact NAME=yes or NAME=no")
            said[name] = value == "yes"
        defined = {name: value if sign else "1" for name, sign, value in (d.partition("=") for d in defines)}
        return command(reading=Reading(function, role, defined, undefines, profiles, assumed, said, str(around or "")), **more)

    for option in reversed(_CODE):
        read = option(read)
    return read


@cli.command(epilog="Example: tlbcheck verify xen/pcid-v5 --property missing-flush --all")
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@click.option("-p", "--property", "property_names", multiple=True, help="Check only this property (repeatable).")
@click.option("--all", "every_case", is_flag=True, help="One shortest trace for each distinct case, not only for each property.")
@click.option("--expect", is_flag=True, help="Succeed if the verdicts are what the models declare; includes their variants.")
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON result on standard output.")
@click.option("--depth", type=int, help="Bound of the z3 engine's search (default: the model's).")
@click.option("--processor", metavar="common|intel|amd", help="Whose guarantees hold (default: what both vendors promise).")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds for a solver.")
@click.option("--recheck", is_flag=True, help="Let the replay interpreter visit every configuration of the procedures too, on the literal TLB (slow).")
@click.option("-j", "--jobs", type=int, default=os.cpu_count() or 1, show_default=True, help="Models checked at a time.")
@click.option("--certificates", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write a certificate for each proof, for 'tlbcheck certify' and anybody's solver.")
@click.option("--invariant", is_flag=True, help="Tell in words what the proofs rest on.")
@click.option("--max-memory", type=int, metavar="MIB", default=8192, show_default=True, help="Memory for a search, and for a solver.")
@click.option("--max-states", type=int, metavar="N", help="Stop an engine that enumerates states after so many, with verdict unknown.")
@click.option("--symmetry/--no-symmetry", default=True, show_default=True, help="In large searches keep one of the states that differ only in names (CPUs, pages, tags) that no rule tells apart.")
@_MODELS
@_OUTPUTS
@_FULL
@_ENGINE
@_TREE
@_code_options
def verify(
    reading: Reading,
    own: Path | None,
    names: tuple[str, ...],
    property_names: tuple[str, ...],
    every_case: bool,
    expect: bool,
    as_json: bool,
    depth: int | None,
    processor: str | None,
    timeout: float,
    recheck: bool,
    jobs: int,
    certificates: Path | None,
    invariant: bool,
    max_memory: int,
    max_states: int | None,
    symmetry: bool,
    outputs: tuple[Path, ...],
    full: bool,
    engines: tuple[str, ...],
) -> None:
    """Check models (default: all of the library) and tell the story of each violation.

    MODEL is a name from 'tlbcheck list', NAME@VARIANT, a file or folder of models, or a C file
    with the function that switches page tables.
    """
    from tlbcheck.library import find_models, find_properties, is_code, models
    from tlbcheck.report.outputs import check
    from tlbcheck.report.plain import print_model, print_proofs, print_total
    from tlbcheck.session import Job, check_all, each_once, unusable

    _read_as_c(reading, names)
    _look_in(own, foreign=any(map(is_code, names)))
    check(outputs, "verify")
    if property_names:
        find_properties(property_names)
    broken: list[InputError] = []
    chosen = [m for n in names for m in find_models(n, reading, broken)] if names else list(models(broken=broken).values())
    if expect:
        chosen = [x for m in chosen for x in (m, *(m.variant(v) for v in m.variants))]
    chosen = each_once(chosen)
    at_a_time = max(1, min(jobs, len(chosen)))
    limits = Limits(
        seconds=timeout,
        memory=max_memory << 20,
        states=max_states,
        threads=max(1, (os.cpu_count() or 1) // at_a_time),
        symmetry=symmetry,
        **({"confirming": BRIEFLY} if expect else {}),
    )
    job = Job(
        property_names,
        limits,
        engines or ENGINES,
        depth,
        processor,
        every_case,
        cases=not expect,
        recheck=recheck,
        watched=True,
        drawn=as_json or bool(outputs),
        certificates=certificates,
    )
    judged: list[ModelResult] = []
    for m in (*map(unusable, broken), *check_all(chosen, job, jobs)):
        judged.append(m)
        if m.failure is not None:
            click.echo(visible(f"tlbcheck: {m.failure.message}"), err=True)
        elif not as_json:
            print_model(m, expect, every_case, full, several=len(chosen) > 1)
            print_proofs(m, invariant)
    run = RunResult(tuple(judged), expect)
    if not as_json and len(chosen) > 1:
        print_total(run)
        if sys.stdout.isatty() and not full:
            click.echo("More: tlbcheck verify MODEL for the story of one, --full for all. A page: -o report.html")
    if as_json or outputs:
        from tlbcheck.report.schema import run_json

        _write(run_json(run), outputs, as_json)
    raise SystemExit(run.status)


def _write(document: dict[str, Any], outputs: Sequence[Path], as_json: bool) -> None:
    """The JSON on standard output if asked for, and each report."""
    from tlbcheck.report.outputs import to_json, write

    if as_json:
        click.echo(to_json(document), nl=False)
    for said in write(document, outputs):
        click.echo(visible(said), err=True)


@cli.command("matrix", epilog="Example: tlbcheck matrix xen/pcid-v5")
@click.argument("name", metavar="MODEL")
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON result on standard output.")
@_MODELS
@_OUTPUTS
@_TREE
@_code_options
def matrix_command(reading: Reading, own: Path | None, name: str, as_json: bool, outputs: tuple[Path, ...]) -> None:
    """Every pair of contexts: the steps that the switch executes, and its verdict.

    Contexts that the model cannot reach have no row. Exit status 1 if a row is not clean.
    """
    from tlbcheck.library import find_model, is_code
    from tlbcheck.matrix import matrix_json
    from tlbcheck.report.outputs import check

    _read_as_c(reading, [name])
    _look_in(own, foreign=is_code(name))
    check(outputs, "matrix")
    made = matrix_json(find_model(name, reading))
    if not as_json:
        click.echo(f"{'old':<8}{'new':<8}{'other CR4':<11}{'verdict':<9}{'steps':<40}detail")
        for r in made["rows"]:
            click.echo(f"{r['old']:<8}{r['new']:<8}{r['other_cr4']:<11}{r['verdict']:<9}{' '.join(r['steps']):<40}{r['detail']}".rstrip())
        if made["note"]:
            click.echo(made["note"])
    _write(made, outputs, as_json)
    raise SystemExit(Status.VIOLATED if any(r["verdict"] != "clean" for r in made["rows"]) else Status.HOLDS)


@cli.command(epilog="Example: tlbcheck review patch.eml, or: b4 am -o - ID | tlbcheck review -")
@click.argument("mail", metavar="MAIL_OR_DIFF", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--tree", type=click.Path(path_type=Path), help="The project's sources from before the patch.")
@click.option("--rev", default="", metavar="COMMIT", help="Of a repository in --tree, the commit to put the patch onto.")
@click.option("--format", "shape", type=click.Choice(["text", "mail"]), default="text", show_default=True, help="'mail': a reply of 72 columns, ready to send.")
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON result on standard output.")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds for a solver.")
@_MODELS
@_OUTPUTS
@_ENGINE
@_code_options
def review(reading: Reading, own: Path | None, mail: Path, tree: Path | None, rev: str, shape: str, as_json: bool, timeout: float, outputs: tuple[Path, ...], engines: tuple[str, ...]) -> None:
    """Check the function that a patch changes, before and after it.

    MAIL_OR_DIFF is a diff, a mail with a patch, a mailbox, or a reply that quotes the patch; '-' is
    standard input. Each patch of it is judged by itself, on those before it in its series, and each
    file that defines the function. Without a tree, functions are rebuilt from the hunks, and what the
    mail does not show is said. Exit status 1 if something is violated after one of the patches, 2 if
    one cannot be judged.
    """
    from tlbcheck.engines.run import check
    from tlbcheck.lang.source import read_text, text_in
    from tlbcheck.library import find_properties
    from tlbcheck.patch.tree import Tree
    from tlbcheck.report.judge import each
    from tlbcheck.report.outputs import check as check_outputs
    from tlbcheck.report.review import mail as as_mail
    from tlbcheck.report.review import render, results_of, reviews_json
    from tlbcheck.review import STDIN
    from tlbcheck.review import review as review_patch

    _look_in(own, foreign=True)
    check_outputs(outputs, "review")
    if rev and tree is None:
        raise InputError("--rev needs the repository that has the commit", hint="give it as --tree DIR")
    if engines and "explicit" not in engines:
        raise InputError("a review needs the explicit engine: it alone finds every case that a fault has", hint="add --engine explicit")
    text, file = (text_in(sys.stdin.buffer, STDIN), STDIN) if str(mail) == "-" else (read_text(mail), str(mail))

    def checked(model: Model) -> ModelEvidence:
        return check(model, find_properties(None, model), engines=engines or ENGINES, limits=Limits(seconds=timeout, threads=os.cpu_count() or 1))

    found = review_patch(text, file, reading, checked, Tree(tree, rev) if tree else None)
    made = reviews_json(found, text)
    if not as_json:
        click.echo(visible(as_mail(made) if shape == "mail" else render(made)))
    _write(made, outputs, as_json)
    # A function that cannot be seen after the patch is undecided, however clean it was before.
    sides = [results_of(one, "after") for one in each(made)]
    statuses = [s for after in sides for s in ([Status.UNDECIDED] if after is None else [r.status() for r in after])]
    raise SystemExit(worst([*statuses, *(Status.USAGE for p in made["passed"] if p["refused"])]))


@cli.command("list", epilog="Example: tlbcheck list --json")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON on standard output.")
@_MODELS
@_OUTPUTS
def list_command(own: Path | None, as_json: bool, outputs: tuple[Path, ...]) -> None:
    """The models with their variants, and the properties; as a page with -o library.html."""
    from tlbcheck.library import models, properties
    from tlbcheck.report.outputs import check

    _look_in(own, foreign=False)
    check(outputs, "list")
    broken: list[InputError] = []
    found, known = models(broken=broken), properties(broken=broken)
    for error in broken:
        click.echo(visible(f"tlbcheck: not listed: {error}"), err=True)
    if as_json or outputs:
        from tlbcheck.report.catalogue import catalogue

        _write(catalogue(found.values(), known.values(), [str(error) for error in broken]), outputs, as_json)
    if as_json:
        return
    for m in found.values():
        click.echo(f"{m.name:<22} {m.title}  [{m.source}]")
        for n, v in m.variants.items():
            click.echo(f"  @{n:<28} {v.doc}")
    click.echo("")
    for p in known.values():
        click.echo(f"{p.name:<22} {p.title}")


@cli.command("graph", epilog="Example: tlbcheck graph xen/before-pcid -o before.graphml")
@click.argument("name", metavar="MODEL")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="GraphML (.graphml), DOT (.dot), node-link JSON (.json), or a drawing (.svg).")
@_MODELS
def graph_command(own: Path | None, name: str, output: Path) -> None:
    """Write the graph of all reachable control states, with labelled steps.

    A drawing (.svg) shows every state of a small graph, and positions in procedures of a larger
    one; the shortest violation is highlighted.
    """
    from tlbcheck.engines.explicit import Tracked
    from tlbcheck.graph import FORMATS, draw, state_graph, write
    from tlbcheck.library import find_model, find_properties, is_code
    from tlbcheck.report import progress
    from tlbcheck.system.lower import lower

    _look_in(own, foreign=is_code(name))
    if output.suffix not in FORMATS:
        raise InputError(f"no graph format is called '{output.suffix}'", hint=f"use one of {', '.join(FORMATS)}")
    model = find_model(name)
    search = Tracked(lower(model, find_properties(None, model)), progress=progress.tracked(name))
    search.run()
    progress.clear()
    graph = state_graph(search)
    if output.suffix == ".svg":
        draw(search, output)
    else:
        write(graph, output)
    click.echo(f"{output}: {graph.number_of_nodes():,} control states, {graph.number_of_edges():,} steps")


@cli.command("certify", epilog="Example: tlbcheck certify proofs/xen-flush-once.missing-flush.smt2 --model xen/flush-once")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", "name", metavar="MODEL", help="Check too that the certificate is of this model and its property.")
@click.option("--processor", metavar="common|intel|amd", help="The processor that the proof is to be for (default: the model's own).")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds for each solver.")
@_MODELS
@_TREE
@_code_options
def certify_command(reading: Reading, own: Path | None, file: Path, name: str | None, processor: str | None, timeout: float) -> None:
    """Check a certificate with z3 and, where installed, with cvc5 and Bitwuzla.

    Exit status 0 if it is accepted as one of the model and property that it names, 2 if it is refused, 3 if no
    solver decides it, if the property is about nothing that happens in the model, if what that relies on is not
    shown, or if it was not held against the model: --model does that.
    """
    from tlbcheck.certificate.check import judge
    from tlbcheck.certificate.file import RELIES
    from tlbcheck.library import find_model, is_code

    known_processor(processor)
    _read_as_c(reading, [name])
    _look_in(own, foreign=name is not None and is_code(name))
    model = find_model(name, reading) if name is not None else None
    if model is not None:
        model = replace(model, profile=processor or model.profile)
    judged = judge(file, model, limits=Limits(seconds=timeout))
    about = judged.certificate.about
    for a in judged.answers:
        click.echo(f"  {a.solver:<9} {visible(a.reason) if a.reason else 'accepts' if a.solver in judged.accepted else 'does not decide it'} ({a.seconds:.1f} s)")
    what, named = f"{about.get('tlbcheck-model')}, {about.get('tlbcheck-property')}", f"'{about.get('tlbcheck-model')}' and '{about.get('tlbcheck-property')}'"
    if not judged.accepted:
        click.echo(f"{file}: undecided")
        raise SystemExit(Status.UNDECIDED)
    relies = f"; relies on: {about[RELIES]}" if RELIES in about else ""
    if judged.worthless:
        click.echo(visible(f"{file}: undecided: accepted by {' and '.join(judged.accepted)}, but {judged.worthless}"))
        raise SystemExit(Status.UNDECIDED)
    if judged.of_model:
        click.echo(visible(f"{file}: {what} is proved{relies}; scope: {about.get('tlbcheck-scope')} (accepted by {' and '.join(judged.accepted)})"))
    else:
        click.echo(visible(f"{file}: accepted by {' and '.join(judged.accepted)}, for the system in the file; that this is of {named} was not checked, --model does that{relies}"))
    raise SystemExit(Status.HOLDS if judged.of_model else Status.UNDECIDED)


@cli.command("export", epilog="Example: tlbcheck export xen/flush-once -p missing-flush -o flush-once.aag")
@click.argument("name", metavar="MODEL")
@click.option("-p", "--property", "property_name", required=True, help="The property that is exported.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Horn clauses (.smt2) or AIGER (.aag, .aig).")
@_TREE
@_MODELS
@_code_options
def export_command(reading: Reading, own: Path | None, name: str, property_name: str, output: Path) -> None:
    """Write the transition system and a property for other people's engines."""
    from tlbcheck.export import write
    from tlbcheck.library import find_model, find_properties, is_code

    _read_as_c(reading, [name])
    _look_in(own, foreign=is_code(name))
    model = find_model(name, reading)
    click.echo(write(model, find_properties([property_name], model)[0], output))


@cli.command("replay", epilog="Example: tlbcheck replay v5.json, after: tlbcheck verify xen/pcid-v5 --json > v5.json")
@click.argument("file", type=click.Path(path_type=Path))
@_MODELS
@_OUTPUTS
def replay_command(own: Path | None, file: Path, outputs: tuple[Path, ...]) -> None:
    """Run the violations of a JSON result again, by code that no engine shares; make reports of it.

    FILE is what --json of verify, review, matrix or list printed; only the first two have runs. All else that it says is
    found again too, by the engines that enumerate, and has to be the same.

    Exit status 1 if a violation is confirmed, 0 if the file has none, 2 if it is broken or edited.
    """
    from tlbcheck.report.outputs import check
    from tlbcheck.report.reread import load, of_code, replay_document, reports
    from tlbcheck.report.story import render

    document = load(file)
    _look_in(own, foreign=of_code(document))
    check(outputs, document["command"])
    replayed = replay_document(document, file)
    confirmed = replayed.confirmed
    for i, (model, name, violation) in enumerate(confirmed):
        click.echo(("\n" if i else "") + visible(render(model, name, violation)))
    without = "; what is violated was found again" if replayed.violated else ""
    click.echo(f"\n{len(confirmed)} violation(s) confirmed" if confirmed else f"no run in this file to replay{without}")
    if replayed.believed:
        click.echo(f"all else in the file was found again, but for what it alone can tell: {replayed.believed}")
    for said in reports(document, file, outputs):
        click.echo(visible(said), err=True)
    raise SystemExit(Status.VIOLATED if replayed.violated else Status.HOLDS)


def main() -> None:
    """Entry point; nothing escapes as a Python traceback, and what cannot be written is never status 1."""
    try:
        try:
            _run()
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
    except (BrokenPipeError, _ReaderGone):
        _end_as_by_sigpipe()
    except OSError as error:
        _silence(sys.stdout)
        what = error.filename or "standard output cannot be written"
        with suppress(OSError):
            _fail(Status.INTERNAL, f"{what}: {error.strerror or error}")
        raise SystemExit(Status.INTERNAL) from None


def _run() -> None:
    try:
        raise SystemExit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
        _fail(Status.UNDECIDED, "interrupted")
    except RecursionError:
        _fail(Status.USAGE, "an expression or procedure of the model is nested too deeply; simplify it")
    except MemoryError:
        _fail(Status.INTERNAL, "out of memory; --max-memory bounds a search")
    except (OSError, SystemExit):
        raise
    except Exception as error:
        _fail(Status.INTERNAL, f"internal error: {unforeseen(error)}")


def _end_as_by_sigpipe() -> NoReturn:
    """End like other Unix commands whose reader has gone: by the signal, which a shell shows as 141."""
    _silence(sys.stdout, sys.stderr)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    raise SystemExit(128 + signal.SIGPIPE)


def _silence(*streams: TextIO | None) -> None:
    """Nothing more can be written there: what is still buffered goes nowhere when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        if stream is not None:
            with suppress(OSError, ValueError):
                os.dup2(nowhere, stream.fileno())


if __name__ == "__main__":
    main()
