"""Widget configuration: what does the vendor's web widget need to know about an agent?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS: dict[str, Any] = {
    "variant": "full",
    "placement": "bottom-right",
    "expandable": "never",
    "avatar": {"type": "orb", "color_1": "#2792DC", "color_2": "#9CE6E6"},
    "feedback_mode": "none",
    "end_feedback": None,
    "bg_color": "#ffffff",
    "text_color": "#000000",
    "btn_color": "#000000",
    "btn_text_color": "#ffffff",
    "border_color": "#e1e1e1",
    "focus_color": "#000000",
    "shareable_page_show_terms": True,
    "show_avatar_when_collapsed": False,
    "disable_banner": False,
    "markdown_link_allowed_hosts": [],
    "markdown_link_include_www": True,
    "markdown_link_allow_http": True,
    "mic_muting_enabled": True,
    "transcript_enabled": True,
    "text_input_enabled": True,
    "conversation_mode_toggle_enabled": False,
    "default_expanded": False,
    "always_expanded": False,
    "dismissible": False,
    "show_agent_status": False,
    "show_conversation_id": True,
    "strip_audio_tags": True,
    "show_resize_button": True,
    "text_contents": {},
    "styles": {},
    "file_input_config": {"enabled": False, "max_files_per_conversation": 0},
}


def widget_config(agent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the widget configuration of an agent document.

    `use_rtc` is never on: the widget would leave for a media server that a local platform does not have.
    """
    config = _at(agent, "conversation_config")
    own = {key: value for key, value in _at(agent, "platform_settings", "widget").items() if value is not None}
    first = _at(config, "agent").get("first_message")
    presets = _at(config, "language_presets")
    allowed = _at(agent, "platform_settings", "overrides", "conversation_config_override")
    return {
        **DEFAULTS,
        **own,
        "language": _at(config, "agent").get("language") or "en",
        "supported_language_overrides": list(presets) or None,
        "language_presets": {
            language: {"first_message": _preset_message(preset)} for language, preset in presets.items()
        },
        "text_only": bool(_at(config, "conversation").get("text_only")),
        "supports_text_only": bool(_at(allowed, "conversation").get("text_only") or own.get("supports_text_only")),
        "first_message": first if isinstance(first, str) and first else None,
        "use_rtc": False,
    }


def _preset_message(preset: Any) -> str | None:
    message = _at(preset, "overrides", "agent").get("first_message")
    return message if isinstance(message, str) else None


def _at(document: Any, *path: str) -> Mapping[str, Any]:
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}
