"""A position among a formula's tokens, with the errors for what does not belong there. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from relubench.activations.formulas.functions import NAMES, fold
from relubench.activations.formulas.tokens import SEE, Token
from relubench.errors import UsageError, shown


class TokenCursor:
    """The tokens of `text` and a position among them, which moves forward as tokens are taken."""

    def __init__(self, tokens: Sequence[Token], text: str) -> None:
        self.tokens, self.text, self.position = tokens, text, 0

    @property
    def next_token(self) -> Token:
        return self.tokens[self.position]

    def take(self, *marks: str) -> str | None:
        """The next token's text if it is one of these marks or words; the position moves past it."""
        token = self.next_token
        if token.kind in ("mark", "name") and token.text in marks:
            self.position += 1
            return token.text
        return None

    def expect(self, mark: str) -> None:
        """Take the mark; UsageError where the next token is another."""
        if not self.take(mark):
            self.refuse_next()

    def refuse_next(self) -> NoReturn:
        """Raises UsageError: the next token cannot stand here."""
        token = self.next_token
        previous = self.tokens[self.position - 1] if self.position else token
        if token.kind == "end":
            self.refuse("it ends too early", SEE)
        if previous.kind == "name" and fold(previous.text) in NAMES:
            self.refuse(f"{previous.text!r} is a function", f"write {previous.text}(...)")
        if token.text in ("//", "%"):
            self.refuse("an operation is one of + - * / **", "x % 1 is x - floor(x), and x // 1 is floor(x)")
        if token.text == "lambda":
            self.refuse("'lambda' does not belong here", "a parameter may be called lam")
        self.refuse(f"{token.text!r} does not belong here", SEE)

    def refuse(self, why: str, hint: str) -> NoReturn:
        """Raises UsageError: the text is not a formula."""
        raise UsageError(f"{shown(self.text)} is not a formula: {why}", hint)
