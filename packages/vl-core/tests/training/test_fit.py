"""The loop learns, resumes exactly, and does not depend on the number of processes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader
from vl_core.runs import RunFolder
from vl_core.training import Shuffled, TrainingSettings, fit

SCRIPT = Path(__file__).parent / "small_fit.py"
SPEC = importlib.util.spec_from_file_location("small_fit", SCRIPT)
small_fit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(small_fit)
SETTINGS, Samples, network, loss = (getattr(small_fit, n) for n in ("SETTINGS", "Samples", "network", "loss"))
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"),
]


class Interrupted(Samples):
    def __getitem__(self, index):
        if self.read == 60:  # in the middle of an update and of an epoch
            raise KeyboardInterrupt
        return super().__getitem__(index)


def run(out, settings=SETTINGS, samples=None, *, model=None, loss=loss, **options):
    model = network() if model is None else model
    data = Shuffled(Samples() if samples is None else samples, 0)
    fit(model, data, loss, settings, out, progress=False, **{"checkpoint_every": 2, "log_every": 5, **options})
    return {name: value.clone() for name, value in model.state_dict().items()}


def rows(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def checkpoint_of(out):
    return RunFolder(out, json.loads((out / "config.json").read_text())).load_checkpoint()


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_training_lowers_the_loss(tmp_path):
    run(tmp_path, replace(SETTINGS, updates=60))
    found = rows(tmp_path)
    assert [row["step"] for row in found] == list(range(4, 60, 5))
    assert found[-1]["loss"] < 0.5 * found[0]["loss"]


@pytest.mark.parametrize("change", [{}, {"accumulation": 4}, {"ema_decay": 0.0, "precision": "bfloat16"}])
def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(tmp_path, change):
    settings = replace(SETTINGS, **change)
    whole = run(tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", settings, Interrupted())
    assert checkpoint_of(tmp_path / "parts").step == 6
    assert equal(whole, run(tmp_path / "parts", settings))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_what_moves_after_an_update_is_resumed_too(tmp_path):
    def moving(out, samples=None):
        model = nn.ModuleDict({"online": network(), "momentum": network().requires_grad_(False)})

        def after_update(update, weights):
            assert weights.keys() == model.state_dict().keys()
            with torch.no_grad():
                for slow, fast in zip(model["momentum"].parameters(), model["online"].parameters(), strict=True):
                    slow.lerp_(fast, 0.1)

        whole = lambda model, batch, number: loss(model["online"], batch, number)  # noqa: E731
        return run(out, replace(SETTINGS, ema_decay=0.0), samples, model=model, loss=whole, after_update=after_update)

    whole = moving(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        moving(tmp_path / "parts", Interrupted())
    assert equal(whole, moving(tmp_path / "parts"))
    assert not torch.equal(whole["momentum.0.weight"], whole["online.0.weight"])
    assert not torch.equal(whole["momentum.0.weight"], network()[0].weight)


def test_after_update_sees_the_weights_as_they_end(tmp_path):
    seen = []
    end = run(tmp_path, after_update=lambda update, weights: seen.append((update, weights["0.weight"].clone())))
    assert [update for update, _ in seen] == list(range(15))
    assert torch.equal(seen[-1][1], end["0.weight"])


def test_slow_updates_are_kept_by_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr("vl_core.training._loop.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, samples=Interrupted(), checkpoint_every=1000)
    assert checkpoint_of(tmp_path).step > 1


def test_a_finished_run_is_not_run_again(tmp_path):
    whole = run(tmp_path)
    assert equal(whole, run(tmp_path, samples=[Interrupted()] * 40))


def test_accumulated_passes_are_one_batch(tmp_path):
    def still():
        model = network()
        model[2].p = 0.0
        return model

    whole = run(tmp_path / "1", model=still())
    parts = run(tmp_path / "4", replace(SETTINGS, accumulation=4), model=still())
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=1e-4)


def test_the_optimizer_may_be_given_and_rates_follow_lr_scale(tmp_path):
    model, given = network(), []
    groups = [{"params": model[0].parameters(), "lr_scale": 0.5}, {"params": model[3].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9)

    def after_update(update, weights):
        given.append([group["lr"] for group in optimizer.param_groups])

    run(tmp_path, model=model, optimizer=optimizer, log_every=1, after_update=after_update)
    rates = [SETTINGS.learning_rate_at(update) for update in range(15)]
    assert given == [[0.5 * rate, rate] for rate in rates]
    assert [row["learning_rate"] for row in rows(tmp_path)] == rates
    assert {name.rpartition(".")[2] for name in checkpoint_of(tmp_path).tensors if name.startswith("optimizer")} == {
        "momentum_buffer"
    }


def test_gradients_are_clipped(tmp_path):
    before, model = network().state_dict(), network()
    settings = TrainingSettings(updates=1, batch_size=8, learning_rate=1.0, max_grad_norm=1e-3, decay_share=0.0)
    after = run(tmp_path, settings, model=model, optimizer=torch.optim.SGD(model.parameters(), lr=1.0))
    moved = torch.cat([(after[name] - before[name]).flatten() for name in before])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_frozen_parameters_keep_their_weights_and_belong_to_the_run(tmp_path):
    model = network()
    model[0].requires_grad_(False)
    assert torch.equal(run(tmp_path, model=model)["0.weight"], network()[0].weight)
    with pytest.raises(ValueError, match=r"another configuration: frozen \(\['0\.bias', '0\.weight'\] in the folder"):
        run(tmp_path)


def test_modes_of_modules_are_left_where_that_is_said(tmp_path):
    modes = []

    def watched(model, batch, number):
        modes.append(model.training)
        return loss(model, batch, number)

    for training_mode in (True, False):
        run(tmp_path / str(training_mode), model=network().eval(), loss=watched, training_mode=training_mode)
    assert modes == [True] * 15 + [False] * 15


def test_training_in_one_process_leaves_no_trace_in_accelerate(tmp_path):
    before = dict(PartialState._shared_state), dict(os.environ)
    run(tmp_path)
    assert (dict(PartialState._shared_state), dict(os.environ)) == before
    Accelerator(cpu=True, mixed_precision="bf16")
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def nan_loss(model, batch, number):
    return loss(model, batch, number) * torch.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": nan_loss}, r"the loss is not finite at update 4 .* lower the learning rate"),
        ({"loss": lambda model, batch, number: model(batch[0])}, r"loss must return a scalar, .* shapes .*\(8, 2\)"),
        (
            {"loss": lambda model, batch, number: {"error": model(batch[0]).sum()}},
            r"with 'loss' among them, got .*error",
        ),
        ({"log_every": 0}, r"checkpoint_every and log_every must be at least 1, got 100 and 0"),
        ({"settings": replace(SETTINGS, accumulation=3)}, r"batch_size must be a multiple of .* 1 x 3; got 8"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", **{"checkpoint_every": 100, **change})


def test_nothing_is_written_where_a_batch_cannot_be_divided(tmp_path):
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of"):
        run(tmp_path / "run", replace(SETTINGS, accumulation=3))
    assert not (tmp_path / "run").exists()


def test_another_run_is_refused_and_workers_are_free(tmp_path, monkeypatch):
    alone = lambda *given, num_workers, **options: DataLoader(*given, **options)  # noqa: E731
    monkeypatch.setattr("vl_core.training._loop.DataLoader", alone)
    run(tmp_path, config={"data": "a"})
    run(tmp_path, replace(SETTINGS, workers=1), config={"data": "a"})
    with pytest.raises(ValueError, match=r"another configuration: .*data \('a' in the folder, now 'b'\)"):
        run(tmp_path, config={"data": "b"})
    with pytest.raises(ValueError, match=r"another configuration: .*learning_rate"):
        run(tmp_path, replace(SETTINGS, learning_rate=0.1), config={"data": "a"})


def test_weights_that_are_not_finite_are_an_error_and_in_no_checkpoint(tmp_path):
    model, passes = network(), []

    def spoil(gradient):
        passes.append(1)
        return gradient * torch.nan if len(passes) == 7 else gradient

    model[3].bias.register_hook(spoil)
    with pytest.raises(ValueError, match=r"the weight \S+ is not finite after update 7; lower the learning rate"):
        run(tmp_path, replace(SETTINGS, ema_decay=0.0, max_grad_norm=0.0), model=model, log_every=100)
    assert checkpoint_of(tmp_path).step == 6
    assert all(tensor.isfinite().all() for tensor in checkpoint_of(tmp_path).tensors.values())


@pytest.mark.slow
def test_a_killed_run_resumes_and_two_processes_are_one_with_twice_the_batch(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    program = [sys.executable, str(SCRIPT)]
    killed = subprocess.run([*program, tmp_path / "killed", "2", "60"], env=environment, capture_output=True)
    assert killed.returncode == -9
    assert not (tmp_path / "killed" / "weights.safetensors").exists()
    jobs = [
        subprocess.Popen([*program, tmp_path / "killed", "2"], env=environment),
        subprocess.Popen([*LAUNCH, SCRIPT, tmp_path / "two", "1"], env=environment),
    ]
    small_fit.main(tmp_path / "whole", 2)
    assert [job.wait() for job in jobs] == [0, 0]
    whole, resumed, two = (load_file(tmp_path / n / "weights.safetensors") for n in ("whole", "killed", "two"))
    assert equal(whole, resumed)
    for name, value in whole.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-4)
