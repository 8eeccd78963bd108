"""What a number format costs in retrieval: nDCG@10, MRR@10 and recall@10 on CoSQA, by exact search.

    retrieval_quality.py --coderag BINARY --model DIRECTORY --onnx-int8 GRAPH.onnx --cosqa DIRECTORY
                         --work DIRECTORY --output RESULTS.json [--threads 2]

DIRECTORY of CoSQA holds `corpus.jsonl.gz` (`code_id`, `code`) and `queries_dev.jsonl.gz` (`id`, `query`,
`code_id`): natural questions, each with the one Python function that answers it. Vectors are made by
`coderag embed` in each precision, by sentence-transformers in f32, and by ONNX Runtime's dynamic int8;
questions and functions by the same. Similarity is the dot product of vectors of length 1. The scores are
pytrec_eval's, whose rules `coderag eval retrieval` follows too.

`benchmark.py --only quality` runs this with everything in place.
"""

import argparse
import gzip
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import numpy
import pytrec_eval
from onnxruntime_worker import Encoder
from sentence_transformers import SentenceTransformer

CUTOFF = 10
# Enough for ties at the cutoff.
KEPT = 100
REFERENCES = {"coderag bf16": "coderag f32", "coderag int8": "coderag f32"}
REFERENCE = "sentence-transformers f32"


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def encoders(given):
    """Functions from texts to vectors, by name."""

    def coderag(precision):
        def encode(texts):
            source, target = given.work / "quality.jsonl", given.work / "quality.npy"
            lines = (json.dumps({"text": text}) + "\n" for text in texts)
            source.write_text("".join(lines), encoding="utf-8")
            target.unlink(missing_ok=True)
            command = [given.coderag, "--quiet", "--threads", str(given.threads), "embed", "--restart"]
            command += ["--model", given.model, "--input", source, "--output", target]
            subprocess.run([*command, "--precision", precision], check=True)
            return numpy.load(target)

        return encode

    def sentence_transformers(texts):
        model = SentenceTransformer(str(given.model), device="cpu")
        return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    def onnxruntime(texts):
        return Encoder(given.model, str(given.onnx_int8), given.threads).encode(texts, 1)

    by_name = {f"coderag {precision}": coderag(precision) for precision in ["f32", "bf16", "int8"]}
    return by_name | {REFERENCE: sentence_transformers, "ONNX Runtime int8": onnxruntime}


def search(questions, functions, corpus_ids):
    """For each question the most similar functions with their scores, `{id: score}`."""
    scores = questions.astype(numpy.float32) @ functions.astype(numpy.float32).T
    nearest = numpy.argpartition(-scores, KEPT, axis=1)[:, :KEPT]
    return [
        {corpus_ids[index]: float(row[index]) for index in chosen}
        for row, chosen in zip(scores, nearest, strict=True)
    ]


def evaluate(run, judgements):
    """pytrec_eval's metrics of each question."""
    metrics = {"ndcg_cut.10", "recall.10"}
    whole = pytrec_eval.RelevanceEvaluator(judgements, metrics).evaluate(run)
    # trec_eval's reciprocal rank knows no cutoff, so the ranking is cut: by score, then by id.
    best = {
        question: dict(sorted(found.items(), key=lambda item: item[::-1], reverse=True)[:CUTOFF])
        for question, found in run.items()
    }
    cut = pytrec_eval.RelevanceEvaluator(judgements, {"recip_rank"}).evaluate(best)
    return {
        question: {
            "ndcg": scores["ndcg_cut_10"],
            "mrr": cut[question]["recip_rank"],
            "recall": scores["recall_10"],
        }
        for question, scores in whole.items()
    }


def differences(scored, reference):
    """Means over the questions of scored - reference in points, with the standard error of nDCG's."""
    points = {
        metric: [100 * (scored[question][metric] - reference[question][metric]) for question in reference]
        for metric in ["ndcg", "mrr", "recall"]
    }
    means = {metric: statistics.fmean(values) for metric, values in points.items()}
    error = statistics.stdev(points["ndcg"]) / math.sqrt(len(reference))
    changed = sum(value != 0 for value in points["ndcg"])
    return means | {"ndcg_standard_error": error, "questions_changed": changed}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ["coderag", "model", "onnx-int8", "cosqa", "work", "output"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()

    corpus = read(given.cosqa / "corpus.jsonl.gz")
    questions = read(given.cosqa / "queries_dev.jsonl.gz")
    corpus_ids = [str(function["code_id"]) for function in corpus]
    judgements = {question["id"]: {str(question["code_id"]): 1} for question in questions}
    scored = {}
    for name, encode in encoders(given).items():
        print(f"  {name}", file=sys.stderr, flush=True)
        texts = [function["code"] for function in corpus] + [one["query"] for one in questions]
        vectors = encode(texts)
        found = search(vectors[len(corpus) :], vectors[: len(corpus)], corpus_ids)
        run = {question["id"]: one for question, one in zip(questions, found, strict=True)}
        scored[name] = evaluate(run, judgements)

    results = {"functions": len(corpus), "questions": len(questions), "systems": {}}
    for name, scores in scored.items():
        against = REFERENCES.get(name, REFERENCE)
        means = {
            metric: statistics.fmean(one[metric] for one in scores.values())
            for metric in ["ndcg", "mrr", "recall"]
        }
        results["systems"][name] = means | {
            "against": against,
            "points": differences(scores, scored[against]),
        }
    given.output.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
