"""The files of the two NORB sets: their names in the order they are read, where they are, and their checksums.

Each part of a set is three files: -dat (images), -cat (labels), -info (instance, pose, lighting).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from relubench.data.files.download import Remote

SMALL_URL = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
JITTERED_URL = "https://cs.nyu.edu/~ylclab/data/norb-v1.0/"

_SMALL = {
    "smallnorb-5x46789x9x18x6x2x96x96-training-dat": (
        131_896_188,
        "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
    ),
    "smallnorb-5x46789x9x18x6x2x96x96-training-cat": (
        348,
        "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
    ),
    "smallnorb-5x46789x9x18x6x2x96x96-training-info": (
        71_052,
        "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
    ),
    "smallnorb-5x01235x9x18x6x2x96x96-testing-dat": (
        130_799_817,
        "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
    ),
    "smallnorb-5x01235x9x18x6x2x96x96-testing-cat": (
        347,
        "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
    ),
    "smallnorb-5x01235x9x18x6x2x96x96-testing-info": (
        10_428,
        "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
    ),
}
"""Bytes and sha256 of the .mat.gz: tensorflow/datasets, tensorflow_datasets/url_checksums/smallnorb.txt at 333639b."""

_JITTERED = {
    "training-01-dat": "38789c74538b0a3f86a4f854f0f0e3482451fd09",
    "training-01-cat": "b9ed38a6af5d9287872ab7064c416fd35dcea79b",
    "training-01-info": "2e2e2a3eef2e0b70dd889ea84f3ce028869eb8de",
    "training-02-dat": "a559ad82aad672ea281db8c437ea89ca6a76a9fa",
    "training-02-cat": "192e87e661f29890e0536bc6445b8fa43fbad832",
    "training-02-info": "8b6cc488a6707e853d065efd338e0d6541f005eb",
    "training-03-dat": "4318343182078b87af6e93eb7a1a0d63b55a7af4",
    "training-03-cat": "ca6f995f9f5b39ae614f8a355a70d53bf1ce4dff",
    "training-03-info": "09460917f05e90337b110527a3840defa84650b2",
    "training-04-dat": "32e193bb7234de588b67592ce04c57cb5b36412a",
    "training-04-cat": "2353025bfcf02ec6fd91171fcf1f964c2ff1f00b",
    "training-04-info": "16e63a9cec76ce1b96ec7ab28ae01a3d35f6eba9",
    "training-05-dat": "0669b2942215f05c33d7be07df352d96b5a4bbe3",
    "training-05-cat": "931f63df18ec27e18a3859e35953a6f2a6478b11",
    "training-05-info": "75b0ef12a7987e88dfc27ce4abde3b6a6f6ba64a",
    "training-06-dat": "779bf6ce2e69cc8cabaf0a1716e6528313c250b0",
    "training-06-cat": "48b91f77aa94dfbd04ccf57b753e4cd42d0631cf",
    "training-06-info": "89ac793064083fec52182402a66dbe71ffaacebc",
    "training-07-dat": "ef6410b90cae2d11a4609787806ae44cb2bbe719",
    "training-07-cat": "f29cd673bd9840abf0fecd68a4d328b698f50cfa",
    "training-07-info": "265248cad68aabc1dc85eb0b68d390aac080d720",
    "training-08-dat": "73302e20486b64824e29a907ec7a353c14c12215",
    "training-08-cat": "d3bc1d9111404d683b8ac6b7adb7e4fa972b765f",
    "training-08-info": "f3678eca658b6c2484ed9d47ca13210c321a88c3",
    "training-09-dat": "26ad80a8b99283804ab69207f81ff902343037b3",
    "training-09-cat": "801d3b16f7813a9e383507a933b1d8a292f3722b",
    "training-09-info": "a4e404c0fa154a6fdb64b82bd6b3203e824f30e9",
    "training-10-dat": "f9d53d3cb99188b085ce304f826c95f1e3dc8e14",
    "training-10-cat": "1496bce011b0435da3f54e50560b66abfda9824e",
    "training-10-info": "03cb78af70fc588b606b0d4b78d9df4396b096b8",
    "testing-01-dat": "4a2a765a8a351e0c005aef54cf320ca53b04d50c",
    "testing-01-cat": "ba6e05ca90b151997d3fca7082e7a6bd3a470fd4",
    "testing-01-info": "68c63325de7ac11e630de670dc2a9743d9826478",
    "testing-02-dat": "79e037950a5423fb126685705b4dfb874ca471f3",
    "testing-02-cat": "13d11d472f26492e2ee68cf1cfccc23e143a97cb",
    "testing-02-info": "4431515f880ff20473bed2f6f1ffd00075a7ff40",
}
"""The sha1 of the .mat.gz: yamins81/scikit-data, skdata/norb.py at 15a0c75. Their sizes are published nowhere."""

_STEMS = {"training": "norb-5x46789x9x18x6x2x108x108-", "testing": "norb-5x01235x9x18x6x2x108x108-"}

REMOTE: Mapping[str, tuple[Remote, ...]] = MappingProxyType(
    {
        "norb": tuple(
            Remote(name=f"{stem}.mat.gz", url=f"{SMALL_URL}{stem}.mat.gz", size=size, checksum=f"sha256:{checksum}")
            for stem, (size, checksum) in _SMALL.items()
        ),
        "norb-jittered-cluttered": tuple(
            Remote(
                name=f"{_STEMS[part.split('-')[0]]}{part}.mat.gz",
                url=f"{JITTERED_URL}{_STEMS[part.split('-')[0]]}{part}.mat.gz",
                size=None,
                checksum=f"sha1:{checksum}",
            )
            for part, checksum in _JITTERED.items()
        ),
    }
)
"""The files of each set, by its name in the table of data sets."""
