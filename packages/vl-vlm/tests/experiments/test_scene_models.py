"""The script that trains the models that ship, at toy size."""

import train_scene_models as script
from vl_vlm import DualEncoder, evaluate_scenes
from vl_vlm.models.folders import BUILT_IN


def test_both_models_are_trained_evaluated_and_saved(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        script, "evaluate_scenes", lambda model, count, **how: evaluate_scenes(model, 2, tasks=["color"], **how)
    )
    script.main(["--updates", "2", "--scenes", "24", "--out", str(tmp_path)])
    shown = capsys.readouterr().out
    for name in script.NAMES:
        assert f"{name}, held_out" in shown
        assert DualEncoder.from_pretrained(tmp_path / name / "model").loss == script.NAMES[name]
    assert set(script.NAMES) == set(BUILT_IN)
