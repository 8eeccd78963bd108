"""The parts of the benchmark. Each is a generator that adds to `results` and yields when there is
something new to keep, so that an interrupted run loses one round at most."""

import json
import os
import statistics
import subprocess
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

from environment import HERE, say
from machine import LoadMeter
from processes import Failed, Worker, run_whole

QUERY = "how do I sort a list by key"
PRECISIONS = ["f32", "bf16", "int8"]
REFERENCE = "sentence-transformers f32"
SENTENCE_TRANSFORMERS_BATCH = 32
# Workers that measure the machine and embed nothing.
YARDSTICKS = ["matrix product", "arithmetic"]
# What ONNX Runtime may choose from: graphs, and texts in a call.
GRAPHS = {"f32": ["plain", "fused"], "int8": ["plain-int8", "fused-int8"]}
BATCHES = [1, 8, 32]
TUNING_TEXTS = 100
TUNING_ROUNDS = 3
# A worker's threads may look for work in a loop for a moment after its last call.
PAUSE_SECONDS = 0.3
UNTIMED_CALLS = 5


@dataclass
class Settings:
    """What is measured, and with what."""

    environment: object
    engine_worker: Path
    arithmetic_peak: Path
    coderag: Path
    texts: Path
    every: int
    rounds: int
    query_rounds: int
    query_calls: int
    cold_runs: int
    cosqa: Path


class Crew:
    """Workers by name. One that fails is reported and left out from then on."""

    def __init__(self, results, settings):
        self.results = results
        self.settings = settings
        self.workers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers.values():
            worker.close()

    def start(self, name, command):
        """Starts a worker and waits until it is ready, so that no two load at the same time."""
        environment = self.settings.environment
        log = environment.work / "logs" / f"{name.replace(' ', '-')}.log"
        worker = Worker(name, command, environment.variables(), log)
        self.workers[name] = worker
        about = self.attempt(name, worker.ready)
        if about is not None:
            say(f"  {name} is ready {about}")
            self.results.setdefault("workers", {})[name] = about

    def attempt(self, name, call):
        """What the call returns, or nothing when the worker fails."""
        try:
            return call()
        except Failed as failure:
            self.results.setdefault("failures", []).append(f"{name}: {failure}")
            say(f"  FAILED {name}: {failure}")
            self.workers.pop(name).close()
            return None

    def ask(self, name, order, **details):
        """A worker's answer, with what it cost; nothing where the worker fails or has failed."""
        worker = self.workers.get(name)
        if worker is None:
            return None
        time.sleep(PAUSE_SECONDS)

        def asked():
            meter = LoadMeter(list(self.workers.values()))
            before = worker.cpu_seconds()
            answer = worker.ask(order, **details)
            answer["cpu_seconds"] = worker.cpu_seconds() - before
            answer["peak_bytes"] = worker.peak_bytes()
            return answer | meter.read()

        return self.attempt(name, asked)

    def names(self, turn):
        """All names; each turn begins with the next of them."""
        names = list(self.workers)
        start = turn % max(1, len(names))
        return names[start:] + names[:start]


def engine_command(settings, precision, every):
    threads = settings.environment.threads
    model = settings.environment.model
    return [settings.engine_worker, model, settings.texts, every, precision, threads]


def onnxruntime_command(settings, graph, every):
    environment = settings.environment
    script = HERE / "onnxruntime_worker.py"
    onnx = environment.onnx(graph)
    model, threads = environment.model, environment.threads
    return [environment.python, script, model, settings.texts, every, onnx, threads]


def sentence_transformers_command(settings, precision, every):
    environment = settings.environment
    script = HERE / "sentence_transformers_worker.py"
    model, threads = environment.model, environment.threads
    return [environment.python, script, model, settings.texts, every, precision, threads]


def tune(settings, results):
    """Finds ONNX Runtime's fastest graph and batch for each precision."""
    with open(settings.texts, encoding="utf-8") as file:
        count = sum(1 for _ in file)
    every = max(settings.every, count // TUNING_TEXTS)
    results["tuning"] = {}
    for precision, graphs in GRAPHS.items():
        seconds = {(graph, batch): [] for graph in graphs for batch in BATCHES}
        with Crew(results, settings) as crew:
            for graph in graphs:
                crew.start(graph, onnxruntime_command(settings, graph, every))
            for _ in range(TUNING_ROUNDS):
                for (graph, batch), taken in seconds.items():
                    answer = crew.ask(graph, "encode", batch=batch)
                    if answer:
                        taken.append(answer["seconds"])
        medians = {choice: statistics.median(taken) for choice, taken in seconds.items() if taken}
        if not medians:
            continue
        graph, batch = min(medians, key=medians.get)
        tried = [{"graph": g, "batch": b, "seconds": s} for (g, b), s in medians.items()]
        results["tuning"][precision] = {"graph": graph, "batch": batch, "tried": tried}
        say(f"  ONNX Runtime {precision}: {graph}, {batch} a call is fastest")
        yield


def measure_rounds(settings, results):
    """Every worker embeds all texts in each round; the order moves on by one from round to round."""
    yield from tune(settings, results)
    batches = {}
    with Crew(results, settings) as crew:
        for precision in PRECISIONS:
            crew.start(f"engine {precision}", engine_command(settings, precision, settings.every))
        for precision, choice in results["tuning"].items():
            name = f"ONNX Runtime {precision}"
            batches[name] = {"batch": choice["batch"]}
            crew.start(name, onnxruntime_command(settings, choice["graph"], settings.every))
        for precision in ["f32", "bf16"]:
            name = f"sentence-transformers {precision}"
            batches[name] = {"batch": SENTENCE_TRANSFORMERS_BATCH}
            crew.start(name, sentence_transformers_command(settings, precision, settings.every))
        environment = settings.environment
        product = HERE / "matrix_product_worker.py"
        crew.start("matrix product", [environment.python, product, environment.threads])
        crew.start("arithmetic", [settings.arithmetic_peak, environment.threads])

        results["rounds"] = []
        for number in range(settings.rounds):
            load = os.getloadavg()[0]
            answers = {}
            for name in crew.names(number):
                if name in YARDSTICKS:
                    answer = crew.ask(name, "peak", calls=8)
                else:
                    answer = crew.ask(name, "encode", **batches.get(name, {}))
                if answer:
                    answers[name] = answer
                    say(f"  round {number + 1} {name}: {brief(answer)}")
            results["rounds"].append({"load": load, "answers": answers})
            yield
        results["accuracy"] = compare_vectors(crew, settings)
        yield


def brief(answer):
    figures = f"{answer['seconds']:.2f} s" if "seconds" in answer else f"f32 {answer['f32']:.0f} GFLOP/s"
    return f"{figures}, others {answer['other_cores']:.2f} cores"


def compare_vectors(crew, settings):
    """Each worker's vectors against sentence-transformers' in f32."""
    vectors = {}
    for name in list(crew.workers):
        path = settings.environment.work / f"{name.replace(' ', '-')}.f32"
        answer = None if name in YARDSTICKS else crew.ask(name, "vectors", path=str(path))
        if answer:
            vectors[name] = read_rows(path, answer["dimensions"])
    reference = vectors.get(REFERENCE)
    if reference is None:
        return {}
    return {name: differences(rows, reference) for name, rows in vectors.items()}


def read_rows(path, dimensions):
    values = array("f")
    with open(path, "rb") as file:
        values.frombytes(file.read())
    rows = range(0, len(values), dimensions)
    return [values[start : start + dimensions] for start in rows]


def differences(rows, reference):
    """The largest absolute difference, and the least and mean cosine."""
    largest, cosines = 0.0, []
    for ours, theirs in zip(rows, reference, strict=True):
        largest = max(largest, max(abs(a - b) for a, b in zip(ours, theirs)))
        product = sum(a * b for a, b in zip(ours, theirs))
        lengths = sum(a * a for a in ours) * sum(b * b for b in theirs)
        cosines.append(product / lengths**0.5)
    return {
        "largest_difference": largest,
        "least_cosine": min(cosines),
        "mean_cosine": statistics.fmean(cosines),
    }


def measure_queries(settings, results):
    """One short query in warm processes, a few dozen calls at a time in turn."""
    every = 50  # The texts only warm the workers here.
    with Crew(results, settings) as crew:
        for precision in PRECISIONS:
            crew.start(f"engine {precision}", engine_command(settings, precision, every))
        for graphs in GRAPHS.values():
            for graph in graphs:
                command = onnxruntime_command(settings, graph, every)
                crew.start(f"ONNX Runtime {graph}", command)
        for precision in ["f32", "bf16"]:
            name = f"sentence-transformers {precision}"
            crew.start(name, sentence_transformers_command(settings, precision, every))
        results["queries"] = {"text": QUERY, "rounds": []}
        for number in range(settings.query_rounds):
            answers = {}
            for name in crew.names(number):
                calls = UNTIMED_CALLS + settings.query_calls
                answer = crew.ask(name, "query", text=QUERY, calls=calls)
                if answer:
                    answer["seconds"] = answer["seconds"][UNTIMED_CALLS:]
                    answers[name] = answer
            results["queries"]["rounds"].append(answers)
            medians = {n: statistics.median(a["seconds"]) * 1e3 for n, a in answers.items()}
            shown = ", ".join(f"{name} {ms:.2f} ms" for name, ms in medians.items())
            say(f"  queries {number + 1}: {shown}")
            yield


def whole_commands(settings, texts):
    """Whole processes that embed a file of texts, by name."""
    environment = settings.environment
    model, threads = environment.model, environment.threads
    output = environment.work / "whole.npy"
    commands = {}
    for precision in PRECISIONS:
        commands[f"coderag embed {precision}"] = [
            *[settings.coderag, "--quiet", "--threads", threads, "embed", "--restart", "--model", model],
            *["--input", texts, "--precision", precision, "--output", output],
        ]
    script = HERE / "sentence_transformers_process.py"
    python = environment.python
    commands[REFERENCE] = [python, script, model, texts, output, threads]
    return commands


def run_in_turn(settings, results, commands, key, runs):
    """Adds the cost of each command, `runs` times in turn, to `results[key]`."""
    results[key] = {name: [] for name in commands}
    for number in range(runs):
        names = list(commands)
        start = number % len(names)
        for name in names[start:] + names[:start]:
            environment = settings.environment
            # Every run writes anew: none finds the output of the one before.
            (environment.work / "whole.npy").unlink(missing_ok=True)
            log = environment.work / "logs" / f"{name.replace(' ', '-')}-whole.log"
            meter = LoadMeter([])
            try:
                run = run_whole(commands[name], environment.variables(), log)
            except Failed as failure:
                results.setdefault("failures", []).append(f"{name}: {failure}")
                say(f"  FAILED {name}: {failure}")
                continue
            results[key][name].append(run | meter.read())
            say(f"  {key} {number + 1} {name}: {run['seconds']:.3f} s")
        yield


def measure_cold_starts(settings, results):
    """Whole processes that embed one text; the first run of each, which fills the page cache, is left out."""
    texts = settings.environment.work / "one.jsonl"
    texts.write_text(json.dumps({"text": QUERY}) + "\n", encoding="utf-8")
    commands = whole_commands(settings, texts)
    for _ in run_in_turn(settings, {}, commands, "first", 1):
        pass
    yield from run_in_turn(settings, results, commands, "cold", settings.cold_runs)


def measure_whole_processes(settings, results):
    """Whole processes that embed all texts, for their peak memory."""
    texts = settings.environment.work / "texts.jsonl"
    with open(settings.texts, encoding="utf-8") as file:
        texts.write_text("".join(file.readlines()[:: settings.every]), encoding="utf-8")
    yield from run_in_turn(settings, results, whole_commands(settings, texts), "whole", 1)


def measure_quality(settings, results):
    """Retrieval on CoSQA with each number format; see retrieval_quality.py."""
    environment = settings.environment
    output = environment.work / "quality.json"
    command = [environment.python, HERE / "retrieval_quality.py", "--output", output]
    command += ["--coderag", settings.coderag, "--model", environment.model]
    command += ["--onnx-int8", environment.onnx("plain-int8"), "--cosqa", settings.cosqa]
    command += ["--work", environment.work, "--threads", str(environment.threads)]
    try:
        subprocess.run(command, check=True, env=environment.variables())
    except subprocess.CalledProcessError as failure:
        results["failures"].append(f"retrieval_quality.py ended with {failure.returncode}")
    else:
        results["quality"] = json.loads(output.read_text())
    yield
