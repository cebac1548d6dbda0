"""A rich document of the platform, written by hand, and stores on an empty file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convai_lab.clock import VirtualClock
from convai_lab.conversations.store import ConversationStore
from convai_lab.storage import Database, open_database


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return open_database(tmp_path)


@pytest.fixture
def store(db: Database, clock: VirtualClock) -> ConversationStore:
    return ConversationStore(db, clock)


@pytest.fixture
def platform_document() -> dict[str, Any]:
    """Return a conversation as the cloud answers it, with every object it has, and a key nobody knows at each level."""
    return {
        "agent_id": "agent_0801",
        "agent_name": "Support",
        "conversation_product": "agent",
        "status": "done",
        "user_id": "user-7",
        "branch_id": "agtbrch_1",
        "version_id": "agtvrsn_9",
        "environment": "production",
        "conversation_id": "conv_4101",
        "has_audio": True,
        "has_user_audio": True,
        "has_response_audio": False,
        "has_auxiliary_audio": True,
        "tag_ids": ["vip", "refund"],
        "visited_agents": [{"agent_id": "agent_0801", "branch_id": None}],
        "otlp_traces": None,
        "brand_new": {"nested": [1, 2.5, None, True]},
        "transcript": [_greeting(), _question(), _answer()],
        "metadata": _metadata(),
        "analysis": _analysis(),
        "conversation_initiation_client_data": {
            "conversation_config_override": {"agent": {"language": "de"}, "tts": None},
            "custom_llm_extra_body": {},
            "user_id": "user-7",
            "source_info": {"source": "python_sdk", "version": "2.70.0"},
            "dynamic_variables": {"name": "Ada", "system__time_utc": "2026-01-01T00:00:00", "n": 3, "ok": True},
            "brand_new": 1,
        },
    }


def _greeting() -> dict[str, Any]:
    return {
        "role": "agent",
        "agent_metadata": {"agent_id": "agent_0801", "branch_id": None, "workflow_node_id": None, "version_id": "v9"},
        "message": "Hi Ada, how can I help?",
        "multivoice_message": None,
        "tool_calls": [],
        "tool_results": [],
        "feedback": None,
        "llm_override": None,
        "producing_llm": None,
        "time_in_call_secs": 0,
        "conversation_turn_metrics": {
            "metrics": {"convai_tts_service_ttfb": {"elapsed_time": 0.1234567891234}},
            "convai_asr_provider": None,
            "convai_tts_model": "eleven_flash_v2",
            "brand_new": "x",
        },
        "rag_retrieval_info": None,
        "llm_usage": None,
        "interrupted": False,
        "original_message": None,
        "source_medium": None,
    }


def _question() -> dict[str, Any]:
    return {
        "role": "user",
        "agent_metadata": None,
        "message": "Where is my order 1234?",
        "tool_calls": [],
        "tool_results": [],
        "feedback": {"score": "like", "time_in_call_secs": 3},
        "time_in_call_secs": 3,
        "conversation_turn_metrics": {
            "metrics": {},
            "convai_asr_provider": "scribe_realtime",
            "convai_tts_model": None,
        },
        "interrupted": False,
        "source_medium": "audio",
        "source_event_id": 4,
        "used_static_kb_document_ids": ["doc_1"],
        "brand_new": [],
    }


def _answer() -> dict[str, Any]:
    return {
        "role": "agent",
        "agent_metadata": {"agent_id": "agent_0801"},
        "message": "It has shipped and...",
        "original_message": "It has shipped and arrives tomorrow.",
        "interrupted": True,
        "time_in_call_secs": 5,
        "producing_llm": "gemini-2.5-flash",
        "reasoning": [{"summary": "looked it up", "provider_redact": False}],
        "triggered_guardrails": [{"guardrail_type": "custom", "guardrail_name": "calm"}],
        "tool_calls": [
            {
                "type": "webhook",
                "request_id": "call_1",
                "tool_name": "order_status",
                "params_as_json": '{"order_id":"1234", "deep": {"a": [1, null]}}',
                "tool_has_been_called": True,
                "tool_details": {"type": "webhook", "method": "GET", "url": "https://example.com/1234", "headers": {}},
                "brand_new": {"a": 1},
            },
            {
                "type": "workflow",
                "request_id": "call_2",
                "tool_name": "odd",
                "params_as_json": "not json {",
                "tool_has_been_called": False,
            },
        ],
        "tool_results": [
            {
                "type": "webhook",
                "request_id": "call_1",
                "tool_name": "order_status",
                "result_value": '{"status": "shipped"}',
                "is_error": False,
                "is_blocked": False,
                "tool_has_been_called": True,
                "tool_latency_secs": 0.25,
                "error_type": "",
                "raw_error_message": "",
                "dynamic_variable_updates": [],
                "brand_new": None,
            },
            {
                "type": "system",
                "request_id": "call_2",
                "tool_name": "end_call",
                "result_value": "",
                "is_error": True,
                "tool_has_been_called": True,
                "tool_latency_secs": 0,
                "error_type": "timeout",
                "result": {"result_type": "end_call_success", "status": "success", "reason": None, "message": None},
            },
        ],
        "conversation_turn_metrics": {
            "metrics": {
                "convai_llm_service_ttfb": {"elapsed_time": 0.412, "brand_new": 1},
                "convai_llm_service_ttf_sentence": {"elapsed_time": 0.9},
                "convai_tts_service_ttfb": {"elapsed_time": 0.2},
            },
            "convai_asr_provider": None,
            "convai_tts_model": "eleven_flash_v2",
        },
        "llm_usage": {
            "model_usage": {
                "gemini-2.5-flash": {
                    "input": {"tokens": 900, "price": 0.0003},
                    "input_cache_read": {"tokens": 100, "price": 0.00001},
                    "input_cache_write": {"tokens": 0, "price": 0},
                    "output_total": {"tokens": 60, "price": 0.0002},
                },
                "gpt-4o-mini": {"input": {"tokens": 10, "price": 0.1}, "output_total": {"tokens": 1, "price": 0.2}},
            }
        },
    }


def _metadata() -> dict[str, Any]:
    return {
        "start_time_unix_secs": 1_767_225_600,
        "accepted_time_unix_secs": 1_767_225_601,
        "call_duration_secs": 47,
        "cost": 321,
        "cost_fiat": 0.0123,
        "deletion_settings": {"deletion_time_unix_secs": None, "delete_audio": False},
        "feedback": {"type": "rating", "overall_score": None, "likes": 0, "dislikes": 0, "rating": 4, "comment": "ok"},
        "authorization_method": "signed_url",
        "charging": {"dev_discount": False, "llm_usage": {"irreversible_generation": {"model_usage": {}}}},
        "phone_call": {
            "type": "twilio",
            "direction": "inbound",
            "phone_number_id": "phnum_1",
            "agent_number": "+1",
            "external_number": "+2",
            "stream_sid": "MZ1",
            "call_sid": "CA1",
        },
        "batch_call": None,
        "termination_reason": "Client ended call",
        "error": {"code": 1002, "reason": "late"},
        "warnings": ["w"],
        "main_language": "de",
        "rag_usage": {"usage_count": 1, "embedding_model": "e5_mistral_7b_instruct"},
        "text_only": False,
        "features_usage": {"is_livekit": False, "workflow": {"enabled": False}},
        "conversation_initiation_source": "python_sdk",
        "timezone": "Europe/Zurich",
        "brand_new": {},
    }


def _analysis() -> dict[str, Any]:
    criterion = {
        "criteria_id": "polite",
        "result": "success",
        "rationale": "It was.",
        "scoring_mode": "binary",
        "score": None,
        "max_score": 1,
    }
    item = {
        "data_collection_id": "order",
        "name": None,
        "value": 1234,
        "json_schema": {"type": "integer"},
        "rationale": "",
    }
    return {
        "evaluation_criteria_results": {"polite": criterion},
        "data_collection_results": {"order": item},
        "evaluation_criteria_results_list": [criterion],
        "data_collection_results_list": [item],
        "call_successful": "success",
        "call_success_score": 0.9,
        "transcript_summary": "Ada asked for order 1234.",
        "call_summary_title": "Order",
        "scoped": [],
        "brand_new": "y",
    }
