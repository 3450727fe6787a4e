"""The rows of the texts in the table of data sets. Torch-free."""

from __future__ import annotations

from relubench.data.files.download import Remote
from relubench.data.source_row import LANGUAGE, SourceRow


def _text(name: str, description: str, citation: str, url: str, n: tuple[int, int, int], remote: Remote) -> SourceRow:
    """A text to download, as a plain file or as the only member of a .zip; sizes are in bytes."""
    return SourceRow(
        name=name,
        description=description,
        classes=256,
        input_shape=(),
        n_train=n[0],
        n_valid=n[1],
        n_test=n[2],
        split=f"contiguous: the last {n[2]:,} bytes are the test, the {n[1]:,} before them validate",
        citation=citation,
        url=url,
        target=f"relubench.data.sources.text:load_{'zip' if remote.name.endswith('.zip') else 'plain'}",
        remote=(remote,),
        folders=(name, "."),
        file_sets=(((remote.name,),),),
        task=LANGUAGE,
    )


_MAHONEY = "Mahoney 2011, Large text compression benchmark, mattmahoney.net/dc/textdata.html"
_KARPATHY = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"

TEXTS = (
    SourceRow(
        name="docs",
        description="the texts of Python's own documentation of its language (pydoc topics): nothing to download",
        classes=256,
        input_shape=(),
        # As many bytes as this Python's documentation has.
        n_train=0,
        n_valid=0,
        n_test=0,
        split="contiguous parts: one in 10 bytes validates, the last one in 10 is the test",
        citation="Python Software Foundation, The Python Language Reference; the topics of pydoc in this Python",
        url="https://docs.python.org/3/reference/",
        target="relubench.data.sources.text:load_docs",
        package="pydoc_data",
        folders=(".",),
        file_sets=((("topics.py",),),),
        task=LANGUAGE,
    ),
    _text(
        "shakespeare",
        "40,000 lines of Shakespeare's plays",
        "Karpathy 2015, char-rnn: tinyshakespeare",
        _KARPATHY,
        (1_003_854, 55_770, 55_770),
        Remote(
            name="input.txt",
            url=_KARPATHY,
            size=1_115_394,
            checksum="sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    ),
    _text(
        "text8",
        "100 MB of English Wikipedia, the letters a to z and spaces only",
        _MAHONEY,
        "http://mattmahoney.net/dc/text8.zip",
        (90_000_000, 5_000_000, 5_000_000),
        Remote(
            name="text8.zip",
            url="http://mattmahoney.net/dc/text8.zip",
            size=31_344_016,
            checksum="sha256:a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
        ),
    ),
    _text(
        "enwik8",
        "100 MB of English Wikipedia as it is stored, XML and all",
        _MAHONEY,
        "http://mattmahoney.net/dc/enwik8.zip",
        (90_000_000, 5_000_000, 5_000_000),
        Remote(
            name="enwik8.zip",
            url="http://mattmahoney.net/dc/enwik8.zip",
            size=36_445_475,
            checksum="sha256:547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
        ),
    ),
)
