"""Write the page of the models from their table: `python -m docs.site.models [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from avatar_creator_server.model_table import (
    COMMERCIAL_MODEL,
    FAL,
    MODELS,
    App,
    Guidance,
    Hosted,
    Model,
    References,
    Setting,
)

PAGE = Path(__file__).parents[1] / "models.md"

_SOURCES = {
    FAL: "https://fal.ai/models/{}",
    "replicate": "https://replicate.com/{}",
}

_HEAD = f"""# Models

<!-- Made from `server/avatar_creator_server/model_table.py`: `make models-table` writes it. -->

`MODEL` chooses the model. The service knows the models on this page: it sends each only the options that the
model reads, with the model's own steps and guidance as defaults. The default is FLUX.1-dev with a LoRA for
realistic photographs. Its license does not allow commercial use of the weights. For commercial use, set:

```sh
export MODEL={COMMERCIAL_MODEL}
export LORA_REPOSITORY=none
```

A model that is not on this page works with the route `hf-inference` or `endpoint` and with `diffusers`. It
draws with its own defaults, and each generation has a warning that the service does not know the model.

**Contents:**
[Options](#options) ·
[Licenses and size](#licenses-and-size) ·
[Routes and prices](#routes-and-prices) ·
[Sources](#sources)
"""

_OPTIONS = """## Options

Steps and guidance are the default and, in parentheses, the range. A provider's app can have others: see
[Routes and prices](#routes-and-prices). Without a choice of the user, the default applies. The service
replaces a value out of the range with the nearest one and adds a warning; with `strict`, it refuses the
request.
"""

_OPTIONS_NOTES = """\
- **Negative prompt.** "yes": without a user's own, the service sends one of its own, which costs no time. "at
  twice the time": only `diffusers` uses a user's own, with a second prediction for each step. "no": never.
- **Prompt.** The number of tokens that the model reads. The service warns about a longer prompt.
  `PROMPT_STYLE=prose` suits the models whose makers ask for sentences: all here except
  {tags}.
- **References.** *noised*: the picture starts from the reference, and `reference_strength` says how far it
  may differ. *edited* and *combined*: the model follows an instruction, which the service builds from the
  same facts, and keeps the person. The number is the maximum of the model; the one of a route can be lower.
- **Size.** All models draw the sizes of the service, 256 to 1,440 pixels in steps of 16. These apps refuse
  small pictures: {sizes}.
"""

_LICENSES = """## Licenses and size

The license is that of the weights. A hosted provider may have a contract with the maker that allows
commercial use of the pictures: ask the provider. *Filter* means that the license demands a filter or a review
of the pictures, and to say that AI made them.

The size is that of all weights in 16 bits. The largest part is what a card must hold with
`MODEL_OFFLOAD=model`. Add about 3 GiB for drawing. `avatar-creator doctor` compares this with your card. The
seconds are for one megapixel on an H100 with the default steps. Those of FLUX.1-dev were measured; the others
are estimates.
"""

_ROUTES = """## Routes and prices

The routes of a provider have its name, with `-reference` if they draw from references. The prices are US
dollars. *MP* is a started megapixel of 1,048,576 pixels. A price for each reference is in addition.
`PRICES_PER_MEGAPIXEL` replaces these prices, see [Prices](providers.md#prices).
"""

_ROUTES_NOTES = """\\* Only users of the provider report this price.

`hf-inference` and `endpoint` take any model that they serve. Hugging Face's own inference names {hf} as its
example of a model for pictures. Its list of all models is not public text, so try others before you rely on
them. `diffusers` takes any model with weights.
"""

_END = """## Sources

- fal's apps: inputs and defaults from the [types of its
  client](https://github.com/fal-ai/fal-js/blob/main/libs/client/src/types/endpoints.ts) of August 2026,
  ranges and prices from the page `https://fal.ai/models/{app}/llms.txt` of each app.
- Replicate's models: see the links in the table.
- Local defaults, licenses and sizes: the model cards on the Hugging Face Hub and the pipelines of diffusers.

Not confirmed:

- how fal bills the references of `fal-ai/flux-2/klein/4b/edit`: its page says only "per megapixel". The
  service counts one megapixel for each, as the page of the 9B model says.
- how fal rounds the picture of FLUX.1-Kontext, which has about one megapixel: the service counts one.
- the maximum number of references of `fal-ai/qwen-image-edit-2511`: the service sends up to 3, as the model
  card says.
- Replicate's prices: its pages are no public text, so they come from public code that calls Replicate.
"""


def page() -> str:
    """Return the page."""
    hf = " and ".join(model.name for model in MODELS if model.hf_inference)
    parts = (
        _HEAD,
        _OPTIONS,
        _table(
            ("model", "steps", "guidance", "negative prompt", "prompt", "LoRA", "references"),
            map(_options, MODELS),
        ),
        _OPTIONS_NOTES.format(
            sizes=", ".join(_small_pictures()),
            tags=" and ".join(model.name for model in MODELS if not model.prose),
        ),
        _LICENSES,
        _table(
            ("model", "license", "commercial use", "filter", "size", "largest part", "seconds"),
            map(_license, MODELS),
        ),
        _ROUTES,
        *(_apps_of(provider) for provider in _SOURCES),
        _ROUTES_NOTES.format(hf=hf),
        _END,
    )
    return "\n".join(parts)


def _small_pictures() -> Iterator[str]:
    """Yield the apps that have a minimum size."""
    for model in MODELS:
        for hosted in model.hosted.values():
            for app in (hosted.text, hosted.text_lora, hosted.reference, hosted.reference_lora):
                if app is not None and app.min_side:
                    yield f"`{app.name}` (from {app.min_side} pixels)"


def _options(model: Model) -> tuple[str, ...]:
    ways = []
    if model.references is not References.NONE:
        ways.append(f"{model.references.value}, {model.max_references}")
    if model.reference_models:
        names = [reference.rpartition("/")[2] for reference in model.reference_models]
        ways.append(f"hosted: with {' or '.join(names)}")
    negative = {Guidance.CLASSIFIER_FREE: "yes"}.get(model.guidance, "no")
    if model.true_guidance:
        negative = "at twice the time"
    return (
        _link(model),
        _setting(model.steps) or "its own",
        _setting(model.guidance_scale) or ("none" if model.guidance is Guidance.NONE else "its own"),
        negative,
        f"{model.prompt_tokens:,} tokens",
        "yes" if model.lora else "no",
        "; ".join(ways) or "no",
    )


def _license(model: Model) -> tuple[str, ...]:
    commercial = "yes" if model.commercial else model.commercial_condition or "no"
    return (
        model.name,
        model.license,
        commercial,
        "yes" if model.filter_required else "",
        f"{model.weights_gib:g} GiB" if model.weights_gib else "–",
        f"{model.largest_part_gib:g} GiB" if model.weights_gib else "–",
        f"{model.seconds:g}" if model.seconds else "–",
    )


def _apps_of(provider: str) -> str:
    """Return the section of a provider, with a row for each of its apps."""
    head = ("model", "draws from", "app", "steps", "guidance", "price", "date")
    rows = [
        (
            model.name,
            source,
            f"[`{app.name}`]({_SOURCES[provider].format(app.name)})",
            _setting(app.steps or model.steps) if "steps" in app.inputs else "its own",
            _guidance(model, app),
            _price(app),
            app.price_date,
        )
        for model in MODELS
        if provider in model.hosted
        for source, app in _uses(model.hosted[provider])
    ]
    return f"### {provider}\n\n{_table(head, rows)}"


def _uses(hosted: Hosted) -> Iterator[tuple[str, App]]:
    """Yield each app of a provider, with its source of pictures."""
    for app in (hosted.text, hosted.text_lora, hosted.reference, hosted.reference_lora):
        if app is None:
            continue
        source = "text"
        if app.max_references:
            several = app.max_references > 1
            source = f"1 to {app.max_references} references" if several else "reference"
        yield source + (", LoRA" if "lora" in app.inputs else ""), app


def _guidance(model: Model, app: App) -> str:
    if "guidance_scale" in app.inputs:
        return _setting(app.guidance_scale or model.guidance_scale)
    return "none" if model.guidance is Guidance.NONE else "its own"


def _price(app: App) -> str:
    prices, parts = app.prices, []
    if prices.first_megapixel:
        parts.append(f"{_dollars(prices.first_megapixel + prices.per_megapixel)} for the first MP")
        parts.append(f"{_dollars(prices.per_megapixel)} for each further MP")
    else:
        parts += [f"{_dollars(prices.per_picture)} a picture"] if prices.per_picture else []
        parts += [f"{_dollars(prices.per_megapixel)} an MP"] if prices.per_megapixel else []
    if prices.per_reference_megapixel:
        unit = "a reference" if prices.reference_megapixels else "an MP of each reference"
        parts.append(f"{_dollars(prices.per_reference_megapixel)} {unit}")
    return ", ".join(parts) + ("" if app.price_confirmed else " \\*")


def _dollars(millionths: int) -> str:
    return f"${millionths / 1_000_000:g}"


def _setting(setting: Setting | None) -> str:
    if setting is None:
        return ""
    return f"{setting.default:g} ({setting.minimum:g}–{setting.maximum:g})"


def _link(model: Model) -> str:
    if not model.weights_gib:
        return model.name
    return f"[{model.name}](https://huggingface.co/{model.id})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != page():
            sys.exit(f"{PAGE.relative_to(Path.cwd())} is stale: run 'make models-table'")
    else:
        PAGE.write_text(page())
