#include "engine/exec/gpu/plugin/vector_rows.h"

#include "cuda_kernels/merge_top_k.h"

namespace baton::gpu {

Fault MetricOf(int32_t metric, cuda::VectorMetric* kernels) {
  switch (metric) {
    case BATON_METRIC_L2:
      *kernels = cuda::VectorMetric::kL2;
      return {};
    case BATON_METRIC_INNER_PRODUCT:
      *kernels = cuda::VectorMetric::kInnerProduct;
      return {};
    case BATON_METRIC_COSINE:
      *kernels = cuda::VectorMetric::kCosine;
      return {};
    default:
      return {BATON_INVALID_ARGUMENT, Text("a metric of an unknown kind, ", metric)};
  }
}

Fault VectorRows::Check(const baton_rows_shape& shape) {
  cuda::VectorMetric metric;
  BATON_GPU_TRY(MetricOf(shape.metric, &metric));
  if (shape.dimension < 1) {
    return {BATON_INVALID_ARGUMENT,
            Text("vectors of dimension ", shape.dimension, ", must be at least 1")};
  }
  if (shape.capacity < 1 || shape.capacity >= cuda::kNoRow) {
    return {BATON_INVALID_ARGUMENT,
            Text("memory for ", shape.capacity, " vectors, must be 1 to ", cuda::kNoRow - 1)};
  }
  return {};
}

void VectorRows::Place(Arena& arena) {
  packed_ = arena.Take<__nv_bfloat16>(capacity_ * cols());
  if (metric_ != cuda::VectorMetric::kInnerProduct) terms_ = arena.Take<float>(capacity_);
  live_ = arena.Take<uint32_t>(cuda::CeilDiv(capacity_, 32));
}

int64_t VectorRows::Bytes(const baton_rows_shape& shape) {
  VectorRows rows;
  static_cast<void>(MetricOf(shape.metric, &rows.metric_));
  rows.dimension_ = shape.dimension;
  rows.capacity_ = shape.capacity;
  Arena counts;
  rows.Place(counts);
  return counts.bytes();
}

Fault VectorRows::Create(Device& device, const baton_rows_shape& shape,
                         std::unique_ptr<VectorRows>* rows) {
  BATON_GPU_TRY(Check(shape));
  std::unique_ptr<VectorRows> created(new VectorRows);
  BATON_GPU_TRY(MetricOf(shape.metric, &created->metric_));
  created->dimension_ = shape.dimension;
  created->capacity_ = shape.capacity;
  BATON_GPU_TRY(device.Allocate("vectors", Bytes(shape), &created->memory_));
  Arena arena(created->memory_.data());
  created->Place(arena);
  *rows = std::move(created);
  return {};
}

}  // namespace baton::gpu
