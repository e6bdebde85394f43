"""A machine that gives little: nothing can be written, no compiler, twenty columns, somebody kills what it works with."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from command import TLBCHECK

from tlbcheck.cli import cli
from tlbcheck.engines import build_search

ROOT = Path(__file__).resolve().parents[2]
PROVED = ("verify", "linux/deferred-flush", "-p", "no-fault", "-p", "stale-use", "--engine", "explicit")
SOLVED = ("verify", "xen/before-pcid", "-p", "missing-flush", "--engine", "bmc")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """An installation without the compiled part and without compiled Python: a folder for Python's path."""
    for name, inside in (("tlbcheck", ""), ("models", "tlbcheck"), ("properties", "tlbcheck")):
        shutil.copytree(ROOT / name, tmp_path / "site" / inside / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return tmp_path / "site"


def write_nothing() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_nothing_has_to_be_written_or_compiled(installed: Path, tmp_path: Path) -> None:
    """As in a read-only installation: no byte goes into a file, and no program is there to be called; the verdicts are the same."""
    environment = {"PYTHONPATH": str(installed), "PATH": str(tmp_path), "HOME": str(tmp_path / "none")}
    done = subprocess.run([*TLBCHECK, *PROVED], cwd=tmp_path, env=environment, preexec_fn=write_nothing, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("proved") == 2
    assert not list(installed.rglob("*.pyc")) and not list(installed.rglob("*.so"))


def test_a_report_that_cannot_be_written_is_one_line(installed: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(installed), "PATH": str(tmp_path)}
    words = [*TLBCHECK, "list", "-o", "report.json"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, preexec_fn=write_nothing, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (4, "tlbcheck: cannot write report.json: File too large; name a file that can be written\n")
    assert not (tmp_path / "report.json").exists()


def test_without_a_compiler_nothing_is_built(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installed))
    monkeypatch.setenv("CC", "no-such-compiler")
    assert build_search.build(installed / "tlbcheck" / "engines") is None


@pytest.mark.parametrize("words", [("--help",), ("list",)], ids=" ".join)
def test_twenty_columns_are_enough(words: tuple[str, ...]) -> None:
    """The same words as on a wide screen; a run on a narrow one is in ``tests/report/test_terminal.py``."""
    narrow, wide = (
        subprocess.run([*TLBCHECK, *words], env={**os.environ, "COLUMNS": columns}, capture_output=True, text=True, timeout=300, check=False) for columns in ("20", "200")
    )
    assert (narrow.returncode, narrow.stderr) == (0, "")
    for word in ("tlbcheck", "verify") if words == ("--help",) else ("linux/deferred-flush", "missing-flush"):
        assert word in narrow.stdout and word in wide.stdout


def _children(pid: int) -> list[int]:
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _until_children(parent: subprocess.Popen[str]) -> list[int]:
    while parent.poll() is None:
        if found := _children(parent.pid):
            return found
        time.sleep(0.01)
    return []


@needs_proc
def test_a_command_whose_solvers_are_killed_says_that_it_is_undecided() -> None:
    parent = subprocess.Popen([*TLBCHECK, *SOLVED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killed = 0
    while children := _until_children(parent):
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
                killed += 1
    out, err = parent.communicate(timeout=300)
    assert killed and (parent.returncode, err) == (3, "")
    assert "UNKNOWN" in out and "died" in out


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_command_that_is_ended_is_ended_with_its_solvers(how: signal.Signals) -> None:
    """It ends as by that signal, or says that it was interrupted, which decides nothing; it leaves nothing at work."""
    parent = subprocess.Popen([*TLBCHECK, *SOLVED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = _until_children(parent)
    assert children
    time.sleep(0.2)  # until they have asked to end with their parent
    parent.send_signal(how)
    out, err = parent.communicate(timeout=300)
    if how is signal.SIGINT:  # within a search it is beside the verdict
        assert parent.returncode == 3 and "interrupted" in out + err and "Traceback" not in err
    else:
        assert (parent.returncode, err) == (-how, "")
    until = time.monotonic() + 10
    while any(Path(f"/proc/{c}").exists() and "Z" not in Path(f"/proc/{c}/stat").read_text().rpartition(")")[2].split()[:1] for c in children):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.parametrize("words", [("replay",), ("certify",), ("review",), ("matrix", "no.c", "--profile")], ids=" ".join)
def test_a_file_without_an_end_is_refused_in_one_line(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*words, "/dev/zero"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
