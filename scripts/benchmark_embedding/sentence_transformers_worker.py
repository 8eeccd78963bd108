"""sentence-transformers' side of the benchmark.

    sentence_transformers_worker.py MODEL_DIRECTORY TEXTS.jsonl EVERY f32|bf16 THREADS

The orders are those of the Rust worker (crates/coderag-encoder/examples/embedding_worker.rs); `encode` also
takes "batch", the texts of one batch: the library itself sorts texts by length.
"""

import sys

import numpy
import torch
from orders import read_texts, repeated, serve, timed
from sentence_transformers import SentenceTransformer

WARMING_TEXTS = 32
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def main():
    directory, texts, every, precision, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    dtype = TYPES[precision]
    model = SentenceTransformer(directory, device="cpu", model_kwargs={"dtype": dtype})
    types = {parameter.dtype for parameter in model.parameters()}
    assert types == {dtype}, f"asked for {dtype}, got {types}"
    texts = read_texts(texts, int(every))
    kept = None

    def vectors_of(texts, batch):
        return model.encode(
            texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )

    def encode(batch):
        nonlocal kept
        seconds, kept = timed(lambda: vectors_of(texts, batch))
        return {"seconds": seconds}

    def query(text, calls):
        return {"seconds": repeated(lambda: vectors_of([text], 1), calls)}

    def vectors(path):
        kept.astype(numpy.dtype("<f4")).tofile(path)
        return {"dimensions": kept.shape[1]}

    vectors_of(texts[:WARMING_TEXTS], WARMING_TEXTS)
    about = {"texts": len(texts), "max_tokens": model.max_seq_length}
    serve(about, {"encode": encode, "query": query, "vectors": vectors})


if __name__ == "__main__":
    main()
