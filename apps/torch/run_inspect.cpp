// sinkscope inspect, the part that opens the model.
#include "run_inspect.h"

#include <fmt/format.h>

#include "base/print.h"
#include "base/terminal.h"
#include "measure/instrument.h"
#include "measure/measure.h"
#include "measure/provenance.h"
#include "report/report.h"

namespace sinkscope {
namespace {

using nlohmann::ordered_json;

std::string or_dash(const std::optional<std::int64_t>& n) { return n ? std::to_string(*n) : "-"; }

/// One real call, so that shapes and masks are known: the first batch alone, first keys only.
void run_once(InstrumentedModel& model, const MeasureConfig& settings) {
  MeasureConfig config = settings;
  config.logits = Logits::all;
  config.metrics = {{&find_metric("first_token_mass"), Parameters(find_metric("first_token_mass").parameters)}};
  Input input = build_input(config.input, facts_of(model));
  const Batch first = batches(input.sequences, config.input.batch).front();
  input.sequences = {input.sequences[first.sequences.front()]};
  input.sequences.front().id = SequenceId{0};
  model.layout = measure(model, config, input, {}).layout;
}

/// What the graph says of a site, and with `run` what a call showed.
std::string site_words(const SiteInfo& site, bool run) {
  std::string text = fmt::format("{}, {}", site.kind, site.pattern);
  if (run && site.query_heads) {
    text += fmt::format(", {} query heads", *site.query_heads);
    if (site.kv_heads) text += fmt::format(", {} KV heads, head dim {}", *site.kv_heads, or_dash(site.head_dim));
  }
  // Only the operator of this project says its mask in the graph.
  if (run || site.pattern == "fused_attention")
    text += fmt::format(", mask {}{}", site.mask, site.window ? fmt::format(" of {}", *site.window) : "");
  if (site.softcap) text += fmt::format(", soft cap {}", *site.softcap);
  if (site.learned_sink) text += ", learned sink";
  if (site.row_sum == "free") text += ", rows of any sum";
  return text;
}

std::string text_of(const InstrumentedModel& model, bool run) {
  const LoadedModel& loaded = model.loaded;
  std::string text =
      fmt::format("{}\n  {} parameters, {}{}\n", loaded.path, loaded.parameters, loaded.dtype,
                  loaded.metadata.is_object() ? fmt::format(", family {}", loaded.metadata.value("family", "unknown"))
                                              : ", no sinkscope.json inside");
  if (!model.operators.empty())
    text += fmt::format("  uses {}: other programs cannot load it without them\n", fmt::join(model.operators, ", "));
  text += fmt::format("\n{} attention sites\n", model.layout.sites.size());
  for (const SiteInfo& site : model.layout.sites) {
    text += fmt::format("  {:>3}  layer {:<3} {}{}\n       {}", index(site.id), or_dash(site.layer),
                        site.path.empty() ? "(root)" : site.path,
                        site.ordinal > 0 ? fmt::format(" (call {})", site.ordinal + 1) : "",
                        site_words(site, run && site.calls > 0));
    if (run && site.calls == 0) {
      text += ": in a branch that was not taken\n";
      continue;
    }
    const bool unknown = !run && site.pattern == "sdpa";
    text += fmt::format(", measured {}{}\n", unknown ? "fused unless its mask forbids it" : site.measured_by,
                        site.reason ? fmt::format(" ({})", *site.reason) : "");
  }
  text += fmt::format("\n{} residual streams\n", model.layout.streams.size());
  for (const StreamInfo& stream : model.layout.streams)
    text += fmt::format("  {:>3}  {} {}\n", index(stream.id), stream.point, stream.path);
  if (!model.unmatched.empty()) text += "\nsoftmaxes left alone\n";
  for (const Unmatched& u : model.unmatched)
    text += fmt::format("  {} in {}: {}\n", u.op, u.path.empty() ? "(root)" : u.path, u.reason);
  for (const Warning& w : model.warnings) text += fmt::format("\nwarning {}: {}\n", w.code, w.message);
  return text;
}

ordered_json to_json(const InstrumentedModel& model) {
  ordered_json json{{"schema_version", kSchemaVersion}, {"kind", "inspect"}};
  json["model"] = {{"path", model.loaded.path},
                   {"sha256", model.loaded.sha256},
                   {"parameters", model.loaded.parameters},
                   {"dtype", model.loaded.dtype},
                   {"operators", model.operators}};
  Report report;
  report.layout = model.layout;
  report.unmatched = model.unmatched;
  report.warnings = model.warnings;
  const ordered_json whole = sinkscope::to_json(report);
  for (const char* key : {"sites", "unmatched", "streams", "warnings"}) json[key] = whole.at(key);
  return json;
}

}  // namespace

Exit run_inspect(const InspectConfig& config) {
  set_threads(config.settings);
  InstrumentedModel model = instrument(config.settings);
  if (config.run) run_once(model, config.settings);
  const std::string text = config.settings.json ? dump(to_json(model)) : text_of(model, config.run);
  print(text);
  return Exit::ok;
}

}  // namespace sinkscope
