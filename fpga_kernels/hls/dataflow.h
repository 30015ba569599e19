#pragma once

// The native side of stream.h: threads for processes, and who waits for whom. Never synthesised.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace baton::fpga {

class Channel;

// The processes of one region and of those within it: how many there are, and how many of them wait
// at a stream. Once all do, none will ever go on: a deadlock. Then every wait ends, reads give T(),
// and the processes run to their ends.
class ProcessMonitor {
 public:
  std::string failure() const;

 private:
  friend class Channel;
  friend class Dataflow;
  friend class UnitSpace;
  struct Wait {
    const char* process;
    Channel* channel;
    bool reads;
  };
  // With mutex_ held.
  void CheckProgress();
  static std::string Describe(const Wait& wait);
  void Fail(const std::string& why);

  mutable std::mutex mutex_;
  int running_ = 0;  // processes, less those that wait for processes of their own to end
  std::vector<Wait> waits_;
  std::string failure_;
  std::atomic<bool> failed_{false};
};

// A bounded queue's positions; the items are the stream's. Reading and writing take no lock unless
// one side waits.
class Channel {
 public:
  bool empty() const { return written_.load() == read_.load(); }

 protected:
  Channel(const char* name, int depth) : name_(name), depth_(static_cast<uint64_t>(depth)) {}

  // False after a deadlock, or where nobody could ever end the wait.
  bool AwaitItem() { return !empty() || Wait(true); }
  bool AwaitRoom() { return !full() || Wait(false); }
  size_t ReadSlot() const { return read_.load(std::memory_order_relaxed) % depth_; }
  size_t WriteSlot() const { return written_.load(std::memory_order_relaxed) % depth_; }
  void PopItem() {
    read_.fetch_add(1);
    if (writer_waits_.load()) Wake();
  }
  void PushItem() {
    written_.fetch_add(1);
    if (reader_waits_.load()) Wake();
  }

 private:
  friend class ProcessMonitor;
  bool full() const { return written_.load() - read_.load() == depth_; }
  bool Wait(bool reads);
  void Wake();

  const char* const name_;
  const uint64_t depth_;
  // Sequentially consistent, as are the flags: of a side that moves on and one that begins to wait,
  // one sees the other.
  std::atomic<uint64_t> written_{0};
  std::atomic<uint64_t> read_{0};
  std::atomic<bool> reader_waits_{false};
  std::atomic<bool> writer_waits_{false};
  // Under the monitor's mutex.
  ProcessMonitor* monitor_ = nullptr;  // of whoever waits
  std::condition_variable awake_;
};

// A region of processes, each a thread. Within a process of another region it joins that one's
// monitor. The destructor waits for all.
class Dataflow {
 public:
  Dataflow();
  ~Dataflow() { Join(); }
  Dataflow(const Dataflow&) = delete;
  Dataflow& operator=(const Dataflow&) = delete;

  // `name` outlives the region.
  void Start(const char* name, std::function<void()> process);
  void Join();

 private:
  std::shared_ptr<ProcessMonitor> monitor_;
  const bool nested_;
  int live_ = 0;  // under the monitor's mutex, like
  bool joined_ = false;
  std::vector<std::thread> threads_;
};

// The compute units of a card: processes that threads of others run, joined by streams that outlive
// their runs. A unit may wait for one that is yet to be started, so no wait counts as a deadlock:
// it ends with what it waits for, or with Stop().
class UnitSpace {
 public:
  UnitSpace();
  UnitSpace(const UnitSpace&) = delete;
  UnitSpace& operator=(const UnitSpace&) = delete;

  // Runs it on this thread; `name` outlives the run.
  void Run(const char* name, const std::function<void()>& unit);
  // Ends every wait, now and later: reads give T(), and units run to their ends. For good.
  void Stop();
  // Who waits at which stream, one text each, beginning with the process.
  std::vector<std::string> Waits() const;

 private:
  const std::shared_ptr<ProcessMonitor> monitor_;
};

// What the last outermost region of this thread, or a stream outside of any, ran into, with every
// stream that was waited at; empty: nothing. Asking clears it.
std::string TakeDataflowFailure();

}  // namespace baton::fpga
