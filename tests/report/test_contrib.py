"""The CI files and the README's section on reports say only what the command line knows."""

from __future__ import annotations

import importlib.resources
import itertools
import json
import re
from pathlib import Path

import click
import pytest
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from tlbcheck.cli import cli
from tlbcheck.report.outputs import ENDINGS, ending

ROOT = Path(__file__).resolve().parents[2]
FILES = ("contrib/github-actions.yml", "contrib/pre-commit-config.yaml", "README.md")


def commands(text: str) -> list[list[str]]:
    """Every command line of tlbcheck in a text, folded YAML lines joined."""
    joined = re.sub(r"\n +(?=-o )", " ", text)
    return [m.split() for m in re.findall(r"tlbcheck ((?:verify|review|replay|matrix|graph) [^`\n;]*)", joined)]


@pytest.mark.parametrize("file", FILES)
def test_options_exist_and_endings_are_known(file: str) -> None:
    found = commands((ROOT / file).read_text())
    assert found
    for words in found:
        command = cli.commands[words[0]]
        known = {o for p in command.params if isinstance(p, click.Option) for o in (*p.opts, *p.secondary_opts)}
        assert {w for w in words if re.fullmatch(r"--?[a-z][a-z-]*", w)} <= known, words
        for flag, path in itertools.pairwise(words):
            if flag == "-o" and words[0] != "graph" and "." in path:
                assert ending(Path(path.strip("'\"")))


def test_the_workflow_is_one_by_the_published_schema() -> None:
    """SchemaStore's schema of GitHub workflows, as the package check-jsonschema brings it."""
    schema = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "github-workflows.json"
    workflow = YAML(typ="safe").load((ROOT / "contrib" / "github-actions.yml").read_text())
    assert [e.message for e in Draft7Validator(json.loads(schema.read_text())).iter_errors(workflow)] == []
    assert set(workflow["jobs"]) == {"verify", "review"}


def test_the_readme_has_every_ending() -> None:
    text = (ROOT / "README.md").read_text()
    assert [e for e in ENDINGS if f"| `{e}` |" not in text] == []
    assert [f for f in re.findall(r"\]\(((?:contrib|docs)/[^)]*)\)", text) if not (ROOT / f).is_file()] == []
