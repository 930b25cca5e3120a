"""The serial device, with a pseudo terminal for a cable and simulated RTL for a board."""
import os
import threading
import tty

import numpy as np
import pytest

from accel import golden
from accel.compile import compile_graph
from accel.device import DeviceError
from accel.spec.link import END
from boards import serial
from sim.native import NativeDevice
from tests.configs import TINY
from tests.graphs import Layer, build, images


@pytest.fixture
def cable():
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


@pytest.mark.slow
def test_runs_a_network(cable) -> None:
    ours, port = cable
    core = NativeDevice(TINY)

    def board() -> None:
        frame = b""
        while True:
            try:
                frame += os.read(ours, 4096)
            except OSError:
                return
            if len(frame) > 1 and frame[-1] == END:
                os.write(ours, core.exchange(frame))
                frame = b""

    threading.Thread(target=board, daemon=True).start()
    graph, codes = build(TINY, (1, 6, 6), [Layer(3, (3, 3))], 1), images(TINY, (1, 6, 6), 4, 1)
    device = serial.SerialDevice(TINY, port, 1_000_000)
    device.load(compile_graph(graph, TINY))
    expected = golden.run(graph, codes, TINY)[graph.output.name].numpy()
    np.testing.assert_array_equal(device.run(codes), expected)
    device.close()


def test_silence(cable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "PATIENCE", 0.1)
    device = serial.SerialDevice(TINY, cable[1], 1_000_000)
    program = compile_graph(build(TINY, (1, 3, 3), [Layer(1)], 1), TINY)
    with pytest.raises(DeviceError, match=r"no reply on .* is the board programmed"):
        device.load(program)


def test_no_such_port() -> None:
    with pytest.raises(DeviceError, match="cannot open serial port /dev/none"):
        serial.SerialDevice(TINY, "/dev/none", 1_000_000)
