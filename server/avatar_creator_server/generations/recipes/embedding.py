"""What a generated picture's file says of how it was made: its recipe as PNG text and as XMP.

Written for those who have only the file, and for the tools they have: exiftool, Adobe's, those that read
IPTC metadata or the `parameters` of Stable Diffusion web UI. The same picture and recipe give the same bytes,
so no time is written. Nothing says whose picture it is: no user, project or avatar.

Sources:

- chunks and keywords: W3C PNG third edition, 11.3.3
- the XMP packet and its place: Adobe XMP Specification, part 1 (ISO 16684-1) and part 3, "PNG"
- `Iptc4xmpExt`: IPTC Photo Metadata Standard 2025.1, with the NewsCodes vocabulary Digital Source Type
- `parameters`: `create_infotext` and `parse_generation_parameters` of AUTOMATIC1111/stable-diffusion-webui
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from avatar_creator_server.generations.recipes.recipe import Recipe
from avatar_creator_server.generations.routes import GUIDANCE_DISTILLED
from avatar_creator_server.images.processing import Picture, encode_png

RECIPE_NAMESPACE = "urn:uuid:ac495a74-680f-4f78-b193-00885e545934#"
"""Of the XMP property `recipe`: the recipe as JSON, its fields named as in `Recipe`. Never to be changed."""

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
"""Read-only, because a PNG chunk has a checksum."""

_NOT_TEXT = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters and half characters: XML 1.0 cannot say most of them, and PNG discourages the others."""

_PRINTABLE_LATIN_1 = re.compile("[\n\x20-\x7e\xa1-\xff]*")

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def png_with_recipe(image: Image.Image, recipe: Recipe | None) -> Picture:
    """A PNG of a generated picture that says how it was made; without a recipe, one that says nothing.

    It has the texts `Description` (a sentence), `Software` and `parameters`, and an XMP packet with the kind
    of source, the prompt, the model and, in `RECIPE_NAMESPACE`, the whole recipe but for the avatar it
    started from and the paths of folders.
    """
    if recipe is None:
        return encode_png(image)
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", _xmp_packet(recipe))
    for keyword, value in (
        ("Description", _description(recipe)),
        ("Software", recipe.software),
        ("parameters", _parameters(recipe)),
    ):
        _add_text(texts, keyword, _text(value))
    return encode_png(image, texts)


def _add_text(texts: PngInfo, keyword: str, text: str) -> None:
    # Older readers know tEXt alone, which is Latin-1.
    if _PRINTABLE_LATIN_1.fullmatch(text):
        texts.add_text(keyword, text)
    else:
        texts.add_itxt(keyword, text)


def _by_program(recipe: Recipe) -> bool:
    """Whether it was drawn without a trained model."""
    return recipe.provider == "sketch"


def _from_picture(recipe: Recipe) -> bool:
    return bool(recipe.reference_avatar_id or recipe.reference_sha256)


def _digital_source_type(recipe: Recipe) -> str:
    """The concept of IPTC's vocabulary.

    With a model: `trainedAlgorithmicMedia`, "Created using Generative AI", or from a reference
    `compositeWithTrainedAlgorithmicMedia`, "Edited using Generative AI". Without: `algorithmicMedia`,
    "created purely by an algorithm not based on any sampled training data", or from a reference
    `algorithmicallyEnhanced`, "Modification or correction by algorithm without changing the main content".
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
    """One sentence, without the prompt."""
    source = " from another picture" if _from_picture(recipe) else ""
    if _by_program(recipe):
        return f"Portrait drawn{source} by a program, without a trained model."
    return f"Portrait generated{source} with the AI model {_system(recipe)}."


def _system(recipe: Recipe) -> str:
    model = _public(recipe.model) or recipe.provider
    return f"{model} and the LoRA {_public(recipe.lora)}" if recipe.lora else model


def _parameters(recipe: Recipe) -> str:
    """Prompt, negative prompt and a line of settings, as web UIs write them and read them back."""
    prompt = recipe.provider_prompt
    if recipe.lora:
        # How such a prompt names a LoRA. Its hash, which they may give too, is not known here.
        name = re.sub("[:<>]", "", _lora_name(recipe))
        prompt = f"{prompt} <lora:{name}:{recipe.lora_scale:g}>".strip()
    negative = f"Negative prompt: {recipe.negative_prompt}" if recipe.negative_prompt else ""
    settings = ", ".join(f"{name}: {_quoted(value)}" for name, value in _settings(recipe))
    return "\n".join(line for line in (prompt, negative, settings) if line)


def _settings(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if recipe.steps:
        yield "Steps", str(recipe.steps)
    if recipe.guidance_scale:
        if recipe.model.endswith(GUIDANCE_DISTILLED):
            # What Forge calls it. The other kind of guidance is off, unless a negative prompt needs it.
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
    """The id of a model on the hub; of a folder only its own name, for its path may name a person."""
    if _HUB_ID.fullmatch(repository):
        return repository
    return re.split(r"[/\\]", repository.rstrip("/\\"))[-1]


def _xmp_packet(recipe: Recipe) -> str:
    packet = ElementTree.Element(_name("x:xmpmeta"))
    graph = ElementTree.SubElement(packet, _name("rdf:RDF"))
    about = ElementTree.SubElement(graph, _name("rdf:Description"), {_name("rdf:about"): ""})
    for name, value in _properties(recipe):
        ElementTree.SubElement(about, _name(name)).text = _text(value)
    languages = ElementTree.SubElement(
        ElementTree.SubElement(about, _name("dc:description")), _name("rdf:Alt")
    )
    default = ElementTree.SubElement(languages, _name("rdf:li"), {_name("xml:lang"): "x-default"})
    default.text = _text(recipe.provider_prompt)
    ElementTree.indent(packet)
    return _PACKET_START + ElementTree.tostring(packet, encoding="unicode") + _PACKET_END


def _properties(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield "xmp:CreatorTool", recipe.software
    yield "Iptc4xmpExt:DigitalSourceType", _digital_source_type(recipe)
    if not _by_program(recipe):
        yield "Iptc4xmpExt:AISystemUsed", _system(recipe)
        if recipe.model_revision:
            yield "Iptc4xmpExt:AISystemVersionUsed", recipe.model_revision
        negative = f"\nNegative prompt: {recipe.negative_prompt}" if recipe.negative_prompt else ""
        yield "Iptc4xmpExt:AIPromptInformation", recipe.provider_prompt + negative
    yield "avatarcreator:recipe", _public_json(recipe)


def _public_json(recipe: Recipe) -> str:
    """The recipe without what tells of the service's users or machines."""
    told = recipe.to_json()
    del told["reference_avatar_id"]
    told.update(model=_public(recipe.model), lora=_public(recipe.lora))
    # In ASCII even a character that XML cannot say comes through.
    return json.dumps(told)


def _text(value: str) -> str:
    return _NOT_TEXT.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))


def _name(qualified: str) -> str:
    prefix, _, local = qualified.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"
