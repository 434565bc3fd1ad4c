import hashlib

from vl_core.runs import file_sha256, files_sha256


def test_digest_of_a_file_is_that_of_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()


def test_digest_of_files_covers_names_and_contents_in_any_order(tmp_path):
    (tmp_path / "sub").mkdir()
    for name, content in (("a", b"1"), ("b", b"2"), ("sub/a", b"1"), ("c", b"3")):
        (tmp_path / name).write_bytes(content)
    both = files_sha256(tmp_path, ["a", "b"])
    assert both == files_sha256(tmp_path, ["b", "a", "a"])
    assert len({both, *(files_sha256(tmp_path, [name, "b"]) for name in ("sub/a", "c", "b"))}) == 4
    (tmp_path / "b").write_bytes(b"4")
    assert files_sha256(tmp_path, ["a", "b"]) != both
