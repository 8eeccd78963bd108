"""What `gpu_check` does, with sentence-transformers and PEFT on PyTorch. Prints one line of JSON.

peer.py train MODEL lora|full f32|bf16 SEQUENCES STEPS [compiled]
peer.py embed MODEL f32|bf16 TEXTS
peer.py peak
"""

import contextlib
import json
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from sentence_transformers import SentenceTransformer

# The processor is enough to see that this runs.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOKENS = 128
SCALE = 20.0
WARM_UP = 5


def synchronize():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def mebibytes():
    """The most memory that tensors had at a time."""
    return torch.cuda.max_memory_allocated() >> 20 if DEVICE == "cuda" else None


def train(path, trained, precision, sequences, steps, *more):
    """The model in f32, in bf16 with autocast, as sentence-transformers' trainer has it with `bf16=True`; the batch
    is made of tokens beforehand, and both sides of the pairs go through the model in one call."""
    model = SentenceTransformer(path, device=DEVICE, model_kwargs={"attn_implementation": "sdpa"}).train()
    if trained == "lora":
        settings = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
        model[0].auto_model = get_peft_model(model[0].auto_model, settings)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1000, 20_000, (sequences, TOKENS), generator=generator).to(DEVICE)
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    labels = torch.arange(sequences // 2).to(DEVICE)
    autocast = torch.autocast(DEVICE, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    forward = torch.compile(model) if "compiled" in more else model

    def step():
        with autocast:
            vectors = forward(dict(features))["sentence_embedding"]
        vectors = torch.nn.functional.normalize(vectors.float(), dim=1)
        anchors, positives = vectors.chunk(2)
        loss = torch.nn.functional.cross_entropy(SCALE * anchors @ positives.T, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = []
    for number in range(WARM_UP + steps):
        synchronize()
        start = time.perf_counter()
        step()
        synchronize()
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    median = sorted(seconds)[len(seconds) // 2]
    return {"pairs_per_second": sequences / 2 / median, "mebibytes_of_tensors": mebibytes()}


def embed(path, precision, count):
    """The model's own type is the precision, as for speed it should be."""
    kinds = {"f32": torch.float32, "bf16": torch.bfloat16}
    options = {"attn_implementation": "sdpa", "dtype": kinds[precision]}
    model = SentenceTransformer(path, device=DEVICE, model_kwargs=options)
    texts = [
        " ".join(f"w{(text * 131 + word * 17) % 20_000}" for word in range(TOKENS - 2)) for text in range(count)
    ]
    best = float("inf")
    for size in (64, 256):
        for number in range(4):
            start = time.perf_counter()
            model.encode(texts, batch_size=size)
            if number > 0:
                best = min(best, time.perf_counter() - start)
    return {"tokens_per_second": count * TOKENS / best}


def peak():
    """The fastest bf16 matrix product of random numbers, in FLOP/s."""
    best = 0.0
    for size in (4096, 8192) if DEVICE == "cuda" else (512,):
        left, right = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
        for number in range(13):
            synchronize()
            start = time.perf_counter()
            left @ right
            synchronize()
            if number >= 3:
                best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return {"flops": best}


def main():
    kind, *arguments = sys.argv[1:]
    arguments = [int(argument) if argument.isdigit() else argument for argument in arguments]
    print(json.dumps({"train": train, "embed": embed, "peak": peak}[kind](*arguments)))


if __name__ == "__main__":
    main()
