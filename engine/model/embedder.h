#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace baton {

// What makes one vector of a text. Immutable and thread safe.
class Embedder {
 public:
  enum class Kind {
    kLexical,   // a LexicalEmbedder
    kSemantic,  // a TextEncoder (text_encoder.h): an executor computes it
    // A TextEncoder that reads a query and a text together and gives one number, how well the text
    // answers the query. It embeds nothing.
    kCrossEncoder,
  };
  virtual ~Embedder() = default;
  virtual const std::string& name() const = 0;
  virtual Kind kind() const = 0;
  virtual int32_t dimension() const = 0;
};

// Looks at a text's words alone; computed by whoever asks.
class LexicalEmbedder : public Embedder {
 public:
  Kind kind() const final { return Kind::kLexical; }
  // Writes a vector of length one to out: [dimension()]. A text without any usable feature gives a
  // fixed unit vector, never zeros or NaN.
  virtual void Embed(std::string_view text, std::span<float> out) const = 0;
};

// The built-in embedder: words, word pairs and character n-grams hashed into `dimension` signed
// buckets, weighted and normalised. It knows nothing of meaning: texts match by the words and word
// parts they share. No file, no training.
std::unique_ptr<const LexicalEmbedder> MakeLexicalEmbedder(int32_t dimension);

}  // namespace baton
