"""Scales of initial weights, by rule."""

from __future__ import annotations

from math import sqrt

SIREN = "siren"
"""The rule of Sitzmann et al. 2020 for layers followed by sin(frequency * x)."""


def siren_scale(fan_in: int, frequency: float, *, first: bool) -> float:
    """The bound of uniform initial weights: 1/fan_in in the first layer, else sqrt(6/fan_in)/frequency.

    Sitzmann et al. 2020, section 3.2: sines of every layer but the first then have arguments of about unit variance.
    """
    return 1.0 / fan_in if first else sqrt(6.0 / fan_in) / frequency


def init_scale(rule: str, fan_in: int, fan_out: int, gain: float) -> tuple[bool, float]:
    """Whether initial weights are uniform (else normal), and their bound or standard deviation.

    xavier: U(+-sqrt(6/(fan_in+fan_out))) (Glorot & Bengio 2010, eq. 16); he: N(0, 2/fan_in) (He et al. 2015, eq. 10);
    lecun: N(0, 1/fan_in) (LeCun et al. 1998); uniform: U(+-1/sqrt(fan_in)), biases too (torch.nn.Linear);
    uniform:B: U(+-B); auto: N(0, gain^2/fan_in) with gain = 1/sqrt(E[f(z)^2]), z ~ N(0, 1), so that activations keep
    unit second moment.
    """
    if bound := rule.partition(":")[2]:
        return True, float(bound)
    return {
        "xavier": (True, sqrt(6.0 / (fan_in + fan_out))),
        "he": (False, sqrt(2.0 / fan_in)),
        "lecun": (False, sqrt(1.0 / fan_in)),
        "uniform": (True, sqrt(1.0 / fan_in)),
        "auto": (False, gain / sqrt(fan_in)),
    }[rule]
