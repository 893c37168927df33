#pragma once
// Token files: what `--tokens` reads (docs/cli.md).

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sinkscope {

struct TokenRow {
  std::vector<std::int64_t> ids;  ///< >= 0, at least one; padding that a mask marked is gone
  std::string where;              ///< for messages: "tokens.jsonl: line 3" (from 1) or "tokens.npy: row 2" (from 0)
};

struct TokenFile {
  std::string path;         ///< - for stdin
  std::string file_sha256;  ///< of the bytes that were read
  std::vector<TokenRow> rows;
  bool masked = false;  ///< some row came with an attention mask
  /// Content of FILE.meta.json as scripts/tokenize_hf.py writes it; null without one.
  nlohmann::ordered_json sidecar;
  bool sidecar_is_of_another_file = false;  ///< the sidecar's file_sha256 differs; it must not be trusted
};

/// Reads the first `limit` sequences (all without one; what follows them is not looked at). By the ending of the name,
/// in any case:
///   .jsonl        one sequence a line: [1,2,3], {"ids":[...]} or {"input_ids":[...],"attention_mask":[...]}; also `-`
///   and pipes .npy          int32 or int64 [N, T] .safetensors  input_ids int32 or int64 [N, T], optional
///   attention_mask [N, T]
/// Throws UsageError for another ending; InputError that names file, line or row and id for ids that are negative, no
/// integers or too large, empty sequences and lines, masks with holes, and every kind of damage.
TokenFile read_tokens(const std::string& path, std::optional<std::int64_t> limit = {});

/// The ids where `mask` is not 0. Throws InputError that begins with `where`: another size, holes, nothing left.
std::vector<std::int64_t> without_padding(const std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& mask,
                                          const std::string& where);

/// Reads jsonl text; `name` stands for the file in messages.
std::vector<TokenRow> parse_jsonl_tokens(std::string_view text, const std::string& name,
                                         std::optional<std::int64_t> limit, bool& masked);

}  // namespace sinkscope
