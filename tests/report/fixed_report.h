#pragma once
// The one small result that all golden files are made from: two sequences, two blocks of two heads; head 1 of block 1
// has a sink.

#include <fstream>
#include <limits>

#include "report/report.h"

namespace sinkscope {

inline const MetricSpec& fixed_mass() {
  static const MetricSpec spec = {.name = "first_token_mass",
                                  .unit = "probability",
                                  .definition = "mean over all queries, the first included, of the attention to key 0",
                                  .source = "arXiv 2410.10781 section 3.2",
                                  .parameters = {{"row_0", std::string("included"), "query 0 counts in the mean", {}}}};
  return spec;
}

inline const MetricSpec& fixed_rate() {
  static const MetricSpec spec = {
      .name = "sink_rate",
      .unit = "fraction",
      .definition = "share of (sequence, site, head) whose mean attention to key 0 exceeds epsilon",
      .source = "arXiv 2410.10781 section 3.2",
      .parameters = {
          {"epsilon", 0.3, "", {}}, {"keys", std::int64_t{10}, "", {}}, {"comparator", std::string(">"), "", {}}}};
  return spec;
}

inline const MetricSpec& fixed_massive() {
  static const MetricSpec spec = {.name = "massive_activation",
                                  .unit = "magnitude",
                                  .definition = "largest top1 over all streams",
                                  .definition_version = 2,
                                  .source = "arXiv 2402.17762",
                                  .parameters = {{"positions", std::vector<std::int64_t>{-1, 0}, "", {}}}};
  return spec;
}

inline Measurement fixed_mass_measurement() {
  Measurement m;
  m.value = 0.30000000000000004;  // must read back exactly
  m.ci95 = {{0.25, 0.35}};
  m.uniform = 0.07412329537172345;
  m.count = 7;
  m.count_of = "sequence x site x head";
  m.rejected = 1;
  m.per_sequence = {0.25, 0.35};
  m.per_site = {0.08, 0.52};
  m.per_head = {{0.07, std::nullopt}, {0.2, 0.84}};
  m.series = {{.name = "last_query",
               .dims = {"site", "head"},
               .shape = {2, 2},
               .data = {0.01, std::nullopt, 0.1, 0.9},
               .uniform = {0.015625, 0.015625, 0.015625, 0.015625},
               .unit = "probability"}};
  return m;
}

inline Measurement fixed_rate_measurement() {
  Measurement m;
  m.value = 0.25;
  m.uniform = 0;
  m.count = 8;
  m.count_of = "sequence x site x head";
  m.per_sequence = {0.25, 0.25};
  m.by_group = {{"self", "causal", 0.25, 0.0, 8}, {"self", "window", std::nullopt, std::nullopt, 0}};
  m.series = {{.name = "by_epsilon",
               .dims = {"epsilon"},
               .shape = {3},
               .data = {0.5, 0.25, 0.0},
               .uniform = {0, 0, 0},
               .unit = "fraction",
               .coords = {{"epsilon", {0.1, 0.2, 0.3}}}}};
  return m;
}

inline Measurement fixed_massive_measurement() {
  Measurement m;
  m.value = std::numeric_limits<double>::infinity();
  m.count = 3;
  m.count_of = "stream";
  m.series = {
      {.name = "top1", .dims = {"stream"}, .shape = {3}, .data = {1.5, 3111.7, std::nullopt}, .unit = "magnitude"},
      {.name = "position",
       .dims = {"stream"},
       .shape = {3},
       .data = {0, 63, std::nullopt},
       .unit = "position",
       .integer = true}};
  m.records = {{"locations",
                {{{"stream", std::int64_t{1}},
                  {"position", std::int64_t{0}},
                  {"token_id", std::monostate{}},
                  {"dimension", std::int64_t{447}},
                  {"sequences", std::int64_t{2}},
                  {"value", -3111.7}}}}};
  return m;
}

inline Report fixed_report() {
  Report r;
  r.labels = {{"checkpoint", "step1000"}, {"step", "1000"}, {"note", "comma, and \"quote\""}};
  r.created = "2026-01-31T12:00:00Z";
  r.argv = {"measure", "model.pt", "-o", "report.json"};
  r.preset = "full";
  r.effective_config = {{"preset", "full"}, {"metrics", {"first_token_mass", "sink_rate", "massive_activation"}}};
  r.model = {.path = "model.pt",
             .sha256 = std::string(64, 'a'),
             .parameters = 12345,
             .dtype = "float32",
             .vocabulary = 65,
             .metadata = {{"format", 1}, {"family", "llama"}},
             .weights = WeightsInfo{"step1000.safetensors", std::string(64, 'b'), "bfloat16", 3}};
  r.input = {.source = "tokens",
             .path = "text.jsonl",
             .file_sha256 = std::string(64, 'c'),
             .sha256 = std::string(64, 'd'),
             .sequences = 2,
             .tokens = 128,
             .min_length = 64,
             .max_length = 64,
             .vocabulary = 65,
             .bos_id = 1,
             .bos_policy = "keep",
             .bos_at_position_0 = 2,
             .bos_inside = 0,
             .position_0_ids = {{1, 2}},
             .tokenizer_name = "chars",
             .tokenizer_sha256 = std::string(64, 'e'),
             .corpus_name = "book.txt"};
  r.settings = {.device = "cpu", .dtype = "float32", .torch = "2.11.0", .cuda = {}, .threads = 2, .batch_tokens = 8192};
  r.run = {.seconds = 1.25, .tokens_per_second = 102.4, .peak_memory_bytes = 4096};
  r.verify = VerifyInfo{true, 1, true, {{"first_token_mass", 1e-7}}};
  for (std::int64_t i = 0; i < 2; ++i)
    r.layout.sites.push_back({.id = SiteId{i},
                              .path = "m.layers." + std::to_string(i) + ".attn",
                              .layer = i,
                              .pattern = "sdpa",
                              .measured_by = "fused",
                              .query_heads = 2,
                              .kv_heads = 1,
                              .head_dim = 16,
                              .mask = "causal",
                              .calls = 2});
  for (std::int64_t i = 0; i < 3; ++i)
    r.layout.streams.push_back({.id = StreamId{i},
                                .path = "m.layers." + std::to_string(i > 0 ? i - 1 : 0),
                                .point = i > 0 ? "leaving" : "entering",
                                .layer = i > 0 ? std::optional(i - 1) : std::nullopt});
  r.unmatched = {{"m.router", "aten::softmax", "output goes to topk"}};
  r.metrics = {{&fixed_mass(), Parameters(fixed_mass().parameters), fixed_mass_measurement()},
               {&fixed_rate(), Parameters(fixed_rate().parameters), fixed_rate_measurement()},
               {&fixed_massive(), Parameters(fixed_massive().parameters), fixed_massive_measurement()}};
  r.warnings = {{"unmatched_softmax", "1 softmax looks like attention and was not measured: m.router"}};
  return r;
}

/// As JSON, with a version of the tool that does not change from build to build.
inline nlohmann::ordered_json fixed_json() {
  nlohmann::ordered_json json = to_json(fixed_report());
  json["tool"] = {{"name", "sinkscope"}, {"version", "0.1.0"}, {"commit", "1a2b3c4"}};
  return json;
}

}  // namespace sinkscope
