#include "engine/exec/plugin_loader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

constexpr PluginKind kGpu = {.platform = Platform::kGpu,
                             .label = "GPU",
                             .file_name = "libbaton_absent.so",
                             .build_needs = "nvcc"};

std::string Fake(const std::string& name) {
  return absl::StrCat(BATON_FAKE_PLUGINS, "/", name, ".so");
}

// A folder of this process, gone with the object.
class ScratchFolder {
 public:
  explicit ScratchFolder(fs::path path) : path_(std::move(path)) { fs::create_directories(path_); }
  ~ScratchFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  const fs::path path_;
};

fs::path ProgramFolder() { return fs::read_symlink("/proc/self/exe").parent_path(); }

// The plug-in must be refused with exactly this reason.
void RequireReason(const std::string& path, absl::StatusCode code, const std::string& reason) {
  const auto plugin = LoadPlugin(kGpu, path);
  REQUIRE_FALSE(plugin.ok());
  CHECK(plugin.status().code() == code);
  CHECK(plugin.status().message() == reason);
}

TEST_CASE("a plug-in's devices are described") {
  const auto one = LoadPlugin(kGpu, Fake("fake_one_device"));
  REQUIRE_OK(one);
  CHECK(std::string(one->table->version) == "0.0-fake");
  REQUIRE(one->devices.size() == 1);
  CHECK(std::string(one->devices[0].name) == "Fake 0");
  CHECK(std::string(one->devices[0].detail) == "made of nothing");
  CHECK(one->devices[0].memory_bytes_total == 1000);
  CHECK(one->devices[0].emulated == 1);

  const auto two = LoadPlugin(kGpu, Fake("fake_two_devices"));
  REQUIRE_OK(two);
  REQUIRE(two->devices.size() == 2);
  CHECK(std::string(two->devices[1].name) == "Fake 1");
}

TEST_CASE("more devices than are asked for are cut off") {
  const auto plugin = LoadPlugin(kGpu, Fake("fake_many_devices"));
  REQUIRE_OK(plugin);
  REQUIRE(plugin->devices.size() == kPluginDevicesMax);
  CHECK(std::string(plugin->devices.back().name) == "Fake 15");
}

TEST_CASE("a relative path is one from the working directory, not a library's name") {
  REQUIRE_OK(LoadPlugin(kGpu, fs::relative(Fake("fake_one_device")).string()));
  // dlopen would find the system's.
  RequireReason("libm.so.6", absl::StatusCode::kUnavailable,
                absl::StrCat("no GPU plug-in: ", (fs::current_path() / "libm.so.6").string(),
                             ": No such file or directory"));
}

TEST_CASE("without a path the plug-in is looked for beside the program, then in ../lib/baton") {
  const fs::path beside = ProgramFolder();
  const fs::path installed = beside.parent_path() / "lib" / "baton";
  RequireReason(
      "", absl::StatusCode::kNotFound,
      absl::StrCat("no GPU plug-in: libbaton_absent.so is neither in ", beside.string(), " nor in ",
                   installed.string(), " (a build makes it where it finds nvcc)"));

  const std::string name = absl::StrCat("libbaton_test_", getpid(), ".so");
  PluginKind kind = kGpu;
  kind.file_name = name.c_str();
  fs::create_directories(installed);
  fs::copy_file(Fake("fake_two_devices"), installed / name);
  const auto from_installed = LoadPlugin(kind, "");
  fs::copy_file(Fake("fake_one_device"), beside / name);
  const auto from_beside = LoadPlugin(kind, "");
  fs::remove(installed / name);
  fs::remove(beside / name);
  REQUIRE_OK(from_installed);
  CHECK(from_installed->devices.size() == 2);
  REQUIRE_OK(from_beside);
  CHECK(from_beside->devices.size() == 1);
}

TEST_CASE("what is no plug-in is refused with the loader's words") {
  const ScratchFolder scratch(fs::temp_directory_path() /
                              absl::StrCat("baton_plugin_test_", getpid()));
  const fs::path garbage = scratch.path() / "garbage.so";
  std::ofstream(garbage) << "this is no shared library, but it is longer than an ELF header is\n";
  RequireReason(garbage, absl::StatusCode::kUnavailable,
                absl::StrCat("no GPU plug-in: ", garbage.string(), ": invalid ELF header"));

  const fs::path empty = scratch.path() / "empty.so";
  std::ofstream(empty).flush();
  RequireReason(empty, absl::StatusCode::kUnavailable,
                absl::StrCat("no GPU plug-in: ", empty.string(), ": file too short"));

  const fs::path cut = scratch.path() / "cut.so";
  fs::copy_file(Fake("fake_one_device"), cut);
  const uintmax_t whole_bytes = fs::file_size(cut);
  for (const uintmax_t bytes : {uintmax_t{100}, whole_bytes / 2, whole_bytes - 1}) {
    fs::resize_file(cut, bytes);
    RequireReason(cut, absl::StatusCode::kUnavailable,
                  absl::StrCat("no GPU plug-in: ", cut.string(), ": is cut short: it has ", bytes,
                               " bytes of ", whole_bytes));
    fs::resize_file(cut, whole_bytes);
  }

  RequireReason(scratch.path(), absl::StatusCode::kUnavailable,
                absl::StrCat("no GPU plug-in: ", scratch.path().string(), ": is no file"));
  const fs::path pipe = scratch.path() / "pipe.so";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  RequireReason(pipe, absl::StatusCode::kUnavailable,
                absl::StrCat("no GPU plug-in: ", pipe.string(), ": is no file"));

  REQUIRE_STATUS(LoadPlugin(kGpu, Fake("fake_open_symbol")), absl::StatusCode::kUnavailable,
                 "undefined symbol: BatonFunctionOfAMissingDriver");
}

TEST_CASE("another contract is refused, naming the difference") {
  const auto refused = absl::StatusCode::kFailedPrecondition;
  const auto reason = [](const std::string& fake, const std::string& why) {
    return absl::StrCat("no GPU plug-in: ", Fake(fake), ": ", why);
  };
  RequireReason(
      Fake("fake_no_entry"), refused,
      reason("fake_no_entry", "is no executor plug-in: it lacks baton_executor_plugin_v1"));
  RequireReason(Fake("fake_no_table"), refused,
                reason("fake_no_table", "returns no plug-in table"));
  RequireReason(Fake("fake_newer"), refused,
                reason("fake_newer",
                       "speaks executor ABI version 2, this program 1; use the "
                       "plug-in built with this program"));
  RequireReason(Fake("fake_short"), refused,
                reason("fake_short",
                       "its plug-in table has 16 bytes, this program needs 32; use "
                       "the plug-in built with this program"));
  RequireReason(Fake("fake_fpga"), refused,
                reason("fake_fpga", "is a plug-in for platform fpga, not gpu"));
  RequireReason(Fake("fake_no_probe"), refused,
                reason("fake_no_probe", "its plug-in table lacks a version or a probe"));
}

TEST_CASE("a probe that fails or finds nothing gives its reason") {
  const auto unavailable = absl::StatusCode::kUnavailable;
  RequireReason(Fake("fake_probe_fails"), unavailable, "no GPU: no driver (error 35)");
  RequireReason(Fake("fake_probe_fails_mutely"), unavailable,
                absl::StrCat("no GPU: the probe of ", Fake("fake_probe_fails_mutely"),
                             " failed with code 7 and no reason"));
  RequireReason(Fake("fake_no_device_reason"), unavailable, "no GPU: nobody fitted one");
  RequireReason(Fake("fake_no_device"), unavailable,
                absl::StrCat("no GPU: ", Fake("fake_no_device"), " finds no device"));
}

}  // namespace
}  // namespace baton
