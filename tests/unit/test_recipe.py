"""Recipes: as JSON, in the comparison of pictures, and in the file of the picture."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageEnhance, PngImagePlugin

from avatar_creator_server.generations.recipes.comparison import color_difference, pixels_sha256
from avatar_creator_server.generations.recipes.embedding import RECIPE_NAMESPACE, png_with_recipe
from avatar_creator_server.generations.recipes.recipe import Recipe, this_software
from avatar_creator_server.images.picture import Picture
from avatar_creator_server.images.processing import accept_upload, encode_png, make_thumbnail
from tests import pictures

PROMPT = 'Zoë & "Łukasz" <b>]]>, 中文 🙂'

FLUX = Recipe(
    provider="diffusers",
    route="local",
    model="black-forest-labs/FLUX.1-dev",
    model_revision="0ef5fff789c832c5c7f4e127f94c8b54bbcced44",
    lora="someone/face-realism",
    lora_weight_file="weights/Face.v1.safetensors",
    lora_revision="main",
    lora_scale=0.85,
    seed=2**32 - 1,
    width=1024,
    height=768,
    steps=28,
    guidance_scale=3.5,
    enhanced_prompt=PROMPT,
    provider_prompt=f"Face Realism, {PROMPT}",
    provider_facts={"device": "H100"},
    pixels_sha256="5" * 64,
    software="avatar-creator 1.2.3",
)
SKETCH = Recipe(
    provider="sketch",
    route="local",
    model="",
    seed=7,
    width=256,
    height=320,
    enhanced_prompt="a friendly face",
    provider_prompt="a friendly face",
    pixels_sha256="7" * 64,
    software="avatar-creator 1.2.3",
)


def from_reference(recipe: Recipe) -> Recipe:
    """Return the recipe with a reference."""
    return replace(
        recipe,
        reference_avatar_ids=("01a204c5-f0a0-7420-b0e8-3a0825fedfed",),
        reference_sha256s=("ab" * 32,),
        reference_strength=0.6,
    )


def from_references(recipe: Recipe) -> Recipe:
    """Return the recipe with three references."""
    return replace(
        recipe,
        reference_avatar_ids=tuple(f"01a204c5-f0a0-7420-b0e8-{number:012}" for number in range(3)),
        reference_sha256s=("ab" * 32, "cd" * 32, "ef" * 32),
    )


def opened(picture: Picture) -> PngImagePlugin.PngImageFile:
    image = Image.open(BytesIO(picture.data))
    assert isinstance(image, PngImagePlugin.PngImageFile)
    image.load()
    return image


def texts(recipe: Recipe) -> dict[str, Any]:
    """Return the PNG texts of a picture with this recipe, as Pillow reads them."""
    return dict(opened(png_with_recipe(pictures.scene(), recipe)).text)


def xmp(recipe: Recipe) -> dict[str, Any]:
    """Return the XMP properties of a picture with this recipe, as Pillow reads them."""
    found: dict[str, Any] = opened(png_with_recipe(pictures.scene(), recipe)).getxmp()
    properties: dict[str, Any] = found["xmpmeta"]["RDF"]["Description"]
    return properties


def settings(recipe: Recipe) -> str:
    """Return the last line of `parameters`."""
    return str(texts(recipe)["parameters"]).split("\n")[-1]


# JSON


@pytest.mark.parametrize("recipe", [FLUX, SKETCH, from_reference(SKETCH), from_references(FLUX)])
def test_a_recipe_is_the_same_after_a_round_trip_through_json(recipe: Recipe) -> None:
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_fields_of_a_later_version_are_ignored() -> None:
    assert Recipe.from_json({**SKETCH.to_json(), "sampler": "euler"}) == SKETCH


def test_a_recipe_of_an_earlier_version_has_one_reference() -> None:
    recipe = from_reference(FLUX)
    stored = recipe.to_json()
    del stored["reference_avatar_ids"], stored["reference_sha256s"]
    assert Recipe.from_json(stored) == recipe


def test_an_earlier_version_finds_the_first_of_several_references() -> None:
    recipe = from_references(FLUX)
    stored = recipe.to_json()
    assert stored["reference_avatar_id"] == recipe.reference_avatar_ids[0]
    assert stored["reference_sha256"] == recipe.reference_sha256s[0]
    assert (SKETCH.to_json()["reference_avatar_id"], SKETCH.to_json()["reference_sha256"]) == ("", "")


def test_a_recipe_of_a_version_without_speeds_was_made_at_the_exact_one() -> None:
    stored = FLUX.to_json()
    del stored["speed"]
    assert Recipe.from_json(stored).speed == "exact"


def test_the_software_has_a_name_and_a_version() -> None:
    name, version = this_software().split(" ")
    assert name == "avatar-creator"
    assert version[0].isdigit()


# Hash of the pixels


def test_the_hash_is_that_of_the_documented_bytes() -> None:
    image = Image.new("RGB", (2, 3))
    image.putpixel((1, 0), (1, 2, 3))
    image.putpixel((0, 2), (255, 254, 253))
    documented = bytes.fromhex("00000002 00000003 000000 010203 000000 000000 fffefd 000000")
    assert pixels_sha256(image) == hashlib.sha256(documented).hexdigest()


def test_the_hash_does_not_depend_on_the_file() -> None:
    image = pictures.scene()
    assert pixels_sha256(opened(png_with_recipe(image, FLUX))) == pixels_sha256(image)
    assert pixels_sha256(image.convert("RGBA")) == pixels_sha256(image)


def test_another_pixel_or_another_shape_gives_another_hash() -> None:
    image = Image.new("RGB", (4, 2))
    changed = image.copy()
    changed.putpixel((3, 1), (0, 0, 1))
    hashes = {pixels_sha256(other) for other in (image, changed, Image.new("RGB", (2, 4)))}
    assert len(hashes) == 3


# Color difference


def test_the_same_picture_has_no_difference_and_black_is_100_from_white() -> None:
    assert color_difference(pictures.scene(), pictures.scene()) == 0
    assert color_difference(*(Image.new("RGB", (9, 7), name) for name in ("black", "white"))) == 100


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [  # From the L*a*b* of sRGB's primaries, adapted to D50:
        # red 54.3 80.8 69.9, green 87.8 -79.3 81.0, blue 29.6 68.3 -112.0.
        ("red", "lime", 163.9),
        ("lime", "blue", 249.8),
        ("blue", "red", 184.0),
    ],
)
def test_plain_colors_have_the_difference_of_cie_1976(one: str, other: str, expected: float) -> None:
    pair = (Image.new("RGB", (64, 64), one), Image.new("RGB", (64, 64), other))
    assert color_difference(*pair) == pytest.approx(expected, abs=1)
    assert color_difference(*pair) == color_difference(*reversed(pair))


def test_the_difference_does_not_depend_on_the_size() -> None:
    large, small = (pictures.scene(side, side) for side in (512, 128))
    darker = ImageEnhance.Brightness(large).enhance(0.8)
    assert color_difference(large, small) < 1
    assert color_difference(darker, small) == pytest.approx(color_difference(darker, large), abs=1)


def test_a_larger_change_gives_a_larger_difference() -> None:
    image = pictures.scene(128, 128)
    differences = [
        color_difference(image, ImageEnhance.Brightness(image).enhance(share)) for share in (0.99, 0.9, 0.5)
    ]
    assert 0 < differences[0] < 2.3 < differences[1] < differences[2]


# Contents of the file


@pytest.mark.parametrize(
    ("recipe", "concept"),
    [
        (FLUX, "trainedAlgorithmicMedia"),
        (from_reference(FLUX), "compositeWithTrainedAlgorithmicMedia"),
        (SKETCH, "algorithmicMedia"),
    ],
)
def test_without_a_recipe_the_file_keeps_the_mark_of_its_source_and_nothing_else(
    recipe: Recipe, concept: str
) -> None:
    picture = png_with_recipe(pictures.scene(), recipe, omit_recipe=True)
    file = opened(picture)
    assert list(file.text) == ["XML:com.adobe.xmp"]
    properties = file.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert properties == {
        "about": "",
        "DigitalSourceType": f"http://cv.iptc.org/newscodes/digitalsourcetype/{concept}",
    }
    assert ImageChops.difference(file, pictures.scene()).getbbox() is None


def test_the_classifier_is_in_the_recipe_and_not_in_the_file() -> None:
    recipe = replace(FLUX, picture_classifier="moderation.internal", picture_score=0.75, blurred=True)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    public = json.loads(xmp(recipe)["recipe"])
    assert (public["picture_score"], public["blurred"]) == (0.75, True)
    assert b"moderation.internal" not in png_with_recipe(pictures.scene(), recipe).data


@pytest.mark.parametrize("recipe", [FLUX, SKETCH])
def test_the_pixels_are_the_same_with_a_recipe(recipe: Recipe) -> None:
    image = pictures.scene()
    picture = png_with_recipe(image, recipe)
    assert ImageChops.difference(opened(picture), image).getbbox() is None
    assert (picture.content_type, picture.width, picture.height) == ("image/png", *image.size)
    assert picture.sha256 == hashlib.sha256(picture.data).hexdigest()


def test_the_same_picture_and_recipe_give_the_same_bytes() -> None:
    assert png_with_recipe(pictures.scene(), FLUX) == png_with_recipe(pictures.scene(), FLUX)


def test_the_texts_are_those_of_the_png_specification_and_of_web_uis() -> None:
    assert set(texts(FLUX)) == {"Description", "Software", "parameters", "XML:com.adobe.xmp"}
    assert texts(FLUX)["Software"] == "avatar-creator 1.2.3"
    assert texts(FLUX)["Description"] == (
        "Portrait generated with the AI model black-forest-labs/FLUX.1-dev and the LoRA someone/face-realism."
    )
    assert texts(SKETCH)["Description"] == "Portrait drawn by a program, without a trained model."
    assert texts(from_reference(SKETCH))["Description"] == (
        "Portrait drawn from another picture by a program, without a trained model."
    )
    assert texts(from_references(replace(FLUX, lora="")))["Description"] == (
        "Portrait generated from 3 other pictures with the AI model black-forest-labs/FLUX.1-dev."
    )


def test_parameters_have_the_prompt_the_negative_prompt_and_the_settings() -> None:
    recipe = from_reference(replace(FLUX, model="stabilityai/sdxl", negative_prompt="blurry"))
    assert str(texts(recipe)["parameters"]) == (
        f"Face Realism, {PROMPT} <lora:Face.v1:0.85>\n"
        "Negative prompt: blurry\n"
        "Steps: 28, CFG scale: 3.5, Seed: 4294967295, Size: 1024x768, Model: stabilityai/sdxl, "
        "Denoising strength: 0.6, Version: avatar-creator 1.2.3"
    )


def test_distilled_guidance_is_not_called_cfg_scale() -> None:
    assert "CFG scale: 1, Distilled CFG Scale: 3.5," in settings(FLUX)
    with_negative = settings(replace(FLUX, negative_prompt="blurry"))
    assert "Distilled CFG Scale: 3.5," in with_negative
    assert "CFG scale:" not in with_negative


def test_settings_without_a_value_are_left_out() -> None:
    assert texts(SKETCH)["parameters"] == (
        "a friendly face\nSeed: 7, Size: 256x320, Version: avatar-creator 1.2.3"
    )


def test_a_setting_with_a_comma_is_quoted() -> None:
    assert 'Model: "one, two",' in settings(replace(FLUX, model="one, two"))


def test_latin_text_is_in_the_chunk_for_older_readers() -> None:
    latin = png_with_recipe(pictures.scene(), replace(SKETCH, provider_prompt="Zoë")).data
    greek = png_with_recipe(pictures.scene(), replace(SKETCH, provider_prompt="Ζωή")).data
    assert b"tEXtparameters\0Zo\xeb\n" in latin
    assert b"iTXtparameters\0\0\0\0\0" + "Ζωή\n".encode() in greek


def test_xmp_is_one_uncompressed_read_only_packet_before_the_pixels() -> None:
    data = png_with_recipe(pictures.scene(), FLUX).data
    start = b'iTXtXML:com.adobe.xmp\0\0\0\0\0<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    assert data.count(b"XML:com.adobe.xmp") == 1
    assert data.index(start) < data.index(b'<?xpacket end="r"?>') < data.index(b"IDAT")


def test_xmp_has_the_model_its_version_and_the_prompt() -> None:
    found = xmp(replace(FLUX, negative_prompt="blurry"))
    assert found["CreatorTool"] == "avatar-creator 1.2.3"
    assert found["AISystemUsed"] == "black-forest-labs/FLUX.1-dev and the LoRA someone/face-realism"
    assert found["AISystemVersionUsed"] == FLUX.model_revision
    assert found["AIPromptInformation"] == f"Face Realism, {PROMPT}\nNegative prompt: blurry"
    assert found["description"]["Alt"]["li"] == {"lang": "x-default", "text": f"Face Realism, {PROMPT}"}


def test_xmp_of_a_drawing_names_no_ai_system() -> None:
    assert set(xmp(SKETCH)) == {"about", "CreatorTool", "DigitalSourceType", "description", "recipe"}


@pytest.mark.parametrize(
    ("recipe", "concept"),
    [
        (FLUX, "trainedAlgorithmicMedia"),
        (from_reference(FLUX), "compositeWithTrainedAlgorithmicMedia"),
        (from_references(FLUX), "compositeWithTrainedAlgorithmicMedia"),
        (replace(FLUX, model=""), "trainedAlgorithmicMedia"),
        (SKETCH, "algorithmicMedia"),
        (from_reference(SKETCH), "algorithmicallyEnhanced"),
    ],
)
def test_xmp_has_the_kind_of_source_in_the_vocabulary_of_iptc(recipe: Recipe, concept: str) -> None:
    assert xmp(recipe)["DigitalSourceType"] == f"http://cv.iptc.org/newscodes/digitalsourcetype/{concept}"


def test_xmp_properties_are_in_the_namespaces_of_their_standards() -> None:
    found = opened(png_with_recipe(pictures.scene(), FLUX)).info["xmp"]
    for prefix, namespace in {
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "dc": "http://purl.org/dc/elements/1.1/",
        "avatarcreator": RECIPE_NAMESPACE,
    }.items():
        assert f'xmlns:{prefix}="{namespace}"'.encode() in found
        assert f"<{prefix}:".encode() in found


@pytest.mark.parametrize("recipe", [from_reference(FLUX), from_references(FLUX)])
def test_xmp_has_the_recipe_without_the_reference_avatars(recipe: Recipe) -> None:
    public = json.loads(xmp(recipe)["recipe"])
    assert Recipe.from_json(public) == replace(recipe, reference_avatar_ids=())
    data = png_with_recipe(pictures.scene(), recipe).data
    assert not [avatar_id for avatar_id in recipe.reference_avatar_ids if avatar_id.encode() in data]


@pytest.mark.parametrize("folder", ["/home/sarah/models/mine", "~/models/mine/", r"C:\Users\sarah\mine"])
def test_only_the_last_part_of_a_folder_is_shown(folder: str) -> None:
    recipe = replace(FLUX, model=folder, lora=folder, lora_weight_file="")
    data = png_with_recipe(pictures.scene(), recipe).data
    assert b"sarah" not in data
    assert b"models" not in data
    assert xmp(recipe)["AISystemUsed"] == "mine and the LoRA mine"
    assert "<lora:mine:0.85>" in texts(recipe)["parameters"]


def test_characters_that_xml_or_png_cannot_contain_are_only_in_the_recipe() -> None:
    every = "".join(map(chr, range(0xA0))) + "\ud800\ufffe\uffff"
    recipe = replace(FLUX, provider_prompt=f"<{every}>", negative_prompt=f"]]>{every}", lora="")
    kept = "".join(map(chr, [9, 10, 10, *range(0x20, 0x7F)]))
    assert xmp(recipe)["description"]["Alt"]["li"]["text"] == f"<{kept}>"
    assert json.loads(xmp(recipe)["recipe"])["negative_prompt"] == recipe.negative_prompt
    assert texts(recipe)["parameters"].startswith(f"<{kept}>\nNegative prompt: ]]>{kept}\n")


def test_a_thumbnail_and_an_upload_of_such_a_picture_have_no_recipe() -> None:
    picture = png_with_recipe(pictures.scene(), FLUX)
    uploaded = accept_upload(picture.data)
    assert uploaded == encode_png(pictures.scene())
    for data in (make_thumbnail(picture.data).data, uploaded.data):
        for trace in (b"avatar-creator", b"FLUX", b"xpacket", b"XMP", b"Realism"):
            assert trace not in data
