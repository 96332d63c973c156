"""Modules that each play one scenario in a fresh process, by `run(job, sheet)`.

onnxruntime gives little memory back and caches much, so what one scenario did must not be in
another's figures. `plan/scenarios.py` lists them.
"""
