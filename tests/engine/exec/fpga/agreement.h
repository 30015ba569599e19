#pragma once

#include <algorithm>
#include <cmath>
#include <ostream>
#include <span>

namespace baton::fpga {

// How a card's logits agree with the CPU's, step by step over the same tokens.
struct Agreement {
  int steps = 0;
  int same_top = 0;
  double cosine_least = 1;  // of a step: where all logits are small, rounding shows most
  double products = 0;      // of all steps together
  double squares = 0;
  double want_squares = 0;

  void Add(std::span<const float> got, std::span<const float> want) {
    Agreement step;
    for (size_t i = 0; i < want.size(); ++i) {
      step.products += double{got[i]} * want[i];
      step.squares += double{got[i]} * got[i];
      step.want_squares += double{want[i]} * want[i];
    }
    cosine_least = std::min(cosine_least, step.cosine());
    products += step.products;
    squares += step.squares;
    want_squares += step.want_squares;
    const auto top = [](std::span<const float> of) {
      return std::max_element(of.begin(), of.end()) - of.begin();
    };
    ++steps;
    if (top(got) == top(want)) ++same_top;
  }
  double top_share() const { return static_cast<double>(same_top) / steps; }
  double cosine() const { return products / std::sqrt(squares * want_squares); }

  friend std::ostream& operator<<(std::ostream& out, const Agreement& a) {
    return out << "top-1 " << a.same_top << " of " << a.steps << ", logit cosine " << a.cosine()
               << ", of a step at least " << a.cosine_least;
  }
};

}  // namespace baton::fpga
