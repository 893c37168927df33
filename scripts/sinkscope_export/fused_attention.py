"""Hugging Face attention as one fused, causal `scaled_dot_product_attention` node that keeps K and V ungrouped.

What transformers itself traces for `sdpa` has a materialised [B, 1, T, T] mask and repeated K and V heads, which hides
causality and grouping and costs O(T^2) memory. The function here replaces it where a plain causal mask says the same;
anything else raises Inexpressible, because a feature that is dropped in silence gives wrong numbers that look right.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils.import_utils import is_tracing

NAME = "sinkscope"
# Arguments that say nothing about who attends to whom: positions are already in q and k when they arrive here.
HARMLESS_TENSORS = frozenset({"position_ids", "cache_position", "position_embeddings"})


class Inexpressible(Exception):
    """The model's attention does something that a causal `scaled_dot_product_attention` cannot say."""


def positions_of(model: PreTrainedModel) -> int | None:
    """The longest sequence the model is made for; None where it has no such limit."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


class FusedAttention:
    """Switches a model to fused attention; `calls` counts how often it ran.

    Raises Inexpressible from the model's forward. The mask is judged on the first, untraced run only: while tracing,
    transformers cannot look at values and builds masks for packed batches that do not occur here.
    """

    def __init__(self, model: PreTrainedModel):
        self.calls = 0
        self._positions = positions_of(model)
        ALL_ATTENTION_FUNCTIONS.register(NAME, self._attend)
        ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, self._mask)
        model.set_attn_implementation(NAME)

    def _binds(self, window: int | None) -> bool:
        """Whether a window or chunk of this many keys hides anything within the model's positions."""
        return window is not None and (self._positions is None or window < self._positions)

    def _mask(self, *, q_length: int, kv_length: int, mask_function, local_size: int | None = None, **keywords) -> None:
        if is_tracing():
            return
        if self._binds(local_size):
            raise Inexpressible(f"a window or chunk of {local_size} keys")
        rows, keys = torch.arange(q_length)[:, None], torch.arange(kv_length)[None, :]
        try:
            causal = bool((mask_function(0, 0, rows, keys) == (keys <= rows)).all())
        except Exception:  # a mask function that cannot be evaluated on index grids is not the causal one
            causal = False
        if not causal:
            raise Inexpressible("a mask that is not plain causal")

    def _attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
        scaling: float | None = None, dropout: float = 0.0, **keywords,
    ) -> tuple[Tensor, None]:
        """query [B, H, T, D], key and value [B, H_kv, T, D] -> [B, T, H, D]; queries share K and V in groups of H / H_kv."""
        if attention_mask is not None:
            raise Inexpressible("an additive mask or bias")
        if not keywords.get("is_causal", getattr(module, "is_causal", True)):
            raise Inexpressible("attention that is not causal")
        if keywords.get("softcap") is not None:
            raise Inexpressible(f"a soft cap of {keywords['softcap']} on the logits")
        if keywords.get("s_aux") is not None:
            raise Inexpressible("learned sinks")
        if self._binds(keywords.get("sliding_window")):
            raise Inexpressible(f"a sliding window of {keywords['sliding_window']} keys")
        for name, argument in keywords.items():
            if isinstance(argument, Tensor) and name not in HARMLESS_TENSORS:
                raise Inexpressible(f"the attention argument {name}")
        self.calls += 1
        # The group count comes from the module: under tracing shapes are tensors and cannot be compared.
        mixed = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=getattr(module, "num_key_value_groups", 1) != 1
        )
        return mixed.transpose(1, 2).contiguous(), None
