"""Patterns, matched in a time that grows with the text alone, whatever it is and however many patterns there are.

`re` cannot promise that, and the package of RE2 that could has no wheels for Alpine. So patterns are read here
(`syntax`), all of them together are one automaton (`pattern_set`), and `re` is asked for what a group captured only
where the text is known to match and the pattern to be harmless (`safety`).
"""
