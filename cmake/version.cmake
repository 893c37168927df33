# sinkscope_version: the one file that knows the version and the commit. The commit is looked up at build time and only this
# file is compiled again when it changes.

set(commit_header ${SINKSCOPE_GENERATED_DIR}/version/commit.h)
add_custom_target(sinkscope_commit
  COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR} -DOUTPUT=${commit_header}
          -P ${PROJECT_SOURCE_DIR}/cmake/write_commit.cmake
  BYPRODUCTS ${commit_header}
  COMMENT "Looking up the commit" VERBATIM)

configure_file(${PROJECT_SOURCE_DIR}/cmake/version.cpp.in ${SINKSCOPE_GENERATED_DIR}/version/version.cpp @ONLY)
add_library(sinkscope_version OBJECT ${SINKSCOPE_GENERATED_DIR}/version/version.cpp)
add_dependencies(sinkscope_version sinkscope_commit)
target_include_directories(sinkscope_version PRIVATE ${PROJECT_SOURCE_DIR}/lib ${SINKSCOPE_GENERATED_DIR}/version)
target_link_libraries(sinkscope_version PRIVATE sinkscope_options)
