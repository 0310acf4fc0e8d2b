"""The page in a real browser: drawn, quiet, silent on the network, and usable at phone and desktop width."""

import pytest

from report.browser import DEADLINE_SECONDS, Browser, find_chromium
from report.studies import digits_study, two_objectives
from report.test_page import evil_study
from seatrial.report import build_view, render_html

pytestmark = pytest.mark.browser

CELLS = "[...document.querySelectorAll('#trials tbody tr')].map(row => row.cells[{0}].textContent)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    for name, study in {
        "one": digits_study(60),
        "two": two_objectives(40),
        "evil": evil_study(),
        "running": digits_study(20, running=True),
        "many": digits_study(3000),
    }.items():
        (folder / f"{name}.html").write_text(render_html(build_view(*study)), encoding="utf-8")
    return folder


@pytest.fixture
def show(browser, pages):
    opened = []

    def open_page(name, **how):
        opened.append(browser.open(pages / f"{name}.html", **how))
        return opened[-1]

    yield open_page
    for page in opened:
        page.close()


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        pytest.param("one", 390, False, id="phone"),
        pytest.param("one", 1440, False, id="desktop"),
        pytest.param("one", 390, True, id="phone, dark"),
        pytest.param("two", 1440, True, id="two objectives, desktop, dark"),
        pytest.param("two", 390, False, id="two objectives, phone"),
        pytest.param("evil", 390, False, id="hostile text, phone"),
        pytest.param("evil", 1440, True, id="hostile text, desktop, dark"),
        pytest.param("running", 390, False, id="still running, phone"),
    ],
)
def test_every_plot_is_drawn_without_a_complaint_a_request_or_sideways_scrolling(show, name, width, dark):
    page = show(name, width=width, dark=dark, touch=width < 600)

    page.draw_all()

    empty = page.run(
        "[...document.querySelectorAll('.plot')].filter(p => !p.querySelector('svg.main-svg path, svg.main-svg image')).map(p => p.dataset.plot)"
    )
    assert empty == []
    assert page.run("document.querySelectorAll('.plot').length") >= 5
    assert page.complaints() == []
    assert page.requests() == []
    assert page.run("document.documentElement.scrollWidth") <= width


def test_what_a_user_wrote_stays_inert(show):
    page = show("evil")

    page.draw_all()
    page.run("document.querySelector('#trials tbody tr').click()")

    assert page.run("window.hacked === undefined")
    assert page.run("document.querySelectorAll('img').length") == 0
    assert "<script>window.hacked=1</script>" in page.run("document.querySelector('#trial').textContent")


def test_a_click_on_a_heading_sorts_by_number_and_a_second_one_turns_the_order(show):
    page = show("one", until="table")
    click = "[...document.querySelectorAll('#trials th button')].find(b => b.textContent === 'val_accuracy').click()"

    page.run(click)
    up = page.run(CELLS.format(2))
    page.run(click)
    down = page.run(CELLS.format(2))

    def numbers(cells):
        return [float(cell) for cell in cells if cell not in {"NaN", "–"}]

    assert numbers(up) == sorted(numbers(up))
    assert numbers(down) == sorted(numbers(down), reverse=True)
    assert numbers(up) != numbers(down)
    assert down[0] not in {"NaN", "–"}, "what is missing comes last, whichever way"


def test_the_search_and_the_state_chips_filter_the_table(show):
    page = show("one", until="table")

    page.run(
        "(() => { const f = document.querySelector('#filter'); f.value = 'momentum sgd'; f.value = 'sgd stopped'; f.dispatchEvent(new Event('input')); })()"
    )
    assert set(page.run(CELLS.format(1))) == {"Stopped"}
    assert "of 60 trials" in page.run("document.querySelector('#shown').textContent")

    page.run(
        "(() => { const f = document.querySelector('#filter'); f.value = ''; f.dispatchEvent(new Event('input')); })()"
    )
    page.run(
        "[...document.querySelectorAll('#states button')].filter(b => !b.textContent.startsWith('Failed')).forEach(b => b.click())"
    )
    assert set(page.run(CELLS.format(1))) == {"Failed"}


def test_a_table_of_thousands_is_paged(show):
    page = show("many", until="table")

    assert len(page.run(CELLS.format(0))) == 50
    page.run("[...document.querySelectorAll('#pages button')].find(b => b.textContent === 'Next').click()")
    assert page.run(CELLS.format(0))[0] == "50"


def test_a_row_opens_everything_about_its_trial(show):
    page = show("one", until="table")

    page.run("document.querySelector('#trials tbody tr[data-trial=\"11\"]').click()")

    text = page.run("document.querySelector('#trial[open]').textContent")
    assert "Trial 11" in text
    assert "Attempts" in text


def test_a_plot_changes_when_another_pair_is_chosen(show):
    page = show("one")
    page.draw_all()
    title = "document.querySelector('[data-plot=contour] .xtitle').textContent + document.querySelector('[data-plot=contour] .ytitle').textContent"

    before = page.run(title)
    page.run(
        "(() => { const s = document.querySelector('select[data-for=contour]'); s.value = '1'; s.dispatchEvent(new Event('change')); return new Promise(done => setTimeout(done, 200)); })()"
    )

    assert page.run(title) != before


def test_the_theme_button_turns_the_plots_too(show):
    page = show("one")
    page.draw_all()
    ink = "getComputedStyle(document.querySelector('[data-plot=best] .ytitle')).fill"

    light = page.run(ink)
    page.run("(document.querySelector('#theme').click(), new Promise(done => setTimeout(done, 300)))")

    assert page.run(ink) != light
    page.run("localStorage.clear()")


def test_a_missing_browser_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(AssertionError, match="apt-get install -y chromium"):
        find_chromium()


def test_a_browser_that_ends_at_once_is_noticed(monkeypatch, tmp_path):
    fake = tmp_path / "chromium"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    with Browser(tmp_path / "profile") as dead, pytest.raises((AssertionError, BrokenPipeError)):
        dead.call("Browser.getVersion")
    assert DEADLINE_SECONDS > 0
