#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace baton::load {

// Documents of runs (report.h) with the titles of their sections, as one HTML page that needs
// nothing else: no script, no link, plots as SVG.
std::string RenderHtml(const std::vector<std::pair<std::string, nlohmann::json>>& documents);

}  // namespace baton::load
