#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "engine/base/strings.h"
#include "server/writer_pool.h"

namespace baton {

// One RPC's way out: what a StreamWriter needs of a gRPC reactor. At most one write is in flight;
// the message lives until OnWriteDone, or until the RPC is over.
template <class Message>
class MessagePort {
 public:
  virtual ~MessagePort() = default;
  virtual void Write(const Message& message) = 0;      // then OnWriteDone is called
  virtual void WriteLast(const Message& message) = 0;  // ends the RPC with OK
  virtual void End(const absl::Status& status) = 0;    // ends the RPC
};

// The hand-over of one stream from the engine's loop to the writer threads. The loop pushes and
// never waits; a writer thread, or the transport when a write is done, takes. Tokens that a slow
// reader has left unread become one message, of at most `pending_bytes_max`: beyond that the stream
// is given up, `give_up` is called once to stop the request, and it ends with RESOURCE_EXHAUSTED.
// The port outlives the call that ends it. Thread safe; held by shared_ptr, so that a queued job
// keeps it alive.
template <class Message>
class StreamWriter : public std::enable_shared_from_this<StreamWriter<Message>> {
 public:
  struct Options {
    int64_t pending_bytes_max = 0;
    // Appends `next`'s tokens to `last` where both hold tokens, else returns false.
    bool (*coalesce)(Message& last, const Message& next) = nullptr;
    std::function<void()> give_up;  // called on the pushing thread, without a lock held
  };

  StreamWriter(MessagePort<Message>& port, WriterPool& pool, Options options)
      : port_(port), pool_(pool), options_(std::move(options)) {}

  // A message that there are few of in a stream; not counted as pending.
  void Push(Message message) { Add(std::move(message), 0); }

  // One of the unbounded many: counted, and merged with what is pending.
  void PushTokens(Message message) {
    const auto bytes = static_cast<int64_t>(message.ByteSizeLong());
    Add(std::move(message), bytes);
  }

  // Ends the RPC once everything pushed is written; nothing is pushed after.
  void End(absl::Status status) {
    {
      const std::lock_guard lock(mutex_);
      if (!end_.has_value()) end_ = std::move(status);
      if (!NeedsPumpLocked()) return;
      pump_queued_ = true;
    }
    PostPump();
  }

  // The transport's answer to Write(). `ok` false: the stream is broken, nothing more can be sent.
  void OnWriteDone(bool ok) {
    {
      const std::lock_guard lock(mutex_);
      write_in_flight_ = false;
      if (!ok) {
        broken_ = true;
        DropPendingLocked();
      }
    }
    Pump();
  }

 private:
  void Add(Message message, int64_t bytes) {
    bool gave_up = false;
    {
      const std::lock_guard lock(mutex_);
      if (broken_ || failure_.has_value()) return;
      if (bytes > 0 && pending_bytes_ + bytes > options_.pending_bytes_max) {
        failure_ = absl::ResourceExhaustedError(
            StrCat("the reader is too slow: more than server.stream_pending_bytes_max = ",
                   options_.pending_bytes_max, " bytes are waiting to be read"));
        DropPendingLocked();
        gave_up = true;
      } else {
        pending_bytes_ += bytes;
        if (pending_.empty() || !options_.coalesce(pending_.back(), message)) {
          pending_.push_back(std::move(message));
        }
        if (!NeedsPumpLocked()) return;
        pump_queued_ = true;
      }
    }
    if (gave_up) {
      options_.give_up();
    } else {
      PostPump();
    }
  }

  void DropPendingLocked() {
    pending_.clear();
    pending_bytes_ = 0;
  }

  bool NeedsPumpLocked() const { return !write_in_flight_ && !pump_queued_ && !ended_; }

  void PostPump() {
    pool_.Post([self = this->shared_from_this()] {
      {
        const std::lock_guard lock(self->mutex_);
        self->pump_queued_ = false;
      }
      self->Pump();
    });
  }

  // Sends the next thing, if it is time. The port is called without the lock: it may answer from
  // within, and the last call may end this object's owner.
  void Pump() {
    enum class Next { kNothing, kWrite, kWriteLast, kEnd } next = Next::kNothing;
    absl::Status status;
    {
      const std::lock_guard lock(mutex_);
      if (write_in_flight_ || ended_) return;
      if (!pending_.empty()) {
        in_flight_ = std::move(pending_.front());
        pending_.pop_front();
        if (pending_.empty()) pending_bytes_ = 0;
        const bool last = pending_.empty() && end_.has_value() && end_->ok();
        next = last ? Next::kWriteLast : Next::kWrite;
        write_in_flight_ = true;
        ended_ = last;
      } else if (end_.has_value()) {
        next = Next::kEnd;
        status = failure_.value_or(*end_);
        if (broken_ && status.ok()) status = absl::CancelledError("the client went away");
        ended_ = true;
      }
    }
    switch (next) {
      case Next::kNothing:
        break;
      case Next::kWrite:
        port_.Write(in_flight_);
        break;
      case Next::kWriteLast:
        port_.WriteLast(in_flight_);
        break;
      case Next::kEnd:
        port_.End(status);
        break;
    }
  }

  MessagePort<Message>& port_;
  WriterPool& pool_;
  const Options options_;

  std::mutex mutex_;  // guards what follows
  std::deque<Message> pending_;
  int64_t pending_bytes_ = 0;  // of tokens
  Message in_flight_;          // being written; not touched before OnWriteDone
  bool write_in_flight_ = false;
  bool pump_queued_ = false;
  bool broken_ = false;                  // the transport gave up
  std::optional<absl::Status> failure_;  // why the stream was given up here
  std::optional<absl::Status> end_;      // what the request ended with
  bool ended_ = false;                   // the port has been told
};

}  // namespace baton
