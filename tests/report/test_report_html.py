"""The HTML pages in a browser: stepping, links, keys, colours, narrow screens; no console error, no outside request.

They need Chromium and its driver (Debian: ``apt-get install chromium chromium-driver``) and are skipped without.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples
from click.testing import CliRunner
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.command import Command
from selenium.webdriver.remote.webelement import WebElement

from tlbcheck.cli import cli
from tlbcheck.report.caches import points
from tlbcheck.report.html import build

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium or its driver is not installed: apt-get install chromium chromium-driver")

Open = Callable[[Path], webdriver.Chrome]


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def logged(browser: webdriver.Chrome, log: str) -> list[dict[str, Any]]:
    """What was logged since this was last asked."""
    return list(browser.execute(Command.GET_LOG, {"type": log})["value"])


@pytest.fixture
def opened(browser: webdriver.Chrome) -> Iterator[Open]:
    """Opens a page from disk; afterwards nothing was said on the console and nothing fetched from elsewhere."""
    for log in ("browser", "performance"):
        logged(browser, log)  # forget what came before

    def open_(page: Path) -> webdriver.Chrome:
        browser.get("about:blank")
        browser.get(page.as_uri())
        return browser

    yield open_
    assert logged(browser, "browser") == []
    sent = [json.loads(x["message"])["message"] for x in logged(browser, "performance")]
    urls = {m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"}
    assert {u for u in urls if not u.startswith(("file:", "data:", "about:"))} == set()


def run(*args: str) -> None:
    result = CliRunner().invoke(cli, list(args))
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in (0, 1), result.output


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind: real ones of the library, made ones for a review, four CPUs and hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    made = {name: folder / f"{name}.html" for name in ("violation", "library", "matrix", "list")}
    run("verify", "xen/pcid-v5", "--engine", "explicit", "-p", "missing-flush", "-p", "no-fault", "-o", str(made["violation"]))
    both = folder / "library.json"
    run("verify", "xen/before-pcid", "xen/before-pcid@cr4-not-restored", "--engine", "explicit", "-o", str(made["library"]), "-o", str(both))
    run("matrix", "xen/xsa-292", "-o", str(made["matrix"]))
    run("list", "-o", str(made["list"]))
    library = json.loads(both.read_text())
    proof = {**library, "results": [e for e in library["results"] if e["model"] == "xen/before-pcid" and e["verdict"] == "proved"]}
    hostile = dict(zip(("hostile", "hostile-matrix", "hostile-review"), samples.hostile(), strict=True))
    for name, document in {"proof": proof, "review": samples.review(), "many": samples.many_cpus(), **hostile}.items():
        made[name] = folder / f"{name}.html"
        made[name].write_text(build(document), encoding="utf-8")
    return made


def one(at: webdriver.Chrome | WebElement, css: str) -> WebElement:
    return at.find_element(By.CSS_SELECTOR, css)


def many(at: webdriver.Chrome | WebElement, css: str) -> list[WebElement]:
    return at.find_elements(By.CSS_SELECTOR, css)


def current(page: webdriver.Chrome) -> int:
    """The step that the first run of a page shows, which everything in it agrees on."""
    viewer = one(page, ".viewer")
    rows = many(viewer, "tr[aria-current=step]")
    assert len(rows) == 1
    step = int(rows[0].get_attribute("data-step") or -1)
    assert one(viewer, "input[type=range]").get_attribute("value") == str(step)
    assert one(viewer, ".count").text.startswith(f"{step} of ")
    return step


def keys(page: webdriver.Chrome, *pressed: str) -> None:
    for key in pressed:
        page.switch_to.active_element.send_keys(key)


# -- a violation


@pytest.mark.long
def test_buttons_slider_and_keys_step_through_the_run(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["violation"])
    assert current(page) == 10
    one(page, "[data-go=back]").click()
    assert current(page) == 9
    one(page, "[data-go=forward]").click()
    one(page, "[data-go=forward]").click()
    assert current(page) == 10
    one(page, "[data-go=first]").click()
    assert current(page) == 0
    one(page, "input[type=range]").send_keys(Keys.ARROW_RIGHT)
    assert current(page) == 1
    page.execute_script("document.activeElement.blur()")
    keys(page, "j", "j", Keys.ARROW_RIGHT)
    assert current(page) == 4
    keys(page, "k", Keys.ARROW_LEFT)
    assert current(page) == 2
    one(page, ".viewer .scroll").send_keys(Keys.END)
    assert current(page) == 10


def test_a_step_has_a_link_and_a_place_in_the_history(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["violation"])
    one(page, "#step-3 th a").click()
    assert (current(page), page.current_url.partition("#")[2]) == (3, "step-3")
    one(page, "#step-7 th a").click()
    assert current(page) == 7
    page.back()
    assert current(page) == 3
    page.forward()
    assert current(page) == 7
    page.get(pages["violation"].as_uri() + "#step-5")
    assert current(page) == 5
    keys(page, "j")
    assert page.current_url.endswith("#step-6")


def test_the_tlb_turns_stale_with_the_step_at_which_it_became_so(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["violation"])
    viewer = one(page, ".viewer")
    one(page, "#step-6 th a").click()
    watched = one(viewer, ".grid .watched")
    assert watched.text == "observed kernel"
    assert not many(viewer, ".grid .stale")
    assert len(many(viewer, ".grid .cached")) == 5, "one root's pages, after an INVPCID of everything but global entries"
    keys(page, "j")
    assert one(viewer, ".grid .watched.stale").text.splitlines() == ["observed kernel", "stale since step 7"]
    assert "stale from here on" in one(viewer, ".now").text


def test_source_registers_and_stack_follow(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["violation"])
    viewer = one(page, ".viewer")
    one(page, "#step-7 th a").click()
    assert one(viewer, ".listing .current code").text.strip() == "write_cr3(cr3)"
    assert "sibling kernel root" in one(viewer, ".values .changed").text
    frames = many(viewer, ".stack button")
    assert [f.text.partition(",")[0] for f in frames] == ["write_cr3_cr4", "write_ptbase", "new_guest_cr3", "run_cpu"]
    frames[2].click()
    assert "write_ptbase" in one(viewer, ".listing .current code").text
    keys(page, "j")
    assert "read_cr4" in one(viewer, ".listing .current code").text


def test_the_blame_line_and_the_story_say_why(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["violation"])
    viewer = one(page, ".viewer")
    heads = [x.text for x in many(viewer, ".blame .head")]
    assert heads == ["What was cached, step 6", "What changed, step 7", "What was missing", "What mends it", "The return, step 10"]
    story = one(viewer, ".prose").text
    assert "writes CR3 := sibling kernel root, PCID 0, NOFLUSH (line 73, step 7). The watched entry is stale" in story
    one(viewer, ".drawing summary").click()
    assert {"1", "10"} <= {x.text.strip() for x in many(viewer, ".drawing .order")}
    assert many(viewer, ".drawing .node.on.bad")


def test_a_folded_run_opens_with_its_link(opened: Open, pages: dict[str, Path]) -> None:
    """The second run of a property, by the most general caller, is folded; a link to a step of it opens it."""
    page = opened(pages["violation"])
    folded = one(page, "details.other .viewer")
    assert not folded.is_displayed()
    prefix = str(one(folded, "tr[data-step]").get_attribute("id")).removesuffix("step-0")
    page.get(pages["violation"].as_uri() + f"#{prefix}step-2")
    assert folded.is_displayed()
    assert one(folded, "tr[aria-current=step]").get_property("id") == f"{prefix}step-2"


def test_paper_unfolds_everything(opened: Open, pages: dict[str, Path]) -> None:
    """Counted at once: the page may still be adding to itself."""
    page = opened(pages["violation"])
    before, printed, after = page.execute_script("""
        const folded = () => document.querySelectorAll('details:not([open])').length;
        const counts = [folded()];
        for (const event of ['beforeprint', 'afterprint']) { dispatchEvent(new Event(event)); counts.push(folded()); }
        return counts;""")
    assert before == after > 0 and printed == 0


# -- the other pages


def test_a_proof_says_what_holds_for_which_sizes_and_what_was_reached(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["proof"])
    text = one(page, "main").text
    assert "All " in text
    assert "reachable states visited" in text
    scope = one(page, ".scope").text
    assert "cpus" in scope
    assert "interrupts off" in scope
    assert "of" in one(page, ".coverage .chip").text
    one(page, ".coverage summary").click()
    assert many(page, ".coverage .code .mark span")
    one(page, ".scope .drawing summary").click()
    assert len(many(page, ".scope .drawing .node")) > 10
    assert {e.value_of_css_property("fill") for e in many(page, ".scope .drawing path:not(.head)")} == {"none"}
    assert not many(page, ".viewer")


def test_the_library_is_a_table_whose_cells_lead_to_the_runs(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["library"])
    verdicts = {row.text.split()[0]: [c.text for c in many(row, "td")] for row in many(page, ".library tbody tr")}
    assert {"proved"} <= set(verdicts["xen/before-pcid"]) <= {"proved", "\N{EN DASH}"}
    assert "VIOLATED" in verdicts["xen/before-pcid@cr4-not-restored"]
    assert not one(page, ".viewer").is_displayed()
    one(page, ".library td.bad a").click()
    assert one(page, ".viewer").is_displayed()
    keys(page, "k")
    assert current(page) >= 0


def test_a_matrix_is_coloured_and_its_cells_lead_to_the_rows(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["matrix"])
    assert len(many(page, ".rows tbody tr")) == 32
    fault = one(page, ".map td.fault")
    clean = one(page, ".map td.good")
    assert fault.value_of_css_property("background-color") != clean.value_of_css_property("background-color")
    one(fault, "a").click()
    row = one(page, ".rows tr:target")
    assert "fault" in row.text
    assert one(row, "code.fault").text.startswith("W3")


def test_a_review_has_its_findings_at_the_lines_of_the_patch(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["review"])
    assert [c.text for c in many(page, ".compared .chip")] == ["proved", "VIOLATED"]
    one(page, ".findings a").click()
    assert page.current_url.endswith("#line-11")
    said = one(page, "#line-11 + tr.said").text
    assert "the only invalidation" in said
    assert "keep invlpg()" in said
    assert "Not seen: the rest of flush_range" in one(page, "tr.gap").text
    folded = one(page, ".fold")
    assert not one(folded, "code").is_displayed(), "the mail's text, of which nothing is said"
    one(folded, "summary").send_keys(Keys.ENTER)
    assert "A Developer" in folded.text
    one(page, ".finding a").click()
    keys(page, "k")
    assert current(page) == 2
    assert "invlpg" in one(page, ".listing").text


def test_two_hundred_steps_on_four_cpus(opened: Open, pages: dict[str, Path]) -> None:
    """A lane and a grid for each CPU; what all TLBs hold is shown; the page stays small."""
    assert pages["many"].stat().st_size < 2_000_000
    page = opened(pages["many"])
    assert [h.text for h in many(page, ".lanes thead th")] == ["#", "CPU0", "CPU1", "CPU2", "CPU3", "Memory"]
    assert len(many(page, ".lanes tbody tr")) == 201
    assert len(many(page, ".grid")) == 4
    page.get(pages["many"].as_uri() + "#step-120")
    assert current(page) == 120
    violation = samples.many_cpus()["results"][0]["violations"][0]
    steps = violation["steps"]
    held = points(violation["caches"], 200)
    assert len(many(page, ".grid .cached")) == len(held[120])
    assert one(page, f"#step-120 td:nth-child({steps[119]['cpu'] + 2})").text.startswith(steps[119]["actor"])
    number, since = next((i, c.stale_since) for i, cells in enumerate(held) for c in cells if c.stale_since and c.entry == 0)
    page.get(pages["many"].as_uri() + f"#step-{number}")
    assert f"stale since step {since}" in one(page, "[data-tlb]").text


@pytest.mark.parametrize("name", ["hostile", "hostile-matrix", "hostile-review"])
def test_a_hostile_name_is_shown_and_not_run(opened: Open, pages: dict[str, Path], name: str) -> None:
    page = opened(pages[name])
    assert "<script>alert(1)</script>" in one(page, "h1").text
    for _ in range(2):
        keys(page, "k")
    assert not many(page, "main b, main script:not(.data), a[href='b']")


# -- for everyone


PAGES = ["violation", "proof", "library", "matrix", "review", "many", "list"]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_narrow_screen(opened: Open, pages: dict[str, Path], name: str, browser: webdriver.Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False})
    try:
        page = opened(pages[name])
        page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.execute_script("return document.documentElement.scrollWidth") <= 400
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgba = c => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
const light = ([r, g, b]) => { const f = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
const behind = e => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > .99) return c; } return rgba('white'); };
document.querySelectorAll('details').forEach(d => d.open = true);
const poor = new Set();
for (const e of document.querySelectorAll('main *, header *, footer *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || e.closest('svg, script, .hidden, [aria-disabled=true]') || !e.checkVisibility()) continue;
  const a = light(rgba(getComputedStyle(e).color)), b = light(behind(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) poor.add(`${e.localName}.${e.className} ${ratio.toFixed(2)}`);
}
return [...poor];
"""
"""Text whose contrast with what is behind it is less than WCAG AA asks for (4.5)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_has_contrast_in_light_and_dark(opened: Open, pages: dict[str, Path], name: str, scheme: str, browser: webdriver.Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    page = opened(pages[name])
    background = page.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is (scheme == "light")
    poor: list[Any] = page.execute_script(CONTRAST)
    assert poor == []


def test_the_reader_can_choose_the_colours(opened: Open, pages: dict[str, Path], browser: webdriver.Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]})
    page = opened(pages["matrix"])
    seen = []
    for _ in range(3):
        one(page, "#theme").click()
        seen.append(one(page, "html").value_of_css_property("color-scheme"))
    assert seen == ["light", "dark", "light dark"]


@pytest.mark.parametrize("name", PAGES)
def test_what_a_screen_reader_needs_is_there(opened: Open, pages: dict[str, Path], name: str) -> None:
    """One main landmark and heading, names for every control and region, no id twice, links that lead somewhere."""
    page = opened(pages[name])
    assert len(many(page, "main")) == len(many(page, "h1")) == 1
    assert one(page, "html").get_attribute("lang") == "en"
    for css in ("button", "input", "[role=region]", "[role=img]", "nav", "summary"):
        assert [e.get_attribute("outerHTML") for e in many(page, css) if not e.accessible_name and e.is_displayed()] == []
    ids: list[str] = page.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    links: list[str] = page.execute_script("return [...document.querySelectorAll('a[href^=\"#\"]')].map(e => e.getAttribute('href').slice(1))")
    assert set(links) <= set(ids)
    for viewer in many(page, ".viewer"):
        assert one(viewer, ".now").get_attribute("aria-live") == "polite"


@pytest.mark.long
def test_the_keyboard_reaches_what_can_be_used_and_shows_where_it_is(opened: Open, pages: dict[str, Path]) -> None:
    page = opened(pages["violation"])
    seen = set()
    for _ in range(20):
        keys(page, Keys.TAB)
        at = page.switch_to.active_element
        seen.add(at.get_attribute("data-go") or at.get_attribute("type") or at.tag_name)
        assert at.value_of_css_property("outline-style") != "none", at.get_attribute("outerHTML")
    assert {"first", "back", "range", "a"} <= seen
