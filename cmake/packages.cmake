# Every library the build can use, found here and nowhere else; deploy/packages.txt names their
# Debian packages. Required ones stop the configure step; optional ones switch their plug-in or
# feature and appear in the summary.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(RocksDB CONFIG REQUIRED)
find_package(yaml-cpp CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)  # target PkgConfig::PCRE2
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

find_package(OpenSSL REQUIRED)  # proofs between daemons

# hnswlib may be included by one source file only: its CPU detection is not inline.
find_path(HNSWLIB_INCLUDE_DIR hnswlib/hnswlib.h REQUIRED)
add_library(hnswlib INTERFACE)
target_include_directories(hnswlib SYSTEM INTERFACE ${HNSWLIB_INCLUDE_DIR})
if(BATON_SANITIZE)
  # Its hand-written prefetch reads past the end of a neighbour list.
  target_compile_definitions(hnswlib INTERFACE NO_MANUAL_VECTORIZATION)
endif()

# FAISS is a static library without a SIMD instruction: only what it leaves to BLAS is quick, so
# that is OpenBLAS whatever the system's default is. It was compiled with gcc's OpenMP; clang's,
# which find_package(OpenMP) would add under clang, must not come beside it.
find_library(OPENBLAS_LIBRARY openblas REQUIRED)
add_library(OpenMP::OpenMP_CXX INTERFACE IMPORTED)
target_link_libraries(OpenMP::OpenMP_CXX INTERFACE gomp)
find_package(faiss CONFIG REQUIRED)
set_target_properties(faiss PROPERTIES
  INTERFACE_LINK_LIBRARIES "OpenMP::OpenMP_CXX;${OPENBLAS_LIBRARY}")

if(BATON_BUILD_SERVER)
  find_package(Protobuf REQUIRED)  # module mode, before gRPC: Debian ships no protobuf-config
  find_package(gRPC CONFIG REQUIRED)
  find_package(CLI11 CONFIG REQUIRED)
  find_package(Boost 1.74 REQUIRED)  # headers only: Asio and Beast, for HTTP
  find_package(CURL REQUIRED)  # baton-load against OpenAI-compatible servers
  pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)  # target PkgConfig::SYSTEMD
  pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)
endif()

# Optional: the tests. Debian's own python3, for that is the one python3-grpcio installs into.
if(BATON_BUILD_TESTS)
  find_package(Catch2 2 CONFIG)
  find_program(BATON_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
  if(Catch2_FOUND AND BATON_PYTHON)
    set(BATON_HAVE_TESTS TRUE)
  endif()
endif()

# Optional: where threads run near their device.
pkg_check_modules(HWLOC IMPORTED_TARGET hwloc>=2.5)
if(HWLOC_FOUND)
  set(BATON_HAVE_HWLOC TRUE)
endif()

# Optional: KV from one daemon to another.
pkg_check_modules(UCX IMPORTED_TARGET ucx>=1.13)  # target PkgConfig::UCX
if(UCX_FOUND)
  set(BATON_HAVE_UCX TRUE)
endif()

# Optional: the GPU plug-in.
include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
  endif()
  enable_language(CUDA)
  # CMake 3.25 does not know that nvcc 13 speaks C++20.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  find_package(CUDAToolkit REQUIRED)
  set(BATON_HAVE_CUDA TRUE)
endif()

# Optional: the FPGA plug-in. Debian's xrt.pc is wrong (prefix=/usr//usr) and there is no CMake
# config, so XRT is searched for by hand; xclbin.h needs uuid/uuid.h, which libxrt-dev forgets.
find_path(XRT_INCLUDE_DIR xrt/xrt_device.h PATH_SUFFIXES xrt)
find_library(XRT_COREUTIL_LIBRARY xrt_coreutil)
find_path(UUID_INCLUDE_DIR uuid/uuid.h)
if(XRT_INCLUDE_DIR AND XRT_COREUTIL_LIBRARY AND UUID_INCLUDE_DIR)
  add_library(xrt_coreutil INTERFACE)
  target_include_directories(xrt_coreutil SYSTEM INTERFACE ${XRT_INCLUDE_DIR})
  target_link_libraries(xrt_coreutil INTERFACE ${XRT_COREUTIL_LIBRARY} uuid Threads::Threads)
  set(BATON_HAVE_XRT TRUE)
endif()

if(BATON_REQUIRE_CUDA AND NOT BATON_HAVE_CUDA)
  message(FATAL_ERROR "baton: the cuda preset needs nvcc (CUDA toolkit), none was found")
endif()
if(BATON_REQUIRE_XRT AND NOT BATON_HAVE_XRT)
  message(FATAL_ERROR "baton: the fpga preset needs libxrt-dev and uuid-dev, not both were found")
endif()
