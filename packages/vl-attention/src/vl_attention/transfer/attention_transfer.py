"""Train a vision transformer from a teacher's attention alone.

Attention Transfer (Li, Tian, Chen, Pathak and Chen, NeurIPS 2024, arXiv 2411.09702): much of the value of a pre-trained
ViT is in its attention. A randomly initialized student that receives the teacher's attention maps, by copying them
(`mode="copy"`) or through a loss that pulls its own maps towards them (`"distill"`), nearly matches the fine-tuned
teacher.

Written from the paper's mathematics, with these differences: the student has the teacher's own architecture; the
teacher runs without stochastic depth, so its maps are those of the whole model (`teacher_drop_path=True` gives it the
student's masks, as in the published runs); it stops after the last layer that is needed; and no attention map is ever
stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, Literal, NamedTuple, get_args

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from vl_attention.attention.inputs import (
    AttentionError,
    AttentionInputs,
    AttentionRecorder,
    RecordedAttention,
    copy_without_hooks,
)
from vl_attention.attention.pairing import HeadMap, Heads, Layers, as_pairs, pair_heads, pair_layers
from vl_attention.attention.rehearsal import blank_images, check_attention, is_rehearsal, rehearse, run_model
from vl_attention.attention.tokens import CommonTokens
from vl_attention.models.folders import check_model_name, model_folder
from vl_attention.models.grids import ImageGrid, image_size, own_sizes
from vl_attention.models.inference import check_images, get_logits, head_count
from vl_attention.models.layout import ViTLayout
from vl_attention.models.normalization import Normalization
from vl_attention.models.students import check_components, random_student
from vl_attention.models.whole_numbers import whole_number
from vl_attention.transfer.checks import check_channels, check_checkpointing, check_model, check_student, in_size
from vl_attention.transfer.copied_attention import CopiedAttention
from vl_attention.transfer.drop_path import SharedDropPath
from vl_attention.transfer.losses import map_loss, output_loss, relation_loss, vector_loss

Mode = Literal[
    "distill", "distill_q", "distill_k", "distill_v", "copy", "copy_q", "copy_k", "copy_v", "output", "relations"
]

_PARTS: dict[str, str] = {"copy": "qk", "copy_q": "q", "copy_k": "k", "copy_v": "v"}
_VECTORS: dict[str, str] = {"distill_q": "q", "distill_k": "k", "distill_v": "v"}
_DEFAULT_LAYERS: dict[str, Layers] = {**dict.fromkeys(("distill", *_VECTORS), "first:75%"), "relations": "last:1"}
DEFAULT_WEIGHTS: dict[str, float] = {**dict.fromkeys(("distill", *_VECTORS), 3.0), "output": 50.0, "relations": 1.0}
"""Weight of the transfer loss relative to the task loss, by mode, from the corresponding papers."""


class TransferOutput(NamedTuple):
    """The outputs that a training step needs."""

    logits: Tensor
    """The student's logits ``(B, num_classes)``."""
    transfer_loss: Tensor
    """Sum over the layers, a scalar; zero if only the task is learned, NaN if the loss was not asked for."""
    layer_losses: Tensor
    """Losses ``(layers,)`` in the order of `AttentionTransfer.layers`; empty if there is no transfer loss or it was not
    asked for."""


class AttentionTransfer(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="vl-attention",
    tags=["attention-transfer"],
    coders={Normalization: (asdict, lambda data: Normalization(**data))},
):
    """A student and the teacher whose attention it learns from.

    Only the student is a part of this module: `parameters`, `state_dict` and checkpoints do not contain the teacher,
    which moves between devices with the student, stays in evaluation mode and receives no gradient. `save_pretrained`
    writes the student and its transfer settings; ``AttentionTransfer.from_pretrained(folder, teacher=teacher)`` loads
    it, with ``student=`` too if one was passed.

    Each model computes in its own floating-point type, so a teacher in half precision may teach a student in float32;
    losses are float32. Models with patches of different sizes that make the same grid each get the images in their own
    size. The first training step is rehearsed without weights when the transfer is created, so that models and options
    that cannot work are refused there.

    Args:
        teacher: A pre-trained ViT from timm (`VisionTransformer`, `Eva`, `Beit`, DeiT and models with the same
            structure) or transformers (ViT, DINOv2, the vision models of CLIP and SigLIP).
        student: The model to train, in place: a mode that copies replaces its attention modules and removes the
            projections that it no longer needs. Default: a randomly initialized model with the teacher's architecture.
        mode: ``"distill"``: cross-entropy between maps. ``"distill_q"``, ``"distill_k"``, ``"distill_v"``: squared
            error between queries, keys or values. ``"copy"``: the student uses the teacher's maps, and has no queries
            and keys. ``"copy_q"``, ``"copy_k"``, ``"copy_v"``: it uses the teacher's queries, keys or values.
            ``"output"``: squared error between attention outputs. ``"relations"``: MiniLM's relations among queries,
            keys and values, for any heads and widths.
        layers: Pairs of student and teacher layers, see `pair_layers`. Default: the first three quarters for
            ``"distill"`` and its variants, the last for ``"relations"``, and all for the others.
        heads: Pairs of heads, see `pair_heads`. Other heads of the student are unconstrained.
        num_classes: Number of classes of a student that is built here; default: the teacher's.
        drop_path: Rate of stochastic depth of a student that is built here.
        seed: Seed of the weights of a student that is built here.
        relation_heads: Number of heads for ``"relations"``.
        teacher_drop_path: In training, the teacher skips the branches that the student's stochastic depth skips, with
            the same masks, as in the published runs. For timm models of equal depth; not with gradient checkpointing.
        teacher_normalization: Normalization of images in 0..1 for the teacher; default: the model's own.
        student_normalization: The same for the student; default: the teacher's if the student is built here.

    Raises:
        ValueError: If a model has no attention to transfer, the two do not fit together, a given student drops patches,
            layers or heads do not exist, or the mode is unknown.

    Example:
        >>> import timm
        >>> size = dict(img_size=32, patch_size=8, embed_dim=48, depth=4, num_heads=3)
        >>> teacher = timm.create_model("vit_tiny_patch16_224", **size)
        >>> transfer = AttentionTransfer(teacher, num_classes=10)
        >>> output = transfer(torch.rand(2, 3, 32, 32))
        >>> output.logits.shape, transfer.layers
        (torch.Size([2, 10]), [(0, 0), (1, 1), (2, 2)])
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module | None = None,
        mode: Mode = "distill",
        *,
        layers: Layers | None = None,
        heads: Heads = "all",
        num_classes: int | None = None,
        drop_path: float = 0.0,
        seed: int | None = None,
        relation_heads: int | None = None,
        teacher_drop_path: bool = False,
        teacher_normalization: Normalization | None = None,
        student_normalization: Normalization | None = None,
    ):
        super().__init__()
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}; got {mode!r}")
        relation_heads = relation_heads if relation_heads is None else whole_number(relation_heads) or 0
        # An array compares element by element.
        if mode in ("output", "relations") and not (isinstance(heads, str) and heads == "all"):
            raise ValueError(f"heads must be 'all' in mode={mode!r}, which joins all heads, got {heads!r}")
        if relation_heads is not None and mode != "relations":
            raise ValueError(f"relation_heads applies to mode='relations', got mode={mode!r}; leave it out")
        check_model("teacher", teacher)
        # Saved configurations contain mappings.
        teacher_normalization, student_normalization = (
            Normalization(**given) if isinstance(given, Mapping) else given
            for given in (teacher_normalization, student_normalization)
        )
        # Not registered, so optimizers, checkpoints and weight averages do not see it.
        self._teacher = [teacher]
        self.teacher_layout = ViTLayout.of(teacher)
        self.teacher_normalization = teacher_normalization or Normalization.of(teacher)
        self._check_attention(teacher, self.teacher_layout, self.teacher_normalization)
        if student is None:
            student = random_student(teacher, num_classes, drop_path=drop_path, seed=seed)
            student_normalization = student_normalization or self.teacher_normalization
        else:
            check_student(student, teacher)
            self._check_attention(student, ViTLayout.of(student), student_normalization or Normalization.of(student))
            if num_classes is not None or drop_path or seed is not None:
                raise ValueError(
                    "num_classes, drop_path and seed apply to a student that is built here; leave them out, or "
                    "student=None"
                )
            check_components(student, teacher)
        self.student = student
        self.student_layout = ViTLayout.of(student)
        self.student_normalization = student_normalization or Normalization.of(student)
        check_channels(len(self.student_normalization.mean), len(self.teacher_normalization.mean))
        self._sizes = own_sizes(student, teacher)
        self.mode: Mode = mode
        self.relation_heads = relation_heads
        layers = _DEFAULT_LAYERS.get(mode, "all") if layers is None else layers
        depths = self.student_layout.depth, self.teacher_layout.depth
        self.layers = pair_layers(layers, *depths)
        self._heads = heads
        self._check_heads()
        self.teacher_drop_path = teacher_drop_path
        self._drop_path = SharedDropPath(student, teacher) if teacher_drop_path else None
        # Pairs, since JSON does not preserve integer keys.
        pairs = heads if isinstance(heads, str) else as_pairs("heads", heads)
        self._hub_mixin_config = {**_as_dict(self._hub_mixin_config), "layers": self.layers, "heads": pairs}
        # Before the student is changed, so that a refused one is left as it was.
        self._rehearse()
        self._teacher_recorder = AttentionRecorder.of(teacher, _modules(teacher, self.teacher_layout))
        self._student_recorder: AttentionRecorder | None = None
        if mode in _PARTS:
            self._install_copied_attention()
        else:
            self._student_recorder = AttentionRecorder.of(student, _modules(student, self.student_layout))
        self._tokens = CommonTokens(self.student_layout.prefix, self.teacher_layout.prefix)

    @classmethod
    def from_pretrained(cls, *args: Any, strict: bool = True, **options: Any) -> AttentionTransfer:
        """Load a transfer written by `save_pretrained`.

        Args:
            args: The folder or hub id.
            strict: Require that the saved weights are exactly those of this student.
            options: ``teacher``, ``student`` if one was passed, and the options of
                `huggingface_hub.PyTorchModelHubMixin.from_pretrained`.

        Raises:
            FileNotFoundError: If there is neither a folder nor a hub id of this name.
            ValueError: If there is no teacher, or the weights do not fit, because it has another architecture.
        """
        source = args[0] if args else options.get("pretrained_model_name_or_path", "")
        if options.get("teacher") is None:
            raise ValueError(
                f"the student in {source} needs the teacher that it learned from; pass teacher=, or write a distilled "
                "student alone with save_classifier"
            )
        if not model_folder(source).exists():
            check_model_name(source)
        try:
            transfer: AttentionTransfer = super().from_pretrained(*args, strict=strict, **options)
        except RuntimeError as error:
            raise ValueError(
                f"the saved student does not fit this teacher's architecture ({error}); pass the teacher that it "
                "learned from, and student= if it was created with one"
            ) from error
        return transfer

    @property
    def teacher(self) -> nn.Module:
        """The teacher, which is not part of this module's parameters."""
        return self._teacher[0]

    @property
    def needs_teacher(self) -> bool:
        """True if the student copies attention and so needs the teacher at inference."""
        return self.mode in _PARTS

    def forward(self, images: Tensor, *, with_loss: bool | None = None) -> TransferOutput:
        """Compute the student's logits and the transfer loss.

        Args:
            images: ``(B, C, H, W)``, floats in 0..1; they are normalized here for each model.
            with_loss: Compute the transfer loss, in evaluation mode too; default: in training mode only. The loss that
                is not computed is NaN.

        Raises:
            ValueError: If the images are not in 0..1 (a little beyond is accepted; on an accelerator only the first
                ones are read), the models divide them into different numbers of patches, a model's attention is not
                fused, a student that copies uses gradient checkpointing, or a loss is asked for that this mode does
                not have or without images.
        """
        check_images(images, self)
        if with_loss and self._student_recorder is None:
            raise ValueError(
                f"with_loss=True asks for a transfer loss, and mode={self.mode!r} has none: it copies; leave it out"
            )
        drop_path = self._drop_path.active(images) if self._drop_path and self.training else nullcontext()
        with drop_path:
            if self._student_recorder is None:
                if self.training and torch.is_grad_enabled():
                    check_checkpointing(self.student, self.mode)
                with self._teacher_inputs(self._run_teacher(images).by_layer):
                    return TransferOutput(self._student_logits(images), *_without_loss(images, 0.0))
            if not (self.training if with_loss is None else with_loss):
                return TransferOutput(self._student_logits(images), *_without_loss(images, torch.nan))
            return self._distill(images, self._student_recorder)

    def _distill(self, images: Tensor, recorder: AttentionRecorder) -> TransferOutput:
        """Run both models and compare their attention."""
        if not len(images):
            raise ValueError("images must hold at least one image for a transfer loss, got none; skip empty batches")
        teacher = self._run_teacher(images)
        student = recorder.run(
            lambda: self._student_logits(images), [s for s, _ in self.layers], with_outputs=self.mode == "output"
        )
        if student.without_gradient:
            raise AttentionError(
                f"the student computes the attention of layer {student.without_gradient[0]} without gradients, as "
                "reentrant checkpointing does, so the transfer loss would have no effect; use non-reentrant "
                "checkpointing (use_reentrant=False)"
            )
        losses = torch.stack([self._layer_loss(*pair, student, teacher) for pair in self.layers])
        return TransferOutput(student.result, losses.sum(), losses)

    def export(self) -> nn.Module:
        """Export the trained student as a plain timm or transformers model: a copy without hooks, in evaluation mode.

        It needs no teacher, and takes normalized images: see `student_normalization`.

        Raises:
            ValueError: If the student copies attention and so needs its teacher.
        """
        if self._student_recorder is None:
            raise ValueError(
                f"a student of mode={self.mode!r} has no attention of its own and needs its teacher at inference; "
                "use this AttentionTransfer itself, or train with mode='distill'"
            )
        return copy_without_hooks(self.student).eval()

    def compile_blocks(self, **options: Any) -> AttentionTransfer:
        """Compile each block of both models with `torch.compile`, except the teacher's last, where it stops.

        Blocks with the same structure share their code, so this takes a fraction of the time for whole models.
        """
        last = max(t for _, t in self.layers)
        for model, layout, depth in (
            (self.student, self.student_layout, self.student_layout.depth),
            (self.teacher, self.teacher_layout, last),
        ):
            for name in layout.blocks[:depth]:
                model.get_submodule(name).compile(**options)
        return self

    def train(self, mode: bool = True) -> AttentionTransfer:
        """Set the student's training mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AttentionTransfer:
        """Move and convert the teacher too, although it is not registered."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.teacher._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    @torch.compiler.disable(recursive=False)  # type: ignore[no-untyped-call, untyped-decorator]
    def _run_teacher(self, images: Tensor) -> RecordedAttention:
        """Record the teacher's layers that the student learns from; the forward pass stops after the last of them."""
        normalized = self.teacher_normalization(in_size(images, self._sizes[1], "teacher", self.teacher))
        self.teacher.eval()
        wanted = [t for _, t in self.layers]
        return self._teacher_recorder.run(
            lambda: run_model(self.teacher, normalized), wanted, with_outputs=self.mode == "output", stop=True
        )

    def _student_logits(self, images: Tensor) -> Tensor:
        images = in_size(images, self._sizes[0], "student", self.student)
        return get_logits(run_model(self.student, self.student_normalization(images)))

    def _layer_loss(
        self, student_layer: int, teacher_layer: int, student_pass: RecordedAttention, teacher_pass: RecordedAttention
    ) -> Tensor:
        student, teacher = student_pass.by_layer[student_layer], teacher_pass.by_layer[teacher_layer]
        indices = self._tokens.choose(student.q, teacher.q, dim=2)
        tokens = dict(zip(("tokens_student", "tokens_teacher"), indices, strict=True))
        if self.mode == "output":
            return output_loss(student_pass.outputs[student_layer], teacher_pass.outputs[teacher_layer], **tokens)
        if self.mode == "relations":
            return relation_loss(student, teacher, relation_heads=self.relation_heads, **tokens)
        heads = pair_heads(self._heads, student.q.shape[1], teacher.q.shape[1])
        if self.mode in _VECTORS:
            return vector_loss(student, teacher, part=_VECTORS[self.mode], heads=heads, **tokens)
        return map_loss(student, teacher, heads=heads, **tokens)

    def _heads_of(self, student_layer: int, teacher_layer: int) -> HeadMap | None:
        """Head pairs of two layers, if the models state their numbers of heads; None for head by head."""
        student = self.student.get_submodule(self.student_layout.attentions[student_layer])
        teacher = self.teacher.get_submodule(self.teacher_layout.attentions[teacher_layer])
        student_heads, teacher_heads = head_count(student), head_count(teacher)
        if student_heads is None or teacher_heads is None:
            return None
        return pair_heads(self._heads, student_heads, teacher_heads)

    @staticmethod
    def _check_attention(model: nn.Module, layout: ViTLayout, normalization: Normalization) -> None:
        if not is_rehearsal():
            check_attention(model, layout.attentions, len(normalization.mean))

    def _rehearse(self) -> None:
        """Take the first training step without weights: errors that it would end in come now."""
        grids = [ImageGrid.of(model) for model in (self.teacher, self.student)]
        size = self._sizes[1] or next((grid.size for grid in grids if grid and grid.fixed), image_size(self.teacher))
        if size is None or is_rehearsal():
            return
        options: Any = {"layers": self.layers, "heads": self._heads, "relation_heads": self.relation_heads}
        ours, theirs = self.student_normalization, self.teacher_normalization

        def first_step(student: nn.Module, teacher: nn.Module) -> None:
            transfer = AttentionTransfer(
                teacher, student, self.mode, **options, student_normalization=ours, teacher_normalization=theirs
            )
            transfer.train()(blank_images(len(ours.mean), size))

        rehearse(first_step, self.student, self.teacher)

    def _check_heads(self) -> None:
        """Check the heads when the transfer is created."""
        if self.mode in ("output", "relations"):
            return
        for pair in self.layers:
            chosen = self._heads_of(*pair)
            if self.mode != "distill" and any(isinstance(head, list) for head in chosen or ()):
                raise ValueError(
                    f"mode={self.mode!r} takes one teacher head for each student head and cannot average several; "
                    "choose heads one to one, or use mode='distill'"
                )

    def _install_copied_attention(self) -> None:
        """Replace the student's attention modules with ones that copy from the teacher."""
        for student_layer, teacher_layer in self.layers:
            parent, _, leaf = self.student_layout.attentions[student_layer].rpartition(".")
            owner = self.student.get_submodule(parent)
            heads = self._heads_of(student_layer, teacher_layer)
            setattr(owner, leaf, CopiedAttention(getattr(owner, leaf), _PARTS[self.mode], heads))

    @contextmanager
    def _teacher_inputs(self, recorded: dict[int, AttentionInputs]) -> Iterator[None]:
        """Give the student's attention modules the teacher's inputs for these images, and remove them afterwards."""
        modules: list[Any] = [self.student.get_submodule(name) for name in self.student_layout.attentions]
        try:
            for student_layer, teacher_layer in self.layers:
                modules[student_layer].teacher_inputs = recorded[teacher_layer]
            yield
        finally:
            for student_layer, _ in self.layers:
                modules[student_layer].teacher_inputs = None


def _without_loss(images: Tensor, value: float) -> tuple[Tensor, Tensor]:
    """A transfer loss of this value, and no layer losses."""
    return images.new_full((), value, dtype=torch.float32), images.new_zeros(0, dtype=torch.float32)


def _as_dict(config: Any) -> dict[str, Any]:
    return dict(config or {})


def _modules(model: nn.Module, layout: ViTLayout) -> list[nn.Module]:
    return [model.get_submodule(name) for name in layout.attentions]
