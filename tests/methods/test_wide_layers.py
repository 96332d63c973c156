"""Wide layers are decomposed in part, and come near to the whole decompositions and moments."""

import pytest
import torch

from osd_edge.exporters.methods.osd_rd import leading, moments, whitening
from osd_edge.exporters.methods.osd_rd.feedback import metric_of
from osd_edge.exporters.methods.osd_rd.moments import RunningMoment, Sketch, part, times
from osd_edge.exporters.methods.osd_rd.statistics import Statistics
from osd_edge.exporters.methods.osd_rd.whitening import whitened_svd
from tests.support.matrices import damage, random, some_statistics


@pytest.mark.parametrize("whitened", [False, True])
def test_leading_columns_are_those_of_the_whole_decomposition(
    whitened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, d = 90, 70
    spectrum = 0.8 ** torch.arange(70.0)
    delta = (random(0, n, 70) * spectrum) @ random(1, 70, d) / 70 + 1e-3 * random(2, n, d)
    statistics = some_statistics(n, d, 3) if whitened else Statistics()
    whole = whitened_svd(delta, statistics)
    monkeypatch.setattr(whitening, "WIDE", 1)
    monkeypatch.setattr(whitening, "MAX_COLUMNS", 12)
    monkeypatch.setattr(leading, "OVERSAMPLING", 8)
    found = whitened_svd(delta, statistics)
    assert found.u.shape == (12, n) and found.v.shape == (12, d)
    assert torch.allclose(found.singular, whole.singular[:12], rtol=2e-3)
    identity = Statistics(torch.eye(d), torch.eye(n))
    metric = statistics if whitened else identity
    lost, least = (damage(delta - c.u[:12].T @ c.v[:12], metric) for c in (found, whole))
    assert lost < 1.01 * least


def test_a_sketch_is_the_moment_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 24
    x = random(0, 4000, n) * torch.linspace(0.2, 2, n)
    moment = x.T @ x / len(x)
    moment = moment / moment.diagonal().mean() + 0.03 * torch.eye(n)
    monkeypatch.setattr(moments, "EXACT", 8)
    sketches = []
    for seed in range(40):
        running = RunningMoment(seed)
        for batch in x.reshape(-1, 400, n):
            running.add(batch)
        found = running.normalized(0.03)
        assert found is not None and isinstance(found[0], Sketch)
        assert found[1] == pytest.approx(float(x.square().mean()), rel=0.2)
        rows = random(seed, 3, n)
        assert torch.allclose(times(rows, found[0]), rows @ part(found[0], 0, n), atol=1e-4)
        assert torch.allclose(part(found[0], 4, 9), part(found[0], 0, n)[4:9, 4:9])
        sketches.append(part(found[0], 0, n))
    error = (torch.stack(sketches).mean(0) - moment).abs().max()
    assert float(error) < 0.05 * float(moment.max())


def test_a_wide_metric_is_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    h = some_statistics(40, 40, 0).g
    assert isinstance(h, torch.Tensor)
    monkeypatch.setattr("osd_edge.exporters.methods.osd_rd.feedback.EXACT", 16)
    monkeypatch.setattr("osd_edge.exporters.methods.osd_rd.feedback.WIDEST_PART", 16)
    metric = metric_of(h)
    assert [len(p.order) for p in metric.parts] == [13, 13, 14]
    assert sorted(int(i) for p in metric.parts for i in p.order) == list(range(40))
