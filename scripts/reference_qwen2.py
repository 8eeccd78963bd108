#!/usr/bin/env python3
"""Makes what coderag-encoder's tests of Qwen2, Qwen3, RoBERTa and dense layers compare with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install -r scripts/requirements-reference.txt
    /tmp/reference/bin/python scripts/reference_qwen2.py --fixtures

writes tiny models with random weights, as transformers and sentence-transformers save them, to
crates/coderag-encoder/tests/fixtures/architectures, each a directory that sentence-transformers loads, and
its vectors of texts.json there to vectors.safetensors: one tensor for a model, and one more for each prompt
or other change.

    /tmp/reference/bin/python scripts/dequantize_gguf.py MODEL.gguf DIRECTORY --sentence-transformers
    /tmp/reference/bin/python scripts/reference_qwen2.py DIRECTORY REFERENCE.safetensors
    CODERAG_QWEN2_REFERENCE=REFERENCE.safetensors cargo test --release --test qwen2 --test engine \\
        -- --nocapture a_real

writes the states and vectors of 32 texts of 1 to 1,500 tokens that transformers and sentence-transformers
compute in f32 with a real model, causal and bidirectional; about 41 MB for Qwen2.5-Coder-0.5B.

Each text is encoded alone, so no reference depends on padding. All texts are made here, with a fixed seed.
"""

import argparse
import json
import os
import random
import shutil
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import sentence_transformers
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import ByteLevel as ByteLevelProcessor
from tokenizers.processors import Sequence, TemplateProcessing
from tokenizers.trainers import BpeTrainer

FIXTURES = (
    Path(__file__).resolve().parent.parent / "crates/coderag-encoder/tests/fixtures/architectures"
)

VERSIONS = {
    "script": "scripts/reference_qwen2.py",
    "sentence-transformers": sentence_transformers.__version__,
    "transformers": transformers.__version__,
    "tokenizers": tokenizers.__version__,
    "torch": torch.__version__,
}

SUBJECTS = "customer invoice shipment warehouse sensor student library orchestra railway harbour".split()
VERBS = "returns counts stores removes groups joins filters compares updates prints".split()
COLUMNS = "id name price total city created_at is_open weight email rating".split()
REMARKS = [
    "Die Tabelle enthält für jede Bestellung genau eine Zeile.",
    "客户表里有多少行？每行一个客户。",
    "Où se trouve la bibliothèque, et combien de livres y a-t-il ?",
    "Сколько заказов было в прошлом месяце?",
    "That's what they'll ask: don't we've enough 📦 left?",
    "3.14159, 2,718 and 0xDEADBEEF are numbers; 2024-02-29T23:59:60Z is a moment.",
]


def passage(draw):
    """A sentence, a statement, a function or a remark."""
    one = lambda: draw.choice(SUBJECTS)
    a, b = draw.sample(COLUMNS, 2)
    kind = draw.randrange(6)
    if kind == 0:
        return f"Every {one()} of the {one()} {draw.choice(VERBS)} {draw.randrange(2, 9999)} {one()}s. "
    if kind == 1:
        return (
            f"SELECT {a}, count(*) AS {one()}s FROM {one()} WHERE {b} >= {draw.randrange(1000)} "
            f"GROUP BY {a} ORDER BY 2 DESC LIMIT {draw.randrange(1, 50)};\n"
        )
    if kind == 2:
        name = f"{draw.choice(VERBS)}_{one()}"
        return (
            f"def {name}({a}, {b}=None):\n    total = 0\n    for item in {a}:\n"
            f"        if item.{b} is not None and item.{b} != {draw.randrange(100)}:\n"
            f"            total += len(item.{a})\n    return total\n\n"
        )
    if kind == 3:
        return f"fn {a}(&self) -> Option<u{draw.choice([8, 16, 32, 64])}> {{ self.{b}.get(&{draw.randrange(9)}).copied() }}\n"
    if kind == 4:
        return f'CREATE TABLE "{one()}" (\n\t{a} INTEGER PRIMARY KEY,\n\t{b} TEXT NOT NULL\n);\n'
    return draw.choice(REMARKS) + " "


def random_text(seed):
    draw = random.Random(seed)
    while True:
        yield passage(draw)


# Real weights.

LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 80, 100, 127, 128, 129]
LENGTHS += [200, 255, 257, 400, 511, 513, 1000, 1500]


def text_of_length(tokenizer, count, seed):
    """A text of so many tokens."""
    while True:
        text = ""
        for part in random_text(seed):
            text += part
            ids = tokenizer(text, add_special_tokens=False).input_ids
            if len(ids) >= count:
                break
        text = tokenizer.decode(ids[:count], clean_up_tokenization_spaces=False)
        # Cut within a character or a word, it may become other tokens.
        if tokenizer(text, add_special_tokens=False).input_ids == ids[:count]:
            return text
        seed += 1000


def load_in_f32(directory):
    options = {"dtype": torch.float32}
    return SentenceTransformer(str(directory), device="cpu", model_kwargs=options)


def with_direction(directory, copy, is_causal):
    """A copy of a model directory, its weights linked, that is causal or bidirectional."""
    shutil.copytree(directory.resolve(), copy, copy_function=os.symlink)
    config = json.loads((directory / "config.json").read_text())
    (copy / "config.json").unlink()
    (copy / "config.json").write_text(json.dumps({**config, "is_causal": is_causal}))
    return copy


def real_reference(directory, output):
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    texts = [text_of_length(tokenizer, count, seed) for seed, count in enumerate(LENGTHS)]
    tensors = {}
    for kind, is_causal in [("causal", True), ("bidirectional", False)]:
        with tempfile.TemporaryDirectory() as folder:
            # Qwen2Config ignores an is_causal that is passed to it, but not one in the file.
            turned = with_direction(directory, Path(folder) / "model", is_causal)
            model = load_in_f32(turned)
        assert getattr(model[0].auto_model.config, "is_causal") is is_causal
        body = model[0].auto_model.eval()
        vectors = []
        for number, text in enumerate(texts):
            ids = tokenizer(text, return_tensors="pt").input_ids
            with torch.no_grad():
                states = body(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            tensors[f"ids.{number}"] = ids[0]
            tensors[f"{kind}.states.{number}"] = states
            vectors.append(model.encode([text], convert_to_tensor=True, show_progress_bar=False)[0])
            print(kind, number, len(ids[0]), "tokens")
        tensors[f"{kind}.vectors"] = torch.stack(vectors)
    tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"model": str(directory.resolve()), "texts": json.dumps(texts), **VERSIONS}
    save_file(tensors, output, metadata)


# Tiny models.

END = "<|endoftext|>"

TEXTS = [
    "",
    " ",
    "a",
    "ab",
    "SELECT",
    "How many singers do we have?",
    "e\u0301 é naïve Ångström 中文 🙂",
    "\r\n\t  two\n\n\nlines  ",
    "it's 12 o'clock, they'll SELECT a.b FROM c",
    "a <pad> in <mask> the <s> middle <|im_end|> of <|endoftext|> things [SEP] [PAD]",
    "".join(passage(random.Random(seed)) for seed in range(3)),
    "".join(passage(random.Random(seed)) for seed in range(10, 15)),
    # Beyond 512 tokens, and odd.
    "".join(passage(random.Random(seed)) for seed in range(20, 31)),
]


def byte_pairs(specials):
    """The vocabulary and merges of a byte-level BPE trained on TEXTS."""
    blank = transformers.Qwen2Tokenizer().backend_tokenizer
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    size = len(specials) + 256 + 24
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=specials,
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def qwen_tokenizer(ending):
    vocabulary, merges = byte_pairs([])
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=vocabulary, merges=merges, padding_side="left", model_max_length=131072
    )
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>"})
    if ending:
        tokenizer.backend_tokenizer.post_processor = Sequence(
            [
                ByteLevelProcessor(trim_offsets=False),
                TemplateProcessing(
                    single=f"$A {END}",
                    pair=f"$A $B {END}",
                    special_tokens=[(END, tokenizer.convert_tokens_to_ids(END))],
                ),
            ]
        )
    return tokenizer


def roberta_tokenizer(max_tokens):
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary, merges = byte_pairs(specials)
    return transformers.RobertaTokenizer(
        vocab=vocabulary, merges=merges, model_max_length=max_tokens
    )


def bert_tokenizer(folder, max_tokens):
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *"(),.;:*'?<>=\""]
    vocabulary += ["##" + letter for letter in letters] + ["select", "##ing", "中"]
    file = folder / "vocab.txt"
    file.write_text("\n".join(vocabulary) + "\n")
    return transformers.BertTokenizer(str(file), model_max_length=max_tokens)


def randomize(module, seed):
    """Weights large enough that attention is far from uniform, and biases and norms that matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            torch.nn.init.normal_(parameter, std=0.35)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter += 1.0


class Fixture:
    """A model directory and sentence-transformers' vectors."""

    def __init__(self, name, vectors):
        self.name, self.vectors = name, vectors
        self.directory = FIXTURES / name
        self.directory.mkdir(parents=True)

    def make(self, body, tokenizer, after, dtype, seed, max_tokens=None, shard="1GB", **prompts):
        """Saves with the real libraries and loads again; `after` are the modules behind the transformer."""
        randomize(body, seed)
        for number, module in enumerate(after):
            randomize(module, seed + 100 + number)
        directory = self.directory
        body.to(dtype).save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        transformer = Transformer(str(directory), max_seq_length=max_tokens)
        model = SentenceTransformer(modules=[transformer, *after], device="cpu", **prompts)
        model.save(str(directory), create_model_card=False)
        # Again, with the head where there is one, and in several files where asked.
        (directory / "model.safetensors").unlink()
        (directory / "vocab.txt").unlink(missing_ok=True)
        body.save_pretrained(directory, max_shard_size=shard)
        (directory / "generation_config.json").unlink(missing_ok=True)
        self.rewrite("tokenizer.json", lambda settings: None)

    def rewrite(self, file, change):
        path = self.directory / file
        settings = json.loads(path.read_text())
        change(settings)
        indent = None if file == "tokenizer.json" else 2
        path.write_text(json.dumps(settings, ensure_ascii=False, indent=indent) + "\n")

    def keep(self, model, suffix, prompt_name=None, empty=""):
        options = {"prompt_name": prompt_name, "convert_to_tensor": True, "show_progress_bar": False}
        rows = [model.encode([text or empty], **options) for text in TEXTS]
        self.vectors[f"{self.name} {suffix}".strip()] = torch.cat(rows).float().contiguous()

    def encode_bare(self, is_causal):
        """Without the files of sentence-transformers, which then chooses the pooling."""
        with tempfile.TemporaryDirectory() as folder:
            bare = with_direction(self.directory, Path(folder) / self.name, is_causal)
            for file in ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"]:
                (bare / file).unlink()
            self.keep(load_in_f32(bare), "bare causal" if is_causal else "bare bidirectional")

    def encode(self, prompt_names=(), empty=""):
        model = load_in_f32(self.directory)
        raw = tokenizers.Tokenizer.from_file(str(self.directory / "tokenizer.json"))
        for text in TEXTS:
            ids = model.tokenizer(text).input_ids
            assert raw.encode(text).ids == ids, (self.name, text)
        for prompt_name in [None, *prompt_names]:
            self.keep(model, prompt_name or "", prompt_name=prompt_name, empty=empty)
        size = sum(file.stat().st_size for file in self.directory.rglob("*") if file.is_file())
        print(f"{self.name}: {size} bytes, max_seq_length {model.max_seq_length}")


def qwen_settings(tokenizer, **settings):
    return {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 1200,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **settings,
    }


def tiny_models():
    if FIXTURES.exists():
        shutil.rmtree(FIXTURES)
    FIXTURES.mkdir(parents=True)
    vectors = {}

    # Shaped like bge-code-v1; two queries for a key, three key heads.
    tokenizer = qwen_tokenizer(ending=True)
    config = transformers.Qwen2Config(
        **qwen_settings(tokenizer, hidden_size=24, intermediate_size=19, num_hidden_layers=2),
        num_attention_heads=6,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    )
    fixture = Fixture("qwen2-last-token", vectors)
    fixture.make(
        transformers.Qwen2Model(config),
        tokenizer,
        [Pooling(24, "lasttoken"), Normalize()],
        torch.bfloat16,
        seed=1,
        max_tokens=101,
        prompts={"query": "<instruct>Find the table.\n<query>", "document": ""},
        default_prompt_name="query",
    )
    # The keys that transformers 4 and sentence-transformers 2 to 5 write.
    older = {"rope_theta": 1000000.0, "rope_scaling": None, "sliding_window": 64, "torch_dtype": "bfloat16"}
    gone = ["rope_parameters", "layer_types", "dtype"]

    def as_before(settings):
        settings.update(older)
        for key in gone:
            settings.pop(key, None)

    fixture.rewrite("config.json", as_before)
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens"]
    (fixture.directory / "1_Pooling/config.json").write_text(
        json.dumps(
            {
                "word_embedding_dimension": 24,
                **{f"pooling_mode_{mode}": False for mode in modes},
                "pooling_mode_lasttoken": True,
                "include_prompt": True,
            },
            indent=2,
        )
        + "\n"
    )
    fixture.encode(["document"])

    # Bidirectional, one key head for all queries, an untied head in the checkpoint, two files.
    config = transformers.Qwen2Config(
        **qwen_settings(tokenizer, hidden_size=16, intermediate_size=21, num_hidden_layers=2),
        num_attention_heads=4,
        num_key_value_heads=1,
        tie_word_embeddings=False,
        is_causal=False,
    )
    fixture = Fixture("qwen2-bidirectional", vectors)
    fixture.make(
        transformers.Qwen2ForCausalLM(config),
        tokenizer,
        [Pooling(16, "mean")],
        torch.bfloat16,
        seed=2,
        shard="12KB",
    )
    fixture.encode()
    fixture.encode_bare(is_causal=True)
    fixture.encode_bare(is_causal=False)

    # A key head for each query head, no special tokens, a dense layer. Nothing stands for an empty text in
    # sentence-transformers; here it is the padding token.
    tokenizer = qwen_tokenizer(ending=False)
    config = transformers.Qwen2Config(
        **qwen_settings(tokenizer, hidden_size=20, intermediate_size=23, num_hidden_layers=1),
        num_attention_heads=5,
        num_key_value_heads=5,
    )
    fixture = Fixture("qwen2-dense", vectors)
    fixture.make(
        transformers.Qwen2Model(config),
        tokenizer,
        [Pooling(20, "lasttoken"), Dense(20, 7), Normalize()],
        torch.float16,
        seed=3,
    )
    fixture.encode(empty=END)

    # Shaped like Qwen3-Embedding: heads wider together than a state, norms of queries and keys.
    tokenizer = qwen_tokenizer(ending=True)
    config = transformers.Qwen3Config(
        **qwen_settings(tokenizer, hidden_size=14, intermediate_size=27, num_hidden_layers=2),
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    )
    fixture = Fixture("qwen3-last-token", vectors)
    fixture.make(
        transformers.Qwen3Model(config),
        tokenizer,
        [Pooling(14, "lasttoken"), Normalize()],
        torch.bfloat16,
        seed=4,
        prompts={"query": "Instruct: Find the table\nQuery:", "document": ""},
    )
    fixture.encode(["query"])

    # Biases in all four projections, three queries for a key, odd sizes.
    config = transformers.Qwen3Config(
        **qwen_settings(tokenizer, hidden_size=15, intermediate_size=13, num_hidden_layers=1),
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=6,
        attention_bias=True,
        is_causal=False,
        rms_norm_eps=1e-5,
    )
    fixture = Fixture("qwen3-bias", vectors)
    fixture.make(
        transformers.Qwen3Model(config), tokenizer, [Pooling(15, "max")], torch.bfloat16, seed=5
    )
    fixture.encode()

    # RoBERTa: positions start behind the padding token's number.
    tokenizer = roberta_tokenizer(max_tokens=64)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=20,
        max_position_embeddings=66,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=tokenizer.pad_token_id,
    )
    fixture = Fixture("roberta", vectors)
    body = transformers.RobertaModel(config, add_pooling_layer=False)
    fixture.make(body, tokenizer, [Pooling(16, "mean"), Normalize()], torch.float16, seed=6)
    fixture.encode()

    # BERT with a pooler, and a dense layer without bias.
    fixture = Fixture("bert-dense", vectors)
    tokenizer = bert_tokenizer(fixture.directory, max_tokens=48)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=18,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=31,
        max_position_embeddings=48,
    )
    dense = Dense(18, 11, bias=False, activation_function=torch.nn.Identity())
    fixture.make(
        transformers.BertModel(config), tokenizer, [Pooling(18, "cls"), dense], torch.float16, seed=7
    )
    fixture.encode()

    (FIXTURES / "texts.json").write_text(json.dumps(TEXTS, indent=0) + "\n")
    save_file(vectors, FIXTURES / "vectors.safetensors", VERSIONS)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fixtures", action="store_true", help="make the tiny models")
    parser.add_argument("model", type=Path, nargs="?", help="a directory of dequantize_gguf.py")
    parser.add_argument("output", type=Path, nargs="?", help="the safetensors file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.fixtures:
        tiny_models()
    if arguments.model:
        if not arguments.output:
            parser.error("where to?")
        real_reference(arguments.model, arguments.output)


if __name__ == "__main__":
    main()
