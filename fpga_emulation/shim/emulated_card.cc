#include "fpga_emulation/shim/emulated_card.h"

#include <dlfcn.h>
#include <ert.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xclbin.h>
#include <xrt.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "fpga_emulation/kernel_table.h"
#include "fpga_kernels/card_args.h"

namespace baton::fpga {
namespace {

void Say(int card, const std::string& what) {
  std::fprintf(stderr, "emulated card %d: %s\n", card, what.c_str());
}

struct SectionBytes {
  const char* data = nullptr;  // null: there is none
  uint64_t bytes = 0;
};

SectionBytes FindSection(const axlf* xclbin, axlf_section_kind kind) {
  const char* const begin = reinterpret_cast<const char*>(xclbin);
  for (uint32_t i = 0; i < xclbin->m_header.m_numSections; ++i) {
    const axlf_section_header& header = xclbin->m_sections[i];
    if (header.m_sectionKind != static_cast<uint32_t>(kind)) continue;
    const uint64_t length = xclbin->m_header.m_length;
    if (header.m_sectionOffset > length || header.m_sectionSize > length - header.m_sectionOffset) {
      return {};
    }
    return {begin + header.m_sectionOffset, header.m_sectionSize};
  }
  return {};
}

// A file in memory, so that nothing is left behind. Null: `error`.
void* OpenLibrary(const SectionBytes& image, std::string* error) {
  const int file = memfd_create("baton_card_image", MFD_CLOEXEC);
  if (file < 0) {
    *error = std::strerror(errno);
    return nullptr;
  }
  uint64_t written = 0;
  while (written < image.bytes) {
    const ssize_t some = write(file, image.data + written, image.bytes - written);
    if (some <= 0) {
      *error = std::strerror(errno);
      close(file);
      return nullptr;
    }
    written += static_cast<uint64_t>(some);
  }
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) *error = dlerror();
  close(file);
  return library;
}

void SetState(const CardBuffer& command, int state) {
  auto* const header = reinterpret_cast<uint32_t*>(command.host);
  const uint32_t before = __atomic_load_n(header, __ATOMIC_RELAXED);
  __atomic_store_n(header, (before & ~0xfu) | static_cast<uint32_t>(state), __ATOMIC_RELEASE);
}

}  // namespace

CardBuffer::~CardBuffer() {
  if (own_host) munmap(host, bytes);
}

EmulatedCard::~EmulatedCard() {
  std::unique_lock lock(mutex_);
  Unload(lock);
}

bool EmulatedCard::Busy() const {
  return std::any_of(units_.begin(), units_.end(), [](const auto& unit) { return unit->busy; });
}

void EmulatedCard::Unload(std::unique_lock<std::mutex>& lock) {
  stops_ = true;
  if (image_ != nullptr) {
    const std::string waits = image_->Waits();
    const bool busy = Busy();
    if (busy && !waits.empty()) Say(index_, "closed while units ran: " + waits);
    // What they still touch may be freed: the host has given them up.
    if (busy) memory_->Open();
    image_->Stop();
  }
  work_.notify_all();
  lock.unlock();
  for (const auto& unit : units_) unit->thread.join();
  lock.lock();
  for (const auto& unit : units_) {
    for (const Job& job : unit->jobs) Complete(*job.command, ERT_CMD_STATE_ABORT);
  }
  units_.clear();
  image_.reset();
  if (library_ != nullptr) dlclose(library_);
  library_ = nullptr;
  memory_.reset();
  stops_ = false;
  loaded_ = false;
}

int EmulatedCard::Load(const axlf* xclbin) {
  std::unique_lock lock(mutex_);
  if (std::memcmp(xclbin->m_magic, "xclbin2", 8) != 0) {
    Say(index_, "this is no xclbin");
    return -EINVAL;
  }
  const auto* const vbnv = reinterpret_cast<const char*>(xclbin->m_header.m_platformVBNV);
  const std::string shell(vbnv, strnlen(vbnv, sizeof(xclbin->m_header.m_platformVBNV)));
  if (!faults_.shell.empty() && shell != faults_.shell) {
    Say(index_, "its shell is " + faults_.shell + ", the xclbin is for " + shell);
    return -EINVAL;
  }
  if (loaded_ && std::memcmp(uuid_, xclbin->m_header.uuid, sizeof(uuid_)) == 0) return 0;
  for (const auto& [handle, buffer] : buffers_) {
    if (buffer->bank >= 0) {
      Say(index_, "there are buffers of the xclbin before");
      return -EBUSY;
    }
  }
  Unload(lock);
  const std::string error = Configure(xclbin);
  if (!error.empty()) {
    Say(index_, "the xclbin does not load: " + error);
    image_.reset();
    memory_.reset();
    units_.clear();
    return -EINVAL;
  }
  std::memcpy(uuid_, xclbin->m_header.uuid, sizeof(uuid_));
  loaded_ = true;
  return 0;
}

std::string EmulatedCard::Configure(const axlf* xclbin) {
  const SectionBytes contract = FindSection(xclbin, USER_METADATA);
  const SectionBytes bitstream = FindSection(xclbin, BITSTREAM);
  if (contract.data == nullptr || bitstream.data == nullptr) {
    return "it has no kernels for the emulation: a card's xclbin runs on a card only";
  }
  const std::string metadata(contract.data, contract.bytes);
  const size_t line_end = metadata.find('\n');
  if (ContractVersionOf(metadata.data(), metadata.size()) == 0 || line_end == std::string::npos) {
    return "its user metadata names no contract";
  }
  const std::string text = metadata.substr(line_end + 1);
  std::string error;
  const auto read = [&](const std::string& name, std::string* to) {
    *to = text;
    return name == "xclbin";
  };
  if (!ReadCardSpec("xclbin", read, &spec_, &error)) return error;
  memory_ = std::make_unique<BankMemory>(spec_.banks);
  if (!memory_->error().empty()) return memory_->error();
  library_ = OpenLibrary(bitstream, &error);
  if (library_ == nullptr) return "its kernels do not load: " + error;
  auto* const make = reinterpret_cast<MakeCardImage*>(dlsym(library_, kCardImageEntry));
  if (make == nullptr) return "its kernels have no entry";
  char why[256] = "";
  image_.reset(make(kCardImageVersion, text.c_str(), why, sizeof(why)));
  if (image_ == nullptr) return why;
  for (size_t i = 0; i < spec_.units.size(); ++i) {
    if (KernelTable()[spec_.units[i].kernel].free_running) continue;
    units_.push_back(std::make_unique<Unit>());
    Unit* const unit = units_.back().get();
    unit->index = static_cast<int>(i);
    unit->thread = std::thread([this, unit] { Work(unit); });
  }
  return "";
}

uint32_t EmulatedCard::Allocate(uint64_t bytes, uint32_t flags, void* host) {
  const std::lock_guard lock(mutex_);
  auto buffer = std::make_shared<CardBuffer>();
  buffer->bytes = bytes;
  buffer->flags = flags;
  const bool of_host = (flags & (XCL_BO_FLAGS_EXECBUF | XCL_BO_FLAGS_HOST_ONLY)) != 0;
  if (!of_host) {
    const uint32_t bank = flags & XRT_BO_FLAGS_MEMIDX_MASK;
    if (memory_ == nullptr || bank >= spec_.banks.size()) return UINT32_MAX;
    const std::string& tag = spec_.banks[bank].tag;
    const auto& full = faults_.banks_full;
    if (std::find(full.begin(), full.end(), tag) != full.end()) return UINT32_MAX;
    buffer->address = memory_->Allocate(static_cast<int>(bank), bytes);
    if (buffer->address == BankMemory::kNoAddress) return UINT32_MAX;
    buffer->bank = static_cast<int>(bank);
  }
  buffer->host = static_cast<uint8_t*>(host);
  if (host == nullptr) {
    void* const mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
      if (buffer->bank >= 0) memory_->Free(buffer->bank, buffer->address, !Busy());
      return UINT32_MAX;
    }
    buffer->host = static_cast<uint8_t*>(mapped);
    buffer->own_host = true;
  }
  if (buffer->bank < 0) buffer->address = reinterpret_cast<uint64_t>(buffer->host);
  const uint32_t handle = next_handle_++;
  buffers_[handle] = std::move(buffer);
  return handle;
}

void EmulatedCard::Free(uint32_t handle) {
  const std::lock_guard lock(mutex_);
  const auto found = buffers_.find(handle);
  if (found == buffers_.end()) return;
  if (found->second->bank >= 0 && memory_ != nullptr) {
    // A unit that waits may still have it, as one has that the host gave up.
    memory_->Free(found->second->bank, found->second->address, !Busy());
  }
  buffers_.erase(found);
}

std::shared_ptr<CardBuffer> EmulatedCard::Find(uint32_t handle) const {
  const std::lock_guard lock(mutex_);
  const auto found = buffers_.find(handle);
  return found == buffers_.end() ? nullptr : found->second;
}

int EmulatedCard::Sync(uint32_t handle, bool to_card, uint64_t bytes, uint64_t offset) {
  const std::shared_ptr<CardBuffer> buffer = Find(handle);
  if (buffer == nullptr || offset > buffer->bytes || bytes > buffer->bytes - offset) return -EINVAL;
  if (buffer->bank < 0) return 0;
  uint8_t* card = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (memory_ == nullptr) return -EINVAL;
    card = memory_->Find(buffer->bank, buffer->address);
  }
  if (card == nullptr) return -EINVAL;
  if (to_card) {
    std::memcpy(card + offset, buffer->host + offset, bytes);
  } else {
    std::memcpy(buffer->host + offset, card + offset, bytes);
  }
  return 0;
}

int EmulatedCard::Copy(uint32_t to, uint32_t from, uint64_t bytes, uint64_t to_offset,
                       uint64_t from_offset) {
  const std::shared_ptr<CardBuffer> a = Find(to);
  const std::shared_ptr<CardBuffer> b = Find(from);
  if (a == nullptr || b == nullptr || a->bank < 0 || b->bank < 0) return -EINVAL;
  if (to_offset > a->bytes || bytes > a->bytes - to_offset) return -EINVAL;
  if (from_offset > b->bytes || bytes > b->bytes - from_offset) return -EINVAL;
  uint8_t* to_card = nullptr;
  const uint8_t* from_card = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (memory_ == nullptr) return -EINVAL;
    to_card = memory_->Find(a->bank, a->address);
    from_card = memory_->Find(b->bank, b->address);
  }
  if (to_card == nullptr || from_card == nullptr) return -EINVAL;
  std::memmove(to_card + to_offset, from_card + from_offset, bytes);
  return 0;
}

bool EmulatedCard::Peek(uint64_t address, void* to, uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  if (memory_ == nullptr || bytes == 0) return false;
  const int bank = memory_->BankOf(address);
  if (bank < 0 || memory_->Find(bank, address + bytes - 1) == nullptr) return false;
  std::memcpy(to, memory_->Find(bank, address), bytes);
  return true;
}

bool EmulatedCard::Poke(uint64_t address, const void* from, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (memory_ == nullptr || bytes == 0) return false;
  const int bank = memory_->BankOf(address);
  if (bank < 0 || memory_->Find(bank, address + bytes - 1) == nullptr) return false;
  std::memcpy(memory_->Find(bank, address), from, bytes);
  return true;
}

std::string EmulatedCard::Decode(const Unit& unit, const uint32_t* registers, size_t words,
                                 std::vector<uint64_t>* arguments) const {
  const CardUnit& of = spec_.units[unit.index];
  const Kernel& kernel = KernelTable()[of.kernel];
  for (size_t i = 0; i < kernel.arguments.size(); ++i) {
    const KernelArgument& argument = kernel.arguments[i];
    uint64_t value = 0;
    const bool wide = argument.kind == KernelArgument::kMemory || argument.bytes > 4;
    const size_t at = argument.offset / 4;
    if (!argument.is_stream() && at < words) value = registers[at];
    if (!argument.is_stream() && wide && at + 1 < words) {
      value |= static_cast<uint64_t>(registers[at + 1]) << 32;
    }
    if (argument.kind == KernelArgument::kMemory) {
      uint8_t* host = memory_->Find(of.banks[i], value);
      // Never set: whoever touches it ends there.
      if (host == nullptr && value == 0) host = memory_->Nowhere();
      if (host == nullptr) {
        char text[64];
        std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
        return of.name + "." + std::string(argument.name) + ": " + text + " is in no buffer of " +
               spec_.banks[of.banks[i]].tag;
      }
      value = reinterpret_cast<uint64_t>(host);
    }
    arguments->push_back(value);
  }
  return "";
}

int EmulatedCard::Execute(uint32_t handle) {
  const std::shared_ptr<CardBuffer> command = Find(handle);
  if (command == nullptr || command->bytes < sizeof(ert_packet)) return -EINVAL;
  const std::lock_guard lock(mutex_);
  const auto* const packet = reinterpret_cast<const ert_start_kernel_cmd*>(command->host);
  if ((packet->count + 1) * sizeof(uint32_t) > command->bytes) return -EINVAL;
  if (packet->opcode == ERT_CONFIGURE) {
    Complete(*command, ERT_CMD_STATE_COMPLETED);
    return 0;
  }
  if (packet->opcode == ERT_START_COPYBO) {
    // What XRT tries with an argument that lies in another bank than its unit's port.
    Say(index_, "it has no unit that copies from buffer to buffer");
    return -EINVAL;
  }
  if (packet->opcode != ERT_START_CU) {
    Say(index_, "commands of opcode " + std::to_string(packet->opcode) + " are not emulated");
    return -EINVAL;
  }
  const size_t masks = 1 + packet->extra_cu_masks;
  if (packet->count < masks) return -EINVAL;
  // The unit with the fewest runs in front, as the scheduler of a card chooses.
  const uint32_t* const mask = &packet->cu_mask;
  Unit* chosen = nullptr;
  for (size_t i = 0; i < units_.size() && i < 32 * masks; ++i) {
    if ((mask[i / 32] >> (i % 32) & 1) == 0) continue;
    const auto load = [](const Unit& unit) { return unit.jobs.size() + (unit.busy ? 1 : 0); };
    if (chosen == nullptr || load(*units_[i]) < load(*chosen)) chosen = units_[i].get();
  }
  if (chosen == nullptr) return -EINVAL;
  const std::string& name = spec_.units[chosen->index].name;
  Job job = {.command = command};
  const std::string fault = Decode(*chosen, mask + masks, packet->count - masks, &job.arguments);
  const uint64_t run = ++chosen->runs;
  if (!fault.empty()) {
    Say(index_, fault);
    Complete(*command, ERT_CMD_STATE_ERROR);
    return 0;
  }
  for (const auto& rule : faults_.errors) {
    if (!rule.Holds(name, run)) continue;
    Complete(*command, ERT_CMD_STATE_ERROR);
    return 0;
  }
  for (const auto& rule : faults_.hangs) job.hangs = job.hangs || rule.Holds(name, run);
  for (const auto& rule : faults_.wrongs) {
    if (rule.Holds(name, run)) job.wrong = &rule;
  }
  chosen->jobs.push_back(std::move(job));
  work_.notify_all();
  return 0;
}

void EmulatedCard::Work(Unit* unit) {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stops_ || !unit->jobs.empty(); });
    if (stops_) return;
    const Job job = std::move(unit->jobs.front());
    unit->jobs.pop_front();
    unit->busy = true;
    if (job.hangs) {
      work_.wait(lock, [&] { return stops_; });
    } else {
      lock.unlock();
      image_->Run(unit->index, job.arguments.data());
      lock.lock();
      if (job.wrong != nullptr) {
        const Kernel& kernel = KernelTable()[spec_.units[unit->index].kernel];
        const int argument = kernel.Find(job.wrong->argument);
        if (argument >= 0 && kernel.arguments[argument].kind == KernelArgument::kMemory) {
          reinterpret_cast<uint8_t*>(job.arguments[argument])[job.wrong->byte] ^= 1;
        }
      }
    }
    unit->busy = false;
    Complete(*job.command, stops_ ? ERT_CMD_STATE_ABORT : ERT_CMD_STATE_COMPLETED);
  }
}

void EmulatedCard::Complete(const CardBuffer& command, int state) {
  SetState(command, state);
  ++completions_;
  completed_.notify_all();
}

int EmulatedCard::AwaitCompletion(int timeout_ms) {
  std::unique_lock lock(mutex_);
  const auto some = [&] { return completions_ > 0; };
  if (timeout_ms < 0) {
    completed_.wait(lock, some);
  } else if (!completed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), some)) {
    return 0;
  }
  completions_ = 0;
  return 1;
}

uint32_t EmulatedCard::ControlRegister(uint32_t unit) const {
  constexpr uint32_t kStarted = 1;
  constexpr uint32_t kIdle = 4;
  const std::lock_guard lock(mutex_);
  return unit < units_.size() && (units_[unit]->busy || !units_[unit]->jobs.empty()) ? kStarted
                                                                                     : kIdle;
}

bool EmulatedCard::loaded(const unsigned char* uuid) const {
  const std::lock_guard lock(mutex_);
  return loaded_ && std::memcmp(uuid_, uuid, sizeof(uuid_)) == 0;
}

std::string EmulatedCard::name() const {
  const std::lock_guard lock(mutex_);
  return loaded_ ? "baton_emulated_" + spec_.name : "baton_emulated";
}

uint64_t EmulatedCard::memory_bytes() const {
  const std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const CardBank& bank : spec_.banks) bytes += bank.bytes;
  return bytes;
}

int EmulatedCard::bank_count() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(spec_.banks.size());
}

int EmulatedCard::clock_mhz() const {
  const std::lock_guard lock(mutex_);
  return spec_.clock_mhz;
}

}  // namespace baton::fpga
