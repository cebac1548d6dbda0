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
        Option("--microphone", "test the microphone of this notebook's page", flag=True),
    ),
    examples=("%lab", "%lab --microphone", "%lab --platform elevenlabs"),
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
        Option("--asr", "what hears it: offline, openai/whisper-1, elevenlabs, ... (see: convai voices list)"),
        Option("--tts", "what speaks for it: offline, elevenlabs, piper, ... (see: convai voices list)"),
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

SCENARIO_FILES = (".yaml", ".yml", ".json", ".jsonl", ".csv", ".parquet")
PERSONAS = ("patient", "hurried", "confused", "hostile", "non_native", "elderly", "talkative", "terse", "shy")


def _cost(text: str) -> float | None:
    """Return a limit in USD; ``none`` is no limit."""
    try:
        return None if text.lower() == "none" else float(text)
    except ValueError:
        raise ValueError("it takes USD, such as 2, or none") from None


COMPARE = Magic(
    name="compare",
    summary="Hold every scenario with every variant, grade the conversations, and say who is better, or that it is a "
    "tie. The value is the Comparison. As %%compare, the body of the cell is the scenarios: one opening a line, or "
    "YAML as in a file.",
    positional="AGENT",
    positional_help="agents by name, name@3 (a version) or @agent.yaml (a file), or {objects}",
    several=True,
    required=False,
    options=(
        Option("--llm", "models, with commas: each agent is tried with each of them", choices=MODELS),
        Option("--agent", "one more agent", repeat=True),
        Option("--scenarios", "a file, or {a list, a DataFrame}", value_name="FILE", files=SCENARIO_FILES),
        Option("--trials", "how often each scenario is held with each variant (1)", convert=int),
        Option("--baseline", "the variant that the others are compared with (the first)", value_name="NAME"),
        Option("--judge", "models that decide criteria and outcomes, with commas", choices=MODELS),
        Option("--simulated-user", "who plays the caller", choices=("offline", "scripted", *MODELS[1:])),
        Option("--var", "a variable of the prompts, where a scenario has no own", pairs=True, value_name="NAME=VALUE"),
        Option("--max-cost", "spend at most so many USD on models (1), or none", convert=_cost, value_name="USD"),
        Option("--dry-run", "say what it would ask and cost, and ask nothing", flag=True),
        Option("--seed", "what callers and chance depend on (0)", convert=int),
        Option("--mode", "text, or voice: as calls in virtual time", choices=("text", "voice")),
        Option("--concurrency", "at most so many conversations at once", convert=int),
        Option("--stop", "end early once it is decided", choices=("decided",)),
        Option("--allow-offline", "let offline rules compete with language models", flag=True),
        Option("--journal", "a journal of its own, by name or path", value_name="NAME", files=(".sqlite3",)),
        Option("--cassette", "FILE[:record|:replay]: record what models answer, or go without them", files=(".jsonl",)),
        Option("--save", "keep it in this variable, or in this file (x.convai)", value_name="NAME"),
    ),
    examples=(
        "comparison = %compare support --llm gpt-4o-mini,claude-haiku-4-5 --scenarios datasets/scenarios/support.yaml "
        "--trials 5 --max-cost 2",
        "%compare support support@3 --scenarios calls.csv --dry-run",
        "%%compare support --llm gpt-4o-mini,gemini-2.5-flash --save comparison\n"
        "- opening: Where is my order 1234?\n"
        "  checks: [{said: shipped}, {never_said: refund}]",
    ),
    notes="Run it again and it goes on where it ended: what is done is in the journal and is not asked twice.",
)

SIMULATE = Magic(
    name="simulate",
    summary="Let a simulated user talk with an agent, once, and show the transcript and what the checks say. "
    "The value is the Conversation.",
    positional="AGENT",
    positional_help="the agent's name, name@3 (a version) or @agent.yaml (a file)",
    rest="[OPENING]",
    rest_help="what the caller says first, where no scenario says it",
    options=(
        Option("--scenario", "a scenario of the file, by its id, or {a mapping}", value_name="ID"),
        Option("--scenarios", "a file, or {a list, a DataFrame}", value_name="FILE", files=SCENARIO_FILES),
        Option("--persona", "how the caller talks", choices=PERSONAS),
        Option("--user", "who plays the caller", choices=("offline", "scripted", *MODELS[1:])),
        Option("--llm", "another model for the agent", choices=MODELS),
        Option("--var", "a variable of the prompt, where the scenario has no own", pairs=True, value_name="NAME=VALUE"),
        Option("--mode", "text, or voice: as a call in virtual time", choices=("text", "voice")),
        Option("--seed", "what chance depends on (0)", convert=int),
        Option("--save", "keep the conversation in this variable", value_name="NAME"),
    ),
    examples=(
        "%simulate support Where is my order 1234?",
        "%simulate support --scenario order_on_its_way --scenarios datasets/scenarios/support.yaml --persona hurried",
        "conv = %simulate support Are you open? --user gpt-4o-mini --mode voice",
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
    Entry(COMPARE, "experiment_magic", "run_compare", ("line", "cell")),
    Entry(SIMULATE, "simulate_magic", "run_simulate"),
)
