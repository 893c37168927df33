#pragma once
// What differs between two reports, whether or not they may be compared.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "check/comparison.h"

namespace sinkscope {

/// A fact about how, where or on what the numbers were made.
struct FactDifference {
  std::string checkpoint, name;  ///< name as a path in the report: "settings.dtype"
  nlohmann::ordered_json a, b;
  bool counts = true;  ///< for --exit-code; not for the machine: tool, device, threads, libtorch, paths, labels
};

/// A number that differs, or that only one of both has.
struct Change {
  Comparison numbers;  ///< place, old value of A, new value of B, change, default tolerance; status of no meaning
  double units = 0;    ///< |change| in units of tolerance; infinite where one has no value
};

struct Diff {
  std::string a, b;
  std::vector<FactDifference> facts;
  std::vector<Change> changes;  ///< headlines, sites, heads and series, by units, largest first
  std::size_t compared = 0;     ///< numbers looked at

  bool differs() const;
};

/// The operands are reports, - for stdin, or folders of sweeps, whose checkpoints are compared by name. Throws
/// InputError for what cannot be read, UsageError for a report beside a folder.
Diff diff(const std::string& a, const std::string& b);

/// For people: the facts, then at most `rows` changes each of headlines, sites, heads and series.
std::string diff_as_text(const Diff& diff, std::size_t rows, bool color);

/// {"schema_version", "kind": "diff", "different", "a", "b", "facts": [...], "changes": [...]}: all of them.
nlohmann::ordered_json diff_as_json(const Diff& diff);

}  // namespace sinkscope
