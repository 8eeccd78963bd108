"""The results as Markdown. What has not been measured, or failed, is left out."""

import statistics

PRECISIONS = ["f32", "bf16", "int8"]
REFERENCE = "sentence-transformers f32"
# Faster, slower, and the least ratio that the project aims at.
COMPARISONS = [
    ("engine f32", "ONNX Runtime f32", 1.1),
    ("engine f32", "sentence-transformers f32", None),
    ("engine bf16", "sentence-transformers bf16", 1.1),
    ("engine int8", "ONNX Runtime int8", 1.2),
    # How the peers stand to each other tells whether they ran well.
    ("ONNX Runtime f32", "sentence-transformers f32", None),
    ("sentence-transformers bf16", "ONNX Runtime f32", None),
    ("ONNX Runtime int8", "ONNX Runtime f32", None),
]
QUERY_COMPARISONS = [
    ("engine f32", "ONNX Runtime", ["plain", "fused"]),
    ("engine int8", "ONNX Runtime", ["plain-int8", "fused-int8"]),
    ("engine f32", "sentence-transformers", ["f32"]),
    ("engine bf16", "sentence-transformers", ["bf16"]),
]
# The workers that measure the machine, and what their rows are called.
YARDSTICKS = {"matrix product": "a matrix product", "arithmetic": "registers alone"}


def markdown(results):
    """All parts that have been measured."""
    parts = [heading(results), throughput(results), accuracy(results), queries(results)]
    parts += [cold(results), memory(results), profile(results), quality(results)]
    parts += [load(results), failures(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(results):
    machine = results["machine"]
    kernels = {about["cpu"] for about in results.get("workers", {}).values() if "cpu" in about}
    return "\n".join(
        [
            "# Embedding on the processor",
            "",
            f"{results['started']}, commit {results['commit']}. {machine['processor']}, "
            f"{machine['cores']} cores ({', '.join(machine['instructions'])}), Linux {machine['kernel']}; "
            f"{results['threads']} threads on every side. "
            + "".join(f"The engine's kernels: {name}. " for name in kernels)
            + f"{', '.join(results['packages'])}.",
        ]
    )


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def median_and_range(values, digits):
    """`median | least | most`, as cells."""
    return [f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))]


def megabytes(count):
    return f"{count / 2**20:,.0f} MB"


def of_rounds(results, name, key):
    """One figure of a worker in each round that has it."""
    answers = (one["answers"].get(name) for one in results.get("rounds", []))
    return [answer[key] for answer in answers if answer]


def names_of_rounds(results):
    names = {name for one in results["rounds"] for name in one["answers"]}
    return in_order(names - set(YARDSTICKS))


def in_order(names):
    """Ours first, each side from the widest format to the narrowest."""

    def place(name):
        precision = next((at for at, one in enumerate(PRECISIONS) if name.endswith(one)), 0)
        return not name.startswith("engine"), name.split()[0], precision, name

    return sorted(names, key=place)


def throughput(results):
    if not results.get("rounds"):
        return None
    names = names_of_rounds(results)
    if not names:
        return None
    # The workers of the tuning have fewer.
    texts = max(worker.get("texts", 0) for worker in results["workers"].values())
    tokens = next(iter(of_rounds(results, "engine f32", "tokens")), None)
    rows = []
    for name in names:
        seconds = of_rounds(results, name, "seconds")
        rows.append(
            [
                name,
                *median_and_range(seconds, 2),
                f"{texts / statistics.median(seconds):.1f}",
                f"{statistics.median(of_rounds(results, name, 'cpu_seconds')):.2f}",
                megabytes(max(of_rounds(results, name, "peak_bytes"))),
            ]
        )
    header = ["", "seconds", "least", "most", "texts/s", "processor seconds", "peak memory"]
    choices = "; ".join(
        f"{precision}: {choice['graph']} graph, {choice['batch']} a call"
        for precision, choice in results.get("tuning", {}).items()
    )
    ratios = []
    for faster, slower, goal in COMPARISONS:
        quotients = [
            one["answers"][slower]["seconds"] / one["answers"][faster]["seconds"]
            for one in results["rounds"]
            if slower in one["answers"] and faster in one["answers"]
        ]
        if quotients:
            wanted = f">= {goal}" if goal else ""
            ratios.append([f"{slower} / {faster}", *median_and_range(quotients, 2), wanted])
    return "\n".join(
        [
            "## A file of texts",
            "",
            f"{texts:,} texts{f' of {tokens:,} tokens' if tokens else ''}, from texts to normalised "
            "vectors in warm processes: tokenisation is in the time on every side, loading is not. "
            f"Medians of {len(results['rounds'])} rounds in turn.",
            f"ONNX Runtime at its fastest of two graphs and three batches (sorted by length): {choices}. "
            "sentence-transformers: batches of 32, which it sorts by length.",
            "",
            table(header, rows),
            "",
            "Ratios of one round's seconds:",
            "",
            table(["", "median", "least", "most", "goal"], ratios),
        ]
    )


def accuracy(results):
    if not results.get("accuracy"):
        return None
    rows = [
        [
            name,
            f"{differences['largest_difference']:.1e}",
            f"{differences['least_cosine']:.6f}",
            f"{differences['mean_cosine']:.6f}",
        ]
        for name, differences in (
            (name, results["accuracy"][name]) for name in in_order(results["accuracy"])
        )
    ]
    header = ["", "largest absolute difference", "least cosine", "mean cosine"]
    return "\n".join(
        [
            "## Against sentence-transformers' f32 vectors",
            "",
            table(header, rows),
            "",
            "Goals: f32 differs by 2e-4 at most; bf16 has a cosine of at least 0.9999, int8 of 0.995 in "
            "the mean.",
        ]
    )


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def queries(results):
    rounds = results.get("queries", {}).get("rounds")
    if not rounds:
        return None
    names = in_order({name for one in rounds for name in one})
    rows, calls = [], 0
    for name in names:
        milliseconds = [s * 1e3 for one in rounds if name in one for s in one[name]["seconds"]]
        calls = max(calls, len(milliseconds))
        rows.append([name, f"{percentile(milliseconds, 0.5):.2f}", f"{percentile(milliseconds, 0.95):.2f}"])
    ratios = []
    for ours, peer, variants in QUERY_COMPARISONS:
        quotients = []
        for one in rounds:
            medians = {name: statistics.median(answer["seconds"]) for name, answer in one.items()}
            theirs = [medians[f"{peer} {v}"] for v in variants if f"{peer} {v}" in medians]
            if ours in medians and theirs:
                quotients.append(min(theirs) / medians[ours])
        if quotients:
            ratios.append([f"{peer} {' or '.join(variants)} / {ours}", *median_and_range(quotients, 2)])
    tokens = {one[name].get("tokens") for one in rounds for name in one} - {None}
    return "\n".join(
        [
            "## One short query in a warm process",
            "",
            f"\"{results['queries']['text']}\", {', '.join(map(str, tokens))} tokens, {calls} calls of each "
            f"in {len(rounds)} rounds in turn, milliseconds, tokenisation included.",
            "",
            table(["", "p50", "p95"], rows),
            "",
            "Ratios of one round's p50, the faster of two graphs in that round:",
            "",
            table(["", "median", "least", "most"], ratios),
        ]
    )


def cold(results):
    runs = {name: runs for name, runs in results.get("cold", {}).items() if runs}
    if not runs:
        return None
    rows = []
    for name, ones in runs.items():
        seconds = [run["seconds"] for run in ones]
        row = [name, *median_and_range(seconds, 3), megabytes(max(run["peak_bytes"] for run in ones))]
        quotients = [t["seconds"] / run["seconds"] for t, run in zip(runs.get(REFERENCE, []), ones)]
        row.append(f"{statistics.median(quotients):.1f}" if quotients else "")
        rows.append(row)
    count = max(map(len, runs.values()))
    header = ["", "seconds", "least", "most", "peak memory", "sentence-transformers / this"]
    return "\n".join(
        [
            "## One text, a whole process",
            "",
            f"Files in the page cache, {count} runs in turn. Goals: below 0.15 s, and below a tenth of "
            "sentence-transformers.",
            "",
            table(header, rows),
        ]
    )


def memory(results):
    runs = {name: runs[0] for name, runs in results.get("whole", {}).items() if runs}
    if not runs:
        return None
    reference = runs.get(REFERENCE, {}).get("peak_bytes")
    rows = []
    for name, run in runs.items():
        share = f"{run['peak_bytes'] / reference:.2f}" if reference else ""
        rows.append([name, f"{run['seconds']:.2f}", megabytes(run["peak_bytes"]), share])
    return "\n".join(
        [
            "## A file of texts, a whole process",
            "",
            "One run each. Goal: at most half of sentence-transformers' memory.",
            "",
            table(["", "seconds", "peak memory", "share"], rows),
        ]
    )


def profile(results):
    columns = {}
    for precision in PRECISIONS:
        rounds = [
            one["answers"][f"engine {precision}"]
            for one in results.get("rounds", [])
            if f"engine {precision}" in one["answers"]
        ]
        if rounds:
            columns[precision] = profile_of(results, precision, rounds)
    if not columns:
        return None
    rows = []
    for part in next(iter(columns.values()))["parts"]:
        row = [part]
        for column in columns.values():
            row += [f"{column[part]:.2f}", f"{100 * column[part] / column['total']:.1f} %"]
        rows.append(row)
    rows.append(["total"] + [cell for c in columns.values() for cell in (f"{c['total']:.2f}", "")])
    rates = ["linear, GFLOP/s"]
    for column in columns.values():
        rates += [f"{column['rate']:.0f}", ""]
    rows.append(rates)
    for key, words in YARDSTICKS.items():
        row = [f"{words}, GFLOP/s"]
        for column in columns.values():
            peak = column[key]
            row += [f"{peak:.0f}", f"{100 * column['rate'] / peak:.0f} %"] if peak else ["", ""]
        if any(column[key] for column in columns.values()):
            rows.append(row)
    header = [""] + [cell for name in columns for cell in (f"{name}, seconds", "share")]
    lines = [
        "## Where the engine's time goes",
        "",
        "Medians of the rounds. A stage's seconds are those of all threads divided by their number; "
        "tokenisation was timed by itself; the rest is reading, handing out, and threads without work at "
        "the end. Below, what the machine reaches: products of 2048 x 2048 (torch.mm for f32 and bf16, "
        "ONNX Runtime's MatMulInteger for int8), and multiplications and additions in registers alone. "
        "Each is the median of the rounds' best; the share is what linear reaches of it. For int8 read "
        "10^9 operations.",
        "",
        table(header, rows),
        "",
    ]
    for precision, column in columns.items():
        if column["arithmetic"]:
            others = column["total"] - column["linear"]
            at_peak = others + column["linear"] * column["rate"] / column["arithmetic"]
            lines.append(
                f"- {precision}: what is left is {column['total']:.2f} -> {at_peak:.2f} s by linear "
                f"layers at the speed of registers, and -> {column['linear']:.2f} s by everything else "
                "for nothing."
            )
    return "\n".join(lines)


def profile_of(results, precision, rounds):
    """Seconds of each of `parts`, `total`, and linear's `rate` beside the yardsticks', in GFLOP/s."""
    threads = results["threads"]
    column = {"tokenization": statistics.median(one["tokenization_seconds"] for one in rounds)}
    for stage in rounds[0]["stage_seconds"]:
        seconds = statistics.median(one["stage_seconds"][stage] for one in rounds)
        column[stage] = seconds / threads
    total = statistics.median(one["seconds"] for one in rounds)
    column["rest"] = total - sum(column.values())
    column["parts"] = list(column)
    column["total"] = total
    operations = linear_operations(results["model"], rounds[0]["tokens"])
    column["rate"] = operations / column["linear"] / 1e9
    for key in YARDSTICKS:
        peaks = [
            one["answers"][key][precision]
            for one in results["rounds"]
            if precision in one["answers"].get(key, {})
        ]
        column[key] = statistics.median(peaks) if peaks else None
    return column


def linear_operations(config, tokens):
    """Multiplications and additions of BERT's linear layers."""
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    weights = config["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * intermediate)
    return 2 * tokens * weights


def quality(results):
    if not results.get("quality"):
        return None
    rows = []
    for name, scores in results["quality"]["systems"].items():
        row = [name, *(f"{scores[metric]:.4f}" for metric in ["ndcg", "mrr", "recall"])]
        points = scores["points"]
        if scores["against"] != name:
            row += [
                scores["against"],
                f"{points['ndcg']:+.2f} ± {points['ndcg_standard_error']:.2f}",
                f"{points['mrr']:+.2f}",
                f"{points['recall']:+.2f}",
                str(points["questions_changed"]),
            ]
        rows.append(row + [""] * (9 - len(row)))
    header = ["", "nDCG@10", "MRR@10", "recall@10", "against", "nDCG, points", "MRR", "recall"]
    return "\n".join(
        [
            "## Retrieval",
            "",
            f"CoSQA dev: {results['quality']['questions']} questions, {results['quality']['functions']:,} "
            "functions, exact search, pytrec_eval. Differences in points (hundredths), with the standard "
            "error over questions. Goal: int8 within 0.5 points of f32.",
            "",
            table([*header, "questions whose nDCG differs"], rows),
        ]
    )


def load(results):
    if not results.get("rounds"):
        return None
    rows = []
    for number, one in enumerate(results["rounds"], start=1):
        answers = one["answers"].values()
        if answers:
            others = [answer["other_cores"] for answer in answers]
            stolen = [answer["stolen_cores"] for answer in answers]
            cells = [statistics.fmean(others), max(others), max(stolen)]
            rows.append([str(number), f"{one['load']:.2f}", *(f"{cell:.2f}" for cell in cells)])
    header = [
        "round",
        "load average before",
        "cores used by others, mean",
        "most during one measurement",
        "cores taken by the host, most",
    ]
    return "\n".join(["## How busy the machine was", "", table(header, rows)])


def failures(results):
    if not results["failures"]:
        return None
    lines = [f"- {failure}" for failure in results["failures"]]
    return "\n".join(["## Failed", "", *lines])
