#include "tests/support/power_cut_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <utility>

#include "engine/base/check.h"

namespace baton {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

namespace {

// What a disk writes whole.
constexpr size_t kSectorBytes = 512;

IOStatus NoPower() { return IOStatus::IOError("the power is cut"); }

// The synced bytes and what a power cut leaves of the others: some of them from the front, of these
// perhaps sectors that never came, which read as zeros.
std::string AfterPowerCut(const std::string& synced, const std::string& bytes,
                          std::mt19937& random) {
  // A file that was cut short or written over since: all or nothing.
  if (bytes.size() < synced.size() || !bytes.starts_with(synced)) {
    return random() % 2 == 0 ? synced : bytes;
  }
  const size_t unsynced = bytes.size() - synced.size();
  if (unsynced == 0 || random() % 3 == 0) return synced;
  std::string left = bytes.substr(0, synced.size() + random() % (unsynced + 1));
  if (random() % 2 == 0) return left;
  for (size_t at = synced.size(); at < left.size();
       at = at / kSectorBytes * kSectorBytes + kSectorBytes) {
    if (random() % 4 != 0) continue;
    const size_t end = std::min(left.size(), at / kSectorBytes * kSectorBytes + kSectorBytes);
    std::fill(left.begin() + static_cast<ptrdiff_t>(at), left.begin() + static_cast<ptrdiff_t>(end),
              '\0');
  }
  return left;
}

}  // namespace

class PowerCutFiles::File : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(PowerCutFiles& files, std::string path, std::shared_ptr<Node> node,
       std::unique_ptr<rocksdb::FSWritableFile>&& target)
      : FSWritableFileOwnerWrapper(std::move(target)),
        files_(files),
        path_(std::move(path)),
        node_(std::move(node)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const std::lock_guard lock(files_.mutex_);
    bool half = false;
    IOStatus status = files_.Begin(FileOp::kWrite, path_, &half);
    Slice written = data;
    if (!status.ok()) written = Slice(data.data(), half ? data.size() / 2 : 0);
    if (written.empty() && !status.ok()) return status;
    IOStatus result = FSWritableFileOwnerWrapper::Append(written, options, debug);
    node_->bytes.append(written.data(), written.size());
    return status.ok() ? result : status;
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    const std::lock_guard lock(files_.mutex_);
    bool half = false;
    IOStatus status = files_.Begin(FileOp::kWrite, path_, &half);
    if (!status.ok()) return status;
    node_->bytes.resize(size);
    return FSWritableFileOwnerWrapper::Truncate(size, options, debug);
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    const std::lock_guard lock(files_.mutex_);
    bool half = false;
    IOStatus status = files_.Begin(FileOp::kSync, path_, &half);
    // The real file system need not be waited for: it keeps its power.
    if ((status.ok() || half) && !files_.lies_about_files_) node_->synced_bytes = node_->bytes;
    return status;
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Sync(options, debug);
  }
  // Promises nothing.
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  IOStatus Allocate(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  PowerCutFiles& files_;
  const std::string path_;
  const std::shared_ptr<Node> node_;
};

class PowerCutFiles::Directory : public rocksdb::FSDirectory {
 public:
  Directory(PowerCutFiles& files, std::string path) : files_(files), path_(std::move(path)) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    const std::lock_guard lock(files_.mutex_);
    bool half = false;
    IOStatus status = files_.Begin(FileOp::kSyncDirectory, path_, &half);
    if ((!status.ok() && !half) || files_.lies_about_directories_) return status;
    for (const Change& change : files_.changes_) {
      if (change.directory == path_) Apply(change, files_.synced_names_);
    }
    std::erase_if(files_.changes_,
                  [this](const Change& change) { return change.directory == path_; });
    return status;
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  PowerCutFiles& files_;
  const std::string path_;
};

PowerCutFiles::PowerCutFiles(std::string root)
    : FileSystemWrapper(rocksdb::FileSystem::Default()), root_(Normal(root)) {
  const auto node = std::make_shared<Node>(Node{.is_directory = true});
  names_[root_] = node;
  synced_names_[root_] = node;
}

void PowerCutFiles::SetFault(Fault fault) {
  const std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
}

void PowerCutFiles::CutPowerIn(int64_t operation, uint32_t seed) {
  const std::lock_guard lock(mutex_);
  cut_at_ = operations_ + operation;
  random_.seed(seed);
}

void PowerCutFiles::CutPower() {
  const std::lock_guard lock(mutex_);
  cut_ = true;
}

bool PowerCutFiles::power_is_cut() const {
  const std::lock_guard lock(mutex_);
  return cut_;
}

int64_t PowerCutFiles::operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

void PowerCutFiles::set_lies(bool about_files, bool about_directories) {
  const std::lock_guard lock(mutex_);
  lies_about_files_ = about_files;
  lies_about_directories_ = about_directories;
}

void PowerCutFiles::Restart(std::mt19937& random) {
  const std::lock_guard lock(mutex_);
  // As a journal does, in order up to some point; or as the standard allows, any of them.
  const bool in_order = random() % 2 == 0;
  bool more = true;
  for (const Change& change : changes_) {
    if (random() % 4 == 0) more = false;
    if (in_order ? more : random() % 2 == 0) Apply(change, synced_names_);
  }
  changes_.clear();
  std::filesystem::remove_all(root_);
  names_.clear();
  std::set<std::shared_ptr<Node>> seen;
  for (const auto& [path, node] : synced_names_) {  // directories before what is in them
    const bool is_root = path == root_;
    if (!is_root && !names_.contains(DirectoryOf(path))) continue;
    names_[path] = node;
    if (node->is_directory) {
      BATON_CHECK(std::filesystem::create_directory(path));
      continue;
    }
    if (seen.insert(node).second) {
      node->bytes = AfterPowerCut(node->synced_bytes, node->bytes, random);
      node->synced_bytes = node->bytes;
    }
    std::ofstream(path, std::ios::binary) << node->bytes;
  }
  synced_names_ = names_;
  cut_ = false;
  cut_at_ = INT64_MAX;
  fault_ = nullptr;
}

std::string PowerCutFiles::Normal(const std::string& path) {
  std::string normal = std::filesystem::path(path).lexically_normal().string();
  if (normal.size() > 1 && normal.ends_with('/')) normal.pop_back();
  return normal;
}

std::string PowerCutFiles::DirectoryOf(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

IOStatus PowerCutFiles::Begin(FileOp op, const std::string& path, bool* half) {
  *half = false;
  if (cut_) return NoPower();
  if (operations_++ >= cut_at_) {
    cut_ = true;
    *half = random_() % 2 == 0;
    return NoPower();
  }
  IOStatus status = fault_ == nullptr ? IOStatus::OK() : fault_(op, path);
  *half = !status.ok() && op == FileOp::kWrite;
  return status;
}

void PowerCutFiles::Record(const std::string& directory,
                           std::map<std::string, std::shared_ptr<Node>> names) {
  Change change{.directory = directory, .names = std::move(names)};
  Apply(change, names_);
  changes_.push_back(std::move(change));
}

void PowerCutFiles::Apply(const Change& change, Names& names) {
  for (const auto& [path, node] : change.names) {
    if (node == nullptr) {
      names.erase(path);
    } else {
      names[path] = node;
    }
  }
}

IOStatus PowerCutFiles::NewWritableFile(const std::string& path, const FileOptions& options,
                                        std::unique_ptr<rocksdb::FSWritableFile>* file,
                                        IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  bool half = false;
  IOStatus status = Begin(FileOp::kCreate, path, &half);
  if (!status.ok()) return status;
  status = FileSystemWrapper::NewWritableFile(path, options, file, debug);
  if (!status.ok()) return status;
  const std::string normal = Normal(path);
  // One that is there is emptied: taken for a new file, which is at least as bad.
  const auto node = std::make_shared<Node>();
  Record(DirectoryOf(normal), {{normal, node}});
  *file = std::make_unique<File>(*this, normal, node, std::move(*file));
  return status;
}

IOStatus PowerCutFiles::ReopenWritableFile(const std::string& path, const FileOptions& options,
                                           std::unique_ptr<rocksdb::FSWritableFile>* file,
                                           IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  bool half = false;
  IOStatus status = Begin(FileOp::kCreate, path, &half);
  if (!status.ok()) return status;
  status = FileSystemWrapper::ReopenWritableFile(path, options, file, debug);
  if (!status.ok()) return status;
  const std::string normal = Normal(path);
  if (!names_.contains(normal)) {
    Record(DirectoryOf(normal), {{normal, std::make_shared<Node>()}});
  }
  *file = std::make_unique<File>(*this, normal, names_[normal], std::move(*file));
  return status;
}

IOStatus PowerCutFiles::ReuseWritableFile(const std::string&, const std::string&,
                                          const FileOptions&,
                                          std::unique_ptr<rocksdb::FSWritableFile>*,
                                          IODebugContext*) {
  return IOStatus::NotSupported("ReuseWritableFile");
}

IOStatus PowerCutFiles::NewRandomRWFile(const std::string&, const FileOptions&,
                                        std::unique_ptr<rocksdb::FSRandomRWFile>*,
                                        IODebugContext*) {
  return IOStatus::NotSupported("NewRandomRWFile");
}

IOStatus PowerCutFiles::NewDirectory(const std::string& path, const IOOptions& options,
                                     std::unique_ptr<rocksdb::FSDirectory>* directory,
                                     IODebugContext* debug) {
  IOStatus status = FileSystemWrapper::NewDirectory(path, options, directory, debug);
  if (status.ok()) *directory = std::make_unique<Directory>(*this, Normal(path));
  return status;
}

IOStatus PowerCutFiles::DeleteFile(const std::string& path, const IOOptions& options,
                                   IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  bool half = false;
  IOStatus status = Begin(FileOp::kRemove, path, &half);
  if (!status.ok()) return status;
  status = FileSystemWrapper::DeleteFile(path, options, debug);
  if (status.ok()) Record(DirectoryOf(Normal(path)), {{Normal(path), nullptr}});
  return status;
}

IOStatus PowerCutFiles::Truncate(const std::string& path, size_t size, const IOOptions& options,
                                 IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  bool half = false;
  IOStatus status = Begin(FileOp::kWrite, path, &half);
  if (!status.ok()) return status;
  status = FileSystemWrapper::Truncate(path, size, options, debug);
  const auto found = names_.find(Normal(path));
  if (status.ok() && found != names_.end()) found->second->bytes.resize(size);
  return status;
}

IOStatus PowerCutFiles::CreateDir(const std::string& path, const IOOptions& options,
                                  IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  bool half = false;
  IOStatus status = Begin(FileOp::kMakeDirectory, path, &half);
  if (!status.ok()) return status;
  status = FileSystemWrapper::CreateDir(path, options, debug);
  const std::string normal = Normal(path);
  if (status.ok()) {
    Record(DirectoryOf(normal), {{normal, std::make_shared<Node>(Node{.is_directory = true})}});
  }
  return status;
}

IOStatus PowerCutFiles::CreateDirIfMissing(const std::string& path, const IOOptions& options,
                                           IODebugContext* debug) {
  return std::filesystem::is_directory(path) ? IOStatus::OK() : CreateDir(path, options, debug);
}

IOStatus PowerCutFiles::DeleteDir(const std::string& path, const IOOptions& options,
                                  IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  bool half = false;
  IOStatus status = Begin(FileOp::kRemove, path, &half);
  if (!status.ok()) return status;
  status = FileSystemWrapper::DeleteDir(path, options, debug);
  if (status.ok()) Record(DirectoryOf(Normal(path)), {{Normal(path), nullptr}});
  return status;
}

IOStatus PowerCutFiles::RenameFile(const std::string& from, const std::string& to,
                                   const IOOptions& options, IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  bool half = false;
  IOStatus status = Begin(FileOp::kRename, to, &half);
  if (!status.ok()) return status;
  status = FileSystemWrapper::RenameFile(from, to, options, debug);
  if (!status.ok()) return status;
  const std::string old_name = Normal(from);
  const std::string new_name = Normal(to);
  std::map<std::string, std::shared_ptr<Node>> changed = {{old_name, nullptr}};
  for (const auto& [path, node] : names_) {  // a directory takes with it what is in it
    if (path != old_name && !path.starts_with(old_name + "/")) continue;
    changed[path] = nullptr;
    changed[new_name + path.substr(old_name.size())] = node;
  }
  Record(DirectoryOf(new_name), std::move(changed));
  return status;
}

IOStatus PowerCutFiles::LinkFile(const std::string& from, const std::string& to,
                                 const IOOptions& options, IODebugContext* debug) {
  const std::lock_guard lock(mutex_);
  bool half = false;
  IOStatus status = Begin(FileOp::kLink, to, &half);
  if (!status.ok()) return status;
  status = FileSystemWrapper::LinkFile(from, to, options, debug);
  const auto found = names_.find(Normal(from));
  if (status.ok() && found != names_.end()) {
    const std::shared_ptr<Node> node = found->second;
    Record(DirectoryOf(Normal(to)), {{Normal(to), node}});
  }
  return status;
}

}  // namespace baton
