#pragma once
// Ctrl-C, SIGTERM and SIGUSR1 (the warning of batch systems) ask a run to finish the write in progress and stop. The
// program and the torch module each have their own flag: install the handlers in the half that runs the loop.

#include "base/error.h"

namespace sinkscope {

/// From here on the first SIGINT, SIGTERM or SIGUSR1 sets the flag; the second ends the process at once.
/// A signal that the parent left ignored (nohup) stays ignored.
void install_interrupt_handlers();

/// Whether a signal has asked to stop. Cheap: ask between batches.
bool interrupted();

/// 130 after SIGINT, 143 after SIGTERM or SIGUSR1; Exit::ok when nothing has arrived.
Exit interrupt_exit();

}  // namespace sinkscope
