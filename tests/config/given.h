#pragma once
// What a user gives: arguments, environment variables, files.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/command_line.h"

namespace sinkscope::given {

inline std::vector<std::string> words(const char* command, std::initializer_list<std::string> arguments) {
  std::vector<std::string> all = {"sinkscope", command};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

template <class Parse>
auto parsed(std::vector<std::string> all, Parse parse) {
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  return parse(static_cast<int>(all.size()), argv.data());
}

inline MeasureConfig measure(std::initializer_list<std::string> arguments, std::vector<std::string>* notes = nullptr) {
  return parsed(words("measure", arguments), [&](int argc, char** argv) { return parse_measure(argc, argv, notes); });
}

inline InspectConfig inspect(std::initializer_list<std::string> arguments) {
  return parsed(words("inspect", arguments), [](int argc, char** argv) { return parse_inspect(argc, argv); });
}

/// The message with which the arguments are refused as a usage error; "" if they are not.
inline std::string refusal(std::initializer_list<std::string> arguments) {
  try {
    measure(arguments);
    return "";
  } catch (const UsageError& error) {
    return error.what();
  }
}

/// A variable that is set for the life of the object.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) {
    setenv(name_.c_str(), value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { unsetenv(name_.c_str()); }

 private:
  std::string name_;
};

/// A folder of its own that goes away with the object.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sinkscope-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }

  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name) << content;
    return (path_ / name).string();
  }
  std::string path(const std::string& name = "") const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline const Parameters& parameters(const MeasureConfig& config, const std::string& metric) {
  for (const SelectedMetric& selected : config.metrics)
    if (selected.spec->name == metric) return selected.parameters;
  throw std::out_of_range(metric + " is not selected");
}

inline bool selects(const MeasureConfig& config, const std::string& metric) {
  for (const SelectedMetric& selected : config.metrics)
    if (selected.spec->name == metric) return true;
  return false;
}

}  // namespace sinkscope::given
