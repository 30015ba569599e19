#include "engine/exec/plugin_loader.h"

#include <dlfcn.h>
#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/tensor_type.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

constexpr char kEntrySymbol[] = "baton_executor_plugin_v1";

// A plug-in's table as it was first; what is appended later may be missing.
constexpr uint32_t kTableBytesMin =
    offsetof(baton_executor_plugin, probe) + sizeof(baton_executor_plugin::probe);

// Called by plug-ins, from any thread.
void LogFromPlugin(int32_t level, const char* message) {
  switch (level) {
    case BATON_LOG_ERROR:
      Log().error("{}", message);
      return;
    case BATON_LOG_WARN:
      Log().warn("{}", message);
      return;
    default:
      Log().info("{}", message);
  }
}

// Called by plug-ins that load a model's weights.
void DequantiseForPlugin(uint32_t type, const void* row, int64_t cols, float* out) {
  DequantizeRow(static_cast<TensorType>(type), static_cast<const std::byte*>(row), cols, out);
}

constexpr baton_host kHost = {
    .struct_size = sizeof(baton_host), .log = LogFromPlugin, .dequantise_row = DequantiseForPlugin};

std::string PlatformName(int32_t abi_platform) {
  switch (abi_platform) {
    case BATON_PLATFORM_GPU:
      return std::string(Name(Platform::kGpu));
    case BATON_PLATFORM_FPGA:
      return std::string(Name(Platform::kFpga));
    default:
      return "unknown";
  }
}

std::string NoPlugin(const PluginKind& kind) { return StrCat("no ", kind.label, " plug-in: "); }

// An absolute path: dlopen searches the system's library folders for a bare name.
absl::StatusOr<std::string> FindPlugin(const PluginKind& kind, const std::string& path) {
  std::error_code error;
  if (!path.empty()) {
    const fs::path absolute = fs::absolute(path, error);
    if (error) {
      return absl::UnavailableError(StrCat(NoPlugin(kind), path, ": ", error.message()));
    }
    return absolute.string();
  }
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) {
    return absl::UnavailableError(StrCat(
        NoPlugin(kind), "cannot tell where this program is: /proc/self/exe: ", error.message()));
  }
  const fs::path beside = program.parent_path();
  const fs::path installed = beside.parent_path() / "lib" / "baton";
  for (const fs::path& folder : {beside, installed}) {
    const fs::path candidate = folder / kind.file_name;
    if (fs::exists(candidate, error)) return candidate.string();
  }
  return absl::NotFoundError(StrCat(NoPlugin(kind), kind.file_name, " is neither in ",
                                    beside.string(), " nor in ", installed.string(),
                                    " (a build makes it where it finds ", kind.build_needs, ")"));
}

// dlopen waits for ever on a pipe, and a shared library that was cut short (a copy that was broken
// off) makes it raise SIGBUS. Both are found out first; everything else dlopen says better.
absl::Status CheckFile(const PluginKind& kind, const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    return absl::UnavailableError(
        StrCat(NoPlugin(kind), path, ": ", error ? error.message() : "is no file"));
  }
  Elf64_Ehdr header = {};
  std::ifstream file(path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(&header), sizeof(header))) return absl::OkStatus();
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return absl::OkStatus();
  // Linkers write the section headers last.
  const uint64_t sections_bytes = uint64_t{header.e_shnum} * header.e_shentsize;
  const uint64_t file_bytes = fs::file_size(path, error);
  if (header.e_shoff > file_bytes || sections_bytes > file_bytes - header.e_shoff) {
    return absl::UnavailableError(StrCat(NoPlugin(kind), path, ": is cut short: it has ",
                                         file_bytes, " bytes of ",
                                         header.e_shoff + sections_bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<const baton_executor_plugin*> OpenPlugin(const PluginKind& kind,
                                                        const std::string& path) {
  RETURN_IF_ERROR(CheckFile(kind, path));
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return absl::UnavailableError(StrCat(NoPlugin(kind), dlerror()));
  const auto entry =
      reinterpret_cast<decltype(&baton_executor_plugin_v1)>(dlsym(library, kEntrySymbol));
  const auto refuse = [&](auto... why) {
    return absl::FailedPreconditionError(StrCat(NoPlugin(kind), path, ": ", why...));
  };
  if (entry == nullptr) return refuse("is no executor plug-in: it lacks ", kEntrySymbol);

  const baton_executor_plugin* const table = entry();
  if (table == nullptr) return refuse("returns no plug-in table");
  // The version before the size: another version may mean another table.
  if (table->abi_version != BATON_EXECUTOR_ABI_VERSION) {
    return refuse("speaks executor ABI version ", table->abi_version, ", this program ",
                  BATON_EXECUTOR_ABI_VERSION, "; use the plug-in built with this program");
  }
  if (table->struct_size < kTableBytesMin) {
    return refuse("its plug-in table has ", table->struct_size, " bytes, this program needs ",
                  kTableBytesMin, "; use the plug-in built with this program");
  }
  if (PlatformName(table->platform) != Name(kind.platform)) {
    return refuse("is a plug-in for platform ", PlatformName(table->platform), ", not ",
                  std::string(Name(kind.platform)));
  }
  if (table->version == nullptr || table->probe == nullptr) {
    return refuse("its plug-in table lacks a version or a probe");
  }
  return table;
}

}  // namespace

const baton_host& PluginHost() { return kHost; }

absl::StatusOr<LoadedPlugin> LoadPlugin(const PluginKind& kind, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string found, FindPlugin(kind, path));
  ASSIGN_OR_RETURN(const baton_executor_plugin* const table, OpenPlugin(kind, found));
  return ProbePlugin(kind, found, *table);
}

absl::StatusOr<LoadedPlugin> ProbePlugin(const PluginKind& kind, const std::string& found,
                                         const baton_executor_plugin& table) {
  LoadedPlugin plugin = {.table = &table, .devices = {}};
  plugin.devices.resize(kPluginDevicesMax);
  baton_probe probe = {.struct_size = sizeof(baton_probe),
                       .device_struct_size = sizeof(baton_device),
                       .devices = plugin.devices.data(),
                       .device_capacity = kPluginDevicesMax,
                       .device_count = 0,
                       .reason = {}};
  const int32_t code = table.probe(&kHost, &probe);
  std::string reason(probe.reason, strnlen(probe.reason, sizeof(probe.reason)));
  if (code != 0 || probe.device_count == 0) {
    if (reason.empty() && code != 0) {
      reason = StrCat("the probe of ", found, " failed with code ", code, " and no reason");
    } else if (reason.empty()) {
      reason = StrCat(found, " finds no device");
    }
    return absl::UnavailableError(StrCat("no ", kind.label, ": ", reason));
  }
  if (probe.device_count > kPluginDevicesMax) {
    Log().warn("{} reports {} devices, the first {} are used", found, probe.device_count,
               kPluginDevicesMax);
  } else {
    plugin.devices.resize(probe.device_count);
  }
  return plugin;
}

}  // namespace baton
