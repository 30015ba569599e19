#include "fpga_emulation/xclbin_writer.h"

#include <xclbin.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <vector>

#include "fpga_emulation/kernel_table.h"

namespace baton::fpga {
namespace {

constexpr uint64_t kFirstUnitAddress = 0x800000;
constexpr uint64_t kUnitBytes = 0x10000;
constexpr uint64_t kNoAddress = UINT64_MAX;  // of a unit without registers

template <class T>
void Append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// At most size - 1 characters, zeros behind.
template <class Char, size_t size>
void CopyName(const std::string& name, Char (&to)[size]) {
  std::memset(to, 0, size);
  std::memcpy(to, name.data(), std::min(name.size(), size - 1));
}

// A unit's registers, or kNoAddress. Addresses rise with the units that have one.
std::vector<uint64_t> UnitAddresses(const CardSpec& card) {
  std::vector<uint64_t> addresses;
  uint64_t next = kFirstUnitAddress;
  for (const CardUnit& unit : card.units) {
    const bool registers = !KernelTable()[unit.kernel].free_running;
    addresses.push_back(registers ? next : kNoAddress);
    if (registers) next += kUnitBytes;
  }
  return addresses;
}

// The order of ip_layout: by address, those without behind.
std::vector<size_t> UnitOrder(const CardSpec& card) {
  const std::vector<uint64_t> addresses = UnitAddresses(card);
  std::vector<size_t> order(card.units.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return addresses[a] != addresses[b] ? addresses[a] < addresses[b] : a < b;
  });
  return order;
}

std::string MemTopology(const CardSpec& card) {
  std::string bytes;
  Append(bytes, static_cast<int32_t>(card.banks.size()));
  bytes.append(offsetof(mem_topology, m_mem_data) - bytes.size(), '\0');
  for (const CardBank& bank : card.banks) {
    mem_data data = {};
    data.m_type = bank.hbm ? MEM_HBM : MEM_DDR4;
    data.m_used = 1;
    data.m_size = bank.bytes / 1024;
    data.m_base_address = bank.address;
    CopyName(bank.tag, data.m_tag);
    Append(bytes, data);
  }
  return bytes;
}

std::string IpLayout(const CardSpec& card) {
  const std::vector<uint64_t> addresses = UnitAddresses(card);
  std::string bytes;
  Append(bytes, static_cast<int32_t>(card.units.size()));
  bytes.append(offsetof(ip_layout, m_ip_data) - bytes.size(), '\0');
  for (const size_t i : UnitOrder(card)) {
    const Kernel& kernel = KernelTable()[card.units[i].kernel];
    ip_data data = {};
    data.m_type = IP_KERNEL;
    const uint32_t control = kernel.free_running ? AP_CTRL_NONE : AP_CTRL_CHAIN;
    data.properties = control << IP_CONTROL_SHIFT;
    if (!kernel.free_running) data.properties |= IP_INT_ENABLE_MASK;
    data.m_base_address = addresses[i];
    CopyName(std::string(kernel.name) + ":" + card.units[i].name, data.m_name);
    Append(bytes, data);
  }
  return bytes;
}

std::string Connectivity(const CardSpec& card) {
  std::string connections;
  int32_t count = 0;
  const std::vector<size_t> order = UnitOrder(card);
  for (size_t at = 0; at < order.size(); ++at) {
    const CardUnit& unit = card.units[order[at]];
    for (size_t i = 0; i < unit.banks.size(); ++i) {
      if (unit.banks[i] < 0) continue;
      Append(connections, connection{.arg_index = static_cast<int32_t>(i),
                                     .m_ip_layout_index = static_cast<int32_t>(at),
                                     .mem_data_index = unit.banks[i]});
      ++count;
    }
  }
  std::string bytes;
  Append(bytes, count);
  return bytes + connections;
}

std::string ClockTopology(const CardSpec& card) {
  std::string bytes;
  Append(bytes, int16_t{1});
  clock_freq clock = {};
  clock.m_freq_Mhz = static_cast<uint16_t>(card.clock_mhz);
  clock.m_type = CT_DATA;
  CopyName("DATA_CLK", clock.m_name);
  Append(bytes, clock);
  return bytes;
}

std::string Hex(uint64_t value) {
  std::ostringstream text;
  text << "0x" << std::hex << value;
  return text.str();
}

void AppendArgument(const KernelArgument& argument, size_t id, std::ostringstream& xml) {
  constexpr int kScalarQualifier = 0;
  constexpr int kGlobalQualifier = 1;
  constexpr int kStreamQualifier = 4;
  const bool memory = argument.kind == KernelArgument::kMemory;
  const int qualifier = argument.is_stream() ? kStreamQualifier
                        : memory             ? kGlobalQualifier
                                             : kScalarQualifier;
  const uint32_t bytes = argument.kind == KernelArgument::kScalar ? argument.bytes : 8;
  const std::string name(argument.name);
  xml << "<arg name=\"" << name << "\" addressQualifier=\"" << qualifier << "\" id=\"" << id
      << "\" port=\""
      << (argument.is_stream() ? name
          : memory             ? "M_AXI_" + name
                               : "S_AXI_CONTROL")
      << "\" size=\"" << Hex(bytes) << "\" offset=\"" << Hex(argument.offset)
      << "\" hostOffset=\"0x0\" hostSize=\"" << Hex(bytes) << "\" type=\""
      << (memory                 ? "void*"
          : argument.is_stream() ? "stream"
          : bytes == 4           ? "uint"
                                 : "ulong")
      << "\"/>\n";
}

// What XRT reads arguments from, as v++ writes it.
std::string EmbeddedMetadata(const CardSpec& card) {
  const std::vector<uint64_t> addresses = UnitAddresses(card);
  std::ostringstream xml;
  xml << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<project name=\"baton_" << card.name
      << "\">\n<platform vendor=\"baton\" boardid=\"" << card.name << "\" name=\"emulated\""
      << " featureRomTime=\"0\">\n<version major=\"1\" minor=\"0\"/>\n"
      << "<device name=\"fpga0\" fpgaDevice=\"emulated\" addrWidth=\"0\">\n"
      << "<core name=\"OCL_REGION_0\" target=\"hw_em\" type=\"clc_region\" clockFreq=\""
      << card.clock_mhz << "MHz\" numComputeUnits=\"" << card.units.size() << "\">\n"
      << "<kernelClocks><clock port=\"DATA_CLK\" frequency=\"" << card.clock_mhz
      << "MHz\"/></kernelClocks>\n";
  for (size_t i = 0; i < card.units.size();) {
    const Kernel& kernel = KernelTable()[card.units[i].kernel];
    xml << "<kernel name=\"" << kernel.name << "\" language=\"c\" vlnv=\"baton:hls:" << kernel.name
        << ":1.0\" attributes=\"\" preferredWorkGroupSizeMultiple=\"0\" workGroupSize=\"1\""
        << " interrupt=\"true\" hwControlProtocol=\""
        << (kernel.free_running ? "ap_ctrl_none" : "ap_ctrl_chain") << "\">\n";
    if (!kernel.free_running) {
      xml << "<port name=\"S_AXI_CONTROL\" mode=\"slave\" range=\"" << Hex(kUnitBytes)
          << "\" dataWidth=\"32\" portType=\"addressable\" base=\"0x0\"/>\n";
    }
    for (const KernelArgument& argument : kernel.arguments) {
      if (argument.kind == KernelArgument::kMemory) {
        xml << "<port name=\"M_AXI_" << argument.name << "\" mode=\"master\""
            << " range=\"0xFFFFFFFFFFFFFFFF\" dataWidth=\"512\" portType=\"addressable\""
            << " base=\"0x0\"/>\n";
      } else if (argument.is_stream()) {
        xml << "<port name=\"" << argument.name << "\" mode=\""
            << (argument.kind == KernelArgument::kStreamIn ? "read_only" : "write_only")
            << "\" dataWidth=\"" << 8 * argument.bytes << "\" portType=\"stream\"/>\n";
      }
    }
    for (size_t id = 0; id < kernel.arguments.size(); ++id) {
      AppendArgument(kernel.arguments[id], id, xml);
    }
    for (; i < card.units.size() && &KernelTable()[card.units[i].kernel] == &kernel; ++i) {
      xml << "<instance name=\"" << card.units[i].name << "\">";
      if (!kernel.free_running) {
        xml << "<addrRemap base=\"" << Hex(addresses[i]) << "\" range=\"" << Hex(kUnitBytes)
            << "\" port=\"S_AXI_CONTROL\"/>";
      }
      xml << "</instance>\n";
    }
    xml << "</kernel>\n";
  }
  xml << "</core>\n</device>\n</platform>\n</project>\n";
  return xml.str();
}

// FNV-1a, 64 bits (Fowler, Noll, Vo).
uint64_t HashOf(const std::string& bytes, uint64_t hash) {
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

struct Section {
  axlf_section_kind kind;
  const char* name;
  std::string bytes;
};

}  // namespace

std::string XclbinOf(const CardSpec& card, const std::string& image, uint32_t contract) {
  const std::vector<Section> sections = {
      {BITSTREAM, "image", image},
      {EMBEDDED_METADATA, "", EmbeddedMetadata(card)},
      {MEM_TOPOLOGY, "", MemTopology(card)},
      {IP_LAYOUT, "", IpLayout(card)},
      {CONNECTIVITY, "", Connectivity(card)},
      {CLOCK_FREQ_TOPOLOGY, "", ClockTopology(card)},
      {USER_METADATA, "contract",
       kContractTag + std::to_string(contract) + "\n" + CardSpecText(card)},
  };
  const auto aligned = [](uint64_t at) { return (at + 7) / 8 * 8; };
  axlf head = {};
  std::memcpy(head.m_magic, "xclbin2", 8);
  head.m_signature_length = -1;
  std::memset(head.reserved, 0xff, sizeof(head.reserved));
  std::memset(head.m_keyBlock, 0xff, sizeof(head.m_keyBlock));
  head.m_header.m_versionMajor = 2;
  head.m_header.m_versionMinor = 13;
  head.m_header.m_mode = XCLBIN_HW_EMU;
  CopyName("baton_emulated_" + card.name, head.m_header.m_platformVBNV);
  head.m_header.m_numSections = static_cast<uint32_t>(sections.size());
  uint64_t at = aligned(offsetof(axlf, m_sections) + sections.size() * sizeof(axlf_section_header));
  std::string headers;
  std::string body;
  uint64_t low = 0xcbf29ce484222325;
  uint64_t high = 0x9ae16a3b2f90404f;
  for (const Section& section : sections) {
    axlf_section_header header = {};
    header.m_sectionKind = section.kind;
    CopyName(section.name, header.m_sectionName);
    header.m_sectionOffset = at;
    header.m_sectionSize = section.bytes.size();
    Append(headers, header);
    body += section.bytes;
    body.append(aligned(body.size()) - body.size(), '\0');
    at += aligned(section.bytes.size());
    low = HashOf(section.bytes, low);
    high = HashOf(section.bytes, high);
  }
  head.m_header.m_length = at;
  head.m_uniqueId = low;
  std::memcpy(head.m_header.uuid, &low, 8);
  std::memcpy(head.m_header.uuid + 8, &high, 8);
  std::string bytes(reinterpret_cast<const char*>(&head), offsetof(axlf, m_sections));
  bytes += headers;
  bytes.append(aligned(bytes.size()) - bytes.size(), '\0');
  return bytes + body;
}

}  // namespace baton::fpga
