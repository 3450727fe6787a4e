"""The command line's work from Python: the same settings by the same names, the same runs and rows.

Every function raises RelubenchError (UsageError, DataError or ComputeError) for what its command refuses; the text of
an error has the command's hint in its second line. Nothing is printed: warnings are Python's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack

from relubench.errors import ComputeError, UsageError
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.l1_range import ABLATION_DEFAULTS, check_layers
from relubench.experiments.named_settings import (
    SpeedSettings,
    Texts,
    TrainingSettings,
    activation_names,
    check_names,
    configuration,
    overrides_of,
    texts_of,
)
from relubench.experiments.pretraining_files import check_export, export_stack, pretraining_defaults
from relubench.experiments.python_study import Place, carry_out, open_study, with_drawn_strengths
from relubench.experiments.record import StudyRecord, record_of
from relubench.experiments.sections import Method
from relubench.experiments.study import Study
from relubench.reports.report import Report
from relubench.reports.table import Results, Table
from relubench.reports.training.pretraining import pretraining_report
from relubench.reports.training.sequential import train_by_looks
from relubench.reports.training.study import study_report
from relubench.system.paths import user_path


def train(
    act: object = None,
    *,
    settings: Mapping[str, Any] | None = None,
    data_dir: Place = None,
    runs_dir: Place = None,
    fresh: bool = False,
    **named: Unpack[TrainingSettings],
) -> Results:
    """What `relubench train` computes; finished runs come from the store unless `fresh`.

    `act` is an activation or several: names, functions or nn.Module classes. `named` are the flags of the command (see
    TrainingSettings), and `settings` is the long tail, nested as in the configuration. ComputeError if no run could be
    computed.

    >>> relubench.train(act=["relu", torch.nn.GELU], dataset="digits", epochs=5, settings={"data": {"labels": 100}})
    """
    if isinstance(seeds := named.get("seeds"), str):
        training = train_by_looks(act, {**named}, settings, seeds, lambda parts: open_study(parts, data_dir, runs_dir))
        return _results(training.study, training.report)
    study = open_study(configuration(act, named, settings), data_dir, runs_dir, fresh)
    return _results(study, study_report)


def pretrain(
    act: object = None,
    *,
    method: Method | Sequence[Method] | None = None,
    pretrain_epochs: int | None = None,
    pretrain_lr: float | Literal["auto"] | None = None,
    control: bool | None = None,
    export: str | Path | None = None,
    from_: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    data_dir: Place = None,
    runs_dir: Place = None,
    fresh: bool = False,
    **named: Unpack[TrainingSettings],
) -> Results:
    """What `relubench pretrain` computes: every activation pre-trained by each `method`, compared with the first.

    By default that is none and rbm, of sigmoid, tanh, relu and softplus; `control` adds rows that start from the
    pre-trained weights shuffled. `export` writes the pre-trained stack to a file, and `from_` fine-tunes from such a
    file. The rest is as in `train`, and `settings` may have a section more.

    >>> relubench.pretrain("sigmoid", method=["none", "dae"], settings={"pretrain": {"noise": "gaussian"}})
    """
    values = {"epochs": pretrain_epochs, "lr": pretrain_lr, "control": control}
    own = {key: value for key, value in values.items() if value is not None}
    methods = texts_of(method)
    if methods:
        own["methods"] = methods
    defaults = pretraining_defaults(user_path(from_) if from_ is not None else None, methods)
    config = configuration(act, named, settings, defaults=defaults, own={"pretrain": own} if own else None)
    if export is not None:
        check_export(user_path(export), config)
    study = open_study(config, data_dir, runs_dir, fresh)
    results = _results(study, pretraining_report)
    if export is not None:
        export_stack(study, user_path(export))
    return results


def ablate_sparsity(
    act: object = None,
    *,
    l1: float | Sequence[float] | None = None,
    l1_scale: Literal["sum", "mean", "paper"] | None = None,
    nets: int | None = None,
    settings: Mapping[str, Any] | None = None,
    data_dir: Place = None,
    runs_dir: Place = None,
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
        config = with_drawn_strengths(config, nets, data_dir, runs_dir, fresh)
    return _results(open_study(config, data_dir, runs_dir, fresh), sparsity_report)


def run(
    preset: str | Path,
    *,
    scale: Literal["smoke", "quick", "paper"] | None = None,
    act: object = None,
    method: Method | Sequence[Method] | None = None,
    seeds: int | None = None,
    device: str | None = None,
    settings: Mapping[str, Any] | None = None,
    data_dir: Place = None,
    runs_dir: Place = None,
    fresh: bool = False,
) -> Results:
    """What `relubench run PRESET` computes: a preset by its name, or by the path of a YAML file.

    `act` and `method` choose among the activations and the ways of pre-training that it has.

    >>> relubench.run("glorot2011-table1", scale="smoke")
    """
    from relubench.experiments.presets.catalogue import open_preset
    from relubench.reports.training.preset import preset_report

    acts = activation_names(act) if act is not None else ()
    overrides = overrides_of(None, {"seeds": seeds, "device": device})
    opened = open_preset(str(preset), scale, [dict(settings or {}), overrides], acts, texts_of(method))
    study = open_study(opened.variants, data_dir, runs_dir, fresh)
    return _results(study, partial(preset_report, preset=opened))


def speed(
    act: object = None,
    *,
    network: bool = False,
    sparsity: bool = False,
    arithmetic: bool = False,
    settings: Mapping[str, Any] | None = None,
    data_dir: Place = None,
    runs_dir: Place = None,
    **named: Unpack[SpeedSettings],
) -> Table:
    """What `relubench speed` measures: each activation as an operator, beside relu and the speed of the memory.

    With `network` networks are trained and their steps timed, with `sparsity` the products of one network's activations
    with and without their zeros, with `arithmetic` the article's operations. `named` are the flags of the command (see
    SpeedSettings), for networks those of `train`, too.

    >>> relubench.speed(["relu", "gelu"], size="64k", budget=5)
    >>> relubench.speed(network=True, dataset="digits", epochs=5)
    """
    from relubench.experiments.speed import MODES, check_place, choose_mode, options_of
    from relubench.system.device import check_torch_loads

    check_names(named, SpeedSettings.__annotations__)
    places = {"act": act, "settings": settings, "data_dir": data_dir, "runs_dir": runs_dir}
    switches = {"--network": network, "--sparsity": sparsity, "--arithmetic": arithmetic}
    mode = choose_mode(switches, options_of({**named, **places}))
    check_torch_loads()
    if mode in ("", "--arithmetic"):
        return Table(_operators_timed(mode, act, named, data_dir, runs_dir))
    training = {name: value for name, value in named.items() if name in TrainingSettings.__annotations__}
    own = {"pretrain": {"methods": methods}} if (methods := texts_of(named.get("method"))) else None
    config = configuration(act, training, settings, defaults={"act": MODES[mode].acts}, own=own)
    check_place(config)
    return Table(_networks_timed(mode, config, named, data_dir, runs_dir))


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
    dtypes = check_names("--dtype", list(texts_of(dtype)), tuple(DTYPES))
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
    return Table(compared([read_table(user_path(path)) for path in files]))


def _operators_timed(mode: str, act: object, named: SpeedSettings, data_dir: Place, runs_dir: Place) -> Report:
    from relubench.activations import select
    from relubench.experiments.operator_inputs import recorded_inputs
    from relubench.experiments.operator_speed import operator_request, time_arithmetic, time_operators
    from relubench.experiments.speed import MODES, limits_of, timing_request
    from relubench.reports.speed.sessions import arithmetic_timed, operators_timed
    from relubench.system.device import resolve

    device, limits = resolve(named.get("device") or ("cpu" if mode else "auto")), limits_of(named)
    if mode == "--arithmetic":
        return arithmetic_timed(time_arithmetic(timing_request(mode, **limits), device))
    acts = MODES[mode].acts if act is None else activation_names(act)
    request = operator_request(
        select(acts),
        device,
        size=texts_of(named.get("size")),
        dtype=texts_of(named.get("dtype")),
        passes=texts_of(named.get("passes")),
        compiled=bool(named.get("compiled")),
        threads=named.get("threads"),
        inputs=(recorded := recorded_inputs(named.get("inputs"), runs_dir, data_dir)),
        **limits,
    )
    return operators_timed(time_operators(request, select(acts), acts, device), recorded)


def _networks_timed(
    mode: str, config: ExperimentConfig, named: SpeedSettings, data_dir: Place, runs_dir: Place
) -> Report:
    from relubench.experiments import network_speed
    from relubench.experiments.speed import limits_of, timing_request
    from relubench.reports.speed.sessions import networks_timed, products_timed
    from relubench.runs.task import task_called

    target = named.get("target")
    request = timing_request(mode, **limits_of(named), compiled=bool(named.get("compiled")))
    study = open_study(config, data_dir, runs_dir)
    task = task_called(study.parts[0].prepared.task)
    target_score = None if target is None else network_speed.target_score(f"{target:g}", task)
    network_speed.check_compiled(study, request)
    if mode == "--sparsity":
        network_speed.check_sparse(study)
        carry_out(study)
        return products_timed(record_of(study), *network_speed.time_products(study, request))
    carry_out(study)
    timed = network_speed.time_networks(study, request)
    if failure := network_speed.failure_of(timed.measurement):
        raise ComputeError(f"no step could be timed: {failure}", "relubench.train gives the rows of the training")
    return networks_timed(record_of(study), timed, target_score, study.parts[0].prepared.n_train).report


def _results(study: Study, report: Callable[[StudyRecord], Report]) -> Results:
    """The study carried out, with its report."""
    carry_out(study)
    record = record_of(study)
    masks = {result.id: mask for result in record.finished if (mask := record.mask_of(result)) is not None}
    return Results(report(record), record.config, record.results, masks, list(record.tunings), study.store)
