"""ONNX Runtime's side of the benchmark: texts to normalised vectors with `tokenizers` and one ONNX file.

    onnxruntime_worker.py MODEL_DIRECTORY TEXTS.jsonl EVERY GRAPH.onnx THREADS

The orders are those of the Rust worker (crates/coderag-encoder/examples/embedding_worker.rs); `encode` also
takes "batch", the texts of one call, which are sorted by length so that little is padded.
"""

import json
import sys
from pathlib import Path

import numpy
import onnxruntime
from orders import read_texts, repeated, serve, timed
from tokenizers import Tokenizer

TEXTS_TOKENIZED_AT_ONCE = 512
WARMING_TEXTS = 32


class Encoder:
    def __init__(self, model, graph, threads):
        limits = json.loads((model / "sentence_bert_config.json").read_text())
        self.max_tokens = limits["max_seq_length"]
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.enable_truncation(self.max_tokens)
        self.tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def tokenize(self, texts):
        sequences = []
        for start in range(0, len(texts), TEXTS_TOKENIZED_AT_ONCE):
            encodings = self.tokenizer.encode_batch_fast(texts[start : start + TEXTS_TOKENIZED_AT_ONCE])
            sequences += [encoding.ids for encoding in encodings]
        return sequences

    def encode(self, texts, batch):
        sequences = self.tokenize(texts)
        order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index]))
        rows = [None] * len(sequences)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            for index, row in zip(chosen, self.vectors([sequences[index] for index in chosen])):
                rows[index] = row
        return numpy.stack(rows)

    def vectors(self, sequences):
        """Mean pooling over the tokens that are not padding, then length 1."""
        longest = max(map(len, sequences))
        ids = numpy.zeros((len(sequences), longest), numpy.int64)
        mask = numpy.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        (states,) = self.session.run(None, feed)
        if len(sequences) == 1:
            pooled = states.mean(axis=1)
        else:
            weights = mask[..., None].astype(numpy.float32)
            pooled = (states * weights).sum(axis=1) / weights.sum(axis=1)
        return pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)


def main():
    model, texts, every, graph, threads = sys.argv[1:]
    encoder = Encoder(Path(model), graph, int(threads))
    texts = read_texts(texts, int(every))
    kept = None

    def encode(batch):
        nonlocal kept
        seconds, kept = timed(lambda: encoder.encode(texts, batch))
        tokenization, sequences = timed(lambda: encoder.tokenize(texts))
        tokens = sum(map(len, sequences))
        return {"seconds": seconds, "tokens": tokens, "tokenization_seconds": tokenization}

    def query(text, calls):
        seconds = repeated(lambda: encoder.encode([text], 1), calls)
        return {"seconds": seconds, "tokens": sum(map(len, encoder.tokenize([text])))}

    def vectors(path):
        kept.astype("<f4").tofile(path)
        return {"dimensions": kept.shape[1]}

    encoder.encode(texts[:WARMING_TEXTS], 1)
    about = {"texts": len(texts), "max_tokens": encoder.max_tokens}
    serve(about, {"encode": encode, "query": query, "vectors": vectors})


if __name__ == "__main__":
    main()
