// No include guard: each source that scans product codes includes this once, in the namespace of
// its instruction set, behind pq_keys-inl.h and its own SumBlocks, which adds up entries for
// kBlocks blocks, and kTogether, how many of them it is quickest with. Includes nothing that
// defines inline functions with linkage.
//
// defines: ScanAllBlocks

namespace {

template <int kBlocks>
inline void ScanBlocks(const PqScan& scan, int64_t block) {
  RowSums sums[kBlocks];
  SumBlocks<kBlocks>(scan.tables, scan.groups, scan.blocks + block * scan.groups * kPqLineBytes,
                     sums);
  for (int b = 0; b < kBlocks; ++b) StoreBlock(scan, sums[b], block + b);
}

inline void ScanAllBlocks(const PqScan& scan) {
  int64_t block = 0;
  for (; block + kTogether <= scan.block_count; block += kTogether) {
    ScanBlocks<kTogether>(scan, block);
  }
  for (; block < scan.block_count; ++block) ScanBlocks<1>(scan, block);
}

}  // namespace
