"""The emitted Verilog as a `device.Device`: Verilator's model behind a C loop, no Python per cycle.

Builds are cached under ``build/native`` by digest of Verilog and simulator.
"""
import ctypes
import hashlib
import os
import subprocess
from pathlib import Path

from accel.device import DeviceError
from accel.host import LinkDevice
from accel.spec.config import AccelConfig
from rtl.emit import verilog_text
from rtl.top import System
from sim import verilator
from sim.lock import locked

CACHE = Path("build/native")
#: Cycles without a byte from the core after which it counts as hung.
PATIENCE = 10_000_000

# Verilator spells the `__` of a flattened port name `___05F`.
HARNESS = """
#include <cstdint>
#include "Vaccel.h"
#include "verilated.h"
struct Simulation { VerilatedContext context; Vaccel top{&context}; uint64_t cycles = 0; };
static void tick(Simulation *s) {
    s->top.clk = 1; s->top.eval(); s->top.clk = 0; s->top.eval(); s->cycles++;
}
extern "C" {
Simulation *open_simulation() {
    auto s = new Simulation;
    s->top.rst = 1; s->top.clk = 0; s->top.eval();
    tick(s); tick(s);
    s->top.rst = 0; s->top.o___05Fready = 1; s->top.eval();
    return s;
}
void close_simulation(Simulation *s) { s->top.final(); delete s; }
uint64_t cycles(Simulation *s) { return s->cycles; }
// Send a frame, then collect bytes until the END that closes the reply. Returns their count, 0
// after `patience` silent cycles.
uint64_t exchange(Simulation *s, const uint8_t *sent, uint64_t count, uint8_t *reply,
                  uint64_t room, uint64_t patience) {
    uint64_t next = 0, got = 0, silent = 0;
    while (got < room && silent < patience) {
        s->top.i___05Fvalid = next < count;
        s->top.i___05Fpayload = next < count ? sent[next] : 0;
        s->top.eval();
        bool taken = s->top.i___05Fvalid && s->top.i___05Fready;
        bool given = s->top.o___05Fvalid;
        uint8_t byte = s->top.o___05Fpayload;
        tick(s);
        next += taken;
        silent = taken || given ? 0 : silent + 1;
        if (given) {
            reply[got++] = byte;
            if (byte == 0xC0 && got > 1) return got;
        }
    }
    return 0;
}
}
"""


def build(config: AccelConfig, *, latency: int = 0, interval: int = 1) -> Path:
    """Compile the simulation library of ``config``, with a `Memory` like that; returns its path."""
    text = verilog_text(System(config, latency=latency, interval=interval), "accel")
    key = hashlib.sha256("\0".join((text, HARNESS, verilator.version())).encode())
    folder = CACHE / f"{config.name}-{key.hexdigest()[:16]}"
    library = folder / "accel.so"
    with locked(folder):
        if not library.exists():
            _compile(text, folder)
    return library


def _compile(text: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "accel.v").write_text(text)
    (folder / "harness.cpp").write_text(HARNESS)
    _run(["verilator", "--cc", "--build", "--prefix", "Vaccel", "--top-module", "accel", "-O3",
          "--x-assign", "unique", "--x-initial", "unique", "--noassert", "-Wno-fatal", "-Wno-lint",
          "-Wno-style", "-CFLAGS", "-fPIC", "-j", str(os.cpu_count()), "--Mdir", "model",
          "accel.v"], folder)
    include = Path(verilator.environment().get("VERILATOR_ROOT") or _native_root()) / "include"
    _run(["g++", "-shared", "-fPIC", "-std=gnu++20", "-O2", "-Imodel", f"-I{include}",
          f"-I{include}/vltstd", "-o", "partial.so", "harness.cpp", "model/Vaccel__ALL.a",
          "model/libverilated.a", "-lpthread"], folder)
    (folder / "partial.so").rename(folder / "accel.so")


class NativeDevice(LinkDevice):
    """RTL of one configuration, simulated. A `device.Device`.

    Parameters
    ----------
    config
        The accelerator's.
    latency, interval
        Of a slower memory, see `rtl.memory.Memory`.
    """

    def __init__(self, config: AccelConfig, *, latency: int = 0, interval: int = 1) -> None:
        super().__init__(config, self._exchange)
        library = build(config, latency=latency, interval=interval)
        self._library = ctypes.CDLL(str(library.absolute()))
        self._library.open_simulation.restype = ctypes.c_void_p
        for name in ("cycles", "exchange"):
            getattr(self._library, name).restype = ctypes.c_uint64
        self._simulation = ctypes.c_void_p(self._library.open_simulation())
        self._reply = ctypes.create_string_buffer(4 * config.frame_bytes + 64)

    @property
    def cycles(self) -> int:
        """Clock cycles simulated so far, the link's included."""
        return int(self._library.cycles(self._simulation))

    def _exchange(self, frame: bytes) -> bytes:
        count = self._library.exchange(
            self._simulation, frame, ctypes.c_uint64(len(frame)), self._reply,
            ctypes.c_uint64(len(self._reply)), ctypes.c_uint64(PATIENCE))
        if not count:
            raise DeviceError(f"the core did not answer within {PATIENCE} cycles")
        return self._reply.raw[:count]

    def close(self) -> None:
        """Free the simulation."""
        self._library.close_simulation(self._simulation)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, env=verilator.environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise verilator.SimulatorError(f"{command[0]} failed in {folder}:\n{done.stdout[-3000:]}")


def _native_root() -> str:
    return subprocess.run(["verilator", "--getenv", "VERILATOR_ROOT"], text=True, check=True,
                          capture_output=True).stdout.strip()
