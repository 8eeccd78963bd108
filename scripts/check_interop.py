#!/usr/bin/env python3
"""Checks what `coderag train` wrote against the tools that are to load it.

    cargo build --release --workspace
    venv/bin/python scripts/check_interop.py OUTPUT/model
    venv/bin/python scripts/check_interop.py OUTPUT/model --base BASE --adapter OUTPUT/adapter

The venv is that of scripts/requirements-reference.txt. BASE is the folder that was trained from. Prints a table:

    sentence-transformers   loads the model; its vectors, with no prompt and with each of the model's prompts, and its
                            settings are coderag's
    transformers            loads the model with no weight missing, left over or of another shape
    PEFT                    loads the adapter with no tensor missing or left over, on an AutoModel; its vectors are
                            those of `coderag embed --adapter` and of the merged model
    sentence-transformers   loads the adapter into BASE with `load_adapter`; the same vectors
    safetensors             reads the weights and writes them again; with BASE, names, shapes and types are its own
    text-embeddings-inference   the files and keys that it cannot start without

Vectors are compared by the largest absolute difference, in units of the length of sentence-transformers' vector.
Exits with 1 when anything is not as it should be.

What text-embeddings-inference needs was read in its source, version 1.9.3 (git 0d124dc): `router/src/lib.rs` (`run`,
`get_backend_model_type`, `ModelConfig`, `PoolConfig`, `STConfig`, `NewSTConfig`), `backends/src/lib.rs`
(`ModuleConfig`), `backends/candle/src/lib.rs` (`Config`), `backends/candle/src/layers` (`HiddenAct`,
`RopeParameters`) and `backends/candle/src/models` (`bert.rs`, `qwen2.rs`, `qwen3.rs`, `dense.rs`). Its own results are
not compared: it computes GELU by its approximation with tanh, whatever config.json says.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path

import numpy
import peft
import safetensors
import safetensors.torch
import sentence_transformers
import tokenizers
import torch
import transformers
from check_adapter_round_trip import ROOT, load, run
from peft import PeftModel
from transformers import AutoModel

LIMIT = 1e-5
# What rounding merged weights to half precision may change.
HALF_LIMIT = 3e-2

TEXTS = [
    "Which stations rent out the most bicycles on Sundays?",
    "SELECT name, COUNT(*) AS rides FROM station JOIN ride ON ride.station = station.id GROUP BY name",
    "CREATE TABLE ride (id INTEGER PRIMARY KEY, station INTEGER REFERENCES station(id), began TEXT NOT NULL)",
    "def average(values):\n    \"\"\"The mean of a list of numbers.\"\"\"\n    return sum(values) / len(values)",
    "Größe, naïveté, 数据库, и т. д. 🚲",
    "  two  spaces,\ttabs and\r\nother ends of lines ",
    "UPPER case, lower case, snake_case and CamelCase",
    "x",
    # Longer than any limit of the models that are trained here.
    " ".join(f"column_{index} has {index * index} distinct values;" for index in range(400)),
]


def difference(ours, theirs):
    if ours.shape != theirs.shape:
        return float("inf")
    return float((numpy.abs(ours - theirs) / numpy.linalg.norm(theirs, axis=1, keepdims=True)).max())


class Report:
    """The lines of the table, and whether all is well."""

    def __init__(self):
        self.failed = False

    def line(self, tool, what, found, is_well):
        self.failed |= not is_well
        print(f"{tool:<26} {what:<58} {found:<24} {'ok' if is_well else 'FAILED'}", flush=True)

    def vectors(self, tool, what, ours, theirs, limit=LIMIT):
        found = difference(ours, theirs)
        self.line(tool, what, f"{found:.1e} (limit {limit:.0e})", found <= limit)

    def attempt(self, tool, check, *arguments):
        """What a check returns; nothing where a tool throws."""
        try:
            return check(*arguments, self)
        except Exception as error:
            self.problems(tool, "exceptions", [f"{type(error).__name__}: {error}"])

    def problems(self, tool, what, problems):
        self.line(tool, what, "none" if not problems else f"{len(problems)}", not problems)
        for problem in problems:
            print(f"    {problem}")


def with_sentence_transformers(model, prompt=""):
    # Texts alone, as padding would add noise.
    encode = lambda text: model.encode([text], prompt=prompt, show_progress_bar=False)
    return numpy.concatenate([encode(text) for text in TEXTS])


class Coderag:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def embed(self, model, *arguments):
        source, output = self.folder / "texts.jsonl", self.folder / "vectors.npy"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
        output.unlink(missing_ok=True)
        run(self.binary, "--quiet", "embed", "--model", model, "--input", source, "--output", output, *arguments)
        return numpy.load(output)


def check_model(directory, coderag, report):
    model = load(directory)
    tool = "sentence-transformers"
    settings = json.loads((directory / "config_sentence_transformers.json").read_text())
    limits = json.loads((directory / "sentence_bert_config.json").read_text())
    for key, found, written in [
        ("prompts", model.prompts, settings["prompts"]),
        ("default prompt", model.default_prompt_name, settings["default_prompt_name"]),
        ("similarity", model.similarity_fn_name, settings["similarity_fn_name"] or "cosine"),
        ("longest sequence", model.max_seq_length, limits["max_seq_length"]),
    ]:
        shown = str(found) if len(str(found)) <= 24 else f"{len(found)} of them"
        report.line(tool, f"{key} as written", shown, found == written)
    tokenize = getattr(model, "preprocess", model.tokenize)
    counts = [tokenize([text])["input_ids"].shape[1] for text in TEXTS]
    report.line(tool, "cuts the longest text at the limit", f"{max(counts)} tokens", max(counts) == model.max_seq_length)
    vectors = with_sentence_transformers(model)
    report.vectors(tool, "vectors, no prompt", coderag.embed(directory, "--prompt", ""), vectors)
    for name, prompt in model.prompts.items():
        ours = coderag.embed(directory, "--prompt-name", name)
        report.vectors(tool, f"vectors, prompt `{name}`", ours, with_sentence_transformers(model, prompt))
    return vectors, model.max_seq_length


def check_transformers(directory, report):
    # BERT's pooler is a part of AutoModel that embeddings do not need, and that a base with a task head does not have.
    _, info = AutoModel.from_pretrained(directory, output_loading_info=True)
    for key in ["missing_keys", "unexpected_keys", "mismatched_keys"]:
        found = [str(name) for name in info[key] if not str(name).startswith("pooler.")]
        report.problems("transformers", key.replace("_", " "), found)


def weight_files(directory):
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        return [directory / "model.safetensors"]
    return [directory / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]


def layout(directory):
    """Shape and type of each weight of the body."""
    found = {}
    for path in weight_files(directory):
        with safetensors.safe_open(path, "pt") as file:
            for name in file.keys():
                part = file.get_slice(name)
                found[name] = (tuple(part.get_shape()), part.get_dtype())
    for prefix in ["bert.", "roberta.", "model."]:
        if any(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): what for name, what in found.items() if name.startswith(prefix)}
    return found


def check_weights(directory, base, folder, report):
    path = directory / "model.safetensors"
    tool = "safetensors"
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    report.line(tool, "says that it is of PyTorch", str(metadata), metadata == {"format": "pt"})
    first = safetensors.torch.load_file(path)
    safetensors.torch.save_file(first, folder / "again.safetensors", metadata)
    again = safetensors.torch.load_file(folder / "again.safetensors")
    same = first.keys() == again.keys() and all(torch.equal(first[name], again[name]) for name in first)
    report.line(tool, "written again by safetensors", f"{len(again)} tensors", same)
    # What fp16 and bf16 cannot hold becomes infinite.
    broken = [name for name, tensor in first.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    report.problems(tool, "weights that are no numbers", broken)
    if base:
        ours, theirs = layout(directory), layout(base)
        differing = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
        report.problems(tool, "weights of another shape or type than the base's", differing)


def check_adapter(base, adapter, merged, longest, coderag, report):
    ours = coderag.embed(base, "--adapter", adapter, "--prompt", "")
    is_half = any(dtype in ["F16", "BF16"] for _, dtype in layout(base).values())
    limit = HALF_LIMIT if is_half else LIMIT
    change = difference(ours, with_sentence_transformers(load(base)))
    report.line("coderag", "the adapter changes the base's vectors by", f"{change:.1e}", change > 0)

    body = AutoModel.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(body, adapter).eval()
    # transformers says in the same way what becomes of its own interface.
    said = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    report.problems("PEFT", "warnings on PeftModel.from_pretrained", said)
    expected = set(peft.get_peft_model_state_dict(model, save_embedding_layers=False))
    stored = set(safetensors.torch.load_file(adapter / "adapter_model.safetensors"))
    # PEFT saves the base's embeddings beside their adapter, which counts for nothing here.
    stored = {name for name in stored if ".lora_" in name}
    report.problems("PEFT", "tensors missing or left over", sorted(expected ^ stored))
    pipeline = load(base)
    pipeline[0].model = model.get_base_model()
    live = with_sentence_transformers(pipeline)
    report.vectors("PEFT", "vectors of coderag embed --adapter", ours, live)
    # Training may have cut texts sooner than the base does.
    pipeline.max_seq_length = longest
    report.vectors("PEFT", "vectors of the merged model", merged, with_sentence_transformers(pipeline), limit)

    pipeline = load(base)
    pipeline.load_adapter(str(adapter))
    loaded = with_sentence_transformers(pipeline)
    report.vectors("sentence-transformers", "load_adapter: vectors of PEFT", loaded, live)
    report.vectors("sentence-transformers", "load_adapter: vectors of coderag embed --adapter", ours, loaded)


NUMBER = (int, float)

# What has no default in the structures that text-embeddings-inference reads.
TEI_BERT = {
    **dict.fromkeys(["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"], int),
    **dict.fromkeys(["max_position_embeddings", "type_vocab_size", "pad_token_id"], int),
    **dict.fromkeys(["hidden_dropout_prob", "initializer_range", "layer_norm_eps"], NUMBER),
}
TEI_QWEN2 = {
    **dict.fromkeys(["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"], int),
    **dict.fromkeys(["num_key_value_heads", "max_position_embeddings"], int),
    **{"rms_norm_eps": NUMBER, "use_sliding_window": bool},
}
TEI_CONFIG = {
    "bert": TEI_BERT,
    "roberta": TEI_BERT,
    "xlm-roberta": TEI_BERT,
    "qwen2": TEI_QWEN2,
    "qwen3": {**TEI_QWEN2, "attention_bias": bool, "eos_token_id": int},
}
TEI_ACTIVATIONS = {"gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swiglu", "tanh"}
TEI_MODULES = {f"sentence_transformers.models.{kind}" for kind in ["Transformer", "Pooling", "Dense", "Normalize"]}
TEI_DENSE = {"in_features": int, "out_features": int, "bias": bool}
TEI_DENSE_ACTIVATIONS = {"torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"}


def wrong_keys(file, found, keys):
    for key, kind in keys.items():
        value = found.get(key)
        # For Python true and false are numbers.
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            yield f"{file}: {key} is {value!r}"


def tei_problems(directory):
    """Why text-embeddings-inference would not start with a model, or would start with another one."""

    def read(file):
        return json.loads((directory / file).read_text())

    for file in ["config.json", "tokenizer.json", "model.safetensors", "modules.json", "1_Pooling/config.json"]:
        if not (directory / file).is_file():
            yield f"{file} is missing"
            return
    config = read("config.json")
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        yield f"config.json: architectures is {architectures!r}"
    elif any(name.endswith("Classification") for name in architectures):
        yield f"config.json: architectures is {architectures!r}, which it takes for a classifier"
    family = config.get("model_type")
    if family not in TEI_CONFIG:
        yield f"config.json: model_type is {family!r}"
        return
    yield from wrong_keys("config.json", config, TEI_CONFIG[family])
    if config.get("hidden_act") not in TEI_ACTIVATIONS:
        yield f"config.json: hidden_act is {config.get('hidden_act')!r}"
    if family.startswith("qwen"):
        rope = config.get("rope_parameters")
        if rope is not None:
            yield from wrong_keys("config.json: rope_parameters", rope, {"rope_theta": NUMBER, "rope_type": str})
        elif not isinstance(config.get("rope_theta"), NUMBER):
            yield "config.json: neither rope_theta nor rope_parameters"
        if config.get("use_sliding_window"):
            yield "config.json: use_sliding_window is true"
    elif config.get("position_embedding_type", "absolute") != "absolute":
        yield "config.json: position_embedding_type is not absolute"

    pooling = read("1_Pooling/config.json")
    yield from wrong_keys("1_Pooling/config.json", pooling, {"pooling_mode_cls_token": bool, "pooling_mode_mean_tokens": bool})
    # Taken in this order, whatever else is true.
    modes = ["pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_lasttoken"]
    mode = next((mode for mode in modes if pooling.get(mode)), None)
    if mode is None:
        yield "1_Pooling/config.json: pooling is neither cls_token nor mean_tokens nor lasttoken"
    elif mode == "pooling_mode_lasttoken" and "roberta" in family:
        yield "1_Pooling/config.json: lasttoken is not for RoBERTa"

    # Without sentence_bert_config.json texts would be cut at max_position_embeddings.
    limits = read("sentence_bert_config.json") if (directory / "sentence_bert_config.json").is_file() else {}
    yield from wrong_keys("sentence_bert_config.json", limits, {"max_seq_length": int})
    if (directory / "config_sentence_transformers.json").is_file():
        prompts = read("config_sentence_transformers.json").get("prompts")
        if prompts is not None and not all(isinstance(prompt, str) for prompt in prompts.values()):
            yield "config_sentence_transformers.json: a prompt is not a text"

    # A class that it does not know makes it leave out all dense layers.
    for module in read("modules.json"):
        yield from wrong_keys("modules.json", module, {"idx": int, "name": str, "path": str})
        if module.get("type") not in TEI_MODULES:
            yield f"modules.json: type is {module.get('type')!r}"
        elif module["type"].endswith("Dense"):
            file = f"{module['path']}/config.json"
            dense = read(file)
            yield from wrong_keys(file, dense, TEI_DENSE)
            if dense.get("activation_function", "torch.nn.modules.linear.Identity") not in TEI_DENSE_ACTIVATIONS:
                yield f"{file}: activation_function is {dense['activation_function']!r}"
            if not (directory / module["path"] / "model.safetensors").is_file():
                yield f"{module['path']}/model.safetensors is missing"


def check_tei(directory, report):
    report.problems("text-embeddings-inference", "what it cannot start without", list(tei_problems(directory)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="MODEL", help="the model that was written")
    parser.add_argument("--base", type=Path, help="the model that it was trained from")
    parser.add_argument("--adapter", type=Path, help="the adapter that was merged, which needs --base")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    parser.add_argument("--coderag", type=Path, default=target / "coderag", help="the program")
    arguments = parser.parse_args()
    if arguments.adapter and not arguments.base:
        parser.error("--adapter needs --base")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    packages = [sentence_transformers, transformers, peft, safetensors, tokenizers, torch, numpy]
    versions = ", ".join(f"{package.__name__} {package.__version__}" for package in packages)
    print(f"Python {platform.python_version()}, {versions}")
    print(f"{arguments.model}")
    directory = arguments.model.resolve()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        coderag = Coderag(arguments.coderag, Path(folder))
        base = arguments.base and arguments.base.resolve()
        merged = report.attempt("sentence-transformers", check_model, directory, coderag)
        report.attempt("transformers", check_transformers, directory)
        if arguments.adapter and merged is not None:
            report.attempt("PEFT", check_adapter, base, arguments.adapter.resolve(), *merged, coderag)
        report.attempt("safetensors", check_weights, directory, base, Path(folder))
    report.attempt("text-embeddings-inference", check_tei, directory)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
