"""A report as a table of LaTeX for the package booktabs: with a label, units in one form, a mark for what differs.

What its answer is, and what it could have seen, is said in the paper's own text: its notes go without.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from relubench.reports.report import Report

WORD = re.compile(r"(?P<numbers>.*\]) (?P<word>lower|higher|noise)(?P<limit> .*)?")
"""A cell of differences: its numbers, its word, and what limits that."""
MARK = r"\textsuperscript{*}"
MARK_NOTE = "the interval of the difference leaves out zero."
FLAG = re.compile(r"(?:^|[\s(])--[a-z]")
"""An option of the command line: what speaks of one is no text for a paper."""


def latex_table(report: Report, cells: Sequence[Sequence[str]]) -> str:
    """The table of `cells`, one text for each row and column; what pdflatex cannot set is spelled out as its number."""
    from tabulate import tabulate

    marked = [[_marked(cell) for cell in line] for line in cells]
    headers = [_latex(re.sub(r" %$", " (%)", column.header)) for column in report.columns]
    sides = ["right" if column.right else "left" for column in report.columns]
    grid = tabulate(marked, headers, tablefmt="latex_raw", colalign=sides, disable_numparse=True) if headers else ""
    rules = iter((r"\toprule", r"\midrule", r"\bottomrule"))
    lines = [next(rules, line) if line.strip() == r"\hline" else line for line in grid.split("\n")]
    # Without the space at its sides, and in small letters, a table of six columns is as wide as a page.
    lines = [re.sub(r"(\\begin\{tabular\})\{(\w+)\}", r"\1{@{}\2@{}}", line) for line in lines]
    title = "; ".join(text for text in (report.title, report.caption) if text)
    names = tuple(
        str(report.names.get(row["activation"], row["activation"])) for row in report.rows if "activation" in row
    )
    texts = dict.fromkeys(note.text for note in report.notes if note.kind != "aside" and not FLAG.search(note.text))
    sentences = [_latex(_sentence(text, names)) for text in texts]
    has_mark = any(MARK in cell for line in marked for cell in line)
    sentences = [f"{MARK}~{_latex(MARK_NOTE)}", *sentences] if has_mark else sentences
    notes = [r"\par\smallskip\footnotesize", *sentences] if sentences else []
    head = ["% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering"]
    head += [rf"\caption{{{_latex(title)}}}"] if title else []
    head += [rf"\label{{tab:{label_of(report)}}}"]
    return "\n".join([*head, r"\small", *lines, *notes, r"\end{table}"])


def _sentence(text: str, names: tuple[str, ...]) -> str:
    """The note as a sentence; an activation or a file at its start keeps its small letter."""
    is_name = text.startswith(names) or "." in text.split(" ", 1)[0]
    return (text if is_name else text[:1].upper() + text[1:]).rstrip(".") + "."


def label_of(report: Report) -> str:
    """What the table is referred to by: the preset, else the command, in letters, digits and hyphens."""
    name = str(report.about.get("preset") or report.command)
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "table"


def _marked(cell: str) -> str:
    """The cell with a mark for the word that says that a difference is more than noise."""
    match = WORD.fullmatch(cell)
    if match is None:
        return _latex(cell)
    return _latex(match["numbers"]) + (MARK if match["word"] != "noise" else "")


LATEX = {
    **{letter: "\\" + letter for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    "[": "{[}",
    "·": r"\ensuremath{\cdot}",
    "—": "---",
    "–": "--",
    "“": "``",
    "”": "''",
    "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "−": r"\ensuremath{-}",
}
"""A bracket is braced because one at the start of a line would be read as the option of the line break before it."""


def _latex(text: str) -> str:
    # A hyphen before a digit is a minus.
    text = re.sub(r"(?<![\w.)-])-(?=\d)", "−", text)
    flat = re.sub(r'(^|[\s(“])"', r"\1“", " ".join(text.split())).replace('"', "”")
    return "".join(LATEX.get(letter, letter if letter.isascii() else f"{{[}}U+{ord(letter):04X}]") for letter in flat)
