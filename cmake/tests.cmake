# The tests. tests/ mirrors the tree; ctest runs one entry per test file, so that a failure names its file and two cores are used.
# Labels: torch (needs libtorch), gpu (needs a device, else skipped), python.

find_package(Python3 QUIET COMPONENTS Interpreter)
set(SINKSCOPE_VENV_PYTHON ${PROJECT_SOURCE_DIR}/.venv/bin/python)
if(Python)
  set(SINKSCOPE_VENV_PYTHON ${Python})
endif()

# Tests are compiled more often than they run: where the type of the build does not matter, without optimisation.
set(quickly_compiled $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-O0>)

add_library(sinkscope_test_main OBJECT ${PROJECT_SOURCE_DIR}/tests/main.cpp)
target_compile_options(sinkscope_test_main PRIVATE ${quickly_compiled})
target_link_libraries(sinkscope_test_main PRIVATE sinkscope_options Catch2::Catch2)

# sinkscope_test_program(<name> LABELS <labels> SOURCES <files> LIBRARIES <targets> MAIN <target with main()>)
# The files are compiled as an OBJECT library: only that has the position-independent code the precompiled torch header needs.
function(sinkscope_test_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "MAIN" "LABELS;SOURCES;LIBRARIES")
  if(NOT arg_SOURCES)
    return()
  endif()
  add_library(${name}_objects OBJECT ${arg_SOURCES})
  target_include_directories(${name}_objects PUBLIC ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name}_objects PRIVATE SINKSCOPE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  foreach(library IN LISTS arg_LIBRARIES)
    # For an OBJECT library this passes on include folders and flags, for the program below the objects too.
    target_link_libraries(${name}_objects PRIVATE ${library})
  endforeach()
  target_link_libraries(${name}_objects PRIVATE Catch2::Catch2)

  add_executable(${name})
  target_link_libraries(${name} PRIVATE ${name}_objects ${arg_MAIN} ${arg_LIBRARIES} Catch2::Catch2)
  if(SINKSCOPE_TORCH)
    set_target_properties(${name} PROPERTIES BUILD_RPATH "$ORIGIN;${SINKSCOPE_TORCH_DIR}/lib")
  endif()

  foreach(source IN LISTS arg_SOURCES)
    get_filename_component(file ${source} NAME_WE)
    file(RELATIVE_PATH test ${PROJECT_SOURCE_DIR}/tests ${source})
    string(REGEX REPLACE "(_test)?\\.cpp$" "" test ${test})
    add_test(NAME ${test} COMMAND ${name} -\# [\#${file}] --warn NoTests WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${test} PROPERTIES LABELS "${arg_LABELS}" SKIP_RETURN_CODE 77 TIMEOUT 600)
  endforeach()
endfunction()

list(TRANSFORM torch_free_layers REPLACE "(.+)" "tests/\\1/*_test.cpp" OUTPUT_VARIABLE patterns)
sinkscope_glob(tests GLOB_RECURSE ${patterns} tests/metrics/*_test.cpp)
sinkscope_glob(top_tests GLOB tests/*_test.cpp)
sinkscope_test_program(sinkscope_tests MAIN sinkscope_test_main LABELS core SOURCES ${tests} ${top_tests} LIBRARIES sinkscope_core)
if(TARGET sinkscope_tests_objects)
  target_compile_options(sinkscope_tests_objects PRIVATE ${quickly_compiled})
  target_precompile_headers(sinkscope_tests_objects PRIVATE ${PROJECT_SOURCE_DIR}/tests/catch.h)
endif()

if(SINKSCOPE_TORCH)
  list(TRANSFORM torch_layers REPLACE "(.+)" "tests/\\1/*_test.cpp" OUTPUT_VARIABLE patterns)
  sinkscope_glob(tests GLOB_RECURSE ${patterns})
  list(FILTER tests EXCLUDE REGEX "/tests/kernels/cuda/")
  sinkscope_test_program(sinkscope_torch_tests MAIN sinkscope_test_main LABELS torch SOURCES ${tests}
                         LIBRARIES sinkscope_torch_objects)
  if(TARGET sinkscope_torch_tests_objects)
    sinkscope_reuse_torch_pch(sinkscope_torch_tests_objects)
  endif()

  sinkscope_glob(tests GLOB_RECURSE tests/gpu/*_test.cpp tests/kernels/cuda/*_test.cpp)
  if(SINKSCOPE_HAS_CUDA AND tests)
    sinkscope_test_program(sinkscope_gpu_tests MAIN sinkscope_test_main LABELS torch gpu SOURCES ${tests}
                           LIBRARIES sinkscope_torch_objects)
    target_sources(sinkscope_gpu_tests PRIVATE ${PROJECT_SOURCE_DIR}/tests/gpu_skip.cpp)
    sinkscope_reuse_torch_pch(sinkscope_gpu_tests_objects)
    add_dependencies(sinkscope_gpu_tests sinkscope_cuda)
  endif()
endif()

if(Python3_Interpreter_FOUND AND EXISTS ${PROJECT_SOURCE_DIR}/scripts/check_layers.py)
  add_test(NAME check_layers COMMAND ${Python3_EXECUTABLE} scripts/check_layers.py WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endif()

# The tests in Python run the real program; most of them need a model, so they belong to the build with torch.
if(SINKSCOPE_TORCH AND TARGET sinkscope)
  sinkscope_glob(tests GLOB tests/python/test_*.py tests/python/*_test.py)
  foreach(source IN LISTS tests)
    get_filename_component(file ${source} NAME_WE)
    add_test(NAME python/${file} COMMAND ${SINKSCOPE_VENV_PYTHON} -m pytest -q -rs tests/python/${file}.py
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(python/${file} PROPERTIES
      LABELS python TIMEOUT 1200
      ENVIRONMENT "SINKSCOPE_BINARY=$<TARGET_FILE:sinkscope>;PYTHONDONTWRITEBYTECODE=1"
      SKIP_REGULAR_EXPRESSION "(^|\n)[0-9]+ skipped in ") # every test of the file was
  endforeach()
endif()
