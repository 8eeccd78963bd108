"""The job with sentence-transformers' own trainer; see job.py for its arguments."""

import tempfile

from datasets import Dataset
from job import (
    LEARNING_RATES,
    MAX_GRADIENT_NORM,
    SCALE,
    WEIGHT_DECAY,
    WITHOUT_DROPOUT,
    Diary,
    low_rank,
    read_columns,
    read_job,
)
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback


class DiaryKeeper(TrainerCallback):
    """Marks the ends of steps."""

    def __init__(self, diary):
        self.diary = diary

    def on_train_begin(self, *_, **__):
        self.diary.begin()

    def on_step_end(self, *_, **__):
        self.diary.end_step()


class Trainer(SentenceTransformerTrainer):
    """The trainer, which tells of the loss and of the tokens of each batch."""

    def __init__(self, diary, **named):
        super().__init__(callbacks=[DiaryKeeper(diary)], **named)
        self.diary = diary

    def compute_loss(self, model, inputs, *positional, **named):
        masks = [value for key, value in inputs.items() if key.endswith("attention_mask")]
        self.diary.tokens += sum(int(mask.sum()) for mask in masks)
        loss = super().compute_loss(model, inputs, *positional, **named)
        self.diary.loss = loss.item()
        return loss


def in_file_order(dataset, **options):
    return DefaultBatchSampler(SequentialSampler(dataset), **options)


def main():
    job = read_job()
    model = SentenceTransformer(job.model, device="cpu", config_kwargs=WITHOUT_DROPOUT)
    model.max_seq_length = job.max_tokens
    if job.mode == "lora":
        model.add_adapter(low_rank())
    if job.mini_batch:
        loss = CachedMultipleNegativesRankingLoss(
            model, scale=SCALE, mini_batch_size=job.mini_batch
        )
    else:
        loss = MultipleNegativesRankingLoss(model, scale=SCALE)
    with tempfile.TemporaryDirectory() as folder:
        options = SentenceTransformerTrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=job.precision == "bf16",
            seed=42,
            max_steps=job.steps,
            per_device_train_batch_size=job.batch,
            batch_sampler=in_file_order,
            learning_rate=LEARNING_RATES[job.mode],
            weight_decay=WEIGHT_DECAY,
            max_grad_norm=MAX_GRADIENT_NORM,
            lr_scheduler_type="linear",
            warmup_steps=job.warm_up,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        diary = Diary()
        trainer = Trainer(
            diary,
            model=model,
            args=options,
            train_dataset=Dataset.from_dict(read_columns(job)),
            loss=loss,
        )
        trainer.train()
    diary.write(job.output)


if __name__ == "__main__":
    main()
