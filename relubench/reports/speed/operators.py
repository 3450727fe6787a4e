"""The table of `relubench speed`: a line for each activation, a column for each size and pass, what they rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from relubench.reports.formatting import short
from relubench.reports.report import Column, Report, Row
from relubench.version import __version__

STAMP = ("size", "dtype", "mode", "pass")
"""What tells the cells of one activation apart."""

SIZES = {"cache": "in cache", "last": "last cache", "memory": "memory"}
PASSES = {"forward": "forward", "forward+backward": "fwd+bwd", "inplace": "in place"}

ONE_PROCESS = "all rounds ran in one process, and another process may differ by more than the intervals say"

PAIRED = (
    "a ratio is the median of the ratios within each round, and not the quotient of the times beside it; trust the "
    "ratio, since both times of a round met the same machine"
)
"""Which of the two to believe on a busy machine, where they differ."""
APART = 1.05
"""From this factor between a ratio and the quotient of its times on the difference is worth a number."""

GATED_NOTE = (
    "a gated activation's size is the number of its outputs; it reads two elements for each (maxout: one a piece)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """How the measurement went: what is said under the table."""

    clock: str
    ended: str
    rounds: int
    processes: int
    seconds: float
    budget_s: float
    rel_ci: float
    aa_cells: int
    aa_called: int
    aa_expected: tuple[int, int]
    aa_widest: float
    roofs: Sequence[tuple[str, str, str, float]]
    """(size, dtype, pattern, GB/s)"""
    warnings: Sequence[str] = ()
    sizes: Sequence[tuple[str, int]] = ()


def speed_report(rows: Sequence[Row], runs: Sequence[Row], course: Course, *, device: str) -> Report:
    """The report of these rows (SpeedRow.to_json)."""
    return Report(
        command="speed",
        version=__version__,
        device=device,
        rows=list(rows),
        runs=list(runs),
        human_rows=merge(rows),
        columns=_columns(rows),
        title=f"speed · {device} · {course.clock}",
        caption=_caption(course),
        footnotes=_footnotes(rows, course),
        about={"measurement": asdict(course)},
        sentence=sentence(rows, course),
    )


def merge(rows: Sequence[Row]) -> list[Row]:
    """One line for each activation: its rows by their cell."""
    lines: dict[str, Row] = {}
    for row in rows:
        line = lines.setdefault(row["activation"], {"activation": row["activation"]})
        line[_cell(row)] = row
    return list(lines.values())


def _cell(row: Row) -> str:
    return "|".join(str(row[key]) for key in STAMP)


def _columns(rows: Sequence[Row]) -> list[Column]:
    cells = {_cell(row): row for row in rows}
    varying = [key for key in ("dtype", "mode") if len({row[key] for row in rows}) > 1]
    columns = [Column(header="activation", parts=lambda line: [line["activation"]], right=False)]
    for cell, row in cells.items():
        words = [PASSES.get(row["pass"], row["pass"]), SIZES.get(row["size"], short(row["elements"]))]
        words += [row[key] for key in varying]
        columns.append(Column(header=", ".join(words), parts=_numbers(cell), style=_style(cell), leaves=_leaves(row)))
    largest = max((row["elements"] for row in rows), default=0)
    columns += [_roof_column(cell, row, varying) for cell, row in cells.items() if row["elements"] == largest]
    memory_cell = next((cell for cell, row in cells.items() if row["pass"] in ("forward+backward", "backward")), None)
    if memory_cell is not None:
        columns.append(
            Column(header="kept B", parts=lambda line: [_number_text(line, memory_cell, "kept_bytes_per_element")])
        )
    return columns


def _roof_column(cell: str, row: Row, varying: Sequence[str]) -> Column:
    words = [f"roof % {PASSES.get(row['pass'], row['pass'])}", *(row[key] for key in varying)]
    return Column(header=", ".join(words), parts=lambda line: [_share(line.get(cell))], leaves=9)


def _leaves(row: Row) -> int:
    """The sizes in memory, where a network's activations lie, stay longest."""
    return {"cache": 1, "last": 2}.get(row["size"], 3) + (3 if row["pass"] == "forward+backward" else 0)


def _numbers(cell: str) -> Callable[[Row], list[str]]:
    def parts(line: Row) -> list[str]:
        row = line.get(cell)
        if row is None:
            return []
        if row["outcome"] != "ok":
            return [row["outcome"]]
        return [significant(row["ns_per_element"]), f"{_ratio(row):>9}"]

    return parts


def _ratio(row: Row) -> str:
    if row["ratio_to_relu"] is None:
        return ""
    low, high = row["ratio_to_relu_ci_low"], row["ratio_to_relu_ci_high"]
    around = "" if low is None else f"±{50 * (high - low) / row['ratio_to_relu']:.0f}%"
    return f"×{row['ratio_to_relu']:.2f}{around}"


def _share(row: Row | None) -> str:
    return "" if row is None or row["roof_share"] is None else f"{100 * row['roof_share']:.0f}"


def _style(cell: str) -> Callable[[Row], str]:
    colours = {"faster": "green", "slower": "red", "no difference": "dim"}
    return lambda line: colours.get((line.get(cell) or {}).get("verdict") or "", "")


def _number_text(line: Row, cell: str, key: str) -> str:
    row = line.get(cell)
    return "" if row is None or row[key] is None else f"{row[key]:g}"


def significant(value: float | None) -> str:
    """Three digits: 0.0312, 1.25, 48.1."""
    if value is None:
        return ""
    return f"{value:#.3g}".rstrip(".")


def _caption(course: Course) -> str:
    sizes = ", ".join(f"{SIZES[name]}: {elements:,}" for name, elements in course.sizes if name in SIZES)
    return "ns an element, ratio to relu with half its 95 % interval, share of the measured roof" + (
        f"; elements {sizes}" if sizes else ""
    )


def _footnotes(rows: Sequence[Row], course: Course) -> list[str]:
    notes = list(course.warnings)
    low, high = course.aa_expected
    # Intervals over processes miss less often than they say.
    several_processes = course.processes > 1
    expected = f"at most {high} are expected" if several_processes else f"{low} to {high} are expected at 5 %"
    notes.append(
        against_itself("relu", course.aa_called, course.aa_cells, expected, course.aa_widest)
        if course.aa_cells
        else "there were too few rounds for an interval, so no activation is called faster or slower than relu"
    )
    condition = (
        f"every interval {'is' if course.ended == 'interval' else 'was'} narrower than {100 * course.rel_ci:g} %"
    )
    ending = {
        "interval": condition,
        "budget": f"the budget of {course.budget_s:g} s ended it before {condition}",
        "failure": f"it ended before {condition}",
        "interrupted": f"it was interrupted before {condition}",
    }[course.ended]
    notes.append(f"{course.rounds} rounds in {course.seconds:.0f} s: {ending}; {_observations(course)}")
    base = {_cell(row): row["ns_per_element"] for row in rows if row["activation"] == "relu"}
    notes.append(
        paired_note(
            (f"{row['activation']}, {row['pass']}", row["ratio_to_relu"], row["ns_per_element"], base.get(_cell(row)))
            for row in rows
        )
    )
    notes.append(_roof_note(course))
    allocating = sorted(
        {row["activation"] for row in rows if row["storage"] == "allocating" and row["mode"] == "eager"}
    )
    plain = [row for row in rows if row["pass"] != "allocating" and row["storage"] == "allocating"]
    if plain and allocating:
        notes.append(
            f"{', '.join(allocating)}: each result is a new tensor, since no form writes into an existing one as it "
            "does for the others"
        )
    cold = sorted({row["elements"] for row in rows if row["cache"] == "cold"})
    notes.append(
        "caches are warm"
        + (f", but cold by their size at {', '.join(f'{elements:,}' for elements in cold)} elements" if cold else "")
        + "; inputs are drawn from a unit normal distribution; gradients are computed as in training, with noise where "
        "the activation has any"
    )
    notes += (
        [GATED_NOTE]
        if any(row["activation"] in ("glu", "maxout") or "glu" in row["activation"] for row in rows)
        else []
    )
    if any(row["kept_bytes_per_element"] for row in rows):
        notes.append("kept B: bytes for each element that the forward pass keeps for the backward pass")
    compiled = [row["compile_seconds"] for row in rows if row["compile_seconds"] is not None]
    if compiled:
        notes.append(f"compile time, not in the figures: median {sorted(compiled)[len(compiled) // 2]:.1f} s a form")
    notes += failures(rows)
    return [note for note in notes if note]


def against_itself(base: str, called: int, cells: int, expected: str, widest: float) -> str:
    """How often the base was told from itself in a table of `cells` columns or rows, and what that limits."""
    return (
        f"A/A test: {base} was also timed against itself in the same rounds. {called} of {cells} of these intervals "
        f"wrongly show a difference ({expected}), and the widest reaches {100 * widest:.1f} %. Faster or slower is "
        "said only of a ratio beyond its own A/A interval"
    )


def paired_note(pairs: Iterable[tuple[str, float | None, float | None, float | None]]) -> str:
    """What a ratio is, and by how much the quotient of the printed times departs from it where that is much.

    `pairs`: for each row its name, its ratio, its time and that of the base.
    """
    factors: list[tuple[float, str]] = []
    for name, ratio, time, base in pairs:
        if ratio and time and base and ratio > 0:
            factor = time / base / ratio
            factors.append((max(factor, 1 / factor), name))
    widest, name = max(factors, default=(1.0, ""))
    if widest < APART:
        return PAIRED
    return f"{PAIRED} (the machine was so unsteady that the two differ by a factor of up to {widest:.2f} here: {name})"


def failures(rows: Sequence[Row]) -> list[str]:
    """What could not be measured, and why."""
    messages = {row["activation"]: row["message"] for row in rows if row["outcome"] == "failed"}
    return [f"{name}: failed ({message})" for name, message in messages.items()]


def _observations(course: Course) -> str:
    """What the numbers are taken over, and what an interval therefore covers."""
    if course.processes == 1:
        return f"times are medians; {ONE_PROCESS}"
    return (
        f"times are medians; some kernels are faster in one process than in another, so the intervals are over the "
        f"{course.processes} processes, and at least as wide as those over rounds"
    )


def _roof_note(course: Course) -> str:
    """The roofs of the largest size, in GB/s."""
    if not course.roofs:
        return ""
    size, dtype = course.roofs[-1][0], course.roofs[-1][1]
    texts = dict.fromkeys(
        f"{pattern} {gb:.1f}" for roof_size, kind, pattern, gb in course.roofs if (roof_size, kind) == (size, dtype)
    )
    text_by_pattern: dict[str, str] = {}
    for text in texts:
        text_by_pattern.setdefault(text.rsplit(" ", 1)[0], text)
    roofs = ", ".join(text_by_pattern.values())
    return f"roof, measured here in the same rounds ({SIZES.get(size, size)}, {dtype}, GB/s): {roofs}"


def sentence(rows: Sequence[Row], course: Course) -> str:
    """The sentence under the table: which activation is slowest, and which cannot be told from relu or are faster."""
    best = [row for row in rows if row["outcome"] == "ok" and row["ratio_to_relu"] is not None]
    if not best:
        return "Nothing could be compared with relu."
    last_row = best[-1]
    same_cell = [row for row in best if all(row[key] == last_row[key] for key in STAMP) and row["activation"] != "relu"]
    pass_name, size = last_row["pass"], last_row["size"]
    cell_name = f"{PASSES.get(pass_name, pass_name)}, {SIZES.get(size, size)}, {last_row['dtype']}"
    if not same_cell:
        return f"relu takes {significant(last_row['ns_per_element'])} ns an element ({cell_name})."
    slowest = max(same_cell, key=lambda row: row["ratio_to_relu"])
    equal = [row["activation"] for row in same_cell if row["verdict"] == "no difference"]
    faster = [row["activation"] for row in same_cell if row["verdict"] == "faster"]
    parts = [f"{slowest['activation']} is the slowest, {slowest['ratio_to_relu']:.2f} times relu's time"]
    if all(row["verdict"] is None for row in same_cell):
        return f"In {cell_name}: too few rounds to tell anything from relu; give it a larger --budget."
    if slowest["verdict"] != "slower":
        parts = [] if len(equal) < len(same_cell) else ["no activation can be told from relu"]
    if equal and len(equal) < len(same_cell):
        parts.append(f"{', '.join(equal)} cannot be told from relu")
    if faster:
        parts.append(f"{', '.join(faster)} {'is' if len(faster) == 1 else 'are'} faster")
    return f"In {cell_name}: {'; '.join(parts)}."
