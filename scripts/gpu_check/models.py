"""Sentence-transformers directories with random weights, in the sizes of well-known models."""

import json
import pathlib

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast, Qwen2Config

TOKENS = 128
WORDS = 20_000


def bert(hidden, layers, heads):
    return BertConfig(
        vocab_size=30_522,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def qwen2(hidden, layers, heads, intermediate):
    return Qwen2Config(
        vocab_size=151_936,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        intermediate_size=intermediate,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
    )


CONFIGS = {
    "MiniLM": lambda: bert(384, 6, 12),
    "bge-large": lambda: bert(1024, 24, 16),
    "Qwen2.5-0.5B": lambda: qwen2(896, 24, 14, 4864),
    "Qwen2.5-1.5B": lambda: qwen2(1536, 28, 12, 8960),
}


def tokenizer():
    """One token for each of `w0`, `w1`, ..., with one before and one behind all."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    vocabulary |= {f"w{word}": 4 + word for word in range(WORDS)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def make(name, folder):
    """Writes a model, unless it is there."""
    target = pathlib.Path(folder, name)
    if (target / "modules.json").exists():
        return target
    torch.manual_seed(1)
    config = CONFIGS[name]()
    model = AutoModel.from_config(config)
    model.save_pretrained(target)
    tokenizer().save_pretrained(target)
    pooling = target / "1_Pooling"
    pooling.mkdir(exist_ok=True)
    last = config.model_type == "qwen2"
    settings = {
        "word_embedding_dimension": config.hidden_size,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": not last,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_lasttoken": last,
    }
    (pooling / "config.json").write_text(json.dumps(settings))
    (target / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": TOKENS, "do_lower_case": False})
    )
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    # Last, so that a model that was not finished is made again.
    (target / "modules.json").write_text(json.dumps(modules))
    return target
