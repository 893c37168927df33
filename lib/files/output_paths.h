#pragma once
// Results that would destroy what a command reads, or each other, before anything has run.

#include <string>
#include <vector>

namespace sinkscope {

/// A result as the command line names it: {"--csv", "run.csv"}; `-` is stdout.
struct OutputPath {
  std::string flag, path;
};

/// Whether both name one file, through links as well; absent files are compared by their names.
bool is_same_file(const std::string& a, const std::string& b);

/// Throws UsageError for two results on one file or on stdout, and for one that would replace a file that is read: one
/// of `inputs`, or, where an input is a folder, one of its .json, .safetensors and .pt files. `-` and what does not
/// exist are no inputs.
void check_output_paths(const std::vector<OutputPath>& outputs, const std::vector<std::string>& inputs);

}  // namespace sinkscope
