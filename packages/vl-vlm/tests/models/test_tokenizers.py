"""Tokenizers: any text in and out again, and lengths that fit the tower."""

from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer
from vl_vlm import train_tokenizer
from vl_vlm.models.tokenizers import text_length, tokenize


@pytest.mark.parametrize("text", ["a red circle", "Ünïcode ✨ straße", "tab\tand  spaces", "0123456789 %"])
def test_any_text_comes_back_in_lower_case(tokenizer, text):
    ids = tokenizer(text, truncation=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip() == text.lower()


def test_training_twice_gives_the_same_tokens(tokenizer):
    again = train_tokenizer(iter(["a red circle left of a blue square"] * 3), vocabulary_size=280, context_length=12)
    other = train_tokenizer(["a red circle left of a blue square"] * 3, vocabulary_size=280, context_length=12)
    assert again.get_vocab() == other.get_vocab()
    assert again.get_vocab() != tokenizer.get_vocab()


def test_long_texts_are_cut_and_keep_their_end(tokenizer):
    found = tokenize(tokenizer, ["a red circle " * 20, "a"], 12)
    assert found["input_ids"].shape == (2, 12)
    assert found["input_ids"][0, -1] == tokenizer.eos_token_id
    assert found["attention_mask"].sum(1).tolist() == [12, 3]
    assert tokenize(tokenizer, ["a"], 12)["input_ids"].shape == (1, 3)
    tokenizer.padding_side = "left"
    assert tokenize(tokenizer, ["a red circle", "a"], 12)["attention_mask"][1].tolist()[:3] == [1, 1, 1]
    tokenizer.padding_side = "right"
    padded = tokenize(tokenizer, ["a"], 12, padded=True, masked=False)
    assert list(padded) == ["input_ids"]
    assert padded["input_ids"][0, 3:].tolist() == [tokenizer.pad_token_id] * 9


def test_a_saved_tokenizer_is_loaded_by_transformers(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded("three green stars")["input_ids"] == tokenizer("three green stars")["input_ids"]
    assert loaded.model_max_length == 12


def limited(length):
    return SimpleNamespace(model_max_length=length)


@pytest.mark.parametrize(
    ("own", "positions", "asked", "fixed", "expected"),
    [
        (77, 77, None, False, 77),
        (32, 64, None, False, 32),
        (32, 64, None, True, 64),
        (10**30, 64, None, False, 64),
        (32, None, None, False, 32),
        (77, 64, 64, False, 64),
        (10**30, None, 40, False, 40),
    ],
)
def test_length_of_texts(own, positions, asked, fixed, expected):
    assert text_length(limited(own), positions, asked, fixed=fixed) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: text_length(limited(77), 64), "the tokenizer's is 77 tokens, the tower has 64 positions"),
        (lambda: text_length(limited(77), 64, 65), "context_length must be at most 64, .* got 65"),
        (lambda: text_length(limited(77), 64, 0), "context_length must be at least 1, got 0"),
        (lambda: text_length(limited(10**30), None), "neither tokenizer nor text tower states it"),
        (lambda: train_tokenizer([]), "captions must hold at least one text"),
        (lambda: train_tokenizer(["a"], vocabulary_size=259), "vocabulary_size must be at least 260 .* got 259"),
        (lambda: train_tokenizer(["a"], context_length=2), "context_length must be at least 3"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
