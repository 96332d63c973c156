"""The sites of a task, each with its statistics and whitened columns: the costly part of osd-rd.

Layers do not depend on one another, so they are decomposed wherever an executor has room, in
threads or processes. What is finished may stay in a work folder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from osd_edge.exporters.methods.factorize import site_delta
from osd_edge.exporters.methods.osd_rd.finished_work import FinishedWork
from osd_edge.exporters.methods.osd_rd.statistics import Statistics
from osd_edge.exporters.methods.osd_rd.whitening import Columns, whitened_svd
from osd_edge.exporters.methods.source import Source
from osd_edge.exporters.models.backbone import Backbone
from osd_edge.exporters.models.checkpoint import Checkpoint


class LayerStatistics(Protocol):
    """Statistics, in memory or in a file."""

    def load(self) -> Statistics:
        """The statistics themselves."""
        ...


@dataclass(frozen=True)
class _Job:
    """All that decomposing one layer takes; it can be sent to another process."""

    backbone: Backbone
    tuned: Checkpoint
    name: str
    statistics: LayerStatistics
    work: FinishedWork | None
    threads: int


def statistics_of(
    names: Sequence[str],
    collect: Callable[[], Mapping[str, Statistics]],
    work: FinishedWork | None = None,
) -> dict[str, LayerStatistics]:
    """Statistics by layer name; `collect` gives them where `work` does not hold them all."""
    if work is not None:
        held = {name: work.statistics(name) for name in names}
        finished = {name: own for name, own in held.items() if own is not None}
        if len(finished) == len(held):
            return dict(finished)
    found = dict(collect())
    statistics: dict[str, LayerStatistics] = {}
    for name in names:
        own = found.pop(name, None) or Statistics()
        statistics[name] = own if work is None or own.a is None else work.put_statistics(name, own)
    return statistics


def columns_of(
    source: Source, statistics: Mapping[str, LayerStatistics], work: FinishedWork | None = None
) -> dict[str, Columns]:
    """Whitened columns of the deltas of the layers in `statistics`, by name."""
    models, executor, threads = source.models, source.executor, torch.get_num_threads()
    jobs = [
        _Job(models.backbone, models.tuned, name, own, work, threads)
        for name, own in statistics.items()
    ]
    results = map(_decomposed, jobs) if executor is None else executor.map(_decomposed, jobs)
    return dict(zip(statistics, source.progress(results, "Whitened SVD", len(jobs)), strict=True))


def _decomposed(job: _Job) -> Columns:
    finished = None if job.work is None else job.work.columns(job.name)
    if finished is not None:
        return finished
    # A worker's products are then added up in the same order as the caller's own.
    if torch.get_num_threads() != job.threads:
        torch.set_num_threads(job.threads)
    product = job.tuned.low_rank(f"{job.name}.weight")
    delta = site_delta(job.backbone, job.tuned, job.name) if product is None else product
    assert delta is not None
    columns = whitened_svd(delta, job.statistics.load())
    return columns if job.work is None else job.work.put_columns(job.name, columns)
