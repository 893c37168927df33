"""The TorchScript model file of sinkscope: an archive with the extra file `sinkscope.json` (docs/export.md)."""

import json
import zipfile
from pathlib import Path

import torch

from .files import written_aside

METADATA_NAME = "sinkscope.json"
FORMAT = 1


def parameter_names(module: torch.nn.Module) -> list[str]:
    """Names of the distinct parameters; a tied parameter is listed under its first name only."""
    return [name for name, _ in module.named_parameters()]


def _pack(path: Path) -> None:
    """Deflates every record of an archive; libtorch reads such archives as well."""
    packed = path.with_name("packed.pt")
    with zipfile.ZipFile(path) as records, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for record in records.infolist():
            plain = zipfile.ZipInfo(record.filename)  # with a fixed date
            plain.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(plain, records.read(record))
    packed.replace(path)


def write_model_file(traced: torch.jit.ScriptModule, metadata: dict, path: Path, *, packed: bool = False) -> None:
    """Writes the archive with its metadata, aside and renamed; packed for files that hold no large tensors.

    The same model and metadata give the same bytes on every machine: the debug records, which hold the absolute paths
    of the Python sources of whoever exported, are left out.
    """
    text = json.dumps({"format": FORMAT, **metadata}, ensure_ascii=False)
    with written_aside(path) as aside:
        full = aside.with_name("with_debug_records.pt")
        torch.jit.save(traced, str(full), _extra_files={METADATA_NAME: text})
        reader = torch._C.PyTorchFileReader(str(full))
        writer = torch._C.PyTorchFileWriter(str(aside))
        for name in reader.get_all_records():
            # The writer makes these two itself; it would refuse a second copy.
            if name.endswith(".debug_pkl") or name in ("version", ".data/serialization_id"):
                continue
            data = reader.get_record(name)
            writer.write_record(name, data, len(data))
        writer.write_end_of_file()
        if packed:
            _pack(aside)


def read_metadata(path: Path) -> dict:
    """The metadata of a model file; {} for a TorchScript file that has none."""
    extra = {METADATA_NAME: ""}
    torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    return json.loads(extra[METADATA_NAME]) if extra[METADATA_NAME] else {}
