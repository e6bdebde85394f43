"""C, mails and repositories may come from a stranger: nothing of them runs, wherever they put it."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import zlib
from pathlib import Path

import pytest
from command import TLBCHECK

from tlbcheck.errors import InputError
from tlbcheck.patch import tree
from tlbcheck.patch.tree import Tree

NAME = "xen/arch/x86/flushtlb.c"
SWITCH = """\
void switch_cr3_cr4(unsigned long cr3, unsigned long cr4)
{
    unsigned long flags;

    local_irq_save(flags);
    pre_flush();
    write_cr3(cr3);
    post_flush(0);
    local_irq_restore(flags);
}
"""
PATCH = f"--- a/{NAME}\n+++ b/{NAME}\n@@ -1,10 +1,11 @@\n" + "".join(
    f"+    /* Now. */\n {line}\n" if "write_cr3" in line else f" {line}\n" for line in SWITCH.splitlines()
)


def git(tree: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(tree), *words], check=True, capture_output=True)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TLBCHECK, *words], cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that exists as soon as something of the stranger's has run."""
    return tmp_path / "ran"


@pytest.fixture
def hostile(tmp_path: Path, marker: Path) -> Path:
    """A folder with the C file, the patch, and Python and C that leave a mark when they are run."""
    folder = tmp_path / "hostile"
    code = f"open({str(marker)!r}, 'w').close()\n"
    for name in ("models/evil.py", "models/xen/evil.py", "models/__init__.py", "properties/evil.py", "z3.py", "json.py", "conftest.py", "sitecustomize.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
    (folder / NAME).parent.mkdir(parents=True)
    (folder / NAME).write_text(SWITCH)
    (folder / "patch.diff").write_text(PATCH)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("review", "patch.diff", "--engine", "explicit"), marks=pytest.mark.long),
        ("review", "patch.diff", "--engine", "explicit", "-U", "CONFIG_PV", "--tree", "."),
        ("verify", NAME, "-p", "no-fault", "--engine", "explicit"),
        ("verify", NAME, "xen/before-pcid", "-p", "no-fault", "--engine", "explicit"),
        ("matrix", NAME),
        ("export", NAME, "-p", "no-fault", "-o", "out.smt2"),
        ("certify", "patch.diff", "--model", NAME),
    ],
    ids=" ".join,
)
def test_python_of_the_current_folder_does_not_run_where_c_or_a_mail_is_read(hostile: Path, marker: Path, words: tuple[str, ...]) -> None:
    done = run(hostile, *words)
    assert not marker.exists()
    assert done.returncode in ((2,) if words[0] == "certify" else (0, 1)), done.stderr


def test_models_are_loaded_where_they_are_asked_for(hostile: Path, marker: Path) -> None:
    done = run(hostile, "matrix", NAME, "--models", ".")
    assert marker.exists(), done.stderr


def test_a_folder_without_models_is_refused(hostile: Path) -> None:
    done = run(hostile, "matrix", NAME, "--models", "xen")
    assert (done.returncode, done.stderr) == (2, "tlbcheck: xen: has no folder models and none called properties; give the folder that holds them: --models DIR\n")


@pytest.mark.long
def test_a_result_of_c_is_replayed_without_running_anything(hostile: Path, marker: Path) -> None:
    done = run(hostile, "verify", NAME, "--engine", "explicit", "-o", "result.json")
    assert done.returncode == 1
    assert run(hostile, "replay", "result.json").returncode == 1
    assert not marker.exists()


def test_a_result_names_a_model_and_never_a_file(tmp_path: Path, marker: Path) -> None:
    """Somebody else's result could name a Python file that lies beside it."""
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    done = run(tmp_path, "verify", "linux/deferred-flush@no-pending-mark", "--engine", "explicit", "--json")
    document = json.loads(done.stdout)
    for entry in document["results"]:
        entry["model"] = "evil.py"
    (tmp_path / "result.json").write_text(json.dumps(document))
    assert run(tmp_path, "replay", "result.json").returncode == 2
    assert not marker.exists()


# -- repositories


CONFIGURED = {
    "promisor": '[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = origin\n'
    '[remote "origin"]\n\turl = ext::sh -c "touch MARKER"\n\tpromisor = true\n[protocol "ext"]\n\tallow = always\n',
    "fsmonitor": "[core]\n\tfsmonitor = touch MARKER\n",
    "hooks": "[core]\n\thooksPath = evil-hooks\n",
    "textconv": '[diff "c"]\n\ttextconv = touch MARKER\n\tcommand = touch MARKER\n',
    "filters": '[filter "evil"]\n\tsmudge = touch MARKER\n\tclean = touch MARKER\n\tprocess = touch MARKER\n\trequired = true\n',
    "pager": "[core]\n\tpager = touch MARKER\n\teditor = touch MARKER\n\tsshCommand = touch MARKER\n[pager]\n\tcat-file = touch MARKER\n[alias]\n\tcat-file = !touch MARKER\n",
    "alternates": "[core]\n\talternateRefsCommand = touch MARKER\n",
    "include": "[include]\n\tpath = evil.config\n",
    "worktree": "[core]\n\tworktree = /\n\tbare = maybe\n\trepositoryformatversion = 99\n",
    "broken": "[core\n\tthis is = no configuration\n",
}


@pytest.fixture
def repository(hostile: Path) -> Path:
    """The hostile folder as a repository: attributes and a submodule too, a second commit, and a tag."""
    (hostile / ".gitattributes").write_text("*.c diff=c filter=evil\n")
    (hostile / ".gitmodules").write_text('[submodule "xen"]\n\tpath = xen\n\turl = ext::sh -c "touch MARKER"\n\tupdate = !touch MARKER\n')
    git(hostile, "init", "--quiet", "-b", "main")
    git(hostile, "config", "user.name", "Ann")
    git(hostile, "config", "user.email", "ann@example.org")
    git(hostile, "add", ".")
    git(hostile, "commit", "--quiet", "-m", "first")
    git(hostile, "tag", "-a", "v1", "-m", "one")
    (hostile / NAME).write_text(SWITCH.replace("write_cr3", "later_write_cr3"))
    git(hostile, "commit", "--quiet", "-a", "-m", "second")
    return hostile


@pytest.mark.parametrize("kind", CONFIGURED)
def test_what_a_repository_is_configured_to_run_does_not_run(repository: Path, marker: Path, kind: str) -> None:
    git_folder = repository / ".git"
    (git_folder / "config").write_text(CONFIGURED[kind].replace("MARKER", str(marker)))
    (repository / "evil.config").write_text(CONFIGURED["fsmonitor"].replace("MARKER", str(marker)))
    for folder in (git_folder / "hooks", repository / "evil-hooks"):
        folder.mkdir(exist_ok=True)
        for hook in ("post-checkout", "reference-transaction", "fsmonitor-watchman", "post-index-change"):
            (folder / hook).write_text(f"#!/bin/sh\ntouch {marker}\n")
            (folder / hook).chmod(0o755)
    for revision in ("v1", "HEAD~1", "main^"):
        read = Tree(repository, revision).read(NAME)
        assert read is not None
        assert read.text == SWITCH
    assert Tree(repository, "HEAD").read("no/such.c") is None
    assert not marker.exists()


def test_an_object_that_a_partial_clone_lacks_is_not_fetched(repository: Path, marker: Path) -> None:
    (repository / ".git" / "config").write_text(CONFIGURED["promisor"].replace("MARKER", str(marker)))
    found = subprocess.run(["git", "-C", str(repository), "rev-parse", f"v1:{NAME}"], capture_output=True, text=True, check=True, env={**os.environ, "GIT_CONFIG_COUNT": "0"}).stdout.strip()
    (repository / ".git" / "objects" / found[:2] / found[2:]).unlink()
    with pytest.raises(InputError, match=f"lacks the object {found[:12]}"):
        Tree(repository, "v1").read(NAME)
    done = run(repository, "review", "patch.diff", "--tree", ".", "--rev", "v1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not marker.exists()


def test_a_repository_of_another_owner_is_read(repository: Path) -> None:
    """git refuses it (safe.directory), since it would run what it is configured to; here nothing is."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to somebody else")
    for path in (repository, *repository.rglob("*")):
        os.lchown(path, 65534, 65534)
    assert Tree(repository, "v1").read(NAME) is not None


def test_objects_elsewhere_and_linked_worktrees_are_read(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "--quiet", str(tmp_path / "linked"), "v1")
    assert Tree(tmp_path / "linked", "HEAD").read(NAME) is not None
    git(tmp_path, "clone", "--quiet", "--shared", str(repository), str(tmp_path / "shared"))
    assert Tree(tmp_path / "shared", "v1").read(NAME) is not None
    git(repository, "gc", "--quiet")
    assert Tree(repository / "xen", "main~1").read(NAME) is not None


@pytest.mark.parametrize("revision", ["nope", "--upload-pack=x", "HEAD:xen", ":0:xen", "HEAD@{0}", "v1^5", "HEAD~99", "", "^", "~", "HEAD^{tree}"])
def test_what_is_no_commit_is_refused_in_one_line(repository: Path, revision: str) -> None:
    if revision:
        with pytest.raises(InputError, match="has no commit"):
            Tree(repository, revision).check()


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, b"x\x9c" + b"\xff" * 50])
def test_damaged_objects_are_refused_in_one_line(repository: Path, damage: bytes) -> None:
    for path in (repository / ".git" / "objects").glob("??/*"):
        path.chmod(0o644)
        path.write_bytes(damage)
    with pytest.raises(InputError):
        Tree(repository, "v1").read(NAME)


def test_links_in_a_commit_are_not_followed(repository: Path) -> None:
    (repository / "link.c").symlink_to("/etc/hostname")
    git(repository, "add", "link.c")
    git(repository, "commit", "--quiet", "-m", "link")
    assert Tree(repository, "HEAD").read("link.c") is None
    assert Tree(repository).read("link.c") is None


# -- a few bytes that stand for gigabytes


def _loose(repository: Path, kind: bytes, chunk: bytes, times: int) -> str:
    """A loose object of so many chunks; its name."""
    header = b"%s %d\0" % (kind, len(chunk) * times)
    name, packer, packed = hashlib.sha1(header), zlib.compressobj(), []
    packed.append(packer.compress(header))
    for _ in range(times):
        name.update(chunk)
        packed.append(packer.compress(chunk))
    packed.append(packer.flush())
    digest = name.hexdigest()
    file = repository / ".git" / "objects" / digest[:2] / digest[2:]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"".join(packed))
    return digest


def _commit(repository: Path, tree: str) -> str:
    text = f"tree {tree}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nx\n".encode()
    return _loose(repository, b"commit", text, 1)


def _entry(mode: str, name: str, digest: str) -> bytes:
    return f"{mode} {name}\0".encode() + bytes.fromhex(digest)


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_an_object_that_inflates_hugely_is_refused_in_one_line(repository: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """200 MiB of nothing, in 200 KiB: with a bound of 100 MiB, neither the process nor the system runs out of memory."""
    monkeypatch.setattr(tree, "_INFLATED", 100 << 20)
    blob = _loose(repository, b"blob", bytes(1 << 20), 200)
    top = _loose(repository, b"tree", _entry("100644", "bomb.c", blob), 1)
    commit = _commit(repository, top)
    if packed:
        git(repository, "branch", "bomb", commit)
        git(repository, "repack", "-a", "-d", "-q")
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(InputError, match="has an object that takes more than 100 MiB to read"):
        Tree(repository, commit).read("bomb.c")
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert Tree(repository, "v1").read(NAME) is not None


def test_trees_that_stand_for_more_files_than_there_are_in_the_world_are_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve trees, each of ten times the next: 10^12 folders, with no file in them or with one."""
    monkeypatch.setattr(tree, "_ENTRIES", 5_000)
    blob = _loose(repository, b"blob", b"int x;\n", 1)
    for inmost in (b"", _entry("100644", "x.h", blob)):
        digest = _loose(repository, b"tree", inmost, 1)
        for _ in range(12):
            digest = _loose(repository, b"tree", b"".join(_entry("40000", f"d{i}", digest) for i in range(10)), 1)
        with pytest.raises(InputError, match="has 5,000 files and folders or more"):
            Tree(repository, _commit(repository, digest)).headers()
