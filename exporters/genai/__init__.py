"""Makes base packages that onnxruntime-genai opens: what it reads beside graph and weights."""
