#!/usr/bin/env python3
"""Makes the numbers that the tests of `coderag embed` compare with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    /tmp/reference/bin/python scripts/reference_embed.py

Written:

    crates/coderag-index/tests/fixtures/quantization.json   vectors and what sentence-transformers'
                                                            `quantize_embeddings` makes of them
    crates/coderag/tests/cli/fixtures/small-bert.json       vectors of the model that
                                                            scripts/reference_vectors.py makes, cut by
                                                            `truncate_dim`, normalised or not
"""

import json
import os
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import quantize_embeddings

CRATES = Path(__file__).resolve().parent.parent / "crates"


def quantization():
    generator = np.random.default_rng(20)
    embeddings = generator.normal(scale=0.3, size=(12, 19)).astype(np.float32)
    # A dimension of one number, zeros of both signs, numbers on the limits of steps, tiny ones.
    embeddings[:, 3] = 0.25
    embeddings[:, 4] = np.where(np.arange(12) % 2 == 0, np.float32(0.0), np.float32(-0.0))
    embeddings[:, 5] = np.arange(12) * np.float32(255 / 11)
    embeddings[:, 6] = np.arange(12) * np.float32(1e-38)
    # Narrower than the vectors, so that some of them lie outside of its ranges.
    calibration = generator.normal(scale=0.1, size=(5, 19)).astype(np.float32)
    calibration[:, 7] = -0.5

    def quantized(**ranges):
        return {
            precision: quantize_embeddings(embeddings, precision, **ranges).tolist()
            for precision in ("int8", "uint8", "binary", "ubinary")
        }

    write(
        CRATES / "coderag-index/tests/fixtures/quantization.json",
        {
            "embeddings": embeddings.tolist(),
            "calibration": calibration.tolist(),
            "own_ranges": quantized(),
            "calibrated": quantized(calibration_embeddings=calibration),
        },
    )


def truncation():
    torch.set_num_threads(1)
    directory = CRATES / "coderag-encoder/tests/fixtures/small-bert"
    normalized = SentenceTransformer(str(directory), device="cpu")
    raw = SentenceTransformer(modules=list(normalized.children())[:2], device="cpu")
    texts = [
        "",
        "how many customers are there",
        "the index keeps one vector for every table and returns the nearest ones",
        "orders invoices shipments",
    ]

    def vectors(model, **options):
        # Each alone, so that no number depends on padding.
        return [model.encode([text], **options)[0].tolist() for text in texts]

    cases = [
        ([], vectors(normalized)),
        (["--truncate-dim", "7"], vectors(normalized, truncate_dim=7)),
        (["--truncate-dim", "40"], vectors(normalized, truncate_dim=40)),
        (
            ["--truncate-dim", "7", "--normalize"],
            vectors(normalized, truncate_dim=7, normalize_embeddings=True),
        ),
        (["--no-normalize"], vectors(raw)),
        (["--no-normalize", "--truncate-dim", "7"], vectors(raw, truncate_dim=7)),
        (
            ["--prompt-name", "query", "--truncate-dim", "7"],
            vectors(normalized, truncate_dim=7, prompt_name="query"),
        ),
    ]
    write(
        CRATES / "coderag/tests/cli/fixtures/small-bert.json",
        {"texts": texts, "cases": [{"options": options, "vectors": v} for options, v in cases]},
    )


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value) + "\n")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    quantization()
    truncation()
