# sinkscope_options: language standard, warnings and sanitizers of every C++ target of this project. Warnings become errors
# only in the presets (CMAKE_COMPILE_WARNING_AS_ERROR).

add_library(sinkscope_options INTERFACE)
target_compile_features(sinkscope_options INTERFACE cxx_std_20)
target_compile_options(sinkscope_options INTERFACE
  $<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang,AppleClang>:
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor
    -Wno-missing-field-initializers # designated initialisers name the fields that differ from the default
    -Wno-sign-conversion            # at::Tensor sizes are signed, the standard library's are not
  >
  # gcc 12 reports impossible sizes and bounds inside std::string where strings are joined.
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict -Wno-stringop-overflow -Wno-array-bounds>)
if(SINKSCOPE_CCACHE)
  target_compile_options(sinkscope_options INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()

if(SINKSCOPE_SANITIZE)
  set(flags -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(sinkscope_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${flags}>)
  target_link_options(sinkscope_options INTERFACE ${flags})
  # With its sanitizers gcc 12 takes members of std::regex for uninitialised.
  target_compile_options(sinkscope_options INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
endif()
