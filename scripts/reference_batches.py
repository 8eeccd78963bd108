#!/usr/bin/env python3
"""Makes the reference batches that coderag-train's sampler tests compare with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    /tmp/reference/bin/python scripts/reference_batches.py

Written to crates/coderag-train/tests/fixtures/batches.json:

    no_duplicates   rows in the order in which they are drawn, and the batches, as positions in that
                    order, that sentence-transformers' NoDuplicatesBatchSampler makes of them
    shuffles        orders of rows that a second implementation of our generator (SplitMix64, Lemire's
                    bounded numbers, Fisher and Yates' shuffle) gives

A row is its anchor, its positive and, in some cases, its negatives: in columns of their own, or in one
column as a list.
"""

import argparse
import json
import random
from pathlib import Path

import sentence_transformers
import torch
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

OUTPUT = Path(__file__).resolve().parent.parent / "crates/coderag-train/tests/fixtures/batches.json"


class Rows:
    """What the sampler needs of a datasets.Dataset."""

    def __init__(self, rows):
        self.rows = rows
        self.column_names = list(rows[0])

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def case(name, rows, batch_size, seed):
    order = list(range(len(rows)))
    if seed is not None:
        # The sampler's own permutation, so that the rows can be stored in the order it draws them in.
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(rows), generator=generator, dtype=torch.int32).tolist()
        generator = torch.Generator()
        sampler = NoDuplicatesBatchSampler(Rows(rows), batch_size, False, generator=generator, seed=seed)
    else:
        sampler = NoDuplicatesBatchSampler(Rows(rows), batch_size, False)
        sampler._iter_one_pass = one_pass_in_order(sampler)
    position = {row: place for place, row in enumerate(order)}
    batches = [[position[row] for row in batch] for batch in sampler]
    texts = [list(rows[row].values()) for row in order]
    return {"name": name, "batch_size": batch_size, "rows": texts, "batches": batches}


def one_pass_in_order(sampler):
    """The sampler's pass with an order that is not shuffled."""
    original = sampler._iter_one_pass

    def one_pass(*arguments):
        shuffled, torch.randperm = torch.randperm, lambda n, generator, dtype: torch.arange(n, dtype=dtype)
        try:
            yield from original(*arguments)
        finally:
            torch.randperm = shuffled

    return one_pass


def pairs(numbers, rows, texts):
    draw = lambda: f"t{numbers.randrange(texts)}"
    return [{"anchor": draw(), "positive": draw()} for _ in range(rows)]


def triplets(numbers, rows, texts):
    """Negatives may be another row's anchor or positive, but each occurs once."""
    negatives = numbers.sample(range(3 * texts), rows)
    made = pairs(numbers, rows, texts)
    for row, negative in zip(made, negatives):
        row["negative"] = f"t{negative}"
    return [row for row in made if row["negative"] not in (row["anchor"], row["positive"])]


def grid(numbers, rows):
    """So many rows wait that they fill whole batches."""
    return [{"anchor": f"a{numbers.randrange(10)}", "positive": f"p{numbers.randrange(10)}"} for _ in range(rows)]


def splitmix64(state):
    mask = (1 << 64) - 1
    while True:
        state = (state + 0x9E3779B97F4A7C15) & mask
        bits = state
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
        yield bits ^ (bits >> 31)


def shuffled(seed, source, epoch, rows):
    state = seed
    for step in (1, source, epoch):
        state = next(splitmix64(state)) ^ step
    numbers = splitmix64(next(splitmix64(state)))

    def below(bound):
        while True:
            product = next(numbers) * bound
            if product % (1 << 64) >= (1 << 64) % bound:
                return product >> 64

    order = list(range(rows))
    for last in range(rows - 1, 0, -1):
        other = below(last + 1)
        order[last], order[other] = order[other], order[last]
    return {"seed": seed, "epoch": epoch, "order": order}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    numbers = random.Random(7)
    pair = lambda anchor, positive, **rest: {"anchor": anchor, "positive": positive, **rest}
    cases = [
        case("pairs, some texts twice", pairs(numbers, 200, 400), 8, 1),
        case("pairs, most texts several times", pairs(numbers, 200, 60), 8, 2),
        case("pairs, few texts", pairs(numbers, 60, 12), 8, 3),
        case("triplets", triplets(numbers, 150, 100), 8, 4),
        case("few anchors and few positives", grid(numbers, 200), 6, 5),
        case("white space", [pair("a b", "c"), pair("a  b", "d")], 2, None),
        case(
            "negatives in a list",
            [pair("a", "b", negatives=["x", "d"]), pair("c", "d", negatives=["y", "z"])],
            2,
            None,
        ),
        case(
            "a shared negative",
            [pair("a", "b", negative="x"), pair("c", "d", negative="x")],
            2,
            None,
        ),
    ]
    reference = {
        "sentence_transformers": sentence_transformers.__version__,
        "no_duplicates": cases,
        "shuffles": [shuffled(0, 0, 0, 50), shuffled(2**64 - 1, 0, 3, 50), shuffled(42, 0, 1, 1000)],
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(reference, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
