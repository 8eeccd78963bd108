"""What the peers' processes have in common: the job, and what they tell of it.

    SCRIPT --model DIRECTORY --pairs PAIRS.jsonl --output RESULT.json --mode full|lora ...

RESULT.json has for each step its seconds, from the end of the step before to its own end, the loss of its
batch, and the tokens that the model has seen.
"""

import argparse
import itertools
import json
import time

import peft
import torch

LEARNING_RATES = {"full": 2e-5, "lora": 2e-4}
SCALE = 20.0
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0
WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def read_job():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--model", required=True)
    add("--pairs", required=True)
    add("--output", required=True)
    add("--mode", choices=list(LEARNING_RATES), required=True)
    add("--precision", choices=["f32", "bf16"], required=True)
    add("--batch", type=int, required=True)
    add("--mini-batch", type=int, default=0, help="the cached loss, this many texts at a time")
    add("--steps", type=int, required=True)
    add("--warm-up", type=int, required=True)
    add("--max-tokens", type=int, required=True)
    add("--threads", type=int, required=True)
    job = parser.parse_args()
    torch.set_num_threads(job.threads)
    torch.manual_seed(42)
    return job


def read_columns(job):
    """The anchors and the positives of all steps."""
    count = job.batch * job.steps
    with open(job.pairs, encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in itertools.islice(lines, count)]
    assert len(pairs) == count, f"{job.pairs} has {len(pairs)} pairs, not {count}"
    return {column: [pair[column] for pair in pairs] for column in ("anchor", "positive")}


def low_rank():
    """LoRA on all linear layers."""
    return peft.LoraConfig(
        task_type=peft.TaskType.FEATURE_EXTRACTION,
        r=16,
        lora_alpha=32,
        lora_dropout=0.0,
        target_modules=["query", "key", "value", "dense"],
    )


class Diary:
    """What is told of each step."""

    def __init__(self):
        self.steps = []
        self.tokens = 0
        self.loss = None
        self.last = time.perf_counter()

    def begin(self):
        """From here on the first step's time counts."""
        self.last = time.perf_counter()

    def end_step(self):
        now = time.perf_counter()
        told = {"seconds": now - self.last, "loss": self.loss, "tokens": self.tokens}
        self.steps.append(told)
        self.last, self.tokens = now, 0

    def write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"steps": self.steps}, file)
