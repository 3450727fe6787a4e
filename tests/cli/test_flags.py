"""Flags of the configuration's fields: what follows from the schema, what is typed, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from relubench.cli.app import COMMANDS, app
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import FLAGS, SEED, flag_of
from relubench.cli.flags import Flag
from relubench.cli.options import NETWORK, PRETRAINING, TRAINING
from relubench.cli.schema_field import schema_field
from relubench.cli.signature import with_single_flags
from relubench.errors import UsageError
from relubench.experiments.config import ExperimentConfig, experiment, known_keys
from tests.cli.fakes import Cli, FakeStudy, result

OWN_DEFAULTS = ("act", "train.patience", "train.l1", "train.l1_scale", "pretrain.methods", "seeds", "model.keep_act")
OWN_DEFAULTS += ("model.latent", "model.output_act", "executor.address", "data.target", "data.context", "model.heads")
OWN_DEFAULTS += ("act_by_layer",)
"""Fields whose default a help describes instead of quoting it, or whose command has another."""


@cache
def options() -> dict[str, dict[str, Any]]:
    """By command its options, by the name that is typed."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    return {name: {option.opts[0]: option for option in commands[name].params} for name in COMMANDS}


def in_config(config: ExperimentConfig, path: str) -> Any:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def test_every_row_is_of_a_field_of_the_schema() -> None:
    assert set(FLAGS) <= set(known_keys())
    assert SEED.field in FLAGS


@pytest.mark.parametrize("path", FLAGS)
def test_every_help_is_a_sentence_that_names_default_and_choices(path: str) -> None:
    (option,) = FLAGS[path].parameter.annotation.__metadata__
    assert re.search(r"\. Default: [^.].*\.$", option.help)
    for word in schema_field(path).words:
        assert word in option.help + str(option.metavar) or word in ("auto", "own", "file"), word


@pytest.mark.parametrize("path", [path for path in FLAGS if path not in OWN_DEFAULTS])
def test_a_help_quotes_the_defaults_of_the_schema_and_of_the_modern_protocol(path: str) -> None:
    (option,) = FLAGS[path].parameter.annotation.__metadata__
    text = option.help.rpartition("Default: ")[2]
    paper, modern = (in_config(experiment({"train": {"protocol": name}}), path) for name in ("paper", "modern"))
    assert re.match(rf"{'off' if paper is False else re.escape(str(paper))}\b", text), (text, paper)
    assert (f"with --protocol modern {modern}" in text) == (modern != paper and path != "train.protocol")


@pytest.mark.parametrize(
    ("path", "option", "heading", "values", "kind", "default"),
    [
        ("data.train_size", "--train-size", NETWORK, "N", str, "none"),
        ("data.split", "--split", NETWORK, "standard|paper", str, "standard"),
        ("train.warmup_epochs", "--warmup-epochs", TRAINING, "X", str, "0.0, with --protocol modern 1.0"),
        ("pretrain.tied", "--tied", PRETRAINING, None, bool, "True"),
        ("pretrain.source", "--source", PRETRAINING, "NAME", str, "none"),
        ("model.keep_act", "--keep-act", NETWORK, "NAME", list[str], "()"),
        ("pretrain.lr", "--lr", PRETRAINING, "X|auto", str, "auto"),
    ],
)
def test_all_of_a_flag_follows_from_its_field(
    path: str, option: str, heading: str, values: str | None, kind: Any, default: str
) -> None:
    flag = Flag(field=path)
    (about,) = flag.parameter.annotation.__metadata__
    assert (flag.option, about.rich_help_panel, about.metavar) == (option, heading, values)
    assert flag.parameter.annotation.__origin__ == kind | None
    assert about.help == f"{schema_field(path).text} Default: {default}."


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("data.train_size", "12", 12),
        ("train.warmup_epochs", "1.5", 1.5),
        ("pretrain.lr", "auto", "auto"),
        ("pretrain.lr", "0.5", 0.5),
        ("data.split", "paper", "paper"),
        ("model.init", "uniform:0.01", "uniform:0.01"),
        ("pretrain.tied", True, True),
        ("model.keep_act", ["layer1", "x"], ("layer1", "x")),
        ("train.l1", "1,0,0.5,1", (0.0, 0.5, 1.0)),
        ("seeds", "3", (0, 1, 2)),
    ],
)
def test_a_text_becomes_a_value_of_the_fields_type(path: str, text: Any, value: Any) -> None:
    assert flag_of(path).value(text) == value


@pytest.mark.parametrize(
    ("path", "text", "error", "hint"),
    [
        ("data.train_size", "1.5", "--train-size must be a whole number, got '1.5'", "--train-size 30"),
        ("pretrain.lr", "fast", "--pretrain-lr must be a number or auto, got 'fast'", "--pretrain-lr 0.01"),
        ("data.split", "papr", "--split must be one of standard, paper, got 'papr'", "did you mean paper?"),
        ("pretrain.methods", ["rbm,dea"], "--method must be of none, rbm, dae, file, got 'dea'", "did you mean dae?"),
        ("seeds", "0", "--seeds must be 1 to 10000, got 0", "--seeds 5"),
    ],
)
def test_a_text_that_is_no_value_is_refused(path: str, text: Any, error: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(error)) as refused:
        flag_of(path).value(text)
    assert hint in refused.value.hint


def test_a_new_flag_is_one_field_in_an_offer() -> None:
    """No table knows this field: name, type and help of its flag follow from the schema alone."""
    configs: list[ConfigFlags] = []

    def toy(config: Annotated[ConfigFlags, offer("train.warmup_epochs", "data.split", "--set")]) -> None:
        configs.append(config)

    program = typer.Typer()
    program.command()(with_single_flags(toy))
    get_command(program)(["--split", "paper", "--set", "train.lr=0.5"], standalone_mode=False)
    config = configs[0].experiment()
    assert (config.data.split, config.train.lr, config.train.warmup_epochs) == ("paper", 0.5, 0.0)
    assert [str(flag) for flag in configs[0].flags] == ["--split paper"]


def test_the_flags_of_a_command_stand_in_the_order_of_its_offer() -> None:
    def toy(
        config: Annotated[ConfigFlags, offer("train.epochs", "--between", "train.lr")],
        between: Annotated[str, typer.Option("--between")] = "",
        last: Annotated[str, typer.Option("--last")] = "",
    ) -> None: ...

    program = typer.Typer(add_completion=False)
    program.command()(with_single_flags(toy))
    names = [option.opts[0] for option in get_command(program).params]
    assert names == ["--epochs", "--between", "--lr", "--last"]


def contradictions() -> Iterator[tuple[str, str, str]]:
    yield "train", "--epochs 3", "train.epochs=7"
    yield "pretrain", "--pretrain-epochs 3", "pretrain.epochs=7"
    yield "pretrain", "--method none,rbm", "pretrain.methods=[dae]"
    yield "pretrain", "--control", "pretrain.control=false"
    yield "ablate-sparsity", "--l1 0.5", "train.l1=0.1"
    yield "ablate-sparsity", "--l1-scale sum", "train.l1_scale=mean"
    yield "train", "--keep-act layer1", "model.keep_act=[layer2]"


@pytest.mark.parametrize(("command", "flag", "assignment"), list(contradictions()))
def test_what_contradicts_a_flag_is_refused(
    cli: Cli, study: FakeStudy, command: str, flag: str, assignment: str
) -> None:
    ended = cli(command, *flag.split(), "--set", assignment)
    assert ended.code == 2
    assert re.match(rf"error: {re.escape(flag)} and --set \S+=.* exclude each other\n", ended.err), ended.err


TEXTS: dict[str, list[str]] = {
    "act": ["gelu"],
    "data.name": ["mnist"],
    "model.name": ["cnn"],
    "model.init": ["he"],
    "model.ffn": ["moe-4x2"],
    "model.keep_act": ["layer1"],
    "train.l1": ["0.5"],
    "train.l1_scale": ["paper"],
    "pretrain.methods": ["none,dae"],
    "pretrain.control": [],
    "device": ["cpu"],
    "executor.address": ["ray://head:10001", "--executor", "ray"],
}
"""What is typed behind a flag whose field says too little of its values."""


def typed_flags() -> Iterator[tuple[str, str]]:
    for command in ("train", "pretrain", "ablate-sparsity"):
        for path, flag in FLAGS.items():
            # A mix becomes an activation of the list: see below.
            if flag.option in options()[command] and path != "act_by_layer":
                yield command, path


@pytest.mark.parametrize(("command", "path"), list(typed_flags()))
def test_every_flag_of_every_command_arrives(cli: Cli, study: FakeStudy, command: str, path: str) -> None:
    """What is typed for a field is in the configuration that a study is opened with."""
    study.script = [result(l1_asked=0.0)]
    field, flag = schema_field(path), FLAGS[path]
    number = ["0.25" if field.number is float else "3"]
    words = TEXTS.get(path, [] if field.is_switch else [field.words[-1]] if field.is_closed else number)
    ended = cli(command, "--quiet", flag.option, *words)
    assert ended.code == 0, ended.err
    assert study.config is not None
    expected = flag.value(True if field.is_switch else words if field.is_list else words[0])
    assert in_config(study.config, path) == expected


def test_a_mix_arrives_among_the_activations(cli: Cli, study: FakeStudy) -> None:
    study.script = [result(l1_asked=0.0)]
    assert cli("train", "--quiet", "--act", "relu", "--act-by-layer", "relu*2,gelu").code == 0
    assert study.config is not None and study.config.act == ("relu", "[relu*2,gelu]")


def test_a_path_flag_of_a_group_arrives(cli: Cli, study: FakeStudy) -> None:
    study.script = [result(l1_asked=0.0)]
    assert cli("ablate-sparsity", "--data-dir", "d", "--no-cache", "--quiet").code == 0
    assert (str(study.asked["data_dir"]), study.asked["fresh"]) == ("d", True)


def test_commands_offer_what_the_table_has() -> None:
    """No row without a command that offers it."""
    names = {name for command in options().values() for name in command}
    assert {flag.option for flag in FLAGS.values()} <= names
