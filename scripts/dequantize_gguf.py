#!/usr/bin/env python3
"""Turns a Qwen2 or Qwen3 GGUF file into a Hugging Face directory that transformers loads.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    /tmp/reference/bin/python scripts/dequantize_gguf.py MODEL.gguf DIRECTORY

MODEL.gguf is, for example, what `coderag models path qwen2.5-coder-0.5b-instruct` names. Written are the
body's weights (--dtype, --shards), config.json and the tokenizer, but not the head that predicts the next
token: an encoder has no use for it. With --sentence-transformers the directory is an embedding model shaped
like bge-code-v1: <|endoftext|> behind every text, its state as the vector, scaled to length 1.

Dequantising is exact: each weight is the value that llama.cpp computes with. No rows are permuted: GGUF
files of Llama models keep the rows of queries and keys in another order than transformers, those of Qwen2
and Qwen3 do not, because llama.cpp rotates their halves ("NEOX") as transformers does.
"""

import argparse
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import torch
import transformers
from gguf.quants import dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import ByteLevel as ByteLevelProcessor
from tokenizers.processors import Sequence, TemplateProcessing

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

# GGUF's names of a model's and a block's tensors, without `.weight` and `.bias`, and transformers'.
MODEL_TENSORS = {"token_embd": "embed_tokens", "output_norm": "norm"}
BLOCK_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# The head, and what transformers computes itself.
LEFT_OUT = {"output", "rope_freqs"}

# `tokenizer.ggml.token_type`.
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


def tensor_name(name):
    """transformers' name of a GGUF tensor; None for those left out."""
    stem, kind = name.rsplit(".", 1)
    if stem in LEFT_OUT:
        return None
    if stem in MODEL_TENSORS:
        return f"{MODEL_TENSORS[stem]}.{kind}"
    _, block, stem = stem.split(".")
    return f"layers.{block}.{BLOCK_TENSORS[stem]}.{kind}"


def write_weights(reader, directory, dtype, shards):
    tensors = [(tensor_name(tensor.name), tensor) for tensor in reader.tensors]
    tensors = [(name, tensor) for name, tensor in tensors if name is not None]
    total = sum(int(tensor.n_elements) for _, tensor in tensors)
    parts, elements = [[] for _ in range(shards)], 0
    for name, tensor in tensors:
        parts[min(elements * shards // total, shards - 1)].append((name, tensor))
        elements += int(tensor.n_elements)
    files = {}
    for number, part in enumerate(parts, 1):
        file = "model.safetensors"
        if shards > 1:
            file = f"model-{number:05}-of-{shards:05}.safetensors"
        weights = {}
        for name, tensor in part:
            values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
            # GGUF lists dimensions from the innermost, as ggml does.
            shape = [int(size) for size in reversed(tensor.shape)]
            weights[name] = values.reshape(shape).to(dtype).contiguous()
            files[name] = file
        save_file(weights, directory / file, {"format": "pt"})
    if shards > 1:
        index = {"metadata": {"total_size": total * dtype.itemsize}, "weight_map": files}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    print(f"{len(files)} tensors, {total} weights")


def write_config(field, architecture, tensor_names, directory, dtype):
    get = lambda key: field(f"{architecture}.{key}")
    heads, hidden = get("attention.head_count"), get("embedding_length")
    classes = {"qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config}
    settings = {
        "vocab_size": len(field("tokenizer.ggml.tokens")),
        "hidden_size": hidden,
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": get("attention.head_count_kv"),
        "max_position_embeddings": get("context_length"),
        # The file keeps an f32: 9.99999997e-07 is what 1e-06 became.
        "rms_norm_eps": float(f"{get('attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_parameters": {"rope_type": "default", "rope_theta": get("rope.freq_base")},
        "tie_word_embeddings": "output.weight" not in tensor_names,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "pad_token_id": field("tokenizer.ggml.padding_token_id"),
        "architectures": [f"{architecture.capitalize()}Model"],
        "dtype": dtype,
    }
    if architecture == "qwen3":
        settings["head_dim"] = get("attention.key_length") or hidden // heads
    config = classes[architecture](**settings)
    config.save_pretrained(directory)
    return config


def write_tokenizer(field, directory, max_tokens, ending):
    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    if field("tokenizer.ggml.pre") != "qwen2":
        raise SystemExit(f"the pre-tokenizer {field('tokenizer.ggml.pre')} is not Qwen2's")
    vocabulary = {token: id for id, token in enumerate(tokens) if types[id] == NORMAL}
    missing = set(ByteLevel.alphabet()) - set(vocabulary)
    if missing:
        raise SystemExit(f"the vocabulary lacks the bytes {sorted(missing)}")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    padding = tokens[field("tokenizer.ggml.padding_token_id")]
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=padding,
        eos_token=padding,
        pad_token=padding,
        padding_side="left",
        model_max_length=max_tokens,
    )
    # Their ids follow the vocabulary's, in order; the unused ones only fill up the embedding.
    added = [id for id, kind in enumerate(types) if kind in (CONTROL, USER_DEFINED)]
    tokenizer.add_tokens(
        [AddedToken(tokens[id], normalized=False, special=types[id] == CONTROL) for id in added]
    )
    tokenizer.eos_token = tokens[field("tokenizer.ggml.eos_token_id")]
    for id, (token, kind) in enumerate(zip(tokens, types)):
        if kind != UNUSED and tokenizer.convert_tokens_to_ids(token) != id:
            raise SystemExit(f"token {id}, {token!r}, has another number after rebuilding")
    if ending:
        tokenizer.backend_tokenizer.post_processor = Sequence(
            [
                ByteLevelProcessor(trim_offsets=False),
                TemplateProcessing(
                    single=f"$A {padding}",
                    pair=f"$A $B {padding}",
                    special_tokens=[(padding, tokenizer.convert_tokens_to_ids(padding))],
                ),
            ]
        )
    tokenizer.save_pretrained(directory)


def write_sentence_transformers(directory, hidden_size, max_tokens):
    modules = [
        ("", "sentence_transformers.models.Transformer"),
        ("1_Pooling", "sentence_transformers.models.Pooling"),
        ("2_Normalize", "sentence_transformers.models.Normalize"),
    ]
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens"]
    pooling = {
        "word_embedding_dimension": hidden_size,
        **{f"pooling_mode_{mode}": False for mode in modes},
        "pooling_mode_lasttoken": True,
        "include_prompt": True,
    }
    task = "Given a question in text, retrieve SQL queries that are appropriate responses to the question."
    files = {
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": kind}
            for index, (path, kind) in enumerate(modules)
        ],
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": max_tokens, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": f"<instruct>{task}\n<query>", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }
    (directory / "2_Normalize").mkdir(exist_ok=True)
    for file, content in files.items():
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).write_text(json.dumps(content, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gguf", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--shards", type=int, default=1, help="how many safetensors files")
    parser.add_argument("--sentence-transformers", action="store_true", help="make an embedding model")
    parser.add_argument("--max-tokens", type=int, default=2048, help="the embedding model's limit")
    arguments = parser.parse_args()

    reader = gguf.GGUFReader(arguments.gguf)

    def field(key):
        found = reader.get_field(key)
        return None if found is None else found.contents()

    architecture = field("general.architecture")
    if architecture not in ("qwen2", "qwen3"):
        raise SystemExit(f"{arguments.gguf} is of the architecture {architecture}, not qwen2 or qwen3")
    if (field(f"{architecture}.rope.scaling.type") or "none") != "none":
        raise SystemExit(f"{arguments.gguf} has scaled rotary embeddings")
    directory, dtype = arguments.directory, DTYPES[arguments.dtype]
    directory.mkdir(parents=True, exist_ok=True)
    names = {tensor.name for tensor in reader.tensors}
    config = write_config(field, architecture, names, directory, dtype)
    embedding = arguments.sentence_transformers
    max_tokens = arguments.max_tokens if embedding else config.max_position_embeddings
    write_tokenizer(field, directory, max_tokens, ending=embedding)
    if embedding:
        write_sentence_transformers(directory, config.hidden_size, max_tokens)
    write_weights(reader, directory, dtype, arguments.shards)


if __name__ == "__main__":
    main()
