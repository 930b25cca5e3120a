"""Random graphs on random configurations: golden's results, or one refusal that says why."""
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from accel.compile import CompileError
from accel.graph import Graph, Padding, Tensor
from accel.spec.config import AccelConfig
from tests.accel.test_compile import CONFIGS, check
from tests.graphs import Builder

QUICK, ALL = 120, 1000
#: Scratchpads that are too small for many a network.
DEPTHS = {"act_depth": (64, 128, 256, 1024), "acc_depth": (16, 32, 64, 256),
          "out_depth": (16, 32, 128), "weight_depth": (16, 32, 64, 128)}


def any_config(rng: random.Random) -> AccelConfig:
    config = rng.choice(CONFIGS)
    if rng.random() < 0.5:
        config = replace(config, **{name: rng.choice(depths) for name, depths in DEPTHS.items()
                                    if rng.random() < 0.6})
    if (rng.random() < 0.25 and config.act_bits <= 8 and config.acc_bits <= 32
            and not config.scale_terms and config.cell != "add"):
        config = replace(config, rounding="tflite")
    return config


def any_graph(config: AccelConfig, rng: random.Random) -> Graph:
    """Up to seven nodes; most read the one before."""
    net = Builder(config, (rng.choice((1, 2, 3, 5, 9, 17)), rng.randint(1, 14),
                           rng.randint(1, 14)), rng.randrange(1 << 30))
    tensors = [net.conv(net.input, rng.randint(1, 9))] if rng.random() < 0.5 else [net.input]
    for _ in range(rng.randint(1, 7)):
        x = tensors[-1] if rng.random() < 0.75 else rng.choice(tensors)
        made = rng.choice(NODES)(net, x, tensors, rng)
        tensors += [made] if made else []
    if len(tensors) == 1:
        net.conv(tensors[0], 2)
    return net.graph()


Make = Callable[[Builder, Tensor, list[Tensor], random.Random], Tensor | None]


def convolution(net: Builder, x: Tensor, _: list[Tensor], rng: random.Random) -> Tensor | None:
    """Any kernel, stride, padding, dilation and groups."""
    kernel, dilation = ((rng.randint(1, most), rng.randint(1, most)) for most in (4, 2))
    padding = tuple(rng.choice((0, 0, 1, 1, 2)) for _ in range(4))
    if not fits(x, [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)], padding):
        return None
    channels = x.shape[0]
    groups = rng.choice((1, 1, channels, rng.choice(
        [n for n in range(1, channels + 1) if channels % n == 0])))
    out = channels if groups == channels else groups * rng.randint(1, max(1, 12 // groups))
    return net.conv(x, out, kernel, stride=(rng.randint(1, 2), rng.randint(1, 3)),
                    padding=padding, dilation=dilation, groups=groups)


def pointwise(net: Builder, x: Tensor, _: list[Tensor], rng: random.Random) -> Tensor:
    return net.conv(x, rng.randint(1, 18))


def separable(net: Builder, x: Tensor, _: list[Tensor], rng: random.Random) -> Tensor:
    x = net.depthwise(x, (3, 3), padding=(1, 1, 1, 1), stride=rng.choice(((1, 1), (2, 2))))
    return net.conv(net.activation(x, "relu") if rng.random() < 0.5 else x, rng.randint(1, 18))


def limit(net: Builder, x: Tensor, _: list[Tensor], rng: random.Random) -> Tensor:
    if rng.random() < 0.5:
        return net.activation(x, "relu")
    low, high = sorted(rng.randint(net.low, net.high) for _ in range(2))
    return net.clamp(x, low, high)


def pool(net: Builder, x: Tensor, _: list[Tensor], rng: random.Random) -> Tensor | None:
    kernel = rng.randint(1, 3), rng.randint(1, 3)
    padding = tuple(rng.choice((0, rng.randint(0, kernel[side % 2] - 1))) for side in range(4))
    return (net.pool(x, kernel, (rng.randint(1, 2), rng.randint(1, 2)), padding)
            if fits(x, kernel, padding) else None)


def addition(net: Builder, x: Tensor, tensors: list[Tensor], rng: random.Random) -> Tensor:
    other = rng.choice([tensor for tensor in tensors if tensor.shape == x.shape])
    return net.add(*rng.sample((x, other), 2))


def concatenation(net: Builder, x: Tensor, tensors: list[Tensor], rng: random.Random) -> Tensor:
    near = [tensor for tensor in tensors if tensor.shape[1:] == x.shape[1:]]
    alike = [tensor for tensor in near
             if (tensor.scale, tensor.zero_point) == (x.scale, x.zero_point)]
    parts = [x, *(rng.choice(alike) if rng.random() < 0.5 else
                  net.conv(rng.choice(near), rng.randint(1, 9), like=x)
                  for _ in range(rng.randint(1, 2)))]
    rng.shuffle(parts)
    return net.concat(*parts)


def mean(net: Builder, x: Tensor, _: list[Tensor], rng: random.Random) -> Tensor:
    _, height, width = x.shape
    return net.mean(x, None if rng.random() < 0.6 else (rng.randint(1, height),
                                                        rng.randint(1, width)))


def table(net: Builder, x: Tensor, _: list[Tensor], rng: random.Random) -> Tensor | None:
    functions = [spec.function for spec in net.config.activation_specs if spec.function != "relu"]
    if not functions:
        return None
    function = rng.choice(functions)
    x = net.conv(x, rng.randint(1, 9), into=function)
    if rng.random() < 0.4:
        x = net.pool(x, (min(2, x.shape[1]), min(2, x.shape[2])), (2, 1))
    return net.activation(x, function)


NODES: list[Make] = [convolution, convolution, convolution, pointwise, separable, limit, limit,
                     pool, pool, addition, concatenation, mean, table]


def fits(x: Tensor, window: list[int] | tuple[int, int], padding: Padding | tuple[int, ...],
         ) -> bool:
    _, height, width = x.shape
    top, left, bottom, right = padding
    return window[0] <= height + top + bottom and window[1] <= width + left + right


@pytest.mark.parametrize("first", [
    0, *(pytest.param(first, marks=pytest.mark.slow) for first in range(QUICK, ALL, QUICK))])
def test_golden_or_a_refusal(first: int) -> None:
    equal, refusals = 0, []
    for seed in range(first, first + QUICK):
        rng = random.Random(seed)
        config = any_config(rng)
        graph = any_graph(config, rng)
        try:
            check(graph, config, batch=2)
        except CompileError as error:
            refusals.append(str(error))
        except AssertionError as error:
            raise AssertionError(f"seed {seed} on {config}: {error}") from None
        else:
            equal += 1
    assert equal > 0.8 * QUICK
    assert all(" >= " in text or "must be at least" in text or "of memory" in text
               for text in refusals)
