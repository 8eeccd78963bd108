#!/usr/bin/env python3
"""How much faster eight requests in flight are than one.

A server on loopback sleeps 200 ms before each answer. `coderag synth` makes the same rows from it with
one and with eight requests in flight, in turn; the medians of the rounds' rates are compared. Only the
standard library is needed:

    python3 scripts/benchmark_synth.py [CODERAG] [--rows 64] [--rounds 3]
"""

import argparse
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROJECT = pathlib.Path(__file__).resolve().parent.parent
DELAY = 0.2
WORDS = "amber birch cedar delta ember fjord grove heron inlet jetty knoll lagoon meadow ocean pebble ridge".split()


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    requests = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        time.sleep(DELAY)
        digest = hashlib.sha256(body).digest()
        text = "Query: combine " + " and ".join(WORDS[byte % 16] + WORDS[byte // 16] for byte in digest[:8])
        answer = {
            "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20},
        }
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def functions(count):
    """Functions of which no two are alike."""
    text = []
    for number in range(count):
        digest = hashlib.sha256(str(number).encode()).digest()
        name, a, b, c, d = (WORDS[byte % 16] + WORDS[byte // 16] for byte in digest[:5])
        text.append(
            f"def {name}({a}, {b}):\n    {c} = {a}.{d}({b})\n    for item in {c}:\n"
            f"        {b} += item * {number}\n    return {b}\n"
        )
    return "\n".join(text)


def settings(url, in_flight, rows):
    return f"""
prompts = "{PROJECT}/configs/prompts"
requests = {{ in_flight = {in_flight} }}
gates = {{ label = {{ enabled = false }} }}
[model]
name = "sleeper"
[model.endpoint]
base_url = "{url}"
stream = false
[seeds.code]
folders = ["code"]
per_file = 10000
[[task]]
name = "query_for_code"
category = "text_to_code"
rows = {rows}
prompt = "query_for_code.md"
seed = "code"
languages = ["python"]
answer = {{ query = "text" }}
anchor = "{{{{ query }}}}"
positive = "{{{{ code }}}}"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = pathlib.Path(os.path.expanduser("~/.cache/coderag/build/release/coderag"))
    parser.add_argument("coderag", nargs="?", type=pathlib.Path, default=default)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    rates = {1: [], 8: []}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "code").mkdir()
        (folder / "code" / "pyproject.toml").write_text('[project]\nname = "functions"\nlicense = "MIT"\n')
        (folder / "code" / "functions.py").write_text(functions(2 * arguments.rows))
        for number in range(arguments.rounds):
            for in_flight in rates:
                config = folder / "synth.toml"
                config.write_text(settings(url, in_flight, arguments.rows))
                output = folder / f"run-{number}-{in_flight}"
                before = server.requests
                start = time.monotonic()
                subprocess.run(
                    [arguments.coderag, "synth", "--config", config, "--output", output],
                    check=True, stdout=subprocess.DEVNULL,
                )
                seconds = time.monotonic() - start
                requests = server.requests - before
                rates[in_flight].append(requests / seconds)
                print(f"{in_flight} in flight: {requests} requests in {seconds:.2f} s")
    medians = {in_flight: statistics.median(values) for in_flight, values in rates.items()}
    print(f"1: {medians[1]:.2f}/s   8: {medians[8]:.2f}/s   ratio {medians[8] / medians[1]:.2f}")


if __name__ == "__main__":
    main()
