#include "engine/vector/file_layer.h"

#include <filesystem>
#include <string>
#include <utility>

#include "rocksdb/file_system.h"

namespace baton {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// RocksDB has other rules for a full disk, by which some failures are final.
IOStatus Marked(IOStatus status) {
  if (status.ok()) return status;
  if (status.IsNoSpace()) status = IOStatus::IOError(status.ToString());
  status.SetRetryable(true);
  return status;
}

class ResumableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Append(data, options, debug));
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Append(data, options, verification, debug));
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Close(options, debug));
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Flush(options, debug));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options,
                     IODebugContext* debug) override {
    return Marked(FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, debug));
  }
};

class ResumableDirectory : public rocksdb::FSDirectoryWrapper {
 public:
  explicit ResumableDirectory(std::unique_ptr<rocksdb::FSDirectory>&& directory)
      : FSDirectoryWrapper(std::move(directory)) {}

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Marked(FSDirectoryWrapper::Fsync(options, debug));
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& what) override {
    return Marked(FSDirectoryWrapper::FsyncWithDirOptions(options, debug, what));
  }
};

class Resumable : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  static const char* kClassName() { return "ResumableFiles"; }
  const char* Name() const override { return kClassName(); }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file,
                           IODebugContext* debug) override {
    return Wrap(FileSystemWrapper::NewWritableFile(path, options, file, debug), file);
  }
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* file,
                              IODebugContext* debug) override {
    return Wrap(FileSystemWrapper::ReopenWritableFile(path, options, file, debug), file);
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* directory,
                        IODebugContext* debug) override {
    IOStatus status = FileSystemWrapper::NewDirectory(path, options, directory, debug);
    if (status.ok()) *directory = std::make_unique<ResumableDirectory>(std::move(*directory));
    return Marked(std::move(status));
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    const std::string parent = std::filesystem::path(to).parent_path().string();
    std::unique_ptr<rocksdb::FSDirectory> directory;
    IOStatus status = FileSystemWrapper::NewDirectory(parent, options, &directory, debug);
    if (status.ok()) status = directory->Fsync(options, debug);
    if (status.ok()) status = FileSystemWrapper::RenameFile(from, to, options, debug);
    return Marked(std::move(status));
  }

 private:
  static IOStatus Wrap(IOStatus status, std::unique_ptr<rocksdb::FSWritableFile>* file) {
    if (status.ok()) *file = std::make_unique<ResumableFile>(std::move(*file));
    return Marked(std::move(status));
  }
};

}  // namespace

std::shared_ptr<FileLayer> SystemFiles() { return rocksdb::FileSystem::Default(); }

std::shared_ptr<FileLayer> ResumableFiles(std::shared_ptr<FileLayer> files) {
  return std::make_shared<Resumable>(files);
}

}  // namespace baton
