"""Plain files over HTTP, through pooch: verified before they get their name, and resumed where they broke off.

The first part of a file stays as NAME.part beside it after failures and interruptions; the next attempt asks the
server for the rest (a Range request) and starts over only if the server cannot do that. The attempts are made here:
pooch's own ones would count those that bring progress, and fetch a file with a wrong checksum again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relubench.data.files.cache import Log

if TYPE_CHECKING:
    from requests import Response

PART = ".part"
CHUNK = 2**18
TIMEOUT_S = 30.0
"""How long a connection may stay silent."""
ATTEMPTS = 5
"""Attempts in a row without progress of PROGRESS_BYTES before the download fails."""
PROGRESS_BYTES = 2**20
FIRST_WAIT_S = 1.0
"""The wait before the second attempt; it doubles before each further one."""
REPORT_EVERY_S = 5.0
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


class BrokenTransfer(Exception):
    """A transfer that ended too early, or whose server's answer makes no sense: another attempt may succeed."""


def download(files: Sequence[Remote], staging: Path, log: Log) -> Iterator[Path]:
    """Downloads each file into `staging` and yields its path, verified.

    Raises ValueError for a wrong checksum (the file is deleted); OSError, of which requests' errors are kinds, if the
    server cannot be reached, refuses, or breaks off again and again.
    """
    # Late: pooch and requests take a quarter of a second, and a prepared copy needs neither.
    import pooch

    # It would write to stderr what `log` receives.
    pooch.get_logger().setLevel("WARNING")
    for remote in files:
        # Any: pooch declares other names for these arguments than it calls them with.
        downloader: Any = ResumingDownload(remote=remote, part=staging / f"{remote.name}{PART}", log=log)
        yield Path(pooch.retrieve(remote.url, remote.checksum, remote.name, staging, downloader=downloader))


@dataclass(kw_only=True, slots=True)
class ResumingDownload:
    """A downloader for pooch, which calls it for one file: (url, output_file, pooch) -> None."""

    remote: Remote
    part: Path
    log: Log
    last_report: float = field(default_factory=time.monotonic)

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Completes the part file, in as many attempts as that takes, then renames it to `output_file`."""
        max_received, failures, wait = self._num_received(), 0, FIRST_WAIT_S
        while True:
            try:
                self._request_rest(url)
                break
            except BrokenTransfer as error:
                num_received = self._num_received()
                if num_received >= max_received + PROGRESS_BYTES:
                    max_received, failures, wait = num_received, 0, FIRST_WAIT_S
                failures += 1
                if failures >= ATTEMPTS:
                    raise OSError(f"{url}: {error} ({failures} attempts)") from error
                self.log(f"{self.remote.name}: {error}; trying again in {wait:g} s")
            time.sleep(wait)
            wait *= 2
        self.part.replace(output_file)

    def _num_received(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _request_rest(self, url: str) -> None:
        """One request for what the part file lacks; raises BrokenTransfer where another one may succeed."""
        import requests

        num_received = self._num_received()
        # Unpacked on the way, a .gz would be neither the published file nor as long as announced.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={num_received}-"} if num_received else {})
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
                if response.status_code in REPEATABLE:
                    raise BrokenTransfer(f"the server answers {response.status_code} {response.reason}")
                if response.status_code == requests.codes.requested_range_not_satisfiable:
                    self._check_complete(num_received, response)
                    return
                response.raise_for_status()
                self._receive(response, num_received)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise BrokenTransfer(_reason(error)) from error

    def _check_complete(self, num_received: int, response: Response) -> None:
        """Checks that the part file is complete; a longer one is of another file, and deleted (BrokenTransfer)."""
        if response.headers.get("Content-Range", "") == f"bytes */{num_received}":
            return
        self.part.unlink()
        raise BrokenTransfer(f"the {num_received} bytes that were here are not of this file")

    def _receive(self, response: Response, num_received: int) -> None:
        """Appends what the server sends to the part file, or overwrites it if the server starts from the beginning."""
        from urllib3.exceptions import HTTPError

        start, total = _byte_span(response)
        if start not in (0, num_received):
            raise BrokenTransfer(f"the server sends bytes from {start} where {num_received} was asked for")
        if None not in (total, self.remote.size) and total != self.remote.size:
            raise OSError(f"{self.remote.url}: the server has {total} bytes, the published file {self.remote.size}")
        if num_received:
            resumed = f"going on after {num_received / MB:.1f} MB"
            self.log(f"{self.remote.name}: {resumed if start else 'the server does not resume, starting over'}")
        position, began = start, time.monotonic()
        with self.part.open("ab" if start else "wb") as out:
            try:
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    out.write(chunk)
                    position += len(chunk)
                    self._report_progress(position, total, (position - start) / max(time.monotonic() - began, 1e-3))
            except HTTPError as error:
                raise BrokenTransfer(f"the connection broke after {position} bytes ({_reason(error)})") from error
        if total is not None and position < total:
            raise BrokenTransfer(f"the connection ended after {position} of {total} bytes")

    def _report_progress(self, position: int, total: int | None, rate: float) -> None:
        if time.monotonic() - self.last_report < REPORT_EVERY_S:
            return
        self.last_report = time.monotonic()
        of = f" of {total / MB:.0f}" if total else ""
        self.log(f"{self.remote.name}: {position / MB:.0f}{of} MB, {rate / MB:.1f} MB/s")


def _byte_span(response: Response) -> tuple[int, int | None]:
    """The position of the response's first byte in the file, and the file's size (None if the server does not say)."""
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match:
            raise BrokenTransfer("the server sends a part of the file without saying which")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None


def _reason(error: Exception) -> str:
    """The reason of an error, without the objects and the address that requests and urllib3 put around it."""
    inner = getattr(error.args[0], "reason", None) if error.args else None
    text = " ".join(str(inner or error).split())
    return re.sub(r"^(HTTPS?Connection\(.*?\)|<[^>]*>): ", "", text) or type(error).__name__
