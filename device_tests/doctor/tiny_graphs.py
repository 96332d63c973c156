"""ONNX graphs of one linear layer in int8 and in int4, written without the package `onnx`.

A device has no such package, so the few protobuf fields that these graphs need are written here, by
their numbers in onnx.proto. The layers are those of a base package with such weights.
"""

import struct
from collections.abc import Sequence

D, N = 32, 2  # inputs, which are one block of int4, and outputs
# Whole numbers that both roundings of the input leave as they are: 255 steps of 1 for int8, and
# at most 127 for int4, so that the products are exact.
INT8_X = [-100, 155, *range(2, D)]
INT4_X = [-127, 127, *range(2, D)]
# The layer's weights `[n, d]`, from -8 to 7.
WEIGHT = [[(i + 5 * n) % 16 - 8 for i in range(D)] for n in range(N)]

_FLOAT, _UINT8, _INT8 = 1, 2, 3  # TensorProto.DataType
_INT_ATTRIBUTE = 2  # AttributeProto.AttributeType


def int8_graph() -> bytes:
    """Gives a graph from `x` `[1, d]` to `y` `[1, n]`: the input rounded, products in int8."""
    columns = struct.pack(f"{D * N}b", *(WEIGHT[n][i] for i in range(D) for n in range(N)))
    nodes = [
        _node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero"]),
        _node("MatMulInteger", ["codes", "weight", "zero", "zeros"], ["whole"]),
        _node("Cast", ["whole"], ["wide"], to=_FLOAT),
        _node("Mul", ["wide", "scale"], ["y"]),
    ]
    zeros = _tensor("zeros", _INT8, [N], bytes(N))
    return _model(nodes, [_tensor("weight", _INT8, [D, N], columns), zeros])


def int4_graph() -> bytes:
    """Gives a graph from `x` `[1, d]` to `y` `[1, n]`: weights in int4, two in a byte."""
    packed = bytes(row[i] + 8 | row[i + 1] + 8 << 4 for row in WEIGHT for i in range(0, D, 2))
    settings = {"K": D, "N": N, "bits": 4, "block_size": D, "accuracy_level": 4}
    node = _node("MatMulNBits", ["x", "weight", "scales"], ["y"], "com.microsoft", **settings)
    scales = _tensor("scales", _FLOAT, [N], struct.pack(f"<{N}f", *[1.0] * N))
    return _model([node], [_tensor("weight", _UINT8, [N, 1, D // 2], packed), scales])


def _model(nodes: Sequence[bytes], initializers: Sequence[bytes]) -> bytes:
    graph = b"".join(_part(1, node) for node in nodes) + _part(2, b"layer")
    graph += b"".join(_part(5, one) for one in initializers)
    graph += _part(11, _value("x", D)) + _part(12, _value("y", N))
    opsets = [_whole(2, 17), _part(1, b"com.microsoft") + _whole(2, 1)]
    return _whole(1, 8) + _part(7, graph) + b"".join(_part(8, opset) for opset in opsets)


def _node(
    operator: str, inputs: list[str], outputs: list[str], domain: str = "", **settings: int
) -> bytes:
    parts = [_part(1, name.encode()) for name in inputs]
    parts += [_part(2, name.encode()) for name in outputs]
    parts.append(_part(4, operator.encode()))
    for name, value in settings.items():
        number = _part(1, name.encode()) + _whole(3, value) + _whole(20, _INT_ATTRIBUTE)
        parts.append(_part(5, number))
    return b"".join([*parts, _part(7, domain.encode())])


def _tensor(name: str, kind: int, shape: list[int], raw: bytes) -> bytes:
    sizes = b"".join(_whole(1, size) for size in shape)
    return sizes + _whole(2, kind) + _part(8, name.encode()) + _part(9, raw)


def _value(name: str, width: int) -> bytes:
    shape = b"".join(_part(1, _whole(1, size)) for size in (1, width))
    return _part(1, name.encode()) + _part(2, _part(1, _whole(1, _FLOAT) + _part(2, shape)))


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
