# What this build has, said once at the end of configuring.

# baton_summary_line(WHAT VARIABLE REASON): "WHAT: yes", or "WHAT: no (REASON)"
function(baton_summary_line what have reason)
  if(${have})
    message(STATUS "baton: ${what}: yes")
  else()
    message(STATUS "baton: ${what}: no (${reason})")
  endif()
endfunction()

message(STATUS "baton: ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}, "
               "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
baton_summary_line("daemon, batonctl, baton-load" BATON_BUILD_SERVER "BATON_BUILD_SERVER=OFF")
baton_summary_line("GPU plug-in (libbaton_gpu.so)" BATON_HAVE_CUDA "no nvcc found")
baton_summary_line("FPGA plug-in (libbaton_fpga.so)" BATON_HAVE_XRT
                   "libxrt-dev or uuid-dev not found")
baton_summary_line("emulated FPGA card" BATON_HAVE_FPGA_EMULATION
                   "libxrt-dev of XRT 2.13 or uuid-dev not found")
baton_summary_line("placement of threads near their device" BATON_HAVE_HWLOC
                   "libhwloc-dev not found")
baton_summary_line("KV between daemons (peer.*)" BATON_HAVE_UCX "libucx-dev not found")
baton_summary_line("tests" BATON_HAVE_TESTS "catch2 or python3 not found, or BATON_BUILD_TESTS=OFF")
