#!/usr/bin/env python3
"""Makes the PEFT adapters of the encoder tests, and the vectors that PEFT computes with them.

    python3 -m venv venv && venv/bin/pip install -r scripts/requirements-reference.txt
    venv/bin/python scripts/reference_lora.py

Needs small-bert and architectures/ in crates/coderag-encoder/tests/fixtures (scripts/reference_vectors.py,
scripts/reference_qwen2.py) and writes beside them:

    lora/<name>/               an adapter with random A and B, as PEFT or sentence-transformers saves it
    lora-vectors.safetensors   for each adapter, its vectors while it is live and after merge_and_unload,
                               [texts, dim], not normalised; the texts are every fourth of texts.json for
                               small-bert, and architectures/texts.json for the others
    lora/selection.json        which modules PEFT chooses for all kinds of settings, with rank and scaling

Each text is encoded alone. The versions of the libraries are in the metadata of the vectors.
"""

import json
import os
import shutil
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import safetensors.torch
import sentence_transformers
import torch
import transformers
from peft import LoraConfig, PeftModel, TaskType
from peft.tuners.lora import LoraLayer
from sentence_transformers import SentenceTransformer

FIXTURES = Path(__file__).resolve().parent.parent / "crates/coderag-encoder/tests/fixtures"


def randomise(model, seed):
    """Gives every A and B values that matter; PEFT's B is zero at first."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def tidy(directory, base, half):
    """Makes what PEFT saved the same on every run and every machine."""
    (directory / "README.md").unlink(missing_ok=True)
    path = directory / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = base
    for key in ["target_modules", "exclude_modules"]:
        if isinstance(config[key], list):
            config[key].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    if half:
        path = directory / "adapter_model.safetensors"
        tensors = {name: tensor.half() for name, tensor in safetensors.torch.load_file(path).items()}
        safetensors.torch.save_file(tensors, path, {"format": "pt"})


def bare(base):
    """The body alone; weights stored in half precision are widened, as coderag does."""
    return transformers.AutoModel.from_pretrained(base, dtype=torch.float32)


def save_from_peft(base, directory, config, seed):
    model = peft.get_peft_model(bare(base), config)
    randomise(model, seed)
    model.save_pretrained(directory)


def language_model(base):
    """A model with a head, whose body is a part of it."""
    family = json.loads((base / "config.json").read_text())["model_type"]
    kinds = {"bert": transformers.BertForMaskedLM, "qwen2": transformers.Qwen2ForCausalLM}
    return kinds[family].from_pretrained(base, dtype=torch.float32)


def save_from_language_model(base, directory, config, seed):
    """The adapter's names and patterns show where the body is."""
    model = peft.get_peft_model(language_model(base), config)
    randomise(model, seed)
    model.save_pretrained(directory)


def pipeline(base):
    return SentenceTransformer(str(base), device="cpu", model_kwargs={"dtype": torch.float32})


def save_from_sentence_transformers(base, directory, config, seed):
    """`add_adapter` and `save_pretrained`: the adapter lies among the files of the pipeline."""
    model = pipeline(base)
    model.add_adapter(config)
    randomise(model, seed)
    model.save_pretrained(str(directory), create_model_card=False)
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.startswith("adapter_"):
            path.unlink()


def save_from_wrapped_pipeline(base, directory, config, seed):
    """PEFT around the whole SentenceTransformer, whose body is `0.model`."""
    model = peft.get_peft_model(pipeline(base), config)
    randomise(model, seed)
    model.save_pretrained(directory)


FEATURES = TaskType.FEATURE_EXTRACTION
EMBEDDINGS = ["word_embeddings", "position_embeddings", "token_type_embeddings"]
BERT = "small-bert"
ROBERTA = "architectures/roberta"
QWEN2 = "architectures/qwen2-last-token"
BIDIRECTIONAL = "architectures/qwen2-bidirectional"

ADAPTERS = {
    "names": (
        BERT,
        save_from_peft,
        LoraConfig(task_type=FEATURES, r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["query", "value"]),
    ),
    # The pooler is a linear layer too.
    "all-linear-rank-stabilized": (
        BERT,
        save_from_peft,
        LoraConfig(task_type=FEATURES, r=3, lora_alpha=5, use_rslora=True, target_modules="all-linear"),
    ),
    "pattern": (
        BERT,
        save_from_peft,
        LoraConfig(
            task_type=FEATURES,
            r=4,
            lora_alpha=6,
            use_rslora=True,
            target_modules=r".*layer\.[01]\.(attention\.self\.(key|query)|output\.dense)",
            exclude_modules=r".*0\.attention\.self\.query",
            rank_pattern={r"layer.1.output.dense": 5, "key": 2},
            alpha_pattern={r"^encoder\.layer\.0\.output\.dense": 9, "layer.1.*key": 2.5},
        ),
    ),
    "embeddings": (
        BERT,
        save_from_peft,
        LoraConfig(task_type=FEATURES, r=2, lora_alpha=3, target_modules=[*EMBEDDINGS, "intermediate.dense"]),
    ),
    "blocks": (
        BERT,
        save_from_peft,
        LoraConfig(
            task_type=FEATURES,
            r=2,
            lora_alpha=4,
            target_modules=["dense"],
            exclude_modules=["attention.output.dense", "pooler.dense"],
            layers_to_transform=[1],
            layers_pattern="layer",
        ),
    ),
    "language-model": (
        BERT,
        save_from_language_model,
        LoraConfig(
            r=2,
            lora_alpha=4,
            target_modules=["key", "cls.predictions.transform.dense"],
            rank_pattern={r"^bert.encoder.layer.1.attention.self.key": 3},
        ),
    ),
    "sentence-transformers": (
        BERT,
        save_from_sentence_transformers,
        LoraConfig(task_type=FEATURES, r=2, lora_alpha=2, target_modules=["query", "attention.output.dense"]),
    ),
    "wrapped-pipeline": (
        BERT,
        save_from_wrapped_pipeline,
        LoraConfig(r=2, lora_alpha=2, target_modules=["value"]),
    ),
    "roberta": (
        ROBERTA,
        save_from_peft,
        LoraConfig(task_type=FEATURES, r=2, lora_alpha=2, target_modules=["position_embeddings", "key"]),
    ),
    # PEFT saves the whole embedding beside its A and B.
    "qwen2-embeddings": (
        QWEN2,
        save_from_peft,
        LoraConfig(
            task_type=FEATURES, r=2, lora_alpha=3, target_modules=["embed_tokens", "q_proj", "v_proj", "down_proj"]
        ),
    ),
    "qwen2-language-model": (
        QWEN2,
        save_from_language_model,
        LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=3,
            lora_alpha=4,
            use_rslora=True,
            target_modules="all-linear",
            exclude_modules=r"model\.layers\.1\.mlp\..*",
            rank_pattern={r"^model.layers.0.self_attn.o_proj": 2},
        ),
    ),
    "qwen2-shards": (
        BIDIRECTIONAL,
        save_from_peft,
        LoraConfig(task_type=FEATURES, r=2, lora_alpha=2, target_modules=r"layers\.\d+\.(.*[kv]_proj|mlp\.(gate|up)_proj)"),
    ),
}

# Stored in half precision.
HALF = ["sentence-transformers"]


SELECTIONS = [
    {"target_modules": ["query"]},
    {"target_modules": ["output.dense"]},
    {"target_modules": ["dense", "word_embeddings"]},
    {"target_modules": ["encoder.layer.0.attention.self.key", "value"], "layers_to_transform": [1]},
    {"target_modules": ["dense"], "layers_to_transform": 0},
    {"target_modules": ["dense", "query"], "layers_to_transform": [0, 1], "layers_pattern": ["block", "layer"]},
    {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [1]},
    {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    {"target_modules": ["q_proj", "lm_head", "embed_tokens"]},
    {"target_modules": "all-linear"},
    {"target_modules": "ALL-LINEAR", "exclude_modules": ["query", "k_proj", "pooler.dense"]},
    {"target_modules": r".*\.(query|q_proj)"},
    {"target_modules": r"(model\.)?(encoder\.)?layers?\.\d+\..*(value|v_proj)$"},
    {"target_modules": r"^(?:model\.)?layers\.0\..*_proj|.*layer\.1\..*dense"},
    {"target_modules": r"query|.*key|.*[kq]_proj", "exclude_modules": r".*\.0\..*"},
    {"target_modules": ["query", "key", "q_proj"], "rank_pattern": {"query": 3, "self_attn.q_proj": 5}, "r": 2},
    {
        "target_modules": ["query", "key", "q_proj", "k_proj"],
        "rank_pattern": {"layer.0.*": 7, "^layers.1.self_attn.q_proj": 4, r"model\.layers\.0\..*": 6, "uery": 9},
        "alpha_pattern": {"key|k_proj": 1.5, ".*": 3},
        "use_rslora": True,
    },
    {"target_modules": ["value", "v_proj"], "lora_alpha": 11, "r": 7, "use_rslora": True},
    {"target_modules": ["value", "v_proj"], "alpha_pattern": {"layers?.1.*": 32}},
]


def selections():
    """What PEFT makes of settings, on models of the two families and with and without a head."""
    sizes = {
        "vocab_size": 11,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
    }
    qwen2 = transformers.Qwen2Config(**sizes, num_key_value_heads=1)
    models = {
        "bert": lambda: transformers.BertModel(transformers.BertConfig(**sizes)),
        "qwen2": lambda: transformers.Qwen2Model(qwen2),
        "qwen2 language model": lambda: transformers.Qwen2ForCausalLM(qwen2),
    }
    kinds = {torch.nn.Linear: "linear", torch.nn.Embedding: "embedding"}
    modules, cases = {}, []
    for family, make in models.items():
        modules[family] = {
            name: kinds[type(module)] for name, module in make().named_modules() if type(module) in kinds
        }
        for settings in SELECTIONS:
            config = LoraConfig(**settings)
            stored = {key: value for key, value in settings.items()}
            stored |= {"peft_type": "LORA", "r": config.r, "lora_alpha": config.lora_alpha}
            try:
                model = peft.get_peft_model(make(), config).base_model.model
            except ValueError as error:
                # PEFT refuses settings that choose nothing.
                assert "not found in the base model" in str(error) or "layers_to_transform" in str(error), error
                chosen = {}
            else:
                chosen = {
                    name: [module.r["default"], module.scaling["default"]]
                    for name, module in model.named_modules()
                    if isinstance(module, LoraLayer)
                }
            cases.append({"model": family, "config": stored, "chosen": chosen})
    # The order of patterns counts, so keys are not sorted.
    lines = [json.dumps(case) for case in cases]
    text = json.dumps(modules, indent=0, sort_keys=True)
    text = '{"modules": ' + text + ',\n"cases": [\n' + ",\n".join(lines) + "\n]}\n"
    (FIXTURES / "lora").mkdir(exist_ok=True)
    (FIXTURES / "lora/selection.json").write_text(text)


def adapted(base, directory):
    """The base with the adapter from the folder, as PEFT loads it, and where to find the body in it."""
    names = safetensors.torch.load_file(directory / "adapter_model.safetensors")
    for prefix, model, inner in [
        ("bert.", language_model, lambda model: model.bert),
        ("model.", language_model, lambda model: model.model),
        ("0.", pipeline, lambda model: model[0].model),
        ("", bare, lambda model: model),
    ]:
        if any(name.startswith(f"base_model.model.{prefix}") for name in names):
            return PeftModel.from_pretrained(model(base), directory), inner


def encode(base, body):
    texts = json.loads((FIXTURES / "architectures/texts.json").read_text())
    if base.name == "small-bert":
        texts = json.loads((FIXTURES / "texts.json").read_text())[::4]
    model = pipeline(base)
    model[0].model = body.eval()
    options = {"convert_to_tensor": True, "show_progress_bar": False, "normalize_embeddings": False}
    pooled = SentenceTransformer(modules=[model[0], model[1]], device="cpu")
    return torch.cat([pooled.encode([text], **options) for text in texts])


def main():
    torch.set_num_threads(1)
    selections()
    vectors = {}
    for seed, (name, (base, save, config)) in enumerate(ADAPTERS.items()):
        base = FIXTURES / base
        directory = FIXTURES / "lora" / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        # Heads that the base lacks are drawn, and drawn alike when the adapter is loaded.
        torch.manual_seed(seed)
        save(base, directory, config, seed)
        tidy(directory, base.name, name in HALF)
        torch.manual_seed(seed)
        model, inner = adapted(base, directory)
        live = encode(base, inner(model.get_base_model()))
        merged = encode(base, inner(model.merge_and_unload()))
        without = encode(base, bare(base))
        vectors |= {f"{name} live": live, f"{name} merged": merged, f"{base.name} without": without}
        print(
            f"{name}: live and merged differ by {(live - merged).abs().max():.1e}, "
            f"from the base by {(live - without).abs().max():.1e}"
        )
    metadata = {
        "script": "scripts/reference_lora.py",
        "peft": peft.__version__,
        "sentence-transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    vectors = {name: tensor.contiguous() for name, tensor in vectors.items()}
    safetensors.torch.save_file(vectors, FIXTURES / "lora-vectors.safetensors", metadata)


if __name__ == "__main__":
    main()
