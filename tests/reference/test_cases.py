"""The reference interpreter answers the small models of shared/cases/models as they are to be answered."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tlbcheck.errors import InputError
from tlbcheck.lang.model import Model
from tlbcheck.library import find_properties, models_in, properties_in
from tlbcheck.reference.search import Search

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "models"
EXPECTED: dict[str, dict[str, Any]] = (
    tomllib.loads((CASES / "expected.toml").read_text(encoding="utf-8")) if CASES.is_dir() else {}
)
CONTRACTS = "case/contract-narrower-world never-bad"
"""The promise is judged by ``tlbcheck.reliance``, whichever engine searched."""


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    if not CASES.is_dir():
        pytest.skip("../shared/cases/models is not there")
    return models_in(CASES / "models")


def answer(model: Model, name: str) -> tuple[str, int | None]:
    known = properties_in(CASES / "properties")
    properties = [known[name]] if name in known else find_properties((name,), model)
    try:
        found = Search(model, properties).run(max_states=20_000)
    except InputError:
        return "refused", None
    if name in found.errors:
        return "refused", None
    if found.shortest(name) is not None:
        return "violated", found.shortest(name)
    return ("proved" if name in found.triggered else "vacuous") if found.complete else "unknown", None


@pytest.mark.parametrize("case", [c for c in EXPECTED if c != CONTRACTS])
def test_case_is_answered_as_expected(case: str, models: dict[str, Model]) -> None:
    table = EXPECTED[case]
    verdict, depth = answer(models[case.split()[0]], case.split()[1])
    wanted = {"unknown-is-fine": {"unknown", "vacuous"}}.get(table["answer"], {table["answer"]}) | set(table.get("also", ()))
    assert verdict in wanted
    if verdict == "violated" and "depth" in table:
        assert depth == table["depth"]


def test_a_limit_is_told_and_decides_nothing(models: dict[str, Model]) -> None:
    model = models["case/guarded-increment-right"]
    found = Search(model, [properties_in(CASES / "properties")["never-bad"]]).run(max_states=3)
    assert (found.complete, found.bad, found.reason) == (False, {}, "stopped at the limit of 3 states")
