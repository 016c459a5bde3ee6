"""The providers of the suite. A new provider adds its description to `PROVIDERS`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.people.person import Attributes
from avatar_creator_server.settings import Settings
from avatar_creator_tasks.providers import huggingface, replicate
from avatar_creator_tasks.providers.base import PortraitRequest, Provider, Reference
from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.sketch.provider import SketchProvider
from tests import pictures
from tests.conformance.under_test import Cause, ProviderUnderTest
from tests.support.decoders import DECODERS
from tests.support.hosted_fake import Behavior, Fault
from tests.support.provider_recorder import LIMITS

_HUGGINGFACE_KEY = "hf_QmVfKxTgLpZrWnYcDsAbEuHjMiOvXtRe"
_REPLICATE_KEY = "r8_WkPzTbNqYcLxRvHjGmDsFaEuXoIyQtBnKpSdM"
_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
_FORBIDDEN = "http://169.254.169.254/latest/meta-data/"


def _route(*, has_reference: bool = False, **settings: Any) -> Route:
    routes = routes_of(Settings(lora_repository="none", **settings))
    route = routes.route(has_reference=has_reference)
    assert route is not None
    return route


def _request(route: Route, *, has_reference: bool = False) -> PortraitRequest:
    return PortraitRequest(
        route=route,
        prompt="a confident business woman",
        attributes=Attributes(),
        seed=4_294_967_295,
        width=256,
        height=320,
        steps=route.steps_for(0),
        guidance_scale=route.guidance_scale_for(0),
        references=(Reference(pictures.scene(), strength=0.5),) if has_reference else (),
    )


def _huggingface(url: str, limits: Limits, deadline: timedelta) -> Provider:
    access = huggingface.Access(_HUGGINGFACE_KEY, base_url=url, endpoint_url=url, deadline=deadline)
    return huggingface.HuggingFaceProvider(access, DECODERS, limits=limits)


def _replicate(url: str, limits: Limits, deadline: timedelta) -> Provider:
    access = replicate.Access(_REPLICATE_KEY, base_url=url, deadline=deadline)
    return replicate.ReplicateProvider(access, DECODERS, limits=limits)


def _sketch(url: str, limits: Limits, deadline: timedelta) -> Provider:
    return SketchProvider()


def _submission(how: str = "answer", *, accepted: bool = False, **fault: Any) -> Fault:
    return Fault(stage="submit", how=how, accepted=accepted, **fault)  # type: ignore[arg-type]


def _at(stage: str, how: str = "answer", **fault: Any) -> Behavior:
    return Behavior(run_seconds=0, faults=(Fault(stage=stage, how=how, **fault),))  # type: ignore[arg-type]


def _at_submission(key: str) -> dict[Cause, Behavior | Fault]:
    """Return the causes that any HTTP API can have at a submission."""
    return {
        Cause.SLOW: Behavior(hold=True),
        Cause.KEY_REFUSED: _submission(status=401),
        Cause.NO_CREDIT: _submission(status=402),
        Cause.MODEL_UNKNOWN: _submission(status=404),
        Cause.INPUT_REFUSED: _submission(status=400, body={"error": "bad input"}),
        Cause.OVERLOADED: _submission(status=429, retry_after=30),
        Cause.SUBMISSION_FAILS: _submission(status=500),
        Cause.ANSWER_LOST: _submission("drop", accepted=True),
        Cause.SUBMISSION_HANGS: _submission("hang", accepted=True),
        Cause.ENDLESS_ANSWER: _submission("endless", accepted=True),
        Cause.KEY_IN_MESSAGE: _submission(status=400, body={"detail": f"the token {key} is bad"}),
    }


_FAILING_CANCEL = Behavior(hold=True, faults=(Fault(stage="cancel", status=500),))
_WITH_FILES: Mapping[Cause, Behavior | Fault] = {
    Cause.STATUS_FAILS: _at("status", status=500, times=LIMITS.tries),
    Cause.CANCEL_FAILS: _FAILING_CANCEL,
    Cause.RESULT_EXPIRED: _at("image", status=404),
    Cause.PICTURE_ENDLESS: _at("image", "endless"),
    Cause.PICTURE_HUGE: Behavior(run_seconds=0, picture_width=9000, picture_height=8000),
    Cause.PICTURE_BROKEN: _at("image", "truncated"),
    Cause.PICTURE_FORBIDDEN: Behavior(run_seconds=0, image_url=_FORBIDDEN),
}
"""Causes at a provider whose requests have ids and whose pictures are files."""

_FAL: Mapping[Cause, Behavior | Fault] = {
    **_at_submission(_HUGGINGFACE_KEY),
    **_WITH_FILES,
    Cause.CONTENT_REFUSED: _submission(status=422, error_type="content_policy_violation"),
    Cause.CONTENT_REFUSED_LATER: _at("result", status=422, error_type="content_policy_violation"),
    Cause.NSFW: Behavior(run_seconds=0, nsfw=True),
    Cause.JOB_FAILED: _at("result", status=500, error_type="internal_server_error"),
}
_REPLICATE: Mapping[Cause, Behavior | Fault] = {
    **_at_submission(_REPLICATE_KEY),
    **_WITH_FILES,
    Cause.INPUT_REFUSED: _submission(status=422),
    Cause.CONTENT_REFUSED_LATER: _at("result", error_type="sensitive"),
    Cause.NSFW: Behavior(run_seconds=0, nsfw=True),
    Cause.JOB_FAILED: _at("result", error_type="out_of_memory"),
    Cause.RESULT_EXPIRED: _at("result", error_type="removed"),
}
_SINGLE: Mapping[Cause, Behavior | Fault] = {
    **_at_submission(_HUGGINGFACE_KEY),
    Cause.JOB_FAILED: _at("result", body={"error": "CUDA out of memory"}),
    Cause.PICTURE_ENDLESS: _at("result", "endless"),
    Cause.PICTURE_HUGE: Behavior(run_seconds=0, picture_width=9000, picture_height=8000),
    Cause.PICTURE_BROKEN: _at("result", "truncated"),
}
_NO_DOCUMENTED_REFUSAL = "the provider documents no refusal of content"
_SINGLE_INAPPLICABLE = {
    Cause.CONTENT_REFUSED: _NO_DOCUMENTED_REFUSAL,
    Cause.CONTENT_REFUSED_LATER: _NO_DOCUMENTED_REFUSAL,
    Cause.NSFW: "the picture is black, and nothing says that it was withheld",
    Cause.ENDLESS_ANSWER: "the answer is the picture",
    Cause.STATUS_FAILS: "a request has no id",
    Cause.CANCEL_FAILS: "a request has no id",
    Cause.RESULT_EXPIRED: "the answer is the picture",
    Cause.PICTURE_FORBIDDEN: "the answer is the picture",
}
_FAL_PATH = "fal-ai/{}/requests/764cabcf-b745-4b3e-ae38-1200304cf45b"


def _fal(name: str, alias: str, *, has_reference: bool) -> ProviderUnderTest:
    route = _route(provider="huggingface", has_reference=has_reference)
    return ProviderUnderTest(
        name=name,
        route=route,
        key=_HUGGINGFACE_KEY,
        fake="router",
        open=_huggingface,
        causes=_FAL,
        unknown_id=_FAL_PATH.format(alias),
        request=_request(route, has_reference=has_reference),
    )


def _single(name: str) -> ProviderUnderTest:
    address: dict[str, Any] = (
        {"huggingface_endpoint_url": "https://endpoint.example"} if name == "endpoint" else {}
    )
    route = _route(provider="huggingface", huggingface_route=name, model=_SDXL, **address)
    return ProviderUnderTest(
        name=name,
        route=route,
        key=_HUGGINGFACE_KEY,
        fake="router",
        open=_huggingface,
        causes={cause: how for cause, how in _SINGLE.items() if cause not in _SINGLE_INAPPLICABLE},
        inapplicable=_SINGLE_INAPPLICABLE,
        may_charge_failed_jobs=True,
        picture_is_the_answer=True,
        request=_request(route),
    )


def _on_replicate(name: str, *, has_reference: bool) -> ProviderUnderTest:
    route = _route(provider="replicate", has_reference=has_reference)
    return ProviderUnderTest(
        name=name,
        route=route,
        key=_REPLICATE_KEY,
        fake="replicate_api",
        open=_replicate,
        causes=_REPLICATE,
        inapplicable={Cause.CONTENT_REFUSED: "models refuse content only while they work"},
        may_charge_failed_jobs=True,
        unknown_id="gm3qorzdhgbfurvjtvhg6dckhu",
        request=_request(route, has_reference=has_reference),
    )


def _sketches(name: str, *, has_reference: bool) -> ProviderUnderTest:
    route = _route(provider="sketch", has_reference=has_reference)
    return ProviderUnderTest(
        name=name,
        route=route,
        key="",
        fake="",
        open=_sketch,
        inapplicable=dict.fromkeys(Cause, "it draws in this process and calls no one"),
        request=_request(route, has_reference=has_reference),
    )


PROVIDERS = (
    _fal("fal-ai", "flux", has_reference=False),
    _fal("fal-ai-reference", "flux-kontext", has_reference=True),
    _single("hf-inference"),
    _single("endpoint"),
    _on_replicate("replicate", has_reference=False),
    _on_replicate("replicate-reference", has_reference=True),
    _sketches("sketch", has_reference=False),
    _sketches("sketch-reference", has_reference=True),
)
