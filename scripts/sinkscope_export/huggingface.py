"""Loading a causal language model from a local Hugging Face directory, and the names of its weights there."""

import json
from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, rename_source_key

from .files import ScriptError, read_json, usage_error

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(directory: Path, dtype: torch.dtype | None) -> PreTrainedModel:
    """The model in eval mode with its family's own eager attention; dtype None keeps the checkpoint's."""
    if not directory.is_dir():
        raise ScriptError(f"{directory}: no such directory")
    if not (directory / "config.json").is_file():
        raise ScriptError(f"{directory}: has no config.json; give a Hugging Face model directory")
    weight_files(directory)
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            directory, config=_load_config(directory), dtype=dtype or "auto", attn_implementation="eager",
            local_files_only=True, use_safetensors=True, output_loading_info=True,
        )
    except Exception as error:  # transformers raises many kinds for damaged or unsupported directories
        raise ScriptError(f"{directory}: cannot be loaded: {_first_line(error)}") from None
    if loading["missing_keys"]:
        # transformers would fill them with random numbers and go on.
        raise ScriptError(f"{directory}: its weights lack {', '.join(sorted(loading['missing_keys'])[:5])}")
    return model.eval()


def random_model(config_path: Path, dtype: torch.dtype | None, seed: int) -> PreTrainedModel:
    """A model with the configuration's own random initialisation, for people without weights."""
    read_json(config_path)
    config = _load_config(config_path)
    torch.manual_seed(seed)
    try:
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=dtype or config.dtype)
    except Exception as error:
        raise ScriptError(f"{config_path}: gives no causal language model: {_first_line(error)}") from None
    return model.eval()


def _load_config(path: Path) -> transformers.PreTrainedConfig:
    file = path / "config.json" if path.is_dir() else path
    if "quantization_config" in read_json(file):
        raise ScriptError(f"{file}: the weights are quantised; export a float checkpoint of the model")
    try:
        return AutoConfig.from_pretrained(path, local_files_only=True)
    except Exception as error:
        raise ScriptError(f"{file}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a directory, as its index lists them or else the single one."""
    index = directory / "model.safetensors.index.json"
    names = sorted(set(read_json(index).get("weight_map", {}).values())) if index.is_file() else ["model.safetensors"]
    files = [directory / name for name in names]
    absent = [file.name for file in files if not file.is_file()]
    if absent or not files:
        raise ScriptError(f"{directory}: has no {', '.join(absent) or 'weights'}; weights must be in safetensors files")
    return files


def tensor_names(directory: Path) -> list[str]:
    found = []
    for file in weight_files(directory):
        try:
            with safe_open(file, framework="pt") as tensors:
                found.extend(tensors.keys())
        except SafetensorError as error:
            raise ScriptError(f"{file}: not a safetensors file ({error})") from None
    return found


def weight_map(model: PreTrainedModel, file_names: list[str] | None, prefix: str) -> dict[str, str]:
    """Graph parameter name -> name of the tensor in the checkpoint's files, by transformers' own renaming rules.

    Tied parameters name the same tensor. A parameter that transformers makes from several tensors is left out. Without
    files the names are those of the model itself.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    found = {}
    transforms = get_model_conversion_mapping(model)
    converters = [transform for transform in transforms if isinstance(transform, WeightConverter)]
    renamings = [transform for transform in transforms if not isinstance(transform, WeightConverter)]
    for name in file_names if file_names is not None else parameters:
        renamed, converted = rename_source_key(name, renamings, converters, model.base_model_prefix, model.state_dict())
        if renamed in parameters and converted is None:
            found[renamed] = name
    by_storage = {parameters[name].data_ptr(): tensor for name, tensor in found.items()}
    for name, parameter in parameters.items():
        if name not in found and parameter.data_ptr() in by_storage:
            found[name] = by_storage[parameter.data_ptr()]
    return {prefix + name: found[name] for name in parameters if name in found}


def config_dictionary(model: PreTrainedModel) -> dict:
    """The configuration as plain JSON, without the paths and switches of the machine that exports."""
    config = json.loads(model.config.to_json_string(use_diff=False))
    return {key: value for key, value in config.items() if not key.startswith("_")}


def dtype_name(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise usage_error(f"the checkpoint's dtype is {name}; choose one with --dtype")
    return name
