"""Runs what scripts/gpu_check.sh describes, and prints tables in Markdown."""

import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import threading
import time

import models

HERE = pathlib.Path(__file__).parent
PARTS = ("compare", "train", "embed", "profile")
# Sequences in a step: enough to fill the card, and no more than both sides have memory for.
SEQUENCES = {"MiniLM": 2048, "bge-large": 512, "Qwen2.5-0.5B": 256, "Qwen2.5-1.5B": 128}
STEPS = 15
TEXTS = {"MiniLM": 16_384, "bge-large": 2048, "Qwen2.5-0.5B": 2048, "Qwen2.5-1.5B": 1024}
# Parameters in the layers, without the embeddings: a token takes twice as many operations.
LAYERS = {"MiniLM": 10.6e6, "bge-large": 302e6, "Qwen2.5-0.5B": 358e6, "Qwen2.5-1.5B": 1310e6}


class PeakMemory:
    """The most memory in use on the card while something runs, in MiB, the contexts of processes included."""

    def __enter__(self):
        self.peak, self.over = 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        query = ["nvidia-smi", "-i", "0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not self.over.is_set():
            self.peak = max(self.peak, int(subprocess.check_output(query, text=True)))
            time.sleep(0.1)

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Check:
    def __init__(self, binary, folder):
        self.binary, self.folder = str(pathlib.Path(binary).resolve()), pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self, command, **options):
        """A process's line of JSON with its peak memory, or the end of what it said instead."""
        with PeakMemory() as memory:
            done = subprocess.run(command, text=True, capture_output=True, **options)
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
        for name, trained in [("MiniLM", "full"), ("MiniLM", "lora"), ("Qwen2.5-0.5B", "lora")]:
            found = self.ours("compare", models.make(name, self.folder), trained)
            keys = ("vector_difference", "loss_difference", "gradient_difference")
            numbers = [f"{found[key]:.1e}" for key in keys if key in found]
            row(name, trained, *numbers, f"{found['bf16_cosine']:.6f}" if numbers else found["failed"])

    def train(self):
        row("model", "trained", "ours, pairs/s", "theirs", "compiled", "ours/best", "ours, MiB", "theirs", "compiled")
        row(*["---"] * 9)
        for name, sequences in SEQUENCES.items():
            path = models.make(name, self.folder)
            for trained in ("lora", "full"):
                job = ("train", path, trained, "bf16", sequences, STEPS)
                runs = [self.ours(*job), self.theirs(*job), self.theirs(*job, "compiled")]
                speeds = [run.get("pairs_per_second") for run in runs]
                self.compared(name, trained, speeds, [run["mebibytes"] for run in runs])
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

    def profile(self):
        """Kernels by time, as CubeCL's profiler has them, in the folder's profile.log."""
        path = models.make("MiniLM", self.folder)
        where = self.folder / "profile"
        where.mkdir(exist_ok=True)
        log = self.folder / "profile.log"
        (where / "cubecl.toml").write_text(f'[profiling]\nlogger = {{ level = "full", file = "{log}" }}\n')
        self.run([self.binary, "train", str(path), "full", "bf16", "1024", "5"], cwd=where)
        text = log.read_text() if log.exists() else ""
        print(f"{len(text.splitlines())} lines in {log}")
        print("\n".join(text.splitlines()[-40:]))

    def compared(self, name, trained, speeds, memory):
        best = max((speed for speed in speeds[1:] if speed), default=None)
        ratio = f"{speeds[0] / best:.2f}" if best and speeds[0] else "-"
        row(name, trained, *[f"{speed:,.0f}" if speed else "-" for speed in speeds], ratio, *memory)

    def tell(self, runs):
        for run in runs:
            if "failed" in run:
                print(f"\n{' '.join(run['command'])} failed:\n{run['failed']}\n")


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def describe():
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    card = subprocess.check_output(query, text=True).strip()
    freeze = subprocess.check_output([sys.executable, "-m", "pip", "freeze"], text=True)
    wanted = re.findall(r"^(?:torch|sentence-transformers|peft|transformers)==.*$", freeze, re.MULTILINE)
    print(f"{time.strftime('%Y-%m-%d')}: {card}; Python {platform.python_version()}, {', '.join(wanted)}\n")


def main():
    binary, folder, *parts = sys.argv[1:]
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
