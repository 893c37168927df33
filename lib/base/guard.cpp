#include "base/guard.h"

#include <cxxabi.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <string_view>
#include <typeinfo>

#include "base/print.h"

namespace sinkscope {
namespace {

std::string type_name(const std::exception& error) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(typeid(error).name(), nullptr, nullptr, &status), std::free);
  return name ? name.get() : typeid(error).name();
}

void print_error(const std::string& text) {
  std::fflush(stdout);  // the message comes last where both streams are one terminal
  std::fprintf(stderr, "sinkscope: error: %s\n", text.c_str());
}

void print_detail(const std::exception& error) {
  std::fprintf(stderr, "  (%s)\n", type_name(error).c_str());
  try {
    std::rethrow_if_nested(error);
  } catch (const std::exception& cause) {
    std::fprintf(stderr, "  caused by: %s\n", cause.what());
    print_detail(cause);
  } catch (...) {
    std::fprintf(stderr, "  caused by an exception of unknown type\n");
  }
}

}  // namespace

Exit report_current_exception(bool verbose) {
  try {
    throw;
  } catch (const TextRequested& request) {
    try {
      print(request.text);
    } catch (const Error& error) {
      print_error(error.what());
      return error.code;
    }
    return Exit::ok;
  } catch (const Error& error) {
    print_error(error.what());
    if (verbose) print_detail(error);
    return error.code;
  } catch (const std::bad_alloc& error) {
    print_error("out of memory. Give fewer or shorter sequences (--limit, --length) or a smaller --batch.");
    if (verbose) print_detail(error);
    return Exit::device;
  } catch (const std::exception& error) {
    print_error(
        std::string("internal error: ") + error.what() +
        "\nThis is a bug in sinkscope: please report it with the command line and the output of `sinkscope --version`" +
        (verbose ? "." : "; --verbose says more."));
    if (verbose) print_detail(error);
    return Exit::internal;
  } catch (...) {
    print_error("internal error: an exception of unknown type. Please report it with the command line.");
    return Exit::internal;
  }
}

bool wants_detail(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--") return false;
    if (argument == "-v" || argument == "--verbose") return true;
  }
  return false;
}

void flush_stdout() {
  errno = 0;
  const bool streamed = static_cast<bool>(std::cout.flush());
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && streamed) return;
  const int reason = errno;
  std::clearerr(stdout);  // said once: main() flushes again what the torch module has flushed
  std::cout.clear();
  if (reason == EPIPE) return;  // the reader has what it wanted
  throw UsageError(std::string("standard output cannot be written") + (reason != 0 ? ": " : "") +
                   (reason != 0 ? std::strerror(reason) : "") + ". Name another place.");
}

}  // namespace sinkscope
