#!/usr/bin/env python3
"""Makes the values and gradients that coderag-train's losses are compared with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    /tmp/reference/bin/python scripts/reference_losses.py

Written to crates/coderag-train/tests/fixtures/losses.safetensors:

    anchors, positives, negatives_1, negatives_2   random vectors, [6, 12]
    guide.anchors, ...                             a guide's vectors of the same texts, [6, 8]
    teacher                                        a teacher's scores of (positive, negative 1, 2), [6, 3]
    NAME.value, NAME.gradient                      the loss of case NAME and its gradient, [texts, 12]
    statistics.*                                   numpy's mean and quantiles of the margins
    metadata                                       one entry, JSON: versions, and the cases with the TOML
                                                   that names each

Everything is computed in float64 from float32 vectors.
"""

import json
import random
from pathlib import Path

import numpy as np
import safetensors.torch
import sentence_transformers
import torch
import transformers
from sentence_transformers.sentence_transformer.losses import (
    CachedGISTEmbedLoss,
    CachedMultipleNegativesRankingLoss,
    DistillKLDivLoss,
    GISTEmbedLoss,
    MarginMSELoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import cos_sim, dot_score, pairwise_cos_sim
from tokenizers import Tokenizer, models
from torch import nn
from transformers import PreTrainedTokenizerFast

FIXTURE = Path(__file__).resolve().parent.parent / "crates/coderag-train/tests/fixtures/losses.safetensors"

PAIRS, DIMENSIONS, GUIDE_DIMENSIONS = 6, 12, 8
COLUMNS = ["anchors", "positives", "negatives_1", "negatives_2"]


class Vectors(nn.Module):
    """Stands for a model: a column's features are its vectors."""

    max_seq_length = 8

    def __init__(self, key, dimensions):
        super().__init__()
        self.key = key
        self.dimensions = dimensions
        vocabulary = models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(vocabulary), unk_token="[UNK]")

    def __getitem__(self, index):
        return self

    def get_embedding_dimension(self):
        return self.dimensions

    def forward(self, features):
        return {"sentence_embedding": features[self.key]}


MODEL = Vectors("vectors", DIMENSIONS)
GUIDE = Vectors("guide", GUIDE_DIMENSIONS)
SELF_GUIDE = Vectors("detached", DIMENSIONS)


def inputs():
    """Pairs whose positives are near their anchors and whose negatives are at several distances."""
    generator = torch.Generator().manual_seed(20)
    draw = lambda width: torch.randn(PAIRS, width, generator=generator)
    vectors = {}
    for prefix, width in [("", DIMENSIONS), ("guide.", GUIDE_DIMENSIONS)]:
        anchors = 1.5 * draw(width)
        # Anchors 1 and 4 are alike, so that masking by margin has something to find.
        anchors[4] = anchors[1] + 0.4 * draw(width)[4]
        vectors[prefix + "anchors"] = anchors
        vectors[prefix + "positives"] = anchors + 0.7 * draw(width)
        vectors[prefix + "negatives_1"] = 0.6 * anchors + 1.2 * draw(width)
        vectors[prefix + "negatives_2"] = anchors.roll(2, 0) + 0.9 * draw(width)
    teacher = torch.randn(PAIRS, 3, generator=generator) * 2.0 + torch.tensor([4.0, 1.0, 0.0])
    return vectors, teacher


VECTORS, TEACHER = inputs()


def features(columns):
    """The columns as float64 leaves, with the guide's vectors beside them."""
    return [
        {
            "vectors": (leaf := VECTORS[column].double().requires_grad_()),
            "detached": leaf.detach(),
            "guide": VECTORS["guide." + column].double(),
        }
        for column in columns
    ]


def plain(loss):
    """A case that sentence-transformers computes in one piece."""

    def run(columns):
        batch = features(columns)
        value = loss(batch, TEACHER[:, : len(columns) - 1].double())
        value.backward()
        return value.detach(), torch.cat([column["vectors"].grad for column in batch])

    return run


def cached(loss, guide=None):
    """A case that sentence-transformers computes in blocks of rows, as in GradCache."""

    def run(columns):
        batch = features(columns)
        reps = [[column["vectors"]] for column in batch]
        if guide is None:
            value = loss.calculate_loss(reps, with_backward=True)
        else:
            value = loss.calculate_loss(reps, [[column[guide]] for column in batch], with_backward=True)
        return value.detach(), torch.cat([column["vectors"].grad for column in batch])

    return run


ALL_DIRECTIONS = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
ALL = '["anchor_to_document", "anchor_to_anchor", "document_to_anchor", "document_to_document"]'
BOTH_DIRECTIONS = ("query_to_doc", "doc_to_query")
BOTH = '["anchor_to_document", "document_to_anchor"]'
RANKING = 'name = "multiple_negatives_ranking"\n'


def ranking(**options):
    return plain(MultipleNegativesRankingLoss(MODEL, **options))


def gist(guide, **options):
    return plain(GISTEmbedLoss(MODEL, guide, temperature=0.05, **options))


def cached_gist(guide, key, **options):
    loss = CachedGISTEmbedLoss(MODEL, guide, temperature=0.05, mini_batch_size=4, **options)
    return cached(loss, key)


def matryoshka(inner, **options):
    return plain(MatryoshkaLoss(MODEL, inner, **options))


WITHOUT_SIDES = {"contrast_anchors": False, "contrast_positives": False}
GIST_DIRECTIONS = 'directions = ["anchor_to_document", "anchor_to_anchor", "document_to_document"]\n'
NESTED = '[loss]\nname = "multiple_negatives_ranking"\n'

# Name, how many columns of negatives, whether a guide is given, our settings, and the reference.
CASES = [
    ("pairs", 0, False, RANKING, ranking()),
    ("temperature", 0, False, RANKING + "temperature = 0.1\n", ranking(scale=10.0)),
    ("one_negative", 1, False, RANKING, ranking()),
    ("two_negatives", 2, False, RANKING, ranking()),
    (
        "dot",
        2,
        False,
        RANKING + 'similarity = "dot"\nscale = 0.25\n',
        ranking(similarity_fct=dot_score, scale=0.25),
    ),
    (
        "symmetric",
        0,
        False,
        RANKING + f'directions = {BOTH}\npartition = "per_direction"\n',
        ranking(directions=BOTH_DIRECTIONS, partition_mode="per_direction"),
    ),
    (
        "symmetric_with_negatives",
        2,
        False,
        RANKING + f'directions = {BOTH}\npartition = "per_direction"\n',
        ranking(directions=BOTH_DIRECTIONS, partition_mode="per_direction"),
    ),
    (
        "both_directions_jointly",
        1,
        False,
        RANKING + f"directions = {BOTH}\n",
        ranking(directions=BOTH_DIRECTIONS),
    ),
    ("all_directions", 0, False, RANKING + f"directions = {ALL}\n", ranking(directions=ALL_DIRECTIONS)),
    (
        "all_directions_with_negatives",
        2,
        False,
        RANKING + f"directions = {ALL}\n",
        ranking(directions=ALL_DIRECTIONS),
    ),
    *[
        (
            f"hardness_{mode}",
            2,
            False,
            RANKING + f'hardness = {{ mode = "{mode}", strength = 5.0 }}\n',
            ranking(hardness_mode=mode, hardness_strength=5.0),
        )
        for mode in ("in_batch_negatives", "hard_negatives", "all_negatives")
    ],
    (
        "cached",
        2,
        False,
        RANKING + f"directions = {ALL}\n",
        cached(CachedMultipleNegativesRankingLoss(MODEL, directions=ALL_DIRECTIONS, mini_batch_size=4)),
    ),
    (
        "gist_pairs",
        0,
        True,
        RANKING + GIST_DIRECTIONS + 'false_negatives = { strategy = "absolute", margin = 0.0 }\n',
        gist(GUIDE),
    ),
    (
        "gist_absolute",
        1,
        True,
        RANKING + 'false_negatives = { strategy = "absolute", margin = 0.15 }\n',
        gist(GUIDE, margin_strategy="absolute", margin=0.15, **WITHOUT_SIDES),
    ),
    (
        "gist_relative",
        2,
        True,
        RANKING + 'false_negatives = { strategy = "relative", margin = 0.2 }\n',
        cached_gist(GUIDE, "guide", margin_strategy="relative", margin=0.2, **WITHOUT_SIDES),
    ),
    (
        "own_scores_absolute",
        1,
        False,
        RANKING + 'false_negatives = { strategy = "absolute", margin = 0.1 }\n',
        gist(SELF_GUIDE, margin_strategy="absolute", margin=0.1, **WITHOUT_SIDES),
    ),
    (
        "own_scores_relative",
        2,
        False,
        RANKING + 'false_negatives = { strategy = "relative", margin = 0.05 }\n',
        cached_gist(SELF_GUIDE, "detached", margin_strategy="relative", margin=0.05, **WITHOUT_SIDES),
    ),
    (
        "matryoshka",
        1,
        False,
        'name = "matryoshka"\ndimensions = [4, 12, 8]\n' + NESTED,
        matryoshka(MultipleNegativesRankingLoss(MODEL), matryoshka_dims=[4, 12, 8]),
    ),
    (
        "matryoshka_weights_dot",
        2,
        False,
        'name = "matryoshka"\ndimensions = [12, 5]\nweights = [1.0, 0.3]\n' + NESTED + 'similarity = "dot"\n',
        matryoshka(
            MultipleNegativesRankingLoss(MODEL, similarity_fct=dot_score),
            matryoshka_dims=[12, 5],
            matryoshka_weights=[1.0, 0.3],
        ),
    ),
    (
        "matryoshka_margin_mse",
        2,
        False,
        'name = "matryoshka"\ndimensions = [12, 6]\n[loss]\nname = "margin_mse"\n',
        matryoshka(MarginMSELoss(MODEL), matryoshka_dims=[12, 6]),
    ),
    ("margin_mse", 1, False, 'name = "margin_mse"\n', plain(MarginMSELoss(MODEL))),
    (
        "margin_mse_cosine",
        2,
        False,
        'name = "margin_mse"\nsimilarity = "cosine"\n',
        plain(MarginMSELoss(MODEL, similarity_fct=pairwise_cos_sim)),
    ),
    ("kl_divergence", 2, False, 'name = "kl_divergence"\n', plain(DistillKLDivLoss(MODEL))),
    (
        "kl_divergence_temperature",
        1,
        False,
        'name = "kl_divergence"\ntemperature = 2.0\n',
        plain(DistillKLDivLoss(MODEL, temperature=2.0)),
    ),
    (
        "kl_divergence_temperatures",
        2,
        False,
        'name = "kl_divergence"\nsimilarity = "cosine"\nstudent_temperature = 0.4\nteacher_temperature = 1.7\n',
        plain(
            DistillKLDivLoss(
                MODEL, similarity_fct=pairwise_cos_sim, student_temperature=0.4, teacher_temperature=1.7
            )
        ),
    ),
]


def statistics():
    """The margins of the positives over the hardest other document, as cosine similarities."""
    documents = torch.cat([VECTORS[column] for column in COLUMNS[1:]]).double()
    scores = cos_sim(VECTORS["anchors"].double(), documents).numpy()
    positives = np.diagonal(scores).copy()
    np.fill_diagonal(scores, -np.inf)
    hardest = scores.max(axis=1)
    margins = positives - hardest
    return {
        "accuracy": (margins > 0).mean(),
        "positive": positives.mean(),
        "hardest_negative": hardest.mean(),
        "mean": margins.mean(),
        "quantiles": np.quantile(margins, [0.05, 0.25, 0.5, 0.75, 0.95]),
    }


def main():
    torch.set_num_threads(1)
    random.seed(0)
    tensors = {name: vectors.contiguous() for name, vectors in VECTORS.items()} | {"teacher": TEACHER}
    cases = []
    for name, negatives, guide, settings, reference in CASES:
        value, gradient = reference(COLUMNS[: 2 + negatives])
        tensors[f"{name}.value"] = value.reshape(1).double()
        tensors[f"{name}.gradient"] = gradient.float()
        cases.append({"name": name, "negatives": negatives, "guide": guide, "settings": settings})
        print(f"{name}: {value.item():.6f}, largest gradient {gradient.abs().max().item():.6f}")
    for name, value in statistics().items():
        tensors[f"statistics.{name}"] = torch.tensor(np.atleast_1d(value), dtype=torch.float64)
    metadata = {
        "sentence_transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "cases": cases,
    }
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, FIXTURE, {"reference": json.dumps(metadata)})
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
