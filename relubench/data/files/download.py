"""Plain files over HTTP, through pooch: verified before they get their name, and resumed where they broke off.

What has arrived of a file is kept as NAME.part beside it, over failures and interruptions; the next attempt asks the
server for the rest (a Range request) and starts over only if the server cannot do that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relubench.data.files.cache import Say

if TYPE_CHECKING:
    from requests import Response

PART = ".part"
CHUNK = 2**18
TIMEOUT_S = 30.0
"""How long a connection may stay silent."""
ATTEMPTS = 5
"""Attempts in a row that bring less than PROGRESS_BYTES each, before it is given up."""
PROGRESS_BYTES = 2**20
FIRST_WAIT_S = 1.0
"""Before the second attempt; twice as long before each further one."""
TELL_EVERY_S = 5.0
REPEATABLE = (408, 429, 500, 502, 503, 504)
"""HTTP errors that may pass."""
MB = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """One file to download."""

    name: str
    url: str
    size: int | None
    """In bytes, where it is published."""
    checksum: str
    """'sha256:...' or 'sha1:...', as pooch writes them."""


class Broken(Exception):
    """A transfer that ended before the file did, or whose server answered nonsense: worth another attempt."""


def download(files: Sequence[Remote], staging: Path, say: Say) -> Iterator[Path]:
    """Downloads each file into `staging` and yields its path, verified.

    Raises ValueError for a wrong checksum (the file is deleted), OSError (requests' errors are ones) if the server
    cannot be reached, refuses, or keeps breaking off.
    """
    # Late: pooch and requests take a quarter of a second, and a prepared copy needs neither.
    import pooch

    # It would tell on stderr what `say` tells.
    pooch.get_logger().setLevel("WARNING")
    for remote in files:
        # Any: pooch declares other names for these arguments than it calls them with.
        getter: Any = Resuming(remote=remote, part=staging / f"{remote.name}{PART}", say=say)
        yield Path(pooch.retrieve(remote.url, remote.checksum, remote.name, staging, downloader=getter))


@dataclass(kw_only=True, slots=True)
class Resuming:
    """What pooch calls to download one file: (url, output_file, pooch) -> None."""

    remote: Remote
    part: Path
    say: Say
    told: float = field(default_factory=time.monotonic)

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Completes the part file, however many attempts that takes, then renames it to `output_file`."""
        furthest, failures, wait = self._there(), 0, FIRST_WAIT_S
        while True:
            try:
                self._go_on(url)
                break
            except Broken as broken:
                there = self._there()
                if there >= furthest + PROGRESS_BYTES:
                    furthest, failures, wait = there, 0, FIRST_WAIT_S
                failures += 1
                if failures >= ATTEMPTS:
                    raise OSError(f"{url}: {broken} ({failures} attempts)") from broken
                self.say(f"{self.remote.name}: {broken}; trying again in {wait:g} s")
            time.sleep(wait)
            wait *= 2
        self.part.replace(output_file)

    def _there(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _go_on(self, url: str) -> None:
        """One request for what the part file lacks; raises Broken where another one may do better."""
        import requests

        there = self._there()
        # Unpacked on the way, a .gz would be neither the published file nor as long as announced.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
                if response.status_code in REPEATABLE:
                    raise Broken(f"the server answers {response.status_code} {response.reason}")
                if response.status_code == requests.codes.requested_range_not_satisfiable:
                    self._nothing_beyond(there, response)
                    return
                response.raise_for_status()
                self._write(response, there)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise Broken(_reason(error)) from error

    def _nothing_beyond(self, there: int, response: Response) -> None:
        """The part file is all there is, or it is longer, and then of another file."""
        if response.headers.get("Content-Range", "") == f"bytes */{there}":
            return
        self.part.unlink()
        raise Broken(f"the {there} bytes that were here are not of this file")

    def _write(self, response: Response, there: int) -> None:
        """Appends what the server sends to the part file, or overwrites it if the server starts from the beginning."""
        from urllib3.exceptions import HTTPError

        start, total = _span(response)
        if start not in (0, there):
            raise Broken(f"the server sends bytes from {start} where {there} was asked for")
        if None not in (total, self.remote.size) and total != self.remote.size:
            raise OSError(f"{self.remote.url}: the server has {total} bytes, the published file {self.remote.size}")
        if there:
            told = f"going on after {there / MB:.1f} MB" if start else "the server does not resume, starting over"
            self.say(f"{self.remote.name}: {told}")
        done, began = start, time.monotonic()
        with self.part.open("ab" if start else "wb") as out:
            try:
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    out.write(chunk)
                    done += len(chunk)
                    self._tell(done, total, (done - start) / max(time.monotonic() - began, 1e-3))
            except HTTPError as error:
                raise Broken(f"the connection broke after {done} bytes ({_reason(error)})") from error
        if total is not None and done < total:
            raise Broken(f"the connection ended after {done} of {total} bytes")

    def _tell(self, done: int, total: int | None, rate: float) -> None:
        if time.monotonic() - self.told < TELL_EVERY_S:
            return
        self.told = time.monotonic()
        of = f" of {total / MB:.0f}" if total else ""
        self.say(f"{self.remote.name}: {done / MB:.0f}{of} MB, {rate / MB:.1f} MB/s")


def _span(response: Response) -> tuple[int, int | None]:
    """Where the response's bytes start in the file, and how long the file is (None if that is not said)."""
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not found:
            raise Broken("the server sends a part of the file without saying which")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None


def _reason(error: Exception) -> str:
    """What went wrong, without the objects and the address that requests and urllib3 put around it."""
    inner = getattr(error.args[0], "reason", None) if error.args else None
    text = " ".join(str(inner or error).split())
    return re.sub(r"^(HTTPS?Connection\(.*?\)|<[^>]*>): ", "", text) or type(error).__name__
