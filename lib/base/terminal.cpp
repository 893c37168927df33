#include "base/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace sinkscope {
namespace {

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

int descriptor(Output stream) { return stream == Output::out ? STDOUT_FILENO : STDERR_FILENO; }

}  // namespace

TerminalFacts terminal_facts(Output stream) {
  return {isatty(descriptor(stream)) == 1, variable("NO_COLOR"), variable("TERM"), variable("CLICOLOR_FORCE")};
}

bool color_wanted(const TerminalFacts& facts) {
  if (!facts.no_color.value_or("").empty()) return false;
  const std::string force = facts.clicolor_force.value_or("");
  if (!force.empty() && force != "0") return true;
  return progress_wanted(facts);
}

bool progress_wanted(const TerminalFacts& facts) { return facts.is_terminal && facts.term != "dumb"; }

bool use_color(Output stream, bool allowed) { return allowed && color_wanted(terminal_facts(stream)); }

bool use_progress(bool allowed) { return allowed && progress_wanted(terminal_facts(Output::err)); }

int terminal_width(Output stream) {
  if (const auto columns = variable("COLUMNS")) {
    const int width = std::atoi(columns->c_str());
    if (width > 0) return width;
  }
  winsize size{};
  if (ioctl(descriptor(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void keep_standard_streams() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor)
    if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF)
      static_cast<void>(open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY));  // takes the lowest free
}

void end_quietly_on_closed_pipe() { std::signal(SIGPIPE, SIG_DFL); }

void survive_closed_pipe() { std::signal(SIGPIPE, SIG_IGN); }

}  // namespace sinkscope
