"""What a layer gives to its activation: the shape of one example, and the layer's name. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """The shape of one example's pre-activations: (F,), (C, Y, X), or () where any shape will do."""

    example: tuple[int, ...] = ()
    layer: str = ""
    """Of a network's layer: 'hidden layer 2 (64 units)'."""

    @property
    def units(self) -> int:
        """Features or channels, each of which may have parameters of its own; 1 where any shape will do."""
        return self.example[0] if self.example else 1


ANY = Frame()
