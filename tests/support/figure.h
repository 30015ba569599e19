#pragma once

#include <iostream>
#include <string_view>

namespace baton {

// A figure that a test measured and a benchmark reports: `./dev bench fpga` runs tests and reads
// these lines.
inline void PrintFigure(std::string_view name, double value) {
  std::cout << "figure " << name << " " << value << std::endl;
}

}  // namespace baton
