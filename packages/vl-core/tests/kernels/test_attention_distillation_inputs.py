"""Bad input gets an error that names the argument, what was expected and what came."""

from __future__ import annotations

import re

import pytest
import torch
from vl_core.kernels import attention_distillation

Q = torch.zeros(2, 3, 5, 8)
TWELVE = torch.zeros(2, 12, 5, 8)


def call(q_student=Q, k_student=Q, q_teacher=Q, k_teacher=Q, **options):
    return attention_distillation(q_student, k_student, q_teacher, k_teacher, **options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"q_student": [1.0]}, TypeError, "q_student must be a tensor of a floating type, got list"),
        ({"k_teacher": Q.long()}, TypeError, "k_teacher must be a tensor of a floating type, got torch.int64"),
        ({"q_student": Q[0]}, ValueError, "q_student must have shape (images, heads, tokens, head dimension)"),
        ({"q_teacher": Q[:, :, :0]}, ValueError, "got (2, 3, 0, 8)"),
        ({"k_student": Q[:, :, :4]}, ValueError, "k_student must have shape (2, 3, 5, 8) like q_student, got (2, 3, 4"),
        ({"k_student": Q.half()}, ValueError, "k_student must have the dtype and device of q_student, torch.float32"),
        ({"q_teacher": Q[:1], "k_teacher": Q[:1]}, ValueError, "q_teacher must hold 2 images like q_student, got 1"),
        ({"q_teacher": Q[:, :, 1:], "k_teacher": Q[:, :, 1:]}, ValueError, "tokens_student and tokens_teacher"),
        ({"q_teacher": TWELVE, "k_teacher": TWELVE}, ValueError, "q_teacher must have 3 heads like q_student, got 12"),
        ({"q_teacher": Q.to("meta"), "k_teacher": Q.to("meta")}, ValueError, "q_teacher must be on cpu like q_student"),
        ({"divergence": "js"}, ValueError, "divergence must be one of 'cross_entropy', 'kl', got 'js'"),
        ({"reduction": "batchmean"}, ValueError, "reduction must be one of 'mean', 'sum', 'none'"),
        ({"impl": "cuda"}, ValueError, "impl must be one of 'auto', 'reference', 'sdpa', 'triton', got 'cuda'"),
        ({"scale_student": float("nan")}, ValueError, "scale_student must be a finite number or a tensor, got nan"),
        ({"scale_teacher": "1"}, ValueError, "scale_teacher must be a finite number or a tensor, got '1'"),
        ({"scale_student": torch.ones(2)}, ValueError, "scale_student must have shape () or (3,)"),
        ({"scale_student": torch.ones(3, dtype=torch.int64)}, TypeError, "scale_student must be of a floating type"),
        ({"bias_student": torch.zeros(4, 5)}, ValueError, "bias_student must broadcast to (2, 3, 5, 5), got (4, 5)"),
        ({"bias_teacher": torch.zeros(2, 1, 3, 5, 5)}, ValueError, "bias_teacher must broadcast to (2, 3, 5, 5)"),
        ({"bias_teacher": torch.ones(5, 5) > 0}, TypeError, "a mask of keys goes to key_mask"),
        ({"key_mask": torch.ones(2, 5)}, TypeError, "key_mask must be a bool tensor, true for keys that take part"),
        ({"key_mask": torch.ones(5) > 0}, ValueError, "key_mask must have shape (2, 5), got (5,)"),
        ({"row_weight": [1.0]}, TypeError, "row_weight must be a tensor, got list"),
        ({"row_weight": torch.ones(4)}, ValueError, "row_weight must have shape (5,) or (2, 5) or (2, 3, 5), got (4,)"),
        ({"row_weight": torch.ones(5, requires_grad=True)}, ValueError, "row_weight gets no gradient"),
        ({"tokens_student": [0, 1]}, TypeError, "tokens_student must be a slice or an int64 tensor of one dimension"),
        ({"tokens_teacher": slice(5, 9)}, ValueError, "tokens_teacher must leave at least one of the 5 tokens"),
        ({"tokens_teacher": slice(None, None, -1)}, ValueError, "tokens_teacher must not run backwards"),
        ({"head_map": [0, 1]}, ValueError, "head_map must be a sequence with an entry for each of the 3 student heads"),
        ({"head_map": [0, 1, 3]}, ValueError, "head_map must name teacher heads 0 ... 2"),
        ({"head_map": [0, 1, []]}, ValueError, "head_map must name teacher heads"),
        ({"head_map": [None, None, None]}, ValueError, "at least one for some student head"),
        ({"head_map": [0, 1, True]}, ValueError, "head_map must name teacher heads"),
        ({"impl": "triton"}, ValueError, "impl='triton' cannot compute this: "),
        ({"impl": "sdpa", "bias_student": torch.zeros(5, 5)}, ValueError, "impl='sdpa' cannot compute this: a bias"),
        (
            {"impl": "sdpa", "bias_teacher": torch.zeros(5, 5), "divergence": "kl"},
            ValueError,
            "impl='sdpa' cannot compute this: the entropy of a map with a bias",
        ),
        (
            {"impl": "sdpa", "head_map": [[0, 1], 1, 2], "divergence": "kl"},
            ValueError,
            "impl='sdpa' cannot compute this: the entropy of an average",
        ),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call(**arguments)


def test_token_index_out_of_range_is_an_error():
    with pytest.raises(IndexError):
        call(tokens_student=torch.tensor([0, 5]), tokens_teacher=torch.tensor([0, 1]))
