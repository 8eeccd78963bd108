#!/usr/bin/env python3
"""Makes what coderag-train's training of Qwen2 and Qwen3 is compared with: a few steps in torch.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    /tmp/reference/bin/python scripts/reference_training_qwen2.py

Trains the tiny models and adapters of crates/coderag-encoder/tests/fixtures (scripts/reference_qwen2.py,
scripts/reference_lora.py) with transformers and PEFT, and writes
crates/coderag-train/tests/fixtures/training-qwen2.json: the batches, and for each run, step by step, the loss
and the norm of the gradients before clipping, and of each parameter at the end, as checkpoints have it, its
norm and its product with sin(0), sin(1), sin(2) and so on, which tells one order of the numbers from another.

All is in f64, but for the norms and the softmax, which transformers computes in f32 whatever it is given. Each
sequence is run alone, so no reference depends on padding. The loss is the cross entropy of the cosines of
anchors and positives, times 20; decay is left out for biases and norms.
"""

import json
import os
import random
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers
from peft import PeftModel

FIXTURES = Path(__file__).resolve().parent.parent / "crates"
MODELS = FIXTURES / "coderag-encoder/tests/fixtures"
FIXTURE = FIXTURES / "coderag-train/tests/fixtures/training-qwen2.json"

STEPS = 5
PAIRS = 4
LEARNING_RATES = [5e-4, 5e-4, 4e-4, 3e-4, 2e-4]
ADAMW = {"betas": [0.9, 0.99], "eps": 1e-6, "weight_decay": 0.1}
RUNS = {
    "qwen2": ("qwen2-last-token", None, 60.0),
    "qwen3": ("qwen3-last-token", None, 100.0),
    "qwen2 with lora": ("qwen2-last-token", "qwen2-embeddings", 30.0),
}


def batches(vocabulary):
    """Pairs of token sequences; a positive has its anchor's tokens in another order, and more."""
    draw = random.Random(7)
    steps = []
    for _ in range(STEPS):
        anchors = [[draw.randrange(vocabulary) for _ in range(draw.randrange(1, 9))] for _ in range(PAIRS)]
        positives = [
            draw.sample(anchor, len(anchor)) + [draw.randrange(vocabulary) for _ in range(draw.randrange(12))]
            for anchor in anchors
        ]
        steps.append(anchors + positives)
    return steps


def embed(model, sequences):
    """The last token's state of each sequence."""
    states = [model(torch.tensor([ids])).last_hidden_state[0, -1] for ids in sequences]
    return torch.nn.functional.normalize(torch.stack(states))


def load(model, adapter):
    base = transformers.AutoModel.from_pretrained(MODELS / "architectures" / model, dtype=torch.float64)
    if adapter is None:
        return base.train()
    return PeftModel.from_pretrained(base, MODELS / "lora" / adapter, is_trainable=True).double().train()


def trained(model):
    """Trained parameters by their names in checkpoints."""
    tidy = lambda name: name.removeprefix("base_model.model.").replace(".default", "")
    return {tidy(name): value for name, value in model.named_parameters() if value.requires_grad}


def summary(tensor):
    numbers = tensor.detach().double().flatten()
    signs = torch.arange(len(numbers), dtype=torch.float64).sin()
    return {"shape": list(tensor.shape), "norm": numbers.norm().item(), "product": numbers.dot(signs).item()}


def train(model, adapter, max_norm):
    model = load(model, adapter)
    parameters = trained(model)
    decays = lambda name: "norm" not in name and "bias" not in name
    groups = [
        {"params": [value for name, value in parameters.items() if decays(name)]},
        {"params": [value for name, value in parameters.items() if not decays(name)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], **ADAMW)
    # Without the padding token and what comes after it: torch computes no gradient for its row, even where it
    # stands in a text.
    drawn = batches(model.config.pad_token_id)
    steps = []
    for learning_rate, sequences in zip(LEARNING_RATES, drawn):
        vectors = embed(model, sequences)
        scores = 20.0 * vectors[:PAIRS] @ vectors[PAIRS:].T
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(PAIRS))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        steps.append({"loss": loss.item(), "norm": norm.item()})
    return {"batches": drawn, "steps": steps, "parameters": {name: summary(value) for name, value in parameters.items()}}


def main():
    torch.set_num_threads(1)
    runs = []
    for name, (model, adapter, max_norm) in RUNS.items():
        result = train(model, adapter, max_norm)
        print(name, [f"{step['loss']:.4f} {step['norm']:.3f}" for step in result["steps"]])
        settings = {"name": name, "model": model, "adapter": adapter, "max_norm": max_norm}
        runs.append({**settings, **result})
    reference = {
        "script": "scripts/reference_training_qwen2.py",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "pairs": PAIRS,
        "learning_rates": LEARNING_RATES,
        "adamw": ADAMW,
        "runs": runs,
    }
    FIXTURE.write_text(json.dumps(reference) + "\n")
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
