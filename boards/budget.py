"""From tool output to figures: what a build uses, how fast it is, and whether it fits."""
from collections.abc import Mapping
from typing import Any

from accel.spec.config import AccelConfig, ConfigError
from accel.spec.link import Space, space_shape
from boards.devices import Device
from boards.spec import BoardSpec
from rtl.slices import lanes_in_luts

BRAM_BITS = 18 * 1024
BRAM_MAX_WIDTH = 36
#: A memory of fewer bits may end in LUTs.
LUT_RAM_BITS = 2048
#: A constraint that differs by more is not the one that was asked for (nextpnr counts in ps).
CLOCK_TOLERANCE = 1e-3
GLOBAL = "$glbnet$"  # how nextpnr marks a net on the global network


def least_usage(config: AccelConfig) -> dict[str, int]:
    """What any implementation of ``config`` needs at least; certain, so a reason to refuse.

    DSP: one slice per MAC element, which may span two columns, and one per vector lane that
    multiplies in slices (ours has more). BRAM: each memory once, as wide as a block allows.
    """
    slices = config.rows * -(-config.cols // config.array.span)
    cells = slices if config.cell == "mac" and config.multiplier != "lut" else 0
    word_bits = config.word_lanes * config.act_bits
    memories = [space_shape(config, space) for space in
                (Space.INSTRUCTION, Space.OFFSET, Space.PARAM, Space.MEMORY)]
    memories += [
        # the host's address space of the weights has gaps, their memory has none
        (config.weight_depth * config.rows, config.cols * config.weight_bits),
        (config.act_depth, word_bits), (config.out_depth, word_bits),
        (config.acc_depth, config.cols * config.acc_bits)]
    blocks = sum(-(-depth * bits // BRAM_BITS) for depth, bits in memories
                 if depth * bits > LUT_RAM_BITS * BRAM_MAX_WIDTH)
    return {"DSP": cells + (0 if lanes_in_luts(config) else config.vector_lanes), "BRAM": blocks}


def check_config(config: AccelConfig, spec: BoardSpec) -> None:
    """Raise `ConfigError` if ``config`` cannot work, before any tool has run."""
    need, capacity = least_usage(config), spec.device.capacity
    depths = ("weight_depth", "mem_depth", "act_depth", "acc_depth", "out_depth")
    lanes = "" if lanes_in_luts(config) else f" and {config.vector_lanes} vector lanes"
    causes = {"DSP": f"rows x cols = {config.rows} x {config.cols} MAC cells "
                     f"({config.multiplier}){lanes}",
              "BRAM": ", ".join(f"{name} = {getattr(config, name)}" for name in depths)}
    if faults := [f"{name} at least {need[name]} of {capacity[name]} ({causes[name]})"
                  for name in need if need[name] > capacity[name]]:
        raise ConfigError(f"config {config.name!r} does not fit {spec.name} ({spec.device.part}): "
                          + "; ".join(faults))
    if fault := clock_fault(need["BRAM"], spec):
        raise ConfigError(f"config {config.name!r} on {spec.name}: {fault}")


def clock_fault(bram: int, spec: BoardSpec) -> str:
    """Why a design with ``bram`` block RAMs must not run at the board's clock, or nothing."""
    limit = spec.device.limit_mhz(bram)
    if limit is None or spec.clock_mhz <= limit:
        return ""
    return (f"clock must be at most {limit:g} MHz, not {spec.clock_mhz:g}: the design has block "
            f"RAM, whose clock pulses would be too short, which nextpnr does not check; "
            f"nearest: {limit:g}")


def resources(report: Mapping[str, Any], device: Device) -> dict[str, dict[str, int]]:
    """Used and available by resource, after placement; ``report`` is nextpnr's JSON."""
    return {name: {"used": int(report["utilization"][bel]["used"]),
                   "available": int(report["utilization"][bel]["available"])}
            for name, bel in device.bels.items() if bel in report["utilization"]}


def clocks(report: Mapping[str, Any], target_mhz: float) -> dict[str, dict[str, Any]]:
    """Net, target and achieved MHz by clock; the one constrained to ``target_mhz`` is ``sync``.

    ``ValueError`` if there is none: then the PLL's constraint did not reach nextpnr.
    """
    found = {}
    for label, value in report["fmax"].items():
        net, target = label.removeprefix(GLOBAL), float(value["constraint"])
        is_sync = abs(target / target_mhz - 1) <= CLOCK_TOLERANCE
        found["sync" if is_sync else net] = {
            "net": net, "target_mhz": target_mhz if is_sync else round(target, 3),
            "achieved_mhz": round(float(value["achieved"]), 3)}
    if "sync" not in found:
        raise ValueError(f"no clock is constrained to {target_mhz:g} MHz, only {found}")
    return found


def critical_path(report: Mapping[str, Any], clock: str) -> dict[str, Any]:
    """End points and delays in ns of the slowest register-to-register path on net ``clock``."""
    for entry in report.get("critical_paths", []):
        edges = [str(entry[end]).split(" ")[-1].removeprefix(GLOBAL) for end in ("from", "to")]
        if edges == [clock, clock] and entry["path"]:
            path = entry["path"]
            delay = {kind: round(sum(step["delay"] for step in path if
                                     (step["type"] == "routing") == (kind == "routing_ns")), 3)
                     for kind in ("logic_ns", "routing_ns")}
            return {"from": _end(path[0]["from"]), "to": _end(path[-1]["to"]), **delay,
                    "levels": sum(step["type"] == "logic" for step in path)}
    return {}


def _end(point: Mapping[str, Any]) -> str:
    return f"{point['cell']}.{point['port']}"


def missed(clock_table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Clocks that are slower than their target, as ``sync 55.10 of 60.00 MHz``."""
    return [f"{name} {clock['achieved_mhz']:.2f} of {clock['target_mhz']:.2f} MHz"
            for name, clock in clock_table.items() if clock["achieved_mhz"] < clock["target_mhz"]]
