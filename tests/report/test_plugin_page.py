"""``--tlbcheck-html DIR``: a failing assertion about a model leaves its page."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
LOAD = () if any(e.name == "tlbcheck" for e in importlib.metadata.entry_points(group="pytest11")) else ("-p", "tlbcheck.pytest_plugin")
TESTS = """
import pytest
from tlbcheck.testing import assert_holds, assert_violated

def test_it():
    assert_holds("mine/remap@forgotten", "fresh-use")

def test_fine():
    assert_violated("mine/remap@forgotten", "fresh-use")

@pytest.mark.tlbcheck(model="mine/remap@forgotten", properties=["fresh-use"])
def test_marked(): ...
"""


def test_each_failing_assertion_leaves_a_page(pytester: pytest.Pytester) -> None:
    for name in ("models", "properties"):
        (pytester.path / name).symlink_to(EXAMPLE / name)
    pytester.makepyfile(test_it=TESTS)
    found = pytester.runpytest_inprocess(*LOAD, "-p", "no:cacheprovider", "--tlbcheck-html", "out/pages")
    found.assert_outcomes(failed=2, passed=1)
    found.stdout.fnmatch_lines(["page: out/pages/test_it.py-test_it-*.html"])
    pages = sorted((pytester.path / "out" / "pages").iterdir())
    assert [p.name.rpartition("-")[0] for p in pages] == ["test_it.py-test_it", "test_it.py-test_marked-mine-remap-forgotten-fresh-use-"]
    for page in pages:
        assert 'id="step-2"' in page.read_text()


def test_without_the_option_there_is_no_page(pytester: pytest.Pytester) -> None:
    for name in ("models", "properties"):
        (pytester.path / name).symlink_to(EXAMPLE / name)
    pytester.makepyfile(test_it=TESTS)
    before = {p.name for p in pytester.path.iterdir()}
    pytester.runpytest_inprocess(*LOAD, "-p", "no:cacheprovider").assert_outcomes(failed=2, passed=1)
    assert not {p.name for p in pytester.path.iterdir()} - before - {"__pycache__"}
