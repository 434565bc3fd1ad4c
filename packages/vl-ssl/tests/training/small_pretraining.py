"""A pre-training run of a second, as a script: ``python small_pretraining.py OUT [KILL ... | METHOD ...]``.

It trains on two ranks with two workers each: whole, and killed at each of the given updates and resumed. Below OUT
every run leaves the samples that each rank trained on, its weights, and its last checkpoint. Methods that are
named are trained on two ranks without workers, and leave their weights.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from vl_ssl.augmentation.batched import float_images
from vl_ssl.collapse.meter import CollapseMeter
from vl_ssl.methods.build import build_method
from vl_ssl.methods.simsiam import SimSiam
from vl_ssl.schedules.chunks import Continual, MultiEpoch
from vl_ssl.schedules.hybrid import Hybrid
from vl_ssl.training.pretrain import pretrain
from vl_ssl.training.settings import PretrainSettings

SETTINGS = PretrainSettings(epochs=3, batch_size=8, base_learning_rate=2.0, warmup_epochs=1.0, seed=5)
SIZE, UPDATES, TRIGGER = 24, 9, 3


def images(size=SIZE):
    """Bytes ``(N, 1, 4, 4)`` whose first pixel is the index."""
    drawn = torch.randint(256, (size, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    drawn[:, 0, 0, 0] = torch.arange(size)
    return drawn


@dataclass(frozen=True)
class Noise:
    """Views with noise from seed and position, which spares the first pixel."""

    scale: float = 0.2

    def per_image(self, seed):
        return lambda image, position: self.view(float_images(image), seed, position)

    def batched(self, images, positions, *, seed):
        assert not torch.is_autocast_enabled("cpu")
        pairs = [self.view(float_images(image), seed, int(at)) for image, at in zip(images, positions, strict=True)]
        return torch.stack([first for first, _ in pairs]), torch.stack([second for _, second in pairs])

    def view(self, image, seed, position):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + position)
        noise = self.scale * torch.randn(2, *image.shape, generator=generator)
        noise[:, :, 0, 0] = 0
        return image + noise[0], image + noise[1]


class Logged(SimSiam):
    """SimSiam with a momentum copy of its backbone's weights, and a log of what it trains on; may die."""

    def __init__(self, log=None, dies_at=-1):
        backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU())
        super().__init__(backbone, num_features=12, projection=8, predictor_hidden=6)
        self.register_buffer("slow", backbone[1].weight.detach().clone())
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        self.log, self._dies_at, self.seen = log, dies_at, []

    def forward(self, view_1, view_2):
        if len(view_1) == 2:  # a look at what takes part in the loss, before the run
            return super().forward(view_1, view_2)
        if int(self.done) == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append((view_1[:, 0, 0, 0] * 255).round().int().tolist())
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(json.dumps([int(self.done), self.seen[-1]]) + "\n")
        return super().forward(view_1, view_2)

    def after_update(self, update, updates):
        super().after_update(update, updates)
        assert int(self.done) == update
        self.done += 1
        with torch.no_grad():
            self.slow.lerp_(self.backbone[1].weight, 0.1)


class Meter:
    """Follows the spectrum of the features, and asks for a switch once it has seen so many updates."""

    def __init__(self, trigger=TRIGGER):
        self.meter, self.count, self.trigger, self.outputs = CollapseMeter(12), 0, trigger, []

    def update(self, update, output, loss):
        assert abs(output.loss.item() - loss) < 1e-6
        self.outputs.append(output)
        self.meter.update(output.features[0])
        self.count += 1
        return self.count > self.trigger or None

    def metrics(self):
        return {"samples": self.meter.samples, "auc": self.meter.compute().auc}

    def state_dict(self):
        return {"meter": self.meter.state_dict(), "count": self.count}

    def load_state_dict(self, state):
        self.meter.load_state_dict(state["meter"])
        self.count = state["count"]


def new_method(**options):
    """The same initial weights each time."""
    torch.manual_seed(1)
    return Logged(**options)


def hybrid():
    """Chunks first, then everything, from a switch that a meter asks for."""
    return Hybrid(Continual(SIZE, 3), MultiEpoch(SIZE, 3))


def expected(updates=UPDATES, switched=TRIGGER + 1):
    """Samples of each update under `hybrid` and `Meter`."""
    first, second = Continual(SIZE, 3), MultiEpoch(SIZE, 3)
    run = [(second if at >= 8 * switched else first).index(at) for at in range(8 * updates)]
    return [run[8 * update : 8 * update + 8] for update in range(updates)]


def train(out, method, settings=SETTINGS, *, data=None, **options):
    """Train with a checkpoint and a row after every update; return the method."""
    given = {"augmentation": Noise(), "schedule": hybrid(), "monitor": Meter(), "checkpoint_every": 1, "log_every": 1}
    data = images() if data is None else data
    pretrain(method, data, settings, out, progress=False, **{**given, **options})
    return method


def train_method(out, name):
    """Train a small method of this name; return it."""
    torch.manual_seed(1)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU())
    queue = {"queue": 16} if name == "nnsiam" else {}
    method = build_method(name, backbone, num_features=12, projection=8, hidden=8, **queue)
    return train(out, method, replace(SETTINGS, base_learning_rate=0.5), monitor=None, schedule=None)


def rank_of(out, rank, port, job):
    """Be one of two ranks, which dies at an update or trains a method."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    out.mkdir(exist_ok=True)
    if isinstance(job, str):
        method = train_method(out / "run", job)
    else:
        method = new_method(log=out / f"rank-{rank}.jsonl", dies_at=job)
        train(out / "run", method, replace(SETTINGS, workers=2, augment_on="workers"), data=list(images()))
    if rank == 0:
        torch.save(method.state_dict(), out / "weights.pt")
    torch.distributed.destroy_process_group()


def launch(out, job=-1):
    """Fork two ranks, which import nothing again; if one is killed, kill the other; return both statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(2):
        ranks.append(os.fork())
        if not ranks[-1]:
            status = 1
            try:
                rank_of(out, rank, port, job)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
    statuses = {}
    while len(statuses) < 2:
        ended, status = os.wait()
        statuses[ended] = os.waitstatus_to_exitcode(status)
        if statuses[ended]:
            for other in set(ranks) - statuses.keys():
                os.kill(other, signal.SIGKILL)
    return [statuses[rank] for rank in ranks]


def main(out, *jobs):
    """All scenarios, one after the other."""
    torch.set_num_threads(1)
    names = [job for job in jobs if not job.isdecimal()]
    for name in names:
        assert launch(out / name, name) == [0, 0]
    if names:
        return
    assert launch(out / "whole") == [0, 0]
    for kill in map(int, jobs):
        assert -signal.SIGKILL in launch(out / f"killed-{kill}", kill)
        assert launch(out / f"killed-{kill}") == [0, 0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
