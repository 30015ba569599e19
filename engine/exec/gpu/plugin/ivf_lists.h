#pragma once

#include <cstdint>
#include <memory>

#include "cuda_kernels/ivf_scan.h"
#include "engine/exec/executor_abi.h"
#include "engine/exec/gpu/plugin/arena.h"
#include "engine/exec/gpu/plugin/device.h"

namespace baton::gpu {

// An inverted file's lists in the device's memory: what the ABI calls baton_ivf_lists. Never
// changes once VectorWork has filled it. The device outlives it.
class IvfLists {
 public:
  // What Create takes of the device's memory.
  static int64_t Bytes(const baton_ivf_job& job);
  static Fault Check(const baton_ivf_job& job);
  static Fault Create(Device& device, const baton_ivf_job& job, std::unique_ptr<IvfLists>* lists);

  bool product_codes() const { return product_codes_; }
  int64_t row_bytes() const { return row_bytes_; }
  int64_t lists() const { return lists_; }
  int64_t rows() const { return rows_; }
  cuda::IvfLists arrays() const {
    return {.begin = list_begin_,
            .list_rows = list_rows_,
            .rows = place_rows_,
            .codes = codes_,
            .terms = terms_};
  }

  // Sends what `job` points to. send(from, bytes, to): a copy, which is done when it returns.
  template <typename Send>
  Fault Fill(const baton_ivf_job& job, const Send& send) {
    const auto words = [](int64_t count) { return count * int64_t{sizeof(uint32_t)}; };
    BATON_GPU_TRY(send(job.list_begin, words(lists_), list_begin_));
    BATON_GPU_TRY(send(job.list_rows, words(lists_), list_rows_));
    BATON_GPU_TRY(send(job.place_rows, words(places_), place_rows_));
    BATON_GPU_TRY(send(job.codes, places_ * row_bytes_, codes_));
    if (terms_ == nullptr) return {};
    return send(job.terms, words(places_), terms_);
  }

 private:
  explicit IvfLists(const baton_ivf_job& job);
  void Place(Arena& arena);

  const bool product_codes_;
  const bool has_terms_;
  const int64_t row_bytes_;
  const int64_t lists_;
  const int64_t places_;
  const int64_t rows_;
  DeviceMemory memory_;
  uint32_t* list_begin_ = nullptr;  // [lists]
  uint32_t* list_rows_ = nullptr;   // [lists]
  uint32_t* place_rows_ = nullptr;  // [places]
  uint8_t* codes_ = nullptr;        // as cuda::IvfLists has them
  float* terms_ = nullptr;          // [places], or null
};

}  // namespace baton::gpu
