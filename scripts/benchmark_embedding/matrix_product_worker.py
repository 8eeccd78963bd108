"""What the machine reaches in matrix products of 2048 x 2048: the yardstick of the profile.

    matrix_product_worker.py THREADS

f32 and bf16 are torch.mm; int8 is ONNX Runtime's MatMulInteger, unsigned by signed. The order
`{"order": "peak", "calls": 8}` answers with the GFLOP/s (for int8 10^9 operations/s) of the fastest call.
"""

import sys

import numpy
import onnxruntime
import torch
from onnx import TensorProto, helper
from orders import repeated, serve

SIZE = 2048


def integer_product(threads):
    """A call of MatMulInteger whose right side, as a layer's weights, is known beforehand."""
    random = numpy.random.default_rng(1)
    left = random.integers(0, 256, (SIZE, SIZE), numpy.uint8)
    right = random.integers(-127, 128, (SIZE, SIZE), numpy.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", TensorProto.UINT8, [SIZE, SIZE])],
        [helper.make_tensor_value_info("product", TensorProto.INT32, [SIZE, SIZE])],
        [helper.make_tensor("right", TensorProto.INT8, right.shape, right.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"left": left})


def main():
    threads = int(sys.argv[1])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    f32 = [torch.randn(SIZE, SIZE) for _ in range(2)]
    bf16 = [matrix.bfloat16() for matrix in f32]
    products = {
        "f32": lambda: torch.mm(*f32),
        "bf16": lambda: torch.mm(*bf16),
        "int8": integer_product(threads),
    }

    def peak(calls):
        rates = {}
        for name, product in products.items():
            product()
            rates[name] = 2 * SIZE**3 / min(repeated(product, calls)) / 1e9
        return rates

    serve({}, {"peak": peak})


if __name__ == "__main__":
    main()
