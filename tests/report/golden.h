#pragma once
// Golden files, one a format, in tests/report/golden/. SINKSCOPE_UPDATE_GOLDEN=1 rewrites them: look at the difference
// before keeping it.

#include <cstdlib>
#include <string>

#include "catch.h"
#include "files/temporary.h"

inline void check_golden(const std::string& name, const std::string& text) {
  const std::string path = std::string(SINKSCOPE_SOURCE_DIR) + "/tests/report/golden/" + name;
  if (std::getenv("SINKSCOPE_UPDATE_GOLDEN")) std::ofstream(path, std::ios::binary) << text;
  CHECK(text == content_of(path));
}
