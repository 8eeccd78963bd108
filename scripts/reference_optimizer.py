#!/usr/bin/env python3
"""Makes the numbers that coderag-train's schedules, AdamW and gradient clipping are compared with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    /tmp/reference/bin/python scripts/reference_optimizer.py

Written to crates/coderag-train/tests/fixtures/optimizer.safetensors:

    schedule.N              learning rates of schedule N, step by step, as transformers sets them
    weights, bias           two parameters before training, [37] and [5]
    gradients.weights, ...  their gradients, [steps, ...]
    RUN.weights, RUN.bias   the parameters after each tenth step of run RUN, [steps / 10, ...]
    RUN.norms               the norms that torch's clipping reported, [steps]
    metadata                one entry, JSON: versions, the schedules, the runs, numbers of warm-up
                            steps, and which parameters of several architectures transformers decays
"""

import json
import math
from pathlib import Path

import safetensors.torch
import torch
import transformers
from torch.nn.utils import clip_grad_norm_
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    Qwen2Config,
    Qwen2Model,
    Trainer,
    TrainingArguments,
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

FIXTURE = Path(__file__).resolve().parent.parent / "crates/coderag-train/tests/fixtures/optimizer.safetensors"

STEPS = 60

SCHEDULES = [
    {"decay": decay, "warm_up": warm_up, "total": total}
    for decay in ("constant", "linear", "cosine")
    for warm_up, total in [(0, 30), (7, 53), (53, 53), (60, 53), (1, 1)]
]

# Settings of AdamW, the greatest norm, and the schedule of a run.
RUNS = {
    "default": {"learning_rate": 1e-2, "weight_decay": 0.01, "betas": [0.9, 0.999], "epsilon": 1e-8},
    "strong_decay": {"learning_rate": 3e-2, "weight_decay": 0.5, "betas": [0.8, 0.95], "epsilon": 1e-6},
    "clipped": {
        "learning_rate": 2e-2,
        "weight_decay": 0.1,
        "betas": [0.9, 0.999],
        "epsilon": 1e-8,
        "max_norm": 1.0,
        "decay": "cosine",
        "warm_up": 6,
    },
}


def schedule_of(optimizer, decay, warm_up, total):
    if decay == "constant":
        return get_constant_schedule_with_warmup(optimizer, warm_up)
    make = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}[decay]
    return make(optimizer, warm_up, total)


def learning_rates(decay, warm_up, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-5)
    schedule = schedule_of(optimizer, decay, warm_up, total)
    rates = []
    for _ in range(total + 2):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return torch.tensor(rates, dtype=torch.float64)


def run(settings, start, gradients):
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    optimizer = torch.optim.AdamW(
        [
            {"params": [parameters["weights"]], "weight_decay": settings["weight_decay"]},
            {"params": [parameters["bias"]], "weight_decay": 0.0},
        ],
        lr=settings["learning_rate"],
        betas=settings["betas"],
        eps=settings["epsilon"],
    )
    schedule = schedule_of(optimizer, settings.get("decay", "constant"), settings.get("warm_up", 0), STEPS)
    kept = {name: [] for name in start}
    norms = []
    for step in range(STEPS):
        for name, parameter in parameters.items():
            parameter.grad = gradients[name][step].clone()
        norms.append(clip_grad_norm_(parameters.values(), settings.get("max_norm", math.inf)))
        optimizer.step()
        schedule.step()
        if (step + 1) % 10 == 0:
            for name, parameter in parameters.items():
                kept[name].append(parameter.detach().clone())
    return {name: torch.stack(values) for name, values in kept.items()} | {"norms": torch.stack(norms)}


def decayed_parameters():
    """For each architecture, its parameters and whether transformers' trainer decays them."""
    small = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "vocab_size": 9}
    models = {
        "bert": BertModel(BertConfig(num_hidden_layers=1, **small)),
        "distilbert": DistilBertModel(DistilBertConfig(dim=8, hidden_dim=8, n_heads=2, n_layers=1, vocab_size=9)),
        "modernbert": ModernBertModel(
            ModernBertConfig(num_hidden_layers=2, pad_token_id=0, norm_bias=True, **small)
        ),
        "mpnet": MPNetModel(MPNetConfig(num_hidden_layers=1, **small)),
        "qwen2": Qwen2Model(Qwen2Config(num_hidden_layers=1, num_key_value_heads=2, **small)),
    }
    result = {}
    for name, model in models.items():
        decayed = set(Trainer.get_decay_parameter_names(None, model))
        result[name] = {parameter: parameter in decayed for parameter, _ in model.named_parameters()}
    return result


def warm_up_steps():
    """Numbers of warm-up steps that transformers makes of ratios."""
    return [
        [ratio, total, TrainingArguments.get_warmup_steps(type("Arguments", (), {"warmup_steps": ratio}), total)]
        for ratio in (0.0, 0.03, 0.05, 0.07, 0.1, 0.29, 1 / 3, 0.999)
        for total in (1, 7, 10, 50, 100, 200, 1000, 12345)
    ]


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(7)
    start = {"weights": torch.randn(37, generator=generator), "bias": torch.randn(5, generator=generator)}
    gradients = {}
    for name, value in start.items():
        # Of several magnitudes, with zeros: components that never move, and ones that do seldom.
        drawn = torch.randn(STEPS, len(value), generator=generator)
        drawn *= 10.0 ** torch.linspace(-4, 0.5, len(value))
        drawn[:, 1] = 0.0
        drawn[::2, 2] = 0.0
        gradients[name] = drawn
    tensors = start | {f"gradients.{name}": value for name, value in gradients.items()}
    for name, settings in RUNS.items():
        tensors |= {f"{name}.{key}": value for key, value in run(settings, start, gradients).items()}
    for index, settings in enumerate(SCHEDULES):
        tensors[f"schedule.{index}"] = learning_rates(**settings)
    metadata = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "runs": RUNS,
        "schedules": SCHEDULES,
        "warm_up_steps": warm_up_steps(),
        "decayed_parameters": decayed_parameters(),
    }
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, FIXTURE, {"reference": json.dumps(metadata)})
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
