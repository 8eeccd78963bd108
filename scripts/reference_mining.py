#!/usr/bin/env python3
"""Makes the negatives that coderag-train's mining is compared with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt datasets
    /tmp/reference/bin/python scripts/reference_mining.py

Written to crates/coderag-train/tests/fixtures/mining.json:

    versions
    anchors, documents   names with their vectors, of length 1
    pairs                names of an anchor and a positive; some anchors have several
    cases                settings as `MiningSettings` has them; what mine_hard_negatives made of them, for each
                         pair with any negative its names and scores; and how many candidates each filter
                         removed, as it prints

The vectors are random, each positive near to its anchor but for a few.
"""

import contextlib
import io
import json
import re
from pathlib import Path

import datasets
import numpy as np
import sentence_transformers
import torch
from sentence_transformers.util import mine_hard_negatives

FIXTURE = Path(__file__).resolve().parent.parent / "crates/coderag-train/tests/fixtures/mining.json"

DIMENSIONS, ANCHORS, OTHERS = 6, 36, 24

SETTINGS = [
    {},
    {"relative_margin": 0.05},
    {"relative_margin": 0.05, "negatives": 5, "range_max": 9},
    {"relative_margin": 0.4, "range_min": 2},
    {"absolute_margin": 0.0},
    {"absolute_margin": 0.2, "relative_margin": 0.05, "max_score": 0.7, "range_max": 20},
    {"max_score": 0.6, "min_score": 0.3},
    {"min_score": 0.5, "negatives": 4},
    {"range_min": 5, "range_max": 8},
    {"range_min": 1, "range_max": 12, "absolute_margin": -0.1, "negatives": 7},
    {"range_max": 500, "relative_margin": 0.0, "negatives": 30},
]
NO_FILTERS = {
    "negatives": 3,
    "range_min": 0,
    "range_max": None,
    "absolute_margin": None,
    "relative_margin": None,
    "max_score": None,
    "min_score": None,
}


class Vectors:
    """Stands for a model: a text's vector is looked up."""

    device = torch.device("cpu")

    def __init__(self, vectors):
        self.vectors = vectors

    def encode_query(self, texts, **_):
        return np.stack([self.vectors[text] for text in texts])

    encode_document = encode_query

    def similarity(self, left, right):
        return torch.as_tensor(left) @ torch.as_tensor(right).T

    def similarity_pairwise(self, left, right):
        return (torch.as_tensor(left) * torch.as_tensor(right)).sum(1)


def main():
    torch.set_num_threads(1)
    random = np.random.default_rng(11)

    def unit(values):
        return (values / np.linalg.norm(values)).astype(np.float32)

    anchors = {f"a{number}": unit(random.normal(size=DIMENSIONS)) for number in range(ANCHORS)}
    documents, pairs = {}, []
    for number, (anchor, vector) in enumerate(anchors.items()):
        for _ in range(1 + (number % 4 == 0) + 2 * (number % 9 == 0)):
            name = f"d{len(documents)}"
            near = vector + 0.3 * random.normal(size=DIMENSIONS)
            far = random.normal(size=DIMENSIONS)
            documents[name] = unit(far if number % 7 == 6 else near)
            pairs.append((anchor, name))
    # Some documents are positives of two anchors.
    pairs += [("a3", "d0"), ("a5", "d20")]
    order = random.permutation(len(pairs))
    pairs = [pairs[index] for index in order]
    corpus = [f"o{number}" for number in range(OTHERS)]
    documents |= {name: unit(random.normal(size=DIMENSIONS)) for name in corpus}

    columns = {"anchor": [pair[0] for pair in pairs], "positive": [pair[1] for pair in pairs]}
    dataset = datasets.Dataset.from_dict(columns)
    model = Vectors(anchors | documents)
    cases = []
    for settings in SETTINGS:
        settings = NO_FILTERS | settings
        options = dict(settings)
        options["num_negatives"] = options.pop("negatives")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            mined = mine_hard_negatives(
                dataset, model, corpus=corpus, output_format="labeled-list", output_scores=True, **options
            )
        skipped = re.findall(r"Skipped ([\d,]+) potential negatives .* due to the (\w+) of", printed.getvalue())
        cases.append({
            "settings": settings,
            "removed": {name: int(count.replace(",", "")) for count, name in skipped},
            "rows": [[row["anchor"], row["positive"], [round(score, 6) for score in row["scores"]]] for row in mined],
        })

    def lists(vectors):
        return {name: [float(value) for value in vector] for name, vector in vectors.items()}

    fixture = {
        "versions": {
            "sentence-transformers": sentence_transformers.__version__,
            "datasets": datasets.__version__,
            "torch": torch.__version__,
        },
        "anchors": lists(anchors),
        "documents": lists(documents),
        "pairs": pairs,
        "cases": cases,
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fixture.items())
    FIXTURE.write_text(f"{{\n{lines}\n}}\n")
    for case in cases:
        negatives = sum(len(row[1]) - 1 for row in case["rows"])
        print(f"{len(case['rows'])} pairs, {negatives} negatives, removed {case['removed']}")


if __name__ == "__main__":
    main()
