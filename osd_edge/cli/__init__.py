"""The command line: the one place that may see workstation and device, each imported lazily."""
