"""Programs of their own, run with `python -m` on a device, that count what no plan asks for."""
