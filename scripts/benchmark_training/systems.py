"""The systems that are measured: how each is started, and what it tells of its steps."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = "coderag"
TRAINER = "sentence-transformers"
BARE = "torch loop"
# Peers by their scripts.
SCRIPTS = {TRAINER: "sentence_transformers_trainer.py", BARE: "bare_torch_loop.py"}
LEARNING_RATES = {"full": 2e-5, "lora": 2e-4}


@dataclass(frozen=True)
class Job:
    """What every system does."""

    mode: str
    batch: int
    steps: int
    # Those of the steps whose times do not count.
    warm_up: int
    max_tokens: int
    # How many texts are embedded at a time, by theirs and by ours; 0 is all of a batch.
    mini_batch: int = 0
    texts_at_once: int = 0


@dataclass(frozen=True)
class System:
    """A program in one number format."""

    program: str
    precision: str

    @property
    def name(self):
        return f"{self.program} {self.precision}"


@dataclass
class Setting:
    """Where everything is."""

    coderag: Path
    python: Path
    model: Path
    pairs: Path
    work: Path
    threads: int

    def variables(self, inherited):
        """The environment variables of every measured process, ours too."""
        count = str(self.threads)
        return inherited | {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            # The tokenizers of both sides.
            "RAYON_NUM_THREADS": count,
            "TOKENIZERS_PARALLELISM": "true",
        }

    def folder(self, system):
        return self.work / "runs" / system.name.replace(" ", "-")


def command(setting, system, job):
    """The command of one run, whose folder is made anew."""
    folder = setting.folder(system)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if system.program == OURS:
        config = folder / "train.toml"
        config.write_text(configuration(setting, system, job), encoding="utf-8")
        return [
            *[setting.coderag, "--quiet", "--threads", setting.threads, "train"],
            *["--config", config, "--output", folder / "run"],
        ]
    options = {
        "model": setting.model,
        "pairs": setting.pairs,
        "output": folder / "result.json",
        "mode": job.mode,
        "precision": system.precision,
        "batch": job.batch,
        "mini-batch": job.mini_batch,
        "steps": job.steps,
        "warm-up": job.warm_up,
        "max-tokens": job.max_tokens,
        "threads": setting.threads,
    }
    flags = [part for key, value in options.items() for part in (f"--{key}", value)]
    return [setting.python, HERE / SCRIPTS[system.program], *flags]


def configuration(setting, system, job):
    """The job as `coderag train` reads it."""
    lora = """
[lora]
r = 16
lora_alpha = 32.0
target_modules = ["query", "key", "value", "dense"]
"""
    return f"""\
model = {json.dumps(str(setting.model))}
max_tokens = {job.max_tokens}
precision = "{system.precision}"
{lora if job.mode == "lora" else ""}
[checkpoints]
every = {job.steps}

[[stage]]
name = "job"
steps = {job.steps}
learning_rate = {LEARNING_RATES[job.mode]}
max_gradient_norm = 1.0
{f"texts_at_once = {job.texts_at_once}" if job.texts_at_once else ""}
batches = {{ batch_size = {job.batch}, order = "file", no_duplicates = false }}
loss = {{ name = "multiple_negatives_ranking", scale = 20.0 }}
schedule = {{ decay = "linear", warm_up_steps = {job.warm_up} }}
adamw = {{ weight_decay = 0.01 }}

[[stage.source]]
name = "pairs"
files = [{json.dumps(str(setting.pairs))}]
"""


def steps(setting, system):
    """Seconds, loss and tokens of each step of the run that has ended."""
    folder = setting.folder(system)
    if system.program != OURS:
        return json.loads((folder / "result.json").read_text(encoding="utf-8"))["steps"]
    with open(folder / "run/metrics.jsonl", encoding="utf-8") as lines:
        told = [json.loads(line) for line in lines]
    return [line for line in told if line["kind"] == "step"]
