# cmake --install: <prefix>/bin/sinkscope, its modules in <prefix>/lib/sinkscope, and what goes with them in share/sinkscope. The
# modules keep the path of the libtorch they were built with.

include(GNUInstallDirs)
if(TARGET sinkscope)
  install(TARGETS sinkscope RUNTIME DESTINATION bin)
endif()
foreach(module sinkscope_torch sinkscope_cuda)
  if(TARGET ${module})
    install(TARGETS ${module} LIBRARY DESTINATION lib/sinkscope) # program.cmake has the run path that finds it
  endif()
endforeach()

set(data ${CMAKE_INSTALL_DATADIR}/sinkscope)
install(DIRECTORY scripts DESTINATION ${data} USE_SOURCE_PERMISSIONS PATTERN __pycache__ EXCLUDE
  REGEX "/(setup|demo|test|gpu_check)\\.sh$" EXCLUDE) # these work in a checkout
install(DIRECTORY docs DESTINATION ${data} OPTIONAL)
install(DIRECTORY configs DESTINATION ${data} OPTIONAL)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${data} OPTIONAL)
