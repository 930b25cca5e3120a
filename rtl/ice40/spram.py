"""SB_SPRAM256KA: single-port RAM of 16384 x 16 bits (Lattice TN1314, "iCE40 SPRAM Usage Guide").

A block reads or writes in a cycle, each nibble behind a write mask, and has neither an output
register, which comes from the fabric here, nor initial contents. The iCE40UP5K has 4 of them.
"""
from itertools import product
from typing import TYPE_CHECKING

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Signal

from rtl.arith import register

if TYPE_CHECKING:
    from rtl.spram import SinglePortRam

#: A block's size: bits of a word, write masks of a word, words.
WORD_BITS, MASKS, DEPTH = 16, 4, 16384
ADDRESS_BITS = (DEPTH - 1).bit_length()


def banks_and_columns(bits: int, depth: int) -> tuple[int, int]:
    """Blocks that share the words of a `rtl.spram.SinglePortRam`, and those that share a word."""
    return -(-depth // DEPTH), -(-bits // WORD_BITS)


def add_blocks(m: Module, ram: "SinglePortRam") -> None:
    """Make ``ram`` of blocks; those that do not hold its address are not selected."""
    banks, columns = banks_and_columns(ram.bits, ram.depth)
    within, bank_of = ram.addr[:ADDRESS_BITS], ram.addr[ADDRESS_BITS:]
    address = Cat(within, Const(0, ADDRESS_BITS - len(within)))
    data = Cat(ram.w_data, Const(0, WORD_BITS * columns - len(ram.w_data)))
    masks = Cat(ram.w_en, Const(0, MASKS * columns - len(ram.w_en)))
    words = [Signal(WORD_BITS * columns, name=f"bank_{bank}") for bank in range(banks)]
    for bank, column in product(range(banks), range(columns)):
        mask = masks.word_select(column, MASKS)
        m.submodules[f"block_{bank}_{column}"] = Instance(
            "SB_SPRAM256KA", i_CLOCK=ClockSignal(), i_ADDRESS=address,
            i_CHIPSELECT=bank_of == bank if banks > 1 else Const(1),
            i_WREN=mask.any(), i_MASKWREN=mask,
            i_DATAIN=data.word_select(column, WORD_BITS),
            o_DATAOUT=words[bank][WORD_BITS * column:][:WORD_BITS],
            i_STANDBY=Const(0), i_SLEEP=Const(0), i_POWEROFF=Const(1))   # POWEROFF is active low
    which = Array(words)[register(m, bank_of, "which_bank")] if banks > 1 else words[0]
    m.d.sync += ram.r_data.eq(which[:ram.bits])
