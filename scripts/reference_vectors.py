#!/usr/bin/env python3
"""Makes the reference vectors that coderag-encoder's tests compare with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    /tmp/reference/bin/python scripts/reference_vectors.py MODEL_DIRECTORY

MODEL_DIRECTORY is an unpacked all-MiniLM-L6-v2 (`coderag models path all-MiniLM-L6-v2`).
Written to crates/coderag-encoder/tests/fixtures:

    texts.json                       the texts
    all-MiniLM-L6-v2.safetensors     sentence-transformers' vectors of them, [texts, 384]
    small-bert/                      a random two-layer BERT as sentence-transformers saves it
    small-bert-vectors.safetensors   its vectors for each pooling, and with its query prompt

Each text is encoded alone, so no reference depends on padding. The versions of the libraries and the
digest of the weights are in the metadata of the safetensors files.
"""

import argparse
import hashlib
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import safetensors
import safetensors.torch
import sentence_transformers
import tokenizers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

FIXTURES = Path(__file__).resolve().parent.parent / "crates/coderag-encoder/tests/fixtures"

WORDS = (
    "the index keeps one vector for every table and returns the nearest ones when a question about "
    "customers orders invoices shipments or prices arrives in plain language"
).split()


def words(count):
    """A text of `count` common words; each is one or two tokens."""
    return " ".join(WORDS[i * 7 % len(WORDS)] for i in range(count))


TEXTS = [
    # Nothing, nearly nothing, and whitespace of several kinds.
    "",
    " ",
    "\n\t \r\n",
    "\u00a0\u2003\u3000",
    "a",
    "?",
    "0",
    "-",
    # Short English.
    "hello",
    "Hello, World!",
    "How many singers do we have?",
    "List the names of all customers who ordered more than five times in 2023.",
    "Which airports lie north of 60° and have no flights on Sundays?",
    "don't, can't, o'clock: it's the cat's whiskers",
    "ALL CAPITALS SHOULD EQUAL SMALL LETTERS",
    "all capitals should equal small letters",
    "3.14159 2,718 1e-9 0xDEADBEEF 192.168.0.1 2024-02-29T23:59:60Z",
    "end of sentence.No space after it!Nor here?Or here;or,here",
    # Accents, combining marks, other scripts.
    "Zürich, naïve café, Ångström, São Paulo, Łódź, Đà Nẵng",
    "Zu\u0308rich nai\u0308ve cafe\u0301 A\u030angstro\u0308m",
    "e\u0301\u0302\u0303 stacked a\u0316\u0317\u0318 marks",
    "Straße und Fußgängerübergang in Österreich",
    "İstanbul'da ışık, Iğdır'da ılık",
    "Где находится библиотека и сколько в ней книг?",
    "Πόσοι πελάτες παρήγγειλαν χθες; ΣΊΣΥΦΟΣ σίσυφος",
    "כמה לקוחות יש בטבלה?",
    "كم عدد الطلبات في هذا الشهر؟",
    "तालिका में कितने ग्राहक हैं?",
    "ลูกค้าคนใดสั่งซื้อมากที่สุด",
    "客户表里有多少行？",
    "売上が最も高い店舗はどこですか。カタカナとひらがな",
    "고객이 가장 많이 주문한 상품은 무엇입니까?",
    "mixed 中文 and English 文本 in 一 sentence",
    "𠜎𠜱 rare ideographs beyond the basic plane 𝒜𝓁𝓅𝒽𝒶",
    # Emoji, joiners, controls, odd spaces.
    "shipping 🚚 delayed 😡😡",
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 tone, ❤️ heart",
    "zero\u200bwidth\u200cjoin\u200ders\ufeffand\u00adsoft hyphens",
    "control\u0000\u0001\u0008characters\u007fand\ufffdreplacement",
    "full\u3000width ＡＢＣ１２３！ and ½ ² ㎏ ﬁ ligature",
    "← ↑ → ↓ ≤ ≥ ≠ ∑ ∫ √ ∞ ± × ÷",
    "£100 €200 ¥300 ₹400 ₿0.5 ¢",
    # Text that looks like the tokeniser's own marks.
    "[CLS] [SEP] [MASK] [PAD] [UNK]",
    "the [MASK] of the table [SEP] a second segment",
    "##ing ##ed un##known",
    # SQL and DDL.
    "SELECT count(*) FROM singer;",
    "SELECT c.name, sum(o.total) AS spent FROM customers AS c JOIN orders AS o ON o.customer_id = c.id "
    "WHERE o.placed_at >= '2024-01-01' GROUP BY c.id HAVING spent > 1000 ORDER BY spent DESC LIMIT 10",
    "WITH RECURSIVE reports(id, level) AS (SELECT id, 0 FROM employee WHERE boss IS NULL UNION ALL "
    "SELECT e.id, r.level + 1 FROM employee e JOIN reports r ON e.boss = r.id) SELECT max(level) FROM reports",
    'CREATE TABLE "order lines" (\n  order_id INTEGER NOT NULL REFERENCES orders(id),\n  line INTEGER,\n'
    "  sku TEXT CHECK (length(sku) = 8),\n  price NUMERIC(10, 2) DEFAULT 0.00,\n  PRIMARY KEY (order_id, line)\n);",
    "CREATE TABLE `t` (`a` int(11) unsigned zerofill AUTO_INCREMENT, `b` enum('x','y') COLLATE utf8mb4_bin) ENGINE=InnoDB",
    "INSERT INTO city VALUES (1, 'Reykjavík', 64.15, -21.94), (2, 'O''Fallon', 38.59, NULL); -- two rows",
    # Code.
    "def moving_average(values, width):\n    total = sum(values[:width])\n    yield total / width\n"
    "    for old, new in zip(values, values[width:]):\n        total += new - old\n        yield total / width\n",
    "fn longest<'a>(left: &'a str, right: &'a str) -> &'a str {\n    if left.len() >= right.len() { left } else { right }\n}",
    "const byCity = rows.reduce((m, r) => ({ ...m, [r.city]: (m[r.city] ?? 0) + 1 }), {}); // counts",
    "template <typename T> auto clamp(T x, T lo, T hi) -> T { return x < lo ? lo : hi < x ? hi : x; }",
    "#include <stdio.h>\nint main(void) { for (int i = 0; i < 10; ++i) printf(\"%d\\n\", i * i); return 0; }",
    "public record Invoice(UUID id, BigDecimal net) { Invoice { if (net.signum() < 0) throw new IllegalArgumentException(); } }",
    "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tch := make(chan int, 1)\n\tch <- 42\n\tfmt.Println(<-ch)\n}",
    "grep -rn --include='*.rs' 'unsafe' src/ | awk -F: '{print $1}' | sort | uniq -c | sort -nr",
    "quicksort [] = []\nquicksort (p:xs) = quicksort [x | x <- xs, x < p] ++ [p] ++ quicksort [x | x <- xs, x >= p]",
    '{"name": "widget", "tags": ["a", "b"], "price": 9.99, "stock": null, "dimensions": {"w": 1, "h": 2}}',
    "<table><tr><td class=\"total\">&euro;12.50</td></tr></table><!-- row -->",
    "# Heading\n\n* item **bold**\n* [link](https://example.org/a?b=c&d=e#f)\n\n```sh\nls -la\n```",
    "snake_case camelCase PascalCase kebab-case SCREAMING_SNAKE_CASE dotted.path.name ns::item",
    # Very long words: more than 100 characters are one unknown token.
    "x" * 99,
    "x" * 100,
    "x" * 101,
    "y" * 5000,
    "pneumonoultramicroscopicsilicovolcanoconiosis and Donaudampfschifffahrtsgesellschaftskapitän",
    "a" * 60 + " " + "中" * 60 + " " + "🙂" * 30,
    # Many short tokens, and lengths up to and beyond the limit of 256.
    "! " * 40,
    "1" * 90,
    words(16),
    words(32),
    words(64),
    words(100),
    words(128),
    words(200),
    words(250),
    words(260),
    words(300),
    words(400),
    words(399) + " ending",
    "中" * 300,
]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(name, tensors, weights):
    metadata = {
        "script": "scripts/reference_vectors.py",
        "weights_sha256": digest(weights),
        "sentence-transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "torch": torch.__version__,
        "safetensors": safetensors.__version__,
    }
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    safetensors.torch.save_file(tensors, FIXTURES / name, metadata)
    print(name, {key: list(value.shape) for key, value in tensors.items()}, metadata)


def encode(model, **options):
    return torch.cat(
        [model.encode([text], convert_to_tensor=True, show_progress_bar=False, **options) for text in TEXTS]
    )


def reference(directory):
    model = SentenceTransformer(str(directory), device="cpu")
    save("all-MiniLM-L6-v2.safetensors", {"vectors": encode(model)}, directory / "model.safetensors")


def small_bert():
    """Random weights, large enough that attention is far from uniform, and biases that matter."""
    directory = FIXTURES / "small-bert"
    characters = "abcdefghijklmnopqrstuvwxyz0123456789_(),.;:*='\"<>[]{}+-/?"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary += list(characters) + ["##" + c for c in characters if c.isalnum()]
    vocabulary += ["select", "from", "table", "create", "the", "order", "##s", "##ing", "find", "中", "é"]
    vocabulary = list(dict.fromkeys(vocabulary))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    transformers.BertTokenizer(str(directory / "vocab.txt"), model_max_length=40).save_pretrained(directory)

    torch.manual_seed(20240229)
    body = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=48,
        )
    )
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            torch.nn.init.normal_(parameter, std=0.3)
            if name.endswith("LayerNorm.weight"):
                parameter += 1.0
    body.save_pretrained(directory)

    transformer = Transformer(str(directory), max_seq_length=40)
    vectors = {}
    for mode in ["mean", "cls", "max"]:
        pooling = Pooling(transformer.get_embedding_dimension(), mode)
        model = SentenceTransformer(modules=[transformer, pooling], device="cpu")
        vectors[mode] = encode(model)
    prompts = {"query": "find: ", "document": ""}
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    model = SentenceTransformer(
        modules=[transformer, pooling, Normalize()], prompts=prompts, device="cpu"
    )
    model.save(str(directory), create_model_card=False)
    (directory / "vocab.txt").unlink(missing_ok=True)
    saved = SentenceTransformer(str(directory), device="cpu")
    vectors["mean normalised"] = encode(saved)
    vectors["query"] = encode(saved, prompt_name="query")
    save("small-bert-vectors.safetensors", vectors, directory / "model.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="an unpacked all-MiniLM-L6-v2")
    arguments = parser.parse_args()
    FIXTURES.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    (FIXTURES / "texts.json").write_text(json.dumps(TEXTS, ensure_ascii=True, indent=0) + "\n")
    reference(arguments.model)
    small_bert()


if __name__ == "__main__":
    main()
