"""The circuits that the repository keeps: those of the presets and of the report."""
from dataclasses import replace

from accel.circuits.paper import POINTS
from accel.circuits.store import Wish, wish_of
from accel.spec.formats import Format
from accel.spec.presets import PRESETS
from accel.spec.relation import CONTRACTS, TRUNCATED
from accel.spec.tables import PLAIN

#: Functions of the report's first table, and the fewest levels that ``within1`` shall have.
FUNCTIONS = {"tanh": 2, "sigmoid": 2, "elu": 2, "selu": 3, "gelu": 3, "silu": 3}
#: Levels of the monotone circuits, where three do not do.
MONOTONE_LEVELS = {"selu": 5}
EIGHT, TEN = Format.parse("Q3.5"), Format.parse("Q3.7")
#: Contracts under which the report builds the paper's circuits.
PAPER_CONTRACTS = (TRUNCATED, "faithful", "within1")
#: Search efforts, by target. Several: the search counts gates, and which circuit is least in
#: cells is not known before each is mapped. Many short searches differ more than a long one does.
EFFORTS = {"lut4": (1.0,), "area": (0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)}


def wishes() -> list[Wish]:
    """Every circuit that the repository keeps."""
    return [*unit_wishes(), *table_wishes(), *paper_wishes()]


def unit_wishes() -> list[Wish]:
    """The activation units of the presets, under every contract."""
    specs = {spec.function: (config, spec) for config in PRESETS.values()
             for spec in config.activation_specs if spec.function not in PLAIN}
    return [wish_of(replace(spec, contract=contract), config.act_bits)
            for config, spec in specs.values() for contract in CONTRACTS]


def table_wishes() -> list[Wish]:
    """Point for point what the report's table shows."""
    wishes = []
    for name, levels in FUNCTIONS.items():
        wishes += [Wish(name, EIGHT, EIGHT, "within1", levels=3)]
        if levels < 3:
            wishes += [Wish(name, EIGHT, EIGHT, "within1", levels=levels)]
        wishes += [Wish(name, EIGHT, EIGHT, contract) for contract in ("faithful", "exact")]
    wishes += [Wish(name, TEN, TEN, "within1") for name in ("tanh", "selu", "sigmoid")]
    # beside the free circuit of as many levels, so that the cost can be seen
    wishes += [Wish(name, EIGHT, EIGHT, "within1", levels=levels)
               for name, levels in MONOTONE_LEVELS.items()]
    wishes += [Wish(name, EIGHT, EIGHT, "within1", levels=MONOTONE_LEVELS.get(name, 3),
                    monotone=True) for name in FUNCTIONS]
    wishes += [Wish(name, EIGHT, EIGHT, contract, target="area") for name in FUNCTIONS
               for contract in ("within1", "faithful", "exact")]
    return wishes


def paper_wishes() -> list[Wish]:
    """The paper's 18 circuits in gates: bit for bit, and with the freedom that a contract gives."""
    return [Wish(point.name, point.in_format, point.out_format, contract, target="area",
                 call=point.magnitude)
            for point in POINTS for contract in PAPER_CONTRACTS]
