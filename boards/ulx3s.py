"""Radiona ULX3S with a Lattice LFE5U-85F; the pins come from amaranth-boards."""
from boards.devices import ECP5
from boards.spec import BoardSpec

ULX3S = BoardSpec(
    name="ulx3s",
    platform="amaranth_boards.ulx3s:ULX3S_85F_Platform",
    device=ECP5,
    preset="ecp5",
    clock_resource="clk25", clock_input_mhz=25.0,
    clock_mhz=125.0,
    # The FT231X goes up to 3 Mbit/s; 1 Mbit/s divides every whole number of megahertz.
    uart_resource="uart", baud=1_000_000,
    reset=("button_fire", 0),
    leds="led",
)
