"""Makes the pairs of the benchmark: both texts of each are longer than the length they are cut to.

    make_pairs.py MODEL_DIRECTORY FUNCTIONS.jsonl.gz PAIRS.jsonl COUNT MAX_TOKENS

A pair is the two halves of a function (the field `doc`), where each of them has enough tokens.
"""

import gzip
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer


def main():
    model, functions, output, count, max_tokens = sys.argv[1:]
    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    pairs = []
    with gzip.open(functions, "rt", encoding="utf-8") as lines:
        for line in lines:
            function = json.loads(line)["doc"]
            middle = len(function) // 2
            halves = [function[:middle], function[middle:]]
            if all(len(tokenizer.encode(half).ids) >= int(max_tokens) for half in halves):
                pairs.append(halves)
            if len(pairs) == int(count):
                break
    if len(pairs) < int(count):
        sys.exit(f"{functions} has only {len(pairs)} functions that are long enough, not {count}")
    with open(output, "w", encoding="utf-8") as file:
        for anchor, positive in pairs:
            file.write(json.dumps({"anchor": anchor, "positive": positive}) + "\n")


if __name__ == "__main__":
    main()
