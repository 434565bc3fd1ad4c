"""Both forms of WordNet's nouns are read alike; counts are those of version 3.0 where it is there."""

from __future__ import annotations

import gzip

import pytest
from vl_explorer.vocabulary.blocklist import is_vulgar
from vl_explorer.vocabulary.concepts import Vocabulary
from vl_explorer.vocabulary.wordnet import TABLE, find_wordnet, read_sense_order, read_synsets

HEADER = "wnid\tlemmas\thypernyms\tinstance_of\tlexname\tgloss\n"
ROWS = (
    "n00000001\tentity\t\t\tnoun.Tops\tthat which is\n"
    'n00000002\tbird|Feathered Friend\tn00000001\t\tnoun.animal\tit flies; "a bird sang"; nothing more\n'
    "n00000003\tcrane\tn00000002\t\tnoun.animal\twading bird\n"
    "n00000004\tcrane|Derrick\tn00000001|n00000002\t\tnoun.artifact\tit lifts\n"
    "n00000005\tCrane|Hart Crane\t\tn00000001\tnoun.person\tpoet\n"
    "n00000006\tslur\tn00000001\t\tnoun.communication\ta word\n"
)
DATABASE = (
    "  1 This software and database\n"
    "00000001 03 n 01 entity 0 001 ~ 00000002 n 0000 | that which is  \n"
    "00000002 05 n 02 bird 0 Feathered_Friend 0 002 @ 00000001 n 0000 ;u 00000006 n 0201 | it flies; "
    '"a bird sang"; nothing more  \n'
    "00000003 05 n 01 crane 0 001 @ 00000002 n 0000 | wading bird  \n"
    "00000004 06 n 02 crane 1 Derrick 0 002 @ 00000001 n 0000 @ 00000002 n 0000 | it lifts  \n"
    "00000005 18 n 02 Crane 0 Hart_Crane 0 001 @i 00000001 n 0000 | poet  \n"
    "00000006 10 n 01 slur 0 001 @ 00000001 n 0000 | a word  \n"
)
INDEX = "  1 This software\ncrane n 3 1 @ 3 1 00000004 00000003 00000005  \nslur n 1 1 @ 1 0 00000006  \n"


@pytest.fixture
def table(tmp_path):
    with gzip.open(tmp_path / TABLE, "wt", encoding="utf-8") as file:
        file.write(HEADER + ROWS)
    return tmp_path


@pytest.fixture
def database(tmp_path):
    folder = tmp_path / "database"
    folder.mkdir()
    (folder / "data.noun").write_text(DATABASE, encoding="utf-8")
    (folder / "index.noun").write_text(INDEX, encoding="utf-8")
    return folder


def test_both_forms_give_the_same_synsets_but_for_usages(table, database):
    first, second = read_synsets(table), read_synsets(database)
    assert [(s.wnid, s.lemmas, s.hypernym, s.definition) for s in first] == [
        (s.wnid, s.lemmas, s.hypernym, s.definition) for s in second
    ]
    assert second[1].lemmas == ("bird", "Feathered Friend")
    assert second[1].definition == "it flies"
    assert second[1].usages == ((), ("slur",))
    assert second[4].hypernym == "n00000001"
    assert read_synsets(table / TABLE) == first
    assert read_sense_order(table) == {}
    assert read_sense_order(database)["crane"] == "n00000004"


def test_concepts_are_lemmas_of_synsets_or_lemmas_in_their_most_usual_sense(table, database):
    senses = Vocabulary.wordnet(database)
    assert [concept.key for concept in senses][1:4] == [
        "n00000002:bird",
        "n00000002:Feathered Friend",
        "n00000003:crane",
    ]
    assert senses[3].hypernym == "bird"
    lemmas = Vocabulary.wordnet(database, senses=False)
    assert [concept.key for concept in lemmas] == [
        *("entity", "bird", "feathered friend", "crane", "derrick", "hart crane", "slur")
    ]
    assert lemmas[3].definition == "it lifts"
    assert Vocabulary.wordnet(table, senses=False)[3].definition == "wading bird"


def test_vulgar_concepts_are_left_out_unless_told(table):
    with gzip.open(table / TABLE, "at", encoding="utf-8") as file:
        file.write("n00000007\tcock|tool\tn00000001\t\tnoun.body\tobscene terms for penis\n")
    assert len(Vocabulary.wordnet(table)) == 9
    assert len(Vocabulary.wordnet(table, blocked=None)) == 11


def test_a_missing_or_malformed_source_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"must hold data\.noun"):
        read_synsets(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        read_synsets(tmp_path / "none")
    (tmp_path / "data.noun").write_text("00000001 03 n zz entity\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1 is no noun synset"):
        read_synsets(tmp_path)
    (tmp_path / "index.noun").write_text("crane n\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1 is no entry"):
        read_sense_order(tmp_path)
    for text, words in (("a\tb\n", "begin with the columns"), (HEADER + "n1\tcrane\n", "line 2 has 2 cells")):
        (tmp_path / "nouns.tsv").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=words):
            read_synsets(tmp_path / "nouns.tsv")
    monkeypatch.setenv("VL_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: False)
    with pytest.raises(FileNotFoundError, match="apt install wordnet-base"):
        find_wordnet()


def test_wordnet_is_found_below_the_data_folder(table, monkeypatch):
    (table / "wordnet_nouns").mkdir()
    (table / TABLE).rename(table / "wordnet_nouns" / TABLE)
    monkeypatch.setenv("VL_DATA", str(table))
    assert len(Vocabulary.wordnet()) == 9


def test_wordnet_3_has_the_known_counts():
    try:
        source = find_wordnet()
    except FileNotFoundError as error:
        pytest.skip(f"WordNet is not here: {error}")
    everything = Vocabulary.wordnet(source, blocked=None)
    assert len(everything) == 146_347
    assert len(Vocabulary.wordnet(source, senses=False, blocked=None)) == 117_798
    assert 200 < len(everything) - len(everything.without(is_vulgar)) < 300
    assert everything[everything.index_of("n02121808:house cat")].name == "house cat"
    queries = everything.queries()
    assert len({concept.name for concept in everything}) == 119_034
    assert len(set(queries)) == 143_244
