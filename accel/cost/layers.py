"""Where a program's cycles go, layer by layer."""
from collections import Counter
from dataclasses import dataclass

from accel.cost.cycles import Span, simulate
from accel.program import Program
from accel.spec.config import AccelConfig
from accel.spec.isa import Instruction, Isa, Opcode, Target, Unit

#: Least share of a layer's cycles in which the array takes steps, for it to be bound by that.
BUSY = 0.9


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs.

    Members
    -------
    cycles
        From the array's last step for the layer before to its last one for this layer; those of
        the last layer end with the program.
    utilisation
        MACs per cycle and element of the array.
    bound
        What most of the array's waiting is for: ``compute`` (none of note), ``weights``,
        ``input``, ``output`` (the vector unit or what stores its results), ``fetch``.
    bytes_read, bytes_written
        Through the memory port.
    """

    name: str
    macs: int
    cycles: int
    utilisation: float
    bound: str
    bytes_read: int
    bytes_written: int


def layer_costs(program: Program, config: AccelConfig) -> list[LayerCost]:
    """A row per layer; their cycles add up to the program's."""
    isa = Isa(config)
    instructions = [isa.decode(word) for word in program.instructions()]
    spans = simulate(instructions, config)
    cycles: Counter[int] = Counter()
    busy: Counter[int] = Counter()
    waits: dict[int, Counter[str]] = {}
    before, array = 0, [(span, owner) for span, owner in zip(spans, program.owners, strict=True)
                        if span.instruction.opcode == Opcode.GEMM]
    for span, owner in array:
        cycles[owner] += span.end - before
        busy[owner] += span.end - span.start
        waits.setdefault(owner, Counter())[_reason(span, spans)] += span.start - before
        before = span.end
    cycles[array[-1][1]] += max(span.landed for span in spans) - before
    read, written = Counter[int](), Counter[int]()
    for instruction, owner in zip(instructions, program.owners, strict=False):
        words = _moved(instruction) * (config.mem_bits // 8)
        if instruction.opcode == Opcode.STORE:
            written[owner] += words
        else:
            read[owner] += words
    return [LayerCost(
        layer.name, layer.macs, cycles[number],
        layer.macs / (max(1, cycles[number]) * config.rows * config.cols),
        "compute" if busy[number] >= BUSY * cycles[number]
        else waits[number].most_common(1)[0][0], read[number], written[number])
        for number, layer in enumerate(program.layers)]


def total_cycles(program: Program, config: AccelConfig) -> int:
    """Cycles of the whole program."""
    isa = Isa(config)
    spans = simulate([isa.decode(word) for word in program.instructions()], config)
    return max(span.landed for span in spans)


def _reason(span: Span, spans: list[Span]) -> str:
    """What a GEMM waited for."""
    if span.held_by is Unit.VECTOR:
        return "output"
    if span.held_by is not Unit.LOAD:
        return "fetch"
    last = max((each for each in spans if each.instruction.opcode == Opcode.LOAD
                and each.landed <= span.start), key=lambda each: each.landed)
    return "weights" if last.instruction.fields["target"] == Target.WEIGHT else "input"


def _moved(instruction: Instruction) -> int:
    """Words that pass the memory port."""
    fields = instruction.fields
    return fields["rows"] * fields["words"] if instruction.opcode in (
        Opcode.LOAD, Opcode.STORE) else 0
