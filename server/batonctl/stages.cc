#include "server/batonctl/stages.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {

std::string PlatformWord(v1::Platform platform) {
  return platform == v1::PLATFORM_UNSPECIFIED ? "-"
                                              : EnumWord(v1::Platform_Name(platform), "PLATFORM_");
}

std::string WorkClassWord(v1::WorkClass work_class) {
  return work_class == v1::WORK_CLASS_UNSPECIFIED
             ? "-"
             : EnumWord(v1::WorkClass_Name(work_class), "WORK_CLASS_");
}

std::string PlatformOf(const v1::Route& route) {
  return absl::StrCat(PlatformWord(route.platform()), route.emulated() ? " (emulated)" : "",
                      route.fallback()
                          ? absl::StrCat(" (fallback from ", PlatformWord(route.preferred()), ")")
                          : "");
}

void PrintStages(std::ostream& out, const v1::Timings& timings) {
  Table table({"stage", "class", "platform", "device", "rule", ">queue", ">run", ">items", "why"});
  std::set<std::string> passed_over;  // most stages pass over the same devices for one reason
  for (const v1::Stage& stage : timings.stages()) {
    const v1::Route& route = stage.route();
    table.AddRow({stage.name(), WorkClassWord(route.work_class()), PlatformOf(route),
                  route.device(), route.rule(), FormatUs(stage.queue_us()),
                  FormatUs(stage.run_us()), absl::StrCat(stage.items()), route.reason()});
    for (const v1::PassedOver& other : route.passed_over()) {
      passed_over.insert(absl::StrCat(PlatformWord(other.platform()), " ", other.device(), ": ",
                                      Printable(other.reason())));
    }
  }
  if (!table.empty()) {
    table.Print(out);
  }
  for (const std::string& line : passed_over) {
    out << "passed over " << line << "\n";
  }
  out << "total " << FormatUs(timings.total_us()) << "\n";
}

}  // namespace baton::ctl
