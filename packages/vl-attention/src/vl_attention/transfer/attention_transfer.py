"""Train a vision transformer from a teacher's attention alone.

Attention Transfer (Li, Tian, Chen, Pathak and Chen, NeurIPS 2024, arXiv 2411.09702): a pre-trained ViT is of use mostly
by where it looks. A student that starts from random weights and is given the teacher's attention maps, by copying them
(`mode="copy"`) or by a loss that draws its own towards them (`"distill"`), comes near to fine-tuning the teacher.

Written from the paper's mathematics, and apart from it in this: the student is built of the teacher's own architecture;
the teacher runs without stochastic depth, so that its maps are those of the whole model; it stops after the last layer
that is asked of it; and no map of attention is ever stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Literal, NamedTuple, get_args

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from vl_attention.attention.inputs import AttentionInputs, AttentionRecorder, Taps, copy_without_taps
from vl_attention.attention.pairing import HeadMap, Heads, Layers, as_pairs, pair_heads, pair_layers
from vl_attention.attention.tokens import CommonTokens
from vl_attention.models.calling import call, check_images, head_count, logits_of
from vl_attention.models.layout import ViTLayout
from vl_attention.models.normalization import Normalization
from vl_attention.models.students import check_components, random_student
from vl_attention.transfer.copied_attention import CopiedAttention
from vl_attention.transfer.losses import map_loss, output_loss, relation_loss

Mode = Literal["distill", "copy", "copy_q", "copy_k", "copy_v", "output", "relations"]

_PARTS: dict[str, str] = {"copy": "qk", "copy_q": "q", "copy_k": "k", "copy_v": "v"}
_DEFAULT_LAYERS: dict[str, Layers] = {"distill": "first:75%", "relations": "last:1"}
DEFAULT_WEIGHTS: dict[str, float] = {"distill": 3.0, "output": 50.0, "relations": 1.0}
"""What the transfer's loss is multiplied by beside the task's, by mode: the values of the works behind them."""


class TransferOutput(NamedTuple):
    """What a step of training needs."""

    logits: Tensor
    """The student's, ``(B, classes)``."""
    transfer_loss: Tensor
    """Sum over the layers, a scalar; zero where there is nothing to learn but the task."""
    layer_losses: Tensor
    """``(layers,)``, in the order of `AttentionTransfer.layers`; empty where there is none."""


class AttentionTransfer(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="vl-attention",
    tags=["attention-transfer"],
    coders={Normalization: (asdict, lambda data: Normalization(**data))},
):
    """A student and the teacher whose attention it learns from.

    Only the student is a part of this module: `parameters`, `state_dict` and a checkpoint hold nothing of the teacher,
    which follows it from device to device all the same, stays in evaluation mode and receives no gradient.
    `save_pretrained` writes the student and how it was trained; ``AttentionTransfer.from_pretrained(folder,
    teacher=teacher)`` reads it again, with ``student=`` too if one was given.

    Args:
        teacher: A pre-trained ViT of timm (`VisionTransformer`, `Eva`, `Beit`, DeiT and what is built like them) or of
            transformers (ViT, DINOv2, CLIP's and SigLIP's vision model).
        student: The model to train; default: one of the teacher's architecture with random weights.
        mode: ``"distill"``: cross-entropy between maps. ``"copy"``: the student attends with the teacher's maps, and
            has no queries and keys. ``"copy_q"``, ``"copy_k"``, ``"copy_v"``: it takes these from the teacher.
            ``"output"``: squared difference between the outputs of attention. ``"relations"``: MiniLM's relations among
            queries, keys and values, for any heads and widths.
        layers: Which of the student's layers learn from which of the teacher's, see `pair_layers`. Default: the first
            three quarters for ``"distill"``, the last for ``"relations"``, and all for the others.
        heads: Which heads, see `pair_heads`. Heads that are left out are the student's own.
        num_classes: Of the student that is built here; default: as many as the teacher has.
        drop_path: Rate of stochastic depth of the student that is built here.
        seed: Of its weights.
        relation_heads: Into how many heads relations are divided.
        teacher_normalization: How images in 0..1 enter the teacher; default: as the model says.
        student_normalization: The same for the student; default: as for the teacher if it is built here.

    Raises:
        ValueError: If a model has no attention to transfer, layers or heads do not exist, or the mode is unknown.

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
        teacher_normalization: Normalization | None = None,
        student_normalization: Normalization | None = None,
    ):
        super().__init__()
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}; got {mode!r}")
        if mode in ("output", "relations") and heads != "all":
            raise ValueError(f"heads cannot be chosen in mode={mode!r}, which joins all heads")
        _check_model("teacher", teacher)
        # What comes from a saved configuration comes as a mapping.
        teacher_normalization, student_normalization = (
            Normalization(**given) if isinstance(given, Mapping) else given
            for given in (teacher_normalization, student_normalization)
        )
        # Not registered, so that neither optimizers nor checkpoints nor averages see it.
        self._teacher = [teacher]
        self.teacher_anatomy = ViTLayout.of(teacher)
        self.teacher_normalization = teacher_normalization or Normalization.of(teacher)
        if student is None:
            student = random_student(teacher, num_classes, drop_path=drop_path, seed=seed)
            student_normalization = student_normalization or self.teacher_normalization
        else:
            _check_model("student", student)
            if student is teacher:
                raise ValueError("student and teacher are one object; leave student=None for a new one, or copy it")
            if num_classes is not None or drop_path or seed is not None:
                raise ValueError("num_classes, drop_path and seed are for a student that is built here")
            if getattr(student, "num_classes", None) == 0:
                raise ValueError("the student has no classifier (num_classes=0); give it one, with reset_classifier")
            check_components(student, teacher)
        self.student = student
        self.student_anatomy = ViTLayout.of(student)
        self.student_normalization = student_normalization or Normalization.of(student)
        self.mode: Mode = mode
        self.relation_heads = relation_heads
        layers = _DEFAULT_LAYERS.get(mode, "all") if layers is None else layers
        depths = self.student_anatomy.depth, self.teacher_anatomy.depth
        self.layers = pair_layers(layers, *depths)
        self._heads = heads
        self._check_heads()
        self._teacher_taps = AttentionRecorder.of(teacher, _modules(teacher, self.teacher_anatomy))
        self._student_taps: AttentionRecorder | None = None
        if mode in _PARTS:
            self._hand_over()
        else:
            self._student_taps = AttentionRecorder.of(student, _modules(student, self.student_anatomy))
        self._tokens = CommonTokens(self.student_anatomy.prefix, self.teacher_anatomy.prefix)
        # Pairs, since a mapping of numbers does not survive JSON.
        pairs = heads if isinstance(heads, str) else as_pairs("heads", heads)
        self._hub_mixin_config = {**_as_dict(self._hub_mixin_config), "layers": self.layers, "heads": pairs}

    @classmethod
    def from_pretrained(cls, *args: Any, strict: bool = True, **options: Any) -> AttentionTransfer:
        """Read what `save_pretrained` wrote.

        Args:
            args: The folder, or the hub's id.
            strict: Whether the saved weights must be all that this student has, and no others.
            options: ``teacher``, ``student`` if one was given, and those of
                `huggingface_hub.PyTorchModelHubMixin.from_pretrained`.

        Raises:
            ValueError: If the weights are of another student, because the teacher has another architecture.
        """
        try:
            transfer: AttentionTransfer = super().from_pretrained(*args, strict=strict, **options)
        except RuntimeError as error:
            raise ValueError(
                f"the saved student does not fit this teacher's architecture ({error}); give the teacher that it "
                "learned from, and student= if it was made with one"
            ) from error
        return transfer

    @property
    def teacher(self) -> nn.Module:
        """The teacher, which is no part of this module's parameters."""
        return self._teacher[0]

    @property
    def needs_teacher(self) -> bool:
        """Whether the student cannot do without the teacher: it copies."""
        return self.mode in _PARTS

    def forward(self, images: Tensor) -> TransferOutput:
        """The student's answer and, in training mode, how far its attention is from the teacher's.

        Args:
            images: ``(B, C, H, W)``, floats in 0..1; each model's normalization happens here.

        Raises:
            ValueError: If the models cut the images into different numbers of patches, or a model's attention is not
                fused.
        """
        check_images(images)
        none = images.new_zeros((), dtype=torch.float32), images.new_zeros(0, dtype=torch.float32)
        if self._student_taps is None:
            with self._handing(self._ask_teacher(images).by_layer):
                return TransferOutput(self._ask_student(images), *none)
        if not self.training:
            return TransferOutput(self._ask_student(images), *none)
        taught = self._ask_teacher(images)
        learned = self._student_taps.run(
            lambda: self._ask_student(images), [s for s, _ in self.layers], with_outputs=self.mode == "output"
        )
        if learned.without_gradient:
            raise ValueError(
                f"the student computes the attention of layer {learned.without_gradient[0]} without gradients, as "
                "reentrant checkpointing does, so the transfer would teach it nothing; use the other kind, "
                "use_reentrant=False"
            )
        losses = torch.stack([self._layer_loss(*pair, learned, taught) for pair in self.layers])
        return TransferOutput(learned.result, losses.sum(), losses)

    def export(self) -> nn.Module:
        """The trained student as a plain model of timm or transformers: a copy without hooks, which needs no teacher.

        It takes images that are normalized already: see `student_normalization`. It is in evaluation mode.

        Raises:
            ValueError: If the student copies, so that it is nothing without its teacher.
        """
        if self._student_taps is None:
            raise ValueError(
                f"a student of mode={self.mode!r} has no attention of its own and needs its teacher at inference; "
                "call this AttentionTransfer itself, or train with mode='distill'"
            )
        return copy_without_taps(self.student).eval()

    def compile_blocks(self, **options: Any) -> AttentionTransfer:
        """Compile each block of both models with `torch.compile`; all but the teacher's last, where it is stopped.

        Blocks of one build share their code, so this takes a fraction of what compiling whole models does.
        """
        last = max(t for _, t in self.layers)
        for model, layout, depth in (
            (self.student, self.student_anatomy, self.student_anatomy.depth),
            (self.teacher, self.teacher_anatomy, last),
        ):
            for name in layout.blocks[:depth]:
                model.get_submodule(name).compile(**options)
        return self

    def train(self, mode: bool = True) -> AttentionTransfer:
        """Put the student into training mode, or out of it; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AttentionTransfer:
        """Device and precision concern the teacher too, although it is not registered."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.teacher._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    @torch.compiler.disable(recursive=False)  # type: ignore[no-untyped-call, untyped-decorator]
    def _ask_teacher(self, images: Tensor) -> Taps:
        """The layers that the student learns from; the forward pass ends at the last of them."""
        normalized = self.teacher_normalization(images)
        self.teacher.eval()
        wanted = [t for _, t in self.layers]
        return self._teacher_taps.run(
            lambda: call(self.teacher, normalized), wanted, with_outputs=self.mode == "output", stop=True
        )

    def _ask_student(self, images: Tensor) -> Tensor:
        return logits_of(call(self.student, self.student_normalization(images)))

    def _layer_loss(self, student_layer: int, teacher_layer: int, learned: Taps, taught: Taps) -> Tensor:
        student, teacher = learned.by_layer[student_layer], taught.by_layer[teacher_layer]
        places = self._tokens.choose(student.q, teacher.q, dim=2)
        tokens = dict(zip(("tokens_student", "tokens_teacher"), places, strict=True))
        if self.mode == "output":
            return output_loss(learned.outputs[student_layer], taught.outputs[teacher_layer], **tokens)
        if self.mode == "relations":
            return relation_loss(student, teacher, relation_heads=self.relation_heads, **tokens)
        heads = pair_heads(self._heads, student.q.shape[1], teacher.q.shape[1])
        return map_loss(student, teacher, heads=heads, **tokens)

    def _heads_of(self, student_layer: int, teacher_layer: int) -> HeadMap | None:
        """Which head learns from which, where the models say how many they have; None for head by head."""
        student = self.student.get_submodule(self.student_anatomy.attentions[student_layer])
        teacher = self.teacher.get_submodule(self.teacher_anatomy.attentions[teacher_layer])
        own, theirs = head_count(student), head_count(teacher)
        return None if own is None or theirs is None else pair_heads(self._heads, own, theirs)

    def _check_heads(self) -> None:
        """Find errors in heads when the transfer is made."""
        if self.mode in ("output", "relations"):
            return
        for pair in self.layers:
            chosen = self._heads_of(*pair)
            if self.mode in _PARTS and any(isinstance(head, list) for head in chosen or ()):
                raise ValueError(
                    f"mode={self.mode!r} hands one teacher head to each student head, and the average of several is no "
                    "head; choose heads, or use mode='distill'"
                )

    def _hand_over(self) -> None:
        """Replace the student's attentions by such that wait for the teacher's."""
        for student_layer, teacher_layer in self.layers:
            parent, _, leaf = self.student_anatomy.attentions[student_layer].rpartition(".")
            owner = self.student.get_submodule(parent)
            heads = self._heads_of(student_layer, teacher_layer)
            setattr(owner, leaf, CopiedAttention(getattr(owner, leaf), _PARTS[self.mode], heads))

    @contextmanager
    def _handing(self, taps: dict[int, AttentionInputs]) -> Iterator[None]:
        """While active, the student's attentions have these images' of the teacher; no others ever meet them."""
        modules: list[Any] = [self.student.get_submodule(name) for name in self.student_anatomy.attentions]
        try:
            for student_layer, teacher_layer in self.layers:
                modules[student_layer].handed = taps[teacher_layer]
            yield
        finally:
            for student_layer, _ in self.layers:
                modules[student_layer].handed = None


def _check_model(name: str, model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"{name} must be a model, got {type(model).__name__}; load it first, with timm.create_model or "
            "from_pretrained"
        )
    if hasattr(model, "student_normalization"):
        raise ValueError(
            f"{name} must be a plain model of timm or transformers, got {type(model).__name__}, which holds one; give "
            "its .student, and its .student_normalization apart"
        )


def _as_dict(config: Any) -> dict[str, Any]:
    return dict(config or {})


def _modules(model: nn.Module, layout: ViTLayout) -> list[nn.Module]:
    return [model.get_submodule(name) for name in layout.attentions]
