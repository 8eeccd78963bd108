"""The results as Markdown. What has not been measured, or failed, is left out."""

import statistics

from report import megabytes, median_and_range, table

# Job, ours, theirs, and the least ratio of pairs/s that the project aims at.
COMPARISONS = [
    ("lora", "coderag f32", "sentence-transformers f32", 1.5),
    ("lora", "coderag bf16", "sentence-transformers f32", 1.5),
    ("lora", "coderag bf16", "sentence-transformers bf16", None),
    ("lora", "coderag bf16", "torch loop bf16", 1.0),
    ("full", "coderag f32", "sentence-transformers f32", 1.2),
    ("full", "coderag bf16", "sentence-transformers f32", 1.2),
    ("full", "coderag bf16", "sentence-transformers bf16", None),
    ("full", "coderag bf16", "torch loop bf16", None),
    ("cached", "coderag f32", "sentence-transformers f32", None),
    ("cached", "coderag bf16", "sentence-transformers f32", None),
]
# Of theirs; no goal is set beside the bare loop.
MOST_MEMORY = 0.5
BARE = "torch loop bf16"
TITLES = {"lora": "LoRA", "full": "All parameters", "cached": "The cached loss"}


def markdown(results):
    """All jobs that have been measured."""
    parts = [heading(results)]
    for name, measured in results["jobs"].items():
        if any(one["answers"] for one in measured["rounds"]):
            parts += job(name, measured)
    parts += [load(results), failures(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(results):
    machine = results["machine"]
    return (
        "# Training on the processor\n\n"
        f"{results['started']}, commit {results['commit']}. {machine['processor']}, "
        f"{machine['cores']} cores ({', '.join(machine['instructions'])}), Linux {machine['kernel']}; "
        f"{results['threads']} threads on every side. {', '.join(results['packages'])}."
    )


def of_rounds(measured, name, key):
    """One figure of a system in each round that has it."""
    answers = (one["answers"].get(name) for one in measured["rounds"])
    return [answer[key] for answer in answers if answer]


def job(name, measured):
    about, rounds = measured["job"], measured["rounds"]
    timed = about["steps"] - about["warm_up"]
    rows = []
    for system in dict.fromkeys(system for one in rounds for system in one["answers"]):
        def figures(key, system=system):
            return of_rounds(measured, system, key)

        losses = figures("losses")[0]
        rows.append(
            [
                system,
                *median_and_range(figures("pairs_per_second"), 2),
                f"{statistics.median(figures('tokens_per_second')):,.0f}",
                megabytes(max(figures("peak_bytes"))),
                f"{statistics.median(figures('whole_seconds')):.1f}",
                f"{statistics.median(figures('cores')):.2f}",
                f"{losses[0]:.4f}",
                f"{statistics.fmean(losses):.4f}",
            ]
        )
    header = ["", "pairs/s", "least", "most", "tokens/s", "peak memory", "whole process, s"]
    header += ["cores used", "loss at first", "mean loss"]
    at_once = ""
    if about["mini_batch"]:
        at_once = (
            f" Theirs embeds {about['mini_batch']} texts of a column at a time, ours "
            f"{about['texts_at_once']} texts. Goal: at most 6 GB."
        )
    text = (
        f"## {TITLES[name]}\n\nBatches of {about['batch']:,} pairs, both texts cut at "
        f"{about['max_tokens']} tokens, {timed} timed steps after {about['warm_up']}; medians of "
        f"{len(rounds)} rounds in turn, the most memory of all.{at_once}"
    )
    return [text, table(header, sorted(rows)), ratios(name, rounds)]


def ratios(name, rounds):
    rows = []
    for at, ours, theirs, goal in COMPARISONS:
        both = [
            (one["answers"][ours], one["answers"][theirs])
            for one in rounds
            if at == name and ours in one["answers"] and theirs in one["answers"]
        ]
        if both:
            speed = [our["pairs_per_second"] / their["pairs_per_second"] for our, their in both]
            memory = [our["peak_bytes"] / their["peak_bytes"] for our, their in both]
            rows.append(
                [
                    f"{ours} / {theirs}",
                    *median_and_range(speed, 2),
                    f">= {goal}" if goal else "",
                    f"{statistics.median(memory):.2f}",
                    f"<= {MOST_MEMORY}" if goal and theirs != BARE else "",
                ]
            )
    if not rows:
        return None
    header = ["Ratios of one round", "pairs/s", "least", "most", "goal", "peak memory", "goal"]
    return table(header, rows)


def load(results):
    rows = []
    for name, measured in results["jobs"].items():
        for number, one in enumerate(measured["rounds"], start=1):
            answers = one["answers"].values()
            if answers:
                others = [answer["other_cores"] for answer in answers]
                stolen = [answer["stolen_cores"] for answer in answers]
                cells = [statistics.fmean(others), max(others), max(stolen)]
                shown = (f"{cell:.2f}" for cell in cells)
                rows.append([name, str(number), f"{one['load']:.2f}", *shown])
    if not rows:
        return None
    header = ["", "round", "load average before", "cores used by others, mean"]
    header += ["most during one run", "cores taken by the host, most"]
    return "## How busy the machine was\n\n" + table(header, rows)


def failures(results):
    if not results["failures"]:
        return None
    return "\n".join(["## Failed", "", *(f"- {failure}" for failure in results["failures"])])
