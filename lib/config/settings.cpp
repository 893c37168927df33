#include "config/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "config/setting_values.h"

namespace sinkscope {
namespace {

// A column pair `set`, `get` for a field; `field` maps MeasureConfig& to a reference.
template <class Field>
Setting text_of(Setting row, Field field) {
  row.set = [field](MeasureConfig& c, const Given& given) { field(c) = values::only(given); };
  row.get = [field](const MeasureConfig& c) {
    const auto& value = field(const_cast<MeasureConfig&>(c));
    return value ? std::vector<std::string>{*value} : std::vector<std::string>{};
  };
  return row;
}

template <class Field>
Setting integer_of(Setting row, std::int64_t least, Field field, std::int64_t most = INT64_MAX) {
  row.kind = Kind::integer;
  row.set = [field, least, most](MeasureConfig& c, const Given& given) {
    field(c) = values::integer(given, least, most);
  };
  row.get = [field](const MeasureConfig& c) {
    const std::optional<std::int64_t> value = field(const_cast<MeasureConfig&>(c));
    return value ? std::vector<std::string>{fmt::to_string(*value)} : std::vector<std::string>{};
  };
  return row;
}

/// `on` is the value of the field when the flag is given: false for --no-color.
template <class Field>
Setting flag_of(Setting row, bool on, Field field) {
  row.kind = Kind::flag;
  row.set = [field, on](MeasureConfig& c, const Given& given) { field(c) = values::truth(given) == on; };
  row.get = [field, on](const MeasureConfig& c) {
    return field(const_cast<MeasureConfig&>(c)) == on ? std::vector<std::string>{"true"} : std::vector<std::string>{};
  };
  return row;
}

template <class Field>
Setting list_of(Setting row, Field field) {
  row.kind = Kind::list;
  row.set = [field](MeasureConfig& c, const Given& given) { field(c) = given.values; };
  row.get = [field](const MeasureConfig& c) { return field(const_cast<MeasureConfig&>(c)); };
  return row;
}

template <class Enum, class Field>
Setting choice_of(Setting row, const std::vector<std::string>& names, Field field) {
  row.set = [field, names](MeasureConfig& c, const Given& given) {
    field(c) = static_cast<Enum>(values::choice(given, names));
  };
  row.get = [field, names](const MeasureConfig& c) {
    return std::vector<std::string>{names.at(static_cast<std::size_t>(field(const_cast<MeasureConfig&>(c))))};
  };
  return row;
}

/// Only the text of a row; the functions above add kind and functions.
Setting row(std::string flag, std::string key, Group group, std::string value_name, std::string help) {
  Setting setting;
  setting.flag = std::move(flag);
  setting.key = std::move(key);
  setting.group = group;
  setting.kind = Kind::text;
  setting.value_name = std::move(value_name);
  setting.help = std::move(help);
  return setting;
}

Setting exclusive(std::string name, Setting setting) {
  setting.exclusive = std::move(name);
  return setting;
}

Setting number_deciding(Setting setting) {
  setting.decides_numbers = true;
  return setting;
}

#define FIELD(expression) ([](MeasureConfig & c) -> auto& { return c.expression; })

constexpr std::int64_t kMostThreads = 1024;  // more than any machine's cores; libtorch starts them all at once

std::vector<Setting> input_settings() {
  const auto input = [](std::string flag, std::string key, std::string value_name, std::string help) {
    return number_deciding(row(std::move(flag), std::move(key), Group::input, std::move(value_name), std::move(help)));
  };
  std::vector<Setting> rows = {
      exclusive("input", text_of(input("--tokens", "tokens", "FILE",
                                       "token ids: .jsonl, .npy, .safetensors, - (jsonl on stdin)"),
                                 FIELD(input.tokens))),
      exclusive("input",
                integer_of(input("--random-tokens", "random_tokens", "N", "N sequences of uniformly drawn ids"), 1,
                           FIELD(input.random_tokens))),
      exclusive("input",
                integer_of(input("--repeated-token", "repeated_token", "N", "N sequences, each one random id repeated"),
                           1, FIELD(input.repeated_token))),
      exclusive("input",
                text_of(input("--tensor", "tensor", "FILE",
                              "pixels or embeddings [N, ...] for a model that takes no ids: .npy, .safetensors"),
                        FIELD(input.tensor))),
      integer_of(input("--seed", "seed", "N", "of random and repeated tokens (0)"), 0, FIELD(input.seed)),
      integer_of(
          input("--length", "length", "T", "crop to T tokens, BOS counted; shorter sequences are dropped (random: 64)"),
          1, FIELD(input.length)),
      integer_of(input("--vocabulary", "vocabulary", "N", "ids are drawn below N (the tokenizer's size)"), 1,
                 FIELD(input.vocabulary)),
      integer_of(input("--limit", "limit", "N", "only the first N sequences"), 1, FIELD(input.limit)),
  };
  Setting bos =
      input("--bos", "bos", "auto|keep|none|ID", "first token: as the tokenizer does, as given (keep), none, or ID");
  bos.set = [](MeasureConfig& c, const Given& given) { c.input.bos = values::bos(given); };
  bos.get = [](const MeasureConfig& c) { return std::vector<std::string>{c.input.bos}; };
  rows.push_back(std::move(bos));
  rows.push_back(
      integer_of(row("--batch", "batch", Group::input, "B", "sequences a batch (as many as fit in 8192 tokens)"), 1,
                 FIELD(input.batch)));
  return rows;
}

std::vector<Setting> what_settings() {
  const auto what = [](std::string flag, std::string key, std::string value_name, std::string help) {
    return row(std::move(flag), std::move(key), Group::what, std::move(value_name), std::move(help));
  };
  // Preset and metrics are written to the configuration by resolve(); `config.effective` names them itself.
  Setting preset = exclusive(
      "metrics", text_of(what("--preset", "preset", "NAME", "quick, full (default) or gu2024"), FIELD(preset)));
  Setting metric = exclusive("metrics", what("--metric", "metrics", "NAME", "exactly these metrics; repeatable"));
  metric.kind = Kind::list;
  metric.set = [](MeasureConfig&, const Given&) {};
  metric.get = [](const MeasureConfig& c) {
    std::vector<std::string> names;
    if (!c.preset)
      for (const SelectedMetric& selected : c.metrics) names.push_back(selected.spec->name);
    return names;
  };
  Setting layers =
      number_deciding(text_of(what("--layers", "layers", "LIST", "only these layers, like 0-7,12"), FIELD(layers)));
  layers.set = [](MeasureConfig& c, const Given& given) { c.layers = values::layers(given); };
  Setting label = what("--label", "labels", "NAME=VALUE", "copied into the report; repeatable");
  label.kind = Kind::table;
  label.set = [](MeasureConfig& c, const Given& given) { c.labels = values::labels(given); };
  label.get = [](const MeasureConfig& c) {
    std::vector<std::string> texts;
    for (const auto& [name, value] : c.labels) texts.push_back(name + "=" + value);
    return texts;
  };
  return {
      std::move(preset),
      std::move(metric),
      std::move(layers),
      number_deciding(
          text_of(what("--sites", "sites", "GLOB", "only attention sites whose path matches"), FIELD(sites))),
      integer_of(what("--expect-sites", "expect_sites", "N", "another number of attention sites is an error"), 0,
                 FIELD(expect_sites)),
      std::move(label),
      flag_of(what("--verify", "verify", "", "prove on the first batch that measuring is exact and changes nothing"),
              true, FIELD(verify)),
  };
}

std::vector<Setting> where_settings() {
  const auto where = [](std::string flag, std::string key, std::string value_name, std::string help) {
    return row(std::move(flag), std::move(key), Group::where, std::move(value_name), std::move(help));
  };
  Setting device = where("--device", "device", "auto|cpu|cuda|cuda:N", "auto is cuda where it is usable");
  device.set = values::device;
  device.get = values::device_text;
  return {
      std::move(device),
      number_deciding(
          choice_of<DType>(where("--dtype", "dtype", "DTYPE", "keep (default), float32, bfloat16 or float16"),
                           {"keep", "float32", "bfloat16", "float16"}, FIELD(dtype))),
      integer_of(where("--threads", "threads", "N", "CPU threads"), 1, FIELD(threads), kMostThreads),
      number_deciding(choice_of<Logits>(
          where("--logits", "logits", "all|last|none", "the loss needs all; none drops the unembedding"),
          {"all", "last", "none"}, FIELD(logits))),
      text_of(
          where("--weights", "weights", "PATH", "replace the parameters: a .safetensors file, an index, a directory"),
          FIELD(weights)),
      number_deciding(
          list_of(where("--allow-missing", "allow_missing", "GLOB", "parameters that PATH may lack; repeatable"),
                  FIELD(allow_missing))),
      number_deciding(
          list_of(where("--allow-unexpected", "allow_unexpected", "GLOB", "tensors of PATH to ignore; repeatable"),
                  FIELD(allow_unexpected))),
      number_deciding(list_of(where("--allow-config", "allow_config", "KEY",
                                    "key of a config.json beside PATH that may differ; repeatable"),
                              FIELD(allow_config))),
      flag_of(where("--stream-weights", "stream_weights", "", "read parameters when they are used and drop them after"),
              true, FIELD(stream_weights)),
  };
}

std::vector<Setting> output_settings() {
  const auto output = [](std::string flag, std::string value_name, std::string help) {
    return row(std::move(flag), "", Group::output, std::move(value_name), std::move(help));
  };
  return {
      text_of(output("-o,--output", "REPORT.json", "write the report; - is stdout"), FIELD(output)),
      text_of(output("--csv", "FILE", "write the long-form table; - is stdout"), FIELD(csv)),
      text_of(output("--markdown", "FILE", "write the tables as markdown; - is stdout"), FIELD(markdown)),
      text_of(output("--benchmark-json", "FILE", "write headlines for github-action-benchmark; - is stdout"),
              FIELD(benchmark_json)),
      text_of(output("--arrays", "FILE.safetensors", "write the large arrays"), FIELD(arrays)),
      flag_of(output("--json", "", "print the report on stdout instead of the table"), true, FIELD(json)),
      flag_of(output("--dry-run", "", "list sites, metrics, passes and their cost; run nothing"), true, FIELD(dry_run)),
      flag_of(output("--dump-config", "", "print the effective configuration as TOML; run nothing"), true,
              FIELD(dump_config)),
  };
}

std::vector<Setting> common_settings() {
  const auto common = [](std::string flag, std::string help) {
    return row(std::move(flag), "", Group::common, "", std::move(help));
  };
  return {
      flag_of(common("-q,--quiet", "errors only on stderr"), true, FIELD(quiet)),
      flag_of(common("-v,--verbose", "more detail on stderr"), true, FIELD(verbose)),
      flag_of(common("--no-color", "no colour, as with NO_COLOR"), false, FIELD(color)),
      flag_of(common("--no-progress", "no progress line"), false, FIELD(progress)),
  };
}

#undef FIELD

}  // namespace

const std::vector<Setting>& settings() {
  static const std::vector<Setting> all = [] {
    std::vector<Setting> rows;
    for (auto part : {input_settings(), what_settings(), where_settings(), output_settings(), common_settings()})
      for (Setting& setting : part) rows.push_back(std::move(setting));
    return rows;
  }();
  return all;
}

std::string environment_name(const std::string& key) {
  std::string name = "SINKSCOPE_" + key;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

std::string long_flag(const Setting& setting) { return setting.flag.substr(setting.flag.find("--")); }

}  // namespace sinkscope
