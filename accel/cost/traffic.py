"""What a program touches: bits read and written per memory, and operations, from its instructions.

A memory is read where what it shows is taken: a weight tile and its offsets once per sweep over
the output positions, not in every cycle. What the host reads and writes is not part of a program.
"""
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from math import prod
from typing import NamedTuple

from accel.graph import Conv2d, Graph
from accel.program import Program
from accel.spec.cells import Operation
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode, Target
from accel.spec.link import Space, space_shape

#: Read ports of an accumulator column, for array and vector unit: each is a copy of the memory.
ACCUMULATOR_COPIES = 2


class Store(StrEnum):
    """The memories."""

    PORT = "memory port"
    ACTIVATION = "activation scratchpad"
    WEIGHT = "weight scratchpad"
    OFFSET = "offset memory"
    ACCUMULATOR = "accumulators"
    PARAM = "parameter memory"
    OUTPUT = "output scratchpad"
    INSTRUCTION = "instruction memory"


class Content(StrEnum):
    """What the bits are: whether they would be more with wider operands."""

    ACTIVATION = "activations"
    WEIGHT = "weights"
    OTHER = "other"


class Access(NamedTuple):
    """One way to use a memory."""

    store: Store
    direction: str      # read | write
    content: Content


class Count(StrEnum):
    """Operations. A term is one tap of one output, with the addition that takes it into its sum."""

    MAC = "multiply-accumulate"
    SHIFT = "shift-accumulate"
    DISTANCE = "distance-accumulate"
    ACCUMULATION = "accumulator addition"
    REQUANTIZATION = "requantization"
    ADDITION = "tensor addition"
    COMPARISON = "comparison"
    ACTIVATION = "table activation"


@dataclass(frozen=True)
class Traffic:
    """What one inference takes.

    Members
    -------
    bits
        Per way of access. What has copies is written once per copy and read from one of them.
    executed
        Operations of all elements and lanes, idle ones included. Accumulator additions are those
        in the columns' memories, the other sums are made inside the array.
    useful
        The same for the network alone: terms of its layers, padding included, and lanes that have
        a channel. Without accumulator additions: a term's addition is counted with it.
    """

    bits: Mapping[Access, int]
    executed: Mapping[Count, int]
    useful: Mapping[Count, int]

    def of(self, store: Store, direction: str) -> int:
        """Bits of one memory in one direction."""
        return sum(bits for access, bits in self.bits.items()
                   if (access.store, access.direction) == (store, direction))


def traffic(program: Program, config: AccelConfig, graph: Graph | None = None) -> Traffic:
    """Count a whole program, FINISH included.

    The graph tells what its means add up, which are no multiply-accumulates to `Program.macs`;
    without it, and for what the compiler adds to move data, no term is useful.
    """
    isa = Isa(config)
    instructions = [isa.decode(word) for word in program.instructions()]
    end = [each.opcode for each in instructions].index(Opcode.FINISH)
    bits = Counter({Access(Store.INSTRUCTION, "read", Content.OTHER): (end + 1) * isa.word_bits})
    executed, useful = Counter[Count](), Counter[Count]()
    channels, kinds = _channels(program, config), dict[int, Count]()
    for index, instruction in enumerate(instructions[:end]):
        bits.update(accesses(instruction, config))
        executed.update(operations(instruction, config))
        if instruction.opcode == Opcode.GEMM:
            kinds[program.owners[index]] = term_of(instruction, config)
        if instruction.opcode == Opcode.VECTOR:
            useful.update(_vector_operations(instruction, config, sum(
                channels.get(address % config.param_depth, 0)
                for address in _params_read(instruction, config))))
    nodes = {node.name: node for node in graph.nodes if isinstance(node, Conv2d)} if graph else {}
    for owner, kind in kinds.items():
        layer = program.layers[owner]
        node = nodes.get(layer.name)
        useful[kind] += node.weight.size * prod(node.output.shape[1:]) if node else layer.macs
    return Traffic(+bits, +executed, +useful)


def accesses(instruction: Instruction, config: AccelConfig) -> Counter[Access]:
    """Bits that an instruction reads and writes, but for itself."""
    f, c = instruction.fields, config
    word = c.word_lanes * c.act_bits
    if instruction.opcode == Opcode.GEMM:
        return _gemm(f, c)
    if instruction.opcode == Opcode.VECTOR:
        return _vector(instruction, c)
    if instruction.opcode == Opcode.STORE:
        words = f["rows"] * f["words"]
        return Counter({Access(Store.OUTPUT, "read", Content.ACTIVATION): words * word,
                        Access(Store.PORT, "write", Content.ACTIVATION): words * c.mem_bits})
    read = f["rows"] * f["words"]
    written = (f["top"] + f["rows"] + f["bottom"]) * (f["left"] + f["words"] + f["right"])
    store, content, bits = {
        Target.ACTIVATION: (Store.ACTIVATION, Content.ACTIVATION, word),
        Target.WEIGHT: (Store.WEIGHT, Content.WEIGHT, c.cols * c.weight_bits),
        Target.OUTPUT: (Store.OUTPUT, Content.ACTIVATION, word)}[Target(f["target"])]
    return Counter({Access(Store.PORT, "read", content): read * c.mem_bits,
                    Access(store, "write", content): written * bits * copies(store, c)})


def _gemm(f: Mapping[str, int], c: AccelConfig) -> Counter[Access]:
    sums, sweeps = f["rows"] * f["cols"] * f["groups"], f["tiles"] * f["groups"]
    steps, accumulators = sums * f["tiles"], c.cols * c.acc_bits
    _, offsets = space_shape(c, Space.OFFSET)
    # the first tile of a sum takes nothing from its accumulator, unless it goes on with it
    added = steps if f["accumulate"] else steps - sums
    return Counter({
        # every row reads a whole word of its own copy, whatever lane it needs
        Access(Store.ACTIVATION, "read", Content.ACTIVATION):
            steps * c.rows * c.word_lanes * c.act_bits,
        Access(Store.WEIGHT, "read", Content.WEIGHT): sweeps * c.rows * c.cols * c.weight_bits,
        Access(Store.OFFSET, "read", Content.OTHER): sweeps * offsets,
        Access(Store.ACCUMULATOR, "read", Content.OTHER): added * accumulators,
        Access(Store.ACCUMULATOR, "write", Content.OTHER):
            steps * accumulators * ACCUMULATOR_COPIES})


def _vector(instruction: Instruction, c: AccelConfig) -> Counter[Access]:
    f = instruction.fields
    _, param = space_shape(c, Space.PARAM)
    results = f["groups"] * f["lane_groups"] * f["rows"] * f["cols"]
    steps, written = results * f["win_rows"] * f["win_cols"], results * c.vector_lanes * c.act_bits
    found = Counter({
        Access(Store.ACCUMULATOR, "read", Content.OTHER): steps * c.cols * c.acc_bits,
        Access(Store.PARAM, "read", Content.OTHER): len(_params_read(instruction, c)) * param})
    if f.get("add"):
        found[Access(Store.OUTPUT, "read", Content.ACTIVATION)] = (
            steps * c.word_lanes * c.act_bits)
    for flag, store in (("to_activation", Store.ACTIVATION), ("to_output", Store.OUTPUT)):
        if f[flag]:
            found[Access(store, "write", Content.ACTIVATION)] = written * copies(store, c)
    return found


def copies(store: Store, config: AccelConfig) -> int:
    """Memories that hold the same and are written together."""
    return {Store.ACTIVATION: config.rows, Store.ACCUMULATOR: ACCUMULATOR_COPIES,
            Store.OUTPUT: 1 + config.residual}.get(store, 1)


def capacity(store: Store, config: AccelConfig) -> int:
    """Bits of one of the memories that a store consists of."""
    c = config
    if store is Store.ACTIVATION:       # a row's copy, in blocks of lanes
        lanes: int = min(c.word_lanes, import_module("rtl.feeder").BLOCK_LANES)
        return c.act_depth * lanes * c.act_bits
    if store is Store.WEIGHT:           # a row's weights, in groups of columns
        cols: int = min(c.cols, import_module("rtl.weights").GROUP_COLS)
        return c.weight_depth * cols * c.weight_bits
    spaces = {Store.PORT: Space.MEMORY, Store.OFFSET: Space.OFFSET, Store.PARAM: Space.PARAM,
              Store.INSTRUCTION: Space.INSTRUCTION}
    if store in spaces:
        return prod(space_shape(c, spaces[store]))
    if store is Store.ACCUMULATOR:      # a column's
        return c.acc_depth * c.acc_bits
    return c.out_depth * c.word_lanes * c.act_bits


def operations(instruction: Instruction, config: AccelConfig) -> Counter[Count]:
    """Operations of all elements and lanes during an instruction."""
    f = instruction.fields
    if instruction.opcode == Opcode.GEMM:
        sums = f["rows"] * f["cols"] * f["groups"]
        steps = sums * f["tiles"]
        return Counter({
            term_of(instruction, config): steps * config.rows * config.cols,
            Count.ACCUMULATION: (steps - (0 if f["accumulate"] else sums)) * config.cols})
    if instruction.opcode == Opcode.VECTOR:
        return _vector_operations(instruction, config,
                                  f["groups"] * f["lane_groups"] * config.vector_lanes)
    return Counter()


def term_of(gemm: Instruction, config: AccelConfig) -> Count:
    """What the array's elements compute."""
    cell = config.cell_spec
    if cell.operations[gemm.fields.get("distance", 0)] is Operation.DISTANCE:
        return Count.DISTANCE
    return Count.MAC if cell.kind == "mac" else Count.SHIFT


def _vector_operations(instruction: Instruction, config: AccelConfig, channels: int,
                       ) -> Counter[Count]:
    """Operations on so many channels: those of all groups together."""
    f = instruction.fields
    results, window = f["rows"] * f["cols"] * channels, f["win_rows"] * f["win_cols"]
    found = Counter({Count.REQUANTIZATION: results * window,
                     # both limits, and the maximum over a window
                     Count.COMPARISON: results * (2 * window + window - 1)})
    if f["activation"]:
        function = config.activation_specs[f["activation"] - 1].function
        found[Count.COMPARISON if function == "relu" else Count.ACTIVATION] += results * window
    if f.get("add"):
        found[Count.ADDITION] = results
    return found


def _params_read(vector: Instruction, config: AccelConfig) -> range:
    """Addresses of the parameter memory that an instruction reads; they wrap around."""
    f = vector.fields
    words = f["groups"] * f["lane_groups"] * (config.vector_lanes // config.param_lanes)
    return range(f["param_base"], f["param_base"] + words)


def _channels(program: Program, config: AccelConfig) -> dict[int, int]:
    """Lanes with a channel, per word of the parameter memory: the others' parameters are 0."""
    bits = space_shape(config, Space.PARAM)[1] // config.param_lanes
    return {address: sum(bool(word >> (bits * lane) & ((1 << bits) - 1))
                         for lane in range(config.param_lanes))
            for image in program.images if image.space == Space.PARAM
            for address, word in enumerate(image.words, start=image.address)}
