"""Wire table: which fields does the platform's agent configuration have, of what type, range and default?

One line is one field, below the path in brackets: name, type, range, pattern, default. Types are string, number,
integer, boolean, object, list, map (an object whose keys the user chooses), any, or the allowed words with bars
between them. `?` allows null, `!` requires the field. A range is a value for numbers, a length for strings, lists
and maps; `a<..b` leaves the end out. `*` stands for each entry of a list or map. ``@name`` uses the fields of the
section of that name.
"""

AGENT = """
[]
name                                   string? 0..500
tags                                   list? 0..200 = []
tags.*                                 string 0..200
version_description                    string? 0..10000
conversation_config                    object
platform_settings                      object?
workflow                               object?
procedures                             map? = {}
convai_lab                             object?

[conversation_config.asr]
quality                                high = "high"
provider                               elevenlabs|scribe_realtime = "scribe_realtime"
user_input_audio_format                pcm_8000|pcm_16000|pcm_22050|pcm_24000|pcm_44100|pcm_48000
                                       |ulaw_8000 = "pcm_16000"
keywords                               list = []
keywords.*                             string 0..500

[conversation_config.turn]
turn_timeout                           number -1..3600 = 7.0
initial_wait_time                      number? -1..3600 = null
silence_end_call_timeout               number -1..86400 = -1
mode                                   silence|turn = "turn"
turn_eagerness                         patient|normal|eager = "normal"
spelling_patience                      auto|off = "auto"
speculative_turn                       boolean = false
retranscribe_on_turn_timeout           boolean = false
turn_model                             turn_v2|turn_v3 = "turn_v3"
interruption_ignore_terms              list = []
interruption_ignore_terms.*            string 0..500
interruption_ignore_term_languages     list = []
merge_with_default_ignore_terms        boolean = false
transcribe_on_disabled_interruptions   boolean = false

[conversation_config.turn.soft_timeout_config]
timeout_seconds                        number -1..3600 = -1
message                                string 1..200 = "Hhmmmm...yeah."
additional_soft_timeout_messages       list 0..7 = []
use_llm_generated_message              boolean = false
randomize_fillers                      boolean = false
max_soft_timeouts_per_generation       integer 1..8 = 1
llm_generated_message_prompt_override  string? 1..1000 = null
disable_until_first_user_message       boolean = false

[conversation_config.tts]
model_id                               eleven_turbo_v2|eleven_turbo_v2_5|eleven_flash_v2|eleven_flash_v2_5
                                       |eleven_multilingual_v2|eleven_v3_conversational = "eleven_flash_v2"
voice_id                               string 0..200 = "cjVigY5qzO86Huf0OWal"
supported_voices                       list = []
supported_voices.*                     object
supported_voices.*.label               string! 1..500
supported_voices.*.voice_id            string! 1..200
supported_voices.*.stability           number? 0..1
supported_voices.*.speed               number? 0.7..1.2
supported_voices.*.similarity_boost    number? 0..1
supported_voices.*.description         string? 0..10000
supported_voices.*.language            string? 0..35
supported_voices.*.model_family        turbo|flash|multilingual|v3_conversational?
supported_voices.*.optimize_streaming_latency integer? 0..4
expressive_mode                        boolean = true
suggested_audio_tags                   list 0..20 = []
suggested_audio_tags.*                 object
suggested_audio_tags.*.tag             string! 1..30
suggested_audio_tags.*.description     string? 0..200
agent_output_audio_format              pcm_8000|pcm_16000|pcm_22050|pcm_24000|pcm_44100|pcm_48000
                                       |ulaw_8000 = "pcm_16000"
optimize_streaming_latency             integer 0..4 = 3
stability                              number 0..1 = 0.5
speed                                  number 0.7..1.2 = 1.0
similarity_boost                       number 0..1 = 0.8
text_normalisation_type                system_prompt|elevenlabs = "system_prompt"
pronunciation_dictionary_locators      list = []
enable_phoneme_tags                    boolean = true
audio_effects                          object? = null
audio_effects.filter_preset_id         string? = null
audio_effects.distance                 number 0..1 = 0.0
audio_effects.environment_id           string? = null
audio_effects.background_noise_id      string? = null
audio_effects.send_level               number 0..1 = 1.0
audio_effects.seed                     integer? = null

[conversation_config.conversation]
text_only                              boolean = false
max_duration_seconds                   integer 1..86400 = 600
client_events                          list = ["audio", "interruption", "agent_response", "user_transcript",
                                       + "tentative_user_transcript"]
client_events.*                        @client_event
file_input                             object
file_input.enabled                     boolean = true
file_input.max_files_in_memory         integer 1..30 = 10
file_input.max_files_per_conversation  integer 0..1000 = 10
monitoring_enabled                     boolean = false
monitoring_events                      list = []
monitoring_events.*                    @client_event
dtmf_input_settings                    object? = null
dtmf_input_settings.dtmf_input_timeout number 0.5..10 = 2.0
dtmf_input_settings.hash_terminator    boolean = true
dtmf_input_settings.redact_input       boolean = false
background_sound                       object
background_sound.source_type           preset? = null
background_sound.source_id             office2|office1|restaurant|city|typing|elevator1|elevator2|elevator3
                                       |elevator4? = null
background_sound.volume                number 0.01..1 = 0.15
background_sound.crossfade_loop        boolean = true
source_attribution                     boolean = false

[conversation_config]
language_presets                       map = {}
language_presets.*                     object
language_presets.*.overrides           object
language_presets.*.overrides.asr       object? = null
language_presets.*.overrides.turn      object? = null
language_presets.*.overrides.tts       object? = null
language_presets.*.overrides.tts.voice_id string? 0..200
language_presets.*.overrides.tts.stability number? 0..1
language_presets.*.overrides.tts.speed number? 0.7..1.2
language_presets.*.overrides.tts.similarity_boost number? 0..1
language_presets.*.overrides.conversation object? = null
language_presets.*.overrides.conversation.text_only boolean?
language_presets.*.overrides.conversation.max_duration_seconds integer? 1..86400
language_presets.*.overrides.agent     object? = null
language_presets.*.overrides.agent.first_message string? 0..100000
language_presets.*.overrides.agent.language string? 0..35
language_presets.*.first_message_translation object? = null
language_presets.*.soft_timeout_translation object? = null
vad                                    object
vad.background_voice_detection         boolean = false

[conversation_config.agent]
first_message                          string 0..100000 = ""
language                               string 0..35 = "en"
hinglish_mode                          boolean = false
dynamic_variables                      object
dynamic_variables.dynamic_variable_placeholders map 0..1000 = {}
disable_first_message_interruptions    boolean = false
max_conversation_duration_message      string 0..10000 = ""
text_behavior_overrides                map? = null

[conversation_config.agent.prompt]
prompt                                 string = ""
llm                                    string 1..200 = "offline"
reasoning_effort                       none|minimal|low|medium|high|xhigh|max? = null
thinking_budget                        integer? -1..1000000 = null
enable_reasoning_summary               boolean = false
temperature                            number? 0..2 = 0.0
max_tokens                             integer -1..1000000 = -1
tool_ids                               list 0..1000 = []
tool_ids.*                             string 1..200
built_in_tools                         object
built_in_tools.transfer_to_agent       @system_tool? = null
built_in_tools.end_call                @system_tool? = null
built_in_tools.language_detection      @system_tool? = null
built_in_tools.transfer_to_number      @system_tool? = null
built_in_tools.skip_turn               @system_tool? = null
built_in_tools.play_keypad_touch_tone  @system_tool? = null
built_in_tools.voicemail_detection     @system_tool? = null
mcp_server_ids                         list 0..10 = []
native_mcp_server_ids                  list 0..10 = []
knowledge_base                         list 0..1000 = []
knowledge_base.*                       object
knowledge_base.*.type                  file|url|text|folder!
knowledge_base.*.name                  string! 0..1000
knowledge_base.*.id                    string! 0..200
knowledge_base.*.usage_mode            prompt|auto = "auto"
custom_llm                             @custom_llm? = null
ignore_default_personality             boolean? = true
rag                                    object
rag.enabled                            boolean = false
rag.embedding_model                    e5_mistral_7b_instruct
                                       |multilingual_e5_large_instruct = "e5_mistral_7b_instruct"
rag.max_vector_distance                number 0<..<1 = 0.6
rag.max_documents_length               integer 0<..<10000000 = 50000
rag.max_retrieved_rag_chunks_count     integer 0<..20 = 20
rag.num_candidates                     integer? 0<..10000
rag.query_rewrite_prompt_override      string? 1..1000
rag.knowledge_base_tool_info           object?
timezone                               string? 1..100 = null
backup_llm_config                      object
backup_llm_config.preference           default|disabled|override = "default"
cascade_timeout_seconds                number 2..15 = 4.0
tools                                  list 0..1000 = []
tools.*                                @tool

[workflow]
edges                                  map 0..5000 = {}
edges.*                                object
edges.*.source                         string! 1..200
edges.*.target                         string! 1..200
edges.*.forward_condition              object? = null
edges.*.forward_condition.label        string? = null
edges.*.forward_condition.type         unconditional|llm|result|expression!
edges.*.backward_condition             object? = null
edges.*.backward_condition.label       string? = null
edges.*.backward_condition.type        unconditional|llm|result|expression!
nodes                                  map 0..5000 = {}
nodes.*                                object
nodes.*.type                           start|end|phone_number|override_agent|standalone_agent|tool!
nodes.*.position                       object
nodes.*.position.x                     number = 0.0
nodes.*.position.y                     number = 0.0
nodes.*.edge_order                     list = []
prevent_subagent_loops                 boolean = false

[@custom_llm]
                                       object
url                                    string! 1..2000
model_id                               string? 0..200 = null
api_key                                object? = null
auth_connection                        object? = null
request_headers                        map 0..100 = {}
api_version                            string? 0..200 = null
api_type                               chat_completions|responses|websocket = "chat_completions"

[@client_event]
                                       conversation_initiation_metadata|asr_initiation_metadata|ping|audio
                                       |interruption|user_transcript|tentative_user_transcript|agent_response
                                       |agent_response_correction|client_tool_call|mcp_tool_call
                                       |mcp_connection_status|agent_tool_request|agent_tool_response
                                       |agent_tool_response_full_payload|agent_response_metadata|vad_score
                                       |agent_chat_response_part|client_error|guardrail_triggered|dtmf_request
                                       |agent_response_complete|context_usage|internal_turn_probability
                                       |internal_tentative_agent_response

[@criterion]
                                       object
id                                     string! 1..200
name                                   string! 0..500
type                                   prompt = "prompt"
conversation_goal_prompt               string! 0..2000
use_knowledge_base                     boolean = false
scope                                  conversation|agent = "conversation"
llm                                    string? 1..200 = null
scoring_mode                           binary|numeric_uniform = "binary"
max_score                              integer = 100
score_instructions                     string? 0..2000 = null

[@data_item]
                                       object
type                                   boolean|string|integer|number!
description                            string 0..10000 = ""
enum                                   list? = null
is_system_provided                     boolean = false
dynamic_variable                       string 0..500 = ""
allowed_values                         object? = null
allowed_values_dynamic_variable        string 0..500 = ""
constant_value                         any = ""
is_omitted                             boolean = false
name                                   string? 0..500 = null
llm                                    string? 1..200 = null
"""

TOOLS = """
[@tool_common]
                                       object
type                                   string! 1..100
name                                   string! 1..64 ~[^\\x00-\\x1f\\x7f]+
description                            string 0..100000 = ""
response_timeout_secs                  number 0<..300 = 20
disable_interruptions                  boolean = false
interruption_mode                      allow|disable_during_tool|disable_during_tool_and_turn = "allow"
force_pre_tool_speech                  boolean = false
pre_tool_speech                        auto|force|off = "auto"
assignments                            list = []
assignments.*                          object
assignments.*.source                   response = "response"
assignments.*.dynamic_variable         string! 1..500
assignments.*.value_path               string! 0..500
assignments.*.sanitize                 boolean = false
assignments.*.preserve_native_type     boolean = false
tool_call_sound                        typing|elevator1|elevator2|elevator3|elevator4? = null
tool_call_sound_behavior               auto|always = "auto"
tool_error_handling_mode               auto|summarized|passthrough|hide = "auto"

[@tool]
                                       object
type                                   string! 1..100
name                                   string! 1..64 ~[^\\x00-\\x1f\\x7f]+

[@client_tool]
                                       @tool_common
response_timeout_secs                  number 1..120 = 20
parameters                             object? = null
expects_response                       boolean = false
dynamic_variables                      object
dynamic_variables.dynamic_variable_placeholders map = {}
execution_mode                         immediate|post_tool_speech|async = "immediate"

[@webhook_tool]
                                       @tool_common
response_timeout_secs                  number 5..300 = 20
dynamic_variables                      object
dynamic_variables.dynamic_variable_placeholders map = {}
execution_mode                         immediate|post_tool_speech|async = "immediate"
api_schema                             object!
api_schema.url                         string! 1..5000
api_schema.method                      GET|POST|PUT|PATCH|DELETE = "GET"
api_schema.request_headers             map 0..100 = {}
api_schema.path_params_schema          map 0..100 = {}
api_schema.query_params_schema         object? = null
api_schema.query_params_schema.properties map! 0..500
api_schema.query_params_schema.required list = []
api_schema.request_body_schema         object? = null
api_schema.response_body_schema        object? = null
api_schema.response_filter             object? = null
api_schema.response_filter.mode        all|allow|hide_all = "all"
api_schema.response_filter.filters     list = []
api_schema.response_filter.content_type string = "application/json"
api_schema.content_type                application/json|application/x-www-form-urlencoded = "application/json"
api_schema.auth_resolved_params        list = []
api_schema.auth_connection             object? = null
follow_redirects                       boolean = false
follow_redirects_allowed_domains       list 0..20 = []

[@system_tool]
                                       @tool_common
type                                   system!
params                                 object
params.system_tool_type                string 1..100
params.transfers                       list 0..200
params.transfers.*                     object
"""
