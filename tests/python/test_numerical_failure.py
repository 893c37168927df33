"""A NaN anywhere is exit 5, whichever metric meets it; and what was not selected still decides what a number means."""

import pytest
import torch
from measuring import codes, measure, refused
from toys import Sdpa, Toy, write

RUN = ("--random-tokens", "3", "--length", "8", "--vocabulary", "29")


def nan_toy(path, parameter):
    toy = Toy(Sdpa(), Sdpa())
    with torch.no_grad():
        dict(toy.named_parameters())[parameter].view(-1)[0] = float("nan")
    return write(toy, path)


@pytest.mark.parametrize(
    ("parameter", "metric"),
    [
        ("head.weight", "loss"),
        ("blocks.1.attention.value.weight", "value_norm"),
        ("blocks.1.attention.key.weight", "key_norm"),
        ("blocks.1.attention.out.weight", "mixing_jacobian"),
        ("blocks.1.attention.out.weight", "hidden_norm"),
    ],
)
def test_a_nan_that_only_one_metric_meets_is_exit_5(tmp_path, parameter, metric):
    report = measure(nan_toy(tmp_path / "m.pt", parameter), *RUN, "--metric", metric, code=5)
    assert report["metrics"][metric]["rejected"] > 0


def test_a_bidirectional_site_that_is_not_selected_still_forbids_a_next_token_loss(tmp_path):
    path = write(Toy(Sdpa(), Sdpa(causal=False)), tmp_path / "m.pt")
    report = measure(path, *RUN, "--layers", "0", "--metric", "loss", "--metric", "first_token_mass")
    assert report["metrics"]["loss"]["value"] is None and "no_loss" in codes(report)
    assert len(report["sites"]) == 1


def test_parameters_that_no_run_can_have_are_refused_at_once(tmp_path):
    path = write(Toy(Sdpa()), tmp_path / "m.pt")
    for setting in ("first_token_mass.k=100000000000", "sink_rate.keys=2000000000", "sink_rate.key=2000000000"):
        assert setting.split("=")[0] in refused("measure", path, *RUN, "--set", setting, code=2)
    message = refused("measure", path, *RUN, "--metric", "mixing_jacobian", "--set", "mixing_jacobian.targets=8", code=2)
    assert "outside a sequence of 8" in message
