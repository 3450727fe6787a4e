"""The page: one HTML file that needs no network and no other file. Torch-free."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from relubench.reports.figures.declaration import Figure
from relubench.reports.figures.draw import are_small
from relubench.reports.figures.looks import Look, looks_of
from relubench.reports.figures.source import source_of
from relubench.reports.figures.table import figures_of
from relubench.reports.figures.vector import drawing_of
from relubench.reports.formatting import readable
from relubench.reports.page.markup import data_island, element, folded, paragraph, text_of
from relubench.reports.page.reading import reading_html
from relubench.reports.page.runs import runs_html
from relubench.reports.page.table import notes_html, table_html
from relubench.reports.render import Screen, as_json
from relubench.reports.report import Report
from relubench.version import __version__

MOST_DATA = 900_000
"""Bytes of packed raw data that a page carries of all its results together."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing from anywhere."""


@dataclass(frozen=True, slots=True)
class Part:
    """One result of a page."""

    report: Report
    figures: list[Figure]
    name: str
    """What the ids of its elements begin with."""


def as_page(reports: Sequence[Report]) -> str:
    """The results as HTML, a part for each."""
    parts = [
        Part(report, figures_of(source_of(report), report.figures), f"r{place}") for place, report in enumerate(reports)
    ]
    points: dict[str, Any] = {}
    title = parts[0].report.question or parts[0].report.title or "relubench"
    main = [
        _legend(parts),
        *(_section(part, points, several=len(parts) > 1) for part in parts),
        reading_html([part.report for part in parts]),
        *(_data(part, MOST_DATA // len(parts)) for part in parts),
    ]
    made_by = f"Made by relubench {__version__}. This file needs no network and no other file."
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{text_of(title)}</title>\n<style>{_asset('page.css')}</style>\n</head>\n<body>",
            _header(parts),
            element("main", "\n".join(main)),
            element("footer", paragraph(made_by)),
            data_island("points", points),
            f"<script>{_asset('page.js')}</script>\n</body>\n</html>\n",
        ]
    )


def _asset(name: str) -> str:
    return (files("relubench.reports.page") / "assets" / name).read_text("utf-8")


def _header(parts: Sequence[Part]) -> str:
    """The question, the answer in one sentence, and where to go from there."""
    report = parts[0].report
    answer, more = split_sentence(report.sentence)
    links = {"results": "Table", "figures": "Figures", "runs": "Runs", "reading": "How to read it", "data": "Data"}
    places = "".join(
        f'<li><a href="#{name}">{word}</a>' for name, word in links.items() if name != "figures" or parts[0].figures
    )
    return (
        "<header>"
        '<div class="tools screen"><button type="button" id="theme" class="plain">Light or dark</button></div>'
        f"<h1>{text_of(report.question or report.title or 'A result of relubench')}</h1>"
        + paragraph(answer, "answer")
        + paragraph(more, "more")
        + paragraph(report.title, "soft")
        + f'<nav aria-label="Parts of this page"><ul>{places}</ul></nav></header>'
    )


def split_sentence(text: str) -> tuple[str, str]:
    """The first sentence of a text, and the rest; a point between digits ends none."""
    match = re.match(r"(.*?[.!?])\s+(?=[A-Z“])(.*)", text, flags=re.S)
    return (match[1], match[2]) if match else (text, "")


def _legend(parts: Sequence[Part]) -> str:
    """Buttons that switch a key in all figures and tables; empty where there is nothing to switch."""
    keys = list(dict.fromkeys(key for part in parts for figure in part.figures for key in figure.keys))
    if len(keys) < 2:
        return ""
    looks = looks_of(keys)
    buttons = "".join(
        f'<button type="button" class="key" aria-pressed="true" data-key="{text_of(key)}">'
        f"{_swatch(looks[key])}{text_of(key)}</button>"
        for key in keys
    )
    all_button = '<button type="button" class="plain every">all</button>'
    return (
        '<div class="legend"><fieldset><legend>Show in all figures and tables:</legend>'
        f"{buttons}{all_button}</fieldset></div>"
    )


def _swatch(look: Look) -> str:
    """A short piece of the line."""
    dash = f";stroke-dasharray:{' '.join(str(2 * length) for length in look.dash)}" if look.dash else ""
    line = f'<path d="M1 6H25" style="stroke:var(--c{look.colour});stroke-width:3{dash}"/>'
    return f'<svg class="swatch" viewBox="0 0 26 12" aria-hidden="true" focusable="false">{line}</svg>'


def _section(part: Part, points: dict[str, Any], *, several: bool) -> str:
    report = part.report
    first = part.name == "r0"
    heading = report.question or report.title if several and not first else "Results"
    tables = report.tables or [report]
    shown = "".join(
        (
            f"<h3>{text_of(table.title)}</h3>"
            if len(tables) > 1
            else paragraph(report.title, "soft")
            if not first
            else ""
        )
        + paragraph(table.caption, "soft")
        + table_html(table, f"{part.name}-t{place}")
        + notes_html(table)
        for place, table in enumerate(tables)
    )
    answer = "" if first else paragraph(report.sentence, "answer")
    figures = _pictures(report, part.name)
    figures += "".join(_figure(figure, f"{part.name}-{figure.name}", points) for figure in part.figures)
    heading_figures = f"<h2{_id('figures', first=first)}>Figures</h2>" if figures else ""
    return (
        f'<section aria-labelledby="{part.name}-h"><h2 id="{part.name}-h"><span{_id("results", first=first)}></span>'
        f"{text_of(heading)}</h2>{answer}{shown}</section>"
        + (f"<section>{heading_figures}{figures}</section>" if figures else "")
        + _runs_section(report, first=first)
    )


def _id(name: str, *, first: bool) -> str:
    return f' id="{name}"' if first else ""


def _runs_section(report: Report, *, first: bool) -> str:
    lines = [paragraph(f"relubench {report.version}, on {report.device or 'a device that the result does not name'}.")]
    if report.command_line:
        lines.append(f"<p>The command that makes it again:</p><pre><code>{text_of(report.command_line)}</code></pre>")
    return f"<section><h2{_id('runs', first=first)}>How it was made</h2>{''.join(lines)}{runs_html(report)}</section>"


def _figure(figure: Figure, name: str, points: dict[str, Any]) -> str:
    """The figure's panels, each a drawing with its points, and its numbers as a table that a click makes."""
    panels = []
    for place, panel in enumerate(figure.panels):
        panel_name = f"{name}-{place}"
        drawing = drawing_of(panel, figure.keys, panel_name)
        points[panel_name] = {
            "t": panel.title or figure.title,
            "x": panel.x_label,
            "y": panel.y_label,
            "c": list(panel.categories) or None,
            "s": drawing.series,
        }
        label = f"{panel.title or figure.title}. {_alternative(figure, place)} Arrow keys go from point to point."
        panels.append(
            f'<div class="panel" data-panel="{panel_name}" tabindex="0" role="group" aria-label="{text_of(label)}">'
            f'{drawing.svg}<div class="tip" role="status"></div></div>'
        )
    return element(
        "figure",
        f'<h3 id="{name}-h">{text_of(figure.title)}</h3><figcaption>{text_of(figure.reading)}</figcaption>'
        f'<div class="panels{" many" if are_small(figure.panels) else ""}">{"".join(panels)}</div>'
        + folded("The numbers of this figure", "", "numbers"),
        aria_labelledby=f"{name}-h",
    )


def _pictures(report: Report, name: str) -> str:
    """The pictures of the result, side by side; empty where it has none."""
    sheet = report.pictures
    if not sheet.pictures:
        return ""
    shown = "".join(
        element(
            "div",
            f'<img alt="{text_of(picture.caption)}" src="data:image/{picture.kind};base64,'
            f'{base64.b64encode(picture.content).decode("ascii")}">'
            f'<span aria-hidden="true">{text_of(picture.caption)}</span>',
            data_key=picture.key or None,
        )
        for picture in sheet.pictures
    )
    return element(
        "figure",
        f'<h3 id="{name}-pictures-h">{text_of(sheet.title)}</h3><figcaption>{text_of(sheet.reading)}</figcaption>'
        f'<div class="pictures">{shown}</div>',
        aria_labelledby=f"{name}-pictures-h",
    )


def _alternative(figure: Figure, place: int) -> str:
    """What the panel shows, for whoever does not see it."""
    panel = figure.panels[place]
    keys = list(dict.fromkeys(series.key for series in panel.series if series.key))
    axes = panel.x_label if panel.categories else f"{panel.y_label} against {panel.x_label}"
    return f"{axes} of {', '.join(keys[:8])}{' and others' if len(keys) > 8 else ''}."


def _data(part: Part, most: int) -> str:
    """The raw data to download: packed, without what would make the page too large."""
    report, left_out = part.report, []
    packed = _packed(report)
    for key in ("probes", "test_wrong", "test_losses", "curve"):
        if len(packed) <= most:
            break
        report = replace(
            report, runs=[{name: value for name, value in run.items() if name != key} for run in report.runs]
        )
        left_out.append(key)
        packed = _packed(report)
    note = f" Left out, since it would make the page too large: {', '.join(left_out)} of the runs." if left_out else ""
    first = part.name == "r0"
    name = f"relubench-{part.report.about.get('preset') or part.report.command}.json.gz"
    href = "data:application/gzip;base64," + base64.b64encode(packed).decode("ascii")
    return (
        f"<section>{'<h2 id=data>Data</h2>' if first else ''}<p>"
        f'<a class="data" download="{text_of(name)}" href="{href}">'
        f"{text_of(name.removesuffix('.gz'))}</a>: every row and every run, as <code>--format json</code> writes them "
        f"({readable(len(packed))} packed).{text_of(note)}</p></section>"
    )


def _packed(report: Report) -> bytes:
    # Without the time the same result gives the same page.
    return gzip.compress(as_json(report, Screen()).encode(), mtime=0)


def page_content(reports: Sequence[Report], path: Path) -> bytes:
    """The content of the page's file: HTML, or Markdown where the suffix is .md."""
    if path.suffix.lower() == ".md":
        from relubench.reports.page.markdown import as_markdown_page

        return as_markdown_page(reports).encode("utf-8")
    return as_page(reports).encode("utf-8")
