#!/usr/bin/env python3
"""What `coderag synth` wrote, in the real `datasets` and in sentence-transformers' trainer.

    python3 scripts/check_synth.py RUN [--model all-MiniLM-L6-v2's folder] [--steps 5]

Checks that the run's folder loads by its card (`pairs`, `gretel` where there is text to SQL, `rejected`), that
its Parquet files load without the card, that the columns and counts are the manifest's, and that the pairs train
an encoder as they are. Needs datasets, sentence-transformers and accelerate.
"""

import argparse
import json
import pathlib
import tempfile

GRETEL = (
    "id domain domain_description sql_complexity sql_complexity_description sql_task_type "
    "sql_task_type_description sql_prompt sql_context sql sql_explanation"
).split()
PAIRS = "id task anchor positive negatives language source meta".split()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    default = pathlib.Path.home() / ".cache/coderag/models/all-MiniLM-L6-v2"
    parser.add_argument("--model", type=pathlib.Path, default=default)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()

    from datasets import load_dataset

    manifest = json.loads((arguments.run / "manifest.json").read_text())
    rows = {}
    for file in manifest["files"]:
        name = file["path"].split("/")[0]
        rows[name] = rows.get(name, 0) + file["rows"]
    with tempfile.TemporaryDirectory() as cache:
        for name, count in rows.items():
            by_card = load_dataset(str(arguments.run), name, split="train", cache_dir=cache)
            files = str(arguments.run / name / "*.parquet")
            alone = load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
            assert len(by_card) == len(alone) == count, (name, len(by_card), len(alone), count)
            print(f"{name}: {count} rows, columns {', '.join(alone.column_names)}")
            if name == "pairs":
                assert alone.column_names == PAIRS, alone.column_names
                assert all(json.loads(meta) for meta in alone["meta"])
                assert len(set(alone["id"])) == count
                pairs = alone
            if name == "gretel":
                assert alone.column_names == GRETEL, alone.column_names
                assert list(alone["id"]) == list(range(count))

        from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
        from sentence_transformers import SentenceTransformerTrainingArguments
        from sentence_transformers.losses import MultipleNegativesRankingLoss

        model = SentenceTransformer(str(arguments.model), device="cpu")
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=cache, max_steps=arguments.steps, per_device_train_batch_size=16,
                logging_steps=1, report_to=[], save_strategy="no", use_cpu=True,
            ),
            train_dataset=pairs.select_columns(["anchor", "positive"]),
            loss=MultipleNegativesRankingLoss(model),
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        assert len(losses) == arguments.steps and all(0 <= loss < 10 for loss in losses), losses
        print("losses:", " ".join(f"{loss:.3f}" for loss in losses))


if __name__ == "__main__":
    main()
