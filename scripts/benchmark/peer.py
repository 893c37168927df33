"""One peer in its own process, so that its peak memory is its own. Prints one JSON object a line: `ready`, then one for
every line read from stdin, until stdin ends.

    python -m benchmark.peer NAME CONFIG.json DTYPE LENGTH THREADS SEED
"""

import json
import sys
import time
from pathlib import Path

import torch
import transformers
from sinkscope_export.families import task_of
from sinkscope_export.huggingface import load_config, random_model
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

from .machine import peak_resident_bytes

CHUNK_ROWS = 256  # rows of scores that the two-pass baseline holds at once
WARM_UP_LENGTH = 2048  # at most; longer lengths need no warm-up of their own


class TwoPass:
    """sdpa, then the log-sum-exp of every row and the column sums, both by chunked matmul and without a T x T matrix."""

    def __init__(self) -> None:
        self.column_sums: list[torch.Tensor] = []
        AttentionInterface.register("two_pass", self.attend)
        ALL_MASK_ATTENTION_FUNCTIONS.register("two_pass", sdpa_mask)

    def attend(self, module, query, key, value, attention_mask, scaling=None, **_):
        if attention_mask is not None:
            raise RuntimeError("the two-pass baseline is causal and takes no mask")
        output = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
        groups = query.shape[1] // key.shape[1]
        keys = key.repeat_interleave(groups, dim=1).transpose(2, 3)
        length = query.shape[2]
        lse = torch.cat([torch.logsumexp(scores, -1) for _, scores in self.scores(query, keys, scaling, length)], -1)
        sums = torch.zeros(*query.shape[:2], length)
        for first, scores in self.scores(query, keys, scaling, length):
            rows, end = scores.shape[2], scores.shape[3]
            sums[:, :, :end] += torch.exp_(scores.sub_(lse[:, :, first:first + rows, None])).sum(2)
        self.column_sums.append(sums)
        return output.transpose(1, 2).contiguous(), None

    @staticmethod
    def scores(query, keys, scaling, length):
        """(first row, scores [B, H, rows, end]) of each chunk; keys after the chunk are never touched."""
        for first in range(0, length, CHUNK_ROWS):
            end = min(first + CHUNK_ROWS, length)
            scores = torch.matmul(query[:, :, first:end], keys[:, :, :, :end]).float().mul_(scaling)
            hidden = torch.ones(end - first, end - first, dtype=torch.bool).triu_(1)
            scores[:, :, :, first:].masked_fill_(hidden, float("-inf"))
            yield first, scores


def forward(name: str, model: transformers.PreTrainedModel, two_pass: TwoPass, ids: torch.Tensor) -> list[torch.Tensor]:
    if name == "eager":
        attentions = model(ids, use_cache=False, output_attentions=True).attentions
        return [weights.sum(2, dtype=torch.float32) for weights in attentions]
    two_pass.column_sums.clear()
    model(ids, use_cache=False)
    return two_pass.column_sums


@torch.no_grad()
def main() -> None:
    name, config, dtype, length, threads, seed = sys.argv[1:]
    torch.set_num_threads(int(threads))
    transformers.logging.set_verbosity_error()
    configuration = load_config(Path(config), trust_remote_code=False)
    model = random_model(configuration, task_of(configuration), getattr(torch, dtype), int(seed))
    two_pass = TwoPass()
    model.set_attn_implementation(name)
    generator = torch.Generator().manual_seed(int(seed))
    ids = torch.randint(model.config.vocab_size, (1, int(length)), generator=generator)
    forward(name, model, two_pass, ids[:, :WARM_UP_LENGTH])
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        sums = forward(name, model, two_pass, ids)
        seconds = time.perf_counter() - start
        # Every row sums to one, so a head's column sums add up to the length.
        error = max((abs(float(s.double().sum(-1).mean()) / ids.shape[1] - 1) for s in sums), default=0.0)
        print(json.dumps({"seconds": seconds, "peak_rss_bytes": peak_resident_bytes(), "row_sum_error": error}), flush=True)
        del sums


if __name__ == "__main__":
    main()
