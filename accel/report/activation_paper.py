"""The experiment of Yang et al. 2018 in open cells: 18 tables, and circuits in their place.

Per point: the size of a writable table, of its read multiplexer alone and of a constant table left
to synthesis, over that of a circuit of ours under each contract.
"""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accel.circuits.paper import POINTS, Point
from accel.circuits.store import Circuit
from accel.circuits.verilog import verilog_mux, verilog_table
from accel.report.activation_rows import in_cells, kept, measured, ratio, sha256
from accel.report.cells import CellFigures, storage_area
from accel.spec.relation import TRUNCATED

#: Area of "LUT/memory based" over theirs, as the paper's abstract gives it, and its clocks in GHz.
PUBLISHED = {"tanh": (3.13, 7.69), "selu": (4.45, 8.45)}
PUBLISHED_GHZ = {"tanh": 5.14, "selu": 4.52}
BASELINES = {"writable": "flip-flops with enable and a read multiplexer",
             "mux": "the read multiplexer alone, its words from outside",
             "table": "a constant `case` table, minimized by yosys and ABC"}
NOTES = (
    ("Yang et al. 2018: inputs are [0, 2) for tanh and [-3.875, 0) for SELU in 16, 32 or 64 bins; "
     "the output is the magnitude, in 4, 6 or 8 fraction bits. tanh's integer bit, always 0, is "
     "left out everywhere. truncated: bit for bit the paper's table."),
    ("Ratios are areas: a baseline's smallest mapping over ours. Baselines: "
     + "; ".join(f"{name}: {text}" for name, text in BASELINES.items()) + "."),
    ("The published ratios (3.13 to 7.69 for tanh, 4.45 to 8.45 for SELU, 28 nm, Design Compiler) "
     "are over 'LUT or memory'; that this is an unminimized table, as writable or mux here, is our "
     "reading: the abstract does not say. Against a table that is synthesised, far less is to be "
     "had."),
    ("Delays are without wires and flip-flops; GHz is their inverse. mux and writable: of the "
     "fastest mapping, as the smallest drives every word from one gate, unbuffered; their area "
     "is that of the smallest, which flatters them."),
)


def paper_row(circuit: Circuit, liberty: Path) -> dict[str, Any]:
    """Figures of one circuit, and of what stands against it."""
    (point,) = (point for point in POINTS if point.name == circuit.wish.function)
    row = measured(circuit, liberty, bipartites=0).row
    storage, mux, table = _baselines(point, liberty)
    areas = {"writable": storage + mux.area_um2, "mux": mux.area_um2, "table": table.area_um2}
    return {
        **row, "name": point.name, "words": 1 << point.input_bits,
        "word_bits": point.out_format.bits,
        "golden": circuit.codes == point.golden() if circuit.wish.contract == TRUNCATED else None,
        **{f"{name}_area_um2": round(area, 3) for name, area in areas.items()},
        "storage_area_um2": round(storage, 3), "mux_delay_ps": mux.fast_delay_ps,
        "mux_fast_area_um2": mux.fast_area_um2, "table_delay_ps": table.delay_ps,
        "table_fast_area_um2": table.fast_area_um2, "table_fast_delay_ps": table.fast_delay_ps,
        **{f"ratio_{name}": ratio(area, row["area_um2"]) for name, area in areas.items()},
        "published_ratio": list(PUBLISHED[point.function]),
        "published_ghz": PUBLISHED_GHZ[point.function],
        "clock_ghz": _ghz(row["delay_ps"]), "fast_clock_ghz": _ghz(row["fast_delay_ps"])}


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Range of each ratio and of the clock, by function and contract."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["name"].split("_")[0], row["contract"]), []).append(row)
    return [{"function": function, "contract": contract, "points": len(group),
             **{key: [min(row[key] for row in group), max(row[key] for row in group)]
                for key in (*(f"ratio_{name}" for name in BASELINES), "clock_ghz",
                            "fast_clock_ghz")},
             "published_ratio": list(PUBLISHED[function]),
             "published_ghz": PUBLISHED_GHZ[function]}
            for (function, contract), group in groups.items()]


def _baselines(point: Point, liberty: Path) -> tuple[float, CellFigures, CellFigures]:
    """Area of the storage, figures of the read multiplexer and of the constant table."""
    inputs, outputs = point.input_bits, point.out_format.bits
    bits = outputs << inputs
    byte = kept("storage", [sha256(liberty)], lambda: {
        "um2": storage_area(8, liberty, quiet=True)})["um2"]
    words = point.golden()      # an unsigned input: the rising order is that of the codes
    return (byte * bits / 8, in_cells(verilog_mux(inputs, outputs), liberty),
            in_cells(verilog_table(words, inputs, outputs), liberty))


def _ghz(delay_ps: float) -> float | None:
    return round(1000 / delay_ps, 3) if delay_ps else None
