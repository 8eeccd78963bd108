#!/usr/bin/env python3
"""Makes the reference values that coderag-eval's tests of text and retrieval metrics compare with.

    python3 -m venv /tmp/reference-metrics
    /tmp/reference-metrics/bin/pip install pytrec_eval-terrier==0.5.11 sacrebleu==2.6.0 \\
        rouge-score==0.1.2 rapidfuzz==3.14.6 numpy==2.4.6
    /tmp/reference-metrics/bin/python scripts/reference_metrics.py

Written to crates/coderag-eval/tests/fixture:

    retrieval_metrics.json    rankings, judgements and what pytrec_eval makes of them
    text_metrics.json         pairs of texts and what sacrebleu, rouge-score and rapidfuzz make of them

The inputs are the sentences below, changed at random, and generated rankings; one seed decides all of
them. More of them, for a longer comparison: --rankings 20000 --texts 20000 --seed 1 --output FOLDER.
"""

import argparse
import importlib.metadata
import json
import random
import sys
import unicodedata
from pathlib import Path

import numpy
import pytrec_eval
import sacrebleu
from rapidfuzz.distance import Levenshtein
from rouge_score.rouge_scorer import RougeScorer

FIXTURES = Path(__file__).resolve().parent.parent / "crates/coderag-eval/tests/fixture"
CUTOFFS = [1, 3, 5, 20]

SENTENCES = [
    "",
    " ",
    "\n",
    ".",
    "a",
    "7",
    "one",
    "two words",
    "The index keeps one vector for every table.",
    "The index keeps one vector for each table, and returns the nearest ones.",
    "the the the the the the the",
    "How many customers ordered more than 1,000.50 euros' worth of goods in 2023?",
    "SELECT name, COUNT(*) FROM singer WHERE age >= 30 GROUP BY name ORDER BY 2 DESC LIMIT 10;",
    "select t1.name from singer as t1 join concert as t2 on t1.id = t2.singer_id where t2.year = '2014'",
    "It's 3.14, not 3,14; 10-20 is a range, -5 is not, and 7- is odd.",
    "Ends in a dot. . . and commas,,, with -- dashes --- and 1--2",
    "word-\nbroken at a line-end\nand <skipped> something<skipped>",
    "&quot;quoted&quot; &amp; escaped &amp;lt;b&amp;gt; &lt;tag&gt; &unknown;",
    "{braces} [brackets] (parentheses) <angles> ~tilde^ `tick` |pipe| \\back/ @at #hash $5 5% 2*3+4=10",
    "tab\tseparated\x0bvertical\x0cform\x1cfile\x1dgroup\x1erecord\x1funit\x85next line",
    "no\u00a0break\u2003em\u3000ideographic\u200bzero width\u2028line\u2029paragraph",
    "Straße in Zürich, naïve café: ÄÖÜ äöü, ŒUVRE, Łódź.",
    "Zu\u0308rich decomposed, A\u030angstro\u0308m",
    "İSTANBUL ve ışık, DİYARBAKIR",
    "ΟΔΥΣΣΕΥΣ ΚΑΙ ΣΊΣΥΦΟΣ. ΑΣ' Σ",
    "The temperature is 300 \u212a, the length 2 \u212b.",
    "Где находится библиотека? В ней 1.000 книг, т.е. много.",
    "כמה לקוחות יש בטבלה?",
    "كم عدد الطلبات في هذا الشهر؟ ١٢٣٫٤",
    "तालिका में कितने ग्राहक हैं?",
    "ลูกค้าคนใดสั่งซื้อมากที่สุด",
    "客户表里有多少行？一共３．５行。",
    "売上が最も高い店舗はどこですか。",
    "고객이 가장 많이 주문한 상품은 무엇입니까?",
    "👩‍👩‍👧‍👦 ordered 2 🍕, and 🏳️‍🌈!",
    "𝒜 𝓁 𝓅 𝒽 𝒶 beyond the basic plane 𠜎",
]

# Pieces that the tokenizers treat in a way of their own.
PIECES = (
    [" ", "  ", "\n", "-\n", "-", ".", ",", "'", "..", "1.", ".1", "1,2", "3-4", "<skipped>", "&amp;", "&lt;"]
    + ["&quot;", "&gt;", "&amp;quot;", "\x1c", "\x1f", "\x85", "\xa0", "\u3000", "\ufeff", "\x00", "İ", "\u212a"]
    + ["Σ", "ΑΣ", "ς", "ß", "ẞ", "é", "e\u0301", "中", "文", "🙂", "A", "b", "C", "d", "9", "0", "the", "The", "of"]
    + list("!\"#$%&()*+/:;<=>?@[\\]^_`{|}~")
)


def versions():
    names = ["pytrec_eval-terrier", "sacrebleu", "rouge-score", "rapidfuzz", "numpy"]
    return {"python": sys.version.split()[0]} | {name: importlib.metadata.version(name) for name in names}


# Rankings


def evaluate(judgements, run):
    """pytrec_eval's metrics in the form of coderag-eval's, by query and their means."""
    names = [f"{name}.{','.join(map(str, CUTOFFS))}" for name in ["recall", "P", "ndcg_cut", "map_cut"]]
    evaluator = pytrec_eval.RelevanceEvaluator(judgements, {*names, "recip_rank", "map"})
    whole = evaluator.evaluate(run)
    # pytrec_eval has no reciprocal rank at a cutoff, but it has one of a ranking cut beforehand.
    for k in CUTOFFS:
        cut = {query: dict(ordered(documents)[:k]) for query, documents in run.items()}
        for query, values in evaluator.evaluate(cut).items():
            whole[query][f"recip_rank_{k}"] = values["recip_rank"]

    def metrics(value):
        columns = {"recall": "recall", "precision": "P", "mrr": "recip_rank", "ndcg": "ndcg_cut", "map": "map_cut"}
        at = [{"k": k} | {ours: value(f"{theirs}_{k}") for ours, theirs in columns.items()} for k in CUTOFFS]
        return {"at": at, "mrr": value("recip_rank"), "map": value("map")}

    def mean(name):
        values = [query[name] for query in whole.values()]
        return rounded(pytrec_eval.compute_aggregated_measure(name, values)) if values else 0.0

    queries = {query: metrics(lambda name: rounded(values[name])) for query, values in whole.items()}
    return {
        "mean": metrics(mean),
        "queries": queries,
        "without_ranking": len(set(judgements) - set(run)),
        "without_judgements": len(set(run) - set(judgements)),
    }


def rounded(value):
    return round(float(value), 10)


def ordered(documents):
    """The documents of a query in trec_eval's order, which keeps scores in single precision."""
    with numpy.errstate(over="ignore"):
        key = {document: (numpy.float32(score), document.encode()) for document, score in documents.items()}
    return sorted(documents.items(), key=lambda item: key[item[0]], reverse=True)


def collapse(judgements, run, texts):
    """The same judgements and rankings where documents of one text are one."""
    group = lambda document: f"text {texts[document]}" if document in texts else document
    judged = {}
    for query, documents in judgements.items():
        judged[query] = {}
        for document, relevance in documents.items():
            before = judged[query].get(group(document), relevance)
            judged[query][group(document)] = max(before, relevance)
    ranked = {}
    for query, documents in run.items():
        unique = dict.fromkeys(group(document) for document, _ in ordered(documents))
        ranked[query] = {name: -float(place) for place, name in enumerate(unique)}
    return judged, ranked


def ranking_case(generator):
    names = generator.choice(
        [
            [f"d{number}" for number in range(generator.randint(1, 30))],
            ["a", "A", "aa", "b", "é", "e", "z", "中", "𝒜", "\uffff", "10", "9", "document 1", "_", "-"],
        ]
    )
    levels = generator.choice([[0, 1], [1], [0], [0, 1, 2, 3], [-1, 0, 1, 2], [0, 1, 7, 100]])
    scores = generator.choice(
        [
            [1.0],
            [0.25, 0.5, 0.75],
            [generator.uniform(-1, 1) for _ in range(40)],
            # Ties in single precision, in double precision none.
            [1.0, 1.0 + 1e-9, 1.0 - 1e-9, 1.0 + 1e-6, 16777216.0, 16777217.0, 16777218.0],
            [0.0, -0.0, 1e-50, -1e-50, 1e300, 1e301, float(numpy.finfo(numpy.float32).max), -1e300],
            [3, 2, 1, 0, -1],
        ]
    )
    queries = [f"q{number}" for number in range(generator.randint(1, 4))]
    judgements, run = {}, {}
    for query in queries:
        if generator.random() < 0.9:
            judged = generator.sample(names, generator.randint(1, min(len(names), 8)))
            judgements[query] = {name: generator.choice(levels) for name in judged}
        if generator.random() < 0.9:
            found = generator.sample(names, generator.randint(0, len(names)))
            run[query] = {name: generator.choice(scores) for name in found}
    texts = {name: generator.randrange(1 + len(names) // 2) for name in names if generator.random() < 0.8}
    return {
        "judgements": judgements,
        "run": run,
        "expected": evaluate(judgements, run),
        "texts": texts,
        "expected_with_unique_texts": evaluate(*collapse(judgements, run, texts)),
    }


def ranking_files(generator):
    """A case as the text of TREC's files, read by pytrec_eval itself."""
    names = [f"doc-{number}" for number in range(12)]
    qrels, run = [], []
    for query in ["q1", "q2", "q3", "q10"]:
        for name in generator.sample(names, 5):
            qrels.append(f"{query} 0 {name} {generator.choice([0, 1, 2])}")
        for rank, name in enumerate(generator.sample(names, 8), 1):
            run.append(f"{query}\tQ0\t{name}\t{rank}\t{generator.choice(['1', '0.5', '2.5e-1', '-3'])}\trun")
    judgements, rankings = pytrec_eval.parse_qrel(qrels), pytrec_eval.parse_run(run)
    return {
        "qrels": "\n".join(qrels) + "\n",
        "run": "\r\n".join(run),
        "expected": evaluate(dict(judgements), dict(rankings)),
    }


# Texts


def changed(generator, text):
    """The text with a few edits of several kinds."""
    for _ in range(generator.choice([0, 1, 1, 2, 3, 6])):
        words = text.split(" ")
        place = generator.randrange(len(words))
        kind = generator.randrange(7)
        if kind == 0:
            del words[place]
        elif kind == 1:
            words.insert(place, generator.choice(PIECES))
        elif kind == 2:
            other = generator.randrange(len(words))
            words[place], words[other] = words[other], words[place]
        elif kind == 3:
            words[place] = words[place].swapcase()
        elif kind == 4:
            words.append(words[place])
        elif kind == 5:
            characters = list(words[place])
            characters.insert(generator.randint(0, len(characters)), generator.choice(PIECES))
            words[place] = "".join(characters)
        else:
            words = words[:place]
        text = " ".join(words)
    return text


def noise(generator):
    length = generator.randint(0, 25)
    if generator.random() < 0.7:
        return "".join(generator.choice(PIECES) for _ in range(length))
    characters = []
    while len(characters) < length:
        character = chr(generator.randrange(generator.choice([0x80, 0x600, 0x3000, 0x110000])))
        # Lowercasing depends on the version of Unicode where that assigns no character.
        if unicodedata.category(character) not in ("Cn", "Cs"):
            characters.append(character)
    return "".join(characters)


def bleu(score):
    return {
        "score": rounded(score.score),
        "precisions": [rounded(value) for value in score.precisions],
        "brevity_penalty": rounded(score.bp),
        "hypothesis_length": score.sys_len,
        "reference_length": score.ref_len,
        "matches": score.counts,
        "totals": score.totals,
    }


def text_case(generator):
    hypothesis = generator.choice(SENTENCES) if generator.random() < 0.7 else noise(generator)
    references = []
    for _ in range(generator.choice([1, 1, 2, 3])):
        kind = generator.random()
        if kind < 0.8:
            references.append(changed(generator, hypothesis))
        else:
            references.append(generator.choice(SENTENCES) if kind < 0.9 else noise(generator))
    return hypothesis, references


def rouge(scorer, reference, hypothesis):
    scores = scorer.score(reference, hypothesis)
    return {
        ours: {name: rounded(value) for name, value in zip(["precision", "recall", "f1"], scores[theirs])}
        for ours, theirs in [("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")]
    }


def texts(generator, count):
    cases = [(sentence, [sentence]) for sentence in SENTENCES]
    # References as close in length, one longer and one shorter.
    cases += [("one two three", ["one two three four", "one two"]), ("a b c d", ["a b c", "a b c d e"])]
    cases += [text_case(generator) for _ in range(count)]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    segments = []
    for hypothesis, references in cases:
        segments.append(
            {
                "hypothesis": hypothesis,
                "references": references,
                "bleu": bleu(sacrebleu.sentence_bleu(hypothesis, references)),
                "bleu_lowered": bleu(sacrebleu.sentence_bleu(hypothesis, references, lowercase=True)),
                "rouge": rouge(scorer, references[0], hypothesis),
                "edit_similarity": rounded(Levenshtein.normalized_similarity(hypothesis, references[0])),
            }
        )
    corpora = []
    for _ in range(max(12, count // 20)):
        chosen = generator.sample(range(len(cases)), generator.randint(1, min(len(cases), 12)))
        hypotheses = [cases[index][0] for index in chosen]
        most = max(len(cases[index][1]) for index in chosen)
        columns = [[(cases[index][1] + [None] * most)[column] for index in chosen] for column in range(most)]
        corpora.append(
            {
                "segments": chosen,
                "bleu": bleu(sacrebleu.corpus_bleu(hypotheses, columns)),
                "bleu_lowered": bleu(sacrebleu.corpus_bleu(hypotheses, columns, lowercase=True)),
            }
        )
    return segments, corpora


def write(path, content):
    head = {"made_by": "scripts/reference_metrics.py", "versions": versions()}
    # One line a case.
    lines = []
    for key, value in (head | content).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join(json.dumps(row) for row in value)
            lines.append(f"{json.dumps(key)}: [\n{rows}\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(path, path.stat().st_size, "bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rankings", type=int, default=32, help="how many cases of rankings")
    parser.add_argument("--texts", type=int, default=100, help="how many changed texts")
    parser.add_argument("--seed", type=int, default=20240229)
    parser.add_argument("--output", type=Path, default=FIXTURES)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)

    generator = random.Random(arguments.seed)
    cases = [ranking_case(generator) for _ in range(arguments.rankings)]
    files = ranking_files(generator)
    write(arguments.output / "retrieval_metrics.json", {"cutoffs": CUTOFFS, "cases": cases, "files": files})

    segments, corpora = texts(random.Random(arguments.seed), arguments.texts)
    write(arguments.output / "text_metrics.json", {"segments": segments, "corpora": corpora})


if __name__ == "__main__":
    main()
