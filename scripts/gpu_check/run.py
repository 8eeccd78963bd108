"""Runs what scripts/gpu_check.sh describes, and prints tables in Markdown."""

import collections
import csv
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import threading
import time

import models

HERE = pathlib.Path(__file__).parent
PARTS = ("compare", "train", "embed", "curve", "profile")
# Sequences in a step: enough to fill the card, and no more than both sides have memory for.
SEQUENCES = {"MiniLM": 2048, "bge-large": 512, "Qwen2.5-0.5B": 256, "Qwen2.5-1.5B": 128}
STEPS = 15
CURVE_STEPS = 200
TEXTS = {"MiniLM": 16_384, "bge-large": 2048, "Qwen2.5-0.5B": 2048, "Qwen2.5-1.5B": 1024}
# Parameters in the layers, without the embeddings: a token takes twice as many operations.
LAYERS = {"MiniLM": 10.6e6, "bge-large": 302e6, "Qwen2.5-0.5B": 358e6, "Qwen2.5-1.5B": 1310e6}


def environment():
    """NVIDIA's libraries, as PyTorch's packages have them, behind those that the machine names."""
    folders = {path.parent for root in sys.path for path in pathlib.Path(root).glob("nvidia/*/lib/lib*.so*")}
    known = os.environ.get("LD_LIBRARY_PATH", "")
    paths = ([known] if known else []) + sorted(map(str, folders))
    return os.environ | {"LD_LIBRARY_PATH": ":".join(paths)}


class PeakMemory:
    """The most memory in use on the card while something runs, in MiB, the contexts of processes included."""

    def __enter__(self):
        self.peak, self.over = 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        query = ["nvidia-smi", "-i", "0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while shutil.which("nvidia-smi") and not self.over.is_set():
            self.peak = max(self.peak, int(subprocess.check_output(query, text=True)))
            time.sleep(0.1)

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Check:
    def __init__(self, binary, folder):
        self.binary, self.folder = str(pathlib.Path(binary).resolve()), pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self, command):
        """A process's line of JSON with its peak memory, or the end of what it said instead."""
        with PeakMemory() as memory:
            done = subprocess.run(command, text=True, capture_output=True, env=environment())
        entry = {"command": command[1:], "mebibytes": memory.peak}
        try:
            entry |= json.loads(done.stdout.strip().splitlines()[-1])
        except (IndexError, ValueError):
            entry["failed"] = (done.stderr or done.stdout).strip()[-600:]
        with (self.folder / "measurements.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return entry

    def ours(self, *arguments):
        return self.run([self.binary, *map(str, arguments)])

    def theirs(self, *arguments):
        return self.run([sys.executable, str(HERE / "peer.py"), *map(str, arguments)])

    def compare(self):
        row("model", "trained", "vectors", "loss", "gradients", "cosine in bf16")
        row(*["---"] * 6)
        jobs = [("MiniLM", "full"), ("MiniLM", "lora"), ("Qwen2.5-0.5B", "full"), ("Qwen2.5-0.5B", "lora")]
        for name, trained in jobs:
            found = self.ours("compare", models.make(name, self.folder), trained)
            keys = ("vector_difference", "loss_difference", "gradient_difference")
            numbers = [f"{found[key]:.1e}" for key in keys if key in found]
            row(name, trained, *numbers, f"{found['bf16_cosine']:.6f}" if numbers else found["failed"])

    def train(self):
        row("model", "trained", "ours, pairs/s", "theirs", "compiled", "ours/best", "ours, MiB", "theirs", "compiled", "loss")
        row(*["---"] * 10)
        for name, sequences in SEQUENCES.items():
            path = models.make(name, self.folder)
            for trained in ("lora", "full"):
                job = ("train", path, trained, "bf16", sequences, STEPS)
                runs = [self.ours(*job), self.theirs(*job), self.theirs(*job, "compiled")]
                self.compared(name, trained, runs)
                self.tell(runs)

    def embed(self):
        peak = self.theirs("peak").get("flops", float("nan"))
        print(f"\nThe card's bf16 matrix product: {peak / 1e12:.0f} TFLOP/s.\n")
        row("model", "ours, tokens/s", "theirs", "ours/theirs", "ours, part of the peak", "theirs")
        row(*["---"] * 6)
        for name, texts in TEXTS.items():
            job = ("embed", models.make(name, self.folder), "bf16", texts)
            runs = [self.ours(*job), self.theirs(*job)]
            ours, theirs = (run.get("tokens_per_second", float("nan")) for run in runs)
            parts = [f"{2 * LAYERS[name] * speed / peak:.1%}" for speed in (ours, theirs)]
            row(name, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}", *parts)
            self.tell(runs)

    def curve(self):
        """A run of 200 steps on the processor and on the card: MiniLM's own weights where the folder has them."""
        model = self.folder / "all-MiniLM-L6-v2"
        model = model if model.exists() else models.make("MiniLM", self.folder)
        sources, config = self.folder / "sources", self.folder / "curve.toml"
        if not sources.exists():
            subprocess.run([sys.executable, str(HERE.parent / "pydoc_sources.py"), str(sources)], check=True)
        recipe = (HERE.parent.parent / "configs/pydoc_recipe.toml").read_text()
        for precision in ("f32", "bf16"):
            text = recipe.replace('precision = "bf16"', f'precision = "{precision}"')
            config.write_text(text + (sources / "sources.toml").read_text())
            found = self.ours("curve", model, config, CURVE_STEPS, self.folder / f"curve-{precision}")
            print(f"{precision}: {json.dumps(found)}")

    def profile(self):
        """The kernels of some steps by the time that they take, as NVIDIA's ncu measures it."""
        if not shutil.which("ncu"):
            print("ncu is not there")
            return
        for name in ("MiniLM", "bge-large"):
            path = models.make(name, self.folder)
            measured = ["--csv", "--clock-control", "none", "--metrics", "gpu__time_duration.sum"]
            # The steps before have warmed up.
            chosen = ["--launch-skip", "1000", "--launch-count", "500"]
            job = [self.binary, "train", str(path), "full", "bf16", "256", "5"]
            done = subprocess.run(
                ["ncu", *measured, *chosen, *job], text=True, capture_output=True, env=environment()
            )
            kernels = collections.Counter()
            lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
            for entry in csv.DictReader(lines):
                duration = float(entry["Metric Value"].replace(",", ""))
                kernels[entry["Kernel Name"].split("(")[0]] += duration
            total = sum(kernels.values())
            print(f"\n{name}, 500 kernels of training in full:\n")
            row("kernel", "share")
            row("---", "---")
            for kernel, duration in kernels.most_common(20):
                row(kernel, f"{duration / total:.1%}")
            if not kernels:
                print((done.stderr or done.stdout)[-600:])

    def compared(self, name, trained, runs):
        speeds = [run.get("pairs_per_second") for run in runs]
        memory = [run["mebibytes"] for run in runs]
        best = max((speed for speed in speeds[1:] if speed), default=None)
        ratio = f"{speeds[0] / best:.2f}" if best and speeds[0] else "-"
        loss = f"{runs[0].get('milliseconds_of_loss', 0) / runs[0].get('milliseconds', 1):.0%}"
        row(name, trained, *[f"{speed:,.0f}" if speed else "-" for speed in speeds], ratio, *memory, loss)

    def tell(self, runs):
        for run in runs:
            if "failed" in run:
                print(f"\n{' '.join(run['command'])} failed:\n{run['failed']}\n")


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def describe():
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    card = subprocess.check_output(query, text=True).strip() if shutil.which("nvidia-smi") else "no card"
    freeze = subprocess.check_output([sys.executable, "-m", "pip", "freeze"], text=True)
    wanted = re.findall(r"^(?:torch|sentence-transformers|peft|transformers)==.*$", freeze, re.MULTILINE)
    print(f"{time.strftime('%Y-%m-%d')}: {card}; Python {platform.python_version()}, {', '.join(wanted)}\n")


def rehearse():
    """Everything small, for a software card (crates/coderag-software-card) and PyTorch on the processor."""
    global STEPS, CURVE_STEPS
    STEPS, CURVE_STEPS = 1, 2
    models.CONFIGS.clear()
    models.CONFIGS["MiniLM"] = lambda: models.bert(64, 2, 4)
    models.CONFIGS["Qwen2.5-0.5B"] = lambda: models.qwen2(64, 2, 4, 128)
    models.CONFIGS["bge-large"] = models.CONFIGS["MiniLM"]
    for numbers in (SEQUENCES, TEXTS):
        for name in list(numbers):
            numbers[name] = 4
            if name not in models.CONFIGS:
                del numbers[name]


def main():
    binary, folder, *parts = sys.argv[1:]
    # Numbers for shapes that a rehearsal without a card has time for.
    if "rehearsal" in parts:
        parts.remove("rehearsal")
        rehearse()
    unknown = set(parts) - set(PARTS)
    if unknown or not os.access(binary, os.X_OK):
        sys.exit(f"no such part: {', '.join(unknown)}" if unknown else f"{binary} is not a program")
    describe()
    check = Check(binary, folder)
    for part in parts or PARTS:
        print(f"\n## {part}\n")
        getattr(check, part)()


if __name__ == "__main__":
    main()
