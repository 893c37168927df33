# sinkscope_embedded: configs/report.schema.json and the presets as string literals (lib/base/embedded.h).

sinkscope_glob(embedded_files GLOB configs/*.json configs/presets/*.toml)
set(embedded_cpp ${SINKSCOPE_GENERATED_DIR}/embed/embedded.cpp)
set(embedded_list ${SINKSCOPE_GENERATED_DIR}/embed/files.txt)

# The list is a file of its own so that a removed file, too, writes the source again.
string(REPLACE ";" "\n" lines "${embedded_files}")
file(CONFIGURE OUTPUT ${embedded_list} CONTENT "${lines}" @ONLY)

add_custom_command(
  OUTPUT ${embedded_cpp}
  COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR}/configs -DLIST=${embedded_list} -DOUTPUT=${embedded_cpp}
          -P ${PROJECT_SOURCE_DIR}/cmake/write_embedded.cmake
  DEPENDS ${embedded_files} ${embedded_list} ${PROJECT_SOURCE_DIR}/cmake/write_embedded.cmake
  COMMENT "Embedding configs/" VERBATIM)

add_library(sinkscope_embedded OBJECT ${embedded_cpp})
target_include_directories(sinkscope_embedded PRIVATE ${PROJECT_SOURCE_DIR}/lib)
target_link_libraries(sinkscope_embedded PRIVATE sinkscope_options)
