"""Magics: which are there, and how is each called?

This table is all that `%load_ext` reads; what a magic does lies in the module it names and is imported on first use.
"""

from __future__ import annotations

from convai_lab.notebook.arguments import Magic, Option
from convai_lab.notebook.extension import Entry

MODELS = (
    "offline",
    "gpt-4o",
    "gpt-4o-mini",
    "claude-haiku-4-5",
    "claude-3-5-sonnet",
    "gemini-2.5-flash",
    "ollama/llama3.2",
    "custom-llm",
)
VOICES = ("George", "Sarah", "Daniel", "Charlotte")
SYSTEM_TOOLS = (
    "end_call",
    "transfer_to_number",
    "transfer_to_agent",
    "skip_turn",
    "language_detection",
    "play_keypad_touch_tone",
    "voicemail_detection",
)
TEMPLATES = ("default", "minimal", "voice-only", "text-only", "customer-service", "assistant")

LAB = Magic(
    name="lab",
    summary="Show what there is to work with: platform, keys (never their values), models, speech, storage.",
    options=(
        Option("--platform", "work on local, elevenlabs, or the URL of a platform", choices=("local", "elevenlabs")),
        Option("--api-key-variable", "for a URL: the environment variable that holds its key", value_name="NAME"),
    ),
    examples=("%lab", "%lab --platform elevenlabs"),
)

AGENT = Magic(
    name="agent",
    summary="Create, change or show an agent. As %%agent, the body of the cell is the prompt, "
    "with an optional YAML head between --- lines for any other field.",
    positional="NAME",
    positional_help="the agent's name or id",
    options=(
        Option("--llm", "the model: offline, gpt-4o-mini, claude-haiku-4-5, ollama/llama3.2, ...", choices=MODELS),
        Option("--voice", "a voice by name or id", choices=VOICES),
        Option("--temperature", "from 0 to 1 (some models take more)", convert=float),
        Option("--max-tokens", "longest reply, in tokens", convert=int),
        Option("--language", "a language code such as en"),
        Option("--first-message", "what the agent says first", value_name="TEXT"),
        Option("--tool", "add a tool: {function} made with @tool, or a system tool", repeat=True, choices=SYSTEM_TOOLS),
        Option("--remove-tool", "remove a tool by name", repeat=True, value_name="NAME"),
        Option("--var", "a placeholder value for a variable of the prompt", pairs=True, value_name="NAME=VALUE"),
        Option("--tag", "add a tag", repeat=True),
        Option("--text-only", "a text agent: no voice", flag=True),
        Option("--template", "start a new agent from a template", choices=TEMPLATES),
        Option("--rename", "give the agent another name", value_name="NAME"),
        Option("--history", "list the versions", flag=True),
        Option("--restore", "make an earlier version the newest one", convert=int, value_name="VERSION"),
        Option("--pull", "take an agent of this platform under NAME, by its id", value_name="ID"),
        Option("--delete", "delete the agent (its conversations stay)", flag=True),
        Option("--live", "apply the change to the running voice sessions too, from their next turn", flag=True),
    ),
    examples=(
        "%agent support",
        "%agent support --temperature 0.9 --tool {order_status}",
        '%agent support --first-message "Hi {{name}}!"',
        "%agent support --temperature 0.9 --live",
        "%agent support --history",
        "%%agent support --llm offline --voice George\nYou are Sam, a calm support agent.",
    ),
    notes="{expression} and $name as a whole word are Python; {{name}} is a variable of the prompt.",
)

AGENTS = Magic(
    name="agents",
    summary="List the agents of the platform.",
    options=(Option("--search", "only those whose name contains this"),),
    examples=("%agents", "%agents --search supp"),
)

CHAT = Magic(
    name="chat",
    summary="Talk with an agent in text. As %%chat, each line of the body is one message. "
    "The reply streams; the value is the Conversation.",
    positional="AGENT",
    positional_help="the agent's name or id",
    rest="[MESSAGE]",
    rest_help="one message (in a %%chat cell: the lines below)",
    required=False,
    options=(
        Option("--var", "a dynamic variable of the prompt", pairs=True, value_name="NAME=VALUE"),
        Option("--save", "keep the conversation in this variable", value_name="NAME"),
        Option("--continue", "go on with the newest conversation", flag=True),
        Option("--conversation", "go on with this one", value_name="ID"),
    ),
    examples=(
        "%chat support Where is my order 1234?",
        "%chat support --continue And when does it arrive?",
        "%%chat support --var name=Ada --save conv\nWhere is my order 1234?\nCan I change the address?",
    ),
)

TALK = Magic(
    name="talk",
    summary="Talk with an agent by voice, in a panel below the cell; the cell returns at once, and its value is the "
    "session. With --audio, files are said instead: the transcript grows, then a player appears, and the value is "
    "the Conversation.",
    positional="AGENT",
    positional_help="the agent's name or id",
    options=(
        Option("--audio", "a WAV file that the user says, or {sound}", repeat=True, value_name="FILE"),
        Option("--window", "a link to a page of its own, where notebook widgets do not work", flag=True),
        Option("--var", "a dynamic variable of the prompt", pairs=True, value_name="NAME=VALUE"),
        Option("--save", "keep the conversation in this variable", value_name="NAME"),
        Option("--out", "write both sides to this WAV file: the user left, the agent right", value_name="FILE"),
    ),
    examples=(
        "session = %talk support",
        "%talk support --window",
        "%talk support --audio datasets/audio/order.wav",
        "conv = %talk support --audio question.wav --audio thanks.wav --out call.wav",
    ),
)

UNDO = Magic(
    name="undo",
    summary="Take back the last exchange: your last message and what followed.",
    options=(Option("--conversation", "of this conversation, not of the newest", value_name="ID"),),
    examples=("%undo",),
)

TRANSCRIPTS = Magic(
    name="transcripts",
    summary="Load what was said as a pandas DataFrame, one row a turn.",
    options=(
        Option("--agent", "only conversations with this agent"),
        Option("--since", "only newer ones: 30m, 12h, 7d, or a date"),
        Option("--limit", "at most this many conversations", convert=int),
        Option("--conversations", "one row a conversation instead", flag=True),
        Option("--tools", "one row a tool call instead", flag=True),
        Option("--all", "also what comparisons and simulations made", flag=True),
        Option("--last", "the newest conversation itself", flag=True),
        Option("--id", "one conversation by its id"),
    ),
    examples=(
        "turns = %transcripts --agent support --since 7d",
        "conv = %transcripts --last",
        "calls = %transcripts --tools",
    ),
)

ENTRIES = (
    Entry(LAB, "lab_magic", "run_lab"),
    Entry(AGENT, "agent_magic", "run_agent", ("line", "cell")),
    Entry(AGENTS, "agent_magic", "run_agents"),
    Entry(CHAT, "chat_magic", "run_chat", ("line", "cell")),
    Entry(TALK, "talk_magic", "run_talk"),
    Entry(UNDO, "chat_magic", "run_undo"),
    Entry(TRANSCRIPTS, "transcript_magic", "run_transcripts"),
)
