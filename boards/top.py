"""The accelerator on a board: clock, reset, serial port, lights."""
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.lib import io, wiring

from accel.spec.config import AccelConfig
from boards.ecp5_pll import ClockGenerator, plan_pll
from boards.spec import BoardSpec
from boards.uart import Uart, uart_divisor
from rtl.top import System


class BoardTop(wiring.Component):
    """Accelerator behind the board's UART, in the domain ``sync`` at ``spec.clock_mhz``.

    Light 0 blinks at about 1 Hz once the clock runs; light 1 shines while bytes cross the link.
    """

    def __init__(self, spec: BoardSpec, config: AccelConfig) -> None:
        self.spec, self.config = spec, config
        self.plan = plan_pll(spec.clock_input_mhz, spec.clock_mhz)
        self.divisor = uart_divisor(float(self.plan.output_mhz) * 1e6, spec.baud)
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.clock = clock = ClockGenerator(self.plan)
        clock_port = platform.request(spec.clock_resource, dir="-")
        m.submodules.clock_pin = clock_pin = io.Buffer("i", clock_port)
        m.d.comb += clock.source.eq(clock_pin.i)
        if spec.reset:
            m.submodules.reset_pin = reset_pin = io.Buffer("i", platform.request(*spec.reset,
                                                                                 dir="-"))
            m.d.comb += clock.reset.eq(reset_pin.i)

        m.submodules.uart = uart = Uart(self.divisor)
        serial = platform.request(spec.uart_resource, dir="-")
        m.submodules.rx_pin = rx_pin = io.Buffer("i", serial.rx)
        m.submodules.tx_pin = tx_pin = io.Buffer("o", serial.tx)
        m.d.comb += [uart.rx.eq(rx_pin.i), tx_pin.o.eq(uart.tx)]

        m.submodules.accelerator = accelerator = System(self.config)
        wiring.connect(m, uart.o, accelerator.i)
        wiring.connect(m, accelerator.o, uart.i)
        traffic = (uart.o.valid & uart.o.ready) | (uart.i.valid & uart.i.ready)
        self._lights(m, platform, traffic)
        return m

    def _lights(self, m: Module, platform: object, traffic: Signal) -> None:
        second = int(self.plan.output_mhz * 1_000_000)
        timer = Signal(range(second))
        # A byte lights the lamp for 2**19 cycles, about 10 ms.
        afterglow = Signal(19)
        m.d.sync += timer.eq(timer + 1)
        with m.If(timer == second - 1):
            m.d.sync += timer.eq(0)
        with m.If(traffic):
            m.d.sync += afterglow.eq(-1)
        with m.Elif(afterglow != 0):
            m.d.sync += afterglow.eq(afterglow - 1)
        for number, lit in enumerate((timer < second // 2, afterglow != 0)):
            pin = io.Buffer("o", platform.request(self.spec.leds, number, dir="-"))
            m.submodules[f"light_{number}_pin"] = pin
            m.d.comb += pin.o.eq(lit)
