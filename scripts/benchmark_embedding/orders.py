"""The loop of the Python workers: one JSON order a line in, one JSON answer a line out."""

import json
import sys
import time


def read_texts(path, every):
    """The field `text` of every EVERY-th line."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file][::every]


def serve(about, handlers):
    """Says what the worker is and carries out orders until standard input ends."""
    answer({"ready": True, **about})
    for line in sys.stdin:
        order = json.loads(line)
        answer(handlers[order.pop("order")](**order))


def answer(value):
    print(json.dumps(value), flush=True)


def timed(function):
    """The seconds of one call, and what it returned."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def repeated(function, calls):
    """The seconds of each of many calls."""
    return [timed(function)[0] for _ in range(calls)]
