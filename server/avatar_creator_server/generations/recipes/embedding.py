"""The recipe in the file of a generated picture, as PNG text and as XMP.

It is for people who have only the file, with tools like exiftool, Adobe's applications, readers of IPTC
metadata, and Stable Diffusion web UI, which reads `parameters`. The file contains no time, so the same
picture and recipe give the same bytes. It contains no user, project or avatar.

Sources:

- chunks and keywords: W3C PNG third edition, 11.3.3
- the XMP packet and its place: Adobe XMP Specification, part 1 (ISO 16684-1) and part 3, "PNG"
- `Iptc4xmpExt`: IPTC Photo Metadata Standard 2025.1, with the NewsCodes vocabulary Digital Source Type
- `parameters`: `create_infotext` and `parse_generation_parameters` of AUTOMATIC1111/stable-diffusion-webui
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from avatar_creator_server.generations.recipes.recipe import Recipe
from avatar_creator_server.images.picture import Picture
from avatar_creator_server.images.processing import encode_png
from avatar_creator_server.model_table import Guidance, find_model

RECIPE_NAMESPACE = "urn:uuid:ac495a74-680f-4f78-b193-00885e545934#"
"""Namespace of the XMP property `recipe`, which is a `Recipe` as JSON. It must never change."""

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xml": "http://www.w3.org/XML/1998/namespace",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "avatarcreator": RECIPE_NAMESPACE,
}
for _prefix, _namespace in _NAMESPACES.items():
    ElementTree.register_namespace(_prefix, _namespace)

_PACKET_START = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_PACKET_END = '\n<?xpacket end="r"?>'
"""End of a read-only packet: an edit in place would break the checksum of the PNG chunk."""

_NOT_TEXT = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters and surrogates: XML 1.0 cannot contain most of them, and PNG discourages the others."""

_PRINTABLE_LATIN_1 = re.compile("[\n\x20-\x7e\xa1-\xff]*")

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def png_with_recipe(image: Image.Image, recipe: Recipe, *, omit_recipe: bool = False) -> Picture:
    """Encode a generated picture as a PNG with its recipe.

    The file has the texts `Description` (a sentence), `Software` and `parameters`, and an XMP packet. The
    packet has the kind of source, the prompt, the model and, in `RECIPE_NAMESPACE`, the recipe without the
    reference avatars, the classifier and the paths of folders.

    Args:
        image: The picture.
        recipe: Its recipe.
        omit_recipe: True if the file must only have an XMP packet with the kind of source. The picture stays
            marked as made by AI, which licenses of models and laws demand.
    """
    texts = PngInfo()
    if omit_recipe:
        texts.add_itxt("XML:com.adobe.xmp", _xmp_packet([_source_property(recipe)]))
        return encode_png(image, texts)
    texts.add_itxt("XML:com.adobe.xmp", _xmp_packet(_properties(recipe), prompt=recipe.provider_prompt))
    for keyword, value in (
        ("Description", _description(recipe)),
        ("Software", recipe.software),
        ("parameters", _parameters(recipe)),
    ):
        _add_text(texts, keyword, _text(value))
    return encode_png(image, texts)


def _add_text(texts: PngInfo, keyword: str, text: str) -> None:
    # Older readers know only tEXt, which is Latin-1.
    if _PRINTABLE_LATIN_1.fullmatch(text):
        texts.add_text(keyword, text)
    else:
        texts.add_itxt(keyword, text)


def _by_program(recipe: Recipe) -> bool:
    """Return whether a program drew the picture without a trained model."""
    return recipe.provider == "sketch"


def _from_picture(recipe: Recipe) -> bool:
    return bool(recipe.reference_sha256s)


def _digital_source_type(recipe: Recipe) -> str:
    """Return the concept of IPTC's vocabulary.

    With a trained model: `trainedAlgorithmicMedia` ("Created using Generative AI"), or from a reference
    `compositeWithTrainedAlgorithmicMedia` ("Edited using Generative AI"). Without: `algorithmicMedia`
    ("created purely by an algorithm not based on any sampled training data"), or from a reference
    `algorithmicallyEnhanced` ("Modification or correction by algorithm without changing the main content").
    """
    match _by_program(recipe), _from_picture(recipe):
        case False, False:
            concept = "trainedAlgorithmicMedia"
        case False, True:
            concept = "compositeWithTrainedAlgorithmicMedia"
        case True, False:
            concept = "algorithmicMedia"
        case _:
            concept = "algorithmicallyEnhanced"
    return f"http://cv.iptc.org/newscodes/digitalsourcetype/{concept}"


def _description(recipe: Recipe) -> str:
    """Return one sentence, without the prompt."""
    match len(recipe.reference_sha256s):
        case 0:
            source = ""
        case 1:
            source = " from another picture"
        case number:
            source = f" from {number} other pictures"
    if _by_program(recipe):
        return f"Portrait drawn{source} by a program, without a trained model."
    return f"Portrait generated{source} with the AI model {_system(recipe)}."


def _system(recipe: Recipe) -> str:
    model = _public(recipe.model) or recipe.provider
    return f"{model} and the LoRA {_public(recipe.lora)}" if recipe.lora else model


def _parameters(recipe: Recipe) -> str:
    """Return the prompt, the negative prompt and a line of settings in the format of web UIs."""
    prompt = recipe.provider_prompt
    if recipe.lora:
        # The format in which web UIs name a LoRA in a prompt. This code does not know the LoRA's hash.
        name = re.sub("[:<>]", "", _lora_name(recipe))
        prompt = f"{prompt} <lora:{name}:{recipe.lora_scale:g}>".strip()
    negative = f"Negative prompt: {recipe.negative_prompt}" if recipe.negative_prompt else ""
    settings = ", ".join(f"{name}: {_quoted(value)}" for name, value in _settings(recipe))
    return "\n".join(line for line in (prompt, negative, settings) if line)


def _settings(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if recipe.steps:
        yield "Steps", str(recipe.steps)
    if recipe.guidance_scale:
        model = find_model(recipe.model)
        if model is not None and model.guidance is not Guidance.CLASSIFIER_FREE:
            # The name in Forge. The other kind of guidance is off, unless a negative prompt needs it.
            if not recipe.negative_prompt:
                yield "CFG scale", "1"
            yield "Distilled CFG Scale", f"{recipe.guidance_scale:g}"
        else:
            yield "CFG scale", f"{recipe.guidance_scale:g}"
    yield "Seed", str(recipe.seed)
    yield "Size", f"{recipe.width}x{recipe.height}"
    if recipe.model:
        yield "Model", _public(recipe.model)
    if recipe.reference_strength:
        yield "Denoising strength", f"{recipe.reference_strength:g}"
    yield "Version", recipe.software


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search("[,:\n]", value) else value


def _lora_name(recipe: Recipe) -> str:
    file = re.split(r"[/\\]", recipe.lora_weight_file)[-1].removesuffix(".safetensors")
    return file or _public(recipe.lora).split("/")[-1]


def _public(repository: str) -> str:
    """Return the id of a model on the hub, or only the last part of a folder: its path may name a person."""
    if _HUB_ID.fullmatch(repository):
        return repository
    return re.split(r"[/\\]", repository.rstrip("/\\"))[-1]


def _xmp_packet(properties: Iterable[tuple[str, str]], prompt: str | None = None) -> str:
    packet = ElementTree.Element(_name("x:xmpmeta"))
    graph = ElementTree.SubElement(packet, _name("rdf:RDF"))
    about = ElementTree.SubElement(graph, _name("rdf:Description"), {_name("rdf:about"): ""})
    for name, value in properties:
        ElementTree.SubElement(about, _name(name)).text = _text(value)
    if prompt is not None:
        languages = ElementTree.SubElement(
            ElementTree.SubElement(about, _name("dc:description")), _name("rdf:Alt")
        )
        default = ElementTree.SubElement(languages, _name("rdf:li"), {_name("xml:lang"): "x-default"})
        default.text = _text(prompt)
    ElementTree.indent(packet)
    return _PACKET_START + ElementTree.tostring(packet, encoding="unicode") + _PACKET_END


def _source_property(recipe: Recipe) -> tuple[str, str]:
    return "Iptc4xmpExt:DigitalSourceType", _digital_source_type(recipe)


def _properties(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield "xmp:CreatorTool", recipe.software
    yield _source_property(recipe)
    if not _by_program(recipe):
        yield "Iptc4xmpExt:AISystemUsed", _system(recipe)
        if recipe.model_revision:
            yield "Iptc4xmpExt:AISystemVersionUsed", recipe.model_revision
        negative = f"\nNegative prompt: {recipe.negative_prompt}" if recipe.negative_prompt else ""
        yield "Iptc4xmpExt:AIPromptInformation", recipe.provider_prompt + negative
    yield "avatarcreator:recipe", _public_json(recipe)


def _public_json(recipe: Recipe) -> str:
    """Return the recipe without information about the service's users and machines."""
    public = recipe.to_json()
    del public["reference_avatar_id"], public["reference_avatar_ids"], public["picture_classifier"]
    public.update(model=_public(recipe.model), lora=_public(recipe.lora))
    # As ASCII, so that characters that XML cannot contain are kept as escapes.
    return json.dumps(public)


def _text(value: str) -> str:
    return _NOT_TEXT.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))


def _name(qualified: str) -> str:
    prefix, _, local = qualified.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"
