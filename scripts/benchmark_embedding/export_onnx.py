"""Exports the BERT of a sentence-transformers directory to ONNX, as a user of ONNX Runtime would.

    export_onnx.py MODEL_DIRECTORY OUTPUT_DIRECTORY

    plain.onnx         torch.onnx.export with the inputs that optimum gives it, last hidden states out
    fused.onnx         the same through onnxruntime.transformers.optimizer for BERT
    plain-int8.onnx    quantize_dynamic of each: signed 8-bit weights with a scale for each output, which
    fused-int8.onnx    is as fast as its default of one scale and far more exact
"""

import argparse
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from transformers import AutoModel

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


class LastHiddenState(torch.nn.Module):
    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask, token_type_ids):
        output = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        )
        return output.last_hidden_state


def export(model, path):
    # The optimizer's patterns are those of attention written out.
    bert = AutoModel.from_pretrained(model, attn_implementation="eager").eval()
    example = torch.ones(2, 9, dtype=torch.long)
    axes = {0: "batch", 1: "tokens"}
    with torch.no_grad():
        torch.onnx.export(
            LastHiddenState(bert),
            (example, example, torch.zeros_like(example)),
            path,
            dynamo=False,
            opset_version=17,
            input_names=INPUTS,
            output_names=["last_hidden_state"],
            dynamic_axes={name: axes for name in [*INPUTS, "last_hidden_state"]},
        )
    onnx.checker.check_model(path)
    return bert.config


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    paths = {name: str(arguments.output / f"{name}.onnx") for name in ["plain", "fused"]}

    config = export(arguments.model, paths["plain"])
    fused = optimizer.optimize_model(
        paths["plain"],
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
    )
    fused.save_model_to_file(paths["fused"])
    fusions = fused.get_fused_operator_statistics()
    print("fused:", {name: count for name, count in fusions.items() if count}, flush=True)
    for path in paths.values():
        quantized = path.removesuffix(".onnx") + "-int8.onnx"
        # Shape inference does not know the fused operators; all that they return is f32.
        known = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(
            path, quantized, weight_type=QuantType.QInt8, per_channel=True, extra_options=known
        )


if __name__ == "__main__":
    main()
