"""What a trace cannot hold, in a form that it can: custom autograd functions, data-dependent loops over experts, names."""

import contextlib
import inspect
import sys
from collections.abc import Iterator
from unittest import mock

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

EXPERTS = "sinkscope"


class _NoContext:
    """Stands for the context of an autograd function whose backward will never run."""

    def save_for_backward(self, *tensors: Tensor) -> None:
        pass

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        pass


def _autograd_functions(model: nn.Module) -> dict[tuple[str, str], type]:
    """(module name, class name) -> custom autograd function, of the Python modules that the model's classes come from."""
    sources = {type(module).__module__ for module in model.modules()}
    return {
        (source, name): member
        for source in sources if not source.startswith("torch.")
        for name, member in inspect.getmembers(sys.modules[source], inspect.isclass)
        if issubclass(member, torch.autograd.Function) and member is not torch.autograd.Function
    }


@contextlib.contextmanager
def plain_autograd_functions(model: nn.Module) -> Iterator[None]:
    """Within, custom autograd functions of the model's code run their forward as ordinary operations."""

    def plain(function: type):
        def apply(*arguments):
            if "ctx" not in inspect.signature(function.forward).parameters and "setup_context" in vars(function):
                return function.forward(*arguments)
            return function.forward(_NoContext(), *arguments)

        return apply

    with contextlib.ExitStack() as stack:
        for function in _autograd_functions(model).values():
            stack.enter_context(mock.patch.object(function, "apply", plain(function)))
        yield


@contextlib.contextmanager
def plain_class_names(model: nn.Module) -> Iterator[None]:
    """Within, classes of code that the model brought are in modules whose names TorchScript can read.

    transformers names such a module by hashes, which may begin with a digit, and by the directory that it lay in.
    """
    brought = "transformers_modules."
    with contextlib.ExitStack() as stack:
        for kind in {type(module) for module in model.modules()}:
            if kind.__module__.startswith(brought):
                stack.enter_context(mock.patch.object(kind, "__module__", brought + kind.__module__.rpartition(".")[2]))
        yield


def experts_one_by_one(experts: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """hidden_states [S, d], top_k_index and top_k_weights [S, k] -> [S, d]: every expert on the tokens that chose it.

    transformers' own loop visits only the experts that were chosen while tracing, and its grouped products exist for
    few dtypes and devices. Here an expert that nobody chose multiplies an empty matrix.
    """
    result = torch.zeros_like(hidden_states)

    def linear(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        product = states @ (weight if experts.is_transposed else weight.transpose(0, 1))
        return product if bias is None else product + bias

    for expert in range(experts.num_experts):
        token, choice = torch.where(top_k_index == expert)
        first, down = ("gate_up_proj" if experts.has_gate else "up_proj"), "down_proj"
        bias = {name: getattr(experts, f"{name}_bias")[expert] if experts.has_bias else None for name in (first, down)}
        inner = linear(hidden_states[token], getattr(experts, first)[expert], bias[first])
        inner = experts._apply_gate(inner) if experts.has_gate else experts.act_fn(inner)
        outer = linear(inner, getattr(experts, down)[expert], bias[down])
        if experts.has_post_expert_norm:
            outer = experts.post_expert_norm(outer)
        outer = outer * top_k_weights[token, choice].unsqueeze(-1)
        result = result.index_add(0, token, outer.to(result.dtype))
    return result


def use_plain_experts(model: PreTrainedModel) -> None:
    """Makes mixture-of-experts layers that go through transformers' interface visit all experts."""
    ALL_EXPERTS_FUNCTIONS.register(EXPERTS, experts_one_by_one)
    model.set_experts_implementation(EXPERTS)
