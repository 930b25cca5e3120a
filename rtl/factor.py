"""What scales the totals and the summands of a configuration: by products, or by shifts."""
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from accel.spec.config import AccelConfig
from rtl.product import Product
from rtl.slices import lanes_in_luts
from rtl.term_product import PowerProduct, TermProduct

#: All have the ports ``a``, signed, ``b``, the code of the multiplier, and ``product``.
Factor = Product | TermProduct | PowerProduct


class Scaled(NamedTuple):
    """A component that scales, still to be made, and its cycles from operands to product."""

    make: Callable[[], Factor]
    latency: int


def total_factor(config: AccelConfig) -> Scaled:
    """Scales an accumulator and its bias; a multiplier's code comes without its sign."""
    bits, terms = config.acc_bits + 1, config.scales.terms
    if terms:
        return Scaled(partial(TermProduct, bits, terms), TermProduct.latency_of(terms))
    return _product(config, bits, config.scales.magnitude_bits)


def summand_factor(config: AccelConfig) -> Scaled:
    """Scales what an addition adds, a code without its zero point."""
    if config.scales.terms:
        return Scaled(partial(PowerProduct, config.act_bits + 1), PowerProduct.latency)
    return _product(config, config.act_bits + 1, config.scales.summand_bits)


def _product(config: AccelConfig, a_bits: int, b_bits: int) -> Scaled:
    in_luts = lanes_in_luts(config)
    return Scaled(partial(Product, a_bits, b_bits, in_luts=in_luts),
                  Product.latency_of(a_bits, b_bits, in_luts=in_luts))
