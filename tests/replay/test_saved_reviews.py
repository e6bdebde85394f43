"""What a saved review says besides its runs is made again from the mail: none of it is believed otherwise."""

from __future__ import annotations

import copy
import difflib
import json
from pathlib import Path
from typing import Any

import pytest
from test_review import NAME, QUICKLY, RIGHT, run
from test_saved_results import edited, leaves

from tlbcheck.errors import InputError, Place
from tlbcheck.report.rereview import again, hold_review

Json = dict[str, Any]


def saved(folder: Path, old: str, new: str) -> Json:
    """A review of a mail that puts ``new`` in the place of ``old`` in the switch; the mail stays in ``folder``."""
    before, after = (text.splitlines(keepends=True) for text in (RIGHT, RIGHT.replace(old, new)))
    mail = folder / "patch.eml"
    mail.write_text("From: Ann Author <ann@example.org>\nSubject: [PATCH] tidy\n\n---\n" + "".join(difflib.unified_diff(before, after, f"a/{NAME}", f"b/{NAME}", n=40)))
    result = run("review", str(mail), *QUICKLY, "--json")
    assert result.exit_code in (0, 1), result.output
    document: Json = json.loads(result.stdout)
    return document


def origin(document: Json) -> Json:
    found: Json = document["verdicts"]["after"][0]["origin"]
    return found


def believed(document: Json, made: Json, every: int) -> list[str]:
    """The one-field edits of what a review says besides its verdicts that are held to be true."""
    taken = []
    for path in list(leaves({n: x for n, x in document.items() if n not in ("verdicts", "tool")}))[::every]:
        try:
            hold_review(edited(document, path), made, Place("file"))
        except (InputError, KeyError, TypeError, AttributeError):
            continue
        taken.append(".".join(map(str, path)))
    return taken


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Json, Json]:
    """A review of a mail that changes nothing that matters, and the same made again."""
    document = saved(tmp_path_factory.mktemp("clean"), "    pre_flush();\n", "")
    return document, again(origin(document))


def test_an_unedited_review_is_what_the_mail_gives(clean: tuple[Json, Json]) -> None:
    document, made = clean
    hold_review(document, made, Place("file"))


def test_no_edit_of_one_field_of_a_review_is_believed(clean: tuple[Json, Json]) -> None:
    document, made = clean
    assert believed(document, made, 7) == []


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_verdict_that_was_turned_or_left_out_is_not_believed(clean: tuple[Json, Json], side: str) -> None:
    """Both sides are proved: saying violated, dropping a property, or dropping the side is seen."""
    document, made = clean
    turned, dropped, gone = (copy.deepcopy(document) for _ in range(3))
    turned["verdicts"][side][0]["found"] = "violated"
    del dropped["verdicts"][side][-1]
    gone["verdicts"][side] = None
    for changed in (turned, dropped, gone):
        with pytest.raises(InputError, match="made again"):
            hold_review(changed, made, Place("file"))


def test_what_was_not_seen_cannot_be_left_out(clean: tuple[Json, Json]) -> None:
    document, made = clean
    for name in ("assumptions", "passed", "unseen", "lines", "findings"):
        changed = {**document, name: [*document[name], "x"]}
        with pytest.raises(InputError, match=name):
            hold_review(changed, made, Place("file"))
        if document[name]:
            with pytest.raises(InputError, match=name):
                hold_review({**document, name: document[name][1:]}, made, Place("file"))


@pytest.mark.long
def test_the_faults_of_a_review_are_found_again(tmp_path: Path) -> None:
    """Of a review with faults too: the whole replays, and no edit of a field is believed."""
    document = saved(tmp_path, "        write_cr4(now);\n", "")
    assert document["findings"]
    (tmp_path / "file.json").write_text(json.dumps(document))
    replayed = run("replay", str(tmp_path / "file.json"))
    assert replayed.exit_code == 1, replayed.output
    assert believed(document, again(origin(document)), 3) == []
    document["findings"][0]["fix"] += " or not"
    (tmp_path / "file.json").write_text(json.dumps(document))
    refused = run("replay", str(tmp_path / "file.json"))
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1), refused.output
    assert "findings" in refused.stderr
