# What `./dev package` makes by CPack: a .deb for Debian 12 (component deb, installed from /) and a
# tarball that runs from any folder (component tarball, with the libraries that the programs load).

if(NOT TARGET batond)
  return()
endif()
set(packaged batond batonctl baton-load)
add_custom_target(package_programs DEPENDS ${packaged})
set(plugins)
foreach(platform gpu fpga)
  if(TARGET baton_${platform}_plugin)
    set_target_properties(baton_${platform}_plugin PROPERTIES
      INSTALL_RPATH "$ORIGIN/../lib:$ORIGIN/..")
    list(APPEND plugins $<TARGET_FILE:baton_${platform}_plugin>)
  endif()
endforeach()
foreach(target IN LISTS packaged)
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
  # DT_RPATH, not DT_RUNPATH: it also finds what the libraries themselves need.
  target_link_options(${target} PRIVATE LINKER:--disable-new-dtags)
endforeach()

# ---- .deb

install(TARGETS ${packaged} RUNTIME DESTINATION usr/bin COMPONENT deb EXCLUDE_FROM_ALL)
# Those that were built: the GPU's takes minutes.
install(FILES ${plugins} DESTINATION usr/lib/baton COMPONENT deb EXCLUDE_FROM_ALL OPTIONAL)
install(FILES deploy/systemd/batond.service DESTINATION lib/systemd/system
  COMPONENT deb EXCLUDE_FROM_ALL)
install(FILES deploy/debian/batond.yaml DESTINATION etc/baton COMPONENT deb EXCLUDE_FROM_ALL)
install(FILES README.md LICENSE NOTICE config/batond.yaml DESTINATION usr/share/doc/baton
  COMPONENT deb EXCLUDE_FROM_ALL)
install(FILES deploy/debian/copyright DESTINATION usr/share/doc/baton
  COMPONENT deb EXCLUDE_FROM_ALL)
install(DIRECTORY deploy/examples deploy/haproxy deploy/envoy DESTINATION usr/share/doc/baton
  COMPONENT deb EXCLUDE_FROM_ALL)

# ---- tarball

install(TARGETS ${packaged} RUNTIME DESTINATION bin COMPONENT tarball EXCLUDE_FROM_ALL)
install(FILES ${plugins} DESTINATION lib/baton COMPONENT tarball EXCLUDE_FROM_ALL OPTIONAL)
install(FILES README.md LICENSE NOTICE DESTINATION . COMPONENT tarball EXCLUDE_FROM_ALL)
install(FILES config/batond.yaml DESTINATION etc COMPONENT tarball EXCLUDE_FROM_ALL)
install(DIRECTORY deploy/examples deploy/systemd DESTINATION share/baton
  COMPONENT tarball EXCLUDE_FROM_ALL)
# All that the programs load but the C and C++ run times, which are the machine's.
list(TRANSFORM packaged REPLACE "(.+)" "\"$<TARGET_FILE:\\1>\"" OUTPUT_VARIABLE programs)
list(JOIN programs " " programs)
install(CODE "
  file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${programs}
    RESOLVED_DEPENDENCIES_VAR found
    PRE_EXCLUDE_REGEXES
      \"^(ld-linux-x86-64|lib(c|m|dl|rt|pthread|resolv|util|anl|stdc\\\\+\\\\+|gcc_s))\\\\.so\")
  foreach(library IN LISTS found)
    file(INSTALL \"\${library}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib\"
      TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN)
  endforeach()"
  COMPONENT tarball EXCLUDE_FROM_ALL)

# ---- CPack; deploy/package says which of the two

set(CPACK_PACKAGE_NAME baton)
set(CPACK_PACKAGE_VENDOR "the Baton project")
set(CPACK_PACKAGE_CONTACT "the Baton project <root@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "server for retrieval-augmented generation")
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/package)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS libhwloc-plugins)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
  "One daemon, batond, with the vector index and the language model in one process,
behind gRPC and OpenAI-compatible HTTP; batonctl to talk to it, baton-load to load it.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_SOURCE_DIR}/deploy/debian/conffiles ${CMAKE_SOURCE_DIR}/deploy/debian/postinst
  ${CMAKE_SOURCE_DIR}/deploy/debian/prerm ${CMAKE_SOURCE_DIR}/deploy/debian/postrm)
include(CPack)
