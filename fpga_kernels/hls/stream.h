#pragma once

// Streams between dataflow processes. For synthesis they are the vendor's; natively they are
// bounded by the same depth, and each process is a thread, so that what would hang on a card is
// reported as a deadlock in a unit test instead of being hidden by an endless queue.
//
//   void Kernel(const Beat* in, Stream<Sum>& out) {
//   #pragma HLS dataflow
//     Stream<Beat, 32> beats("beats");
//     BATON_DATAFLOW(region);
//     BATON_PROCESS(region, ReadBeats(in, beats));
//     BATON_PROCESS(region, AddUp(beats, out));
//   }  // natively the processes are joined here
//
// A stream has one reader and one writer. read() and write() have the vendor's names.

#ifdef __SYNTHESIS__

#include <hls_stream.h>

namespace baton {
namespace fpga {

template <class T, int depth = 0>
using Stream = hls::stream<T, depth>;

}  // namespace fpga
}  // namespace baton

#define BATON_DATAFLOW(region)
#define BATON_PROCESS(region, call) call

#else

#include <utility>
#include <vector>

#include "fpga_kernels/hls/dataflow.h"

namespace baton {
namespace fpga {

template <class T, int depth = 0>
class Stream;

// What functions take, whatever the depth.
template <class T>
class Stream<T, 0> : private Channel {
 public:
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Blocks while the stream is empty. After a deadlock: T(), which every loop over a stream takes
  // for its end or counts as any other.
  T read() {
    if (!AwaitItem()) return T();
    T value = slots_[ReadSlot()];
    PopItem();
    return value;
  }
  // Blocks while the stream is full. After a deadlock nothing is written.
  void write(const T& value) {
    if (!AwaitRoom()) return;
    slots_[WriteSlot()] = value;
    PushItem();
  }
  bool empty() const { return Channel::empty(); }

 protected:
  Stream(const char* name, int depth) : Channel(name, depth), slots_(depth) {}

 private:
  std::vector<T> slots_;  // [depth]
};

template <class T, int depth>
class Stream : public Stream<T, 0> {
 public:
  static_assert(depth >= 1, "a stream has room for one item at least");
  explicit Stream(const char* name) : Stream<T, 0>(name, depth) {}
};

}  // namespace fpga
}  // namespace baton

#define BATON_DATAFLOW(region) ::baton::fpga::Dataflow region
#define BATON_PROCESS(region, call) region.Start(#call, [&] { call; })

#endif
