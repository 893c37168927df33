#include "base/terminal.h"

#include "catch.h"

using namespace sinkscope;

TEST_CASE("colour appears on a terminal only, and NO_COLOR, TERM and CLICOLOR_FORCE are honoured", "[base]") {
  CHECK(color_wanted({.is_terminal = true, .term = "xterm"}));
  CHECK_FALSE(color_wanted({.is_terminal = false, .term = "xterm"}));
  CHECK_FALSE(color_wanted({.is_terminal = true, .term = "dumb"}));
  CHECK_FALSE(color_wanted({.is_terminal = true, .no_color = "1"}));
  CHECK(color_wanted({.is_terminal = true, .no_color = ""}));  // no-color.org: only when not empty
  CHECK(color_wanted({.is_terminal = false, .clicolor_force = "1"}));
  CHECK(color_wanted({.is_terminal = true, .term = "dumb", .clicolor_force = "1"}));
  CHECK_FALSE(color_wanted({.is_terminal = false, .clicolor_force = "0"}));
  CHECK_FALSE(color_wanted({.is_terminal = true, .no_color = "1", .clicolor_force = "1"}));
}

TEST_CASE("progress needs a terminal that can rewrite a line, whatever its colours", "[base]") {
  CHECK(progress_wanted({.is_terminal = true, .no_color = "1", .term = "xterm"}));
  CHECK_FALSE(progress_wanted({.is_terminal = true, .term = "dumb"}));
  CHECK_FALSE(progress_wanted({.is_terminal = false, .clicolor_force = "1"}));
}
