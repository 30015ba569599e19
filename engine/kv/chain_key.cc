#include "engine/kv/chain_key.h"

#include <random>

namespace baton {
namespace {

// Mixes a word into a state that has all its bits: the finaliser of SplitMix64 (Steele et al.,
// OOPSLA 2014).
uint64_t MixChain(uint64_t state, uint64_t word) {
  uint64_t z = (state ^ word) + 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

}  // namespace

KvChainHash::KvChainHash() {
  std::random_device device;
  const auto word = [&] { return uint64_t{device()} << 32 | device(); };
  seed_high_ = word();
  seed_low_ = word();
}

KvChainKey KvChainHash::Root(std::string_view tenant) const {
  KvChainKey key = {.high = MixChain(seed_high_, tenant.size()),
                    .low = MixChain(seed_low_, tenant.size())};
  for (const char c : tenant) {
    key.high = MixChain(key.high, static_cast<unsigned char>(c));
    key.low = MixChain(key.low, static_cast<unsigned char>(c));
  }
  return key;
}

KvChainKey KvChainHash::Next(KvChainKey parent, std::span<const TokenId> tokens) const {
  // The seeds go in once more, so that who knew a key could not go on from it.
  KvChainKey key = {.high = MixChain(parent.high, seed_high_),
                    .low = MixChain(parent.low, seed_low_)};
  for (const TokenId token : tokens) {
    key.high = MixChain(key.high, static_cast<uint32_t>(token));
    key.low = MixChain(key.low, static_cast<uint32_t>(token));
  }
  return key;
}

}  // namespace baton
