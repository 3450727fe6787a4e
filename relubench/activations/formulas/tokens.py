"""A formula's text as tokens: signs, superscripts, bars, Greek and LaTeX brought to one notation. Torch-free."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from relubench.activations.formulas.functions import MODULES, NAMES, fold
from relubench.errors import UsageError, shown

MAX_CHARACTERS = 500
MAX_DEPTH = 20

SEE = (
    "a formula is made of x, numbers, + - * / **, comparisons, where(condition, a, b) and functions such as exp(x): "
    "see `relubench list functions`"
)

Kind = Literal["number", "name", "string", "mark", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """A number, a name, a quoted word or a mark, and where it begins in the text as it was brought to one notation."""

    kind: Kind
    text: str
    start: int


_TOKEN = re.compile(
    r"(?P<number>0[xX][0-9a-fA-F][0-9a-fA-F_]*|0[oO][0-7][0-7_]*|0[bB][01][01_]*"
    r"|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?(?:[jJ](?!\w))?)"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<string>'\w*'|\"\w*\")"
    r"|(?P<mark>\*\*|//|<=|>=|==|!=|->|=>|&&|\.\.\.|:=|[-+*/%^()<>=,:?.|&~√∛∕])",
    re.ASCII,
)
_LETTERS = (
    "αalpha βbeta γgamma δdelta εepsilon ζzeta ηeta θtheta ιiota κkappa λlam μmu νnu ξxi ρrho σsigma τtau υupsilon "
    "φphi χchi ψpsi ωomega ϵepsilon ϕphi ΦPhi πpi"
)
_MARKS = {
    **dict.fromkeys("−–—‒‐‑﹣", "-"),
    **dict.fromkeys("·⋅∙•×✕✖∗", "*"),
    **dict.fromkeys("÷⁄", "/"),
    **{"≤": "<=", "⩽": "<=", "≥": ">=", "⩾": ">=", "≠": "!=", "∣": "|", "ǀ": "|", "↦": "->", "→": "->", "⇒": "->"},
    **{"∧": "&", "{": "(", "}": ")", ";": ","},
    **{letter[0]: f" {letter[1:]} " for letter in _LETTERS.split()},
}
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ˣ]+")
_FRACTIONS = {"½": "(1/2)", "¼": "(1/4)", "¾": "(3/4)", "⅓": "(1/3)", "⅔": "(2/3)"}
_LATEX_WORD = re.compile(r"\\(?:operatorname|mathrm|text|textrm|mathit|mathbf)\*?\s*\{\s*(\w+)\s*\}")
_LATEX = re.compile(r"\\([A-Za-z]+|.)")
_LATEX_MARKS = {
    **dict.fromkeys(("cdot", "times", "ast"), "*"),
    **dict.fromkeys(("left", "right", "big", "Big", "bigl", "bigr", "displaystyle", "quad", "limits"), " "),
    **dict.fromkeys((",", ";", "!", " ", ":"), " "),
    **dict.fromkeys(("lvert", "rvert", "vert", "mid"), "|"),
    **dict.fromkeys(("frac", "dfrac", "tfrac"), "∕"),
    **{"div": "/", "le": "<=", "leq": "<=", "ge": ">=", "geq": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!="},
    **{"sqrt": "√", "{": "(", "}": ")", "land": "&", "lambda": " lam ", "varepsilon": " epsilon ", "varphi": " phi "},
}


_X = re.compile(r"(?<![\w.])(?:[0-9.]*[0-9]\.?(?:[eE][+-]?[0-9]+)?)?x(?!\w)")
_NAME = r"[A-Za-z_]\w*"
_WORD, _VALUE = re.compile(_NAME), re.compile(rf"[,:]\s*({_NAME})\s*[=~]")
_HEADERS = tuple(
    re.compile(rf"\s*{header}\s*")
    for header in (
        r"return\b",
        rf"lambda\s+({_NAME})\s*:",
        rf"def\s+{_NAME}\s*\(\s*({_NAME})[^()]*\)[^:()]*:\s*return\b",
        rf"({_NAME})\s*[-=]>",
        rf"{_NAME}\s*\(\s*({_NAME})\s*\)\s*:?=(?![=>])",
        rf"{_NAME}\s*:?=(?![=>])",
    )
)
"""What people write in front of a formula; the group is what they call x."""


_EXPRESSION = re.compile(r"[-+*/^(|]")
_PATTERN = re.compile(r"[A-Za-z_*?][\w*?]*")
"""Names with * and ? in them name several activations."""
_UNDOTTED_NAME = re.compile(rf"(?<![A-Za-z_.])({_NAME})(\.[A-Za-z_])?")
"""A name that follows no dot, and whether a dot follows it."""
_PARAMETER_NAME = re.compile(rf"({_NAME})\s*[=~](?!=)")
_KNOWN_WORDS = frozenset(
    ("e", "E", "pi", "if", "else", "and", "or", "not", "in", "is", "with", "where", "True", "False", "None")
)

PARAMETER_WORDS = ("with", "where")
"""Words that may stand before a parameter's value."""


def has_x(text: str) -> bool:
    """Whether the text reads as a formula: x stands in it, or what is called x in front of it ('lambda z:')."""
    body, variable = _strip_headers(_ascii_notation(text))
    if variable is not None or _X.search(body) is not None:
        return True
    # ax, where a is given a value, is a product.
    words = set(_WORD.findall(body))
    return any(f"{name}x" in words for name in _VALUE.findall(body))


def tokenize(text: str) -> list[Token]:
    """The text's tokens and an end, bars as abs( and ); UsageError for a sign that no formula has."""
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"a formula has at most {MAX_CHARACTERS} characters, not {len(text)}", "write a shorter one")
    plain, variable = _strip_headers(_ascii_notation(text))
    result: list[Token] = []
    position = 0
    while position < len(plain):
        if plain[position] == " ":
            position += 1
            continue
        match = _TOKEN.match(plain, position)
        if match is None:
            raise UsageError(f"a formula cannot contain {plain[position]!r}: {shown(text)}", SEE)
        kind, word = match.lastgroup, match.group()
        assert kind == "number" or kind == "name" or kind == "string" or kind == "mark"
        result.append(Token(kind, "x" if kind == "name" and word == variable else word, position))
        position = match.end()
    return [*_pair_brackets(result, text), Token("end", "", len(plain))]


def find_parameter_names(tokens: Sequence[Token]) -> set[str]:
    """The names that are given a value after the formula, but for those that call functions."""
    triples = zip(tokens, tokens[1:], tokens[2:], strict=False)
    marks = (",", ":", *PARAMETER_WORDS)
    names = {name.text for mark, name, sign in triples if mark.text in marks and sign.text in ("=", "~")}
    return {name for name in names if fold(name) not in NAMES}


def split_name(token: Token, parameter_names: set[str]) -> list[Token]:
    """The token; 'ax', where only a is given a value, is a and x."""
    word = token.text
    if token.kind != "name" or not word.endswith("x") or word in parameter_names or word[:-1] not in parameter_names:
        return [token]
    return [Token("name", word[:-1], token.start), Token("name", "x", token.start)]


def number(text: str) -> int | float | complex:
    """The number that a token writes."""
    if text[:2].lower() in ("0x", "0o", "0b"):
        return int(text.replace("_", ""), 0)
    digits = text.replace("_", "")
    if digits[-1] in "jJ":
        return complex(digits)
    return int(digits) if digits.isdigit() else float(digits)


def _ascii_notation(text: str) -> str:
    """The text in ASCII as far as it has a meaning here; whatever else is left as it was."""
    text = _LATEX_WORD.sub(r" \1 ", text.strip().strip("$"))
    text = _LATEX.sub(
        lambda match: _LATEX_MARKS.get(match[1], f" {match[1]} " if match[1].isalpha() else match[0]), text
    )
    text = _SUPERSCRIPTS.sub(lambda match: f"**({match[0]})", text)
    text = unicodedata.normalize("NFKC", "".join(_FRACTIONS.get(mark, mark) for mark in text))
    return "".join(_MARKS.get(mark, mark) for mark in text)


def _latex(match: re.Match[str]) -> str:
    word = match[1]
    return _LATEX_MARKS.get(word, f" {word} " if word.isalpha() else match[0])


def _strip_headers(plain: str) -> tuple[str, str | None]:
    """What follows the headers ('y = lambda z:'), and what they call x, if they do."""
    variable = None
    for _ in range(3):
        match = next(filter(None, (header.match(plain) for header in _HEADERS)), None)
        if match is None:
            break
        variable = match[1] if match.re.groups else variable
        plain = plain[match.end() :]
    return plain, variable or _only_letter(plain)


def _only_letter(body: str) -> str | None:
    """The letter in the place of x: the only name in an expression that is neither known nor given a value."""
    if len(body) > MAX_CHARACTERS or _X.search(body) is not None or not _EXPRESSION.search(body):
        return None
    if _PATTERN.fullmatch(body) and "**" not in body.strip("* "):
        return None
    parameters = {match[1] for match in _PARAMETER_NAME.finditer(body)}
    names = {match[1] for match in _UNDOTTED_NAME.finditer(body) if not (match[2] and match[1] in MODULES)} - parameters
    free = {name for name in names if fold(name) not in NAMES and name not in _KNOWN_WORDS}
    letter = free.pop() if len(free) == 1 else ""
    return letter if len(letter) == 1 and letter.isalpha() else None


def _pair_brackets(tokens: list[Token], text: str) -> list[Token]:
    """The tokens with each pair of bars as abs( and ), brackets nested no deeper than allowed."""
    open_marks: list[str] = []
    result: list[Token] = []
    for token in tokens:
        mark = token.text if token.kind == "mark" else ""
        if mark == "|" and not (open_marks and open_marks[-1] == "|" and _ends_operand(result[-1])):
            open_marks.append("|")
            result += [Token("name", "abs", token.start), Token("mark", "(", token.start)]
        elif mark == "|" or mark == ")":
            if not open_marks or open_marks.pop() != {"|": "|", ")": "("}[mark]:
                _refuse_unpaired(text)
            result.append(Token("mark", ")", token.start))
        else:
            open_marks += ["("] if mark == "(" else []
            result.append(token)
        if len(open_marks) > MAX_DEPTH:
            raise UsageError(f"a formula nests at most {MAX_DEPTH} deep: {shown(text)}", "write a flatter one")
    if open_marks:
        _refuse_unpaired(text)
    return result


def _ends_operand(token: Token) -> bool:
    return token.kind != "mark" or token.text == ")"


def _refuse_unpaired(text: str) -> NoReturn:
    raise UsageError(
        f"{shown(text)} is not a formula: its brackets or bars do not pair", "every ( needs its ), and |x| has two bars"
    )
