"""Scalar functions with 50 digits, so that no rounding is decided by the error of a double."""
from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import cache

#: Digits of every value below; formats have 12 bits, and a tie is decided by the digits behind.
DIGITS = 50

Function = Callable[[Decimal], Decimal]

# Klambauer et al. 2017, "Self-Normalizing Neural Networks", section 2 (the digits torch uses).
SELU_SCALE = Decimal("1.0507009873554804934193349852946")
SELU_ALPHA = Decimal("1.6732632423543772848170429916717")
_ZERO, _ONE = Decimal(0), Decimal(1)


def tanh(x: Decimal) -> Decimal:
    """Hyperbolic tangent."""
    grown = (-2 * abs(x)).exp()
    return ((1 - grown) / (1 + grown)).copy_sign(x)


def sigmoid(x: Decimal) -> Decimal:
    """``1 / (1 + exp(-x))``."""
    grown = (-abs(x)).exp()
    return (_ONE if x > 0 else grown) / (1 + grown)


def elu(x: Decimal) -> Decimal:
    """Clevert et al. 2016, with alpha 1."""
    return x if x > 0 else x.exp() - 1


def selu(x: Decimal) -> Decimal:
    """Klambauer et al. 2017."""
    return SELU_SCALE * (x if x > 0 else SELU_ALPHA * elu(x))


def gelu(x: Decimal) -> Decimal:
    """Hendrycks and Gimpel 2016, not its tanh approximation: ``x * (1 + erf(x / sqrt(2))) / 2``."""
    return x * (1 + _erf(x / Decimal(2).sqrt())) / 2


def silu(x: Decimal) -> Decimal:
    """``x * sigmoid(x)``, also called swish."""
    return x * sigmoid(x)


def softplus(x: Decimal) -> Decimal:
    """``log(1 + exp(x))``."""
    return max(x, _ZERO) + (1 + (-abs(x)).exp()).ln()


def exp(x: Decimal) -> Decimal:
    """The exponential."""
    return x.exp()


def relu(x: Decimal) -> Decimal:
    """``max(x, 0)``."""
    return max(x, _ZERO)


def hardtanh(x: Decimal) -> Decimal:
    """``x`` clipped to [-1, 1]."""
    return max(-_ONE, min(_ONE, x))


def hardsigmoid(x: Decimal) -> Decimal:
    """``(x + 3) / 6`` clipped to [0, 1], as torch defines it."""
    return max(_ZERO, min(_ONE, (x + 3) / 6))


def hardswish(x: Decimal) -> Decimal:
    """``x * hardsigmoid(x)``, Howard et al. 2019."""
    return x * hardsigmoid(x)


def _erf(x: Decimal) -> Decimal:
    """Error function, by a series of positive terms (Abramowitz and Stegun 7.1.6)."""
    if abs(x) > 12:                         # 1 - erf(12) < 1e-63
        return _ONE.copy_sign(x)
    term = total = x
    n = 0
    while abs(term) > abs(total).scaleb(-DIGITS - 5):
        n += 1
        term *= 2 * x * x / (2 * n + 1)
        total += term
    return 2 * total * (-x * x).exp() / _pi().sqrt()


@cache
def _pi() -> Decimal:
    """Machin's formula."""
    with localcontext() as context:
        context.prec = DIGITS + 10
        return 16 * _arctan_of_inverse(5) - 4 * _arctan_of_inverse(239)


def _arctan_of_inverse(n: int) -> Decimal:
    power = total = _ONE / n
    k, square = 1, n * n
    while abs(power) > Decimal(10) ** -(DIGITS + 10):
        power /= -square
        k += 2
        total += power / k
    return total


#: By name. All are smooth or clipped; none has a pole.
FUNCTIONS: dict[str, Function] = {
    "tanh": tanh, "selu": selu, "elu": elu, "sigmoid": sigmoid, "gelu": gelu, "silu": silu,
    "softplus": softplus, "exp": exp, "relu": relu, "hardtanh": hardtanh,
    "hardsigmoid": hardsigmoid, "hardswish": hardswish}
