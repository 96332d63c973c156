"""The file formats that both sides agree on: container, task bundles, base packages, heads."""
