#!/usr/bin/env python3
"""Trains with sentence-transformers and writes down each step's loss, which coderag-train's is compared with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    for mode in full lora; do
        /tmp/reference/bin/python scripts/reference_training.py --mode $mode --max-seq-length 48
        /tmp/reference/bin/python scripts/reference_training.py --mode $mode --max-seq-length 128
    done

The model is all-MiniLM-L6-v2 (`--model`, a sentence-transformers directory), the data the first 1,600 pairs of
`$CODERAG_DATA/pydoc/train.jsonl.gz` (`--data`): step i takes rows 32i to 32i+31, `query` as the anchor and `doc`
as the positive. It is SentenceTransformerTrainer itself that trains, on the processor in f32, with
MultipleNegativesRankingLoss, transformers' AdamW (no decay on biases and LayerNorm) and linear schedule. Only two
things are other than usual: its batch sampler takes rows in the order of the file, and dropout is off.

For LoRA (PEFT) A is drawn as `coderag_encoder::lora::Adapter::initial` draws it, so that both sides begin with
the same numbers; B is zero on both.

Written to crates/coderag-train/tests/fixtures/training_MODE.json for the length of 48 tokens, which takes a minute
or two, and to training_MODE_LENGTH.json for others (`--output`):

    settings          of the run; `trained` is how many numbers are trained, and for LoRA `initial` the first two
                      numbers of each A
    versions          of the libraries
    losses            of each step's batch, before the step
    gradient_norms    of all gradients together before they are clipped
"""

import argparse
import gzip
import itertools
import json
import logging
import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import peft
import sentence_transformers
import torch
import transformers
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.utils.data import SequentialSampler

PROJECT = Path(__file__).resolve().parent.parent
FIXTURES = PROJECT / "crates/coderag-train/tests/fixtures"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "coderag"

BATCH, SEED, SCALE = 32, 42, 20.0
# The length that the test suite trains with.
SHORT = 48
LEARNING_RATES = {"full": 2e-5, "lora": 2e-4}
RANK, ALPHA = 16, 32
MODULES = ["query", "key", "value", "dense"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("CODERAG_DATA", PROJECT.parent / "shared/data"))
    parser.add_argument("--mode", choices=list(LEARNING_RATES), required=True)
    parser.add_argument("--max-seq-length", type=int, default=SHORT)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--warm-up", type=int, default=10, help="steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, default=CACHE / "models/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=data / "pydoc/train.jsonl.gz")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def default_output(mode, length):
    name = f"training_{mode}" if length == SHORT else f"training_{mode}_{length}"
    return FIXTURES / f"{name}.json"


def pairs(path, count):
    """The first pairs of the file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in itertools.islice(lines, count)]
    assert len(rows) == count, f"{path} has {len(rows)} rows, not {count}"
    return Dataset.from_dict({"anchor": [r["query"] for r in rows], "positive": [r["doc"] for r in rows]})


def in_file_order(dataset, **options):
    """A batch sampler that takes rows as they come."""
    return DefaultBatchSampler(SequentialSampler(dataset), **options)


def uniform(seed, start, count):
    """`count` of the numbers from 0 up to 1 that SplitMix64 gives, without the first `start`; see
    crates/coderag-core/src/random.rs."""
    with np.errstate(over="ignore"):
        mixed = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.arange(
            start + 1, start + count + 1, dtype=np.uint64
        )
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def draw_a(model, seed):
    """Gives every A the numbers that coderag begins with and returns the first ones of each.

    Layers come in the order of the model's blocks, which is PyTorch's too. The pooler has no influence on the
    vectors; coderag knows no such layer.
    """
    drawn, first = 0, {}
    for name, module in model[0].model.named_modules():
        if not isinstance(module, peft.tuners.lora.LoraLayer) or "pooler" in name:
            continue
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        assert not b.any(), name
        rank, inputs = a.shape
        values = (2.0 * uniform(seed, drawn, rank * inputs) - 1.0) * (1.0 / np.sqrt(inputs))
        drawn += rank * inputs
        with torch.no_grad():
            a.copy_(torch.from_numpy(values.astype(np.float32)).reshape(rank, inputs))
        first[name] = a[0, :2].tolist()
    return first


class Recorder(SentenceTransformerTrainer):
    """The trainer, which also remembers each step's loss and norm with all their digits."""

    def __init__(self, *positional, **named):
        super().__init__(*positional, **named)
        self.losses = []
        self.gradient_norms = []

    def compute_loss(self, *positional, **named):
        loss = super().compute_loss(*positional, **named)
        self.losses.append(loss.item())
        return loss

    def log(self, logs, *positional):
        if "grad_norm" in logs:
            self.gradient_norms.append(float(logs["grad_norm"]))
        super().log(logs, *positional)


def train(given):
    model = SentenceTransformer(
        str(given.model),
        device="cpu",
        model_kwargs={"dtype": torch.float32},
        config_kwargs={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    )
    model.max_seq_length = given.max_seq_length
    assert all(module.p == 0.0 for module in model.modules() if isinstance(module, torch.nn.Dropout))
    settings = {
        "model": given.model.name,
        "mode": given.mode,
        "max_seq_length": given.max_seq_length,
        "batch_size": BATCH,
        "steps": given.steps,
        "warm_up_steps": given.warm_up,
        "learning_rate": LEARNING_RATES[given.mode],
        "scale": SCALE,
        "seed": SEED,
    }
    if given.mode == "lora":
        config = peft.LoraConfig(
            task_type=peft.TaskType.FEATURE_EXTRACTION,
            r=RANK,
            lora_alpha=ALPHA,
            lora_dropout=0.0,
            target_modules=MODULES,
        )
        model.add_adapter(config)
        settings |= {"r": RANK, "lora_alpha": ALPHA, "target_modules": MODULES, "initial": draw_a(model, SEED)}
    influential = (parameter for name, parameter in model.named_parameters() if "pooler" not in name)
    settings["trained"] = sum(parameter.numel() for parameter in influential if parameter.requires_grad)
    with tempfile.TemporaryDirectory() as folder:
        options = SentenceTransformerTrainingArguments(
            output_dir=folder,
            use_cpu=True,
            seed=SEED,
            max_steps=given.steps,
            per_device_train_batch_size=BATCH,
            batch_sampler=in_file_order,
            optim="adamw_torch",
            learning_rate=LEARNING_RATES[given.mode],
            weight_decay=0.01,
            adam_beta1=0.9,
            adam_beta2=0.999,
            adam_epsilon=1e-8,
            max_grad_norm=1.0,
            lr_scheduler_type="linear",
            warmup_steps=given.warm_up,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        settings |= {
            "weight_decay": options.weight_decay,
            "betas": [options.adam_beta1, options.adam_beta2],
            "epsilon": options.adam_epsilon,
            "max_gradient_norm": options.max_grad_norm,
        }
        trainer = Recorder(
            model=model,
            args=options,
            train_dataset=pairs(given.data, BATCH * given.steps),
            loss=MultipleNegativesRankingLoss(model, scale=SCALE),
        )
        trainer.train()
    assert len(trainer.losses) == len(trainer.gradient_norms) == given.steps
    return settings, trainer


def main():
    given = arguments()
    torch.set_num_threads(given.threads)
    # The first numbers from this seed in the authors' reference implementation, as coderag's test has them.
    published = np.array([6457827717110365317, 3203168211198807973], dtype=np.uint64) >> np.uint64(11)
    assert (uniform(1234567, 0, 2) == published / 2.0**53).all()
    logging.disable(logging.WARNING)
    settings, trainer = train(given)
    versions = {
        "sentence-transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    if given.mode == "lora":
        versions["peft"] = peft.__version__
    result = {
        "script": "scripts/reference_training.py",
        "settings": settings,
        "versions": versions,
        "losses": trainer.losses,
        "gradient_norms": trainer.gradient_norms,
    }
    lines = (f' "{key}": {json.dumps(value)}' for key, value in result.items())
    output = given.output or default_output(given.mode, given.max_seq_length)
    output.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{output}: loss {trainer.losses[0]:.6f} at first, {trainer.losses[-1]:.6f} at last")


if __name__ == "__main__":
    main()
