#include "fpga_emulation/kernel_table.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "fpga_kernels/card_args.h"

namespace baton::fpga {
namespace {

std::string ReadSource(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Declared {
  std::string type;
  std::string name;
};

// The parameters of `extern "C" void KERNEL(...)` in its header.
std::vector<Declared> DeclaredArguments(const std::string& kernel) {
  const std::string text = ReadSource("fpga_kernels/hls/" + kernel + ".h");
  const size_t begin = text.find("extern \"C\" void " + kernel + "(");
  REQUIRE(begin != std::string::npos);
  const size_t open = text.find('(', begin) + 1;
  std::istringstream list(text.substr(open, text.find(");", open) - open));
  std::vector<Declared> arguments;
  for (std::string one; std::getline(list, one, ',');) {
    const size_t name = one.find_last_of(" *&") + 1;
    arguments.push_back({one.substr(0, name), one.substr(name)});
  }
  return arguments;
}

TEST_CASE("each kernel's arguments are those of its declaration, in order") {
  REQUIRE(KernelTable().size() == 10);
  for (const Kernel& kernel : KernelTable()) {
    const std::vector<Declared> declared = DeclaredArguments(std::string(kernel.name));
    INFO(kernel.name);
    REQUIRE(declared.size() == kernel.arguments.size());
    for (size_t i = 0; i < declared.size(); ++i) {
      const KernelArgument& argument = kernel.arguments[i];
      CHECK(declared[i].name == argument.name);
      const bool stream = declared[i].type.find("Stream<") != std::string::npos;
      CHECK(argument.is_stream() == stream);
      CHECK((argument.kind == KernelArgument::kMemory) ==
            (declared[i].type.find('*') != std::string::npos));
    }
  }
}

// Vitis would choose a port for what has no pragma, and not the one that the spec counts on.
TEST_CASE("each argument has the interface that the table takes it for") {
  for (const Kernel& kernel : KernelTable()) {
    const std::string text = ReadSource("fpga_kernels/hls/" + std::string(kernel.name) + ".cc");
    for (const KernelArgument& argument : kernel.arguments) {
      const std::string wanted = argument.is_stream()                       ? "axis"
                                 : argument.kind == KernelArgument::kMemory ? "m_axi"
                                                                            : "s_axilite";
      INFO(kernel.name << "." << argument.name);
      CHECK(std::regex_search(text, std::regex("#pragma HLS interface " + wanted +
                                               " port = " + std::string(argument.name) + "\\b")));
    }
    const bool none = text.find("interface ap_ctrl_none port = return") != std::string::npos;
    CHECK(kernel.free_running == none);
  }
}

// Who reads and who writes a stream is in no signature.
TEST_CASE("a stream's direction is what the kernel does with it") {
  for (const Kernel& kernel : KernelTable()) {
    const std::string text = ReadSource("fpga_kernels/hls/" + std::string(kernel.name) + ".cc");
    for (const KernelArgument& argument : kernel.arguments) {
      if (!argument.is_stream()) continue;
      const std::string name(argument.name);
      INFO(kernel.name << "." << name);
      const char* const wrong = argument.kind == KernelArgument::kStreamIn ? "write" : "read";
      CHECK_FALSE(std::regex_search(text, std::regex("\\b" + name + "\\." + wrong + "\\(")));
    }
  }
}

struct Named {
  const char* kernel;
  const char* argument;
  int index;
};

TEST_CASE("the indices that hosts use are the arguments' own") {
  const Named names[] = {
      {"sequencer", "program", kSequencerProgram},
      {"sequencer", "sampling", kSequencerSampling},
      {"sequencer", "result", kSequencerResult},
      {"sequencer", "command_count", kSequencerCommandCount},
      {"sequencer", "position", kSequencerPosition},
      {"sequencer", "embedding_at", kSequencerEmbeddingAt},
      {"sequencer", "table_at", kSequencerTableAt},
      {"sequencer", "ends", kSequencerEnds},
      {"gemv_bank", "bank", kGemvBankBank},
      {"gemv_bank", "index", kGemvBankIndex},
      {"gemv_bank", "units", kGemvBankUnits},
      {"kv_attention", "kv", kKvAttentionKv},
      {"kv_attention", "blocks", kKvAttentionBlocks},
      {"kv_attention", "index", kKvAttentionIndex},
      {"kv_attention", "units", kKvAttentionUnits},
      {"vector_unit", "vectors", kVectorUnitVectors},
      {"vector_unit", "embeddings", kVectorUnitEmbeddings},
      {"sampler", "logits_out", kSamplerLogitsOut},
      {"flat_scan", "args", kFlatScanArgs},
      {"flat_scan", "query", kFlatScanQuery},
      {"flat_scan", "codes", kFlatScanCodes},
      {"flat_scan", "labels", kFlatScanLabels},
      {"flat_scan", "hits", kFlatScanHits},
      {"hnsw_search", "args", kHnswSearchArgs},
      {"hnsw_search", "queries", kHnswSearchQueries},
      {"hnsw_search", "codes", kHnswSearchCodes},
      {"hnsw_search", "biases", kHnswSearchBiases},
      {"hnsw_search", "links", kHnswSearchLinks},
      {"hnsw_search", "upper_links", kHnswSearchUpperLinks},
      {"hnsw_search", "live", kHnswSearchLive},
      {"hnsw_search", "fine_queries", kHnswSearchFineQueries},
      {"hnsw_search", "fine", kHnswSearchFine},
      {"hnsw_search", "hits", kHnswSearchHits},
      {"pq_scan", "args", kPqScanArgs},
      {"pq_scan", "probes", kPqScanProbes},
      {"pq_scan", "tables", kPqScanTables},
      {"pq_scan", "blocks", kPqScanBlocks},
      {"pq_scan", "terms", kPqScanTerms},
      {"pq_scan", "rows", kPqScanRows},
      {"pq_scan", "live", kPqScanLive},
      {"pq_scan", "hits", kPqScanHits},
  };
  size_t host_arguments = 0;
  for (const Kernel& kernel : KernelTable()) {
    for (const KernelArgument& argument : kernel.arguments) host_arguments += !argument.is_stream();
  }
  CHECK(std::size(names) == host_arguments);
  for (const Named& name : names) {
    INFO(name.kernel << "." << name.argument);
    CHECK(KernelTable()[FindKernel(name.kernel)].Find(name.argument) == name.index);
  }
}

TEST_CASE("registers lie as s_axilite places them") {
  const Kernel& sequencer = KernelTable()[FindKernel("sequencer")];
  CHECK(sequencer.arguments[kSequencerProgram].offset == 0x10);
  CHECK(sequencer.arguments[kSequencerSampling].offset == 0x1c);
  CHECK(sequencer.arguments[kSequencerCommandCount].offset == 0x34);
  CHECK(sequencer.arguments[kSequencerPosition].offset == 0x3c);
}

TEST_CASE("a contract's version is read from its section alone") {
  const auto version = [](const std::string& text) {
    return ContractVersionOf(text.data(), text.size());
  };
  CHECK(version("baton fpga contract 1\ncard x") == 1);
  CHECK(version("baton fpga contract 12") == 12);
  CHECK(version("baton fpga contract \n") == 0);
  CHECK(version("baton fpga contract 1x\n") == 0);
  CHECK(version("baton fpga contract 99999999999999999999\n") == 0);
  CHECK(version("baton fpga con") == 0);
  CHECK(version("") == 0);
}

}  // namespace
}  // namespace baton::fpga
