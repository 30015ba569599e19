// The best of a stream in a systolic row of cells: each keeps the better of what it has and what
// comes, and passes the other on a cycle later, so that no wire is longer than from cell to cell.
// The order is total: the higher score first, of equal ones the lower id. Ids are distinct.
//
// `insert` takes an item each cycle. CELLS cycles behind the last one the row is sorted; then each
// `shift` moves it up by a cell. `clear` empties it. Nothing moves without `enable`.
module top_cells #(
    parameter int CELLS = 64
) (
    input  logic               clock,
    input  logic               enable,
    input  logic               clear,
    input  logic               insert,
    input  logic signed [31:0] score,
    input  logic        [31:0] id,
    input  logic               shift,
    output logic               best_valid,
    output logic signed [31:0] best_score,
    output logic        [31:0] best_id
);
  // What each cell keeps, and what it passes to the next.
  logic               kept_valid[CELLS+1];
  logic signed [31:0] kept_score[CELLS+1];
  logic        [31:0] kept_id   [CELLS+1];
  logic               pass_valid[CELLS+1];
  logic signed [31:0] pass_score[CELLS+1];
  logic        [31:0] pass_id   [CELLS+1];

  assign pass_valid[0] = insert;
  assign pass_score[0] = score;
  assign pass_id[0] = id;
  // Behind the last cell there is nothing.
  assign kept_valid[CELLS] = 1'b0;
  assign kept_score[CELLS] = 32'sd0;
  assign kept_id[CELLS] = 32'd0;

  for (genvar i = 0; i < CELLS; i = i + 1) begin : gen_cell
    top_cell one (
        .clock(clock),
        .enable(enable),
        .clear(clear),
        .shift(shift),
        .in_valid(pass_valid[i]),
        .in_score(pass_score[i]),
        .in_id(pass_id[i]),
        .next_valid(kept_valid[i+1]),
        .next_score(kept_score[i+1]),
        .next_id(kept_id[i+1]),
        .kept_valid(kept_valid[i]),
        .kept_score(kept_score[i]),
        .kept_id(kept_id[i]),
        .pass_valid(pass_valid[i+1]),
        .pass_score(pass_score[i+1]),
        .pass_id(pass_id[i+1])
    );
  end

  assign best_valid = kept_valid[0];
  assign best_score = kept_score[0];
  assign best_id = kept_id[0];
endmodule

// verilator lint_off DECLFILENAME
// One of them: keeps the better of what it has and what comes from the cell before, and
// passes the other on. Each of the two is a validity, a score and an id.
module top_cell (
    input  logic               clock,
    input  logic               enable,
    input  logic               clear,
    input  logic               shift,       // takes what the next cell keeps
    input  logic               in_valid,    // from the cell before
    input  logic signed [31:0] in_score,
    input  logic        [31:0] in_id,
    input  logic               next_valid,  // what the next cell keeps
    input  logic signed [31:0] next_score,
    input  logic        [31:0] next_id,
    output logic               kept_valid,
    output logic signed [31:0] kept_score,
    output logic        [31:0] kept_id,
    output logic               pass_valid,  // to the next cell
    output logic signed [31:0] pass_score,
    output logic        [31:0] pass_id
);
  logic newcomer_first;
  assign newcomer_first = !kept_valid || in_score > kept_score ||
                          (in_score == kept_score && in_id < kept_id);
  always_ff @(posedge clock) begin
    if (enable) begin
      pass_valid <= in_valid && kept_valid;
      pass_score <= newcomer_first ? kept_score : in_score;
      pass_id    <= newcomer_first ? kept_id : in_id;
      if (shift) begin
        kept_valid <= next_valid;
        kept_score <= next_score;
        kept_id    <= next_id;
      end else if (in_valid && newcomer_first) begin
        kept_valid <= 1'b1;
        kept_score <= in_score;
        kept_id    <= in_id;
      end
      if (clear) begin
        kept_valid <= 1'b0;
        pass_valid <= 1'b0;
      end
    end
  end
endmodule
