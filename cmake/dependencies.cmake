# Libraries of the torch-free part and of the tests: an installed package first, otherwise a pinned download.

include(FetchContent)
set(FETCHCONTENT_QUIET OFF)

# sinkscope_dependency(<name> <oldest accepted version> <target> GIT <url> TAG <tag>): defines <target>.
function(sinkscope_dependency name version target)
  cmake_parse_arguments(PARSE_ARGV 3 arg "" "GIT;TAG" "")
  find_package(${name} ${version} QUIET GLOBAL)
  if(TARGET ${target})
    message(STATUS "${name} ${${name}_VERSION}: installed")
    return()
  endif()
  message(STATUS "${name}: not installed, fetching ${arg_TAG}")
  set(CMAKE_COMPILE_WARNING_AS_ERROR OFF) # our presets, not theirs
  set(CMAKE_CXX_CLANG_TIDY "")
  set(CMAKE_POLICY_DEFAULT_CMP0077 NEW) # their options take the values set here
  string(TOLOWER ${name} id)
  FetchContent_Declare(${id} GIT_REPOSITORY ${arg_GIT} GIT_TAG ${arg_TAG} GIT_SHALLOW ON SYSTEM)
  FetchContent_MakeAvailable(${id})
  if(NOT TARGET ${target})
    message(FATAL_ERROR "${name} ${arg_TAG} does not define the target ${target}.")
  endif()
endfunction()

find_package(Threads REQUIRED)
find_package(OpenSSL QUIET COMPONENTS Crypto) # too large to fetch, and every system has a package of it
if(NOT TARGET OpenSSL::Crypto)
  message(FATAL_ERROR "libcrypto (OpenSSL) is missing. Install libssl-dev (Debian), openssl-devel (Fedora) or openssl (Homebrew, "
                      "Arch), or pass -DOPENSSL_ROOT_DIR=<folder>.")
endif()

sinkscope_dependency(fmt 9 fmt::fmt GIT https://github.com/fmtlib/fmt.git TAG 9.1.0)
sinkscope_dependency(CLI11 2.1 CLI11::CLI11 GIT https://github.com/CLIUtils/CLI11.git TAG v2.3.2)
sinkscope_dependency(nlohmann_json 3.11 nlohmann_json::nlohmann_json GIT https://github.com/nlohmann/json.git TAG v3.11.2)
sinkscope_dependency(tomlplusplus 3 tomlplusplus::tomlplusplus GIT https://github.com/marzer/tomlplusplus.git TAG v3.3.0)

if(SINKSCOPE_TORCH)
  find_package(hwy 1.0 QUIET GLOBAL)
  if(NOT TARGET hwy::hwy) # as a package it is called hwy, and only there its target has a namespace for certain
    set(BUILD_TESTING OFF)
    set(HWY_ENABLE_CONTRIB OFF)
    set(HWY_ENABLE_EXAMPLES OFF)
    set(HWY_ENABLE_INSTALL OFF)
    set(HWY_ENABLE_TESTS OFF)
    sinkscope_dependency(highway 1.0 hwy GIT https://github.com/google/highway.git TAG 1.0.3)
    if(NOT TARGET hwy::hwy)
      add_library(hwy::hwy ALIAS hwy)
    endif()
  endif()
endif()

if(SINKSCOPE_TESTS)
  find_package(Catch2 3 QUIET GLOBAL)
  if(NOT TARGET Catch2::Catch2)
    sinkscope_dependency(Catch2 2.13 Catch2::Catch2 GIT https://github.com/catchorg/Catch2.git TAG v2.13.10)
  endif()
endif()
