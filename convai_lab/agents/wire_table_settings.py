"""Wire table of platform settings: evaluation, data collection, overrides, guardrails, widget, privacy.

The notation is that of `wire_table`.
"""

SETTINGS = """
[platform_settings]
evaluation                             object
evaluation.criteria                    list 0..100 = []
evaluation.criteria.*                  @criterion
data_collection                        map 0..200 = {}
data_collection.*                      @data_item
data_collection_scopes                 map = {}
data_collection_scopes.*               conversation|agent
analysis_items                         object? = null
analysis_items.evaluation_criteria     list = []
analysis_items.data_collection         list = []
testing                                object
testing.attached_tests                 list 0..5000 = []
testing.attached_tests.*               object
testing.attached_tests.*.test_id       string! 1..200
testing.attached_tests.*.workflow_node_id string? 0..200 = null
archived                               boolean = false
summary_language                       string? 0..35 = null
auto_translate_transcript_to_app_language boolean? = null
auth                                   object
auth.enable_auth                       boolean = false
auth.allowlist                         list 0..1000 = []
auth.allowlist.*                       object
auth.allowlist.*.hostname              string! 0..1000
auth.require_origin_header             boolean = false
auth.shareable_token                   string? 0..1000 = null
call_limits                            object
call_limits.agent_concurrency_limit    integer = -1
call_limits.daily_limit                integer = 100000
call_limits.bursting_enabled           boolean = true
queueing_config                        object
queueing_config.enabled                boolean = false
queueing_config.wait_timeout_seconds   integer 0<..1800 = 180
queueing_config.hold_audio             object? = null
queueing_config.hold_audio.audio_path  string!
queueing_config.hold_audio.audio_url   string!
queueing_config.hold_audio.original_filename string!
queueing_config.hold_audio.duration_secs number!
queueing_config.hold_audio.size_bytes  integer!
trust_context                          unknown|low|high = "unknown"
analysis_llm                           string 1..200 = "offline"
topic_discovery                        object = {}
sentiment_analysis                     object = {}
alerting                               object? = null
alerting.monitor_configs               map = {}
alerting.monitor_configs.*             object
alerting.monitor_configs.*.threshold   number? 0..1
alerting.monitor_configs.*.relative_increase_threshold number? 0..10
alerting.monitor_configs.*.suspect_trigger_threshold integer? 1..10
alerting.auto_resolve_after_inactive_minutes integer? 1.. = null
alerting.notifiers                     list 0..10 = []
safety                                 object
safety.is_blocked_ivc                  boolean = false
safety.is_blocked_non_ivc              boolean = false
safety.ignore_safety_evaluation        boolean = false

[platform_settings.privacy]
record_voice                           boolean = true
retention_days                         integer = -1
delete_transcript_and_pii              boolean = false
delete_audio                           boolean = false
apply_to_existing_conversations        boolean = false
zero_retention_mode                    boolean = false
conversation_history_redaction         object
conversation_history_redaction.enabled boolean = false
conversation_history_redaction.entities list = []

[platform_settings.workspace_overrides]
conversation_initiation_client_data_webhook object? = null
conversation_initiation_client_data_webhook.url string! 1..2000
conversation_initiation_client_data_webhook.request_headers map! 0..100
webhooks                               object
webhooks.post_call_webhook_id          string? 0..200 = null
webhooks.events                        list = []
webhooks.transcript_format             json|opentelemetry = "json"

[platform_settings.overrides]
custom_llm_extra_body                  boolean = false
enable_conversation_initiation_client_data_from_webhook boolean = false
enable_starting_workflow_node_id_from_client boolean = false
enable_procedure_ids_from_client       boolean = false

[platform_settings.overrides.conversation_config_override]
asr.keywords                           boolean = false
turn.soft_timeout_config.message       boolean = false
turn.soft_timeout_config.additional_soft_timeout_messages boolean = false
tts.model_id                           boolean = false
tts.voice_id                           boolean = false
tts.supported_voices                   boolean = false
tts.stability                          boolean = false
tts.speed                              boolean = false
tts.similarity_boost                   boolean = false
tts.pronunciation_dictionary_locators  boolean = false
conversation.text_only                 boolean = false
conversation.max_duration_seconds      boolean = false
agent.first_message                    boolean = false
agent.language                         boolean = false
agent.max_conversation_duration_message boolean = false
agent.prompt.prompt                    boolean = false
agent.prompt.llm                       boolean = false
agent.prompt.tool_ids                  boolean = false
agent.prompt.native_mcp_server_ids     boolean = false
agent.prompt.knowledge_base            boolean = false

[platform_settings.guardrails]
version                                1 = "1"
focus                                  object
focus.is_enabled                       boolean = false
prompt_injection                       object
prompt_injection.is_enabled            boolean = false
content                                object
content.execution_mode                 streaming|blocking = "streaming"
content.config                         map = {}
content.config.*                       @threshold
content.trigger_action                 object = {"type": "end_call"}
moderation                             object? = null
moderation.execution_mode              streaming|blocking = "streaming"
moderation.config                      map = {}
moderation.config.*                    @threshold
custom                                 object
custom.config                          object
custom.config.configs                  list 0..100 = []
custom.config.configs.*                object
custom.config.configs.*.name           string! 1..500
custom.config.configs.*.prompt         string! 1..10000
custom.config.configs.*.is_enabled     boolean = false
custom.config.configs.*.execution_mode streaming|blocking = "streaming"
custom.config.configs.*.model          string 1..200 = "gemini-3.1-flash-lite"
custom.config.configs.*.history_message_count integer 0..100 = 0
custom.config.configs.*.history_include_tool_calls boolean = false
custom.config.configs.*.trigger_action object = {"type": "end_call"}
custom.config.configs.*.evaluate_full_response_only boolean = false

[platform_settings.widget]
variant                                tiny|compact|full|expandable = "full"
placement                              top-left|top|top-right|bottom-left|bottom|bottom-right = "bottom-right"
expandable                             never|mobile|desktop|always = "never"
avatar                                 object = {"type": "orb", "color_1": "#2792dc", "color_2": "#9ce6e6"}
feedback_mode                          none|during|end = "none"
end_feedback                           object? = null
bg_color                               string 0..100 = "#ffffff"
text_color                             string 0..100 = "#000000"
btn_color                              string 0..100 = "#000000"
btn_text_color                         string 0..100 = "#ffffff"
border_color                           string 0..100 = "#e1e1e1"
focus_color                            string 0..100 = "#000000"
border_radius                          integer? = null
btn_radius                             integer? = null
action_text                            string? = null
start_call_text                        string? = null
end_call_text                          string? = null
expand_text                            string? = null
listening_text                         string? = null
speaking_text                          string? = null
shareable_page_text                    string? = null
shareable_page_show_terms              boolean = true
terms_text                             string? = null
terms_html                             string? = null
terms_key                              string? = null
show_avatar_when_collapsed             boolean? = false
disable_banner                         boolean = false
override_link                          string? = null
markdown_link_allowed_hosts            list = []
markdown_link_include_www              boolean = true
markdown_link_allow_http               boolean = true
mic_muting_enabled                     boolean = true
transcript_enabled                     boolean = true
text_input_enabled                     boolean = true
conversation_mode_toggle_enabled       boolean = false
default_expanded                       boolean = false
always_expanded                        boolean = false
dismissible                            boolean = false
show_agent_status                      boolean = false
show_conversation_id                   boolean = true
strip_audio_tags                       boolean = true
syntax_highlight_theme                 light|dark? = null
text_contents                          object = {}
styles                                 object = {}
show_resize_button                     boolean = true
language_selector                      boolean = false
supports_text_only                     boolean = true
custom_avatar_path                     string? = null
language_presets                       map = {}

[@threshold]
                                       object
is_enabled                             boolean = false
threshold                              any = 0.3
"""
