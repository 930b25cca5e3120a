// Models of ECP5 primitives that yosys ships as black boxes, as far as rtl/ecp5 uses them. Ports
// that are not used are missing, so that connecting one fails; parameters and pin values that
// are not modelled end the simulation.

// One register stage of a DSP slice, or a wire if CLK is "NONE".
module systolith_dsp_register #(
    parameter BITS = 1, parameter CLK = "NONE", parameter CE = "CE0", parameter RST = "RST0"
) (
    input [3:0] clk, ce, rst, input [BITS-1:0] i, output [BITS-1:0] o
);
    localparam C = CLK == "CLK3" ? 3 : CLK == "CLK2" ? 2 : CLK == "CLK1" ? 1 : 0;
    localparam E = CE == "CE3" ? 3 : CE == "CE2" ? 2 : CE == "CE1" ? 1 : 0;
    localparam R = RST == "RST3" ? 3 : RST == "RST2" ? 2 : RST == "RST1" ? 1 : 0;
    wire clock = clk[C];
    reg [BITS-1:0] held = 0;
    always @(posedge clock)
        if (rst[R]) held <= 0;
        else if (ce[E]) held <= i;
    assign o = CLK == "NONE" ? i : held;
    initial if ((CLK != "NONE" && CLK != "CLK0" && C == 0) || (CE != "CE0" && E == 0)
                || (RST != "RST0" && R == 0)) begin
        $display("%m: no register with clock %s, enable %s, reset %s", CLK, CE, RST);
        $fatal;
    end
endmodule

// Lattice FPGA-TN-02205, "ECP5 and ECP5-5G sysDSP Usage Guide": P = A * B, each operand signed or
// not, with registers at the inputs, behind the multiplier's first half, and at the output.
module MULT18X18D (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24,
    output P23, P22, P21, P20, P19, P18, P17, P16, P15, P14, P13, P12,
    output P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0";
    parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0";
    parameter REG_PIPELINE_CLK = "NONE", REG_PIPELINE_CE = "CE0", REG_PIPELINE_RST = "RST0";
    parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0";
    parameter CLK0_DIV = "ENABLED", CLK1_DIV = "ENABLED", CLK2_DIV = "ENABLED";
    parameter CLK3_DIV = "ENABLED", HIGHSPEED_CLK = "NONE", GSR = "ENABLED";
    parameter CAS_MATCH_REG = "FALSE", SOURCEB_MODE = "B_SHIFT", MULT_BYPASS = "DISABLED";
    parameter RESETMODE = "SYNC";

    wire [3:0] clk = {CLK3, CLK2, CLK1, CLK0}, ce = {CE3, CE2, CE1, CE0};
    wire [3:0] rst = {RST3, RST2, RST1, RST0};
    wire [18:0] a_i = {SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5,
                       A4, A3, A2, A1, A0};
    wire [18:0] b_i = {SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5,
                       B4, B3, B2, B1, B0};
    wire signed [18:0] a, b;
    wire signed [37:0] product = a * b;
    wire [35:0] late, p;
    systolith_dsp_register #(19, REG_INPUTA_CLK, REG_INPUTA_CE, REG_INPUTA_RST)
        register_a (clk, ce, rst, a_i, a);
    systolith_dsp_register #(19, REG_INPUTB_CLK, REG_INPUTB_CE, REG_INPUTB_RST)
        register_b (clk, ce, rst, b_i, b);
    systolith_dsp_register #(36, REG_PIPELINE_CLK, REG_PIPELINE_CE, REG_PIPELINE_RST)
        register_pipeline (clk, ce, rst, product[35:0], late);
    systolith_dsp_register #(36, REG_OUTPUT_CLK, REG_OUTPUT_CE, REG_OUTPUT_RST)
        register_output (clk, ce, rst, late, p);
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
            P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1,
            P0} = p;

    initial if (CLK0_DIV != "ENABLED" || CLK1_DIV != "ENABLED" || CLK2_DIV != "ENABLED"
                || CLK3_DIV != "ENABLED" || HIGHSPEED_CLK != "NONE" || CAS_MATCH_REG != "FALSE"
                || SOURCEB_MODE != "B_SHIFT" || MULT_BYPASS != "DISABLED"
                || RESETMODE != "SYNC") begin
        $display("%m: a parameter of this MULT18X18D is not modelled");
        $fatal;
    end
    always @(posedge CLK0) if (SOURCEA === 1'b1 || SOURCEB === 1'b1) begin
        $display("%m: operands from the neighbouring slice are not modelled");
        $fatal;
    end
endmodule

// Lattice FPGA-TN-02204, "ECP5 and ECP5-5G Memory Usage Guide": block RAM that is written at port
// A and read at port B, at equal widths, on one clock. Zero at first. A word that is read in the
// cycle that writes it comes out inverted: the block promises nothing then.
module DP16KD (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
    input DIA4, DIA3, DIA2, DIA1, DIA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
    input DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
    output DOA4, DOA3, DOA2, DOA1, DOA0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
    output DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18, REGMODE_A = "NOREG", REGMODE_B = "NOREG";
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL", RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC", CSDECODE_A = "0b000", CSDECODE_B = "0b000";
    parameter GSR = "ENABLED";

    localparam W = DATA_WIDTH_A;
    localparam SHIFT = W == 36 ? 5 : W == 18 ? 4 : W == 9 ? 3 : W == 4 ? 2 : W == 2 ? 1 : 0;
    localparam BYTE = W < 9 ? W : 9;
    localparam WORDS = 16384 >> SHIFT;
    reg [W-1:0] cells [0:WORDS-1];
    reg [W-1:0] array_o = 0, register_o = 0;
    wire [35:0] di = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7,
                      DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0, DIA17, DIA16, DIA15, DIA14, DIA13,
                      DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1,
                      DIA0};
    wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2,
                       ADA1, ADA0};
    wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2,
                       ADB1, ADB0};
    wire [13:0] w_addr = ada >> SHIFT, r_addr = adb >> SHIFT;
    wire [3:0] byte_en = W == 36 ? ada[3:0] : W == 18 ? {2'b00, ada[1:0]} : 4'b0001;
    wire writes = CEA && WEA && byte_en != 0;
    integer k;
    initial for (k = 0; k < WORDS; k = k + 1) cells[k] = 0;

    always @(posedge CLKA) if (CEA && WEA)
        for (k = 0; k < W / BYTE; k = k + 1)
            if (byte_en[k]) cells[w_addr][k * BYTE +: BYTE] <= di[k * BYTE +: BYTE];
    always @(posedge CLKB) begin
        if (CEB) array_o <= writes && w_addr == r_addr ? ~cells[r_addr] : cells[r_addr];
        if (OCEB) register_o <= array_o;
    end

    // a 36-bit word comes out at both ports, any other at port B
    wire [35:0] o = REGMODE_B == "OUTREG" ? register_o : array_o;
    wire [35:0] pins = W == 36 ? o : {o[17:0], 18'bx};
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
            DOB4, DOB3, DOB2, DOB1, DOB0, DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10,
            DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = pins;

    initial if (DATA_WIDTH_B != W || (SHIFT == 0 && W != 1)
                || (REGMODE_B != "OUTREG" && REGMODE_B != "NOREG")
                || (W == 36 && REGMODE_A != REGMODE_B) || WRITEMODE_A != "NORMAL"
                || WRITEMODE_B != "NORMAL" || RESETMODE != "SYNC" || CSDECODE_A != "0b000"
                || CSDECODE_B != "0b000") begin
        $display("%m: a parameter of this DP16KD is not modelled");
        $fatal;
    end
    always @(posedge CLKB) if ({WEB, RSTA, RSTB, CSA2, CSA1, CSA0, CSB2, CSB1, CSB0} !== 9'b0
                               || (W == 36 && OCEA !== OCEB)) begin
        $display("%m: a write at port B, a reset or a deselected block is not modelled");
        $fatal;
    end
endmodule
