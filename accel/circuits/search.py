"""Runs the search of ``search_cpp``, which is compiled once."""
import subprocess
from collections.abc import Callable
from pathlib import Path

from accel.circuits.network import WIDTH, Lut, Network
from accel.compiled import CompilerError, compiled
from accel.spec.errors import InputError
from accel.spec.relation import Relation

SOURCES = Path(__file__).with_name("search_cpp")
#: Chance, of 65,536, to accept a tenth of a LUT more, at the start and at the end: a temperature
#: from 0.37 to 0.2 LUT.
WARM = (50_000, 40_000)
#: Cost of each function of four inputs, in hundredths of a LUT: all alike but constants.
LUT_PRICES = (0, *[100] * ((1 << (1 << WIDTH)) - 2), 0)
#: Of gates with two inputs: an exclusive or is twice a NAND, an inverter half of one.
GATE_PRICES = tuple(0 if truth in (0, 15) else 200 if truth in (6, 9) else
                    50 if truth in (3, 5, 10, 12) else 100 for truth in range(16))


class SearchError(InputError):
    """A search that cannot run, or that starts outside its relation."""


def search(start: Network, relation: Relation, *, steps: int, seed: int, levels: int = 0,
           monotone: bool = False, prices: tuple[int, ...] = LUT_PRICES,
           heat: tuple[int, int] = WARM, progress: Callable[[float], None] | None = None,
           ) -> Network:
    """A smaller network within ``relation``; it depends on the arguments alone.

    Parameters
    ----------
    start
        A network within ``relation``, of LUTs as wide as ``prices`` tells.
    relation
        The codes that are allowed.
    steps, seed
        How long to search, and the start of its random numbers.
    levels
        Most LUTs on a way from input to output; 0: any number. It may fail to get there.
    monotone
        Never step against the function's direction; ``start`` does not.
    prices
        Cost of each function by its truth table: `LUT_PRICES` or `GATE_PRICES`.
    heat
        How readily it takes what is dearer, at the start and at the end.
    progress
        Is told the part that is done, 0..1.
    """
    process = subprocess.Popen([_program()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    header = [start.inputs, relation.out_format.bits, _width(prices), levels, int(monotone), *heat,
              steps, seed]
    process.stdin.write(_specification(header, prices, start, relation))
    process.stdin.close()
    message = ""
    for line in process.stderr:
        if not line.startswith("progress "):
            message += line
        elif progress:
            progress(int(line.split()[1]) / 100)
    text = process.stdout.read()
    if process.wait():
        raise SearchError(f"the circuit search failed: {message.strip() or process.returncode}")
    return _network(start.inputs, text)


def _program() -> str:
    """The compiled search."""
    try:
        return str(compiled(SOURCES / "main.cpp", "circuits/search", ("-O3", "-std=c++17"),
                            parts=sorted(SOURCES.iterdir())))
    except CompilerError as error:
        raise SearchError(f"{error}: the circuit search is compiled with it") from None


def _width(prices: tuple[int, ...]) -> int:
    """Inputs of the functions that are priced: there are ``2 ** 2 ** inputs``."""
    return (len(prices).bit_length() - 1).bit_length() - 1


def _specification(header: list[int], prices: tuple[int, ...], start: Network,
                   relation: Relation) -> str:
    """The words that main.cpp reads, in its order."""
    out, mask = relation.out_format, (1 << relation.in_format.bits) - 1
    inverted = [0] * (out.bits - 1) + [int(out.signed)]
    rows = [f"{low - out.low} {high - out.low} {direction}" for low, high, direction in
            zip(relation.low, relation.high, relation.directions, strict=True)]
    # the search keeps signal 0 for a constant
    luts = [" ".join(map(str, [len(lut.fanins), *(fanin + 1 for fanin in lut.fanins), lut.truth]))
            for lut in start.luts]
    lines = [" ".join(map(str, header)), " ".join(map(str, prices)), " ".join(map(str, inverted)),
             *rows, " ".join(str(code & mask) for code in relation.in_format.codes),
             str(len(luts)), *luts, " ".join(str(output + 1) for output in start.outputs)]
    return "\n".join(lines) + "\n"


def _network(inputs: int, text: str) -> Network:
    """The network that main.cpp writes."""
    numbers = iter(map(int, text.split()))
    names = {number + 1: number for number in range(inputs)}
    luts: list[Lut] = []
    for _ in range(next(numbers)):
        signal, count = next(numbers), next(numbers)
        fanins = tuple(names[next(numbers)] for _ in range(count))
        names[signal] = inputs + len(luts)
        luts.append(Lut(fanins, next(numbers)))
    outputs = list(numbers)
    if 0 in outputs:
        names[0] = inputs + len(luts)
        luts.append(Lut((), 0))
    return Network(inputs, tuple(luts), tuple(names[output] for output in outputs))
