"""Image folders: flat, by class, by split; their order, and what lies in the way."""

import os
import pickle

import pytest
from PIL import Image
from vl_core.data import ImageError, UndividedError, open_dataset


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), (len(name), 0, 0)).save(path)


def test_a_flat_folder_has_no_labels_and_a_natural_order(tmp_path):
    put(tmp_path, "img10.png", "img2.jpg", "IMG1.PNG", "b.webp")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image either")
    dataset = open_dataset(tmp_path)
    assert dataset.names == ("b.webp", "IMG1.PNG", "img2.jpg", "img10.png")
    assert dataset.labels.tolist() == [-1] * 4
    assert dataset.classes == ()
    assert dataset[0][0].size == (4, 3)
    assert dataset[0][1] == -1


def test_sub_folders_are_classes_with_images_at_any_depth(tmp_path):
    put(tmp_path, "class10/a.png", "class2/b.png", "class2/deep/er/c.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".cache").mkdir()
    put(tmp_path, ".cache/d.png", "class2/.thumbs/e.png")
    dataset = open_dataset(str(tmp_path))
    assert dataset.classes == ("class2", "class10")
    assert dataset.names == ("class2/b.png", "class2/deep/er/c.png", "class10/a.png")
    assert dataset.labels.tolist() == [0, 0, 1]


def test_train_and_test_folders_are_splits_that_share_their_classes(tmp_path):
    put(tmp_path, "train/cat/1.png", "train/dog/2.png", "test/dog/3.png", "test/emu/4.png", "valid/cat/5.png")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/boxes.json").write_text("{}")
    test = open_dataset(tmp_path, split="test")
    assert test.classes == ("cat", "dog", "emu")
    assert test.names == ("test/dog/3.png", "test/emu/4.png")
    assert test.labels.tolist() == [1, 2]
    assert open_dataset(tmp_path, split="val").names == ("valid/cat/5.png",)
    assert [name.split("/")[0] for name in open_dataset(tmp_path).names] == ["train", "train", "valid", "test", "test"]


def test_a_default_split_is_used_where_there_are_splits(tmp_path):
    put(tmp_path / "divided", "train/1.png", "test/2.png")
    put(tmp_path / "whole", "3.png")
    divided = open_dataset(tmp_path / "divided", default_split="test")
    assert (divided.names, divided.split) == (("test/2.png",), "test")
    assert open_dataset(tmp_path / "divided", split="train", default_split="test").names == ("train/1.png",)
    whole = open_dataset(tmp_path / "whole", default_split="test")
    assert (whole.names, whole.split) == (("3.png",), None)
    with pytest.raises(UndividedError):
        open_dataset(tmp_path / "whole", split="train", default_split="test")
    with pytest.raises(ValueError, match="split must be one of 'train', 'test'"):
        open_dataset(tmp_path / "divided", default_split="val")


def test_splits_may_be_flat(tmp_path):
    put(tmp_path, "train/1.png", "test/2.png")
    assert open_dataset(tmp_path, split="train").names == ("train/1.png",)
    assert open_dataset(tmp_path).labels.tolist() == [-1, -1]


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, "train/1.png", "plane/2.png")
    assert open_dataset(tmp_path).classes == ("plane", "train")


def test_a_split_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    put(tmp_path / "divided", "train/1.png", "test/2.png")
    with pytest.raises(ValueError, match="split must be one of 'train', 'test' for"):
        open_dataset(tmp_path / "divided", split="val")
    put(tmp_path / "whole", "cat/1.png")
    put(tmp_path / "mixed", "train/1.png", "test/2.png", "masks/3.png")
    for name, reason in {"whole": "", "mixed": r" \('masks' beside 'test', 'train' makes them classes\)"}.items():
        with pytest.raises(UndividedError, match=rf"split must be left out .* not divided into splits{reason}, got"):
            open_dataset(tmp_path / name, split="test")


@pytest.mark.parametrize("split", [{}, {"split": "test"}, {"default_split": "test"}], ids=str)
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("cat/1.png",), r"\(preview\.png, 1 in all\) beside class folders \(cat, 1 in all\); move .* a class folder"),
        (("test/1.png", "train/1.png"), r"preview\.png, .* beside split folders \(test, 2 .* into a split folder or"),
        (("test/cat/1.png",), r"holds images \(preview\.png, 1 in all\) beside split folders \(test, 1 in all\)"),
    ],
)
def test_images_beside_folders_are_an_error_whatever_split_is_asked_for(tmp_path, names, message, split):
    put(tmp_path, "preview.png", *names)
    with pytest.raises(ValueError, match=message):
        open_dataset(tmp_path, **split)


@pytest.mark.parametrize("exclude", ["results", "results/../results", "by-another-name", "cat/deep"])
def test_an_excluded_folder_is_passed_over(tmp_path, exclude):
    put(tmp_path, "cat/1.png", "dog/2.png", "cat/deep/3.png", "results/chart.png")
    (tmp_path / "by-another-name").symlink_to(tmp_path / "results")
    names = {"cat/deep": ("cat/1.png", "dog/2.png", "results/chart.png")}
    dataset = open_dataset(tmp_path, exclude=tmp_path / exclude)
    assert dataset.names == names.get(exclude, ("cat/1.png", "cat/deep/3.png", "dog/2.png"))
    assert dataset.classes == tuple(dict.fromkeys(name.split("/")[0] for name in dataset.names))


def test_an_excluded_folder_does_not_stand_beside_images_or_splits(tmp_path):
    put(tmp_path / "flat", "1.png", "results/chart.png")
    assert open_dataset(tmp_path / "flat", exclude=tmp_path / "flat/results").names == ("1.png",)
    put(tmp_path / "divided", "train/cat/1.png", "test/cat/2.png", "results/chart.png")
    divided = open_dataset(tmp_path / "divided", split="test", exclude=tmp_path / "divided/results")
    assert divided.names == ("test/cat/2.png",)
    # A folder does not exclude itself, nor what it lies in.
    assert open_dataset(tmp_path / "flat/results", exclude=tmp_path / "flat").names == ("chart.png",)


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"holds no images; looked for files named \.avif"):
        open_dataset(tmp_path)


def test_a_bad_image_is_an_error_when_it_is_asked_for(tmp_path):
    put(tmp_path, "a.png", "c.png")
    (tmp_path / "b.jpg").write_text("no image")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 3
    assert dataset.skipped == ()
    with pytest.raises(ImageError, match=r"b\.jpg is not an image"):
        dataset[1]
    assert dataset[2][0].size == (4, 3)


def test_skipping_lists_bad_images_and_keeps_everything_else_in_step(tmp_path, caplog):
    put(tmp_path, "cat/1.png", "cat/3.png", "dog/4.png")
    (tmp_path / "cat/2.jpg").write_text("no image")
    (tmp_path / "dog/5.png").write_bytes((tmp_path / "dog/4.png").read_bytes()[:45])
    (tmp_path / "dog/6.png").symlink_to(tmp_path / "gone.png")
    dataset = open_dataset(tmp_path, on_error="skip", transform=lambda image: image.getpixel((0, 0)))
    assert dataset.names == ("cat/1.png", "cat/3.png", "dog/4.png")
    assert dataset.labels.tolist() == [0, 0, 1]
    assert [dataset[index] for index in range(3)] == [((9, 0, 0), 0), ((9, 0, 0), 0), ((9, 0, 0), 1)]
    assert [name for name, _ in dataset.skipped] == ["cat/2.jpg", "dog/5.png", "dog/6.png"]
    assert "is not an image in a known format" in dataset.skipped[0][1]
    assert "does not exist" in dataset.skipped[2][1]
    assert "skipped 3 of 6 images" in caplog.text


def test_a_data_loader_that_starts_its_workers_afresh_can_have_it(tmp_path):
    put(tmp_path, "a.png")
    copy = pickle.loads(pickle.dumps(open_dataset(tmp_path)))
    assert copy.names == ("a.png",)
    assert copy[0][0].size == (4, 3)


def test_files_that_are_passed_over_are_counted_and_said_once(tmp_path, caplog):
    put(tmp_path, "cat/1.png", "dog/2.png")
    for name in ("cat/3.heic", "dog/4.HEIC", "dog/thumbs.db", "dog/5", "notes.txt", ".hidden", "cat/.DS_Store"):
        (tmp_path / name).write_bytes(b"")
    dataset = open_dataset(tmp_path)
    assert dataset.names == ("cat/1.png", "dog/2.png")
    assert dict(dataset.passed_over) == {
        "cat/3.heic": "named .heic",
        "dog/4.HEIC": "named .heic",
        "dog/5": "without a suffix",
        "dog/thumbs.db": "named .db",
        "notes.txt": "named .txt",
    }
    assert [record.getMessage() for record in caplog.records] == [
        f"passed over in {tmp_path} (5 in all): 2 named .heic, 1 named .txt, 1 without a suffix, 1 named .db"
    ]
    assert dataset.subset([0]).passed_over == dataset.passed_over


def test_only_the_split_that_is_opened_counts(tmp_path):
    put(tmp_path, "train/1.png", "test/2.png")
    for name in ("train/3.heic", "test/4.heic", "notes"):
        (tmp_path / name).write_bytes(b"")
    assert [name for name, _ in open_dataset(tmp_path, split="test").passed_over] == ["notes", "test/4.heic"]
    assert len(open_dataset(tmp_path).passed_over) == 3


def test_a_folder_of_other_files_says_which(tmp_path):
    (tmp_path / "1.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds no images; looked for files named .*; passed over 1 named \.heic"):
        open_dataset(tmp_path)


LINKED = "linked to a folder that is read already"


@pytest.mark.parametrize(
    ("links", "names", "passed_over"),
    [
        # To a class, which stays the only one of its kind.
        ({"all/kitten": "all/cat"}, ("cat/1.png", "dog/2.png"), {"kitten": LINKED}),
        # In a circle, and to a folder that holds all of this.
        ({"all/cat/more": "all"}, ("cat/1.png", "dog/2.png"), {"cat/more": LINKED}),
        ({"all/above": "."}, ("cat/1.png", "dog/2.png"), {"above": LINKED}),
        # Elsewhere, at the top and inside a class; the second link to one folder is passed over.
        ({"all/emu": "store/emu"}, ("cat/1.png", "dog/2.png", "emu/3.png"), {}),
        ({"all/cat/emu": "store/emu"}, ("cat/1.png", "cat/emu/3.png", "dog/2.png"), {}),
        ({"all/b": "store/emu", "all/a": "store/emu"}, ("a/3.png", "cat/1.png", "dog/2.png"), {"b": LINKED}),
        ({"all/a": "store", "all/b": "store/emu"}, ("b/3.png", "cat/1.png", "dog/2.png"), {"a/emu": LINKED}),
        # A file may be linked from anywhere.
        ({"all/cat/4.png": "store/emu/3.png"}, ("cat/1.png", "cat/4.png", "dog/2.png"), {}),
        ({"all/cat/4.png": "all/dog/2.png"}, ("cat/1.png", "cat/4.png", "dog/2.png"), {}),
    ],
)
def test_a_link_is_followed_where_it_leads_elsewhere(tmp_path, links, names, passed_over):
    put(tmp_path, "all/cat/1.png", "all/dog/2.png", "store/emu/3.png")
    for link, place in links.items():
        (tmp_path / link).symlink_to(tmp_path / place, target_is_directory=True)
    dataset = open_dataset(tmp_path / "all")
    assert dataset.names == names
    assert dict(dataset.passed_over) == passed_over
    assert all(dataset[index][0].size == (4, 3) for index in range(len(dataset)))


def test_links_that_lead_nowhere_are_images_that_cannot_be_read_or_no_images(tmp_path):
    put(tmp_path, "cat/1.png")
    (tmp_path / "cat/2.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "cat/3.png").symlink_to(tmp_path / "cat/3.png")
    (tmp_path / "dog").symlink_to(tmp_path / "gone")
    dataset = open_dataset(tmp_path)
    assert dataset.names == ("cat/1.png", "cat/2.png", "cat/3.png")
    assert dict(dataset.passed_over) == {"dog": "without a suffix"}
    for index in (1, 2):
        with pytest.raises((ImageError, OSError), match=dataset.names[index]):
            dataset[index]
    assert open_dataset(tmp_path, on_error="skip").names == ("cat/1.png",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "1.png")
    with pytest.raises(ImageError, match=r"1\.png is a pipe or a device, not a file"):
        open_dataset(tmp_path)[0]
