"""How often 95 % intervals over the windows of a text hold the true difference, if neighbouring windows are alike.

    python -m benchmarks.window_intervals

Each cell draws differences of two networks' losses by window: white noise, and a share of the variance that fades from
window to window as e^(-k/40). On the text `docs`, relu against gelu (transformer-2x64, seed 0, two epochs on 2,000
windows), the differences of 364 windows had the correlations 0.35, 0.29, 0.26, 0.27 and 0.24 at the distances 1, 2, 3,
5 and 10: about a share of 0.3. Printed are the coverage of the table's interval, which takes windows as independent,
and of Student's interval over the means of blocks of neighbours. About ten seconds on one core.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from relubench.statistics.error_rates import paired_difference

FADES_OVER = 40.0
"""Windows over which the shared part falls to 1/e."""


def differences(rng: np.random.Generator, windows: int, share: float) -> NDArray[np.float64]:
    """Differences by window [N] of mean 0 and variance 1, of which `share` is common to neighbours."""
    keep = np.exp(-1.0 / FADES_OVER)
    steps = rng.standard_normal(windows)
    common = np.empty(windows)
    common[0] = steps[0]
    for place in range(1, windows):
        common[place] = keep * common[place - 1] + np.sqrt(1 - keep**2) * steps[place]
    return np.sqrt(share) * common + np.sqrt(1 - share) * rng.standard_normal(windows)


def holds_zero_by_blocks(gaps: NDArray[np.float64], size: int) -> bool:
    """Whether Student's 95 % interval over the means of blocks of neighbours holds 0, the true mean."""
    blocks = gaps[: len(gaps) // size * size].reshape(-1, size).mean(axis=1)
    half_width = t.ppf(0.975, len(blocks) - 1) * blocks.std(ddof=1) / np.sqrt(len(blocks))
    return abs(blocks.mean()) <= half_width


def holds_zero(gaps: NDArray[np.float64]) -> bool:
    """Whether the table's interval of one seed holds 0."""
    difference = paired_difference([gaps.astype(np.float32)], [np.zeros(len(gaps), dtype=np.float32)])
    return difference.low <= 0 <= difference.high


def main() -> None:
    """Print the coverage by number of windows and share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tables", type=int, default=1000)
    tables = parser.parse_args().tables
    rng = np.random.default_rng(0)
    print("windows\tshare\tindependent_pct\tblocks_of_16_pct\tblocks_of_32_pct\tblocks_of_64_pct")
    for windows in (364, 2000):
        for share in (0.0, 0.1, 0.3):
            drawn = [differences(rng, windows, share) for _ in range(tables)]
            plain = np.mean([holds_zero(gaps) for gaps in drawn])
            blocks = [np.mean([holds_zero_by_blocks(gaps, size) for gaps in drawn]) for size in (16, 32, 64)]
            print(f"{windows}\t{share}\t" + "\t".join(f"{100 * value:.1f}" for value in (plain, *blocks)))


if __name__ == "__main__":
    main()
