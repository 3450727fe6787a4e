"""The trainings that are timed, and the form in which each is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from benchmarks.gpu.setting import Row, Setting

LR = 0.1
SMALL_MODELS = {"resnet18": "shufflenet_v2_x0_5"}
"""What is trained in its place in a rehearsal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Networks of one shape: plain SGD at a constant rate, softmax cross-entropy, relu."""

    name: str
    model: str
    """mlp, cnn, the name of a classifier of torchvision, or FILE.py:NAME."""
    batch: int
    epochs: int
    hidden: tuple[int, ...] = (1000, 1000, 1000)
    members: int = 1
    precision: str = "fp32"
    compiled: bool = True
    """Whether torch.compile is among the peers."""

    @property
    def data(self) -> str:
        return "grey" if self.model in ("mlp", "cnn") else "colour"

    @property
    def relubench_model(self) -> str:
        """The value of --model."""
        names = {"mlp": "mlp-" + "-".join(map(str, self.hidden)), "cnn": "cnn"}
        return names.get(self.model, self.model if ":" in self.model else f"torchvision:{self.model}")


SINGLE = (
    Training(name="batch-10", model="mlp", batch=10, epochs=1),
    Training(name="batch-128", model="mlp", batch=128, epochs=5, compiled=False),
    Training(name="batch-4096", model="mlp", batch=4096, epochs=20, compiled=False),
    Training(name="batch-128-compiled", model="mlp", batch=128, epochs=5),
)
FIGURE3 = (
    Training(
        name="200-networks-tf32", model="mlp", batch=100, epochs=20, members=200, precision="tf32", compiled=False
    ),
    Training(name="200-networks-fp32", model="mlp", batch=100, epochs=4, members=200, compiled=False),
)
EIGHT = (Training(name="eight-networks", model="mlp", batch=10, epochs=1, members=8, compiled=False),)
CNN = (Training(name="cnn", model="cnn", batch=128, epochs=3),)
RESNET18 = (Training(name="resnet18", model="resnet18", batch=128, epochs=2),)


def sized(trainings: Iterable[Training], setting: Setting) -> Iterator[Training]:
    """The trainings; in a rehearsal with tiny networks, few members and one epoch."""
    for number, training in enumerate(trainings):
        yield (
            replace(
                training,
                hidden=(32, 32),
                model=SMALL_MODELS.get(training.model, training.model),
                batch=min(training.batch, 100 if training.model == "mlp" else 20),
                epochs=1,
                members=min(training.members, 3),
                compiled=training.compiled and number == 0 and training.model == "mlp",
            )
            if setting.small
            else training
        )


def rate_row(training: Training, peer: str, seconds: float, train_seconds: float, images: int, **more: object) -> Row:
    """A row: training images of all networks a second, with validation and without."""
    total = images * training.epochs * int(more.get("members", training.members))  # type: ignore[call-overload]
    return {
        "training": training.name,
        "peer": peer,
        "batch": training.batch,
        "precision": training.precision,
        "seconds": round(seconds, 4),
        "train_seconds": round(train_seconds, 4),
        "images_per_second": round(total / seconds, 1),
        "train_images_per_second": round(total / train_seconds, 1),
        **more,
    }


def without(training: Training, peer: str, problem: BaseException | str) -> Row:
    """The row of a peer that could not be measured."""
    key = "skipped" if isinstance(problem, str) else "error"
    text = problem if isinstance(problem, str) else f"{type(problem).__name__}: {problem}"
    return {"training": training.name, "peer": peer, key: text.splitlines()[0][:300]}
