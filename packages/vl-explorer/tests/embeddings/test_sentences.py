"""Models are looked for on this machine alone, unless told otherwise; rows are of unit length."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from vl_explorer.embeddings.sentences import SentenceTransformerEmbedder


class Model:
    """Stands for `sentence_transformers.SentenceTransformer`: knows folders, and one name with download."""

    def __init__(self, place, device=None, local_files_only=True):
        if local_files_only and not place.startswith("/"):
            raise OSError("not in the cache")
        self.place = place

    def encode(self, texts, batch_size, convert_to_numpy, show_progress_bar):
        assert convert_to_numpy
        assert not show_progress_bar
        return np.array([[len(text), 3.0] for text in texts]).reshape(-1, 2)


@pytest.fixture
def library(monkeypatch):
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = Model
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


@pytest.mark.usefixtures("library")
def test_a_folder_is_loaded_and_rows_have_unit_length(tmp_path):
    embedder = SentenceTransformerEmbedder(tmp_path)
    np.testing.assert_allclose(embedder(["four", ""]), [[0.8, 0.6], [0, 1]], rtol=1e-6)
    assert embedder(["four"]).dtype == np.float32
    assert embedder([]).shape == (0, 2)
    assert embedder.name == f"sentence-transformers:{tmp_path.name}"
    with pytest.raises(TypeError, match="put it into a list"):
        embedder("four")


@pytest.mark.usefixtures("library")
def test_an_installed_package_is_searched_for_its_model(tmp_path, monkeypatch):
    folder = tmp_path / "tiny_model_package" / "data" / "tiny-model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text("[]", encoding="utf-8")
    (tmp_path / "tiny_model_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    embedder = SentenceTransformerEmbedder("tiny_model_package")
    assert embedder._model.place == str(folder)
    assert embedder.name == "sentence-transformers:tiny-model"


@pytest.mark.usefixtures("library")
def test_nothing_is_downloaded_unless_told():
    with pytest.raises(FileNotFoundError, match="give its folder, or download=True"):
        SentenceTransformerEmbedder("owner/model")
    assert SentenceTransformerEmbedder("owner/model", download=True).name == "sentence-transformers:owner/model"


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"vl-explorer\[text\]"):
        SentenceTransformerEmbedder("owner/model")
