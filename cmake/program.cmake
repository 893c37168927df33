# sinkscope: the program. It links no libtorch; the commands of apps/torch are in sinkscope_torch.so, found through the run path
# (dlopen with a plain file name): beside the program in the build folder, in ../lib/sinkscope when installed.

sinkscope_glob(app_sources GLOB apps/*.cpp)
add_custom_target(program) # what a user runs: the program and its modules, without the tests

if(app_sources)
  add_executable(sinkscope ${app_sources})
  target_link_libraries(sinkscope PRIVATE sinkscope_core CLI11::CLI11 ${CMAKE_DL_LIBS})
  set_target_properties(sinkscope PROPERTIES BUILD_RPATH "$ORIGIN" INSTALL_RPATH "$ORIGIN;$ORIGIN/../lib/sinkscope")
  target_include_directories(sinkscope PRIVATE ${PROJECT_SOURCE_DIR}/apps)
else()
  message(STATUS "apps/ has no sources: the program is not built")
endif()

foreach(target sinkscope sinkscope_torch sinkscope_cuda)
  if(TARGET ${target})
    add_dependencies(program ${target})
  endif()
endforeach()
