#!/usr/bin/env python3
"""Measures `coderag train` on the processor beside sentence-transformers' trainer and a loop in PyTorch.

    benchmark.py --output RESULTS.json [--rounds 3] [--only JOB ...]

See README.md in this folder. Writes RESULTS.json and, beside it, RESULTS.md; both are written again after
every run, so an interrupted benchmark leaves what it has. Exits with 1 when a process failed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from systems import BARE, HERE, OURS, TRAINER, Job, Setting, System, command, steps

# What it shares with the benchmark of embedding.
sys.path.append(str(HERE.parent / "benchmark_embedding"))

from benchmark_report import markdown
from environment import digest, install_packages, mark, marked, say
from machine import LoadMeter, describe
from processes import Failed, run_whole

PROJECT = HERE.parent.parent
REQUIREMENTS = HERE / "requirements.txt"

BOTH_PRECISIONS = [(OURS, "f32"), (OURS, "bf16"), (TRAINER, "f32"), (TRAINER, "bf16")]
JOBS = {
    "lora": [*BOTH_PRECISIONS, (BARE, "bf16")],
    "full": [*BOTH_PRECISIONS, (BARE, "bf16")],
    "cached": [(OURS, "f32"), (OURS, "bf16"), (TRAINER, "f32")],
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("CODERAG_DATA", PROJECT.parent / "shared/data"))
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "coderag"
    target = Path(os.environ.get("CARGO_TARGET_DIR", cache / "build")) / "release"
    add = parser.add_argument
    add("--output", type=Path, required=True, help="the results (JSON); Markdown goes beside them")
    add("--model", type=Path, default=cache / "models/all-MiniLM-L6-v2", help="a model's directory")
    add("--functions", type=Path, default=data / "pydoc/train.jsonl.gz", help="JSON lines with `doc`")
    add("--work", type=Path, default=cache / "benchmark_training", help="for Python and the runs")
    add("--python", type=Path, help="an interpreter with the packages (default: one is made in --work)")
    add("--coderag", type=Path, default=target / "coderag", help="the binary")
    add("--threads", type=int, default=2)
    add("--batch", type=int, default=32)
    add("--max-tokens", type=int, default=128)
    add("--steps", type=int, default=20, help="timed steps of a run")
    add("--warm-up", type=int, default=3, help="steps before them")
    add("--rounds", type=int, default=3)
    add("--cached-batch", type=int, default=1024)
    add("--cached-steps", type=int, default=1, help="timed steps of a cached run, after one more")
    add("--only", nargs="+", choices=list(JOBS), default=list(JOBS), help="jobs to measure")
    return parser.parse_args()


def job_of(name, given):
    if name == "cached":
        # A mini-batch of theirs is of one column; 64 texts at once are 32 pairs.
        return Job(
            mode="full",
            batch=given.cached_batch,
            steps=given.cached_steps + 1,
            warm_up=1,
            max_tokens=given.max_tokens,
            mini_batch=32,
            texts_at_once=64,
        )
    steps = given.warm_up + given.steps
    return Job(name, given.batch, steps, given.warm_up, given.max_tokens)


def write(path, text):
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def commit():
    command = ["git", "-C", PROJECT, "describe", "--always", "--dirty"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip()


def prepare_pairs(setting, functions, count, max_tokens):
    """Makes the file of pairs unless it is there."""
    script = HERE / "make_pairs.py"
    made = " ".join([digest(script), digest(functions), str(count), str(max_tokens)])
    if marked(setting.work / "pairs.made") == made:
        return
    order = [setting.python, script, setting.model, functions, setting.pairs, count, max_tokens]
    subprocess.run([str(part) for part in order], check=True)
    mark(setting.work / "pairs.made", made)


def measure(setting, system, job):
    """One run: the timed steps' seconds, losses, memory, and how busy others kept the machine."""
    log = setting.folder(system).parent / f"{system.name.replace(' ', '-')}.log"
    order = command(setting, system, job)
    meter = LoadMeter([])
    run = run_whole(order, setting.variables(os.environ), log)
    load = meter.read()
    told = steps(setting, system)
    if len(told) != job.steps:
        raise Failed(f"it told of {len(told)} steps, not {job.steps}; see {log}")
    wanted = 2 * job.batch * job.max_tokens
    for number, step in enumerate(told, start=1):
        if step["tokens"] != wanted:
            raise Failed(f"step {number} had {step['tokens']} tokens, not {wanted}")
    timed = told[job.warm_up :]
    seconds = sum(step["seconds"] for step in timed)
    return {
        "pairs_per_second": job.batch * len(timed) / seconds,
        "tokens_per_second": wanted * len(timed) / seconds,
        "step_seconds": [step["seconds"] for step in told],
        "losses": [step["loss"] for step in told],
        "peak_bytes": run["peak_bytes"],
        "whole_seconds": run["seconds"],
        "cores": run["cpu_seconds"] / run["seconds"],
        **load,
    }


def rounds_of(name, given):
    # Of the cached loss it is the memory that counts.
    return 1 if name == "cached" else given.rounds


def main():
    given = arguments()
    for path in [given.coderag, given.model / "model.safetensors", given.functions]:
        if not path.is_file():
            sys.exit(f"{path} is missing; README.md in {HERE} says what to build and to fetch")
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not given.python:
        install_packages(work, REQUIREMENTS)
    setting = Setting(
        coderag=given.coderag.resolve(),
        # Not resolved: a virtual environment's interpreter is a link.
        python=(given.python or work / "venv/bin/python").absolute(),
        model=given.model.resolve(),
        pairs=work / "pairs.jsonl",
        work=work,
        threads=given.threads,
    )
    jobs = {name: job_of(name, given) for name in given.only}
    count = max(job.batch * job.steps for job in jobs.values())
    prepare_pairs(setting, given.functions.resolve(), count, given.max_tokens)
    results = {
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit(),
        "machine": describe(),
        "threads": given.threads,
        "packages": [line for line in REQUIREMENTS.read_text().split() if "==" in line],
        "jobs": {},
        "failures": [],
    }
    for name, job in jobs.items():
        say(name)
        systems = [System(*parts) for parts in JOBS[name]]
        rounds = []
        results["jobs"][name] = {"job": vars(job), "rounds": rounds}
        for number in range(rounds_of(name, given)):
            answers = {}
            rounds.append({"load": os.getloadavg()[0], "answers": answers})
            start = number % len(systems)
            for system in systems[start:] + systems[:start]:
                try:
                    answer = measure(setting, system, job)
                except Failed as failure:
                    results["failures"].append(f"{name}, {system.name}: {failure}")
                    say(f"  FAILED {system.name}: {failure}")
                    continue
                answers[system.name] = answer
                say(f"  round {number + 1} {system.name}: {brief(answer)}")
                write(given.output, json.dumps(results, indent=1))
                write(given.output.with_suffix(".md"), markdown(results))
    write(given.output, json.dumps(results, indent=1))
    write(given.output.with_suffix(".md"), markdown(results))
    say(markdown(results))
    sys.exit(1 if results["failures"] else 0)


def brief(answer):
    return (
        f"{answer['pairs_per_second']:.2f} pairs/s, {answer['peak_bytes'] / 2**30:.2f} GiB, "
        f"others {answer['other_cores']:.2f} cores"
    )


if __name__ == "__main__":
    main()
