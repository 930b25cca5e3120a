"""Radiona ULX3S with a Lattice LFE5U-85F; the pins come from amaranth-boards."""
from boards.spec import BoardSpec

ULX3S = BoardSpec(
    name="ulx3s",
    platform="amaranth_boards.ulx3s:ULX3S_85F_Platform",
    part="Lattice LFE5U-85F-6BG381C",
    # Lattice FPGA-DS-02012 "ECP5 and ECP5-5G Family", table 1.1; the counts are nextpnr's.
    capacity={"LUT4": 83640, "FF": 83640, "DSP": 156, "BRAM": 208},
    preset="ecp5",
    clock_resource="clk25", clock_input_mhz=25.0,
    clock_mhz=80.0,
    # The FT231X goes up to 3 Mbit/s; 1 Mbit/s divides every whole number of megahertz.
    uart_resource="uart", baud=1_000_000,
    reset=("button_fire", 0),
    leds="led",
)
