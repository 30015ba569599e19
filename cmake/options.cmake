# Compiler flags, sanitizers, ccache. A preset (CMakePresets.json) only sets these options.

option(BATON_BUILD_SERVER "Build the daemon, batonctl and baton-load (needs gRPC)" ON)
option(BATON_BUILD_TESTS "Build the tests" ON)
option(BATON_BUILD_FUZZERS "Build the libFuzzer targets (clang only)" OFF)
set(BATON_FUZZ_SECONDS 5 CACHE STRING "How long ctest runs each fuzzer")
option(BATON_UNITY "Compile some files of a room as one: all in half the time, one in more" OFF)
option(BATON_WERROR "Treat warnings as errors" ON)
option(BATON_REQUIRE_CUDA "Fail to configure without nvcc" OFF)
option(BATON_REQUIRE_XRT "Fail to configure without XRT" OFF)
set(BATON_SANITIZE "" CACHE STRING "Sanitizers, comma separated: address,undefined or thread")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
if(BATON_SANITIZE)
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")  # -O0 under a sanitizer: the tests take minutes
else()
  set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(baton_flags INTERFACE)
target_include_directories(baton_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(BATON_SANITIZE)
  target_compile_definitions(baton_flags INTERFACE BATON_SANITIZED)
endif()
target_compile_options(baton_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-Wimplicit-fallthrough>
  # designated initialisers leave the rest at their defaults, on purpose
  $<$<COMPILE_LANGUAGE:CXX>:-Wno-missing-field-initializers>)
if(BATON_WERROR)
  target_compile_options(baton_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(BATON_SANITIZE)
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${BATON_SANITIZE}>
                      $<$<COMPILE_LANGUAGE:C,CXX>:-fno-omit-frame-pointer>)
  if(BATON_SANITIZE MATCHES "undefined")
    add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-fno-sanitize-recover=undefined>)
  endif()
  add_link_options(-fsanitize=${BATON_SANITIZE})
endif()
if(BATON_BUILD_FUZZERS)
  # Coverage in every library, or the fuzzers would see only their own file.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
endif()
