"""Weight codes and widths of every cell at every width."""
import pytest

from accel.spec.cells import WEIGHT_BITS, CellSpec

CELLS = [CellSpec(kind, bits) for kind, (low, high) in WEIGHT_BITS.items()
         for bits in range(low, high + 1)]
NARROW = [cell for cell in CELLS if cell.weight_bits <= 8]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_decode_is_the_inverse_of_encode(cell: CellSpec) -> None:
    codes = [cell.encode(weight) for weight in cell.weights]
    assert [cell.decode(code) for code in codes] == list(cell.weights)
    assert len(set(codes)) == len(codes)
    assert all(0 <= code < 1 << cell.weight_bits for code in codes)
    assert list(cell.weights) == sorted(set(cell.weights))
    assert cell.encode(0) == 0


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_code_decodes_to_a_weight(cell: CellSpec) -> None:
    weights = set(cell.weights)
    assert {cell.decode(code) for code in range(1 << cell.weight_bits)} == weights


def test_weight_sets_by_hand() -> None:
    assert CellSpec("mac", 2).weights == (-2, -1, 0, 1)
    assert CellSpec("shift", 3).weights == (-2, -1, 0, 1, 2)
    assert CellSpec("shift", 5).weights[-8:] == (1, 2, 4, 8, 16, 32, 64, 128)
    assert CellSpec("shift", 6).weights[0] == -(1 << 15)
    assert CellSpec("mac", 8).encode(-1) == 0xFF
    assert CellSpec("shift", 5).encode(-128) == 0b11_111
    assert CellSpec("shift", 5).encode(1) == 0b01_000


@pytest.mark.parametrize("cell", NARROW, ids=str)
@pytest.mark.parametrize("act_bits", [2, 8, 16])
@pytest.mark.parametrize("terms", [1, 2, 3, 4, 9, 64])
def test_sum_bits_hold_the_worst_sum_and_one_less_does_not(cell: CellSpec, act_bits: int,
                                                           terms: int) -> None:
    acts = (-(1 << (act_bits - 1)), (1 << (act_bits - 1)) - 1)
    sums = [terms * weight * act for weight in cell.weights for act in acts]
    bits = cell.sum_bits(act_bits, terms)
    assert -(1 << (bits - 1)) <= min(sums)
    assert max(sums) < 1 << (bits - 1)
    assert max(map(abs, sums)) == terms * cell.max_term(act_bits)
    assert max(sums) >= 1 << (bits - 2)


@pytest.mark.parametrize(("cell", "weight"), [
    (CellSpec("mac", 4), 8), (CellSpec("mac", 4), -9), (CellSpec("shift", 5), 3),
    (CellSpec("shift", 5), 256), (CellSpec("shift", 3), -4)])
def test_names_a_weight_without_code(cell: CellSpec, weight: int) -> None:
    with pytest.raises(ValueError, match=f"a {cell.kind} weight of {cell.weight_bits} bits "
                       f"cannot be {weight}"):
        cell.encode(weight)
