#pragma once
// What may be printed where: colour and progress only on a terminal, stdout and stderr judged separately.

#include <optional>
#include <string>

namespace sinkscope {

enum class Output { out, err };

/// The facts that decide; read from the process by terminal_facts().
struct TerminalFacts {
  bool is_terminal = false;
  std::optional<std::string> no_color, term, clicolor_force;  ///< environment variables
};
TerminalFacts terminal_facts(Output stream);

/// NO_COLOR (non-empty) forbids, then CLICOLOR_FORCE (neither empty nor 0) demands, else a terminal whose TERM is not
/// dumb.
bool color_wanted(const TerminalFacts& facts);
/// A terminal that can rewrite a line. NO_COLOR does not matter here.
bool progress_wanted(const TerminalFacts& facts);

/// `allowed` is false with --no-color.
bool use_color(Output stream, bool allowed);
/// Progress goes to stderr. `allowed` is false with --no-progress and --quiet.
bool use_progress(bool allowed);

/// Columns of the terminal behind a stream (COLUMNS first); 80 where there is none.
int terminal_width(Output stream);

/// Where stdin, stdout or stderr is closed the next file that is opened would get its number, and what is printed. Puts
/// in its place a descriptor on which reading or writing fails, so that a result that is lost remains an error. Called
/// first in main().
void keep_standard_streams();

/// A closed pipe ends the process quietly by SIGPIPE, as it ends git: the shell sees 141 and nothing is printed. Called
/// in main(), because a parent such as Python may have left the signal ignored.
void end_quietly_on_closed_pipe();

/// During a long run a closed pipe must not cost the results: writing to one fails without a signal. Call
/// end_quietly_on_closed_pipe() again before the result is printed.
void survive_closed_pipe();

}  // namespace sinkscope
