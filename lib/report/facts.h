#pragma once
// What ran, in words: shared by the table, Markdown and the methods paragraph.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sinkscope {

/// "gu2024", "gu2024*" where the run departed from the paper's protocol, "quick (first keys only)"; empty without a
/// preset.
std::string preset_words(const nlohmann::ordered_json& report);

/// "T = 64, N = 100 sequences (6400 ids)"; "T = 7 to 64" for mixed lengths.
std::string size_words(const nlohmann::ordered_json& report);

/// "id 1 (BOS) at position 0 in all 100"; says whether the ids at position 0 are the BOS, and where nothing says which
/// id that is.
std::string position_0_words(const nlohmann::ordered_json& report);

/// "tokens from text.jsonl", "the model file's samples", "random ids (seed 0)", ...
std::string source_words(const nlohmann::ordered_json& report);

/// "epsilon = 0.3, comparator = >": every parameter of a metric.
std::string parameter_words(const nlohmann::ordered_json& metric);

}  // namespace sinkscope
