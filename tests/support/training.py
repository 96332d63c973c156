"""Training in fewer steps than usual."""

from dataclasses import replace

from osd_edge.exporters.methods.osd_rd.refine import REFINEMENTS, Refinement

FEW = 20


def in_a_quarter() -> dict[str, Refinement]:
    """The refinements with a quarter of their steps, which are enough for tiny models."""
    return {name: replace(usual, steps=usual.steps // 4) for name, usual in REFINEMENTS.items()}


def in_few_steps() -> dict[str, Refinement]:
    """The refinements with so few steps that little is learned."""
    return {
        name: replace(usual, steps=min(usual.steps, FEW)) for name, usual in REFINEMENTS.items()
    }
