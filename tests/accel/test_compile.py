"""Compiled programs on the emulator equal golden, in whatever order their tokens allow."""
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from accel import golden
from accel.compile import CompileError, compile_graph
from accel.emulate import Emulator, Order, in_program_order
from accel.graph import Graph, Tensor
from accel.program import Program
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode, Target, Unit
from accel.spec.presets import PRESETS
from tests.configs import ADD, FIVE_BY_SEVEN, ONE_BY_ONE, SWITCHED, TINY, TWO_BY_THREE
from tests.graphs import Builder, images

LARGE = {"mem_depth": 1 << 15, "instruction_depth": 4096, "param_depth": 1024,
         "offset_depth": 2048}
ROOMY = replace(TINY, name="roomy", **LARGE)
PLAIN = replace(ROOMY, name="plain", depthwise=False)
STREAMED = replace(ROOMY, name="streamed", weight_depth=32)
#: Scratchpads so small that everything goes in blocks.
TIGHT = replace(ROOMY, name="tight", act_depth=256, acc_depth=64, out_depth=32, weight_depth=64)
CONFIGS = [
    ROOMY, PLAIN, STREAMED, TIGHT,
    replace(STREAMED, name="plain-streamed", depthwise=False),
    replace(PRESETS["ecp5"], name="ecp5-large", **LARGE),
    replace(PRESETS["ecp5-shift"], name="ecp5-shift-streamed", **LARGE, weight_depth=16),
    replace(TWO_BY_THREE, name="three-columns", **LARGE, activations=TINY.activations),
    replace(FIVE_BY_SEVEN, name="packed", **LARGE),
    replace(ROOMY, name="tflite", rounding="tflite"),
    replace(SWITCHED, name="switched", **LARGE), replace(ADD, name="add", **LARGE, scale_terms=2),
    replace(PRESETS["tiny-shiftadd"], name="shiftadd", **LARGE),
    replace(PRESETS["tiny-shift"], name="powers", **LARGE, scale_terms=1),
    replace(ONE_BY_ONE, name="one-cell", **{**LARGE, "instruction_depth": 16384,
                                            "param_depth": 4096})]


def last_first(ready: Sequence[tuple[int, Unit]]) -> int:
    return max(range(len(ready)), key=lambda place: ready[place][0])


def orders() -> dict[str, Order]:
    """Ways to choose among the units that could go on."""
    def shuffled(seed: int) -> Order:
        generator = random.Random(seed)
        return lambda ready: generator.randrange(len(ready))

    return {"program": in_program_order, "last first": last_first, "random 1": shuffled(1),
            "random 2": shuffled(2)}


def check(graph: Graph, config: AccelConfig, *, batch: int = 4) -> Program:
    """Everything that a program computes equals golden; returns the one that keeps nothing."""
    codes = images(config, graph.input.shape, batch, 7)
    expected = golden.run(graph, codes, config)
    for keep in (True, False):
        program = compile_graph(graph, config, keep_tensors=keep)
        for name, order in orders().items():
            device = Emulator(config, order)
            device.load(program)
            outputs = device.run(codes)
            label = f"{name}, keep_tensors={keep}"
            np.testing.assert_array_equal(outputs, expected[program.output].numpy(), label)
            for tensor in program.tensors.keys() & expected if keep else ():
                np.testing.assert_array_equal(device.read_all(tensor), expected[tensor].numpy(),
                                              f"{tensor}, {label}")
    return program


def instructions(program: Program, config: AccelConfig) -> list[Instruction]:
    isa = Isa(config)
    return [isa.decode(word) for word in program.instructions()]


# --- one network for each thing that a compiler can get wrong -----------------------------------
def residual(net: Builder, *, own_first: bool) -> Tensor:
    x = net.conv(net.input, 6, (3, 3), padding=(1, 1, 1, 1))
    y = net.conv(x, 6, (3, 3), padding=(1, 1, 1, 1))
    return net.conv(net.activation(net.add(*((y, x) if own_first else (x, y))), "relu"), 3)


def residual_of_the_input(net: Builder) -> Tensor:
    """The image itself is added: it lies by position then."""
    return net.clamp(net.add(net.input, net.conv(net.input, 2, (3, 3), padding=(1, 1, 1, 1))))


def residual_by_copy(net: Builder) -> Tensor:
    """Neither summand's stage can add: one is clamped before, one is read by others too."""
    x = net.conv(net.input, 5, (2, 3))
    y = net.activation(net.conv(x, 5), "relu")
    return net.conv(net.add(x, y), 4, (2, 2))


def doubled(net: Builder) -> Tensor:
    x = net.conv(net.input, 5, (2, 3))
    return net.activation(net.add(x, x), "relu")


def residual_of_pools(net: Builder) -> Tensor:
    x = net.pool(net.conv(net.input, 5), (2, 2), (2, 2))
    y = net.pool(net.conv(net.input, 5, (3, 3), padding=(1, 1, 1, 1)), (2, 2), (2, 2))
    return net.add(y, x)


def residual_blocks(net: Builder) -> Tensor:
    """As in ResNet: two blocks, the second one narrower, with a convolution on its way around."""
    x = net.activation(net.conv(net.input, 6, (3, 3), padding=(1, 1, 1, 1)), "relu")
    y = net.activation(net.conv(x, 6, (3, 3), padding=(1, 1, 1, 1)), "relu")
    x = net.activation(net.add(net.conv(y, 6, (3, 3), padding=(1, 1, 1, 1)), x), "relu")
    y = net.activation(net.conv(x, 9, (3, 3), stride=(2, 2), padding=(1, 1, 1, 0)), "relu")
    around = net.conv(x, 9, stride=(2, 2))
    x = net.activation(net.add(around, net.conv(y, 9, (3, 3), padding=(1, 1, 1, 1))), "relu")
    return net.conv(net.mean(x), 5)


def depthwise(net: Builder) -> Tensor:
    x = net.conv(net.input, 7, (1, 2))
    x = net.depthwise(x, (3, 3), stride=(2, 1), padding=(0, 1, 2, 1))
    return net.depthwise(net.activation(x, "relu"), (2, 3), padding=(1, 0, 0, 2))


def depthwise_first(net: Builder) -> Tensor:
    return net.conv(net.depthwise(net.input, (3, 2), padding=(1, 1, 0, 0)), 5, (2, 2))


def pointwise_behind_depthwise(net: Builder) -> Tensor:
    """Passed on block by block, twice, with more channels than columns."""
    x = net.activation(net.conv(net.input, 9, (3, 3), padding=(1, 1, 1, 1)), "relu")
    for channels, stride in ((10, (1, 1)), (7, (2, 2))):
        x = net.activation(net.depthwise(x, (3, 3), stride=stride, padding=(1, 1, 1, 1)), "relu")
        x = net.activation(net.conv(x, channels), "relu")
    return x


def inverted_residual(net: Builder) -> Tensor:
    x = net.conv(net.input, 4, (3, 3), padding=(1, 1, 1, 1))
    y = net.clamp(net.conv(x, 12), 0)
    y = net.clamp(net.depthwise(y, (3, 3), padding=(1, 1, 1, 1)), 0)
    return net.conv(net.add(net.conv(y, 4), x), 6)


def grouped(net: Builder) -> Tensor:
    x = net.conv(net.input, 6, (2, 2), groups=2)
    x = net.conv(x, 9, (3, 2), groups=3, padding=(1, 0, 1, 1))
    return net.conv(x, 6, groups=3)


def dilated(net: Builder) -> Tensor:
    x = net.conv(net.input, 5, (3, 2), dilation=(2, 3), padding=(2, 1, 2, 2))
    return net.depthwise(x, (2, 3), dilation=(3, 1), padding=(1, 1, 1, 0), stride=(1, 2))


def asymmetric(net: Builder) -> Tensor:
    x = net.conv(net.input, 5, (3, 3), stride=(2, 2), padding=(0, 0, 1, 1))
    x = net.conv(x, 4, (2, 4), padding=(3, 0, 0, 5))
    return net.conv(x, 3, (3, 1), padding=(0, 2, 2, 0), stride=(2, 3))


def padded_pool(net: Builder) -> Tensor:
    x = net.pool(net.conv(net.input, 5, (2, 2)), (3, 3), (2, 2), (1, 1, 1, 1))
    return net.pool(net.conv(x, 6), (2, 3), (1, 1), (1, 0, 0, 2))


def pool_of_the_input(net: Builder) -> Tensor:
    return net.conv(net.pool(net.input, (3, 2), (2, 2)), 4, (2, 2))


def limits_everywhere(net: Builder) -> Tensor:
    """Relu6, limits behind limits that leave one code, and limits behind a pool."""
    x = net.clamp(net.activation(net.conv(net.input, 5, (3, 3)), "relu"), high=net.high // 3)
    x = net.pool(net.clamp(net.conv(x, 6), net.low // 3, net.high // 4), (2, 2), (2, 1))
    x = net.clamp(x, net.low // 4, net.high // 8)
    return net.clamp(net.clamp(net.conv(x, 7), net.low, 0), 3, net.high)


def tables(net: Builder) -> Tensor:
    """An activation behind a pool, behind limits, and behind another one."""
    function = next(spec.function for spec in net.config.activation_specs
                    if spec.function != "relu")
    x = net.pool(net.conv(net.input, 5, (2, 2), into=function), (2, 2), (2, 2))
    x = net.activation(x, function)
    y = net.activation(net.clamp(net.conv(x, 6, into=function)), function)
    return net.pool(net.activation(net.conv(y, 3, into=function), function), (2, 1), (1, 1))


def means(net: Builder) -> Tensor:
    x = net.mean(net.conv(net.input, 9, (2, 2)), (2, 3))
    return net.conv(net.mean(net.activation(x, "relu")), 5)


def readers(net: Builder) -> Tensor:
    """A tensor with three readers, two of them paddings apart."""
    x = net.conv(net.input, 4, (3, 3), padding=(1, 1, 1, 1))
    y = net.conv(x, 4, (3, 3), padding=(1, 1, 1, 1))
    z = net.conv(x, 4, (1, 5), padding=(0, 2, 0, 2))
    return net.add(net.add(y, z), x)


def concatenated(net: Builder) -> Tensor:
    """Parts of uneven widths, one of them read by others too, one the image, one twice."""
    x = net.conv(net.input, 3, (3, 3), padding=(1, 1, 1, 1), like=net.input)
    y = net.depthwise(x, (3, 3), padding=(1, 1, 1, 1), like=net.input)
    z = net.concat(x, y, net.input, y)
    return net.conv(net.depthwise(z, (2, 2)), 6)


def concatenated_at_the_end(net: Builder) -> Tensor:
    x = net.conv(net.input, 3, (2, 2))
    return net.concat(x, net.conv(x, 5, like=x), net.pool(x, (3, 3), (1, 1), (1, 1, 1, 1)))


NETWORKS: dict[str, Callable[[Builder], Tensor]] = {
    "residual, own summand first": lambda net: residual(net, own_first=True),
    "residual, own summand last": lambda net: residual(net, own_first=False),
    **{network.__name__.replace("_", " "): network for network in (
        residual_of_the_input, residual_by_copy, doubled, residual_of_pools, residual_blocks,
        depthwise, depthwise_first, pointwise_behind_depthwise, inverted_residual, grouped,
        dilated, asymmetric, padded_pool, pool_of_the_input, limits_everywhere, tables, means,
        readers, concatenated, concatenated_at_the_end)}}


def built(name: str, config: AccelConfig, shape: tuple[int, int, int] = (2, 9, 8)) -> Graph:
    net = Builder(config, shape)
    NETWORKS[name](net)
    return net.graph()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_equals_golden_in_any_order(config: AccelConfig, name: str) -> None:
    check(built(name, config), config)


@pytest.mark.parametrize("changes", [{}, {"weight_depth": 256}, {"rounding": "tflite"}], ids=str)
@pytest.mark.parametrize("shape", [(3, 12, 11), (4, 40, 3), (7, 23, 2)], ids=str)
def test_a_mean_larger_than_its_half_of_the_scratchpad(shape: tuple[int, int, int],
                                                       changes: dict[str, int]) -> None:
    """It is summed slice by slice, as rows are loaded."""
    config = replace(ROOMY, act_depth=128, **changes)
    net = Builder(config, shape)
    net.conv(net.mean(net.conv(net.input, shape[0])), 3)
    program = check(net.graph(), config)
    slices = [each for each in instructions(program, config)
              if each.opcode == Opcode.GEMM and each.fields["accumulate"]]
    assert slices


def test_a_mean_without_depthwise_mode_must_fit_its_half() -> None:
    net = Builder(PLAIN, (3, 24, 24))
    net.mean(net.input)
    with pytest.raises(CompileError, match="layer 'mean0': one output row needs act_depth >= 1152"):
        compile_graph(net.graph(), PLAIN)
    config = replace(PLAIN, act_depth=2048)
    check(net.graph(), config)


def test_weights_go_through_memory_only_where_they_must() -> None:
    graph = built("residual blocks", ROOMY)
    loads = {config.name: [each for each in instructions(check(graph, config), config)
                           if each.opcode == Opcode.LOAD
                           and each.fields["target"] == Target.WEIGHT]
             for config in (ROOMY, STREAMED)}
    assert not loads["roomy"]
    assert len(loads["streamed"]) > 5


@pytest.mark.parametrize(("name", "near"), [("pointwise behind depthwise", 3), ("dilated", 1)])
def test_what_stays_inside_never_goes_to_memory(name: str, near: int) -> None:
    graph = built(name, ROOMY)
    kept, program = (compile_graph(graph, ROOMY, keep_tensors=keep) for keep in (True, False))
    assert len(kept.tensors) - len(program.tensors) == near
    stored = [sum(each.fields["rows"] * each.fields["words"]
                  for each in instructions(each_of, ROOMY) if each.opcode == Opcode.STORE)
              for each_of in (kept, program)]
    assert stored[0] > stored[1]


def test_a_source_outlives_what_is_passed_on_block_by_block() -> None:
    """The depthwise stage still loads its input while the pointwise one stores: no place shared."""
    net = Builder(TIGHT, (9, 14, 11))
    net.conv(net.depthwise(net.input, (3, 3), padding=(1, 1, 1, 1)), 17)
    layouts = check(net.graph(), TIGHT).tensors
    source, target = (layouts[name] for name in ("input", "conv1"))
    assert source.start + source.size <= target.start


def test_strips_are_passed_on_only_where_two_of_them_fit() -> None:
    """The depthwise stage writes one while the pointwise stage has yet to read the one before."""
    config = replace(ROOMY, name="refused", act_depth=128)
    net = Builder(config, (9, 9, 16))
    net.conv(net.depthwise(net.input, (1, 1)), 7)
    with pytest.raises(CompileError, match="layer 'conv0': one output row needs act_depth >= 192"):
        compile_graph(net.graph(), config)
    check(net.graph(), replace(config, act_depth=256))


def test_slices_of_a_strip_are_passed_on_together() -> None:
    """A depthwise window larger than its half is summed in three slices; then comes its reader."""
    config = replace(ROOMY, act_depth=128)
    net = Builder(config, (3, 9, 16))
    net.conv(net.depthwise(net.conv(net.input, 3), (9, 1)), 7)
    program = check(net.graph(), config)
    slices = [each for each in instructions(program, config)
              if each.opcode == Opcode.GEMM and each.fields["accumulate"]]
    assert len(slices) == 2


def test_weights_that_stay_are_loaded_again_once_overwritten() -> None:
    """Those of the pointwise stage would stay, but its neighbour's need the whole ring."""
    config = replace(STREAMED, depthwise=False)
    net = Builder(config, (2, 12, 8))
    x = net.conv(net.input, 9, (3, 3), padding=(1, 1, 1, 1))
    net.conv(net.depthwise(x, (3, 3), padding=(1, 1, 1, 1)), 7)
    check(net.graph(), config)


def test_limits_compose() -> None:
    """A relu above what the limits before it leave gives its zero point, and nothing else."""
    net = Builder(ROOMY, (2, 4, 4))
    zero = net.input.zero_point
    net.activation(net.clamp(net.input, zero - 9, zero - 3), "relu")
    graph = net.graph()
    device = Emulator(ROOMY)
    device.load(check(graph, ROOMY))
    assert (device.run(images(ROOMY, (2, 4, 4), 3, 1)) == zero).all()


REFUSED: dict[str, tuple[dict[str, int], Callable[[Builder], Tensor], str]] = {
    "a row of accumulators": (
        {"acc_depth": 4}, lambda net: net.conv(net.input, 3),
        "layer 'conv0': one output row needs acc_depth >= 8, not 4"),
    "a row of results": (
        {"out_depth": 4}, lambda net: net.conv(net.input, 3),
        "layer 'conv0': one output row needs out_depth >= 8, not 4"),
    "a window of rows": (
        {"act_depth": 32}, lambda net: net.conv(net.conv(net.input, 3), 3, (3, 3)),
        "layer 'conv1': one output row needs act_depth >= 48, not 32"),
    "the weights of a group": (
        {"weight_depth": 4}, lambda net: net.conv(net.input, 3, (4, 3)),
        "layer 'conv0': one output row needs weight_depth >= 6, not 4"),
    "memory": (
        {"mem_depth": 40}, lambda net: net.conv(net.input, 3),
        "tensor 'conv0' (3, 9, 8) needs 72 words of memory, but mem_depth = 40 leaves no such gap"),
    "scales and instructions": (
        {"param_depth": 2, "instruction_depth": 3, "offset_depth": 2},
        lambda net: net.conv(net.conv(net.input, 9, (3, 3)), 3),
        "the network does not fit config 'refused': ")}


@pytest.mark.parametrize(("changes", "network", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_by_name(
        changes: dict[str, int], network: Callable[[Builder], Tensor], message: str) -> None:
    config = replace(ROOMY, name="refused", **changes)
    net = Builder(config, (2, 9, 8))
    network(net)
    with pytest.raises(CompileError) as caught:
        compile_graph(net.graph(), config)
    assert message in str(caught.value)


def test_no_images_give_no_outputs() -> None:
    graph = built("residual blocks", ROOMY)
    device = Emulator(ROOMY)
    device.load(compile_graph(graph, ROOMY))
    assert device.run(np.zeros((0, *graph.input.shape), np.int64)).shape == (
        0, *graph.output.shape)


def test_an_addition_needs_its_hardware() -> None:
    config = replace(ROOMY, name="bare", residual=False)
    graph = built("doubled", config)
    with pytest.raises(CompileError, match="add1: config 'bare' cannot add tensors; set residual"):
        compile_graph(graph, config)


def test_programs_are_the_same_each_time_and_say_what_they_do() -> None:
    graph = built("residual blocks", ROOMY)
    program = compile_graph(graph, ROOMY)
    assert program == compile_graph(graph, ROOMY)
    assert (program.input, program.output, program.macs) == ("input", graph.output.name,
                                                             graph.macs)
    assert sum(layer.macs for layer in program.layers) == graph.macs
    assert len(program.owners) == len(program.instructions()) - 1
    assert set(program.owners) == set(range(len(program.layers)))
