#include "base/guard.h"

#include <csignal>
#include <new>
#include <stdexcept>

#include "base/interrupt.h"
#include "catch.h"

using namespace sinkscope;

namespace {

template <class Command>
int exit_code(Command command) {
  char name[] = "sinkscope";
  char* argv[] = {name, nullptr};
  return guarded(1, argv, command);
}

}  // namespace

TEST_CASE("every exception becomes the exit code of its class", "[base]") {
  CHECK(exit_code([] { return Exit::numerical; }) == 5);
  CHECK(exit_code([]() -> Exit { throw UsageError("test"); }) == 2);
  CHECK(exit_code([]() -> Exit { throw InputError("test"); }) == 3);
  CHECK(exit_code([]() -> Exit { throw DeviceError("test"); }) == 4);
  CHECK(exit_code([]() -> Exit { throw std::bad_alloc(); }) == 4);
  CHECK(exit_code([]() -> Exit { throw std::logic_error("test"); }) == 70);
  CHECK(exit_code([]() -> Exit { throw 1; }) == 70);
  CHECK(exit_code([]() -> Exit { throw TextRequested{""}; }) == 0);
}

TEST_CASE("a signal asks to stop and tells the exit code", "[base]") {
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}, std::pair{SIGUSR1, 143}}) {
    CAPTURE(signal);
    install_interrupt_handlers();
    CHECK_FALSE(interrupted());
    CHECK(interrupt_exit() == Exit::ok);
    std::raise(signal);
    CHECK(interrupted());
    CHECK(static_cast<int>(interrupt_exit()) == code);
  }
  install_interrupt_handlers();
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) std::signal(signal, SIG_DFL);
}
