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
    logic newcomer_first;
    assign newcomer_first = !kept_valid[i] || pass_score[i] > kept_score[i] ||
                            (pass_score[i] == kept_score[i] && pass_id[i] < kept_id[i]);
    always_ff @(posedge clock) begin
      if (enable) begin
        pass_valid[i+1] <= pass_valid[i] && kept_valid[i];
        pass_score[i+1] <= newcomer_first ? kept_score[i] : pass_score[i];
        pass_id[i+1]    <= newcomer_first ? kept_id[i] : pass_id[i];
        if (shift) begin
          kept_valid[i] <= kept_valid[i+1];
          kept_score[i] <= kept_score[i+1];
          kept_id[i]    <= kept_id[i+1];
        end else if (pass_valid[i] && newcomer_first) begin
          kept_valid[i] <= 1'b1;
          kept_score[i] <= pass_score[i];
          kept_id[i]    <= pass_id[i];
        end
        if (clear) begin
          kept_valid[i]   <= 1'b0;
          pass_valid[i+1] <= 1'b0;
        end
      end
    end
  end

  assign best_valid = kept_valid[0];
  assign best_score = kept_score[0];
  assign best_id = kept_id[0];
endmodule
