"""What each key of a training table's rows says, for `relubench list columns`. Torch-free.

A literal table; a test holds it against the rows.
"""

from __future__ import annotations

PERCENT, POINTS = "% of the test examples", "points (of % of the test examples)"
TOGETHER = "the 95 % intervals of all differences of a table hold together (Bonferroni)"

MEANINGS: dict[str, tuple[str, str]] = {
    "activation": ("", "the activation, with the parameters that were given"),
    "dataset": ("", "a name of `relubench list datasets`"),
    "model": ("", "a name of `relubench list models`"),
    "pretraining": ("", "none, rbm, dae, or a file"),
    "n": ("seeds", "seeds with a test error"),
    "test_error_pct": (PERCENT, "the mean over seeds, at the weights of each one's best epoch"),
    "test_error_ci_low_pct": (PERCENT, "lower end of the 95 % interval; of one seed the test set's noise alone"),
    "test_error_ci_high_pct": (PERCENT, "its upper end"),
    "valid_error_pct": ("% of the validation images", "the mean over seeds of the best epoch's error"),
    "difference_pct": (POINTS, "this row's error less that of the row it is compared with, paired by seed and example"),
    "difference_ci_low_pct": (POINTS, f"lower end of its interval; {TOGETHER}"),
    "difference_ci_high_pct": (POINTS, "its upper end"),
    "outcome": (
        "",
        "the worst of the seeds: ok, stalled (at chance), diverged (a loss that is not finite) or failed",
    ),
    "lr": ("", "the learning rate; empty where it differs between seeds"),
    "init": ("", "how the weights were drawn"),
    "parameters": ("", "how many numbers are trained"),
    "sparsity_pct": ("% of the hidden outputs", "exact zeros on the test images, the mean over layers and seeds"),
    "dead_units_pct": (
        "% of the hidden units",
        "units without slope at any training image after the last epoch; empty for networks of torchvision or your own",
    ),
    "epochs": ("", "epochs trained, the mean over seeds"),
    "seconds": ("s", "training, validation and test of all seeds together"),
    "published_error_pct": (PERCENT, "the paper's number for this network"),
    "published_sparsity_pct": ("% of the hidden outputs", "the paper's zeros"),
    "published_source": ("", "where in the paper it stands"),
    "article_error_pct": (PERCENT, "the article's number for this network"),
    "article_sparsity_pct": ("% of the hidden outputs", "the article's zeros"),
    "verdict": (
        "",
        "on the published error, else the article's: reproduced, better, worse, undecided, not comparable",
    ),
    "difference_verdict": (
        "",
        "noise where the interval of the difference holds zero, else lower or higher; of one seed lower (higher) on "
        "this test set, since another training may turn it; of a preset at scale smoke lower (higher) in a smoke test, "
        "from which nothing is concluded",
    ),
    "difference_p": (
        "probability",
        "of a difference as large where there is none, two-sided, times the number of comparisons; below 0.05 exactly "
        "where the interval leaves zero out",
    ),
    "effect_size": (
        "standard deviations",
        "the difference over the standard deviation of the seeds' own differences (Cohen's d_z): 1 is as large as what "
        "one seed's difference varies; it says how clear a difference is to a seed, not how large; empty with one seed",
    ),
    "detectable_difference_pct": (
        POINTS,
        "the smallest true difference that this row's comparison would have called lower or higher with 80 % "
        "probability or more: what is smaller may be missed; empty where none that is possible would have been",
    ),
    "seeds_to_resolve": (
        "seeds",
        "in all, with which a true difference as large as the one called noise is called one with 80 % probability; "
        "empty where no number up to 1,000 is enough",
    ),
    "verdict_against": ("", "published or article"),
    "verdict_reason": ("", "why a row is not comparable, or what would settle an undecided one"),
    "reference_difference_pct": (POINTS, "this row's error less the reference's"),
    "reference_ci_low_pct": (POINTS, "lower end of its 95 % interval, the reference's own noise included"),
    "reference_ci_high_pct": (POINTS, "its upper end"),
    "margin_pct": (POINTS, "differences to the reference up to this count as none"),
    "lr_budget": ("", "what --lr auto spent on this activation"),
    "lr_edge": ("", "whether the chosen rate is the lowest or the highest of the grid, or lies inside it"),
    "n_learned": ("seeds", "seeds with a test error that are not still at chance"),
    "seeds_to_resolve_low": ("seeds", "seeds_to_resolve if trainings differ as little as the seeds leave open (80 %)"),
    "seeds_to_resolve_high": ("seeds", "the same if they differ as much; empty where no number is enough"),
    "l1": ("", "the strength of the penalty, where it varies"),
    "test_noise": ("", "the strength of the noise on the test images, where it varies"),
    "variant": ("", "the preset's or study's variant, where that is all that tells rows apart"),
    "near_zeros_pct": (
        "% of the hidden outputs",
        "up to 1 % of their layer's root mean square, on the probe images",
    ),
    "pretraining_seconds": ("s", "the part of seconds that pre-training took"),
}
"""Key -> (unit, meaning), in the order of the rows; from l1 on only where a table has them."""
