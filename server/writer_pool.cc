#include "server/writer_pool.h"

#include <limits>
#include <utility>

#include "engine/base/thread_name.h"

namespace baton {

WriterPool::WriterPool(int threads) : jobs_(std::numeric_limits<size_t>::max()) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, i] {
      NameThread("answer", i);
      while (std::optional<Job> job = jobs_.Pop()) (*job)();
    });
  }
}

WriterPool::~WriterPool() {
  jobs_.Close();
  for (std::thread& thread : threads_) thread.join();
}

void WriterPool::Post(Job job) { jobs_.Push(std::move(job)); }

}  // namespace baton
