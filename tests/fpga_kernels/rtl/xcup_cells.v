// UltraScale+ cells that yosys' simulation library has no behaviour of, as far as its netlists of
// fpga_kernels/rtl use them (UG579, UG573): a multiplier without registers, and a block RAM with a
// port to read and one to write, 36 bits each. What a netlist would use beyond that stops it. And
// one that it has as a word that depends on itself, which verilator computes until nothing changes:
// four bits of a carry chain.

module CARRY4 (
    output [3:0] CO, O,
    input        CI, CYINIT,
    input  [3:0] DI, S
);
  wire carry = CI | CYINIT;
  wire carry_0 = S[0] ? carry : DI[0];
  wire carry_1 = S[1] ? carry_0 : DI[1];
  wire carry_2 = S[2] ? carry_1 : DI[2];
  wire carry_3 = S[3] ? carry_2 : DI[3];
  assign CO = {carry_3, carry_2, carry_1, carry_0};
  assign O = S ^ {carry_2, carry_1, carry_0, carry};
endmodule

module DSP48E2 #(
    parameter integer ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1,
    parameter integer CARRYINREG = 1, CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1,
    parameter integer MREG = 1, OPMODEREG = 1, PREG = 1,
    parameter AMULTSEL = "A", BMULTSEL = "B", A_INPUT = "DIRECT", B_INPUT = "DIRECT",
    parameter USE_MULT = "MULTIPLY", USE_SIMD = "ONE48"
) (
    input  [29:0] A, ACIN,
    input  [17:0] B, BCIN,
    input  [47:0] C, PCIN,
    input  [26:0] D,
    input  [ 4:0] INMODE,
    input  [ 3:0] ALUMODE,
    input  [ 8:0] OPMODE,
    input  [ 2:0] CARRYINSEL,
    input         CARRYIN,
    output [47:0] P
);
  wire signed [26:0] a = A[26:0];
  wire signed [17:0] b = B;
  wire signed [47:0] product = a * b;
  assign P = product;
  initial begin
    if (AREG + BREG + CREG + DREG + MREG + PREG + ADREG != 0 || AMULTSEL != "A" ||
        BMULTSEL != "B" || USE_MULT != "MULTIPLY" || USE_SIMD != "ONE48") begin
      $display("DSP48E2: a mode that is not modelled");
      $fatal;
    end
  end
  always @* if (OPMODE != 9'b000000101 || ALUMODE != 0 || INMODE != 0) begin
    $display("DSP48E2: an operation that is not modelled");
    $fatal;
  end
endmodule

module RAMB18E2 #(
    parameter integer DOA_REG = 1, DOB_REG = 1,
    parameter integer READ_WIDTH_A = 0, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 0,
    parameter WRITE_MODE_A = "NO_CHANGE", WRITE_MODE_B = "NO_CHANGE",
    parameter [17:0] SRVAL_A = 18'd0, parameter [17:0] SRVAL_B = 18'd0
) (
    input         CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB, ADDRENA, ADDRENB,
    input         RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB, SLEEP,
    input  [ 1:0] WEA,
    input  [ 3:0] WEBWE,
    input  [13:0] ADDRARDADDR, ADDRBWRADDR,
    input  [15:0] DINADIN, DINBDIN,
    input  [ 1:0] DINPADINP, DINPBDINP,
    output [15:0] DOUTADOUT, DOUTBDOUT,
    output [ 1:0] DOUTPADOUTP, DOUTPBDOUTP
);
  reg [35:0] memory[512];
  reg [35:0] read;
  wire [35:0] write = {DINPBDINP, DINBDIN, DINPADINP, DINADIN};
  integer i;
  always @(posedge CLKARDCLK) begin
    if (ENARDEN) read <= RSTRAMARSTRAM ? {SRVAL_B, SRVAL_A} : memory[ADDRARDADDR[13:5]];
  end
  // A byte with its parity bit.
  always @(posedge CLKBWRCLK) begin
    if (ENBWREN) begin
      if (WEBWE[0]) {memory[ADDRBWRADDR[13:5]][16], memory[ADDRBWRADDR[13:5]][7:0]} <=
          {write[16], write[7:0]};
      if (WEBWE[1]) {memory[ADDRBWRADDR[13:5]][17], memory[ADDRBWRADDR[13:5]][15:8]} <=
          {write[17], write[15:8]};
      if (WEBWE[2]) {memory[ADDRBWRADDR[13:5]][34], memory[ADDRBWRADDR[13:5]][25:18]} <=
          {write[34], write[25:18]};
      if (WEBWE[3]) {memory[ADDRBWRADDR[13:5]][35], memory[ADDRBWRADDR[13:5]][33:26]} <=
          {write[35], write[33:26]};
    end
  end
  assign {DOUTPBDOUTP, DOUTBDOUT, DOUTPADOUTP, DOUTADOUT} = read;
  initial begin
    if (DOA_REG != 0 || READ_WIDTH_A != 36 || WRITE_WIDTH_B != 36 || READ_WIDTH_B != 0 ||
        WRITE_WIDTH_A != 0) begin
      $display("RAMB18E2: a mode that is not modelled");
      $fatal;
    end
  end
endmodule
