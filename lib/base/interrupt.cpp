#include "base/interrupt.h"

#include <unistd.h>

#include <csignal>

namespace sinkscope {
namespace {

// A signal handler may touch only lock-free atomics and volatile sig_atomic_t: the one place where a global is
// unavoidable.
volatile std::sig_atomic_t received = 0;

Exit exit_of(int signal) { return signal == SIGINT ? Exit::interrupted : Exit::terminated; }

extern "C" void on_signal(int signal) {
  if (received != 0) _exit(static_cast<int>(exit_of(signal)));
  received = signal;
}

}  // namespace

void install_interrupt_handlers() {
  received = 0;
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
    struct sigaction before {};
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    struct sigaction action {};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;  // a read or write in progress is finished, not failed
    sigaction(signal, &action, nullptr);
  }
}

bool interrupted() { return received != 0; }

Exit interrupt_exit() { return received == 0 ? Exit::ok : exit_of(received); }

}  // namespace sinkscope
