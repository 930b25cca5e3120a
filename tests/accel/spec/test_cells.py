"""Weight codes and widths of every cell at every width."""
import pytest

from accel.spec.cells import OFF, WEIGHT_BITS, CellSpec, Operation

CELLS = [CellSpec(kind, bits) for kind, (low, high) in WEIGHT_BITS.items()
         for bits in range(low, high + 1)]
USES = [(cell, operation) for cell in CELLS for operation in cell.operations]
NARROW = [cell for cell in CELLS if cell.weight_bits <= 8]


@pytest.mark.parametrize(("cell", "operation"), USES, ids=str)
def test_decode_is_the_inverse_of_encode(cell: CellSpec, operation: Operation) -> None:
    weights = cell.weights_of(operation)
    codes = [cell.encode(weight, operation) for weight in weights]
    assert [cell.decode(code, operation) for code in codes] == list(weights)
    assert len(set(codes)) == len(codes)
    assert all(0 <= code < 1 << cell.weight_bits for code in codes)
    assert list(weights) == sorted(set(weights))


@pytest.mark.parametrize(("cell", "operation"), USES, ids=str)
def test_every_code_decodes_to_a_weight(cell: CellSpec, operation: Operation) -> None:
    decoded = {cell.decode(code, operation) for code in range(1 << cell.weight_bits)}
    assert decoded - {None} == set(cell.weights_of(operation))
    assert (None in decoded) == (operation is Operation.DISTANCE)
    assert cell.term(-1, OFF, operation) == 0


def test_weight_sets_by_hand() -> None:
    assert CellSpec("mac", 2).weights == (-2, -1, 0, 1)
    assert CellSpec("shift", 3).weights == (-2, -1, 0, 1, 2)
    assert CellSpec("shift", 5).weights[-8:] == (1, 2, 4, 8, 16, 32, 64, 128)
    assert CellSpec("shift", 6).weights[0] == -(1 << 15)
    assert CellSpec("mac", 8).encode(-1) == 0xFF
    assert CellSpec("shift", 5).encode(-128) == 0b11_111
    assert CellSpec("shift", 5).encode(1) == 0b10_000
    assert CellSpec("add", 9).weights == tuple(range(-128, 128))
    assert CellSpec("add", 9).encode(-1) == 0b1_11111111
    assert CellSpec("add", 9).encode(0) == 0b1_00000000 != OFF
    both = CellSpec("shiftadd", 9)
    assert both.weights_of(Operation.PRODUCT) == CellSpec("shift", 5).weights
    assert both.encode(-128, Operation.PRODUCT) == 0b1_0000_1111
    assert both.weights_of(Operation.DISTANCE) == CellSpec("add", 9).weights


def test_terms_by_hand() -> None:
    assert CellSpec("mac", 8).term(-128, 0x80) == 16384
    assert CellSpec("shift", 5).term(-128, CellSpec("shift", 5).encode(-128)) == 16384
    add = CellSpec("add", 9)
    assert add.term(-128, add.encode(127)) == -255
    assert [cell.term(-77, OFF) for cell in (CellSpec("mac", 8), CellSpec("shift", 5), add)
            ] == [0, 0, 0]
    both = CellSpec("shiftadd", 9)
    assert both.term(5, both.encode(-2), Operation.PRODUCT) == -10
    assert both.term(5, both.encode(-2, Operation.DISTANCE), Operation.DISTANCE) == -7


def test_a_cell_refuses_what_it_cannot_compute() -> None:
    with pytest.raises(ValueError, match=r"a add cell computes DISTANCE, not PRODUCT"):
        CellSpec("add", 9).weights_of(Operation.PRODUCT)


@pytest.mark.parametrize("cell", NARROW, ids=str)
@pytest.mark.parametrize("act_bits", [2, 8, 16])
@pytest.mark.parametrize("terms", [1, 2, 3, 4, 9, 64])
def test_sum_bits_hold_the_worst_sum_and_one_less_does_not(cell: CellSpec, act_bits: int,
                                                           terms: int) -> None:
    acts = (-(1 << (act_bits - 1)), (1 << (act_bits - 1)) - 1)
    sums = [terms * cell.term(act, code, operation) for operation in cell.operations
            for code in range(1 << cell.weight_bits) for act in acts]
    bits = cell.sum_bits(act_bits, terms)
    assert -(1 << (bits - 1)) <= min(sums)
    assert max(sums) < 1 << (bits - 1)
    assert max(map(abs, sums)) == terms * cell.max_term(act_bits)
    # and no width less holds the largest magnitude, whatever its sign
    assert terms * cell.max_term(act_bits) >= 1 << (bits - 2)


@pytest.mark.parametrize(("cell", "weight"), [
    (CellSpec("mac", 4), 8), (CellSpec("mac", 4), -9), (CellSpec("shift", 5), 3),
    (CellSpec("shift", 5), 256), (CellSpec("shift", 3), -4)])
def test_names_a_weight_without_code(cell: CellSpec, weight: int) -> None:
    with pytest.raises(ValueError, match=f"a {cell.kind} weight of {cell.weight_bits} bits "
                       f"cannot be {weight}"):
        cell.encode(weight)
