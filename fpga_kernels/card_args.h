#pragma once

// What a card's xclbin is made of, as the host sees it: the contract of host, the specs in
// fpga_kernels/cards and whoever links an xclbin from them.
//
// Compute units are called KERNEL_0, KERNEL_1, ...; how many there are of each, and which bank each
// argument lies in, XRT tells of the xclbin. Unit i of `banks` gemv_bank is started with index i
// and units `banks`, and so is each kv_attention. gemv_lane and distance_engine run by themselves.
//
// Per model: one run of each gemv_bank and kv_attention, the vector unit and the sampler, which
// last until the sequencer is run with `ends`. Per token: one run of the sequencer. Per search: one
// run of a search unit.

#include <stddef.h>
#include <stdint.h>

namespace baton {
namespace fpga {

// Moves on with each change to this file or any other *_args.h that a host must know of. Each
// xclbin has a USER_METADATA section that begins with "baton fpga contract N\n".
constexpr uint32_t kContractVersion = 1;
constexpr char kContractTag[] = "baton fpga contract ";

// The version that a USER_METADATA section names; 0: none.
inline uint32_t ContractVersionOf(const char* section, size_t bytes) {
  const size_t tag_bytes = sizeof(kContractTag) - 1;
  for (size_t i = 0; i < tag_bytes; ++i) {
    if (i >= bytes || section[i] != kContractTag[i]) return 0;
  }
  uint32_t version = 0;
  for (size_t i = tag_bytes; i < bytes && section[i] != '\n'; ++i) {
    if (section[i] < '0' || section[i] > '9' || version > 99999) return 0;
    version = 10 * version + static_cast<uint32_t>(section[i] - '0');
  }
  return version;
}

// Indices of the arguments that the host sets; streams, which it does not, come behind them.
// Pointers lie in the one bank that the unit has for them, on multiples of 64 bytes.
enum SequencerArgument {
  kSequencerProgram = 0,  // DecodeCommand [command_count]
  kSequencerSampling = 1,
  kSequencerResult = 2,  // SamplerResult
  kSequencerCommandCount = 3,
  kSequencerPosition = 4,
  kSequencerEmbeddingAt = 5,
  kSequencerTableAt = 6,
  kSequencerEnds = 7,
};
enum GemvBankArgument { kGemvBankBank = 0, kGemvBankIndex = 1, kGemvBankUnits = 2 };
enum KvAttentionArgument {
  kKvAttentionKv = 0,
  kKvAttentionBlocks = 1,
  kKvAttentionIndex = 2,
  kKvAttentionUnits = 3,
};
enum VectorUnitArgument { kVectorUnitVectors = 0, kVectorUnitEmbeddings = 1 };
enum SamplerArgument { kSamplerLogitsOut = 0 };
enum FlatScanArgument {
  kFlatScanArgs = 0,
  kFlatScanQuery = 1,
  kFlatScanCodes = 2,
  kFlatScanLabels = 3,
  kFlatScanHits = 4,
};
enum HnswSearchArgument {
  kHnswSearchArgs = 0,
  kHnswSearchQueries = 1,
  kHnswSearchCodes = 2,
  kHnswSearchBiases = 3,
  kHnswSearchLinks = 4,
  kHnswSearchUpperLinks = 5,
  kHnswSearchLive = 6,
  kHnswSearchFineQueries = 7,
  kHnswSearchFine = 8,
  kHnswSearchHits = 9,
};
enum PqScanArgument {
  kPqScanArgs = 0,
  kPqScanProbes = 1,
  kPqScanTables = 2,
  kPqScanBlocks = 3,
  kPqScanTerms = 4,
  kPqScanRows = 5,
  kPqScanLive = 6,
  kPqScanHits = 7,
};

}  // namespace fpga
}  // namespace baton
