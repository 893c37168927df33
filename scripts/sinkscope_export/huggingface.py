"""Making a model from a local Hugging Face directory or from its configuration alone."""

import copy
import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig, PreTrainedModel

from .families import Task
from .files import ScriptError, read_json, usage_error

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def config_file(path: Path) -> Path:
    """The config.json of a directory, or the file itself."""
    return path / "config.json" if path.is_dir() else path


def load_config(path: Path, *, trust_remote_code: bool) -> PreTrainedConfig:
    """The configuration of a directory, or of a config.json.

    Code that it names is run only where trusted; otherwise transformers' own class of the same name serves, where there is one:
    many families were published with code before transformers took them in.
    """
    if path.is_dir() and not (path / "config.json").is_file():
        raise ScriptError(f"{path}: has no config.json; give a Hugging Face model directory")
    if not path.exists():
        raise ScriptError(f"{path}: no such {'file' if path.suffix else 'directory'}")
    file = config_file(path)
    content = read_json(file)
    if "quantization_config" in content:
        raise ScriptError(f"{file}: the weights are quantised; export a float checkpoint of the model")
    own_code = "auto_map" in content and trust_remote_code
    family = content.get("model_type")
    if "auto_map" in content and not own_code and family not in CONFIG_MAPPING:
        raise ScriptError(f"{file}: the model brings its own Python code, and transformers has no {family or 'model_type'} "
                          "itself; read the code, then give --trust-remote-code")
    if own_code and file.name == "config.json":
        path = file.parent  # where the code is looked for
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise ScriptError(f"{file}: {first_line(error)}") from None
    if "auto_map" in content and not own_code:
        print(f"note: the Python code that {file} names is not run; transformers' own {family} is used", file=sys.stderr)
        del config.auto_map  # of no use any more, and it would be sought again for every model made of the configuration
    return config


def names_code(directory: Path) -> bool:
    """Whether a directory's configuration names Python code of its own."""
    return "auto_map" in read_json(directory / "config.json")


def load_model(directory: Path, config: PreTrainedConfig, task: Task, dtype: torch.dtype | None) -> PreTrainedModel:
    """The model in eval mode with its family's own eager attention; dtype None keeps the checkpoint's."""
    weight_files(directory)
    try:
        model, loading = task.auto_class.from_pretrained(
            directory, config=config, dtype=dtype or "auto", attn_implementation="eager", local_files_only=True,
            use_safetensors=True, output_loading_info=True, trust_remote_code=task.trust_remote_code,
        )
    except Exception as error:  # transformers raises many kinds for damaged or unsupported directories
        raise ScriptError(f"{directory}: cannot be loaded: {first_line(error)}") from None
    if loading["missing_keys"]:
        # transformers would fill them with random numbers and go on.
        raise ScriptError(f"{directory}: its weights lack {', '.join(sorted(loading['missing_keys'])[:5])}")
    if loading["unexpected_keys"] and names_code(directory) and not task.trust_remote_code:
        raise ScriptError(f"{directory}: transformers' own {config.model_type} has no "
                          f"{', '.join(sorted(loading['unexpected_keys'])[:5])}: the model is another than its model_type says; "
                          "read the Python code that it brings, then give --trust-remote-code")
    return model.eval()


def random_model(config: PreTrainedConfig, task: Task, dtype: torch.dtype | None, seed: int) -> PreTrainedModel:
    """A model with the configuration's own random initialisation, for people without weights."""
    torch.manual_seed(seed)
    try:
        model = task.auto_class.from_config(
            config, attn_implementation="eager", dtype=dtype or config.dtype or torch.float32,
            trust_remote_code=task.trust_remote_code,
        )
    except Exception as error:
        raise ScriptError(f"{config.model_type}: the configuration gives no model: {first_line(error)}") from None
    return model.eval()


def graph_only_model(config: PreTrainedConfig, task: Task, dtype: torch.dtype | None) -> PreTrainedModel:
    """A model whose parameters have their shapes but one element of storage (stride 0); buffers are real.

    Built without memory on the meta device, as transformers itself does before it loads weights: afterwards every family
    can compute its buffers (rotary frequencies and the like) again, given that the parameters count as initialised.
    """
    with torch.device("meta"):
        model = random_model(config, task, dtype, seed=0)
    hollow: dict[int, nn.Parameter] = {}
    unset: list[tuple[str, torch.Tensor]] = []
    for path, module in model.named_modules():
        module._is_hf_initialized = False
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if id(parameter) not in hollow:
                element = torch.zeros(1, dtype=parameter.dtype)
                hollow[id(parameter)] = nn.Parameter(element.expand(parameter.shape), requires_grad=False)
                hollow[id(parameter)]._is_hf_initialized = True
            module._parameters[name] = hollow[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.full_like(buffer, torch.nan if buffer.is_floating_point() else -1, device="cpu")
                if name not in module._non_persistent_buffers_set:
                    continue  # the checkpoint has it
                unset.append((f"{path}.{name}", module._buffers[name]))
    model.initialize_weights()
    for name, buffer in unset:
        if buffer.is_floating_point() and bool(buffer.isnan().any()):
            raise ScriptError(f"{config.model_type}: --graph-only cannot compute the buffer {name}; export with the weights")
    return model.eval()


def parameters_of_buffers(model: PreTrainedModel) -> None:
    """Makes float buffers that the checkpoint stores parameters, so that everything it stores is one in the graph."""
    for module in model.modules():
        for name in list(module._buffers):
            buffer = module._buffers[name]
            if buffer is None or name in module._non_persistent_buffers_set or not buffer.is_floating_point():
                continue
            del module._buffers[name]
            module.register_parameter(name, nn.Parameter(buffer.detach(), requires_grad=False))


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a directory, as its index lists them or else the single one."""
    index = directory / "model.safetensors.index.json"
    names = sorted(set(read_json(index).get("weight_map", {}).values())) if index.is_file() else ["model.safetensors"]
    files = [directory / name for name in names]
    absent = [file.name for file in files if not file.is_file()]
    if absent or not files:
        raise ScriptError(f"{directory}: has no {', '.join(absent) or 'weights'}; weights must be in safetensors files")
    return files


def stored_dtype(directory: Path) -> torch.dtype | None:
    """The float dtype of a directory's first tensor; None without weights."""
    names = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    if not list(directory.glob("*.safetensors")):
        return None
    with safe_open(weight_files(directory)[0], framework="pt") as tensors:
        return next((names[d] for d in (tensors.get_slice(n).get_dtype() for n in tensors.keys()) if d in names), None)


def tensor_shapes(directory: Path) -> dict[str, list[int]]:
    """Name -> shape of every tensor in a directory's safetensors files."""
    found = {}
    for file in weight_files(directory):
        try:
            with safe_open(file, framework="pt") as tensors:
                found |= {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}
        except SafetensorError as error:
            raise ScriptError(f"{file}: not a safetensors file ({error})") from None
    return found


def config_dictionary(config: PreTrainedConfig) -> dict:
    """The configuration as plain JSON, without the paths and switches of the machine that exports."""
    content = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in content.items() if not key.startswith("_")}


def written_otherwise(content: dict, written: dict) -> dict:
    """Keys of a configuration that its file has with another value, and that value."""
    found = {}
    for key, value in content.items():
        if key not in written or written[key] == value:
            continue
        if isinstance(value, dict) and isinstance(written[key], dict):
            found |= {key: inner} if (inner := written_otherwise(value, written[key])) else {}
        else:
            found[key] = written[key]
    return found


def absent_values(config: PreTrainedConfig, written: dict) -> dict:
    """Key -> what its family takes where a config.json lacks the key; of those keys whose value that would change.

    Each is taken away alone: what follows from the others follows as it does for this model. A key that the model's own
    file lacks follows from them too, but for objects: older files say their parts in keys of their own (rope_theta).
    """
    content, changed = config_dictionary(config), {}
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    try:
        for key in [key for key, value in content.items() if key in written or isinstance(value, dict)]:
            rest = {other: value for other, value in content.items() if other != key}
            try:
                value = config_dictionary(type(config).from_dict(copy.deepcopy(rest))).get(key)
            except Exception:  # it must be there, as far as this family is concerned
                continue
            if value != content[key]:
                changed[key] = value
    finally:
        transformers.logging.set_verbosity(verbosity)
    return changed


def dtype_name(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise usage_error(f"the checkpoint's dtype is {name}; choose one with --dtype")
    return name
