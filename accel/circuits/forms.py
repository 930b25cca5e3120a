"""Circuit forms within a relation: where the search starts, and what it is compared with.

Words are addressed by the input's place, 0 for the smallest value: a code with its sign inverted.
"""
from collections.abc import Callable, Iterator, Sequence

from accel.circuits.network import Builder, Network
from accel.spec.relation import Relation

#: Guard bits of the forms that add.
GUARDS = (0, 1, 2, 3)
Codes = Sequence[int]


def nearest(relation: Relation) -> Network:
    """The truth table of the correctly rounded values."""
    return of_codes(relation, relation.nearest)


def ranges(relation: Relation) -> Network:
    """The truth table with the fewest steps: each code is kept as long as it is allowed."""
    codes: list[int] = []
    low, high = relation.low[0], relation.high[0]
    for place, (lo, hi) in enumerate(zip(relation.low, relation.high, strict=True)):
        if max(low, lo) > min(high, hi):
            codes += [(low + high) // 2] * (place - len(codes))
            low, high = lo, hi
        low, high = max(low, lo), min(high, hi)
    codes += [(low + high) // 2] * (len(relation.low) - len(codes))
    return of_codes(relation, codes)


def symmetric(relation: Relation) -> Network | None:
    """Half of a table between inverters, if ``y(~x) = ~y(x)`` is allowed everywhere.

    Ones' complement: it mirrors at half a code below 0, and needs no carries. For odd functions,
    and for those with a point of symmetry in the middle of the output's range.
    """
    if not relation.in_format.signed:
        return None
    bits, width = relation.in_format.bits, relation.out_format.bits
    mirror = relation.out_format.low + relation.out_format.high
    for centre in _centres(relation, mirror):
        half = len(relation.low) // 2
        low = [max(relation.low[half + k], centre - relation.high[half - 1 - k])
               for k in range(half)]
        high = [min(relation.high[half + k], centre - relation.low[half - 1 - k])
                for k in range(half)]
        if any(lo > hi for lo, hi in zip(low, high, strict=True)):
            continue
        builder = Builder(bits)
        sign = builder.inputs[-1]
        magnitude = [builder.xor(signal, sign) for signal in builder.inputs[:-1]]
        words = [((lo + hi) // 2) % (1 << width) for lo, hi in zip(low, high, strict=True)]
        core = builder.table(words, magnitude, width)
        if centre == -1:                # ~y = -1 - y
            outputs = [builder.xor(bit, sign) for bit in core]
        else:                           # centre - y = centre + 1 + ~y
            inverted = [builder.xor(bit, sign) for bit in core]
            addend = [builder.both(sign, (centre + 1) >> bit & 1) for bit in range(width)]
            outputs = builder.add(inverted, addend)
        return builder.network(outputs)
    return None


def bipartite(relation: Relation) -> Iterator[Network]:
    """Two small tables and an adder, for each split of the input (Das Sarma and Matula 1995).

    ``y = (first[x0, x1] + second[x0, x2]) >> guard``, x0 the highest bits, x2 the lowest.
    """
    bits = relation.in_format.bits
    for low_bits in range(1, bits - 2):
        for high_bits in range(bits - low_bits):
            for guard in GUARDS:
                split = _split(relation, high_bits, low_bits, guard)
                if split:
                    yield _add_tables(relation, high_bits, low_bits, guard, *split)
                    break


def piecewise(relation: Relation) -> Iterator[Network]:
    """Segments whose slopes are sums of up to two signed powers of two: adders, no multiplier."""
    single = [((1, k),) for k in range(8)] + [((-1, k),) for k in range(2, 7)]
    double = [((1, a), (sign, b)) for a in range(5) for b in range(a + 1, 8) for sign in (1, -1)]
    for guard in GUARDS[1:]:
        for slopes in ([(), *single], [(), *single, *double]):
            segments = _segments(relation, slopes, guard)
            if segments and len(segments) <= 16:
                yield _add_slopes(relation, segments, guard)


FORMS: dict[str, Callable[[Relation], Iterator[Network]]] = {
    "table": lambda relation: iter([nearest(relation)]),
    "ranges": lambda relation: iter([ranges(relation)]),
    "sign-magnitude": lambda relation: iter([made] if (made := symmetric(relation)) else []),
    "bipartite": bipartite, "piecewise": piecewise}


def of_codes(relation: Relation, codes: Codes) -> Network:
    """Network of a table given by rising input."""
    builder = Builder(relation.in_format.bits)
    return builder.network(_look_up(builder, relation, codes))


def _look_up(builder: Builder, relation: Relation, codes: Codes) -> list[int]:
    bits, width = relation.in_format.bits, relation.out_format.bits
    words = [0] * (1 << bits)
    for code, word in zip(relation.in_format.codes, codes, strict=True):
        words[code % (1 << bits)] = word % (1 << width)
    return builder.table(words, builder.inputs, width)


def _centres(relation: Relation, mirror: int) -> list[int]:
    """``y(x) + y(~x)``, if it may be the same for all x: that of the middle, and its neighbours."""
    half = len(relation.low) // 2
    middle = relation.nearest[half] + relation.nearest[half - 1]
    return list(dict.fromkeys([-1, mirror, middle, middle - 1, middle + 1]))


def _split(relation: Relation, high_bits: int, low_bits: int, guard: int,
           ) -> tuple[list[int], list[int]] | None:
    """Both tables, or None if the relation is too narrow for this split."""
    columns, rows = 1 << low_bits, 1 << (relation.in_format.bits - high_bits - low_bits)
    first: list[int] = []
    second: list[int] = []
    for block in range(1 << high_bits):
        start = block * rows * columns
        at = [[start + row * columns + column for row in range(rows)] for column in range(columns)]
        middle = [[(relation.low[p] + relation.high[p]) / 2 for p in places] for places in at]
        offsets = [round(sum(m - m0 for m, m0 in zip(middle[column], middle[0], strict=True))
                         / rows * (1 << guard)) for column in range(columns)]
        for row in range(rows):
            low = max((relation.low[at[c][row]] << guard) - offsets[c] for c in range(columns))
            high = min((relation.high[at[c][row]] << guard) + (1 << guard) - 1 - offsets[c]
                       for c in range(columns))
            if low > high:
                return None
            first.append(_roundest(low, high))
        second += offsets
    return first, second


def _add_tables(relation: Relation, high_bits: int, low_bits: int, guard: int, first: list[int],
                second: list[int]) -> Network:
    bits, width = relation.in_format.bits, relation.out_format.bits + guard
    least = min(second)
    builder = Builder(bits)
    place = _place(builder, relation)
    a = builder.table([(word + least) % (1 << width) for word in first], place[low_bits:], width)
    b = builder.table([word - least for word in second],
                      [*place[:low_bits], *place[bits - high_bits:]], width)
    return builder.network(builder.add(a, b)[guard:])


Slope = tuple[tuple[int, int], ...]


def _segments(relation: Relation, slopes: Sequence[Slope], guard: int,
              ) -> list[tuple[int, Slope, int]] | None:
    """Last place, slope and constant of each segment, each as long as possible."""
    codes = list(relation.in_format.codes)
    segments, start = [], 0
    while start < len(codes):
        best: tuple[int, Slope, int] | None = None
        for slope in slopes:
            low, high, end = -(1 << 30), 1 << 30, start
            while end < len(codes):
                value = _sloped(codes[end], slope, guard)
                lo = max(low, (relation.low[end] << guard) - value)
                hi = min(high, (relation.high[end] << guard) + (1 << guard) - 1 - value)
                if lo > hi:
                    break
                low, high, end = lo, hi, end + 1
            if end > start and (best is None or end - 1 > best[0]):
                best = end - 1, slope, _roundest(low, high)
        if best is None:
            return None
        segments.append(best)
        start = best[0] + 1
    return segments


def _sloped(code: int, slope: Slope, guard: int) -> int:
    return sum(sign * ((code << guard) >> shift) for sign, shift in slope)


def _add_slopes(relation: Relation, segments: list[tuple[int, Slope, int]], guard: int) -> Network:
    """Each place selects a shifted input, perhaps inverted, per term, and a constant."""
    bits, width = relation.in_format.bits, relation.out_format.bits + guard
    builder = Builder(bits)
    which: list[int] = []
    for number, (last, _, _) in enumerate(segments):
        which += [number] * (last + 1 - len(which))
    place = _place(builder, relation)
    shifted = _extended(builder, relation, guard, width + 8)

    def choose(words: Sequence[int], count: int) -> list[int]:
        return builder.table([words[number] for number in which], place, count)

    constants = [constant for _, _, constant in segments]
    total: list[int] | None = None
    for term in range(max(len(slope) for _, slope, _ in segments)):
        picked = [slope[term] if term < len(slope) else None for _, slope, _ in segments]
        # -v = ~v + 1
        constants = [constant + (1 if pick and pick[0] < 0 else 0)
                     for constant, pick in zip(constants, picked, strict=True)]
        bits_of_term = []
        selectors = {key: choose([int(pick == key) for pick in picked], 1)[0]
                     for key in dict.fromkeys(picked) if key}
        for bit in range(width):
            value = builder.constant(0)
            for (sign, shift), selected in selectors.items():
                truth = 0b1000 if sign > 0 else 0b0100      # selected, and the bit or its inverse
                value = builder.either(value, builder.lut(truth, (shifted[bit + shift], selected)))
            bits_of_term.append(value)
        total = bits_of_term if total is None else builder.add(total, bits_of_term)
    words = choose([constant % (1 << width) for constant in constants], width)
    return builder.network((builder.add(total, words) if total else words)[guard:])


def _extended(builder: Builder, relation: Relation, guard: int, width: int) -> list[int]:
    top = builder.inputs[-1] if relation.in_format.signed else builder.constant(0)
    bits = [builder.constant(0)] * guard + builder.inputs
    return bits + [top] * (width - len(bits))


def _place(builder: Builder, relation: Relation) -> list[int]:
    """Bits of the input's place among all inputs by value."""
    if not relation.in_format.signed:
        return builder.inputs
    return [*builder.inputs[:-1], builder.lut(0b01, builder.inputs[-1:])]


def _roundest(low: int, high: int) -> int:
    """The number in a range with the most trailing zeros."""
    if low <= 0 <= high:
        return 0
    return max(range(low, high + 1), key=lambda number: number & -number)
