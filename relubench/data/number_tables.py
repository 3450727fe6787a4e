"""The rows of the table of data sets that hold no images: tables of scikit-learn, and pictures to fit. Torch-free."""

from __future__ import annotations

from dataclasses import replace

from relubench.data.files.download import Remote
from relubench.data.source_row import SourceRow

TABLE_RULE = "a fixed shuffle: one in 5 rows tests, one in 5 validates; numbers standardised by the training part"
PICTURE_RULE = (
    "of the centre square every second pixel of every second row trains, one in 4 others validates, the rest test"
)
PICTURE_SIDE = 128
"""Pixels that the shorter side of a picture to fit is scaled to, unless the user says otherwise."""
CALIFORNIA = Remote(
    name="cal_housing.tgz",
    url="https://ndownloader.figshare.com/files/5976036",
    size=None,
    checksum="sha256:aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
)


def _embedded(
    name: str, file: str, inputs: int, total: int, classes: int, description: str, citation: str, url: str
) -> SourceRow:
    """A table that scikit-learn carries; `classes` 0: its target is a number."""
    share = total // 5
    return SourceRow(
        name=name,
        description=f"{description}, embedded in scikit-learn: nothing to download",
        classes=classes or 1,
        input_shape=(inputs,),
        n_train=total - 2 * share,
        n_valid=share,
        n_test=share,
        split=TABLE_RULE,
        citation=citation,
        url=url,
        target="relubench.data.sources.sklearn_tables:load",
        package="sklearn",
        folders=("datasets/data",),
        file_sets=(((file,),),),
        task="classification" if classes else "regression",
    )


def _picture(name: str, citation: str) -> SourceRow:
    """A sample image of scikit-learn, to be fitted."""
    row = SourceRow(
        name=f"image:{name}",
        description="a photograph to fit, colour by place; embedded in scikit-learn: nothing to download",
        classes=3,
        input_shape=(2,),
        n_train=0,
        n_valid=0,
        n_test=0,
        split=PICTURE_RULE,
        citation=citation,
        url="https://scikit-learn.org/stable/datasets/loading_other_datasets.html",
        target="relubench.data.sources.picture:load",
        package="sklearn",
        folders=("datasets/images",),
        file_sets=(((f"{name}.jpg",),),),
        task="picture",
    )
    return scaled_picture(row, PICTURE_SIDE)


def scaled_picture(row: SourceRow, side: int) -> SourceRow:
    """The row of a picture that is scaled to so many pixels a side, a quarter of which train."""
    n_train = ((side + 1) // 2) ** 2
    n_valid = (side**2 - n_train) // 4
    return replace(row, side=side, n_train=n_train, n_valid=n_valid, n_test=side**2 - n_train - n_valid)


NUMBER_ROWS = (
    _embedded(
        "breast-cancer",
        "breast_cancer.csv",
        30,
        569,
        2,
        "a table: 30 measures of cell nuclei, malignant or benign",
        "Wolberg, Street & Mangasarian 1995, Breast cancer Wisconsin (diagnostic) (UCI)",
        "https://archive.ics.uci.edu/dataset/17",
    ),
    _embedded(
        "wine",
        "wine_data.csv",
        13,
        178,
        3,
        "a table: 13 chemical measures of wines of three growers",
        "Aeberhard & Forina 1991, Wine (UCI)",
        "https://archive.ics.uci.edu/dataset/109",
    ),
    _embedded(
        "diabetes",
        "diabetes_data_raw.csv.gz",
        10,
        442,
        0,
        "a table: progression of diabetes after a year, a number, from 10 measures of patients",
        "Efron, Hastie, Johnstone & Tibshirani 2004, Least angle regression",
        "https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html",
    ),
    SourceRow(
        name="california",
        description="a table: median house values of Californian blocks in 1990, a number, from 8 measures",
        classes=1,
        input_shape=(8,),
        n_train=12_384,
        n_valid=4_128,
        n_test=4_128,
        split=TABLE_RULE,
        citation="Pace & Barry 1997, Sparse spatial autoregressions",
        url="https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.html",
        target="relubench.data.sources.sklearn_tables:load_california",
        remote=(CALIFORNIA,),
        folders=("california", "."),
        file_sets=(((CALIFORNIA.name,),),),
        task="regression",
    ),
    _picture("china", "danielbuechele 2011, Flickr, CC BY 2.0; a sample image of scikit-learn"),
    _picture("flower", "vultilion 2011, Flickr, CC BY 2.0; a sample image of scikit-learn"),
)
