#pragma once
// The token sequences of a run (docs/cli.md), and what the report says about them.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/measure_config.h"
#include "files/tensor_rows.h"
#include "metric/observation.h"
#include "report/report.h"

namespace sinkscope {

/// What the model file says, as far as the input depends on it. Empty: the file does not say.
struct ModelFacts {
  std::string path;                        ///< for messages
  std::optional<std::int64_t> vocabulary;  ///< ids must be below it
  std::optional<std::int64_t> positions;   ///< longest sequence that the model can take
  std::optional<std::int64_t> bos_id;
  std::optional<bool> bos_added_by_tokenizer;
  std::optional<std::string> tokenizer_name, tokenizer_sha256;
  std::optional<std::int64_t> tokenizer_size;
  std::vector<std::vector<std::int64_t>> samples;  ///< sequences stored in the file
  std::optional<std::string> input;                ///< tokens | tensor: what forward takes
};

/// The parts of sinkscope.json that ModelFacts takes from there (bos, tokenizer, samples, vocabulary); `metadata` may
/// be null. Entries of another type than documented are taken as absent.
ModelFacts facts_from_metadata(const nlohmann::ordered_json& metadata, const std::string& path);

struct Input {
  std::vector<Sequence> sequences;   ///< in input order; ids 0, 1, ...
  std::optional<TensorRows> tensor;  ///< row n is the input of sequence n; the sequences then have no ids
  InputInfo info;
  std::int64_t without_bos = 0;  ///< sequences of text that lack the BOS which the model's tokenizer puts first
  std::vector<Warning> warnings;
};

/// Builds the sequences: source, --limit, --bos, --length, in this order, with every check of the contract.
/// A model that takes tensors gets the rows of --tensor; their length is the first dimension of a row of rank 2
/// (tokens, width) and otherwise 0, unknown until the model has run. Throws UsageError when there is no source or a
/// flag does not fit the model; InputError that names line and id.
Input build_input(const InputConfig& config, const ModelFacts& facts);

/// Sets what `info` says of the sequences themselves: hash, counts, lengths, first ids. For interrupted runs: those
/// that ran. `tensor`: what they are rows of, if no ids.
void count_sequences(InputInfo& info, const std::vector<Sequence>& sequences, const TensorRows* tensor = nullptr);

/// Sequences that run together: equal lengths, no padding.
struct Batch {
  std::vector<std::size_t> sequences;  ///< indices, ascending
  std::int64_t length = 0;
};

/// Ids in a batch by default.
inline constexpr std::int64_t kBatchTokens = 8192;
/// Rows in a batch by default where their length is unknown.
inline constexpr std::int64_t kBatchRows = 16;

/// Groups sequences of equal length, in input order; a batch takes `batch` sequences, or as many as fit in kBatchTokens
/// ids (at least one). Batches are in the order of their first sequence.
std::vector<Batch> batches(const std::vector<Sequence>& sequences, std::optional<std::int64_t> batch = {});

/// The most frequent length (ties: the longest); 0 without sequences.
std::int64_t common_length(const std::vector<Sequence>& sequences);

/// SHA-256 over the ids: for each sequence its length, then its ids, int64 little endian.
std::string sha256_of_ids(const std::vector<Sequence>& sequences);

/// SHA-256 over the rows of the sequences: the length of the dtype's name and the name, the rank of a row and its
/// dimensions, int64 little endian, then the bytes of each row.
std::string sha256_of_rows(const std::vector<Sequence>& sequences, const TensorRows& tensor);

}  // namespace sinkscope
