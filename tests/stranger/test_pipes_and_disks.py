"""Output that goes nowhere: a closed pipe, a full disk, a folder that cannot be written. Never status 1, never a file lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import TLBCHECK
from quick import sampled

from tlbcheck import files
from tlbcheck.engines.child import Child, Unanswered
from tlbcheck.errors import InputError, OutputError

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
PROVED = ("verify", "linux/deferred-flush", "-p", "no-fault", "--engine", "explicit")


@pytest.mark.parametrize(("words",), sampled([(w,) for w in [("list",), ("--help",), PROVED, ("verify", "--help"), (*PROVED, "--json"), ("matrix", "xen/before-pcid")]], keep=3), ids=" ".join)
def test_a_reader_that_goes_away_ends_the_command_as_by_sigpipe(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*TLBCHECK, *words], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=300)
    os.close(writing)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


@needs_full
@pytest.mark.parametrize(("words",), sampled([(w,) for w in [("--help",), PROVED, ("list",), (*PROVED, "--json")]], keep=2), ids=" ".join)
def test_standard_output_on_a_full_disk_is_one_line_and_status_4(words: tuple[str, ...]) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run([*TLBCHECK, *words], stdout=full, stderr=subprocess.PIPE, check=False, timeout=300, text=True)
    assert (done.returncode, done.stderr) == (4, "tlbcheck: standard output cannot be written: No space left on device\n")


@needs_full
def test_an_error_keeps_a_status_of_its_own_where_nothing_can_be_said_of_it() -> None:
    with FULL.open("wb") as full:
        done = subprocess.run([*TLBCHECK, "verify", "no/such"], stdout=full, stderr=full, check=False, timeout=300)
    assert done.returncode == 4


@needs_full
def test_a_report_on_a_full_disk_is_status_4_and_the_other_reports_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.md").symlink_to(FULL)
    done = subprocess.run([*TLBCHECK, *PROVED, "-o", "a.md", "-o", "b.md"], cwd=tmp_path, capture_output=True, check=False, timeout=300, text=True)
    assert (done.returncode, done.stderr) == (4, "tlbcheck: cannot write a.md: No space left on device; name a file that can be written\n")
    assert "deferred-flush" in (tmp_path / "b.md").read_text()


def test_a_file_is_kept_when_writing_it_again_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.html"
    file.write_text("kept")

    def fails(path: Path, content: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(content[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(OutputError, match="No space left"):
        files.write_text(file, "new text")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("report.html", "kept")]


def test_a_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "report.html", tmp_path / "link.html"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    files.write_text(link, "new")
    assert link.is_symlink()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o640)


def test_a_fifo_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "report.json"
    os.mkfifo(fifo)
    reader = subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE)
    files.write_text(fifo, "text")
    assert reader.communicate(timeout=20)[0] == b"text"
    assert fifo.is_fifo()


def test_a_folder_that_does_not_exist_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        files.write_text(tmp_path / "no" / "report.html", "text")
    assert not isinstance(caught.value, OutputError)


def test_a_solver_that_is_killed_answers_nothing() -> None:
    child = Child(lambda: time.sleep(60), seconds=60, memory=8 << 30)
    os.kill(child.process.pid or 0, signal.SIGKILL)
    with pytest.raises(Unanswered, match="died"):
        child.result()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_ended_leaves_no_process_behind(how: signal.Signals) -> None:
    work = "from tlbcheck.engines.child import Child; import time; c = Child(lambda: time.sleep(60), seconds=60, memory=8 << 30); print(c.process.pid, flush=True); c.result()"
    parent = subprocess.Popen([TLBCHECK[0], "-c", work], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.5)  # until the child has asked to end with its parent
    parent.send_signal(how)
    assert parent.wait(timeout=20) == -how
    parent.stdout.close()
    for _ in range(50):
        if not _alive(child):
            break
        time.sleep(0.1)
    assert not _alive(child)
