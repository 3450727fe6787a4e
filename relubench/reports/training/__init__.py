"""The tables of trained networks: rows, footnotes, verdicts and the closing sentence."""
