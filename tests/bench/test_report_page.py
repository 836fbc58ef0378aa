"""The page with charts, in a real browser: it draws, asks nothing of the network, and runs nobody else's text."""

import pytest

from bench.reports import changed, real, sweep
from support.browser import browser
from tokwatt_bench.report.html import page

pytestmark = pytest.mark.e2e

HOSTILE = "</script><img src=x onerror=alert(1)>'\"&lt;"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    good, bad = real()["good"], real()["bad"]
    hostile = changed(bad, "h", model=HOSTILE, engine=HOSTILE, notes=[HOSTILE],
                      failures=[{**bad.result["failures"][0], "detail": HOSTILE}])  # fmt: skip
    for name, measured in (("one", [good]), ("sweep", sweep()), ("hostile", [good, hostile])):
        (folder / f"{name}.html").write_text(page(measured), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["one", "sweep", "hostile"])
@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 400)], ids=["light", "dark and narrow"])
def test_the_page_draws_every_chart_without_a_fault_or_a_request(tab, pages, name, dark, width):
    tab.faults.clear()
    tab.open(pages / f"{name}.html", dark=dark, width=width)
    places = tab.evaluate("document.querySelectorAll('.draw').length")
    assert places == tab.evaluate("document.querySelectorAll('.draw svg.marks').length") > 2
    assert tab.evaluate("[...document.querySelectorAll('.draw svg.marks')].every(one => one.clientWidth > 250)")
    # Nothing is wider than the page.
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (tab.faults, tab.asked) == ([], [])


def test_a_strangers_text_is_shown_and_not_run(tab, pages):
    tab.faults.clear()
    tab.open(pages / "hostile.html")
    assert tab.evaluate("document.querySelectorAll('img').length") == 0
    assert HOSTILE in tab.evaluate("[...document.querySelectorAll('details.box')].at(-1).textContent")
    assert tab.faults == []


def test_a_click_in_the_legend_leaves_one_result_standing(tab, pages):
    tab.open(pages / "sweep.html")
    paths = "[...document.querySelectorAll('#plot-0 .mark-line path')]"
    faint = f"{paths}.filter(one => one.getAttribute('opacity') < 0.5).length"
    lines = tab.evaluate(f"{paths}.length")
    assert (lines, tab.evaluate(faint)) == (6, 0)
    tab.evaluate("document.querySelector('#legend button').click()")
    tab.wait(f"{faint} === 5")
    tab.evaluate("document.querySelector('#legend button').click()")
    tab.wait(f"{faint} === 0")


def test_the_theme_changes_with_its_button_and_the_charts_with_it(tab, pages):
    tab.open(pages / "one.html", dark=False)
    ground = "getComputedStyle(document.body).backgroundColor"
    label = "document.querySelector('#plot-0 .role-axis-label text').getAttribute('fill')"
    light = tab.evaluate(ground), tab.evaluate(label)
    tab.evaluate("document.getElementById('theme').click()")
    tab.wait("document.documentElement.dataset.drawn === 'dark'")
    assert tab.evaluate(ground) != light[0] and tab.evaluate(label) != light[1]


def test_the_page_shows_what_the_result_says(tab, pages):
    tab.open(pages / "one.html")
    text = tab.evaluate("document.body.innerText")
    good = real()["good"].result
    assert good["reasons"]["energy_per_token_joules"] in text
    assert "Energy against speed: no result has both a decode speed and an energy per token" in text
    assert good["run_id"] in text and "8 measured, 0 failed" in text
    tab.open(pages / "hostile.html")
    assert "8 of 8 requests failed (http_status)" in tab.evaluate("document.body.innerText")
