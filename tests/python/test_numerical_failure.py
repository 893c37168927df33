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


def test_verification_of_a_model_with_a_nan_is_exit_5_with_its_report(tmp_path):
    report = measure(nan_toy(tmp_path / "m.pt", "head.weight"), *RUN, "--verify", code=5)
    assert report["verify"]["logits_bit_identical"] is True
    assert report["verify"]["prefix_consistent"] is None


class RuledOut(Toy):
    """One id of the vocabulary can never come."""

    fill = float("-inf")

    def forward(self, ids):
        return super().forward(ids).index_fill(2, torch.tensor([3]), self.fill)


class RuledOutFinitely(RuledOut):
    fill = torch.finfo(torch.float32).min


@pytest.mark.parametrize("kind", [RuledOut, RuledOutFinitely])
def test_logits_that_rule_ids_out_are_verified_all_the_same(tmp_path, kind):
    report = measure(write(kind(Sdpa()), tmp_path / "m.pt"), *RUN, "--metric", "first_token_mass", "--verify")
    assert report["verify"]["prefix_consistent"] is True


@pytest.mark.parametrize("kind", [RuledOut, RuledOutFinitely])
def test_a_fill_value_does_not_hide_that_a_position_sees_later_ones(tmp_path, kind):
    class Leaking(kind):
        def forward(self, ids):
            return super().forward(ids) + 0.01 * ids.float().mean(1)[:, None, None]

    refused("measure", write(Leaking(Sdpa()), tmp_path / "m.pt"), *RUN, "--metric", "first_token_mass", "--verify", code=3)


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
