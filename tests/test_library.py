"""What the library and a working directory's own files make of a mistake in one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tlbcheck.cli import cli

EXAMPLE = Path(__file__).resolve().parent / "example"
BROKEN = {
    "a Python error": "import nothing_of_this_name\n",
    "a syntax error": "def f(:\n",
    "a model that cannot be": 'from tlbcheck import Model\n\nmodel = Model(name="mine/wrong", tittle="wrong")\n',
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example, as the working directory."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(*args: str) -> Result:
    return CliRunner().invoke(cli, [*args, "--engine", "explicit"] if args[0] == "verify" else list(args))


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_mistake_in_one_models_file_stops_that_file_alone(mistake: str, project: Path) -> None:
    """Other models of the folder are judged as before; what asks for the file, or may mean it, gets its error."""
    before = ask("verify", "mine/remap@forgotten")
    (project / "models" / "wrong.py").write_text(BROKEN[mistake])
    assert before.exit_code == 1
    after = ask("verify", "mine/remap@forgotten")
    assert (after.exit_code, after.stdout) == (before.exit_code, before.stdout)
    by_path = ask("verify", "models/wrong.py")
    assert by_path.exit_code == 2
    assert by_path.output.startswith("tlbcheck: models/wrong.py:") and by_path.output.count("\n") == 1
    unknown = ask("verify", "mine/wrong")
    assert unknown.exit_code == 2
    assert "wrong.py" in unknown.output, "the model that is asked for may stand in the file that cannot be read"


@pytest.mark.parametrize("mistake", ["a Python error", "a syntax error"])
def test_a_mistake_in_one_properties_file_stops_what_needs_it(mistake: str, project: Path) -> None:
    """A model that names what it is about is judged by that; asking for everything, or for what is not found, gets the error."""
    before = ask("verify", "mine/remap@forgotten")
    (project / "properties" / "wrong.py").write_text(BROKEN[mistake])
    after = ask("verify", "mine/remap@forgotten")
    assert (after.exit_code, after.stdout) == (before.exit_code, before.stdout) and before.exit_code == 1
    missing = ask("verify", "mine/remap", "-p", "other-use")
    assert missing.exit_code == 2 and "wrong.py" in missing.output
    (project / "models" / "anything.py").write_text(
        (project / "models" / "remap.py").read_text().replace("mine/remap", "mine/anything").replace("    about=", "    # about=")
    )
    everything = ask("verify", "mine/anything")
    assert everything.exit_code == 2 and "properties/wrong.py:" in everything.output


def test_the_list_says_which_file_cannot_be_used(project: Path) -> None:
    (project / "models" / "wrong.py").write_text(BROKEN["a syntax error"])
    listed = ask("list")
    assert listed.exit_code == 0 and "mine/remap" in listed.stdout
    assert "wrong.py" in listed.output
