# What `./dev gpu pack` takes to a machine with a GPU: target gpu_pack builds the programs, and
# installing the component of that name puts them, with run paths relative to themselves, into bin/.
# DT_RPATH, not DT_RUNPATH: it also finds what the libraries themselves need.

if(NOT BATON_HAVE_CUDA OR NOT TARGET batond OR NOT BATON_HAVE_TESTS)
  return()
endif()
set(packed batond batonctl baton_gpu_plugin cuda_kernels_device_test exec_gpu_device_test bench_gpu
  synthetic_model)
add_custom_target(gpu_pack DEPENDS ${packed})
foreach(target IN LISTS packed)
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
  target_link_options(${target} PRIVATE LINKER:--disable-new-dtags)
  install(TARGETS ${target}
    RUNTIME DESTINATION bin COMPONENT gpu_pack EXCLUDE_FROM_ALL
    LIBRARY DESTINATION bin COMPONENT gpu_pack EXCLUDE_FROM_ALL)
endforeach()
