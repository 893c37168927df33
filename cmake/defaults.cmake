# What every target of this project shares and CMake can only say through variables.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON) # the core is linked into the program and into the modules
set(CMAKE_CXX_VISIBILITY_PRESET hidden) # ... and neither may see the copy of the other
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# The program, its modules and the test programs lie side by side in the build folder.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

set(SINKSCOPE_GENERATED_DIR ${CMAKE_BINARY_DIR}/generated)

# Compiler cache where there is one. The sloppiness settings are what ccache asks for with precompiled headers; the base
# folder lets a second checkout reuse the results of the first.
find_program(SINKSCOPE_CCACHE ccache)
if(SINKSCOPE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${SINKSCOPE_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

# Sources of the given folders (relative to the root), without a list to keep. A folder that does not exist adds nothing.
function(sinkscope_glob result mode)
  set(found)
  foreach(pattern IN LISTS ARGN)
    file(${mode} files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${pattern})
    list(APPEND found ${files})
  endforeach()
  list(SORT found)
  set(${result} ${found} PARENT_SCOPE)
endfunction()
