// Products of int8 weights, 64 a beat with a scale each, and int16 x: the twin of
// fpga_kernels/hls/gemv_lane.cc with the same streams; fpga_kernels/gemv_args.h says what they
// carry.
// One beat a cycle. A header with blocks = 0 is passed over.
module gemv_lane #(
    parameter int BLOCKS = 512  // of a row, at most
) (
    input  logic         ap_clk,
    input  logic         ap_rst_n,
    input  logic [511:0] in_tdata,
    input  logic         in_tvalid,
    output logic         in_tready,
    output logic [ 63:0] out_tdata,
    output logic         out_tvalid,
    input  logic         out_tready
);
  localparam int LANES = 64;
  localparam int LEVELS = 6;
  localparam int ADDRESS = $clog2(BLOCKS);
  // Cycles from a block to its sum: operands, products, the tree.
  localparam int DEPTH = 2 + LEVELS;

  typedef enum logic [1:0] {HEADER, LOAD_X, SCALES, WEIGHTS} state_t;
  state_t state;

  logic [31:0] rows_left;
  logic [31:0] blocks;
  logic [31:0] block;
  logic        high_half;
  logic [ 4:0] tile_block;
  logic [511:0] scales;  // the next block's in the lowest 16 bits

  // x of a block in two halves, as two beats bring them.
  logic [511:0] x_low [BLOCKS];
  logic [511:0] x_high[BLOCKS];

  logic enable;
  assign enable = !out_tvalid || out_tready;
  assign in_tready = enable;
  logic take;
  assign take = enable && in_tvalid;

  logic last_block;
  assign last_block = block + 1 == blocks;

  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) begin
      state <= HEADER;
    end else if (take) begin
      case (state)
        HEADER: begin
          rows_left <= in_tdata[31:0];
          blocks <= in_tdata[63:32];
          block <= 0;
          high_half <= 1'b0;
          tile_block <= 0;
          if (in_tdata[63:32] != 0) state <= LOAD_X;
        end
        LOAD_X: begin
          high_half <= !high_half;
          if (high_half) begin
            block <= last_block ? 0 : block + 1;
            if (last_block) state <= rows_left != 0 ? SCALES : HEADER;
          end
        end
        SCALES: begin
          scales <= in_tdata;
          state  <= WEIGHTS;
        end
        default: begin  // WEIGHTS
          scales <= scales >> 16;
          tile_block <= tile_block + 1;
          block <= last_block ? 0 : block + 1;
          if (last_block) rows_left <= rows_left - 1;
          if (last_block && rows_left == 1) state <= HEADER;
          else if (tile_block == 31) state <= SCALES;
        end
      endcase
    end
  end

  always_ff @(posedge ap_clk) begin
    if (take && state == LOAD_X && !high_half) x_low[block[ADDRESS-1:0]] <= in_tdata;
    if (take && state == LOAD_X && high_half) x_high[block[ADDRESS-1:0]] <= in_tdata;
  end

  // ---- The pipeline: operands, products, a tree of sums

  logic         stage_valid[DEPTH+1];
  logic         stage_first[DEPTH+1];
  logic         stage_last [DEPTH+1];
  logic [ 15:0] stage_scale[DEPTH+1];
  logic [511:0] weights;
  logic [511:0] low;
  logic [511:0] high;

  assign stage_valid[0] = take && state == WEIGHTS;
  assign stage_first[0] = block == 0;
  assign stage_last[0] = last_block;
  assign stage_scale[0] = scales[15:0];

  for (genvar i = 0; i < DEPTH; i = i + 1) begin : gen_stage
    always_ff @(posedge ap_clk) begin
      if (!ap_rst_n) stage_valid[i+1] <= 1'b0;
      else if (enable) stage_valid[i+1] <= stage_valid[i];
      if (enable) begin
        stage_first[i+1] <= stage_first[i];
        stage_last[i+1]  <= stage_last[i];
        stage_scale[i+1] <= stage_scale[i];
      end
    end
  end

  always_ff @(posedge ap_clk) begin
    if (enable) begin
      weights <= in_tdata;
      low <= x_low[block[ADDRESS-1:0]];
      high <= x_high[block[ADDRESS-1:0]];
    end
  end

  for (genvar level = 0; level <= LEVELS; level = level + 1) begin : gen_level
    logic signed [23+level:0] sums[LANES >> level];
    for (genvar i = 0; i < (LANES >> level); i = i + 1) begin : gen_sum
      if (level == 0) begin : gen_product
        logic signed [15:0] x;
        assign x = i < 32 ? low[16*(i%32)+:16] : high[16*(i%32)+:16];
        always_ff @(posedge ap_clk) begin
          if (enable) sums[i] <= $signed(weights[8*i+:8]) * x;
        end
      end else begin : gen_add
        always_ff @(posedge ap_clk) begin
          if (enable) begin
            sums[i] <= (24 + level)'(gen_level[level-1].sums[2*i]) +
                       (24 + level)'(gen_level[level-1].sums[2*i+1]);
          end
        end
      end
    end
  end

  // ---- A block's scale, then the row's sum

  logic signed [29:0] block_sum;
  assign block_sum = gen_level[LEVELS].sums[0];
  logic signed [43:0] scaled;
  logic signed [50:0] shifted;
  logic        [ 2:0] scaled_shift;
  logic               scaled_valid, scaled_first, scaled_last;
  logic               shifted_valid, shifted_first, shifted_last;
  logic signed [63:0] sum;
  logic signed [63:0] next_sum;
  assign next_sum = (shifted_first ? 64'sd0 : sum) + 64'(shifted);

  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) begin
      scaled_valid  <= 1'b0;
      shifted_valid <= 1'b0;
      out_tvalid    <= 1'b0;
    end else if (enable) begin
      scaled_valid  <= stage_valid[DEPTH];
      shifted_valid <= scaled_valid;
      out_tvalid    <= shifted_valid && shifted_last;
    end
    if (enable) begin
      scaled <= block_sum * $signed({1'b0, stage_scale[DEPTH][12:0]});
      scaled_shift <= stage_scale[DEPTH][15:13];
      scaled_first <= stage_first[DEPTH];
      scaled_last <= stage_last[DEPTH];
      shifted <= 51'(scaled) <<< scaled_shift;
      shifted_first <= scaled_first;
      shifted_last <= scaled_last;
      if (shifted_valid) sum <= next_sum;
      if (shifted_valid && shifted_last) out_tdata <= next_sum;
    end
  end
endmodule
