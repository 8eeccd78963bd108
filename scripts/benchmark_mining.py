#!/usr/bin/env python3
"""Times coderag's search for hard negatives beside sentence-transformers' on the same vectors.

    cargo build --release --workspace --examples
    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt datasets
    /tmp/reference/bin/python scripts/benchmark_mining.py TARGET/release/examples/mining_speed

Random vectors in clusters, as many as pydoc has pairs, each positive near to its anchor; TopK-PercPos at 95 %,
5 negatives. The two take turns, each in a process of its own; seconds are those of the search alone, for
sentence-transformers those of mine_hard_negatives with a model that looks vectors up and without writing a data
set. A third of a kind is torch's matrix product and topk alone, in blocks. Prints each round, the most memory of
each process, and how many anchors have the same negatives.
"""

import argparse
import multiprocessing
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np


def vectors(count, dimensions):
    random = np.random.default_rng(5)
    centres = random.normal(size=(count // 40, dimensions))

    def unit(values):
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype("<f4")

    anchors = centres[random.integers(len(centres), size=count)] + 0.8 * random.normal(size=(count, dimensions))
    return unit(anchors), unit(anchors + 0.6 * random.normal(size=(count, dimensions)))


def torch_alone(folder, dimensions, negatives, threads, results):
    import torch

    torch.set_num_threads(threads)
    anchors, documents = load(folder, dimensions)
    started = time.perf_counter()
    for block in torch.from_numpy(anchors).split(1024):
        torch.topk(block @ torch.from_numpy(documents).T, k=10 * negatives + 2, dim=1)
    results.put((time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, None))


def sentence_transformers(folder, dimensions, negatives, threads, results):
    import torch
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    torch.set_num_threads(threads)
    anchors, documents = load(folder, dimensions)

    class Vectors:
        device = torch.device("cpu")

        def encode_query(self, texts, **_):
            return anchors[[int(text[1:]) for text in texts]]

        def encode_document(self, texts, **_):
            return documents[[int(text[1:]) for text in texts]]

        def similarity(self, left, right):
            return torch.as_tensor(left) @ torch.as_tensor(right).T

        def similarity_pairwise(self, left, right):
            return (torch.as_tensor(left) * torch.as_tensor(right)).sum(1)

    columns = {name: [f"{name[0]}{number}" for number in range(len(anchors))] for name in ("anchor", "document")}
    dataset = Dataset.from_dict(columns)
    started = time.perf_counter()
    mined = mine_hard_negatives(
        dataset,
        Vectors(),
        relative_margin=0.05,
        num_negatives=negatives,
        output_format="labeled-list",
        faiss_batch_size=1024,
        verbose=False,
    )
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = np.full((len(anchors), negatives), 2**32 - 1, dtype="<u4")
    for row in mined:
        numbers = [int(text[1:]) for text in row["document"][1:]]
        found[int(row["anchor"][1:]), : len(numbers)] = numbers
    results.put((seconds, memory, found))


def print_agreement(ours, theirs, anchors, documents):
    """How many anchors have the same negatives, and how much the scores differ where others begin."""
    none = 2**32 - 1
    gaps = []
    for anchor in np.flatnonzero((ours != theirs).any(axis=1)):
        vector = anchors[anchor].astype(np.float64)
        least = 0.95 * (vector @ documents[anchor].astype(np.float64))
        place = np.flatnonzero(ours[anchor] != theirs[anchor])[0]
        pair = [ours[anchor][place], theirs[anchor][place]]
        left, right = (least if one == none else vector @ documents[one].astype(np.float64) for one in pair)
        gaps.append(abs(left - right))
    print(f"anchors with the same negatives in the same order: {len(ours) - len(gaps)} of {len(ours)}")
    if gaps:
        print(f"scores where the others begin to differ: {max(gaps):.1e} apart at most")


def load(folder, dimensions):
    return [np.fromfile(folder / f"{name}.f32", "<f4").reshape(-1, dimensions) for name in ("anchors", "documents")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="coderag-train's example mining_speed")
    parser.add_argument("--count", type=int, default=35888)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--negatives", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, values in zip(("anchors", "documents"), vectors(options.count, options.dimensions)):
            values.tofile(folder / f"{name}.f32")
        for number in range(options.rounds):
            print(f"round {number + 1}")
            command = ["/usr/bin/time", "-f", "%M", options.program, folder, options.dimensions, options.negatives]
            ours = subprocess.run(
                [str(part) for part in command],
                env={"RAYON_NUM_THREADS": str(options.threads)},
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"  coderag                {ours.stdout.strip()} s, {int(ours.stderr) // 1024} MB", flush=True)
            for measure in (torch_alone, sentence_transformers):
                context = multiprocessing.get_context("spawn")
                results = context.Queue()
                process = context.Process(
                    target=measure, args=(folder, options.dimensions, options.negatives, options.threads, results)
                )
                process.start()
                seconds, memory, found = results.get()
                process.join()
                print(f"  {measure.__name__:21}  {seconds:.3f} s, {memory // 1024} MB", flush=True)
        negatives = np.fromfile(folder / "negatives.u32", "<u4").reshape(options.count, -1)
        print_agreement(negatives, found, *load(folder, options.dimensions))


if __name__ == "__main__":
    main()
