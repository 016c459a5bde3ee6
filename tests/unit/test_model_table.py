"""The table of models is consistent, and its page is up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from avatar_creator_server.generations.records import Options
from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.model_table import (
    COMMERCIAL_MODEL,
    MODELS,
    App,
    Guidance,
    Model,
    References,
    Setting,
    find_model,
)
from avatar_creator_server.settings import DEFAULT_MODEL, ROUTES, Settings, SettingsError
from docs.site import models as models_page

OUR_INPUTS = frozenset(
    {
        *("size", "steps", "guidance_scale", "negative_prompt", "seed", "reference", "references"),
        *("reference_strength", "lora", "acceleration", "safety_checker"),
    }
)


def apps() -> list[tuple[Model, App, bool]]:
    """Return each model's apps, with whether the app draws from references."""
    return [
        (model, app, kind.startswith("reference"))
        for model in MODELS
        for hosted in model.hosted.values()
        for kind in ("text", "text_lora", "reference", "reference_lora")
        if (app := getattr(hosted, kind)) is not None
    ]


def settings_of(model: Model) -> Iterator[Setting]:
    """Yield the settings of a model and of its apps."""
    of_apps = (
        setting for each, app, _ in apps() if each is model for setting in (app.steps, app.guidance_scale)
    )
    yield from filter(None, (model.steps, model.guidance_scale, *of_apps))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
class TestModel:
    """Each model of the table."""

    def test_its_defaults_are_in_their_ranges(self, model: Model) -> None:
        for setting in settings_of(model):
            assert setting.minimum <= setting.default <= setting.maximum

    def test_its_steps_are_whole_and_within_those_of_a_request(self, model: Model) -> None:
        of_apps = [app.steps for each, app, _ in apps() if each is model]
        for steps in filter(None, [model.steps, *of_apps]):
            assert steps.default == int(steps.default)
            assert 1 <= steps.minimum <= steps.maximum <= 50

    def test_only_a_model_with_guidance_has_a_scale_or_a_negative_prompt(self, model: Model) -> None:
        names = {name for each, app, _ in apps() if each is model for name in app.inputs}
        if model.guidance is Guidance.NONE:
            assert model.guidance_scale is None
            assert "guidance_scale" not in names
        if model.guidance is not Guidance.CLASSIFIER_FREE:
            assert "negative_prompt" not in names
        assert not (model.true_guidance and model.guidance is not Guidance.DISTILLED)

    def test_it_has_references_exactly_if_their_number_is_given(self, model: Model) -> None:
        assert (model.max_references > 0) == (model.references is not References.NONE)
        for reference_model in model.reference_models:
            assert find_model(reference_model) is not None
        if model.needs_reference:
            assert model.references is not References.NONE
            assert not any(hosted.text for hosted in model.hosted.values())

    def test_its_largest_part_is_smaller_than_the_whole(self, model: Model) -> None:
        assert 0 <= model.largest_part_gib <= model.weights_gib
        assert (model.largest_part_gib > 0) == (model.weights_gib > 0)

    def test_it_can_be_had(self, model: Model) -> None:
        assert model.hosted or model.weights_gib

    def test_a_model_without_weights_is_for_hosts_only(self, model: Model) -> None:
        if model.is_local:
            settings = Settings(provider="diffusers", model=model.id)
            settings.require_legal_combination()
            assert set(routes_of(settings).named()) <= set(ROUTES)
            return
        with pytest.raises(SettingsError, match=re.escape(f"MODEL is {model.id}")) as refusal:
            Settings(provider="diffusers", model=model.id).require_legal_combination()
        assert DEFAULT_MODEL in str(refusal.value)

    @pytest.mark.parametrize("provider", ["huggingface", "replicate"])
    def test_a_host_that_lacks_it_is_refused_with_the_models_that_it_has(
        self, model: Model, provider: str
    ) -> None:
        host = {"huggingface": "fal-ai"}.get(provider, provider)
        settings = Settings(provider=provider, model=model.id, lora_repository="none")  # type: ignore[arg-type]
        if model.is_drawn_by(host):
            settings.require_legal_combination()
            assert routes_of(settings).from_text.model == model.id
            assert set(routes_of(settings).named()) <= set(ROUTES)
            return
        with pytest.raises(SettingsError) as refusal:
            settings.require_legal_combination()
        if host in model.hosted:
            writer = next(each for each in MODELS if model.id in each.reference_models)
            assert f"which {host} only has for edits: set MODEL={writer.id}; " in str(refusal.value)
        else:
            assert f"{host} only has {DEFAULT_MODEL}, " in str(refusal.value)


@pytest.mark.parametrize(
    ("model", "app", "from_references"), apps(), ids=lambda value: getattr(value, "name", "")
)
def test_an_app_is_described_completely(model: Model, app: App, from_references: bool) -> None:
    assert set(app.inputs) <= OUR_INPUTS
    assert app.prices.per_megapixel or app.prices.per_picture
    assert re.fullmatch(r"202\d-(0[1-9]|1[0-2])", app.price_date)
    assert (app.max_references > 0) == from_references
    assert from_references == ("reference" in app.inputs or "references" in app.inputs)
    assert not (app.max_references > 1 and "references" not in app.inputs)


@pytest.mark.parametrize(("strict", "result"), [(False, "drawn with 8"), (True, "give 8")])
def test_a_value_out_of_the_range_is_named_with_the_nearest_one(strict: bool, result: str) -> None:
    settings = Settings(provider="huggingface", model=COMMERCIAL_MODEL, lora_repository="none")
    route = routes_of(settings).from_text

    [violation] = route.unsupported_options(Options(steps=30, strict=strict), has_reference=False)

    assert violation.field == "options.steps"
    assert violation.description == (
        f"steps 30 is outside 4 to 8, the range of the route fal-ai of huggingface: {result}"
    )


def test_a_folder_is_known_by_its_name() -> None:
    assert find_model("/models/FLUX.2-klein-4B/") is find_model(COMMERCIAL_MODEL)
    assert find_model("black-forest-labs/flux.1-DEV") is find_model(DEFAULT_MODEL)
    assert find_model("someone/else") is None


def test_the_model_for_commerce_may_be_used_for_it_and_can_be_had_everywhere() -> None:
    model = find_model(COMMERCIAL_MODEL)

    assert model is not None
    assert model.commercial
    assert model.is_local
    assert model.is_drawn_by("fal-ai")


def test_the_page_of_the_models_is_up_to_date() -> None:
    assert models_page.PAGE.read_text() == models_page.page(), "run 'make models-table'"
