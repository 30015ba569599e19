// top: devices, models and collections as they are, again and again.

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "server/batonctl/commands.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

// Home, and clear to the end: no flicker, as a whole new screen would.
constexpr char kHome[] = "\033[H\033[J";

struct Look {
  v1::DevicesResponse devices;
  v1::ListModelsResponse models;
  v1::ListCollectionsResponse collections;
};

grpc::Status Take(Client& client, Look& look) {
  grpc::Status status = client.admin().Devices(client.NewContext().get(), {}, &look.devices);
  if (status.ok()) {
    status = client.inference().ListModels(client.NewContext().get(), {}, &look.models);
  }
  if (status.ok()) {
    status = client.vectors().ListCollections(client.NewContext().get(), {}, &look.collections);
  }
  return status;
}

std::string Change(int64_t now, int64_t before, double seconds) {
  if (now == before || seconds <= 0) return "-";
  return absl::StrFormat("%+.0f/s", static_cast<double>(now - before) / seconds);
}

void PrintLook(std::ostream& out, const Look& look, const Look* before, double seconds) {
  Table devices(
      {"device", "state", ">capacity", ">queue", ">busy", ">memory", ">of", ">watts", ">celsius"});
  for (const v1::Device& device : look.devices.devices()) {
    if (device.state().empty()) continue;  // absent
    devices.AddRow(
        {absl::StrCat(device.device(), device.emulated() ? " (emulated)" : ""),
         device.refusal().empty() ? device.state() : device.refusal(),
         absl::StrFormat("%.0f%%", 100 * device.capacity()), absl::StrCat(device.queue_depth()),
         device.has_utilisation() ? absl::StrFormat("%.0f%%", 100 * device.utilisation()) : "-",
         FormatBytes(device.memory_bytes_used()), FormatBytes(device.memory_bytes_total()),
         device.watts() > 0 ? absl::StrFormat("%.0f", device.watts()) : "-",
         device.has_temperature_c() ? absl::StrFormat("%.0f", device.temperature_c()) : "-"});
  }
  devices.Print(out);
  Table models({"model", "state", ">parameters"});
  for (const v1::Model& model : look.models.models()) {
    std::string state = v1::Model::State_Name(model.state());
    models.AddRow({model.name(), state.substr(std::string("STATE_").size()),
                   absl::StrCat(model.parameters())});
  }
  out << "\n";
  models.Print(out);
  Table collections({"collection", ">points", ">change", ">without a graph", ">segments"});
  for (const v1::CollectionInfo& info : look.collections.collections()) {
    int64_t was = info.points();
    if (before != nullptr) {
      for (const v1::CollectionInfo& old : before->collections.collections()) {
        if (old.spec().name() == info.spec().name()) was = old.points();
      }
    }
    collections.AddRow({info.spec().name(), absl::StrCat(info.points()),
                        Change(info.points(), was, seconds), absl::StrCat(info.points_unindexed()),
                        absl::StrCat(info.segments())});
  }
  if (collections.empty()) return;
  out << "\n";
  collections.Print(out);
}

}  // namespace

int RunTop(Session& session, const TopOptions& top) {
  Look before;
  absl::Time before_time;
  for (int64_t i = 0; top.count == 0 || i < top.count; ++i) {
    if (i > 0) absl::SleepFor(absl::Seconds(top.interval_s));
    Look look;
    const grpc::Status status = Take(session.client, look);
    if (!status.ok()) return session.client.Fail(session.terminal, status);
    const absl::Time now = absl::Now();
    std::ostream& out = session.terminal.out;
    if (session.options.json) {
      PrintJson(out, look.devices, /*one_line=*/true);
      PrintJson(out, look.models, /*one_line=*/true);
      PrintJson(out, look.collections, /*one_line=*/true);
    } else {
      // One look is for reading on; several replace each other.
      if (top.count != 1) out << kHome;
      out << session.options.server << "  "
          << absl::FormatTime("%H:%M:%S", now, absl::LocalTimeZone()) << "\n\n";
      PrintLook(out, look, i > 0 ? &before : nullptr, absl::ToDoubleSeconds(now - before_time));
      out << std::flush;
    }
    before = std::move(look);
    before_time = now;
  }
  return kExitOk;
}

}  // namespace baton::ctl
