#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/exec/executor_abi.h"
#include "engine/exec/plugin_fault.h"

namespace baton::fpga {

using plugin::Fault;
using plugin::Text;

// Weights as banks hold them (fpga_kernels/gemv_args.h), made of matrices one under the other, such
// as queries, keys and values: int8 blocks of 64, each with the scale that its largest weight asks
// for. Reads the host's matrices, which outlive it.
class BankMatrix {
 public:
  // INVALID_ARGUMENT: it has no rows or columns, or the parts' columns differ.
  static Fault Make(const char* name, std::span<const baton_matrix> parts, BankMatrix* matrix);

  const char* name() const { return name_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  // What it takes of bank `index` of `banks`, in beats.
  uint64_t BankBeats(uint32_t index, uint32_t banks) const;

  // images [banks]: each becomes what that bank holds; weights stand for
  // scale * q * 2^-weight_shift. On several threads. INVALID_ARGUMENT: a weight is not finite.
  Fault Pack(const baton_host& host, std::span<std::vector<uint8_t>> images,
             int32_t* weight_shift) const;

 private:
  void ReadRow(const baton_host& host, int64_t row, float* values) const;

  const char* name_ = "";
  std::vector<baton_matrix> parts_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

}  // namespace baton::fpga
