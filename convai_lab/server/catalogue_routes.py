"""Catalogue routes: which models and voices are there, and whose account is this?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab.agents.voices import VOICES, voice_name
from convai_lab.errors import NotFoundError
from convai_lab.providers.models import ModelInfo, known_models
from convai_lab.server.answers import InvalidRequest
from convai_lab.server.call import Call, route

MAX_VOICES_A_PAGE = 100
USER_ID = "local"

TTS_MODELS = {
    "eleven_flash_v2": "Eleven Flash v2",
    "eleven_flash_v2_5": "Eleven Flash v2.5",
    "eleven_turbo_v2": "Eleven Turbo v2",
    "eleven_turbo_v2_5": "Eleven Turbo v2.5",
    "eleven_multilingual_v2": "Eleven Multilingual v2",
    "eleven_v3_conversational": "Eleven v3 Conversational",
}

SUBSCRIPTION: dict[str, Any] = {
    "tier": "local",
    "character_count": 0,
    "character_limit": 0,
    "max_character_limit_extension": None,
    "max_credit_limit_extension": 0,
    "can_extend_character_limit": False,
    "allowed_to_extend_character_limit": False,
    "next_character_count_reset_unix": None,
    "voice_slots_used": 0,
    "professional_voice_slots_used": 0,
    "professional_voice_slots_used_in_workspace": 0,
    "voice_limit": 0,
    "voice_add_edit_counter": 0,
    "professional_voice_limit": 0,
    "can_extend_voice_limit": False,
    "can_use_instant_voice_cloning": False,
    "can_use_professional_voice_cloning": False,
    "current_overage": {"amount": "0", "currency": "usd"},
    "status": "free",
    "open_invoices": [],
    "has_open_invoices": False,
}


def list_llms(_: Call) -> Any:
    """GET /v1/convai/llm/list: every model known by name; any other name may be used too."""
    return {
        "llms": [_llm(model) for model in known_models()],
        "default_deprecation_config": {
            "warning_start_days": 0,
            "fallback_start_days": 0,
            "fallback_complete_days": 0,
            "fallback_start_percentage": 0,
            "fallback_complete_percentage": 0,
        },
    }


def list_voices(_: Call) -> Any:
    """GET /v1/voices."""
    return {"voices": [_voice(voice) for voice in VOICES.values()]}


def search_voices(call: Call) -> Any:
    """GET /v2/voices; a page token is the number of voices before the page."""
    search = (call.query.get("search") or "").strip().lower()
    wanted = set(call.query.getlist("voice_ids"))
    found = [v for name, v in VOICES.items() if search in name.lower() and (not wanted or v in wanted)]
    size = call.integer("page_size", 10, low=1, high=MAX_VOICES_A_PAGE)
    start = call.integer("next_page_token", 0, low=0, high=len(VOICES))
    page, has_more = found[start : start + size], start + size < len(found)
    return {
        "voices": [_voice(voice) for voice in page],
        "has_more": has_more,
        "total_count": len(found),
        "next_page_token": str(start + size) if has_more else None,
    }


def get_voice(call: Call) -> Any:
    """GET /v1/voices/{voice_id}."""
    if call.path["voice_id"] not in VOICES.values():
        raise NotFoundError(f"there is no voice {call.path['voice_id'][:80]!r} on this platform", status=404)
    return _voice(call.path["voice_id"])


def list_tts_models(_: Call) -> Any:
    """GET /v1/models: the names an agent's voice model may have."""
    return [_tts_model(model_id, name) for model_id, name in TTS_MODELS.items()]


def get_user(call: Call) -> Any:
    """GET /v1/user: there is one user, and nothing to pay."""
    return {
        "user_id": USER_ID,
        "subscription": SUBSCRIPTION,
        "is_new_user": False,
        "can_use_delayed_payment_methods": False,
        "is_onboarding_completed": True,
        "is_onboarding_checklist_completed": True,
        "first_name": None,
        "created_at": int(call.platform.started_at),
        "seat_type": "workspace_admin",
    }


def get_subscription(_: Call) -> Any:
    """GET /v1/user/subscription."""
    return SUBSCRIPTION


def estimate_llm_costs(call: Call) -> Any:
    """POST /v1/convai/llm-usage/calculate: what a minute costs on each model whose price is known."""
    _check_usage(call.object_body())
    return {"llm_prices": [{"llm": "offline", "price_per_minute": 0.0, "price_per_message": 0.0}]}


def _check_usage(body: Mapping[str, Any]) -> None:
    for name, kind, what in (
        ("prompt_length", int, "a whole number"),
        ("number_of_pages", int, "a whole number"),
        ("rag_enabled", bool, "true or false"),
    ):
        value = body.get(name)
        if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):
            raise InvalidRequest.at("body", name, msg=f"must be {what}", kind="missing" if value is None else "type")


def _llm(model: ModelInfo) -> dict[str, Any]:
    """Return a model as the vendor lists it; sizes that depend on the provider are not made up."""
    is_offline = model.provider == "offline"
    return {
        "llm": model.name,
        "is_checkpoint": model.is_checkpoint,
        "max_tokens_limit": 0,
        "max_context_limit": 0,
        "supports_image_input": False,
        "supports_document_input": False,
        "supports_parallel_tool_calls": not is_offline,
        "available_reasoning_efforts": None,
        "deprecation_info": {"llm": model.name, "is_deprecated": True} if model.is_retired else None,
        "regional_processing_surcharge": None,
        "convai_lab": {"provider": model.provider},
    }


def _voice(voice_id: str) -> dict[str, Any]:
    return {
        "voice_id": voice_id,
        "name": voice_name(voice_id),
        "category": "premade",
        "labels": {},
        "description": None,
        "preview_url": None,
        "available_for_tiers": [],
        "settings": {
            "stability": 0.5,
            "similarity_boost": 0.75,
            "style": 0.0,
            "use_speaker_boost": True,
            "speed": 1.0,
        },
        "high_quality_base_model_ids": [],
        "is_owner": False,
        "is_legacy": False,
        "is_mixed": False,
    }


def _tts_model(model_id: str, name: str) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "name": name,
        "can_do_text_to_speech": True,
        "can_do_voice_conversion": False,
        "can_be_finetuned": False,
        "can_use_style": False,
        "can_use_speaker_boost": False,
        "serves_pro_voices": False,
        "requires_alpha_access": False,
        "languages": [{"language_id": "en", "name": "English"}],
    }


ROUTES = [
    route("/v1/convai/llm/list", GET=list_llms),
    route("/v1/convai/llm-usage/calculate", POST=estimate_llm_costs),
    route("/v1/voices", GET=list_voices),
    route("/v2/voices", GET=search_voices),
    route("/v1/voices/{voice_id}", subject="voice", GET=get_voice),
    route("/v1/models", GET=list_tts_models),
    route("/v1/user", GET=get_user),
    route("/v1/user/subscription", GET=get_subscription),
]
