#!/usr/bin/env python3
"""Checks adapters against real PEFT, on a real model, in both directions.

    cargo build --release --workspace --examples --bins
    venv/bin/python scripts/check_adapter_round_trip.py MODEL...

MODEL is a sentence-transformers folder (`coderag models path all-MiniLM-L6-v2`); the venv is that of
scripts/requirements-reference.txt. For each kind of adapter:

    PEFT makes it with random A and B           the vectors of PEFT, live and merged, are the reference
    coderag embed --adapter                     live and merged: largest difference from them
    coderag writes it, PEFT loads what it wrote largest difference of PEFT's vectors with it, which must be 0
    PEFT merges it and saves the model          largest difference of coderag's vectors of that model

Exits with 1 when a difference is above the limit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import peft
import torch
from peft import LoraConfig, PeftModel, TaskType
from peft.tuners.lora import LoraLayer
from sentence_transformers import SentenceTransformer

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 2e-5

# By the family's names for the same layers.
NAMES = {
    "bert": {"some": ["query", "value"], "word": "word_embeddings", "block": "encoder.layer", "output": "output.dense"},
    "qwen2": {"some": ["q_proj", "v_proj"], "word": "embed_tokens", "block": "layers", "output": "down_proj"},
}


def adapters(family):
    names = NAMES[family]
    features = {"task_type": TaskType.FEATURE_EXTRACTION, "r": 16, "lora_alpha": 32}
    return {
        "two projections": LoraConfig(**features, target_modules=names["some"]),
        "all linear layers": LoraConfig(**features, target_modules="all-linear"),
        "all linear layers, rank-stabilised": LoraConfig(**features, target_modules="all-linear", use_rslora=True),
        "pattern, other ranks and alphas": LoraConfig(
            **features,
            target_modules=rf"{names['block']}\.\d*[13]\..*({names['output']}|{names['some'][0]})",
            rank_pattern={names["output"]: 5},
            alpha_pattern={rf"{names['block']}.1.*": 7},
        ),
        "with embeddings": LoraConfig(**features, target_modules=[*names["some"], names["word"]]),
    }


def load(directory):
    # coderag widens weights that are stored in half precision.
    return SentenceTransformer(str(directory), device="cpu", model_kwargs={"dtype": torch.float32})


def randomise(model, share=0.02):
    """A as PEFT draws it; B such that each product is about `share` of its input, whatever its scaling.

    Far larger changes would measure how unstable the changed model is: with eight times as much in every layer
    of Qwen2.5-Coder-0.5B, PEFT's own vectors differ by 8e-5 between live and merged.
    """
    generator = torch.Generator().manual_seed(20240229)
    draw = lambda parameter: torch.randn(parameter.shape, generator=generator)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, LoraLayer):
                scaling = module.scaling["default"]
                for a in [layer.weight for layer in module.lora_A.values()] + [*module.lora_embedding_B.values()]:
                    a.copy_(draw(a) / a.shape[-1] ** 0.5)
                for b in [layer.weight for layer in module.lora_B.values()] + [*module.lora_embedding_A.values()]:
                    b.copy_(share / scaling * draw(b))


def encode(directory, body, texts):
    model = load(directory)
    model[0].model = body.eval()
    # Texts alone, as padding would add noise.
    return numpy.concatenate([model.encode([text], show_progress_bar=False, normalize_embeddings=True) for text in texts])


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")


def check(directory, texts, binaries, folder, report):
    family = json.loads((directory / "config.json").read_text())["model_type"]

    def coderag(model, output, *arguments):
        output = folder / output
        source = folder / "texts.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        run(binaries / "coderag", "--quiet", "embed", "--model", model, "--input", source, "--output", output, *arguments)
        vectors = numpy.load(output)
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)

    without = encode(directory, load(directory)[0].model, texts)
    base = numpy.abs(coderag(directory, "base.npy") - without).max()
    assert base <= LIMIT, base
    report(f"{directory.name}, no adapter: coderag and sentence-transformers differ by {base:.1e}")
    for name, config in adapters(family).items():
        made, written, merged = (folder / part for part in ["made", "written", "merged"])
        model = peft.get_peft_model(load(directory)[0].model, config)
        randomise(model)
        model.save_pretrained(made)
        live = encode(directory, model.get_base_model(), texts)
        unloaded = model.merge_and_unload()
        merged_by_peft = encode(directory, unloaded, texts)
        pipeline = load(directory)
        pipeline[0].model = unloaded
        pipeline.save_pretrained(str(merged), create_model_card=False)

        ours = coderag(directory, "ours.npy", "--adapter", made)
        run(binaries / "examples/rewrite_adapter", made, written)
        again = PeftModel.from_pretrained(load(directory)[0].model, written)
        read_again = encode(directory, again.get_base_model(), texts)
        exported = coderag(merged, "merged.npy")
        rewritten = coderag(directory, "rewritten.npy", "--adapter", written)

        def difference(one, other):
            return float(numpy.abs(one - other).max())

        found = {
            "changes the base by": difference(live, without),
            "live and merged in PEFT": difference(live, merged_by_peft),
            "coderag from live": difference(ours, live),
            "coderag from merged": difference(ours, merged_by_peft),
            "PEFT with what coderag wrote, from live": difference(read_again, live),
            "coderag with what coderag wrote": difference(rewritten, ours),
            "coderag on PEFT's merged model, from coderag": difference(exported, ours),
        }
        report(f"{directory.name}, {name}: " + ", ".join(f"{what} {value:.1e}" for what, value in found.items()))
        kept = ["coderag from live", "coderag from merged", "coderag on PEFT's merged model, from coderag"]
        assert found["changes the base by"] > 1e-3, "the adapter must matter"
        assert found["PEFT with what coderag wrote, from live"] == 0
        assert found["coderag with what coderag wrote"] == 0
        assert all(found[what] <= LIMIT for what in kept), found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="a sentence-transformers folder")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    parser.add_argument("--binaries", type=Path, default=target, help="the folder of coderag and examples/")
    parser.add_argument("--texts", type=int, default=24, help="how many of the test's texts are embedded")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    texts = json.loads((ROOT / "crates/coderag-encoder/tests/fixtures/texts.json").read_text())
    texts = texts[:: max(1, len(texts) // arguments.texts)][: arguments.texts]
    for directory in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            check(directory.resolve(), texts, arguments.binaries, Path(folder), lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
