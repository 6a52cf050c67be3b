"""The page that shows Σ, in a real browser."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch as th

from macro_gym import MacroSet
from macro_gym.banks import load_bank
from sb3_masp import SoftmaxSimilarity, UnconstrainedSimilarity
from sb3_masp.similarity import SimilarityAbout
from sb3_masp.similarity_report import Movement, make_report, write_page
from sb3_masp.similarity_report.clusters import cluster, neighbours
from tests.sb3_masp.browser import chromium

HOSTILE = ("</script><script>alert(1)</script>", "<b>B&B</b>", '"quoted"', "{{table}} $1")
"""Names that are markup, or what pages are filled in by."""
HISTORY = [
    Movement(0, 1.0, 1.0, 5.5, 0.0),
    Movement(400, 0.75, 1.0, 4.5, 0.25, agreement=-0.125),
    Movement(1_000, 0.5, 1.0, 3.5, 0.5, agreement=0.25),
]


def entries(n):
    generator = th.Generator().manual_seed(n)
    return th.rand(n, n, generator=generator) ** 3 + 0.01


def small():
    about = SimilarityAbout(HOSTILE, decisions=1_000)
    return make_report(UnconstrainedSimilarity(entries(4) - 0.3), about, HISTORY)


def large():
    about = SimilarityAbout.of(load_bank("breakout").top(128), 7_000)
    return make_report(SoftmaxSimilarity(entries(132)), about)


REPORTS = {4: small(), 132: large()}


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module", params=REPORTS)
def shown(request, browser, tmp_path_factory):
    """A report and its page, with all that the browser complained of or asked for."""
    report = REPORTS[request.param]
    path = tmp_path_factory.mktemp("page") / "similarity.html"
    write_page(report, path)
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(path.as_uri())
    yield report, page
    assert page.complaints == []
    assert page.requests == [path.as_uri()]
    page.close()


def chosen(page):
    """The name of the action that is chosen, and the names and entries of its nearest."""
    near = page.locator("#chosen ol button")
    names = near.evaluate_all("found => found.map(one => one.title)")
    values = near.locator("b").all_text_contents()
    return page.locator("#chosen h3").text_content(), names, values


def expected(report, action):
    near = neighbours(report.similarity.astype(np.float32), 10)[action]
    values = [float(f"{report.similarity[action, other]:.3g}") for other in near]
    return report.names[action], [report.names[other] for other in near], values


def assert_chosen(page, report, action):
    name, names, values = chosen(page)
    wanted = expected(report, action)
    assert (name, names) == wanted[:2]
    assert list(map(float, values)) == pytest.approx(wanted[2], rel=2e-2)
    assert page.locator("tr.chosen").get_attribute("id") == f"row{action}"


def cell_at(page, report, row, column):
    """Where in the map the cell of two actions is, in pixels."""
    n, order = len(report.names), cluster(report.similarity).order.tolist()
    cell = float(page.locator("#size").input_value())
    assert n * cell > 100
    return {"x": 86 + cell * (order.index(column) + 0.5), "y": cell * (order.index(row) + 0.5)}


def test_the_table_has_a_row_for_each_action_with_its_neighbours_as_strips(shown):
    report, page = shown
    rows = page.locator("#neighbours tbody tr").all()
    assert len(rows) == len(report.names)
    nearest = neighbours(report.similarity, 5)
    labels = page.locator("#neighbours tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('.strip')]"
        ".map(strip => strip.getAttribute('aria-label')))"
    )
    for action, (name, near) in enumerate(zip(report.names, nearest, strict=True)):
        assert labels[action] == [name, *(report.names[other] for other in near)]


def test_every_strip_shows_its_steps(shown):
    report, page = shown
    steps = page.locator("symbol").evaluate_all(
        "all => all.map(one => [...one.querySelectorAll('text')].map(text => text.textContent))"
    )
    assert [len(one) for one in steps] == [len(one) for one in report.steps]
    if len(report.names) == 132:
        symbols = dict(zip(load_bank("breakout").primitives, "·•→←", strict=True))
        assert steps == [[symbols[name] for name in one] for one in report.steps]
    else:
        assert steps == [[name] for name in HOSTILE]
    assert page.locator("#row0 .strip").first.bounding_box()["width"] >= 18


def test_pointing_at_a_cell_names_the_pair_and_its_entry(shown):
    report, page = shown
    for row, column in ((0, 3), (2, 1), (len(report.names) - 1, 0)):
        page.locator("#map").hover(position=cell_at(page, report, row, column))
        entry = report.similarity[row, column]
        text = page.locator("#pair").text_content()
        assert text.startswith(f"{report.names[row]} by {report.names[column]}: ")
        number = float(re.search(r": (-?[\d.e-]+)", text[len(report.names[row]) :])[1])
        assert number == pytest.approx(entry, rel=1e-2)
        tip = page.locator("#tip")
        assert tip.is_visible()
        assert tip.locator("span").all_text_contents() == [
            report.names[row],
            "by",
            report.names[column],
        ]
    page.locator("h1").hover()
    assert not page.locator("#tip").is_visible()


def test_clicking_into_the_map_chooses_the_rows_action(shown):
    report, page = shown
    for row, column in ((1, 2), (3, 0)):
        page.locator("#map").click(position=cell_at(page, report, row, column))
        assert_chosen(page, report, row)


def test_choosing_an_action_anywhere_shows_its_neighbours(shown):
    report, page = shown
    page.locator("#row2 button").click()
    assert_chosen(page, report, 2)
    second = neighbours(report.similarity, 2)[2, 1]
    page.locator("#chosen ol button").nth(1).click()
    assert_chosen(page, report, second)
    page.locator("#row0 td").first.click()
    assert_chosen(page, report, neighbours(report.similarity, 1)[0, 0])


def test_actions_that_have_the_chosen_one_nearest_are_listed(shown):
    report, page = shown
    nearest = neighbours(report.similarity, 1)[:, 0]
    action = int(np.bincount(nearest).argmax())
    page.locator(f"#row{action} button").click()
    back = page.locator("#chosen ul button").evaluate_all("found => found.map(one => one.title)")
    assert back == [
        name for name, near in zip(report.names, nearest, strict=True) if near == action
    ]


def test_all_of_it_works_by_keyboard(shown):
    report, page = shown
    order = cluster(report.similarity).order
    page.locator("#map").focus()
    for key in ("Escape", "ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    one, other = report.names[order[1]], report.names[order[1]]
    assert page.locator("#pair").text_content().startswith(f"{one} by {other}: ")
    page.keyboard.press("Enter")
    assert_chosen(page, report, order[1])
    page.keyboard.press("Escape")
    assert page.locator("#chosen h3").text_content() == "No action is chosen"
    page.locator("#row3 button").focus()
    page.keyboard.press("Enter")
    assert_chosen(page, report, 3)


def test_searching_leaves_the_rows_that_fit_and_chooses_the_first_at_enter(shown):
    report, page = shown
    word = report.names[1][:4]
    fitting = [i for i, name in enumerate(report.names) if word.lower() in name.lower()]
    page.locator("#find").fill(word.lower())
    visible = page.locator("#neighbours tbody tr:visible").evaluate_all(
        "rows => rows.map(row => Number(row.dataset.action))"
    )
    assert visible == fitting
    assert len(fitting) < len(report.names)
    page.keyboard.press("Enter")
    assert_chosen(page, report, fitting[0])
    page.locator("#find").fill(report.names[-1])
    assert_chosen(page, report, len(report.names) - 1)
    page.locator("#find").fill("")
    assert page.locator("#neighbours tbody tr:visible").count() == len(report.names)


def test_the_map_is_drawn_in_the_colours_of_its_entries(shown):
    report, page = shown
    pixels = json.loads(
        page.evaluate(
            "JSON.stringify((() => { const map = document.getElementById('map');"
            "const cell = Number(document.getElementById('size').value), width = map.width;"
            f"const n = {len(report.names)}, dense = width / parseFloat(map.style.width);"
            "const all = map.getContext('2d').getImageData(0, 0, width, map.height).data;"
            "return Array.from({length: n * n}, (_, i) => {"
            "const x = Math.floor(dense * (86 + cell * (i % n + 0.5)));"
            "const y = Math.floor(dense * cell * (Math.floor(i / n) + 0.5));"
            "return [...all.slice(4 * (y * width + x), 4 * (y * width + x) + 4)]; }); })())"
        )
    )
    from matplotlib import colormaps

    from sb3_masp.similarity_report.pictures import _colours

    order = cluster(report.similarity).order
    colours, norm = _colours(report.similarity)
    wanted = 255 * colormaps[colours](norm(report.similarity[np.ix_(order, order)]))
    drawn = np.array(pixels).reshape(wanted.shape)
    off = ~np.eye(len(order), dtype=bool)
    assert np.abs(drawn[off] - wanted[off]).mean() < 3


def test_what_is_not_text_is_described(shown):
    _, page = shown
    assert page.locator("svg:visible:not([aria-hidden]):not([aria-label])").count() == 0
    assert page.locator("[role=img]:not([aria-label])").count() == 0
    assert page.locator("input:not([aria-label])").evaluate_all("all => all[0].labels.length") == 1
    assert page.locator("html").get_attribute("lang") == "en"


def test_the_history_is_drawn_where_there_is_one(shown):
    report, page = shown
    figures = page.locator("#history-title ~ * figure")
    if not report.history:
        assert figures.count() == 0
        assert "has no history" in page.locator("main").text_content()
        return
    titles = figures.locator("b").all_text_contents()
    assert titles == [
        "Entropy of rows",
        "Mass off the diagonal",
        "Effective rank",
        "Distance from the start",
        "Agreement with distances of values",
    ]
    figures.nth(2).locator("svg").hover(position={"x": 150, "y": 60})
    assert figures.nth(2).locator("output").text_content() == "4.5 at 400"
    page.locator("summary").click()
    cells = page.locator("details tbody tr").nth(1).locator("td").all_text_contents()
    assert cells == ["400", "0.75", "1", "4.5", "0.25", "", "-0.125"]


def test_the_page_is_seen_in_the_dark_and_on_small_screens_too(shown):
    _, page = shown
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert page.locator("section .scroll").first.bounding_box()["width"] > 300
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1500, "height": 900})


def test_a_page_without_a_script_still_has_its_table(browser, tmp_path):
    write_page(small(), tmp_path / "page.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("#neighbours tbody tr").count() == 4
    assert "The map is drawn by a script" in page.locator("main").inner_text()
    context.close()


def test_two_actions_and_many_make_pages_too(browser, tmp_path):
    path = tmp_path / "page.html"
    for n, similarity in ((2, entries(2)), (331, th.full((331, 331), 1 / 331))):
        write_page(make_report(SoftmaxSimilarity(similarity), SimilarityAbout()), path)
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error, errors=errors: errors.append(error))
        page.goto(path.as_uri())
        page.locator("#row1 button").click()
        assert page.locator("#chosen ol button").count() == min(10, n - 1)
        assert errors == []
        page.close()


def test_names_are_text_wherever_they_stand(tmp_path):
    write_page(small(), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count("<script") == text.count("</script>") == 2
    assert "<b>B&B" not in text
    assert "&lt;b&gt;B&amp;B&lt;/b&gt;" in text
    assert Path(tmp_path / "page.html").read_text().count('<table id="neighbours">') == 1


def test_a_set_of_named_buttons_is_drawn_by_name(browser, tmp_path):
    macro_set = MacroSet(("turn left", "go"), ((0, 1), (1, 1, 0)))
    report = make_report(SoftmaxSimilarity(entries(4)), SimilarityAbout.of(macro_set))
    write_page(report, tmp_path / "page.html")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    for index, width in enumerate((69, 20, 89, 109)):
        assert page.locator(f"#row{index} th .strip").get_attribute("width") == str(width)
    page.close()
