#pragma once

// What travels in an emulated xclbin in the place of a bitstream: a shared library with the kernels
// in it. The emulation loads it as a card loads its configuration.

#include <cstddef>
#include <cstdint>
#include <string>

namespace baton::fpga {

// A configured card: its units, joined by its spec's streams. Units that run by themselves do so
// from the start on.
class CardImage {
 public:
  // Stops, and waits until the units that run by themselves have ended.
  virtual ~CardImage() = default;

  // Runs a unit of the spec to its end, on this thread; blocks. One run of a unit at a time.
  // `arguments` [arguments of its kernel]: numbers as they lie, addresses of this process for what
  // is in memory; those of streams are not looked at.
  virtual void Run(int unit, const uint64_t* arguments) = 0;
  // Ends every wait of every unit; what runs then give is worthless. For good.
  virtual void Stop() = 0;
  // Which unit or process of one waits at which stream, but for units that run by themselves: they
  // always do. The first of many.
  virtual std::string Waits() const = 0;
};

// The library's entry. `version` must be kCardImageVersion; null: `error` says why.
using MakeCardImage = CardImage*(uint32_t version, const char* spec, char* error,
                                 size_t error_bytes);
constexpr uint32_t kCardImageVersion = 1;
constexpr char kCardImageEntry[] = "baton_card_image";

}  // namespace baton::fpga
