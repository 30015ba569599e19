#pragma once

// Declarations of the vendor's stream, so that the synthesis branch of kernels can be compiled
// where there is no vendor. Nothing is defined: it never links.

namespace hls {

template <class T, int depth = 0>
class stream;

template <class T>
class stream<T, 0> {
 public:
  stream();
  explicit stream(const char* name);
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  T read();
  void write(const T& value);
  bool empty() const;
  bool full() const;
};

template <class T, int depth>
class stream : public stream<T, 0> {
 public:
  stream();
  explicit stream(const char* name);
};

}  // namespace hls
