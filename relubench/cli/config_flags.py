"""The flags of one command line that set fields of the configuration, and the configuration that comes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from relubench.cli.flag_table import flag_of
from relubench.cli.flags import Flag
from relubench.errors import UsageError

if TYPE_CHECKING:
    from relubench.experiments.config import ExperimentConfig

SEEDS_HINT = "--seeds N trains with the seeds 0 to N-1, --seed S with the one seed S"


@dataclass(frozen=True, slots=True)
class Offer:
    """The flags that a command offers, in the order of its help.

    A field of the configuration is named by its path, or by a flag with another text. An option that sets no field is
    named (`--set`) where it stands before one that does.
    """

    items: tuple[str | Flag, ...]

    def flags(self) -> Iterator[Flag | str]:
        """The flags of the fields, and the names of the options that set none."""
        for item in self.items:
            yield flag_of(item) if isinstance(item, str) and not item.startswith("--") else item


def offer(*items: str | Flag) -> Offer:
    """What a command offers: the metadata of its parameter of type ConfigFlags."""
    return Offer(items)


@dataclass(frozen=True, slots=True)
class TypedFlag:
    """A flag, and the text that was typed behind it."""

    definition: Flag
    text: Any

    def __str__(self) -> str:
        """The flag as a person would type it: `--act relu,gelu`, `--sign-flip`."""
        option = self.definition.option
        if self.text is True:
            return option
        return f"{option} {','.join(self.text) if isinstance(self.text, list | tuple) else self.text}"


@dataclass(frozen=True, slots=True)
class ConfigFlags:
    """The flags that set fields of the configuration, as far as they were typed, and what --set assigns."""

    flags: tuple[TypedFlag, ...] = ()
    assignments: tuple[str, ...] = ()

    def text(self, option: str) -> Any:
        """The text that was typed behind an option; None if it was not typed."""
        return next((flag.text for flag in self.flags if flag.definition.option == option), None)

    def experiment(self, defaults: Mapping[str, Any] | None = None) -> ExperimentConfig:
        """The checked configuration; raises UsageError naming the flag. `defaults` are weaker than --set."""
        from relubench.experiments import config

        try:
            return config.experiment(defaults or {}, *self.layers())
        except UsageError as error:
            raise self._in_terms_of_flags(error) from error

    def layers(self) -> list[dict[str, Any]]:
        """What --set and the flags ask for, weakest first; raises UsageError where they contradict each other."""
        from relubench.experiments import config

        assigned, overrides = config.parse_assignments(self.assignments), self._overrides()
        for key, value, _ in config.contradictions(assigned, overrides):
            flag = next(flag for flag in self.flags if flag.definition.field == key)
            raise UsageError(f"{flag} and --set {key}={value} exclude each other", "leave one of them out")
        return [assigned, overrides]

    def _overrides(self) -> dict[str, Any]:
        """The values of the typed flags, nested as in the configuration."""
        overrides: dict[str, Any] = {}
        for first, second in combinations(self.flags, 2):
            if first.definition.field == second.definition.field:
                raise UsageError(f"{first} and {second} exclude each other", SEEDS_HINT)
        for flag in self.flags:
            section, _, key = flag.definition.field.rpartition(".")
            values = overrides.setdefault(section, {}) if section else overrides
            values[key] = flag.definition.value(flag.text)
        return overrides

    def _in_terms_of_flags(self, error: UsageError) -> UsageError:
        """The same error, naming the flag that was typed where the schema names its own key."""
        for flag in self.flags:
            option, field = flag.definition.option, flag.definition.field
            if error.message.startswith((f"{field} ", f"{field}:")):
                near, question, _ = error.hint.rpartition("? ")
                hint = f"{near}{question}give {option} another value, or leave it out"
                return UsageError(option + error.message.removeprefix(field), hint)
        # A rule about two keys is reported for the section that holds both.
        return UsageError(error.message.removeprefix("train: ").removeprefix("pretrain: "), error.hint)
