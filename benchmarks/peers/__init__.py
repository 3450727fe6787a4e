"""One file per peer: the same network, the same images, written as the peer's own documentation would have it."""
