"""The programs whose logs runs are written to. A new one is a module with `check` and `write`, and a row of LOGS."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from relubench.errors import ComputeError, RelubenchError, UsageError
from relubench.reports.logs.run import logged_runs
from relubench.reports.logs.tensorboard import LiveCurves
from relubench.reports.report import Report
from relubench.system.lookup import find

LOGS = {"tensorboard": "tensorboard", "mlflow": "mlflow"}
"""What an address begins with -> the module of this folder that writes there."""
FORM = "--log tensorboard:DIR or --log mlflow:URI"


@dataclass(frozen=True, slots=True)
class Log:
    """A place for runs: `tensorboard:DIR`, `mlflow:URI`."""

    kind: str
    address: str

    @classmethod
    def parse(cls, text: str) -> Log:
        """The place of this text; raises UsageError where it names none, or the program is not installed."""
        kind, _, address = text.partition(":")
        find(kind, LOGS, kind="log", see=FORM)
        if not address:
            raise UsageError(f"--log {text}: it does not say where", FORM)
        log = cls(kind, address)
        log._writer.check(address)
        return log

    @property
    def _writer(self) -> ModuleType:
        return import_module(f"relubench.reports.logs.{LOGS[self.kind]}")

    @property
    def live(self) -> LiveCurves | None:
        """What takes curves while runs go on; None where the program cannot."""
        return LiveCurves(self.address) if self.kind == "tensorboard" else None

    def write(self, report: Report) -> str:
        """Writes the report's runs, and returns in words what was written; raises ComputeError where it cannot be."""
        runs = logged_runs(report)
        try:
            num_new = self._writer.write(report, runs, self.address)
        except RelubenchError:
            raise
        except Exception as error:
            fact = f"--log {self.kind}:{self.address} was not written: {error}"
            raise ComputeError(fact, "the runs are stored: the same command writes them again") from error
        old = f", {len(runs) - num_new} are there already" if num_new < len(runs) else ""
        return f"written: {num_new} of {len(runs)} runs to {self.kind}:{self.address}{old}"
