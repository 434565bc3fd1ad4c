"""Images leave a store: for the quota, by takedown, and into the hands of others; and how they are drawn again."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from explorer_store import drawn, encoded, offer, url_of
from PIL import Image
from vl_core.data import open_image_column
from vl_explorer.store.claims import Claim
from vl_explorer.store.images import Outcome
from vl_explorer.store.replay import draw, replay
from vl_explorer.store.rights.export import export
from vl_explorer.store.rights.forget import forget
from vl_explorer.store.rows import Result
from vl_explorer.store.store import Store


def test_the_quota_evicts_low_rewards_first_and_keeps_what_is_known(tmp_path):
    size = len(encoded(drawn(0)))
    with Store(tmp_path, quota=int(4.5 * size)) as store:
        run = store.add_run("run")
        digests = [offer(store, number).sha256 for number in range(4)]
        other = store.add_run("other")
        store.set_rewards(run.id, 0, dict(zip(digests, (0.5, 0.1, 0.1, 0.2), strict=True)))
        store.set_rewards(other.id, 0, {digests[1]: 0.9})  # of use to another run
        newest = offer(store, 4).sha256
        gone = [image.sha256 for image in store.images() if not image.stored]
        assert gone[0] == digests[2]
        assert set(gone) <= {digests[2], digests[3]}
        assert store.bytes_on_disk() <= 0.9 * store.quota
        assert store.faults() == []
        assert store.path(newest).exists()
        assert store.sources(digests[2])[0].url == url_of(2)
        assert store.claim(url_of(2)) is Claim.STORED  # not downloaded again
        assert offer(store, 9, drawn(2)).outcome is Outcome.KNOWN
        assert digests[2] not in store.best_images(run.id, 9)
        with pytest.raises(FileNotFoundError, match="evicted to keep the quota"):
            store.path(digests[2])
    with Store(tmp_path) as again:
        assert again.recovered == (0, 0)


@pytest.mark.parametrize("by", ["url", "page", "sha256", "hash"])
def test_what_is_forgotten_goes_and_never_comes_back(store, by):
    run = store.add_run("run")
    store.add_iteration(run.id, 0)
    query = store.add_query(run.id, 0, 0, "heron")
    results = [Result(0, url_of(1), "https://images.example/page"), Result(1, url_of(2))]
    store.add_results(query.id, results)
    digest = offer(store, 1, page_url="https://images.example/page").sha256
    offer(store, 5, drawn(1))  # the same content from elsewhere
    kept = offer(store, 2).sha256
    store.set_rewards(run.id, 0, {digest: 1.0, kept: 0.5})
    path, (image, _) = store.path(digest), store.images()
    version = drawn(1).resize((120, 120))
    forms = {"url": url_of(1), "page": "https://images.example/page", "sha256": digest, "hash": image.hash.upper()}
    gone = forget(store, forms[by])
    assert (gone.images, gone.results) == (1, 1)
    assert not path.exists()
    assert [found.sha256 for found in store.images()] == [kept]
    assert store.rewards(run.id) == {kept: 0.5}
    assert [result.url for result in store.results(query.id)] == [url_of(2)]
    # Not under its URLs, its content, as a version of it, or as a result.
    assert [store.claim(url_of(number)) for number in (1, 5)] == [Claim.BLOCKED, Claim.BLOCKED]
    assert offer(store, 7, drawn(1)).outcome is Outcome.BLOCKED
    assert offer(store, 8, version).outcome is Outcome.BLOCKED
    assert offer(store, 1, drawn(6)).outcome is Outcome.BLOCKED  # and nothing is said of this URL
    assert [failure.reason for failure in store.failures()] == ["blocked", "blocked"]
    assert store.add_results(query.id, results) == 1
    assert forget(store, forms[by]).images == 0
    assert store.faults() == []


def test_nothing_of_what_is_forgotten_is_left_in_the_files(store):
    offer(store, 1, title="the very secret title")
    forget(store, url_of(1))
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert not any(text in path.read_bytes() for path in files for text in (b"very secret", url_of(1).encode()))


def test_versions_in_the_store_are_forgotten_too_and_what_is_not_there_stays_out(store):
    offer(store, 1)
    offer(store, 2, drawn(1).resize((130, 130)))
    offer(store, 3)
    assert forget(store, url_of(1)).images == 2
    assert forget(store, url_of(99)).images == 0
    assert store.claim(url_of(99)) is Claim.BLOCKED
    assert forget(store, "local:my photographs/3").urls == 1
    offer(store, 4, Image.new("RGB", (50, 50)))
    offer(store, 5, Image.new("RGB", (60, 60)))
    assert forget(store, url_of(4)).images == 1  # flat images look alike, and are not taken for versions


@pytest.fixture
def licensed(store):
    """A store of five images: two under CC BY, one for non-commercial use, one unknown, one under both."""
    licenses = ["CC BY 4.0", "CC BY 4.0", "CC BY-NC 2.0", "", ""]
    digests = [offer(store, number, license=name).sha256 for number, name in enumerate(licenses)]
    offer(store, 10, drawn(4), license="CC0 1.0", title="Other/../name")
    return store, digests


def manifest_of(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_licenses_that_are_not_allowed_are_refused_unless_told(licensed, tmp_path):
    store, digests = licensed
    with pytest.raises(ValueError, match=r"2 of 5 have others: CC-BY-NC-2\.0, unknown; name them"):
        export(store, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    done = export(store, tmp_path / "out", leave_out=True, format="folder", progress=False)
    assert (done.images, done.left_out) == (3, 2)
    free = sorted(digests[number] for number in (0, 1, 4))
    assert [row["sha256"] for row in manifest_of(tmp_path / "out")] == free
    told = [*("public-domain", "attribution"), "CC-BY-NC-2.0", "unknown"]
    assert export(store, tmp_path / "all", allow=told, progress=False).images == 5
    chosen = export(store, tmp_path / "some", images=[digests[0], digests[0]], progress=False)
    assert (chosen.images, chosen.left_out) == (1, 0)


def test_the_manifest_attributes(licensed, tmp_path):
    store, digests = licensed
    export(store, tmp_path / "out", leave_out=True, progress=False)
    rows = {row["sha256"]: row for row in manifest_of(tmp_path / "out")}
    first, both = rows[digests[0]], rows[digests[4]]
    assert {k: first[k] for k in ("license", "author", "title", "url")} == {
        "license": "CC-BY-4.0",
        "author": "Ada",
        "title": "Heron",
        "url": url_of(0),
    }
    assert (both["license"], both["title"], both["url"]) == ("CC0-1.0", "Other/../name", url_of(10))
    assert [source["license_id"] for source in both["sources"]] == ["CC0-1.0", "unknown"]
    assert first["sources"][0]["query"] == "heron"


@pytest.mark.parametrize("format", ["webdataset", "parquet", "folder"])
def test_exports_hold_the_files_and_are_the_same_again(licensed, tmp_path, format):
    store, digests = licensed
    exports = [
        export(store, tmp_path / name, format=format, leave_out=True, images_per_file=2, progress=False)
        for name in "ab"
    ]
    contents = [[path.read_bytes() for path in done.files] for done in exports]
    assert contents[0] == contents[1]
    free = sorted(digests[number] for number in (0, 1, 4))
    expected = [store.path(digest).read_bytes() for digest in free]
    files = exports[0].files
    if format == "folder":
        assert [path.relative_to(tmp_path / "a").as_posix() for path in files] == [f"{d[:2]}/{d[2:]}.png" for d in free]
        assert contents[0] == expected
        return
    assert [path.name for path in files] == [
        f"images-00000{n}.{'tar' if format == 'webdataset' else format}" for n in (0, 1)
    ]
    if format == "webdataset":
        found = {}
        for content in contents[0]:
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                found |= {member.name: tar.extractfile(member).read() for member in tar}
        assert [found[f"{digest}.png"] for digest in free] == expected
        assert json.loads(found[f"{digests[0]}.json"])["license"] == "CC-BY-4.0"
        return
    read = [open_image_column(path, ["sha256", "license"]) for path in files]
    assert [digest for part in read for digest in part.columns["sha256"]] == free
    numbers = {digest: number for number, digest in enumerate(digests)}
    for part in read:
        for position, digest in enumerate(part.columns["sha256"]):
            assert part.images[position].tobytes() == drawn(numbers[digest]).tobytes()


def test_replay_is_the_best_by_the_present_reward(store):
    run = store.add_run("run")
    digests = [offer(store, number).sha256 for number in range(6)]
    store.set_rewards(run.id, 0, {digest: number / 6 for number, digest in enumerate(digests)})

    def pool(capacity):
        return set(replay(store, run.id, capacity=capacity, count=99, seed=0, iteration=0))

    assert pool(2) == set(digests[4:])
    store.set_rewards(run.id, 1, {digests[0]: 2.0, digests[5]: -1.0})
    assert pool(2) == {digests[0], digests[4]}
    assert pool(0) == set()
    drawn_now = replay(store, run.id, capacity=4, count=2, seed=0, iteration=3)
    assert len(set(drawn_now)) == 2
    assert set(drawn_now) <= pool(4)
    assert drawn_now == replay(store, run.id, capacity=4, count=2, seed=0, iteration=3)


def test_draws_are_even_and_differ_by_seed_and_iteration():
    pool = [str(number) for number in range(20)]
    draws = [draw(pool, 5, seed=seed, iteration=iteration) for seed in range(20) for iteration in range(20)]
    assert len(set(map(tuple, draws))) == 400
    counts = [sum(key in found for found in draws) for key in pool]  # 100 each on average, with a deviation of 8.7
    assert min(counts) > 65
    assert max(counts) < 135
    assert draw(reversed(pool), 5, seed=0, iteration=0) == draws[0]
