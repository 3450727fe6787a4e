"""A network of its own, from which nothing of this machine is reached but one port: as from outside of a cloud.

    unshare --net python only_client.py SOCKET PORT WORD...

runs the words there, and hands on what is sent to PORT to the socket in the file system, which `bridge` serves here.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

SET_FLAGS, UP_AND_RUNNING = 0x8914, 0x41


@contextlib.contextmanager
def bridge(path: Path, port: int) -> Iterator[None]:
    """Inside the block, the socket at this path leads to the port of this machine."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        serve(server, lambda: socket.create_connection(("127.0.0.1", port)))
        yield


def serve(server: socket.socket, connect: Callable[[], socket.socket]) -> None:
    """Connect each who comes to the server, in threads that end with this process."""
    server.listen()

    def accept() -> None:
        with contextlib.suppress(OSError):  # The server is closed.
            while True:
                one, other = server.accept()[0], connect()
                for source, target in ((one, other), (other, one)):
                    threading.Thread(target=copy, args=(source, target), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(2**16):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)


def unix_connection(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def main(path: str, port: str, *words: str) -> int:
    with socket.socket() as server:
        # In a new network even loopback is down.
        fcntl.ioctl(server, SET_FLAGS, struct.pack("16sh", b"lo", UP_AND_RUNNING))
        server.bind(("127.0.0.1", int(port)))
        serve(server, lambda: unix_connection(path))
        return subprocess.run(words, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
