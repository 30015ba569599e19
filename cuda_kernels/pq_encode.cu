#include "cuda_kernels/pq_encode.h"

#include "cuda_kernels/launch.h"

namespace baton::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kCentroids = 16;
constexpr int kBlockRows = 32;  // of codes
constexpr int kLineBytes = 64;

// The codes of a pair of parts from m on, in one byte.
__device__ __forceinline__ uint8_t CodesOf(const PqEncodeArgs& args, int m, const float* vector,
                                           const float* centroid) {
  unsigned codes = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float distances[kCentroids] = {};
    const int64_t first = static_cast<int64_t>(m + half) * args.part;
    for (int64_t j = first; j < first + args.part; ++j) {
      // Beyond the dimension there is nothing left.
      const float rest = j < args.dimension ? __fsub_rn(vector[j], centroid[j]) : 0;
#pragma unroll
      for (int c = 0; c < kCentroids; ++c) {
        const float difference = __fsub_rn(rest, args.book[j * kCentroids + c]);
        distances[c] = __fadd_rn(distances[c], __fmul_rn(difference, difference));
      }
    }
    unsigned nearest = 0;
    float least = distances[0];
#pragma unroll
    for (int c = 1; c < kCentroids; ++c) {
      if (distances[c] < least) {
        least = distances[c];
        nearest = static_cast<unsigned>(c);
      }
    }
    codes |= nearest << (4 * half);
  }
  return static_cast<uint8_t>(codes);
}

// 48 * dimension FLOP to a row; reads it twice with its centroid, writes half a byte to each part.
// Warps have 32 rows each: a lane has pairs of parts of one row after another, then a row's term,
// whose sum has an order.
__global__ void __launch_bounds__(kWarps* kWarpThreads) PqEncodeKernel(PqEncodeArgs args) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpThreads;
  const int64_t first = warp * kWarpThreads;
  const int64_t end = min(args.rows, first + kWarpThreads);
  const int64_t block_bytes = static_cast<int64_t>(args.sub_quantizers / 4) * kLineBytes;
  const auto codes_of = [&](int64_t row) {
    const int64_t place = args.place_of[row];
    return args.codes + place / kBlockRows * block_bytes + place % kBlockRows;
  };
  for (int64_t row = first; row < end; ++row) {
    uint8_t* const codes = codes_of(row);
    const float* const vector = args.vectors + row * args.dimension;
    const float* const centroid = args.centroids + args.list_of[row] * args.dimension;
    for (int m = 2 * lane; m < args.sub_quantizers; m += 2 * kWarpThreads) {
      codes[m / 2 * kBlockRows] = CodesOf(args, m, vector, centroid);
    }
  }
  if (args.terms == nullptr) return;
  __syncwarp();  // a lane's row has its codes
  const int64_t row = first + lane;
  if (row >= end) return;
  const uint8_t* const codes = codes_of(row);
  const float* const centroid = args.centroids + args.list_of[row] * args.dimension;
  float term = 0;
  for (int64_t j = 0; j < args.dimension; ++j) {
    const int m = static_cast<int>(j / args.part);
    const int code = codes[m / 2 * kBlockRows] >> (4 * (m % 2)) & 15;
    const float value = args.book[j * kCentroids + code];
    const float apart = 2 * __fsub_rn(centroid[j], args.origin[j]);
    term = __fadd_rn(term, __fmul_rn(value, __fadd_rn(value, apart)));
  }
  args.terms[args.place_of[row]] = term;
}

}  // namespace

cudaError_t PqEncode(const PqEncodeArgs& args, cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  if (args.sub_quantizers < 4 || args.sub_quantizers % 4 != 0 || args.part < 1 ||
      args.dimension > static_cast<int64_t>(args.sub_quantizers) * args.part) {
    return cudaErrorInvalidValue;
  }
  const int64_t blocks = CeilDiv(args.rows, kWarps * kWarpThreads);
  return Launch(&PqEncodeKernel, {dim3(static_cast<unsigned>(blocks)), kWarps * kWarpThreads},
                stream, args);
}

}  // namespace baton::cuda
