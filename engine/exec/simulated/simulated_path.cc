#include "engine/exec/simulated/simulated_path.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/base/simd_level.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/exec/cpu/kernels/kv_convert.h"
#include "engine/transfer/kv_conversion.h"

namespace baton {

struct SimulatedPath::State {
  struct Copy {
    Job job;
    bool due = false;
    bool done = false;
    absl::Status status;
  };

  State(const SimulatedPathOptions& options, std::shared_ptr<SimulatedDevice> from,
        std::shared_ptr<SimulatedDevice> to, Timeline& when)
      : source(std::move(from)),
        destination(std::move(to)),
        timeline(when),
        script(options.faults, when.clock().NowUs()) {}

  bool Is(FaultScript::Mode mode) const {
    return script.mode() == mode || (source != nullptr && source->mode() == mode) ||
           (destination != nullptr && destination->mode() == mode);
  }

  absl::Status Fault(const std::string& name) const {
    if (Is(FaultScript::Mode::kLost)) {
      return absl::UnavailableError(StrCat("simulated path ", name, ": an end of it is lost"));
    }
    if (script.mode() == FaultScript::Mode::kFailing) {
      return absl::InternalError(StrCat("simulated failure of path ", name));
    }
    return absl::OkStatus();
  }

  // Tries a copy, and those posted before it first: a block's layers arrive in order.
  void TryInOrder(Ticket ticket, const std::string& name) {
    for (auto& [at, copy] : copies) {
      if (at <= ticket) Try(copy, name);
    }
  }

  // Does what is due, unless something hangs.
  void Try(Copy& copy, const std::string& name) {
    if (copy.done) return;
    script.Advance(timeline.clock().NowUs());
    copy.status = Fault(name);
    if (copy.status.ok()) {
      if (!copy.due || Is(FaultScript::Mode::kHung)) return;
      copy.status = Do(copy.job);
    }
    copy.done = true;
  }

  absl::Status Do(const Job& job) {
    std::vector<const std::byte*> from;  // whole blocks
    std::vector<const std::byte*> to;
    for (const void* block : job.sources) {
      from.push_back(static_cast<const std::byte*>(block) - job.offset_bytes);
    }
    for (const void* block : job.destinations) {
      to.push_back(static_cast<const std::byte*>(block) - job.offset_bytes);
    }
    if (source != nullptr) RETURN_IF_ERROR(source->CheckWritten(from));
    // With its first layers a block is written; further ones are lost where those are.
    const bool first_layers =
        job.conversion ? job.conversion->layer_begin == 0 : job.offset_bytes == 0;
    if (destination != nullptr && !first_layers) RETURN_IF_ERROR(destination->CheckWritten(to));
    if (job.conversion) {
      KvConversionRun run(*job.conversion, job.sources, job.destinations,
                          KvConverterFor(DetectedSimdLevel()));
      while (run.Step()) {
      }
    }
    for (size_t i = 0; i < from.size() && !job.conversion; ++i) {
      std::memcpy(job.destinations[i], job.sources[i], static_cast<size_t>(job.block_bytes));
    }
    if (destination != nullptr && first_layers) destination->Write(to);
    return absl::OkStatus();
  }

  const std::shared_ptr<SimulatedDevice> source;
  const std::shared_ptr<SimulatedDevice> destination;
  Timeline& timeline;
  std::mutex mutex;  // before the devices'
  FaultScript script;
  std::map<Ticket, Copy> copies;
  TimeUs free_us = 0;
  Ticket next_ticket = 1;
};

SimulatedPath::SimulatedPath(SimulatedPathOptions options, std::shared_ptr<SimulatedDevice> source,
                             std::shared_ptr<SimulatedDevice> destination, Timeline& timeline)
    : options_(std::move(options)),
      state_(
          std::make_shared<State>(options_, std::move(source), std::move(destination), timeline)) {}

SimulatedPath::~SimulatedPath() {
  const std::lock_guard lock(state_->mutex);
  state_->copies.clear();
}

bool SimulatedPath::Connects(const MemorySpace& source, const MemorySpace& destination) const {
  return options_.from == source && options_.to == destination;
}

absl::StatusOr<CopyPath::Ticket> SimulatedPath::Post(const Job& job) {
  const std::lock_guard lock(state_->mutex);
  State& state = *state_;
  const TimeUs now_us = state.timeline.clock().NowUs();
  state.script.Advance(now_us);
  state.script.CountBatch();
  RETURN_IF_ERROR(state.Fault(options_.name));
  const auto bytes = static_cast<double>(job.bytes());
  const double us =
      (options_.latency_us + bytes / (options_.gb_per_s * 1e3)) * state.script.slow_factor();
  state.free_us = std::max(state.free_us, now_us) + std::llround(us);
  const Ticket ticket = state.next_ticket++;
  state.copies.emplace(ticket, State::Copy{.job = job, .status = {}});
  state.timeline.At(state.free_us, [held = state_, ticket, name = options_.name] {
    const std::lock_guard inner(held->mutex);
    const auto it = held->copies.find(ticket);
    if (it == held->copies.end()) return;
    it->second.due = true;
    held->TryInOrder(ticket, name);
  });
  return ticket;
}

absl::StatusOr<bool> SimulatedPath::Poll(Ticket ticket) {
  const std::lock_guard lock(state_->mutex);
  const auto it = state_->copies.find(ticket);
  if (it == state_->copies.end()) {
    return absl::NotFoundError(StrCat("simulated path ", options_.name, " has no copy ", ticket));
  }
  state_->TryInOrder(ticket, options_.name);
  if (!it->second.done) return false;
  const absl::Status status = it->second.status;
  state_->copies.erase(it);
  RETURN_IF_ERROR(status);
  return true;
}

void SimulatedPath::Cancel(Ticket ticket) {
  const std::lock_guard lock(state_->mutex);
  state_->copies.erase(ticket);
}

void SimulatedPath::Inject(SimulatedFault fault, double factor) {
  const std::lock_guard lock(state_->mutex);
  state_->script.Apply(fault, factor);
}

size_t SimulatedPath::open_count() const {
  const std::lock_guard lock(state_->mutex);
  return state_->copies.size();
}

}  // namespace baton
