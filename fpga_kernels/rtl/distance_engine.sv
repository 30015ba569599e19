// Scores of int8 codes against a query, and the best of them: the twin of
// fpga_kernels/hls/distance_engine.cc with the same streams; fpga_kernels/search_args.h says what
// they carry. A beat has LANES bytes: at 64 a 512-bit port, at 32 a 256-bit one. One beat a cycle.
// A header with beats = 0 is passed over.
module distance_engine #(
    parameter int LANES = 64,
    parameter int CELLS = 64,
    parameter int BEATS = 64  // of a code, at most
) (
    input  logic               ap_clk,
    input  logic               ap_rst_n,
    input  logic [LANES*8-1:0] in_tdata,
    input  logic               in_tvalid,
    output logic               in_tready,
    input  logic [       63:0] labels_tdata,   // bias, id
    input  logic               labels_tvalid,
    output logic               labels_tready,
    output logic [       63:0] out_tdata,      // id, score
    output logic               out_tvalid,
    input  logic               out_tready
);
  localparam int ADDRESS = $clog2(BEATS);
  localparam int LEVELS = $clog2(LANES);
  // Cycles from a beat to its part of the sum: the operands, the products, then the tree.
  localparam int DEPTH = 2 + LEVELS;

  typedef enum logic [2:0] {HEADER, QUERY, CODES, FLUSH, DRAIN} state_t;
  state_t state;

  logic [31:0] count_left;   // codes
  logic [31:0] beats;
  logic [31:0] kept;
  logic        shift_one;
  logic [31:0] query_beats;
  logic [31:0] beat;
  logic [ 7:0] wait_left;    // cycles until the pipeline and the cells are still
  logic [31:0] drain_left;

  logic [LANES*8-1:0] query[BEATS];

  // Everything moves, or nothing does.
  logic enable;
  assign enable = !out_tvalid || out_tready;

  logic last_beat;
  assign last_beat = beat + 1 == beats;
  logic take;  // a beat of a code
  assign take = state == CODES && enable && in_tvalid && (!last_beat || labels_tvalid);
  assign in_tready = enable && (state == HEADER || state == QUERY ||
                                (state == CODES && (!last_beat || labels_tvalid)));
  assign labels_tready = take && last_beat;

  // ---- The pipeline: operands, products, a tree of sums

  logic               stage_valid[DEPTH+1];
  logic               stage_last [DEPTH+1];
  logic               stage_first[DEPTH+1];
  logic        [63:0] stage_label[DEPTH+1];
  logic [LANES*8-1:0] code_operand;
  logic [LANES*8-1:0] query_operand;

  assign stage_valid[0] = take;
  assign stage_last[0] = last_beat;
  assign stage_first[0] = beat == 0;
  assign stage_label[0] = labels_tdata;

  for (genvar i = 0; i < DEPTH; i = i + 1) begin : gen_stage
    always_ff @(posedge ap_clk) begin
      if (!ap_rst_n) stage_valid[i+1] <= 1'b0;
      else if (enable) stage_valid[i+1] <= stage_valid[i];
      if (enable) begin
        stage_last[i+1]  <= stage_last[i];
        stage_first[i+1] <= stage_first[i];
        stage_label[i+1] <= stage_label[i];
      end
    end
  end

  always_ff @(posedge ap_clk) begin
    if (enable) begin
      code_operand  <= in_tdata;
      query_operand <= query[beat[ADDRESS-1:0]];
    end
  end

  // Sums of level n have 16 + n bits; each is kept in 32, of which synthesis drops the rest.
  for (genvar level = 0; level <= LEVELS; level = level + 1) begin : gen_level
    logic signed [15+level:0] sums[LANES >> level];
    for (genvar i = 0; i < (LANES >> level); i = i + 1) begin : gen_sum
      if (level == 0) begin : gen_product
        always_ff @(posedge ap_clk) begin
          if (enable) begin
            sums[i] <= $signed(code_operand[8*i+:8]) * $signed(query_operand[8*i+:8]);
          end
        end
      end else begin : gen_add
        always_ff @(posedge ap_clk) begin
          if (enable) begin
            sums[i] <= (16 + level)'(gen_level[level-1].sums[2*i]) +
                       (16 + level)'(gen_level[level-1].sums[2*i+1]);
          end
        end
      end
    end
  end

  // ---- Sums of beats, and what becomes of them

  logic signed [31:0] beat_sum;
  assign beat_sum = 32'(gen_level[LEVELS].sums[0]);
  logic signed [31:0] sum;
  logic signed [31:0] next_sum;
  assign next_sum = (stage_first[DEPTH] ? 32'sd0 : sum) + beat_sum;

  logic               scored;
  logic signed [31:0] score;
  logic        [31:0] score_id;
  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) scored <= 1'b0;
    else if (enable) scored <= stage_valid[DEPTH] && stage_last[DEPTH];
    if (enable) begin
      if (stage_valid[DEPTH]) sum <= next_sum;
      score <= (shift_one ? next_sum <<< 1 : next_sum) + $signed(stage_label[DEPTH][63:32]);
      score_id <= stage_label[DEPTH][31:0];
    end
  end

  logic               cell_valid;
  logic signed [31:0] cell_score;
  logic        [31:0] cell_id;
  top_cells #(
      .CELLS(CELLS)
  ) cells (
      .clock(ap_clk),
      .enable(enable),
      .clear(state == HEADER || !ap_rst_n),
      .insert(scored && kept != 0),
      .score(score),
      .id(score_id),
      .shift(state == DRAIN && wait_left == 0),
      .best_valid(cell_valid),
      .best_score(cell_score),
      .best_id(cell_id)
  );

  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) begin
      state <= HEADER;
      out_tvalid <= 1'b0;
    end else if (enable) begin
      out_tvalid <= 1'b0;
      if (scored && kept == 0) begin
        out_tvalid <= 1'b1;
        out_tdata  <= {score_id, score};
      end
      case (state)
        HEADER:
        if (in_tvalid) begin
          count_left <= in_tdata[31:0];
          beats <= in_tdata[63:32];
          kept <= in_tdata[95:64];
          shift_one <= in_tdata[96];
          query_beats <= in_tdata[159:128];
          beat <= 0;
          drain_left <= in_tdata[95:64];
          if (in_tdata[63:32] != 0) begin
            state <= in_tdata[159:128] != 0 ? QUERY : in_tdata[31:0] != 0 ? CODES : FLUSH;
          end
          wait_left <= 8'(DEPTH + 2);
        end
        QUERY:
        if (in_tvalid) begin
          query[beat[ADDRESS-1:0]] <= in_tdata;
          beat <= beat + 1;
          if (beat + 1 == query_beats) begin
            beat <= 0;
            state <= count_left != 0 ? CODES : FLUSH;
          end
        end
        CODES:
        if (take) begin
          beat <= last_beat ? 0 : beat + 1;
          if (last_beat) count_left <= count_left - 1;
          if (last_beat && count_left == 1) state <= FLUSH;
        end
        // Until the last score is out or on its way through the cells.
        FLUSH: begin
          wait_left <= wait_left - 1;
          if (wait_left == 0) begin
            state <= kept == 0 ? HEADER : DRAIN;
            wait_left <= 8'(CELLS);
          end
        end
        default:  // DRAIN
        if (wait_left != 0) begin
          wait_left <= wait_left - 1;
        end else begin
          out_tvalid <= 1'b1;
          out_tdata  <= cell_valid ? {cell_id, cell_score} : {32'hffffffff, 32'h80000000};
          drain_left <= drain_left - 1;
          if (drain_left == 1) state <= HEADER;
        end
      endcase
    end
  end
endmodule
