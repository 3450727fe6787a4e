"""The page: one file that asks for nothing, sorted, filtered and switched in a browser, and what its HTML says."""

import base64
import gzip
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from relubench.errors import UsageError
from relubench.reports.page.page import as_page, page_content, split_sentence
from relubench.reports.page.saved_result import read_report
from relubench.reports.page.table import sort_value
from relubench.reports.render import render
from tests.browser import Browser, program
from tests.reports.conftest import Lab

HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def report():
    lab = Lab().train("relu").train("tanh", scale=0.8).train("sigmoid", scale=3)
    return lab.report(command_line="relubench train --seeds 3", figures=("curves",))


@pytest.fixture(scope="module")
def page(report):
    return as_page([report])


@pytest.fixture
def file(page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    return path


def test_a_page_has_question_answer_table_figures_runs_and_data(report, page):
    assert report.question in page and "had the lowest mean test error" in page
    assert page.count('class="iv"') == 5  # three scores and two differences with their intervals
    assert len(re.findall("<figure", page)) == 3
    assert "relubench train --seeds 3" in page and "<dt>protocol</dt><dd>paper</dd>" in page
    packed = re.search(r'href="data:application/gzip;base64,([^"]+)"', page)[1]
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == json.loads(render(report, "json"))


def test_a_page_names_no_address_and_loads_nothing(page):
    without_names = page.replace('xmlns="http://www.w3.org/2000/svg"', "").replace("http://www.w3.org/1999/xlink", "")
    assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", without_names)
    assert "default-src 'none'" in page and not re.findall(r"<(?:link|iframe|img)\b|\ssrc=", page)


def test_intervals_of_networks_that_did_not_learn_are_arrows_beside_the_others_bars(lab):
    lab.train("relu").train("tanh", scale=0.9).train("sigmoid", scale=40).spoil(
        "sigmoid", "stalled", seeds=(0, 1, 2), error=90.0
    )
    page = as_page([lab.report()])
    assert page.count('<em class="over">') == 2  # its error, and its difference
    starts = [float(left) for left in re.findall(r"<i style=\"--l:([\d.]+)%", page)]
    assert starts[1:3] == [0.0, 0.0] and 10 < starts[0] < 90 and starts[3:] == [100.0, 100.0]


def test_ids_are_there_once_and_every_reference_has_its_id(report):
    page = as_page([report, replace(report, question="Again?")])
    ids = re.findall(r'\sid="?([\w.-]+)', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#|labelledby=")([\w.-]+)', page)) <= set(ids)


def test_what_a_user_named_is_text_and_no_markup(lab):
    report = lab.train("relu").train("tanh").report(title=HOSTILE, sentence=HOSTILE, command_line=HOSTILE)
    rows = [{**row, "activation": HOSTILE} if place else row for place, row in enumerate(report.rows)]
    runs = [{**run, "spec": {**run["spec"], "activation": HOSTILE}} for run in report.runs[3:]]
    page = as_page([replace(report, rows=rows, runs=[*report.runs[:3], *runs])])
    assert "alert(1)</script>" not in page


def test_a_page_of_thirty_rows_stays_small(lab):
    for number in range(30):
        lab.train(f"act{number}", scale=1 + number / 30, epochs=30)
    report = lab.report()
    page = page_content([report], Path("page.html"))
    data = re.search(rb'href="data:application/gzip;base64,([^"]+)"', page)[1]
    assert len(page) - len(data) < 1_000_000 and len(page) < 2_000_000


def test_a_file_gives_the_same_page_as_the_command(report, page, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(render(report, "json"))
    assert as_page([read_report(path)]) == page


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"rows": []}', '{"command": "train", "version": "1", "rows": [1], "runs": []}']
)
def test_a_file_that_is_no_result_is_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"is not JSON|not a result of relubench|is damaged"):
        read_report(path)


def test_the_markdown_twin_has_answer_table_and_settings(report, tmp_path):
    text = page_content([report], tmp_path / "r.md").decode()
    assert text.startswith(f"# {report.question.replace('_', chr(92) + '_')}")
    assert "| activation" in text and "relubench train --seeds 3" in text and "- `protocol`: paper" in text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.43 [1.2, 1.6]", 1.43),
        ("-0.5 noise", -0.5),
        ("3m05s", 185),
        ("21 ms", 0.021),
        ("1h02m", 3720),
        ("1,234", 1234),
    ],
)
def test_cells_are_sorted_by_their_number(text, value):
    assert sort_value(text) == pytest.approx(value)
    assert sort_value("") is None and sort_value("ok") is None


def test_a_point_between_digits_ends_no_sentence():
    assert split_sentence("relu had 1.43 % error. The rest.") == ("relu had 1.43 % error.", "The rest.")
    assert split_sentence("All is one.") == ("All is one.", "")


@pytest.fixture(scope="module")
def browser():
    if program() is None:
        pytest.skip("Chromium is not installed, so that no page can be opened")
    opened = Browser()
    yield opened
    opened.close()


TEXTS = "[...document.querySelectorAll('#r0-t0 tbody tr')].map(row => row.cells[0].textContent)"
SHOWN = "[...document.querySelectorAll('#r0-t0 tbody tr')].filter(row => row.offsetParent).length"


def test_in_a_browser_the_page_sorts_filters_switches_and_asks_for_nothing(browser, file):
    browser.open(file)
    assert browser.run(TEXTS) == ["relu", "tanh", "sigmoid"]
    click = "document.querySelectorAll('#r0-t0 thead button')[1].click();"
    assert browser.run(click + TEXTS) == ["tanh", "relu", "sigmoid"]
    assert browser.run(click + TEXTS) == ["sigmoid", "relu", "tanh"]
    find = "const box = document.querySelector('input[type=search]'); box.value = 'TANH'; "
    find += "box.dispatchEvent(new Event('input'));"
    assert browser.run(f"(() => {{ {find} return {SHOWN}; }})()") == 1
    browser.open(file)
    switch = "document.querySelector('button.key[data-key=relu]').click();"
    assert browser.run(switch + SHOWN) == 2
    assert browser.run("document.querySelectorAll('svg g[data-key=relu]:not(.off)').length") == 0
    assert browser.run("document.querySelectorAll('svg g[data-key=tanh].off').length") == 0
    show = "const box = document.querySelector('input[value=published_error_pct], input[value=init]'); box.click();"
    assert browser.run(f"(() => {{ {show} return document.querySelector('#r0-t0 thead').textContent; }})()").endswith(
        "init"
    )
    assert (browser.errors, browser.requests) == ([], [])


def test_in_a_browser_keys_go_from_point_to_point_and_numbers_are_a_table(browser, file):
    browser.open(file, width=375)
    press = "const panel = document.querySelector('.panel'); "
    press += "panel.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));"
    tip = browser.run(f"(() => {{ {press} return panel.querySelector('.tip').textContent; }})()")
    assert tip.startswith("relu\nepochs trained: 1\nvalidation error (%): ")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    open_numbers = "const numbers = document.querySelector('details.numbers'); numbers.open = true;"
    count = "new Promise(done => setTimeout(() => done(numbers.querySelectorAll('tbody tr').length), 50))"
    assert browser.run(f"(() => {{ {open_numbers} return {count}; }})()") == 2 * 3 * 8
    assert (browser.errors, browser.requests) == ([], [])


def test_in_a_browser_three_hundred_rows_open_in_two_seconds(browser, lab, tmp_path):
    for number in range(300):
        lab.train(f"act{number}", scale=1 + number / 300, seeds=1, examples=200)
    path = tmp_path / "page.html"
    path.write_text(as_page([lab.report()]), encoding="utf-8")
    browser.open(path)
    timing = browser.run("performance.timing.loadEventEnd - performance.timing.navigationStart")
    assert browser.run(SHOWN) == 300 and timing < 2000


AXE = os.environ.get("AXE_CORE")


@pytest.mark.skipif(not AXE, reason="AXE_CORE names no axe.min.js (npm pack axe-core)")
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_violation(browser, file, dark):
    browser.open(file, dark=dark)
    browser.run(Path(AXE).read_text("utf-8") + ";0")
    assert browser.run("axe.run().then(found => found.violations.map(violation => violation.id))") == []
