"""The paper's 18 tables against mpmath, and the whole function against a plain loop."""
import math
from fractions import Fraction

import mpmath
import pytest
import torch

from accel.circuits.paper import POINTS, Point, evaluate
from accel.spec.relation import CONTRACTS, relation

each_point = pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(40):
        yield


def selu_constants() -> tuple[mpmath.mpf, mpmath.mpf]:
    """Scale and alpha in closed form (Klambauer et al. 2017, equation 14)."""
    e, pi = mpmath.e, mpmath.pi
    one, two = mpmath.erfc(1 / mpmath.sqrt(2)), mpmath.erfc(mpmath.sqrt(2))
    alpha = -mpmath.sqrt(2 / pi) / (one * mpmath.sqrt(e) - 1)
    scale = (1 - one * mpmath.sqrt(e)) * mpmath.sqrt(2 * pi) / mpmath.sqrt(
        2 * two * e ** 2 + pi * one ** 2 * e - 2 * (2 + pi) * one * mpmath.sqrt(e) + pi + 2)
    return scale, alpha


def left_edge(point: Point, code: int) -> Fraction:
    left, width = {"tanh": (Fraction(0), 2), "selu": (Fraction(-31, 8), Fraction(31, 8))}[
        point.function]
    return left + code * Fraction(width) / 2 ** point.input_bits


def magnitude(point: Point, code: int) -> mpmath.mpf:
    """``|f|`` at the left edge of bin ``code``, in units of the last output bit."""
    edge = left_edge(point, code)
    x = mpmath.mpf(edge.numerator) / edge.denominator
    scale, alpha = selu_constants()
    value = mpmath.tanh(x) if point.function == "tanh" else -scale * alpha * mpmath.expm1(x)
    return value * 2 ** point.fraction_bits


def whole(point: Point, values: list[float]) -> list[float]:
    """The paper's function with the golden table, bin by bin: slow and plain."""
    bins = [(float(left_edge(point, code)), truncated / 2 ** point.fraction_bits)
            for code, truncated in enumerate(point.golden())]

    def at(x: float) -> float:
        return [y for edge, y in bins if edge <= x][-1]
    if point.function == "tanh":
        return [math.copysign(at(abs(x)) if abs(x) < 2 else 1, x) for x in values]
    return [1.0507009873554805 * x if x >= 0 else -at(x) if x >= -3.875 else -1.7580993408473766
            for x in values]


def test_names_and_formats() -> None:
    names = [point.name for point in POINTS]
    assert len(set(names)) == 18
    assert {"tanh_1_6_4", "tanh_1_4_6", "selu_1_8_5"} < set(names)
    tanh, selu = Point("tanh", 6, 4), Point("selu", 8, 5)
    assert (str(tanh.in_format), str(tanh.out_format)) == ("[0,2) 4 bits", "UQ0.6")
    assert (str(selu.in_format), str(selu.out_format)) == ("[-3.875,0) 5 bits", "UQ1.8")
    assert selu.out_format.bits == 9


@each_point
def test_inputs_are_the_left_edges(point: Point) -> None:
    form = point.in_format
    assert [form.value(code) for code in form.codes] == [
        left_edge(point, code) for code in range(2 ** point.input_bits)]


def test_published_table() -> None:
    assert Point("tanh", 6, 4).golden() == (0, 7, 15, 22, 29, 35, 40, 45, 48, 51, 54, 56, 57, 59,
                                            60, 61)


@each_point
def test_golden_equals_mpmath(point: Point) -> None:
    codes = range(2 ** point.input_bits)
    assert point.golden() == tuple(int(mpmath.floor(magnitude(point, code))) for code in codes)
    assert all(code in point.out_format.codes for code in point.golden())


@each_point
def test_relations(point: Point) -> None:
    made = {contract: relation(point.magnitude, point.in_format, point.out_format, contract)
            for contract in CONTRACTS}
    highest = 2 ** point.out_format.bits - 1
    values = [magnitude(point, code) for code in range(2 ** point.input_bits)]
    assert made["exact"].low == made["exact"].high == tuple(
        min(highest, int(mpmath.floor(value + 0.5))) for value in values)
    for relaxed in (made["faithful"], made["within1"]):
        assert relaxed.allows(point.golden())
        assert all(low >= 0 and high <= highest
                   for low, high in zip(relaxed.low, relaxed.high, strict=True))
    assert max(made["faithful"].errors(made["faithful"].high)) < 1
    assert made["exact"].is_monotone(point.golden())


def samples(point: Point) -> torch.Tensor:
    """[-64, 64]: a grid, both sides of every edge, and random values; float64."""
    edges = torch.tensor([float(left_edge(point, code)) for code in range(2 ** point.input_bits)]
                         + [2.0, 0.0, -3.875, 64.0], dtype=torch.float64)
    edges = torch.cat([edges, -edges])
    far = torch.full_like(edges, math.inf)
    random = torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return torch.cat([torch.linspace(-64, 64, 1025, dtype=torch.float64), edges,
                      edges.nextafter(far), edges.nextafter(-far), random * 8 - 4,
                      torch.tensor([1e-30, -1e-30], dtype=torch.float64)])


@each_point
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_whole_function(point: Point, dtype: torch.dtype) -> None:
    x = samples(point).to(dtype)
    if dtype == torch.float32:
        far = torch.full_like(x, math.inf)
        x = torch.cat([x, x.nextafter(far), x.nextafter(-far)])
    got = evaluate(point, point.golden(), x)
    assert got.dtype == dtype
    exact = torch.tensor(whole(point, x.tolist()), dtype=torch.float64).to(dtype)
    from_table = x.abs() < 2 if point.function == "tanh" else (x < 0) & (x >= -3.875)
    assert torch.equal(got[from_table], exact[from_table])
    torch.testing.assert_close(got, exact, rtol=2e-7, atol=0)


@pytest.mark.parametrize(("point", "x", "expected"), [
    *((Point("tanh", 6, 4), x, -1.0) for x in (-8.5, -9, -10, -11, -12.5, -64)),
    *((Point("selu", 6, 5), x, -1.7580993) for x in (-6.5, -7, -9, -12, -64)),
    (Point("tanh", 6, 4), -8.125, -1.0), (Point("tanh", 6, 4), math.inf, 1.0),
    (Point("selu", 6, 5), -math.inf, -1.7580993), (Point("selu", 6, 5), -0.05, -0.1875),
    (Point("selu", 6, 5), 64, 64 * 1.0507009873554805)], ids=str)
def test_where_the_published_model_fails(point: Point, x: float, expected: float) -> None:
    got = evaluate(point, point.golden(), torch.tensor([x], dtype=torch.float64))
    assert got.item() == pytest.approx(expected, rel=1e-7)


def test_shape_and_length() -> None:
    point = Point("tanh", 4, 4)
    assert evaluate(point, point.golden(), torch.zeros(2, 3, 4)).shape == (2, 3, 4)
    with pytest.raises(ValueError, match=r"\[0,2\) 4 bits has 16 codes, not 15"):
        evaluate(point, point.golden()[1:], torch.zeros(1))
