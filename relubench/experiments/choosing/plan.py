"""The plan of a choice or of a sequential study: frozen and hashed before its first run, checked at its end.

What decides is written down before anything is known: activations, looks, error rate and metric. The plan lies in a
folder of its own beside the runs, named by its digest, as plan.lock; a command with another plan has another file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relubench.errors import ComputeError
from relubench.runs.task import task_called
from relubench.statistics.sequential import Looks
from relubench.system.files import write_file

if TYPE_CHECKING:
    from relubench.experiments.study import Study

FOLDER, LOCK = "plans", "plan.lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class SequentialPlan:
    """What is decided before the first run."""

    command: str
    activations: tuple[str, ...]
    settings: tuple[str, ...]
    """Data sets and networks: 'mnist, mlp-3x1000'."""
    metric: str
    decides_on: str
    """'validation' or 'test': the scores that the looks compare."""
    looks: tuple[int, ...]
    """Numbers of seeds."""
    error_rate: float
    """Of all comparisons at all looks together."""
    compared: str
    """'all pairs' or 'with the first'."""
    confirmation_error_rate: float = 0.0
    """Of all comparisons on the test set together; 0 where nothing is confirmed."""
    within: float = 0.0
    """Differences up to this count as none."""
    training: str = ""
    """Digest of everything else that the configuration sets."""

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of its JSON."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:16]

    @property
    def schedule(self) -> Looks:
        return Looks(seeds=self.looks, error_rate=self.error_rate)

    def to_json(self) -> dict[str, Any]:
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {**values, "digest": self.digest}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SequentialPlan:
        """The plan that `to_json` wrote; the digest is its own, whatever the values say."""
        lists = {key: tuple(values[key]) for key in ("activations", "settings", "looks")}
        own: dict[str, Any] = {key: value for key, value in values.items() if key != "digest"}
        return cls(**{**own, **lists})

    def describe(self) -> str:
        """The plan in one line."""
        looks = ", ".join(str(seeds) for seeds in self.looks)
        parts = [
            f"plan {self.digest}: {', '.join(self.activations)}",
            f"{self.decides_on} {self.metric}, {self.compared}",
            f"looks at {looks} seeds",
            f"error rate {100 * self.error_rate:g} % over all of them",
        ]
        if self.confirmation_error_rate:
            parts.append(f"and {100 * self.confirmation_error_rate:g} % for the confirmation on the test set")
        return "; ".join(parts)

    def freeze(self, runs_root: Path) -> Path:
        """Write the plan's file before the first run, unless the same plan has one; returns its path."""
        path = runs_root / FOLDER / self.digest / LOCK
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, (self._text() + "\n").encode())
        return path

    def check(self, runs_root: Path) -> None:
        """Raises ComputeError unless the file still holds the plan that was frozen."""
        path = runs_root / FOLDER / self.digest / LOCK
        try:
            content = path.read_text()
        except OSError as error:
            raise ComputeError(f"the plan {path} cannot be read: {error.strerror or error}", HINT) from error
        if content != self._text() + "\n":
            raise ComputeError(f"the plan {path} was changed while its runs were trained", HINT)

    def _text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, indent=1)


def plan_of(
    study: Study,
    looks: tuple[int, ...],
    *,
    command: str,
    decides_on: str,
    compared: str,
    error_rate: float,
    confirmation_error_rate: float = 0.0,
    within: float = 0.0,
) -> SequentialPlan:
    """The plan of a study of one data set and network."""
    part = study.parts[0]
    values = part.config.model_dump(mode="json", exclude={"act", "seeds", "keep"})
    digests = {choice.label: choice.source_digest for choice in part.choices}
    return SequentialPlan(
        command=command,
        activations=tuple(choice.label for choice in part.choices),
        settings=(f"{part.prepared.name}, {part.config.model.name}",),
        metric=task_called(part.prepared.task).metric,
        decides_on=decides_on,
        looks=looks,
        error_rate=error_rate,
        compared=compared,
        confirmation_error_rate=confirmation_error_rate,
        within=within,
        training=_digest({**values, "data_digest": part.prepared.digest, "activations": digests}),
    )


HINT = "delete its folder and give the command again: what it trained is stored"


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:12]
