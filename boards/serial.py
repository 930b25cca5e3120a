"""The board as a `device.Device`, over its serial port."""
import serial

from accel.device import DeviceError
from accel.host import LinkDevice
from accel.spec.config import AccelConfig
from accel.spec.link import END

#: Seconds without a byte from the board after which it counts as silent.
PATIENCE = 2.0


class SerialDevice(LinkDevice):
    """A board that runs the bitstream of ``config``.

    Parameters
    ----------
    port
        Name of the serial port, as pyserial knows it.
    baud
        Bit rate of the board's file (`BoardSpec.baud`).
    """

    def __init__(self, config: AccelConfig, port: str, baud: int) -> None:
        super().__init__(config, self._exchange)
        try:
            self._port = serial.Serial(port, baud, timeout=PATIENCE)
        except serial.SerialException as error:
            raise DeviceError(f"cannot open serial port {port}: {error}") from None

    def _exchange(self, frame: bytes) -> bytes:
        self._port.reset_input_buffer()
        self._port.write(frame)
        reply = bytearray()
        while len(reply) < 2 or reply[-1] != END:
            byte = self._port.read(1)
            if not byte:
                raise DeviceError(f"no reply on {self._port.port} within {PATIENCE} s: is the "
                                  f"board programmed, and is this its port?")
            reply += byte
        return bytes(reply)

    def close(self) -> None:
        """Give the port back."""
        self._port.close()
