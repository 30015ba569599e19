# One function per kind of target, so that a room's CMakeLists.txt is a list of files and arrows.

# baton_library(NAME SRCS a.cc b.cc DEPS baton_base absl::status ... [CONTROL] [UNITY]). CONTROL: it
# decides and hands on, others compute; a sanitizer build does not optimise it and compiles it in
# half the time. UNITY: eight files are compiled as one, which takes half the time again; those with
# options of their own stay alone.
function(baton_library name)
  cmake_parse_arguments(ARG "CONTROL;UNITY" "" "SRCS;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SRCS})
  target_link_libraries(${name} PUBLIC baton_flags ${ARG_DEPS})
  if(ARG_CONTROL AND BATON_SANITIZE)
    target_compile_options(${name} PRIVATE -O0)
  endif()
  if(ARG_UNITY AND BATON_UNITY)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
    # Of files compiled as one, each of which is a main file.
    target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
endfunction()

# baton_unity(TARGET): compiles its files some at a time, as one. For targets whose every file reads
# headers that take longer than the file: gRPC's.
function(baton_unity target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
endfunction()

# baton_program(NAME SRCS main.cc DEPS ...): lands in build/PRESET/bin/NAME
function(baton_program name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE baton_flags ${ARG_DEPS})
endfunction()

# The labels a test may have. Each has a target tests_LABEL that builds just its programs.
set(BATON_TEST_LABELS
  unit         # no device, seconds; also run under ASan + UBSan
  race         # also run under ThreadSanitizer
  integration  # starts the daemon, or would take minutes under a sanitizer
  fuzz         # a fuzzer, for a few seconds
  slow gpu fpga)
if(BATON_HAVE_TESTS)
  foreach(label IN LISTS BATON_TEST_LABELS)
    add_custom_target(tests_${label})
  endforeach()
endif()

# What every test has in common: its labels, and a target to build that each label can name.
function(baton_label_test name)
  foreach(label IN LISTS ARGN)
    if(NOT label IN_LIST BATON_TEST_LABELS)
      message(FATAL_ERROR "baton: test ${name} has the unknown label ${label}, "
                          "known are ${BATON_TEST_LABELS}")
    endif()
    if(TARGET ${name})
      add_dependencies(tests_${label} ${name})
    endif()
  endforeach()
  set(seconds_max 300)
  if(BATON_SANITIZE)
    set(seconds_max 900)
  endif()
  if("slow" IN_LIST ARGN)
    set(seconds_max 1800)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARGN}" TIMEOUT ${seconds_max})
endfunction()

# baton_executor_plugin(gpu SRCS gpu_plugin.cc DEPS ... VERSION "0.1.0, CUDA 13.0" [LATE]): lands
# beside the programs as libbaton_gpu.so and is built with baton_exec_gpu, which loads it at run
# time. LATE: it takes minutes, and is built where it is asked for by name or required. It
# exports its one entry symbol and, outside sanitizer builds (whose run time the program brings),
# leaves no symbol open.
function(baton_executor_plugin platform)
  cmake_parse_arguments(ARG "LATE" "VERSION" "SRCS;DEPS" ${ARGN})
  set(name baton_${platform}_plugin)
  add_library(${name} MODULE ${ARG_SRCS})
  set_target_properties(${name} PROPERTIES
    OUTPUT_NAME baton_${platform}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  target_compile_definitions(${name} PRIVATE BATON_PLUGIN_VERSION="${ARG_VERSION}")
  target_link_libraries(${name} PRIVATE baton_flags ${ARG_DEPS})
  # Of object files that hide nothing, too.
  set(exports ${CMAKE_CURRENT_BINARY_DIR}/${name}.map)
  file(WRITE ${exports} "{ global: baton_executor_plugin_v1; local: *; };\n")
  target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL -Wl,--version-script=${exports})
  if(NOT BATON_SANITIZE)
    target_link_options(${name} PRIVATE -Wl,--no-undefined)
  endif()
  if(ARG_LATE AND NOT BATON_REQUIRE_CUDA)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
  else()
    add_dependencies(baton_exec_${platform} ${name})
  endif()
endfunction()

# baton_test(NAME SRCS x_test.cc DEPS ... LABELS unit race [TWINS]): one Catch2 program, one ctest
# entry. Its own files are not optimised, what they test is: compiling them takes half the time, a
# third under a sanitizer. TWINS: they are optimised, too; they compute what they compare with.
function(baton_test name)
  cmake_parse_arguments(ARG "TWINS" "" "SRCS;DEPS;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE baton_test_main ${ARG_DEPS})
  if(NOT ARG_TWINS)
    target_compile_options(${name} PRIVATE -O0)
  endif()
  if(BATON_BUILD_FUZZERS)  # no fuzzer reads the coverage of a test
    target_compile_options(${name} PRIVATE -fno-sanitize=fuzzer-no-link)
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  baton_label_test(${name} ${ARG_LABELS})
endfunction()

# baton_slow_test(NAME): the cases of a baton_test that are tagged [.slow], as a test of their own
# that only `./dev test --slow` runs.
function(baton_slow_test name)
  add_test(NAME ${name}_slow COMMAND ${name} "[.slow]" WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name}_slow PROPERTIES LABELS slow TIMEOUT 1800)
  add_dependencies(tests_slow ${name})
endfunction()

# baton_python_test(NAME SCRIPT x.py ARGS ... LABELS unit): one script, one ctest entry.
function(baton_python_test name)
  cmake_parse_arguments(ARG "" "SCRIPT" "ARGS;LABELS" ${ARGN})
  add_test(NAME ${name}
    COMMAND ${BATON_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_SCRIPT} ${ARG_ARGS}
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  baton_label_test(${name} ${ARG_LABELS})
endfunction()

# baton_python_bench(NAME SCRIPT x_bench.py DEPENDS target ... ARGS ...): as baton_bench, for one
# that is a client of the daemon and no part of it.
function(baton_python_bench name)
  cmake_parse_arguments(ARG "" "SCRIPT" "ARGS;DEPENDS" ${ARGN})
  list(JOIN ARG_ARGS " " args)
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/bin/bench_${name}
    CONTENT "#!/bin/sh
exec ${BATON_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_SCRIPT} ${args} \"$@\"
"
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
                     WORLD_EXECUTE)
  add_custom_target(bench_${name} DEPENDS ${ARG_DEPENDS})
endfunction()

# baton_fuzzer(NAME SRCS x_fuzz.cc DEPS ...): a libFuzzer program where the fuzzers are built, and
# a test that runs it for BATON_FUZZ_SECONDS, from the inputs in corpus/NAME if there are any. What
# it finds new stays in build/PRESET/fuzz/NAME, an input that broke something in NAME-crash-*.
function(baton_fuzzer name)
  if(NOT BATON_BUILD_FUZZERS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE baton_flags ${ARG_DEPS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set(found ${CMAKE_BINARY_DIR}/fuzz/${name})
  file(MAKE_DIRECTORY ${found})
  set(corpus ${found})
  if(IS_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
    list(APPEND corpus ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
  endif()
  add_test(NAME ${name}
    COMMAND ${name} -max_total_time=${BATON_FUZZ_SECONDS} -rss_limit_mb=2048 -timeout=10
            -print_final_stats=1 -artifact_prefix=${found}- ${corpus})
  baton_label_test(${name} fuzz)
endfunction()

# baton_bench(NAME SRCS x_bench.cc DEPS ...): the program behind `./dev bench NAME`, bench_NAME.
function(baton_bench name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  baton_program(bench_${name} SRCS ${ARG_SRCS} DEPS ${ARG_DEPS})
endfunction()
