"""Tasks written as adapters for other programs: onnxruntime and PEFT."""
