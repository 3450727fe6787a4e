"""The command line's work from Python: the same settings by the same names, the same runs and rows.

Every function raises RelubenchError (UsageError, DataError or ComputeError) for what its command refuses; the text of
an error has the command's hint in its second line. Nothing is printed: warnings are Python's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

from relubench.errors import WARNING, ComputeError, UsageError
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.l1_range import ABLATION_DEFAULTS, RangeSearch, check_layers
from relubench.experiments.named_settings import TrainingSettings, activation_names, configuration, overrides_of
from relubench.experiments.plan import Variant
from relubench.experiments.pretraining_plan import PRETRAIN_DEFAULTS
from relubench.experiments.python_objects import outermost_computation
from relubench.experiments.sections import Method
from relubench.experiments.study import Study
from relubench.reports.render import FORMATS
from relubench.reports.report import Report
from relubench.reports.table import Results, Row, Table
from relubench.reports.training.pretraining import pretraining_report
from relubench.reports.training.study import study_report
from relubench.system.paths import user_path
from relubench.version import __version__

Texts = str | Sequence[str]


def train(
    act: object = None,
    *,
    settings: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    fresh: bool = False,
    **named: Unpack[TrainingSettings],
) -> Results:
    """What `relubench train` computes; finished runs come from the store unless `fresh`.

    `act` is an activation or several: names, functions or nn.Module classes. `named` are the flags of the command (see
    TrainingSettings), and `settings` is the long tail, nested as in the configuration. ComputeError if no run could be
    computed.

    >>> relubench.train(act=["relu", torch.nn.GELU], dataset="digits", epochs=5, settings={"data": {"labels": 100}})
    """
    return _computed(configuration(act, named, settings), data_dir, runs_dir, fresh, study_report)


def pretrain(
    act: object = None,
    *,
    method: Method | Sequence[Method] | None = None,
    pretrain_epochs: int | None = None,
    pretrain_lr: float | Literal["auto"] | None = None,
    control: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    fresh: bool = False,
    **named: Unpack[TrainingSettings],
) -> Results:
    """What `relubench pretrain` computes: every activation pre-trained by each `method`, compared with the first.

    By default that is none and rbm, of sigmoid, tanh, relu and softplus; `control` adds rows that start from the
    pre-trained weights shuffled. The rest is as in `train`, and `settings` may have a section more.

    >>> relubench.pretrain("sigmoid", method=["none", "dae"], settings={"pretrain": {"noise": "gaussian"}})
    """
    values = {"epochs": pretrain_epochs, "lr": pretrain_lr, "control": control}
    own = {key: value for key, value in values.items() if value is not None}
    if method is not None:
        own["methods"] = (method,) if isinstance(method, str) else tuple(method)
    config = configuration(act, named, settings, defaults=PRETRAIN_DEFAULTS, own={"pretrain": own} if own else None)
    return _computed(config, data_dir, runs_dir, fresh, pretraining_report)


def ablate_sparsity(
    act: object = None,
    *,
    l1: float | Sequence[float] | None = None,
    l1_scale: Literal["sum", "mean", "paper"] | None = None,
    nets: int | None = None,
    settings: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    fresh: bool = False,
    **named: Unpack[TrainingSettings],
) -> Results:
    """What `relubench ablate-sparsity` computes: zeros, dead units and error at each L1 strength; relu unless `act`.

    `l1` are the strengths (by default the article's five), `l1_scale` what they multiply. With `nets` that many
    networks are trained instead, at strengths drawn from the range that eight short runs find. The rest is as in
    `train`.

    >>> relubench.ablate_sparsity(l1=[0, 0.001, 0.01], dataset="digits", epochs=5)
    """
    from relubench.reports.training.sparsity import sparsity_report

    for name, value in (("l1", l1), ("seeds", named.get("seeds")), ("seed", named.get("seed"))):
        if nets is not None and value is not None:
            hint = "nets draws a strength for each of its own seeds; leave one of the two out"
            raise UsageError(f"nets={nets} and {name}={value!r} exclude each other", hint)
    strengths = None if l1 is None else (l1,) if isinstance(l1, float | int) else tuple(sorted(set(l1)))
    values = {"l1": strengths, "l1_scale": l1_scale}
    own = {"train": {key: value for key, value in values.items() if value is not None}}
    config = configuration(act, named, settings, defaults=ABLATION_DEFAULTS, own=own)
    check_layers(config)
    if nets is not None:
        config = _sampled(config, nets, data_dir, runs_dir, fresh)
    return _computed(config, data_dir, runs_dir, fresh, sparsity_report)


def run(
    preset: str | Path,
    *,
    scale: Literal["smoke", "quick", "paper"] | None = None,
    act: object = None,
    method: Method | Sequence[Method] | None = None,
    seeds: int | None = None,
    device: str | None = None,
    settings: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    fresh: bool = False,
) -> Results:
    """What `relubench run PRESET` computes: a preset by its name, or by the path of a YAML file.

    `act` and `method` choose among the activations and the ways of pre-training that it has.

    >>> relubench.run("glorot2011-table1", scale="smoke")
    """
    from relubench.experiments.presets.catalogue import open_preset
    from relubench.reports.training.preset import preset_report

    acts = activation_names(act) if act is not None else ()
    methods: Sequence[Method] = () if method is None else (method,) if isinstance(method, str) else method
    overrides = overrides_of(None, {"seeds": seeds, "device": device})
    opened = open_preset(str(preset), scale, [dict(settings or {}), overrides], acts, methods)
    return _computed(opened.variants, data_dir, runs_dir, fresh, lambda study: preset_report(study, opened))


def speed(
    act: object = "all",
    *,
    size: Texts = ("cache", "last", "memory"),
    dtype: Texts = "fp32",
    passes: Texts = ("forward", "forward+backward"),
    compiled: bool = False,
    threads: int = 1,
    rel_ci: float = 0.02,
    budget: float = 75.0,
    seed: int = 0,
    device: str = "auto",
) -> Table:
    """What `relubench speed` measures: each activation as an operator, beside relu and the speed of the memory.

    `passes` are those of --pass, `compiled` is --compile, `rel_ci` a share (0.02 is 2 %), `budget` in seconds.

    >>> relubench.speed(["relu", "gelu"], size="64k", budget=5)
    """
    from relubench.activations import select
    from relubench.experiments.operator_speed import operator_request, time_operators
    from relubench.reports.speed.operator_session import operator_report
    from relubench.system.device import check_torch_loads, resolve

    check_torch_loads()
    acts, place = activation_names(act), resolve(device)
    request = operator_request(
        select(acts),
        place,
        size=_texts(size),
        dtype=_texts(dtype),
        passes=_texts(passes),
        compiled=compiled,
        threads=threads,
        rel_ci=rel_ci,
        budget_s=budget,
        seed=seed,
    )
    session, remarks = time_operators(request, acts, place, lambda text: None)
    return Table(operator_report(session, remarks, place.name))


def verify(
    act: object = "all", *, dtype: Texts = ("fp32", "fp16", "bf16"), against: object = None, compiled: bool = False
) -> Table:
    """What `relubench verify` finds: whether values and gradients are right, a row for each activation, type and pass.

    A wrong value is no error here: its row has the outcome wrong. `against`: the activation to compare with.

    >>> {row["outcome"] for row in relubench.verify("relu").rows}
    """
    from relubench.activations import select
    from relubench.experiments.checks import check_rows, reference_choice
    from relubench.reports.verification import verification_report
    from relubench.system.device import check_torch_loads, resolve
    from relubench.timing.request import DTYPES, check_compiler, check_names

    check_torch_loads()
    place, choices = resolve("cpu"), select(activation_names(act))
    reference = reference_choice(activation_names(against)[0], choices) if against is not None else None
    dtypes = check_names("--dtype", list(_texts(dtype)), tuple(DTYPES))
    if compiled:
        check_compiler(place)
    rows = [row.to_json() for row in check_rows(choices, dtypes, compiled=compiled, against=reference)]
    return Table(verification_report(rows, device=place.name, torch=place.torch, compiled=compiled))


def compare(*files: str | Path) -> Table:
    """What `relubench compare` finds: later results (files of `--format json`) against the first, row by row.

    >>> relubench.compare("before.json", "after.json")
    """
    from relubench.reports.comparison import compare as compared
    from relubench.reports.saved import read_table

    if len(files) < 2:
        raise UsageError(f"compare needs two files or more, got {len(files)}", 'relubench.compare("A.json", "B.json")')
    return Table(compared([read_table(user_path(path)) for path in files], __version__))


def list_formats() -> list[Row]:
    """One row for each output format of the command line."""
    return [{"name": name} for name in FORMATS]


def list_columns() -> list[Row]:
    """One row for each column of a table of training: its name, its unit and its meaning."""
    from relubench.reports.training.columns import MEANINGS

    return [{"name": name, "in": unit or None, "meaning": meaning} for name, (unit, meaning) in MEANINGS.items()]


def _texts(texts: Texts) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)


def _sampled(
    config: ExperimentConfig, nets: int, data_dir: str | Path | None, runs_dir: str | Path | None, fresh: bool
) -> ExperimentConfig:
    """The configuration of `nets` networks whose strengths span the range that short runs find."""
    search = RangeSearch(config, lambda text: None)
    data, runs = (user_path(path) if path is not None else None for path in (data_dir, runs_dir))
    with outermost_computation():
        for study in search.studies(data_dir=data, runs_dir=runs, fresh=fresh):
            for _ in study.run():
                pass
    return search.sampled(nets)


def _computed(
    request: ExperimentConfig | Sequence[Variant],
    data_dir: str | Path | None,
    runs_dir: str | Path | None,
    fresh: bool,
    report: Callable[[Study], Report],
) -> Results:
    """The finished study with its report; raises ComputeError where no run could be computed."""
    notes: list[str] = []
    with outermost_computation():
        study = Study.open(
            request,
            data_dir=user_path(data_dir) if data_dir is not None else None,
            runs_dir=user_path(runs_dir) if runs_dir is not None else None,
            fresh=fresh,
            note=notes.append,
        )
        _warn(notes)
        failures = [f"{event.message} ({event.hint})" for event in study.run() if event.kind == "failed"]
    _warn(notes)
    finished = [result for result in study.results if result.outcome != "failed"]
    if not finished:
        raise ComputeError(f"none of the {study.total} runs could be computed", "; ".join(dict.fromkeys(failures)))
    masks = {result.id: mask for result in finished if (mask := study.wrong(result)) is not None}
    return Results(report(study), study.config, study.results, masks, study.tuned)


def _warn(lines: list[str]) -> None:
    """Raises each line that begins with WARNING as a Python warning where `train` was called; then empties `lines`."""
    for line in lines:
        if line.startswith(WARNING):
            # Past _warn, _computed, and train or pretrain: the user's own line.
            warnings.warn(line.removeprefix(WARNING), stacklevel=4)
    lines.clear()
