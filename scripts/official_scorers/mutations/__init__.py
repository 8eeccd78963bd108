"""The kinds of mutation: each takes a question and gives a changed sentence, or None where it does not apply.

A kind belongs to a group, so that a group can be switched off as a whole; the kind's name is the name of its
function. The groups register in a fixed order, since that order decides, with the seed, what is chosen.
"""

from importlib import import_module

from mutations.question import GROUPS, KINDS, Question

__all__ = ["GROUPS", "KINDS", "Question"]

for group in (
    "formatting",
    "names",
    "values",
    "select",
    "order",
    "joins",
    "conditions",
    "aggregates",
    "sets",
    "syntax",
    "text",
    "writes",
):
    import_module(f"mutations.{group}")
