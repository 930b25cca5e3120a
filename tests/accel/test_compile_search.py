"""How stages are cut: no legal cut of a small one is faster, and no network becomes slower."""
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from accel import golden
from accel.compile import compile_graph, compiler, search
from accel.compile.jobs import Job
from accel.cost.layers import total_cycles
from accel.emulate import Emulator
from accel.graph import Graph, Tensor
from accel.program import Program
from accel.spec.config import AccelConfig
from accel.spec.presets import PRESETS
from tests.accel.test_compile import (
    LARGE,
    NETWORKS,
    PLAIN,
    ROOMY,
    STREAMED,
    TIGHT,
    built,
    check,
    last_first,
)
from tests.configs import FIVE_BY_SEVEN
from tests.graphs import Builder, images

CONFIGS = [ROOMY, PLAIN, STREAMED, TIGHT,
           replace(PRESETS["ecp5"], name="ecp5-large", **LARGE),
           replace(FIVE_BY_SEVEN, name="packed", **LARGE),
           replace(ROOMY, name="small-source", act_depth=256)]


def halved(net: Builder) -> Tensor:
    """A convolution whose results are pooled."""
    return net.pool(net.conv(net.input, 9, (3, 3), padding=(1, 1, 1, 1)), (2, 2), (2, 2))


def pair(net: Builder) -> Tensor:
    """Two stages that share their strips."""
    return net.conv(net.depthwise(net.input, (3, 3), padding=(1, 1, 1, 1)), 13)


LAYERS: dict[str, Callable[[Builder], Tensor]] = {
    "3x3": lambda net: net.conv(net.input, 12, (3, 3), padding=(1, 1, 1, 1)),
    "pointwise": lambda net: net.conv(net.input, 18),
    "strided": lambda net: net.conv(net.input, 10, (2, 3), stride=(2, 1), padding=(1, 0, 0, 1)),
    "grouped": lambda net: net.conv(net.input, 16, (3, 1), groups=2),
    "depthwise": lambda net: net.depthwise(net.input, (3, 3), stride=(1, 2)),
    "large kernel": lambda net: net.conv(net.input, 30, (5, 4)),
    "pooled": halved, "depthwise and pointwise": pair}


def layer(name: str, config: AccelConfig) -> Graph:
    net = Builder(config, (6, 7, 6))
    LAYERS[name](net)
    return net.graph()


class Watch:
    """Keeps what the compiler hands to the search."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compiler, "searched", self)

    def __call__(self, jobs: list[Job], judge: search.Judge) -> list[Job]:
        self.jobs, self.judge = jobs, judge
        self.found = search.searched(jobs, judge)
        return self.found

    def all_cuts(self) -> Iterator[list[Job]]:
        """The only part in all its cuts."""
        part = range(len(self.jobs))
        for cut in search.legal_cuts(self.jobs):
            yield search.with_cut(self.jobs, part, cut)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_no_cut_of_a_layer_is_faster(config: AccelConfig, name: str,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    check(layer(name, config), config)
    costs = []
    for jobs in watch.all_cuts():
        costs.append(watch.judge.cost(jobs))
        assert search.least_cycles(jobs, config) <= costs[-1][1]
    assert len(list(search.parts_of(watch.jobs))) == 1
    assert watch.judge.cost(watch.found) == min(costs)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("config", [STREAMED, TIGHT], ids=lambda config: config.name)
def test_every_legal_cut_computes_the_same(config: AccelConfig, name: str,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """So the search may take any of them."""
    graph, watch = layer(name, config), Watch(monkeypatch)
    compile_graph(graph, config)
    codes = images(config, graph.input.shape, 2, 7)
    expected = golden.run(graph, codes, config)[graph.output.name].numpy()
    for jobs in watch.all_cuts():
        monkeypatch.setattr(compiler, "searched", lambda *_, jobs=jobs: jobs)
        device = Emulator(config, last_first)
        device.load(compile_graph(graph, config))
        np.testing.assert_array_equal(device.run(codes), expected, str(jobs[-1].plan.cut))


def as_guessed(graph: Graph, config: AccelConfig, monkeypatch: pytest.MonkeyPatch) -> Program:
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "searched", search.guessed)
        return compile_graph(graph, config)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("config", [ROOMY, STREAMED, TIGHT], ids=lambda config: config.name)
def test_no_network_becomes_slower(config: AccelConfig, name: str,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    graph = built(name, config)
    found, before = compile_graph(graph, config), as_guessed(graph, config, monkeypatch)
    assert total_cycles(found, config) <= total_cycles(before, config)


def test_cuts_of_a_network_are_chosen_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some networks do become faster, and the choice is the same each time."""
    graph = built("residual blocks", ROOMY)
    found, before = compile_graph(graph, ROOMY), as_guessed(graph, ROOMY, monkeypatch)
    assert total_cycles(found, ROOMY) < total_cycles(before, ROOMY)
    assert found == compile_graph(graph, ROOMY)


def test_a_cut_with_more_instructions_than_fit_is_not_taken(
        monkeypatch: pytest.MonkeyPatch) -> None:
    graph = layer("3x3", ROOMY)
    before = as_guessed(graph, ROOMY, monkeypatch)
    small = replace(ROOMY, instruction_depth=len(before.instructions()))
    assert len(compile_graph(graph, ROOMY).instructions()) > small.instruction_depth
    assert len(compile_graph(graph, small).instructions()) <= small.instruction_depth
