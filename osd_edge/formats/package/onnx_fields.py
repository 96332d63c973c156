"""The fields of an ONNX graph file, by message and number, as `onnx.proto` defines them.

A base package's graph may have these and no others: a field that is not known here may hold a
tensor that nobody looks at. Left out is what no base package needs: functions, training, sharding
among devices, segments of tensors, opaque types.
"""

FILE = "ModelProto"
TENSOR = "TensorProto"
ENTRY = "StringStringEntryProto"

# Number → name and type: int (a varint), float, double, string (UTF-8), bytes, or a message. With
# a star there may be any number of them, and numbers may be packed.
FIELDS: dict[str, dict[int, tuple[str, str]]] = {
    "ModelProto": {
        1: ("ir_version", "int"),
        2: ("producer_name", "string"),
        3: ("producer_version", "string"),
        4: ("domain", "string"),
        5: ("model_version", "int"),
        6: ("doc_string", "string"),
        7: ("graph", "GraphProto"),
        8: ("opset_import", "OperatorSetIdProto*"),
        14: ("metadata_props", "StringStringEntryProto*"),
    },
    "OperatorSetIdProto": {1: ("domain", "string"), 2: ("version", "int")},
    "StringStringEntryProto": {1: ("key", "string"), 2: ("value", "string")},
    "GraphProto": {
        1: ("node", "NodeProto*"),
        2: ("name", "string"),
        5: ("initializer", "TensorProto*"),
        10: ("doc_string", "string"),
        11: ("input", "ValueInfoProto*"),
        12: ("output", "ValueInfoProto*"),
        13: ("value_info", "ValueInfoProto*"),
        14: ("quantization_annotation", "TensorAnnotation*"),
        15: ("sparse_initializer", "SparseTensorProto*"),
        16: ("metadata_props", "StringStringEntryProto*"),
    },
    "NodeProto": {
        1: ("input", "string*"),
        2: ("output", "string*"),
        3: ("name", "string"),
        4: ("op_type", "string"),
        5: ("attribute", "AttributeProto*"),
        6: ("doc_string", "string"),
        7: ("domain", "string"),
        8: ("overload", "string"),
        9: ("metadata_props", "StringStringEntryProto*"),
    },
    "AttributeProto": {
        1: ("name", "string"),
        2: ("f", "float"),
        3: ("i", "int"),
        4: ("s", "bytes"),
        5: ("t", "TensorProto"),
        6: ("g", "GraphProto"),
        7: ("floats", "float*"),
        8: ("ints", "int*"),
        9: ("strings", "bytes*"),
        10: ("tensors", "TensorProto*"),
        11: ("graphs", "GraphProto*"),
        13: ("doc_string", "string"),
        14: ("tp", "TypeProto"),
        15: ("type_protos", "TypeProto*"),
        20: ("type", "int"),
        21: ("ref_attr_name", "string"),
        22: ("sparse_tensor", "SparseTensorProto"),
        23: ("sparse_tensors", "SparseTensorProto*"),
    },
    "TensorProto": {
        1: ("dims", "int*"),
        2: ("data_type", "int"),
        4: ("float_data", "float*"),
        5: ("int32_data", "int*"),
        6: ("string_data", "bytes*"),
        7: ("int64_data", "int*"),
        8: ("name", "string"),
        9: ("raw_data", "bytes"),
        10: ("double_data", "double*"),
        11: ("uint64_data", "int*"),
        12: ("doc_string", "string"),
        13: ("external_data", "StringStringEntryProto*"),
        14: ("data_location", "int"),
        16: ("metadata_props", "StringStringEntryProto*"),
    },
    "SparseTensorProto": {
        1: ("values", "TensorProto"),
        2: ("indices", "TensorProto"),
        3: ("dims", "int*"),
    },
    "TensorAnnotation": {
        1: ("tensor_name", "string"),
        2: ("quant_parameter_tensor_names", "StringStringEntryProto*"),
    },
    "ValueInfoProto": {
        1: ("name", "string"),
        2: ("type", "TypeProto"),
        3: ("doc_string", "string"),
        4: ("metadata_props", "StringStringEntryProto*"),
    },
    "TypeProto": {
        1: ("tensor_type", "TypeProto.Tensor"),
        4: ("sequence_type", "TypeProto.Sequence"),
        5: ("map_type", "TypeProto.Map"),
        6: ("denotation", "string"),
        8: ("sparse_tensor_type", "TypeProto.SparseTensor"),
        9: ("optional_type", "TypeProto.Optional"),
    },
    "TypeProto.Tensor": {1: ("elem_type", "int"), 2: ("shape", "TensorShapeProto")},
    "TypeProto.SparseTensor": {1: ("elem_type", "int"), 2: ("shape", "TensorShapeProto")},
    "TypeProto.Sequence": {1: ("elem_type", "TypeProto")},
    "TypeProto.Optional": {1: ("elem_type", "TypeProto")},
    "TypeProto.Map": {1: ("key_type", "int"), 2: ("value_type", "TypeProto")},
    "TensorShapeProto": {1: ("dim", "TensorShapeProto.Dimension*")},
    "TensorShapeProto.Dimension": {
        1: ("dim_value", "int"),
        2: ("dim_param", "string"),
        3: ("denotation", "string"),
    },
}

# Bits of an element by `data_type`; strings (8) have no size, so they cannot lie in another file.
ELEMENT_BITS = {
    **dict.fromkeys((1, 6, 12), 32),  # float, int32, uint32
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),  # uint8, int8, bool, float8 of five kinds
    **dict.fromkeys((4, 5, 10, 16), 16),  # uint16, int16, fp16, bf16
    **dict.fromkeys((7, 11, 13, 14), 64),  # int64, double, uint64, complex64
    15: 128,  # complex128
    **dict.fromkeys((21, 22, 23), 4),  # uint4, int4, float4
    **dict.fromkeys((25, 26), 2),  # uint2, int2
}
