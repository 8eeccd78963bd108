"""The job as a loop in PyTorch, without a trainer, at its best; see job.py for its arguments.

Both texts of a pair go through the model in one call, tokens are made before the first step, and AdamW
is the fused one. In bf16 it is autocast that chooses the types.
"""

import contextlib

import torch
from job import (
    LEARNING_RATES,
    MAX_GRADIENT_NORM,
    SCALE,
    WEIGHT_DECAY,
    WITHOUT_DROPOUT,
    Diary,
    low_rank,
    read_columns,
    read_job,
)
from peft import get_peft_model
from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup


def batches_of(job):
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    columns = read_columns(job)
    options = {"padding": True, "truncation": True, "max_length": job.max_tokens}
    for start in range(0, job.batch * job.steps, job.batch):
        rows = slice(start, start + job.batch)
        texts = columns["anchor"][rows] + columns["positive"][rows]
        yield tokenizer(texts, return_tensors="pt", **options)


def vectors_of(model, batch):
    """Means over the tokens, normalised."""
    states = model(**batch).last_hidden_state.float()
    mask = batch["attention_mask"].unsqueeze(-1).float()
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


def main():
    job = read_job()
    model = AutoModel.from_pretrained(job.model, **WITHOUT_DROPOUT).train()
    if job.mode == "lora":
        model = get_peft_model(model, low_rank())
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kept = "bias" in name or "LayerNorm" in name
            (others if kept else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATES[job.mode], fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, job.warm_up, job.steps)
    batches = list(batches_of(job))
    labels = torch.arange(job.batch)
    types = (
        torch.autocast("cpu", dtype=torch.bfloat16)
        if job.precision == "bf16"
        else contextlib.nullcontext()
    )
    diary = Diary()
    for batch in batches:
        with types:
            vectors = vectors_of(model, batch)
        anchors, positives = vectors.float().split(job.batch)
        loss = torch.nn.functional.cross_entropy(SCALE * anchors @ positives.T, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decayed + others, MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        diary.loss, diary.tokens = loss.item(), int(batch["attention_mask"].sum())
        diary.end_step()
    diary.write(job.output)


if __name__ == "__main__":
    main()
