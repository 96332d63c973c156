"""Finds what is installed, which commands can run and what this machine can do, for bug reports.

Standard library only: it has to work where numpy or onnxruntime are broken, which are tried in a
process of their own.
"""
