#!/usr/bin/env python3
"""Makes the scores that coderag-train's evaluation is compared with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    /tmp/reference/bin/python scripts/reference_evaluation.py

Written to crates/coderag-train/tests/fixtures/evaluation.safetensors:

    queries, documents   random vectors, [60, 8] and [300, 8], not of length 1
    scores               sentence-transformers' InformationRetrievalEvaluator on them: accuracy@1, recall@1,
                         recall@5, recall@10, MRR@10, nDCG@10, cosine
    margins              numpy's mean similarity of the nearest positive, of the nearest other document, the
                         share of margins over 0, their mean, and their quantiles at .05, .25, .5, .75, .95
    metadata             one entry, JSON: versions, and the pairs `[query, document]` of a development file

A query's positives are 1 to 5 documents, from very near it to not near at all. Documents that are in no
pair are nobody's positive.
"""

import json
from pathlib import Path

import numpy as np
import sentence_transformers
import torch
from safetensors.torch import save_file
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

FIXTURE = Path(__file__).resolve().parent.parent / "crates/coderag-train/tests/fixtures/evaluation.safetensors"

QUERIES, DOCUMENTS, DIMENSIONS = 60, 300, 8


class Vectors:
    """Stands for a model: the vector of the text `d 17` is row 17 of the documents."""

    similarity_fn_name = "cosine"
    model_card_data = None

    def __init__(self, vectors):
        self.vectors = vectors

    def encode_query(self, texts, **_):
        return self.encode(texts)

    def encode_document(self, texts, **_):
        return self.encode(texts)

    def encode(self, texts, **_):
        return torch.stack([self.vectors[text[0]][int(text[2:])] for text in texts])

    def similarity(self, left, right):
        return sentence_transformers.util.cos_sim(left, right)


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(29)
    draw = lambda rows: torch.randn(rows, DIMENSIONS, generator=generator)
    queries, documents = 1.7 * draw(QUERIES), draw(DOCUMENTS)
    relevant, next_document = {}, 0
    for query in range(QUERIES):
        count = 1 + query % 4
        relevant[query] = list(range(next_document, next_document + count))
        for document in relevant[query]:
            # From very near to not near at all.
            documents[document] += (0.1 + 0.02 * query) * queries[query]
        next_document += count
    # Positives that two queries share.
    for query in range(0, 8):
        relevant[query].append(relevant[query + 20][0])

    model = Vectors({"q": queries, "d": documents})
    evaluator = InformationRetrievalEvaluator(
        queries={str(query): f"q {query}" for query in range(QUERIES)},
        corpus={str(document): f"d {document}" for document in range(DOCUMENTS)},
        relevant_docs={str(query): {str(document) for document in found} for query, found in relevant.items()},
        mrr_at_k=[10],
        ndcg_at_k=[10],
        accuracy_at_k=[1],
        precision_recall_at_k=[1, 5, 10],
        map_at_k=[10],
        corpus_chunk_size=77,
        write_csv=False,
        score_functions={"cosine": sentence_transformers.util.cos_sim},
    )
    scores = evaluator.compute_metrices(model)["cosine"]
    recall = scores["recall@k"]
    names = [scores["accuracy@k"][1], recall[1], recall[5], recall[10], scores["mrr@k"][10], scores["ndcg@k"][10]]

    similarities = sentence_transformers.util.cos_sim(queries.double(), documents.double()).numpy()
    is_positive = np.zeros(similarities.shape, dtype=bool)
    for query, found in relevant.items():
        is_positive[query, found] = True
    positives = np.where(is_positive, similarities, -np.inf).max(1)
    negatives = np.where(is_positive, -np.inf, similarities).max(1)
    margins = positives - negatives
    quantiles = np.quantile(margins, [0.05, 0.25, 0.5, 0.75, 0.95])
    means = [positives.mean(), negatives.mean(), (margins > 0).mean(), margins.mean()]

    # In another order than the rows of the vectors, so that neither can be taken for the other.
    pairs = [[query, document] for query, found in relevant.items() for document in found]
    order = torch.randperm(len(pairs), generator=generator).tolist()
    save_file(
        {
            "queries": queries,
            "documents": documents,
            "scores": torch.tensor(names, dtype=torch.float64),
            "margins": torch.tensor([*means, *quantiles], dtype=torch.float64),
        },
        FIXTURE,
        metadata={
            "reference": json.dumps(
                {
                    "versions": {
                        "sentence_transformers": sentence_transformers.__version__,
                        "torch": torch.__version__,
                    },
                    "pairs": [pairs[row] for row in order],
                }
            )
        },
    )
    print(dict(zip(["accuracy@1", "recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@10"], names)))
    print(means, quantiles)


if __name__ == "__main__":
    main()
