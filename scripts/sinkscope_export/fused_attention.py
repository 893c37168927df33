"""Hugging Face attention as one fused node per call, with K and V ungrouped and the mask as numbers instead of a tensor.

What transformers itself traces for `sdpa` has a materialised [B, 1, T, T] mask and repeated K and V heads, which hides
causality and grouping and costs O(T^2) memory. Here plain causal and full attention become `scaled_dot_product_attention`
without a mask; windows, chunks, soft caps and learned sinks become `sinkscope::fused_attention`. Anything else raises
Inexpressible, because a feature that is dropped in silence gives wrong numbers that look right.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel

from . import operators

NAME = "sinkscope"
# Arguments that say nothing about who attends to whom: positions are already in q and k when they arrive here.
HARMLESS_TENSORS = frozenset({"position_ids", "cache_position", "position_embeddings"})


class Inexpressible(Exception):
    """The model's attention does something that neither of the two fused operators can say."""


def positions_of(model: PreTrainedModel) -> int | None:
    """The longest sequence the model is made for; None where it has no such limit."""
    text = model.config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None) or getattr(text, "max_seq_len", None)
    for name, module in model.named_modules():
        # RoBERTa and its kin number positions from behind the padding's row of the table.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            positions = min(positions or module.num_embeddings, module.num_embeddings - module.padding_idx - 1)
    return positions


@dataclass(frozen=True)
class MaskRule:
    """Which keys a query sees; window (i - j < window) and chunk (i // chunk == j // chunk) 0 are none."""

    causal: bool = True
    window: int = 0
    chunk: int = 0

    def visible(self, rows: Tensor, keys: Tensor) -> Tensor:
        seen = keys <= rows if self.causal else torch.ones_like(keys <= rows)
        if self.window:
            seen = seen & (rows - keys < self.window)
        return seen & (rows // self.chunk == keys // self.chunk) if self.chunk else seen


@dataclass(frozen=True)
class Call:
    """What one attention call of the model does."""

    rule: MaskRule
    grouped: bool
    softcap: float
    sinks: bool

    @property
    def plain(self) -> bool:
        """Whether `scaled_dot_product_attention` without a mask says it."""
        return not (self.rule.window or self.rule.chunk or self.softcap or self.sinks)


def rule_of(mask_function, local_size: int | None, length: int) -> MaskRule:
    """The rule that equals transformers' mask function at the first `length` positions and around every local size.

    Mask functions are functions of indices, so they can be asked about positions far beyond the sequence at hand; those
    that look into a padding mask or into packed sequences cannot, and are Inexpressible.
    """
    size = local_size or length
    near = {edge * size + offset for edge in (1, 2, 3) for offset in (-2, -1, 0, 1)} if local_size else set()
    places = torch.tensor(sorted({*range(length), *(place for place in near if place >= 0)}))
    rows, keys = places[:, None], places[None, :]
    rules = [MaskRule(), MaskRule(causal=False)]
    if local_size:
        rules += [MaskRule(window=size), MaskRule(chunk=size)]
    try:
        seen = torch.as_tensor(mask_function(0, 0, rows, keys)).expand(len(places), len(places))
    except Exception:
        raise Inexpressible("a mask that depends on more than positions") from None
    for rule in rules:
        if torch.equal(seen, rule.visible(rows, keys)):
            return rule
    raise Inexpressible("a mask that is neither causal nor full nor a causal window or chunk")


class FusedAttention:
    """Switches a model to fused attention; `calls` says what each attention call of one forward does.

    The first forward must be an untraced one: it fills `calls` or raises Inexpressible. Later forwards, traced or not,
    repeat it call by call. While tracing nothing can be asked: shapes are tensors, and transformers cannot look at values
    and builds masks for packed batches that do not occur here.
    """

    def __init__(self, model: PreTrainedModel):
        self.calls: list[Call] = []
        self._model, self._positions = model, positions_of(model)
        self._learning, self._next = True, 0
        ALL_ATTENTION_FUNCTIONS.register(NAME, self._attend)
        ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, self._mask)
        model.set_attn_implementation(NAME)

    def learned(self) -> None:
        """Ends the first forward."""
        self._learning, self._next = False, 0

    def _binding(self, rule: MaskRule) -> MaskRule:
        """The rule without a window or chunk that hides nothing within the model's positions."""
        if self._positions is None or max(rule.window, rule.chunk) < self._positions:
            return rule
        return MaskRule(rule.causal)

    def _mask(self, *, q_length: int, mask_function, local_size: int | None = None, **keywords) -> MaskRule | None:
        """Stands where transformers expects a mask tensor; the layers only hand it on."""
        return self._binding(rule_of(mask_function, local_size, q_length)) if self._learning else None

    def _call(self, query: Tensor, key: Tensor, rule: MaskRule | Tensor | None, keywords: dict) -> Call:
        if isinstance(rule, Tensor):
            raise Inexpressible("an additive mask or bias")
        for name, argument in keywords.items():
            if isinstance(argument, Tensor) and name not in HARMLESS_TENSORS | {"s_aux"}:
                raise Inexpressible(f"the attention argument {name}")
        call = Call(
            rule=rule or MaskRule(causal=False),  # no mask is what the eager function makes of None: all keys
            grouped=query.shape[1] != key.shape[1],
            softcap=keywords.get("softcap") or 0.0,
            sinks=keywords.get("s_aux") is not None,
        )
        if not call.rule.causal and not call.plain:
            raise Inexpressible("a soft cap or learned sinks without a causal mask")
        return call

    def _attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: MaskRule | Tensor | None,
        scaling: float | None = None, dropout: float = 0.0, **keywords,
    ) -> tuple[Tensor, None]:
        """query [B, H, T, D], key and value [B, G, S, D] -> [B, T, H, D]; queries share K and V in groups of H / G."""
        if self._learning:
            self.calls.append(self._call(query, key, attention_mask, keywords))
        call = self.calls[-1 if self._learning else self._next % len(self.calls)]
        self._next += 1
        if call.plain:
            mixed = F.scaled_dot_product_attention(
                query, key, value, is_causal=call.rule.causal, scale=scaling, enable_gqa=call.grouped
            )
        else:
            mixed = operators.fused_attention(
                query, key, value, scaling, call.rule.window, call.rule.chunk, call.softcap, keywords.get("s_aux")
            )
        return mixed.transpose(1, 2).contiguous(), None
