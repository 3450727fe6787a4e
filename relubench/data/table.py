"""The literal table of named data sets. Torch-free.

A new data set is one file with `load` (and `download`), and one row here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from relubench.data.number_tables import NUMBER_ROWS
from relubench.data.source_row import PERTURBED as PERTURBED
from relubench.data.source_row import Division, Role, SourceRow, perturbed_row
from relubench.data.sources.norb_files import JITTERED_URL, REMOTE, SMALL_URL
from relubench.data.text_rows import TEXTS
from relubench.errors import UsageError

NOT_PUBLIC = ("opentable",)
"""Sets of Glorot et al. 2011 that nobody can get: their numbers are carried, they are never run."""


def _idx_roles(stem_train: str, stem_test: str) -> tuple[Role, ...]:
    """Four IDX files, .gz first (its checksum is published), then uncompressed under both spellings in use."""
    roles: list[Role] = []
    for stem in (stem_train, stem_test):
        for kind, rank in (("images", 3), ("labels", 1)):
            name = f"{stem}-{kind}"
            roles.append((f"{name}-idx{rank}-ubyte.gz", f"{name}-idx{rank}-ubyte", f"{name}.idx{rank}-ubyte"))
    return tuple(roles)


def _mnist_like(name: str, cls: str, description: str, citation: str, url: str, *folders: str) -> SourceRow:
    rule = "validation: the last 10,000 of the 60,000 training images; the official test set"
    return SourceRow(
        name=name,
        description=description,
        classes=10,
        input_shape=(1, 28, 28),
        n_train=50_000,
        n_valid=10_000,
        n_test=10_000,
        split=rule,
        citation=citation,
        url=url,
        target="relubench.data.sources.mnist:load",
        download="relubench.data.sources.mnist:download",
        torchvision=cls,
        folders=folders,
        file_sets=(_idx_roles("train", "t10k"),),
        paper=Division(n_train=50_000, n_valid=10_000, n_test=10_000, rule=rule) if name == "mnist" else None,
    )


def _emnist(variant: str, classes: int, n_official_train: int, n_test: int, description: str) -> SourceRow:
    return SourceRow(
        name=f"emnist-{variant}",
        description=description,
        classes=classes,
        input_shape=(1, 28, 28),
        n_train=n_official_train - n_test,
        n_valid=n_test,
        n_test=n_test,
        split=f"validation: the last {n_test:,} training images (as many as in the test set, as its paper does); "
        "the official test set",
        citation="Cohen et al. 2017, EMNIST: an extension of MNIST to handwritten letters, arXiv:1702.05373",
        url="https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
        target="relubench.data.sources.emnist:load",
        download="relubench.data.sources.emnist:download",
        torchvision="EMNIST",
        variant=variant,
        folders=("EMNIST/raw", "EMNIST/raw/gzip", "emnist", "emnist/gzip", "."),
        file_sets=((("gzip.zip",),), _idx_roles(f"emnist-{variant}-train", f"emnist-{variant}-test")),
    )


def _cifar(classes: int, base: str, train_files: tuple[str, ...], test_file: str, meta: str) -> SourceRow:
    inner = tuple((f"{base}/{file}",) for file in (*train_files, test_file, meta))
    paper = Division(
        n_train=50_000,
        n_valid=5_000,
        n_test=5_000,
        rule="the paper's sizes: all 50,000 training images train; the first 5,000 of the official test set validate, "
        "the last 5,000 test (the paper does not say which half)",
        valid_from="test",
    )
    return SourceRow(
        name=f"cifar{classes}",
        description=f"32x32 colour photographs, {classes} kinds of objects",
        classes=classes,
        input_shape=(3, 32, 32),
        n_train=45_000,
        n_valid=5_000,
        n_test=10_000,
        split="validation: the last 5,000 of the 50,000 training images; the official test set",
        citation="Krizhevsky 2009, Learning multiple layers of features from tiny images",
        url=f"https://www.cs.toronto.edu/~kriz/cifar-{classes}-python.tar.gz",
        target="relubench.data.sources.torchvision_sets:load_cifar",
        download="relubench.data.sources.torchvision_sets:download_cifar",
        torchvision=f"CIFAR{classes}",
        folders=(f"cifar{classes}", f"CIFAR{classes}", "."),
        file_sets=(inner, ((f"cifar-{classes}-python.tar.gz",),)),
        paper=paper if classes == 10 else None,
    )


def _norb(
    name: str,
    classes: int,
    n: tuple[int, int, int],
    *,
    description: str,
    split: str,
    names: str,
    url: str,
    folders: tuple[str, ...],
) -> SourceRow:
    return SourceRow(
        name=name,
        description=description,
        classes=classes,
        input_shape=(2, 32, 32),
        n_train=n[0],
        n_valid=n[1],
        n_test=n[2],
        split=f"averaged to 32x32 by area; {split}; the official test set",
        citation="LeCun, Huang & Bottou 2004, Learning methods for generic object recognition (CVPR)",
        url=url,
        target="relubench.data.sources.norb:load",
        remote=REMOTE[name],
        names=names,
        folders=folders,
        file_sets=(tuple((remote.name, remote.name.removesuffix(".gz")) for remote in REMOTE[name]),),
    )


_ROWS = (
    SourceRow(
        name="digits",
        description="8x8 grey handwritten digits, embedded in scikit-learn: nothing to download",
        classes=10,
        input_shape=(1, 8, 8),
        n_train=1_077,
        n_valid=360,
        n_test=360,
        split="a fixed shuffle, class by class: 360 test, 360 validation, the other 1,077 training",
        citation="Alpaydin and Kaynak 1998, Optical recognition of handwritten digits (UCI); scikit-learn's test part",
        url="https://archive.ics.uci.edu/dataset/80",
        target="relubench.data.sources.digits:load",
        package="sklearn",
        folders=("datasets/data",),
        file_sets=((("digits.csv.gz",),),),
    ),
    _mnist_like(
        "mnist",
        "MNIST",
        "28x28 grey handwritten digits",
        "LeCun et al. 1998, Gradient-based learning applied to document recognition",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "MNIST/raw",
        "mnist",
        ".",
    ),
    # The files of these two are called like MNIST's: right in a data folder they could not be told from it.
    _mnist_like(
        "fashion-mnist",
        "FashionMNIST",
        "28x28 grey articles of clothing",
        "Xiao et al. 2017, Fashion-MNIST, arXiv:1708.07747",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "FashionMNIST/raw",
        "fashion-mnist",
    ),
    _mnist_like(
        "kmnist",
        "KMNIST",
        "28x28 grey cursive Japanese characters",
        "Clanuwat et al. 2018, Deep learning for classical Japanese literature, arXiv:1812.01718",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "KMNIST/raw",
        "kmnist",
    ),
    _emnist("balanced", 47, 112_800, 18_800, "28x28 grey digits and letters, 47 classes of equal size"),
    _emnist("byclass", 62, 697_932, 116_323, "28x28 grey digits and letters, 62 classes, very unequal"),
    _emnist("bymerge", 47, 697_932, 116_323, "28x28 grey digits and letters, 15 letters' cases merged"),
    _emnist("letters", 26, 124_800, 20_800, "28x28 grey letters, cases merged; labels 0 to 25"),
    _emnist("digits", 10, 240_000, 40_000, "28x28 grey digits, 280,000 of them"),
    _emnist("mnist", 10, 60_000, 10_000, "28x28 grey digits, drawn and counted like MNIST's"),
    SourceRow(
        name="usps",
        description="16x16 grey handwritten digits from envelopes",
        classes=10,
        input_shape=(1, 16, 16),
        n_train=6_076,
        n_valid=1_215,
        n_test=2_007,
        split="validation: the last sixth (1,215) of the 7,291 training images; the official test set",
        citation="Hull 1994, A database for handwritten text recognition research",
        url="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
        target="relubench.data.sources.torchvision_sets:load_usps",
        download="relubench.data.sources.torchvision_sets:download_files",
        torchvision="USPS",
        folders=("usps", "USPS", "."),
        file_sets=((("usps.bz2",), ("usps.t.bz2",)),),
    ),
    SourceRow(
        name="svhn",
        description="32x32 colour house numbers, cropped digits (without the extra training set)",
        classes=10,
        input_shape=(3, 32, 32),
        n_train=63_257,
        n_valid=10_000,
        n_test=26_032,
        split="validation: the last 10,000 of the 73,257 training images, no extra ones; the official test set",
        citation="Netzer et al. 2011, Reading digits in natural images with unsupervised feature learning",
        url="http://ufldl.stanford.edu/housenumbers/",
        target="relubench.data.sources.torchvision_sets:load_svhn",
        download="relubench.data.sources.torchvision_sets:download_files",
        torchvision="SVHN",
        folders=("svhn", "SVHN", "."),
        file_sets=((("train_32x32.mat",), ("test_32x32.mat",)),),
    ),
    _cifar(10, "cifar-10-batches-py", tuple(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"),
    _cifar(100, "cifar-100-python", ("train",), "test", "meta"),
    _norb(
        "norb",
        5,
        (19_440, 4_860, 24_300),
        description="small NORB: stereo pairs of toys on a plain ground, 96x96 averaged to 32x32",
        split="validation: the 4,860 training pairs of toy 9 (one of the five) of every class",
        names="smallnorb-5x{46789x9x18x6x2x96x96-training,01235x9x18x6x2x96x96-testing}-{dat,cat,info}.mat.gz",
        url=SMALL_URL,
        folders=("norb", "norb-small", "norb-v1.0-small", "smallnorb", "."),
    ),
    # Glorot et al. 2011 give 58,428 validation pairs, 108 more than this rule, and not how they were chosen.
    _norb(
        "norb-jittered-cluttered",
        6,
        (233_280, 58_320, 58_320),
        description="NORB: jittered stereo pairs of toys among clutter, or of clutter alone, 108x108 averaged to 32x32",
        split="validation: the 48,600 training pairs of toy 9 (one of the five) of every class and 9,720 of the pairs "
        "without a toy, drawn once: 58,320, as Nair & Hinton 2010 have it (Glorot et al. 2011: 58,428, unexplained)",
        names="norb-5x46789x9x18x6x2x108x108-training-{01..10}-{dat,cat,info}.mat.gz and "
        "norb-5x01235x9x18x6x2x108x108-testing-{01,02}-{dat,cat,info}.mat.gz",
        url=JITTERED_URL,
        folders=("norb", "norb-jittered-cluttered", "norb-v1.0", "."),
    ),
    SourceRow(
        name="norb-generated",
        description="stereo pairs of simple bodies on a plain ground, rendered here in NORB's manner: not NORB",
        classes=5,
        input_shape=(2, 32, 32),
        n_train=6_000,
        n_valid=1_500,
        n_test=3_000,
        split="rendered by relubench (generator 1), not photographs; other bodies validate and test than train",
        citation="relubench's own renderer: not NORB",
        url="https://cs.nyu.edu/~ylclab/data/norb-v1.0/",
        target="relubench.data.sources.norb_generated:load",
        package="relubench",
        folders=("data",),
        # Nothing is read: the images follow from the split rule's generator number alone.
        file_sets=((),),
    ),
    *NUMBER_ROWS,
)


_NISTP_LIKE = perturbed_row(
    next(row for row in _ROWS if row.name == "emnist-byclass"),
    "nistp-like",
    "32x32 grey perturbed digits and letters, 62 classes, made like NISTP out of emnist-byclass; NISTP itself had "
    "81,920,000 training images of NIST's, of fonts, captchas and scanned print",
    "not split by writers as the paper's NISTP was, since EMNIST does not tell them: no published error belongs to it",
)

TABLE: dict[str, SourceRow] = {row.name: row for row in (*_ROWS, _NISTP_LIKE, *TEXTS)}
"""Beside these, NAME+nistp is the perturbed version of a grey set NAME: see `perturbed_row`."""


def split_row(row: SourceRow, split: Literal["standard", "paper"]) -> SourceRow:
    """The row with the standard or the paper's split; raises UsageError where the paper has none of this set."""
    if split == "standard":
        return row
    if row.paper is None:
        names = ", ".join(candidate.name for candidate in TABLE.values() if candidate.paper is not None)
        raise UsageError(f"data.split paper: Glorot et al. 2011 has no split of {row.name}", f"it has one of {names}")
    paper = row.paper
    sizes = {"n_train": paper.n_train, "n_valid": paper.n_valid, "n_test": paper.n_test}
    return replace(row, **sizes, split=paper.rule, valid_from=paper.valid_from)
