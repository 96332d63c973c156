"""Tensors of a graph file whose data are elsewhere: found wherever they stand, or refused."""

from collections.abc import Callable, Iterator
from typing import Any

import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto

from osd_edge.formats.package.graph_walk import ENDLESS, ExternalTensor, external_tensors
from osd_edge.formats.package.onnx_fields import ELEMENT_BITS, FIELDS
from tests.support.packages import SMALL

GRAPH = (SMALL / "model.onnx").read_bytes()
# Fields that no base package needs: a graph with one of them is refused.
LEFT_OUT = {
    "ModelProto": {"functions", "training_info", "configuration"},
    "NodeProto": {"device_configurations"},
    "TensorProto": {"segment"},
    "TypeProto": {"opaque_type"},
}
TYPES = {
    "int": {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT64}
    | {FieldDescriptor.TYPE_ENUM},
    "float": {FieldDescriptor.TYPE_FLOAT},
    "double": {FieldDescriptor.TYPE_DOUBLE},
    "string": {FieldDescriptor.TYPE_STRING},
    "bytes": {FieldDescriptor.TYPE_BYTES},
}


def outside(*entries: tuple[str, str], dims: tuple[int, ...] = (2, 3)) -> TensorProto:
    """A tensor of fp32 whose data are in `weights`, at byte 8, unless `entries` say otherwise."""
    tensor = TensorProto(name="w", dims=dims, data_type=1, data_location="EXTERNAL")
    for key, value in entries or (("location", "weights"), ("offset", "8"), ("length", "24")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def in_attribute(**fields: Any) -> GraphProto:
    graph = GraphProto()
    graph.node.add(op_type="Constant").attribute.append(AttributeProto(name="value", **fields))
    return graph


SPARSE = SparseTensorProto(values=outside(), dims=[9])
PLACES: dict[str, ModelProto] = {
    "initializer": ModelProto(graph=GraphProto(initializer=[outside()])),
    "sparse initializer": ModelProto(graph=GraphProto(sparse_initializer=[SPARSE])),
    "its indices": ModelProto(
        graph=GraphProto(sparse_initializer=[SparseTensorProto(indices=outside())])
    ),
    "attribute": ModelProto(graph=in_attribute(t=outside())),
    "attributes": ModelProto(graph=in_attribute(tensors=[TensorProto(), outside()])),
    "sparse attribute": ModelProto(graph=in_attribute(sparse_tensor=SPARSE)),
    "sparse attributes": ModelProto(graph=in_attribute(sparse_tensors=[SPARSE])),
    "graph": ModelProto(graph=in_attribute(g=GraphProto(initializer=[outside()]))),
    "graphs": ModelProto(graph=in_attribute(graphs=[GraphProto(), in_attribute(t=outside())])),
    "graph in graph": ModelProto(graph=in_attribute(g=in_attribute(g=in_attribute(t=outside())))),
}


@pytest.mark.parametrize("where", PLACES)
def test_a_tensor_is_found_wherever_it_stands(where: str) -> None:
    data = PLACES[where].SerializeToString()
    assert list(external_tensors(data)) == [ExternalTensor("weights", 8, 24)]


def test_only_what_lies_elsewhere_is_found() -> None:
    """The graph of a small package, of which other tensors are in the file."""
    model = ModelProto.FromString(GRAPH)
    found = list(external_tensors(GRAPH))
    assert len(found) == len([t for t in model.graph.initializer if t.data_location == 1]) > 9
    assert {tensor.location for tensor in found} == {"model.onnx.data"}


def test_the_fields_are_those_that_onnx_defines() -> None:
    known: dict[str, Any] = {}
    for message in _messages(ModelProto.DESCRIPTOR):
        known[message.full_name.removeprefix("onnx.").removeprefix("TensorProto.")] = message
    for name, fields in FIELDS.items():
        theirs = {field.number: field for field in known[name].fields}
        left_out = LEFT_OUT.get(name, set())
        assert {theirs[n].name for n in theirs.keys() - fields.keys()} == left_out, name
        for number, (field, kind) in fields.items():
            defined = theirs[number]
            assert field == defined.name
            assert kind.endswith("*") == defined.is_repeated
            of = kind.removesuffix("*")
            if of in FIELDS:
                assert defined.message_type is known[of]
            else:
                assert defined.type in TYPES[of]


def test_sizes_of_elements_are_those_that_onnx_defines() -> None:
    for number, bits in ELEMENT_BITS.items():
        name = TensorProto.DataType.Name(number)
        packed = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
        whole = 8 * onnx.helper.tensor_dtype_to_np_dtype(number).itemsize
        assert bits == packed.get(name, whole), name


@pytest.mark.parametrize(
    ("entries", "dims"),
    [
        ((("location", "a"), ("location", "b")), (1,)),
        ((("location", "a"), ("offset", "0"), ("offset", "0")), (1,)),
        ((("location", "a"), ("checksum", "0")), (1,)),
        ((("location", "a"), ("prepacked_0", "x|0;9")), (1,)),
        *(((("location", "a"), ("offset", n)), (1,)) for n in ("-1", "+1", "1e3", " 1", "", "٣")),
        ((("location", "a"), ("offset", "9" * 16)), (1,)),
        ((("location", "a"), ("offset", "00")), (1,)),
        ((("location", "a"), ("length", "5")), (1,)),
        ((("location", "a"), ("length", "")), (1,)),
        ((("location", "a"),), (-1,)),
        ((("location", "a"),), (-1, -1)),
        ((("location", "a"),), (2**40, 2**40)),
    ],
)
def test_a_place_that_is_malformed_is_refused(
    entries: tuple[tuple[str, str], ...], dims: tuple[int, ...]
) -> None:
    graph = GraphProto(initializer=[outside(*entries, dims=dims)])
    with pytest.raises(ValueError, match="a tensor"):
        list(external_tensors(ModelProto(graph=graph).SerializeToString()))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.ClearField("data_location"),
        lambda tensor: tensor.ClearField("external_data"),
        lambda tensor: setattr(tensor, "data_type", TensorProto.STRING),
        lambda tensor: setattr(tensor, "data_type", TensorProto.UNDEFINED),
        lambda tensor: setattr(tensor, "data_type", 999),
    ],
)
def test_a_tensor_that_is_half_elsewhere_is_no_weight(change: Callable[[Any], None]) -> None:
    """Without entries it has no location, which no file of a package has as its name."""
    tensor = outside()
    change(tensor)
    data = ModelProto(graph=GraphProto(initializer=[tensor])).SerializeToString()
    try:
        (found,) = external_tensors(data)
    except ValueError:
        return
    assert found.location == ""


def field(number: int, data: bytes) -> bytes:
    """A field of a message, of fewer than 128 bytes."""
    return bytes([number << 3 | 2, len(data)]) + data


MALFORMED = {
    "a field that is not known": field(7, b"") + b"\xf8\x07\x00",  # 127
    "functions": ModelProto(functions=[onnx.FunctionProto(name="f")]).SerializeToString(),
    **{
        f"the operator {name}": ModelProto(
            graph=GraphProto(node=[onnx.NodeProto(op_type=name)])
        ).SerializeToString()
        for name in sorted(ENDLESS)
    },
    "training": ModelProto(training_info=[onnx.TrainingInfoProto()]).SerializeToString(),
    "a group": field(7, b"\x0b\x0c"),
    "a message as a number": b"\x38\x00",
    "two graphs, which a parser makes one of": field(7, b"") * 2,
    "two tensors in one attribute": field(7, field(1, field(5, field(5, b"") * 2))),
    "two places": field(7, field(5, b"\x70\x00\x70\x01")),
    "a place that is neither": field(7, field(5, b"\x70\x02")),
    "a place of 33 bits, of which a parser reads 32": field(
        7, field(5, b"\x70\x81\x80\x80\x80\x10")
    ),
    "text that is not UTF-8": field(7, field(1, field(1, b"\xff"))),
    "text that is half a pair": field(7, field(2, b"\xed\xa0\x80")),
    "a length beyond the end": b"\x3a\x05",
    "a length beyond the message": field(7, b"\x0a\x05") + b"12345",
    "a number without an end": b"\x08" + b"\xff" * 20,
    "a float beyond the end": field(7, field(1, field(5, b"\x15\x00"))),
    "an endless file of zeros": bytes(1000),
    "a tensor of 65 dimensions": ModelProto(
        graph=GraphProto(initializer=[TensorProto(data_type=1, dims=[1] * 65)])
    ).SerializeToString(),
    "a tensor of more bytes than can be counted": ModelProto(
        graph=GraphProto(initializer=[TensorProto(data_type=1, dims=[2**63 - 1])])
    ).SerializeToString(),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_file_is_refused(what: str) -> None:
    with pytest.raises(ValueError):
        list(external_tensors(MALFORMED[what]))


def test_messages_without_end_are_refused() -> None:
    graph = GraphProto(name="g")
    for _ in range(30):
        graph = in_attribute(g=graph)
    with pytest.raises(ValueError, match="in one another"):
        list(external_tensors(ModelProto(graph=graph).SerializeToString()))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_graph_or_refused(data: bytes) -> None:
    _same_as_onnx(data)


@given(st.data())
def test_a_damaged_graph_is_read_as_onnx_reads_it_or_refused(data: st.DataObject) -> None:
    """This reader finds all tensors that onnx's parser finds in a graph that it accepts."""
    name = data.draw(st.sampled_from(["small package", *PLACES]))
    graph = bytearray(PLACES[name].SerializeToString() if name in PLACES else GRAPH)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(graph) - 1))
        new = data.draw(st.binary(max_size=3))
        graph[at : at + data.draw(st.integers(0, 3))] = new
    _same_as_onnx(bytes(graph))


@given(st.sampled_from(sorted(PLACES)), st.integers(0, 400), st.integers(0, 255))
@example("initializer", 4, 0x70)
def test_a_byte_of_a_small_graph(name: str, at: int, byte: int) -> None:
    graph = bytearray(PLACES[name].SerializeToString())
    graph[at % len(graph)] = byte
    _same_as_onnx(bytes(graph))


def _same_as_onnx(data: bytes) -> None:
    try:
        found = [tensor.location for tensor in external_tensors(data)]
    except ValueError:
        return
    try:
        model = ModelProto.FromString(data)
    except DecodeError:  # packed numbers are skipped here: nobody opens the file then
        return
    theirs = [
        next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        for tensor in _tensors(model)
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data
    ]
    assert sorted(found) == sorted(theirs)


def _tensors(message: Message) -> Iterator[TensorProto]:
    if isinstance(message, TensorProto):
        yield message
    for described, value in message.ListFields():
        if described.message_type is not None:
            for one in value if described.is_repeated else [value]:
                yield from _tensors(one)


def _messages(message: Any, seen: set[str] | None = None) -> Iterator[Any]:
    seen = set() if seen is None else seen
    if message.full_name not in seen:
        seen.add(message.full_name)
        yield message
        for described in message.fields:
            if described.message_type is not None:
                yield from _messages(described.message_type, seen)
