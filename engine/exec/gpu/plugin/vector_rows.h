#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <memory>

#include "cuda_kernels/pack_vectors.h"
#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// Rows on the device, as searches take them. What changes them is VectorWork. The device outlives
// it.
class VectorRows {
 public:
  // INVALID_ARGUMENT: the shape breaks a limit, which is named.
  static Fault Check(const baton_rows_shape& shape);
  // Of a shape that passes it.
  static int64_t Bytes(const baton_rows_shape& shape);
  static Fault Create(Device& device, const baton_rows_shape& shape,
                      std::unique_ptr<VectorRows>* rows);

  cuda::VectorMetric metric() const { return metric_; }
  int64_t dimension() const { return dimension_; }
  int64_t cols() const { return cuda::PackedColumns(dimension_); }
  int64_t capacity() const { return capacity_; }
  int64_t count() const { return count_; }
  __nv_bfloat16* packed() const { return packed_; }  // [capacity, cols], row-major
  float* terms() const { return terms_; }            // [capacity]; null under kInnerProduct
  uint32_t* live() const { return live_; }           // [(capacity + 31) / 32], of bits
  bool marked() const { return marked_; }            // else all are live

 private:
  friend class VectorWork;
  VectorRows() = default;
  void Place(Arena& arena);

  cuda::VectorMetric metric_ = {};
  int64_t dimension_ = 0;
  int64_t capacity_ = 0;
  int64_t count_ = 0;
  bool marked_ = false;
  DeviceMemory memory_;
  __nv_bfloat16* packed_ = nullptr;
  float* terms_ = nullptr;
  uint32_t* live_ = nullptr;
};

// baton_metric as kernels say it. INVALID_ARGUMENT: it is none.
Fault MetricOf(int32_t metric, cuda::VectorMetric* kernels);

}  // namespace baton::gpu
