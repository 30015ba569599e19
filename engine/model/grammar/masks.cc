#include "engine/model/grammar/masks.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/model/grammar/token_trie.h"

namespace baton {
namespace {

// Steps of one call, at ten nanoseconds each about 100 ms: an executor's other sequences wait for
// it. A mask of a state that allows most of 150,000 tokens takes 500,000.
constexpr size_t kWorkMax = 10'000'000;

// Readings and stacks at one depth of a walk down the tree; deeper ones stand behind.
struct Level {
  size_t begin;  // readings
  size_t end;
  size_t stacks;
};

void SetBit(TokenId token, std::span<uint64_t> mask) {
  mask[static_cast<size_t>(token) / 64] |= uint64_t{1} << (static_cast<size_t>(token) % 64);
}

}  // namespace

struct GrammarMasks::Mask {
  // Either of them: many tokens as bits, few as a list.
  std::vector<uint64_t> words;
  std::vector<TokenId> tokens;
  // Nodes of the short tokens' tree where the outermost rule has ended and below which there are
  // tokens that are not in the mask already and can come behind the rule.
  std::vector<uint32_t> exits;
  size_t open_tokens = 0;  // below the exits and not in the mask

  size_t bytes() const {
    return sizeof(*this) + words.size() * 8 + tokens.size() * 4 + exits.size() * 4;
  }
};

struct GrammarMasks::Scratch {
  explicit Scratch(const GrammarAutomaton& automaton) : stepper(automaton) {}

  // Walks the tree below `node`, where `readings` stand, as far as they can read.
  // reached(node, ended): for each node read up to, in order.
  template <class Reached>
  absl::Status Walk(const TokenTrie& trie, uint32_t node, Reached reached) {
    const auto nodes = trie.nodes();
    levels.clear();
    levels.push_back({0, readings.size(), stacks.size()});
    const size_t top = nodes[node].depth;
    for (uint32_t i = node + 1; i < nodes[node].behind;) {
      levels.resize(nodes[i].depth - top);
      const Level above = levels.back();
      readings.resize(above.end);
      stacks.Truncate(above.stacks);
      bool ended = false;
      if (!stepper.Step(above.begin, above.end, nodes[i].byte, stacks, readings, ended)) {
        if (stepper.out_of_work()) {
          return stepper.status();
        }
        i = nodes[i].behind;  // tokens that take the readings over a limit are not allowed
        continue;
      }
      const bool reads_on = readings.size() > above.end;
      if (reads_on || ended) {
        reached(i, ended);
      }
      if (reads_on) {
        levels.push_back({above.end, readings.size(), stacks.size()});
        ++i;
      } else {
        i = nodes[i].behind;
      }
    }
    readings.resize(levels.front().end);
    stacks.Truncate(levels.front().stacks);
    return absl::OkStatus();
  }

  GrammarStepper stepper;
  GrammarStacks stacks;
  std::vector<GrammarReading> readings;
  std::vector<Level> levels;
  std::vector<TokenId> tokens;
  std::vector<uint32_t> counts;  // [tokens of the tree + 1]
};

// A scratch of the pool, or a new one, given back at the end.
class GrammarMasks::ScratchLease {
 public:
  explicit ScratchLease(const GrammarMasks& masks) : masks_(masks) {
    {
      const std::lock_guard lock(masks.mutex_);
      if (!masks.idle_.empty()) {
        scratch_ = std::move(masks.idle_.back());
        masks.idle_.pop_back();
      }
    }
    if (scratch_ == nullptr) {
      scratch_ = std::make_unique<Scratch>(masks.automaton_);
    }
    scratch_->stepper.AllowWork(kWorkMax);
  }
  ~ScratchLease() {
    const std::lock_guard lock(masks_.mutex_);
    masks_.idle_.push_back(std::move(scratch_));
  }
  ScratchLease(const ScratchLease&) = delete;
  ScratchLease& operator=(const ScratchLease&) = delete;

  Scratch& operator*() const { return *scratch_; }

 private:
  const GrammarMasks& masks_;
  std::unique_ptr<Scratch> scratch_;
};

GrammarMasks::GrammarMasks(const GrammarAutomaton& automaton, const GrammarVocabulary& vocabulary,
                           size_t masks_bytes_max)
    : automaton_(automaton), vocabulary_(vocabulary), masks_bytes_max_(masks_bytes_max) {}
GrammarMasks::~GrammarMasks() = default;

size_t GrammarMasks::masks_bytes() const {
  const std::lock_guard lock(mutex_);
  return masks_bytes_;
}

absl::StatusOr<GrammarMasks::Known> GrammarMasks::Find(GrammarReading reading,
                                                       const GrammarStacks& stacks,
                                                       Scratch& scratch) const {
  Known known{.mask = nullptr, .stack = reading.stack};
  Context context = {automaton_.states[reading.state].mask_class};
  std::vector<uint32_t> states = {reading.state};
  for (;;) {
    ASSIGN_OR_RETURN(known.mask, FindOrMake(context, states, scratch));
    if (known.mask->open_tokens <= kOpenTokensMax || context.size() == kContextMax ||
        known.stack == GrammarStacks::kBottom) {
      return known;
    }
    const GrammarStacks::Frame& top = stacks.Top(known.stack);
    states.push_back(top.return_to);
    context.push_back(automaton_.states[top.return_to].mask_class);
    known.stack = top.below;
  }
}

absl::StatusOr<std::shared_ptr<const GrammarMasks::Mask>> GrammarMasks::FindOrMake(
    const Context& context, const std::vector<uint32_t>& states, Scratch& scratch) const {
  {
    const std::lock_guard lock(mutex_);
    const auto found = masks_.find(context);
    if (found != masks_.end()) {
      return found->second;
    }
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const Mask> mask, Make(states, scratch));
  const std::lock_guard lock(mutex_);
  if (masks_bytes_ + mask->bytes() > masks_bytes_max_) {
    masks_.clear();
    masks_bytes_ = 0;
  }
  if (masks_.try_emplace(context, mask).second) {
    masks_bytes_ += mask->bytes();
  }
  return mask;
}

absl::StatusOr<std::shared_ptr<const GrammarMasks::Mask>> GrammarMasks::Make(
    const std::vector<uint32_t>& states, Scratch& scratch) const {
  const TokenTrie& trie = vocabulary_.short_tokens();
  const auto nodes = trie.nodes();
  auto mask = std::make_shared<Mask>();
  scratch.stacks.Truncate(0);
  uint32_t stack = GrammarStacks::kBottom;
  for (size_t i = states.size() - 1; i > 0; --i) {
    stack = scratch.stacks.Push(states[i], stack);
  }
  scratch.readings = {{states[0], stack}};
  scratch.tokens.clear();
  // First the places of allowed tokens in the tree's order, counted from each of them on.
  scratch.counts.assign(trie.tokens().size() + 1, 0);
  RETURN_IF_ERROR(scratch.Walk(trie, TokenTrie::kRoot, [&](uint32_t node, bool ended) {
    for (uint32_t i = nodes[node].tokens; i < nodes[node + 1].tokens; ++i) {
      scratch.tokens.push_back(trie.tokens()[i]);
      scratch.counts[i + 1] = 1;
    }
    if (ended && nodes[node].behind > node + 1) {
      mask->exits.push_back(node);
    }
  }));
  if (!mask->exits.empty()) {
    for (size_t i = 1; i < scratch.counts.size(); ++i) {
      scratch.counts[i] += scratch.counts[i - 1];
    }
    const ByteSet& follow = automaton_.follow[automaton_.states[states.back()].rule];
    std::erase_if(mask->exits, [&](uint32_t node) {
      const uint32_t begin = nodes[node + 1].tokens;
      const uint32_t end = nodes[nodes[node].behind].tokens;
      const size_t open = end - begin - (scratch.counts[end] - scratch.counts[begin]);
      if (open == 0) {
        return true;
      }
      for (uint32_t child = node + 1; child < nodes[node].behind; child = nodes[child].behind) {
        if (follow[nodes[child].byte]) {
          mask->open_tokens += open;
          return false;
        }
      }
      return true;
    });
  }
  mask->exits.shrink_to_fit();
  // A list of 4 bytes a token against a bit for each of the vocabulary, which are faster to add.
  const auto vocabulary = static_cast<size_t>(vocabulary_.size());
  if (scratch.tokens.size() > vocabulary / 64) {
    mask->words.assign((vocabulary + 63) / 64, 0);
    for (const TokenId token : scratch.tokens) {
      SetBit(token, mask->words);
    }
  } else {
    mask->tokens = scratch.tokens;
  }
  return mask;
}

absl::Status GrammarMasks::Allowed(std::span<const GrammarReading> readings,
                                   const GrammarStacks& stacks, std::span<uint64_t> mask) const {
  const ScratchLease lease(*this);
  Scratch& scratch = *lease;
  std::fill(mask.begin(), mask.end(), 0);
  const auto add_tokens = [&](const TokenTrie& trie) {
    return [&](uint32_t node, bool) {
      for (const TokenId token : trie.TokensAt(node)) {
        SetBit(token, mask);
      }
    };
  };
  for (const GrammarReading& reading : readings) {
    ASSIGN_OR_RETURN(const Known known, Find(reading, stacks, scratch));
    for (size_t i = 0; i < known.mask->words.size(); ++i) {
      mask[i] |= known.mask->words[i];
    }
    for (const TokenId token : known.mask->tokens) {
      SetBit(token, mask);
    }
    if (known.mask->exits.empty() || known.stack == GrammarStacks::kBottom) {
      continue;
    }
    const GrammarStacks::Frame& top = stacks.Top(known.stack);
    scratch.stacks = stacks;
    scratch.readings.clear();
    bool ended = false;
    if (!scratch.stepper.Enter({top.return_to, top.below}, scratch.stacks, scratch.readings,
                               ended)) {
      return scratch.stepper.status();
    }
    if (scratch.readings.empty()) {
      continue;
    }
    const TokenTrie& trie = vocabulary_.short_tokens();
    for (const uint32_t exit : known.mask->exits) {
      RETURN_IF_ERROR(scratch.Walk(trie, exit, add_tokens(trie)));
    }
  }
  scratch.stacks = stacks;
  scratch.readings.assign(readings.begin(), readings.end());
  return scratch.Walk(vocabulary_.long_tokens(), TokenTrie::kRoot,
                      add_tokens(vocabulary_.long_tokens()));
}

absl::Status GrammarMasks::Start(std::vector<GrammarReading>& readings, GrammarStacks& stacks,
                                 bool& ended) const {
  const ScratchLease lease(*this);
  GrammarStepper& stepper = (*lease).stepper;
  if (!stepper.Enter({automaton_.root, GrammarStacks::kBottom}, stacks, readings, ended)) {
    return stepper.status();
  }
  return absl::OkStatus();
}

absl::Status GrammarMasks::Advance(std::span<const char> bytes,
                                   std::vector<GrammarReading>& readings, GrammarStacks& stacks,
                                   bool& ended) const {
  const ScratchLease lease(*this);
  GrammarStepper& stepper = (*lease).stepper;
  for (const char byte : bytes) {
    // Behind the end nothing follows: without readings no step ends.
    const size_t before = readings.size();
    if (!stepper.Step(0, before, static_cast<uint8_t>(byte), stacks, readings, ended)) {
      return stepper.status();
    }
    readings.erase(readings.begin(), readings.begin() + static_cast<std::ptrdiff_t>(before));
  }
  stacks.Keep(readings);
  return absl::OkStatus();
}

}  // namespace baton
