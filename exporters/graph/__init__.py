"""The ONNX graph of a backbone, with delta branches and stored weights."""
