"""Attention maps equal the softmax; attention of the class token as a grid."""

import pytest
import timm
import torch
from vl_attention import AttentionTransfer, Normalization
from vl_attention.analysis.maps import attention_maps, class_attention


def tiny(name="vit_tiny_patch16_224", seed=0, **options):
    torch.manual_seed(seed)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5}
    return timm.create_model(name, **{**size, **options})


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def by_hand(model, images, layer):
    """The map from the block's own modules."""
    x = model.norm_pre(model._pos_embed(model.patch_embed(Normalization.of(model)(images))))
    for block in model.blocks[:layer]:
        x = block(x)
    block = model.blocks[layer]
    q, k, _ = block.attn.qkv(block.norm1(x)).unflatten(-1, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return (q @ k.mT * block.attn.scale).softmax(-1)


def test_maps_are_those_of_the_models_own_projections(images):
    model = tiny().eval()
    maps = attention_maps(model, images)
    assert list(maps) == [0, 1, 2]
    for layer, found in maps.items():
        with torch.no_grad():
            torch.testing.assert_close(found, by_hand(model, images, layer))


def test_rows_and_negative_layers_choose(images):
    model = tiny()
    everything = attention_maps(model, images)
    found = attention_maps(model, images, layers=[-1], rows=slice(2, 5))
    assert list(found) == [2]
    torch.testing.assert_close(found[2], everything[2][:, :, 2:5])


def test_each_module_keeps_its_mode_and_no_hook_stays(images):
    model = tiny().train()
    model.blocks[1].eval()
    assert not attention_maps(model, images)[0].requires_grad
    assert model.training
    assert model.blocks[0].training
    assert not model.blocks[1].training
    assert not any(module._forward_hooks for module in model.modules())


def test_class_attention_is_the_class_row_in_the_images_shape():
    model = tiny(img_size=(16, 32))
    images = torch.rand(2, 3, 16, 32, generator=torch.Generator().manual_seed(1))
    found = class_attention(model, images, 1)
    assert found.shape == (2, 3, 2, 4)
    torch.testing.assert_close(found.flatten(2), attention_maps(model, images)[1][:, :, 0, 1:])


def test_without_a_class_token_it_is_the_mean_over_queries(images):
    model = tiny(class_token=False, global_pool="avg")
    torch.testing.assert_close(class_attention(model, images).flatten(2), attention_maps(model, images)[2].mean(2))


def test_models_of_transformers_are_read_too(images):
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8, num_register_tokens=2
    )
    model = transformers.Dinov2WithRegistersModel(config)
    assert class_attention(model, images).shape == (2, 2, 4, 4)
    assert attention_maps(model, images)[1].shape == (2, 2, 19, 19)


@pytest.mark.parametrize("family", ["CLIP", "SigLIP"])
@pytest.mark.parametrize("size", [(16, 64), (24, 48)])
def test_classifiers_of_vision_towers_have_their_towers_grid(make, family, size):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    teacher = make(f"transformers {family}")
    transfer = AttentionTransfer(teacher, num_classes=5, seed=1)
    assert type(transfer.student).__name__.endswith("ForImageClassification")
    for model in (teacher, transfer):
        assert class_attention(model, images).shape[-2:] == (size[0] // 8, size[1] // 8)


def test_a_grid_is_guessed_for_square_images_alone():
    model = tiny(img_size=(16, 64))
    model.patch_embed.patch_size = None
    with pytest.raises(ValueError, match=r"16 patches of images \(16, 64\) do not form a grid"):
        class_attention(model, torch.rand(1, 3, 16, 64))


def test_a_transfer_stands_for_its_student_and_goes_on_training(images):
    transfer = AttentionTransfer(tiny(), seed=1)
    torch.testing.assert_close(attention_maps(transfer, images)[0], attention_maps(transfer.student, images)[0])
    assert transfer(images).transfer_loss > 0
    with pytest.raises(ValueError, match=r"transfer\.teacher"):
        attention_maps(AttentionTransfer(tiny(), mode="copy"), images)


@pytest.mark.parametrize("layers", [[3], [-4], [], [True]])
def test_layers_that_do_not_exist_are_refused(images, layers):
    with pytest.raises(ValueError, match="layers must"):
        attention_maps(tiny(), images, layers=layers)
