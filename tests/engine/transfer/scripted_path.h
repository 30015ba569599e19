#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "engine/transfer/copy_path.h"
#include "tests/support/status_matchers.h"

namespace baton {

// A path whose every copy follows a script. It counts what is open and fails the test where it is
// asked of a ticket that it has not given, or that is gone.
class ScriptedPath final : public CopyPath {
 public:
  struct Script {
    absl::Status post;
    int polls = 0;         // that say no, before the one that
    absl::Status outcome;  // says this
  };

  explicit ScriptedPath(std::string name = "scripted") : name_(std::move(name)) {}

  const std::string& name() const override { return name_; }
  bool Connects(const MemorySpace&, const MemorySpace&) const override { return true; }
  bool Converts() const override { return converts; }
  bool Packs(const KvConversion&) const override { return pack != nullptr; }
  absl::StatusOr<Ticket> Post(const Job& job) override {
    const Script script = next ? next() : defaults;
    if (!script.post.ok()) return script.post;
    ++posted;
    if (job.conversion) ++packed;
    last = job;
    copies_.emplace(++ticket_, Copy{script, job});
    return ticket_;
  }
  absl::StatusOr<bool> Poll(Ticket ticket) override {
    const auto it = copies_.find(ticket);
    REQUIRE(it != copies_.end());
    Copy& copy = it->second;
    if (copy.script.polls-- > 0) return false;
    const absl::Status outcome = copy.script.outcome;
    if (outcome.ok() && !copy.job.conversion) {
      for (size_t i = 0; i < copy.job.sources.size(); ++i) {
        std::memcpy(copy.job.destinations[i], copy.job.sources[i],
                    static_cast<size_t>(copy.job.block_bytes));
      }
    }
    if (outcome.ok() && copy.job.conversion && pack != nullptr) pack(copy.job);
    copies_.erase(it);
    if (!outcome.ok()) return outcome;
    return true;
  }
  void Cancel(Ticket ticket) override {
    REQUIRE(copies_.erase(ticket) == 1);
    ++cancelled;
  }
  size_t open() const { return copies_.size(); }

  Script defaults;
  std::function<Script()> next;  // instead of defaults, where set
  bool converts = false;
  std::function<void(const Job&)> pack;  // where set, it packs so
  int posted = 0;
  int packed = 0;  // of these, with a conversion
  int cancelled = 0;
  Job last;

 private:
  struct Copy {
    Script script;
    Job job;
  };
  const std::string name_;
  std::map<Ticket, Copy> copies_;
  Ticket ticket_ = 0;
};

}  // namespace baton
